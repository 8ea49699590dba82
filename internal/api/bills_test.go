// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/goldkeep/goldkeep/client"
)

const zlibBill = `{"bomFormat":"CycloneDX","specVersion":"1.5","metadata":{"component":{"type":"container","name":"erp"},"tools":[{"name":"syft","version":"1.57.0"}]},
	"components":[{"type":"library","name":"zlib","version":"1:1.2.13","purl":"pkg:deb/debian/zlib@1:1.2.13?distro=debian-12"}]}`

// TestABillOfAnotherToolIsCoveredByAdvisories: what a bill lists is found like what an
// image holds, also by an advisory that comes later; and nothing is ever known of an
// image by its bill.
func TestABillOfAnotherToolIsCoveredByAdvisories(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	of := "sha256:" + strings.Repeat("7", 64)
	bill := must(w.AddBill(ctx, "vendor/erp", of, strings.NewReader(zlibBill)))(t)
	if bill.Kind != "sbom" || bill.State != "known" || bill.Name != "vendor/erp@"+of || !strings.Contains(string(bill.Evidence), "CycloneDX 1.5 by syft 1.57.0") {
		t.Errorf("kept as %+v", bill)
	}
	must(w.UploadFeed(ctx, "Debian", zlibFlaw(t)))(t)
	hit := must(w.Affected(ctx, "CVE-2026-7"))(t)
	if hit.Total != 1 || len(hit.Images) != 1 || hit.Images[0].ID != bill.ID || hit.Images[0].Name != bill.Name {
		t.Errorf("affected %+v", hit)
	}
	if again := must(w.AddBill(ctx, "", "", strings.NewReader(zlibBill)))(t); again.ID != bill.ID || again.Name != "erp" {
		t.Errorf("sent again it is %+v", again)
	}
	// Neither the image nor the document, which may be an image's config, is known by it.
	w.refused(404, "GET", "/api/v1/images/"+of, w.root, "")
	w.refused(404, "GET", fmt.Sprintf("/api/v1/images/%s", digestOf(zlibBill)), w.root, "")
	if _, err := w.AddBill(ctx, "x", "latest", strings.NewReader(zlibBill)); client.KindOf(err) != "invalid" {
		t.Errorf("a bill of a tag: %v", err)
	}
	if _, err := w.AddBill(ctx, "x", "", strings.NewReader(`{"bomFormat":"CycloneDX","specVersion":"1.5","components":[{]}`)); client.KindOf(err) != "invalid" {
		t.Errorf("a broken bill: %v", err)
	}
}

func digestOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(sum[:])
}
