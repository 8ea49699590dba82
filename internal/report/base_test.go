// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package report_test

import (
	"strings"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/internal/report"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

// TestBaseAndBill: the table says what the layers say an image is built on, and does
// not call clean what a bill of materials cannot tell.
func TestBaseAndBill(t *testing.T) {
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	table := func(image verdict.Image) string {
		var out strings.Builder
		if err := report.Table(&out, report.Result{Evidence: verdict.Evidence{Image: image}, Time: now}, report.Options{}); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	found := verdict.Base{Name: "debian.tar", By: "layers", Golden: "debian", Channel: "gold", Owner: "base-team", Created: now.AddDate(0, 0, -92), Newest: "sha256:1"}
	for want, image := range map[string]verdict.Image{
		"golden image debian gold, by its layers, built 2026-08-22 00:00 UTC (92 days before); a newer one stands there now; owner base-team\n": {Base: "debian:12", BaseImage: found},
		"base    debian:12\n": {Base: "debian:12", BaseImage: verdict.Base{Name: "debian:12", By: "annotation"}},
		"HYGIENE  not known":  {Kind: verdict.Bill},
		"HYGIENE  nothing":    {},
	} {
		if got := table(image); !strings.Contains(got, want) {
			t.Errorf("%q is not in:\n%s", want, got)
		}
	}
}
