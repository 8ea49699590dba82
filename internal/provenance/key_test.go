// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package provenance_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/provenance"
)

var manifest = image.DigestOf([]byte("a manifest"))

// must fails the test on an error.
func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func newKey(t testing.TB, purpose provenance.Purpose, algorithm provenance.Algorithm) *provenance.Key {
	t.Helper()
	environment := ""
	if purpose == provenance.Verdict {
		environment = "prod"
	}
	return must[*provenance.Key](t)(provenance.NewKey(purpose, environment, algorithm))
}

func statement(t testing.TB, predicateType, predicate string) *provenance.Statement {
	t.Helper()
	return must[*provenance.Statement](t)(provenance.NewStatement(manifest, predicateType, []byte(predicate)))
}

func signerOf(name string, key *provenance.Key) *provenance.Signer {
	return &provenance.Signer{Name: name, Owner: "o", PublicKey: key.Public().PEM()}
}

func TestSignAndVerify(t *testing.T) {
	for _, algorithm := range []provenance.Algorithm{provenance.ECDSA, provenance.Ed25519} {
		key, other := newKey(t, provenance.Release, algorithm), newKey(t, provenance.Release, algorithm)
		signed := must[[]byte](t)(key.Sign(statement(t, provenance.Approval, "{}")))
		b := must[*provenance.Bundle](t)(provenance.ParseBundle(signed))
		got := must[*provenance.Verified](t)(signerOf("release", key).Verify(b, manifest))
		if got.Signer != "release" || got.Type != provenance.Approval || got.Manifest != manifest || got.Digest != image.DigestOf(signed) || !got.Time.IsZero() {
			t.Errorf("%s: verified as %+v", algorithm, got)
		}
		if _, err := signerOf("other", other).Verify(b, manifest); !fault.Is(err, fault.Denied) {
			t.Errorf("%s: another key verifies: %v", algorithm, err)
		}
		if _, err := signerOf("release", key).Verify(b, image.DigestOf([]byte("another manifest"))); !fault.Is(err, fault.Denied) {
			t.Errorf("%s: it counts for another manifest: %v", algorithm, err)
		}
		if _, err := signerOf("release", key).Verify(b, ""); !fault.Is(err, fault.Denied) {
			t.Errorf("%s: it counts for no manifest: %v", algorithm, err)
		}
	}
}

// TestAKeySignsItsPurposeOnly: whoever verifies by key takes any statement for an
// approval, so a key must not sign what is none.
func TestAKeySignsItsPurposeOnly(t *testing.T) {
	statements := map[string]*provenance.Statement{
		"approval": statement(t, provenance.Approval, "{}"),
		"passed":   statement(t, provenance.VerificationSummary, `{"verificationResult":"PASSED"}`),
		"failed":   statement(t, provenance.VerificationSummary, `{"verificationResult":"FAILED"}`),
		"both":     statement(t, provenance.VerificationSummary, `{"verificationResult":["PASSED"]}`),
		"sbom":     statement(t, provenance.CycloneDX, "{}"),
		"test":     statement(t, provenance.TestResult, `{"result":"FAILED"}`),
		"own type": statement(t, "https://example.com/review/v1", "{}"),
	}
	signs := map[provenance.Purpose]string{
		provenance.Release: "approval", provenance.Verdict: "passed", provenance.Attestation: "sbom test own type",
	}
	for purpose, allowed := range signs {
		key := newKey(t, purpose, provenance.ECDSA)
		for name, s := range statements {
			_, err := key.Sign(s)
			if may := strings.Contains(allowed, name); may != (err == nil) || err != nil && !fault.Is(err, fault.Denied) {
				t.Errorf("a %s key signs %s: %v", purpose, name, err)
			}
		}
	}
}

func TestKeyFiles(t *testing.T) {
	none := func() ([]byte, error) { return nil, errors.New("asked for a password") }
	secret := func() ([]byte, error) { return []byte("secret"), nil }
	for _, algorithm := range []provenance.Algorithm{provenance.ECDSA, provenance.Ed25519} {
		key := newKey(t, provenance.Verdict, algorithm)
		plain := must[[]byte](t)(key.Marshal(nil))
		sealed := must[[]byte](t)(key.Marshal([]byte("secret")))
		for what, read := range map[string]func() (*provenance.Key, error){
			"plain":     func() (*provenance.Key, error) { return provenance.ParseKey(plain, none) },
			"encrypted": func() (*provenance.Key, error) { return provenance.ParseKey(sealed, secret) },
		} {
			got := must[*provenance.Key](t)(read())
			if got.Purpose != provenance.Verdict || got.Environment != "prod" || got.Public().PEM() != key.Public().PEM() {
				t.Errorf("%s %s: read back as %+v", algorithm, what, got)
			}
		}
		if _, err := provenance.ParseKey(sealed, func() ([]byte, error) { return []byte("wrong"), nil }); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: with a wrong password: %v", algorithm, err)
		}
	}
}

func TestKeysThatAreRefused(t *testing.T) {
	p384 := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must[[]byte](t)(x509.MarshalPKCS8PrivateKey(p384))})
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must[[]byte](t)(x509.MarshalPKIXPublicKey(p384.Public()))})
	weak := []byte(weakRSA)
	good := newKey(t, provenance.Release, provenance.ECDSA)
	ask := func() ([]byte, error) { return nil, nil }
	for what, err := range map[string]error{
		"another curve":        second(provenance.ParseKey(private, ask)),
		"no PEM":               second(provenance.ParseKey([]byte("key"), ask)),
		"public as private":    second(provenance.ParseKey(public, ask)),
		"unknown purpose":      second(provenance.ParseKey(append([]byte("Goldkeep-Purpose: all\n"), must[[]byte](t)(good.Marshal(nil))...), ask)),
		"public another curve": second(provenance.ParsePublicKey(public)),
		"weak RSA":             second(provenance.ParsePublicKey(weak)),
		"two public keys":      second(provenance.ParsePublicKey([]byte(good.Public().PEM() + good.Public().PEM()))),
		"private as public":    second(provenance.ParsePublicKey(private)),
		"verdict of nothing":   second(provenance.NewKey(provenance.Verdict, "", provenance.ECDSA)),
		"release of prod":      second(provenance.NewKey(provenance.Release, "prod", provenance.ECDSA)),
		"no purpose":           second(provenance.NewKey("", "", provenance.ECDSA)),
		"unknown algorithm":    second(provenance.NewKey(provenance.Release, "", "rsa")),
	} {
		if !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.Unsupported) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// weakRSA is the public half of a key of 1024 bits.
const weakRSA = `-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDCgKjzSYx2XZrNtTNNfeOv2QH0
ExSiWLXJdUu8Rgx8LTIf62ASw/PTJHFxxmmmM3VDwbMYgrDtutwAEq5gp6jIpDX2
lUWAi6a4mXEb2PLjrbp02zsyu/kwSBV5MMhgNNZYjWEt3DZB/RctQ57YUt+eUp9j
rR9d4Rs2BFU4NSR/BwIDAQAB
-----END PUBLIC KEY-----
`
