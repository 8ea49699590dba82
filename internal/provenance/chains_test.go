// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package provenance_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/provenance"
)

func testdata(t *testing.T, name string) string {
	t.Helper()
	return string(must[[]byte](t)(os.ReadFile("testdata/" + name)))
}

// without is a bundle less one field of its verification material.
func without(t *testing.T, bundle, field string) string {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal([]byte(bundle), &doc); err != nil {
		t.Fatal(err)
	}
	delete(doc["verificationMaterial"].(map[string]any), field)
	return string(must[[]byte](t)(json.Marshal(doc)))
}

// rootWithout is a trust root less what a field names.
func rootWithout(t *testing.T, root, field string) string {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal([]byte(root), &doc); err != nil {
		t.Fatal(err)
	}
	delete(doc, field)
	return string(must[[]byte](t)(json.Marshal(doc)))
}

// TestCertificateIdentities: a bundle by a short-lived certificate counts for its
// identity, its issuer and its trust root, and only with the proofs the root demands.
func TestCertificateIdentities(t *testing.T) {
	public, publicRoot := testdata(t, "public.sigstore.json"), testdata(t, "public_root.json")
	private, privateRoot := testdata(t, "private.sigstore.json"), testdata(t, "private_root.json")
	const (
		someone  = "cody@soyland.com"
		login    = "https://github.com/login/oauth"
		workflow = "https://github.com/team/app/.github/workflows/release.yml@refs/tags/v1"
		actions  = "https://token.actions.githubusercontent.com"
		signed   = image.Digest("sha256:732112270d7e59418a8c080b134b24cabd67d250d0d0147a97ed95ba5c280aa4")
	)
	type signer struct{ identity, pattern, issuer, root string }
	for what, tt := range map[string]struct {
		bundle string
		signer signer
		about  image.Digest
		good   bool
	}{
		"public":               {public, signer{someone, "", login, publicRoot}, signed, true},
		"by pattern":           {public, signer{"", ".*@soyland[.]com", login, publicRoot}, signed, true},
		"by a part of it":      {public, signer{"", "soyland", login, publicRoot}, signed, false},
		"other identity":       {public, signer{"x" + someone, "", login, publicRoot}, signed, false},
		"other issuer":         {public, signer{someone, "", login + "x", publicRoot}, signed, false},
		"other trust root":     {public, signer{someone, "", login, privateRoot}, signed, false},
		"other manifest":       {public, signer{someone, "", login, publicRoot}, manifest, false},
		"not in the log":       {without(t, public, "tlogEntries"), signer{someone, "", login, publicRoot}, signed, false},
		"log is not believed":  {public, signer{someone, "", login, rootWithout(t, publicRoot, "tlogs")}, signed, false},
		"private":              {private, signer{workflow, "", actions, privateRoot}, manifest, true},
		"private, no time":     {without(t, private, "timestampVerificationData"), signer{workflow, "", actions, privateRoot}, manifest, false},
		"private, public root": {private, signer{workflow, "", actions, publicRoot}, manifest, false},
	} {
		s := &provenance.Signer{Name: "ci", Identity: tt.signer.identity, IdentityPattern: tt.signer.pattern, Issuer: tt.signer.issuer, TrustRoot: tt.signer.root}
		if err := s.Check(); err != nil {
			if tt.good {
				t.Errorf("%s: %v", what, err)
			}
			continue // a trust root that proves no time is refused itself
		}
		b := must[*provenance.Bundle](t)(provenance.ParseBundle([]byte(tt.bundle)))
		v, err := s.Verify(b, tt.about)
		if (err == nil) != tt.good || err != nil && !fault.Is(err, fault.Denied) {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if err == nil && (!strings.Contains(someone+workflow, v.Identity) || v.Issuer != tt.signer.issuer || v.Time.IsZero()) {
			t.Errorf("%s: verified as %+v", what, v)
		}
		if _, err := signerOf("k", newKey(t, provenance.Release, provenance.ECDSA)).Verify(b, tt.about); err == nil {
			t.Errorf("%s: it verifies by a key", what)
		}
	}
}
