// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package provenance_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/provenance"
)

// bundleOf writes a bundle by hand: payload and the places it can lie in.
func bundleOf(payload string, edit func(doc map[string]any)) []byte {
	doc := map[string]any{
		"mediaType":            provenance.BundleType,
		"verificationMaterial": map[string]any{"publicKey": map[string]any{"hint": "x"}},
		"dsseEnvelope": map[string]any{
			"payload": base64.StdEncoding.EncodeToString([]byte(payload)), "payloadType": "application/vnd.in-toto+json",
			"signatures": []any{map[string]any{"sig": "AAAA"}},
		},
	}
	if edit != nil {
		edit(doc)
	}
	text, err := json.Marshal(doc)
	if err != nil {
		panic(err)
	}
	return text
}

func payloadOf(fields string) string {
	return fmt.Sprintf(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":%q}}],"predicateType":"t:t","predicate":{}%s}`, manifest.Hex(), fields)
}

func TestBundlesThatAreRefused(t *testing.T) {
	good := payloadOf("")
	envelope := func(doc map[string]any) map[string]any { return doc["dsseEnvelope"].(map[string]any) }
	if _, err := provenance.ParseBundle(bundleOf(good, nil)); err != nil {
		t.Fatalf("the good one: %v", err)
	}
	many := strings.Repeat(`{"digest":{}},`, 1001)
	for what, data := range map[string][]byte{
		"empty":               nil,
		"a list":              []byte("[]"),
		"no JSON":             []byte("{"),
		"text after it":       append(bundleOf(good, nil), '1'),
		"other version":       bundleOf(good, func(d map[string]any) { d["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.1" }),
		"message signature":   bundleOf(good, func(d map[string]any) { delete(d, "dsseEnvelope"); d["messageSignature"] = map[string]any{} }),
		"other payload type":  bundleOf(good, func(d map[string]any) { envelope(d)["payloadType"] = "text/plain" }),
		"no signature":        bundleOf(good, func(d map[string]any) { envelope(d)["signatures"] = []any{} }),
		"two signatures":      bundleOf(good, func(d map[string]any) { envelope(d)["signatures"] = []any{map[string]any{}, map[string]any{}} }),
		"payload no base64":   bundleOf(good, func(d map[string]any) { envelope(d)["payload"] = "%%" }),
		"a field twice":       []byte(strings.Replace(string(bundleOf(good, nil)), `{`, `{"mediaType":"x",`, 1)),
		"payload no object":   bundleOf("[]", nil),
		"predicate twice":     bundleOf(payloadOf(`,"predicate":{"a":1}`), nil),
		"predicate type none": bundleOf(strings.Replace(good, `"t:t"`, `""`, 1), nil),
		"other case":          bundleOf(strings.Replace(good, "predicateType", "PredicateType", 1), nil),
		"other statement":     bundleOf(strings.Replace(good, "Statement/v1", "Statement/v9", 1), nil),
		"subject no list":     bundleOf(strings.Replace(good, "[{", "{", 1), nil),
		"many subjects":       bundleOf(strings.Replace(good, "[{", "["+many+"{", 1), nil),
		"too large":           bundleOf(good, func(d map[string]any) { d["x"] = strings.Repeat("x", 17<<20) }),
	} {
		_, err := provenance.ParseBundle(data)
		if kind := fault.KindOf(err); err == nil || kind != fault.Invalid && kind != fault.TooLarge && kind != fault.Unsupported {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestWhatWasSignedIsWhatCounts changes every part of a good bundle: nothing changed
// verifies, and the hint changes nothing.
func TestWhatWasSignedIsWhatCounts(t *testing.T) {
	key := newKey(t, provenance.Release, provenance.ECDSA)
	signed := string(must[[]byte](t)(key.Sign(statement(t, provenance.Approval, "{}"))))
	payload := base64.StdEncoding.EncodeToString(must[[]byte](t)(json.Marshal(statement(t, provenance.Approval, "{}"))))
	if !strings.Contains(signed, payload) {
		t.Fatal("the payload is not in the bundle as expected")
	}
	swap := func(s *provenance.Statement) string {
		return strings.Replace(signed, payload, base64.StdEncoding.EncodeToString(must[[]byte](t)(json.Marshal(s))), 1)
	}
	verify := func(text string) error {
		b, err := provenance.ParseBundle([]byte(text))
		if err != nil {
			return err
		}
		_, err = signerOf("release", key).Verify(b, manifest)
		return err
	}
	hint := key.Public().Hint()
	if err := verify(strings.Replace(signed, hint, "somebody else's", 1)); err != nil {
		t.Errorf("with another hint: %v", err)
	}
	for what, text := range map[string]string{
		"other predicate type": swap(statement(t, provenance.VerificationSummary, "{}")),
		"other predicate":      swap(statement(t, provenance.Approval, `{"a":1}`)),
		"no signature":         strings.Replace(signed, `"sig":"`, `"sig":"","x":"`, 1),
		"said to be by a certificate": strings.Replace(signed, `"publicKey":{"hint":"`+hint+`"}`,
			`"certificate":{"rawBytes":"AAAA"}`, 1),
		"both key and certificate": strings.Replace(signed, `"publicKey":`, `"certificate":{"rawBytes":"AAAA"},"publicKey":`, 1),
	} {
		if err := verify(text); err == nil {
			t.Errorf("%s: it verifies", what)
		}
	}
}

func TestSignersThatAreRefused(t *testing.T) {
	key := newKey(t, provenance.Release, provenance.ECDSA).Public().PEM()
	for what, s := range map[string]*provenance.Signer{
		"nothing":        {},
		"both":           {PublicKey: key, Identity: "a", Issuer: "b", TrustRoot: "{}"},
		"no key":         {PublicKey: "x"},
		"no issuer":      {Identity: "a", TrustRoot: "{}"},
		"no identity":    {Issuer: "b", TrustRoot: "{}"},
		"two identities": {Identity: "a", IdentityPattern: "b", Issuer: "b", TrustRoot: "{}"},
		"bad pattern":    {IdentityPattern: "(", Issuer: "b", TrustRoot: "{}"},
		"empty root":     {Identity: "a", Issuer: "b", TrustRoot: "{}"},
		"large root":     {Identity: "a", Issuer: "b", TrustRoot: strings.Repeat(" ", 1<<20)},
	} {
		if err := s.Check(); !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.TooLarge) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func FuzzParseBundle(f *testing.F) {
	key := newKey(f, provenance.Release, provenance.ECDSA)
	signed := must[[]byte](f)(key.Sign(statement(f, provenance.Approval, "{}")))
	f.Add(signed)
	f.Add(bundleOf(payloadOf(""), nil))
	f.Add(bundleOf(payloadOf(`,"predicate":{}`), nil))
	signer, other := signerOf("release", key), signerOf("other", newKey(f, provenance.Release, provenance.Ed25519))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := provenance.ParseBundle(data)
		if err != nil {
			if fault.KindOf(err) == fault.Internal {
				t.Errorf("an error without a kind: %v", err)
			}
			return
		}
		if v, err := signer.Verify(b, manifest); err == nil && (v.Type != provenance.Approval || v.Manifest != manifest) {
			t.Errorf("a forged bundle verifies as %+v", v)
		}
		if _, err := other.Verify(b, manifest); err == nil {
			t.Error("it verifies by a key that signed nothing")
		}
		if _, err := signer.Verify(b, image.DigestOf(data)); err == nil {
			t.Error("it verifies for another manifest")
		}
	})
}
