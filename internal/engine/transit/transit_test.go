// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package transit_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tink-crypto/tink-go/v2/kwp/subtle"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/engine/transit"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/policy"
	"github.com/goldkeep/goldkeep/internal/store/sqlite"
)

// world is one mount, spoken to as the gate would.
type world struct {
	t       testing.TB
	e       engine.Engine
	skew    time.Duration
	creates bool
}

func newWorld(t testing.TB) *world {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	w := &world{t: t, creates: true}
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "goldkeep.db"), sqlite.Options{})
	must(err)
	t.Cleanup(func() { _ = st.Close() })
	b, err := barrier.Open(t.Context(), st)
	must(err)
	file := bytes.Repeat([]byte{7}, 32)
	_, err = b.Init(t.Context(), barrier.InitOptions{KeyFile: file})
	must(err)
	must(b.UnsealWithFile(t.Context(), file))
	w.e = transit.New(engine.Mount{Path: "transit/"}, later{b.Space().Sub("transit"), w})
	return w
}

// later is a space whose clock can be set forward.
type later struct {
	barrier.Space
	w *world
}

func (l later) Now() time.Time { return l.Space.Now().Add(l.w.skew) }

type m = map[string]any

func (w *world) try(op policy.Capability, path string, body m) (m, error) {
	w.t.Helper()
	data := map[string]json.RawMessage{}
	for k, v := range body {
		text, err := json.Marshal(v)
		if err != nil {
			w.t.Fatal(err)
		}
		data[k] = text
	}
	resp, err := w.e.Handle(w.t.Context(), &engine.Request{Op: op, Path: path, Data: data, Now: time.Now().Add(w.skew), Creates: w.creates})
	if err != nil || resp == nil {
		return nil, err
	}
	text, err := json.Marshal(resp.Data)
	if err != nil {
		w.t.Fatal(err)
	}
	out := m{}
	if err := json.Unmarshal(text, &out); err != nil {
		w.t.Fatal(err)
	}
	out["status"] = resp.Status
	return out, nil
}

func (w *world) write(path string, body m) m {
	w.t.Helper()
	out, err := w.try(policy.Update, path, body)
	if err != nil {
		w.t.Fatalf("%s: %v", path, err)
	}
	return out
}

func (w *world) read(path string) m {
	w.t.Helper()
	out, err := w.try(policy.Read, path, nil)
	if err != nil || out == nil {
		w.t.Fatalf("%s: %v %v", path, out, err)
	}
	return out
}

// refuse wants a mistake of the caller's, with a word in its text.
func (w *world) refuse(word, path string, body m) {
	w.t.Helper()
	out, err := w.try(policy.Update, path, body)
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), word) {
		w.t.Errorf("%s %v: %v %v; want it refused with %q", path, body, out, err, word)
	}
}

func b64(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

var all = []string{
	"aes128-gcm96", "aes256-gcm96", "chacha20-poly1305", "xchacha20-poly1305", "hmac", "ed25519", "ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa-2048",
}

// TestEveryKeyType does with each type all it says it can do, across a rotation,
// and is refused the rest.
func TestEveryKeyType(t *testing.T) {
	w := newWorld(t)
	for _, kind := range all {
		k := w.write("keys/"+kind, m{"type": kind})
		first := map[string]string{}
		for _, op := range []string{"encrypt", "sign", "hmac"} {
			out, err := w.try(policy.Update, op+"/"+kind, m{"plaintext": b64("text"), "input": b64("text")})
			can := op == "hmac" || op == "encrypt" && k["supports_encryption"] == true || op == "sign" && k["supports_signing"] == true
			if (err == nil) != can {
				t.Errorf("%s with %s: %v; it says it can: %v", op, kind, err, can)
			}
			if err == nil {
				first[op] = out[map[string]string{"encrypt": "ciphertext", "sign": "signature", "hmac": "hmac"}[op]].(string)
			}
		}
		if got := w.write("keys/"+kind+"/rotate", nil); got["latest_version"] != 2.0 {
			t.Errorf("%s after rotation: %v", kind, got)
		}
		if text := first["encrypt"]; text != "" {
			again := w.write("rewrap/"+kind, m{"ciphertext": text})["ciphertext"].(string)
			for _, c := range []string{text, again} {
				if got := w.write("decrypt/"+kind, m{"ciphertext": c})["plaintext"]; got != b64("text") {
					t.Errorf("%s decrypts %s to %v", kind, c, got)
				}
			}
			if !strings.HasPrefix(text, "vault:v1:") || !strings.HasPrefix(again, "vault:v2:") {
				t.Errorf("%s: %s then %s", kind, text, again)
			}
		}
		for op, field := range map[string]string{"sign": "signature", "hmac": "hmac"} {
			if first[op] == "" {
				continue
			}
			if got := w.write("verify/"+kind, m{"input": b64("text"), field: first[op]}); got["valid"] != true {
				t.Errorf("%s: %s is not valid", kind, field)
			}
			if got := w.write("verify/"+kind, m{"input": b64("other"), field: first[op]}); got["valid"] != false {
				t.Errorf("%s: %s is valid for another text", kind, field)
			}
		}
	}
	if got := w.read("keys/rsa-2048")["keys"].(m)["1"].(m)["public_key"].(string); !strings.HasPrefix(got, "-----BEGIN PUBLIC KEY-----") {
		t.Errorf("public key %q", got)
	}
}

func TestWhatIsRefused(t *testing.T) {
	w := newWorld(t)
	w.write("keys/k", nil)
	w.write("keys/d", m{"derived": true})
	text := w.write("encrypt/k", m{"plaintext": b64("x"), "associated_data": b64("for one")})["ciphertext"].(string)
	for _, c := range []struct {
		word, path string
		body       m
	}{
		{"missing plaintext", "encrypt/k", nil},
		{"base64", "encrypt/k", m{"plaintext": "%%"}},
		{"higher than", "encrypt/k", m{"plaintext": "", "key_version": 2}},
		{"context", "encrypt/d", m{"plaintext": ""}},
		{"no prefix", "decrypt/k", m{"ciphertext": "x"}},
		{"message authentication failed", "decrypt/k", m{"ciphertext": text}},
		{"message authentication failed", "decrypt/k", m{"ciphertext": text, "associated_data": b64("for two")}},
		{"ciphertext length", "decrypt/k", m{"ciphertext": "vault:v1:AAAA"}},
		{"too new", "decrypt/k", m{"ciphertext": "vault:v9:AAAA"}},
		{"too old", "decrypt/k", m{"ciphertext": "vault:v0:AAAA"}},
		{"version number", "decrypt/k", m{"ciphertext": "vault:vx:AAAA"}},
		{"not found", "decrypt/none", m{"ciphertext": text}},
		{"does not support signing", "sign/k", m{"input": ""}},
		{"invalid hash", "hmac/k/md5", m{"input": ""}},
		{"bit length", "datakey/plaintext/k", m{"bits": 64}},
		{"plaintext' or 'wrapped", "datakey/other/k", nil},
		{"unknown key type", "keys/new", m{"type": "des"}},
		{"derivation", "keys/new", m{"type": "rsa-2048", "derived": true}},
		{"requires derivation", "keys/new", m{"convergent_encryption": true}},
		{"an hour", "keys/new", m{"auto_rotate_period": "59m"}},
		{"key_size", "keys/new", m{"type": "hmac", "key_size": 8}},
		{"latest key version", "keys/k/config", m{"min_decryption_version": 2}},
		{"backup", "restore", m{"backup": b64("{}")}},
		{"exactly one", "keys/new/import", nil},
		{"empty batch", "encrypt/k", m{"batch_input": []m{}}},
	} {
		if c.word == "empty batch" {
			c.word = "missing batch input"
		}
		w.refuse(c.word, c.path, c.body)
	}
	for _, path := range []string{"export/encryption-key/k", "backup/k"} {
		if out, err := w.try(policy.Read, path, nil); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v %v", path, out, err)
		}
	}
	if _, err := w.try(policy.Delete, "keys/k", nil); !fault.Is(err, fault.Invalid) {
		t.Errorf("delete: %v", err)
	}
	w.creates = false
	w.refuse("not found", "encrypt/fresh", m{"plaintext": ""})
	w.creates = true
	if got := w.write("encrypt/fresh", m{"plaintext": "", "type": "chacha20-poly1305"}); got["key_version"] != 1.0 {
		t.Errorf("upsert: %v", got)
	}
	w.write("config/keys", m{"disable_upsert": true})
	w.refuse("not found", "encrypt/fresh2", m{"plaintext": ""})
}

// TestVersions: minimums are kept, trimmed versions are gone, and nothing opens
// what is too old.
func TestVersions(t *testing.T) {
	w := newWorld(t)
	w.write("keys/k", nil)
	old := w.write("encrypt/k", m{"plaintext": b64("1")})["ciphertext"]
	w.write("keys/k/rotate", nil)
	w.write("keys/k/rotate", nil)
	if got := w.write("encrypt/k", m{"plaintext": b64("1"), "key_version": 2})["ciphertext"].(string); !strings.HasPrefix(got, "vault:v2:") {
		t.Errorf("version 2: %s", got)
	}
	w.refuse("minimum encryption version is not set", "keys/k/trim", m{"min_available_version": 2})
	w.write("keys/k/config", m{"min_decryption_version": 2, "min_encryption_version": 3})
	w.refuse("less than the minimum encryption", "encrypt/k", m{"plaintext": "", "key_version": 2})
	w.refuse("too old", "decrypt/k", m{"ciphertext": old})
	w.refuse("greater than or equal", "keys/k/config", m{"min_decryption_version": 3, "min_encryption_version": 2})
	w.write("keys/k/config", m{"min_decryption_version": 1})
	w.write("decrypt/k", m{"ciphertext": old})
	w.refuse("cannot be greater", "keys/k/trim", m{"min_available_version": 2})
	w.write("keys/k/config", m{"min_decryption_version": 2})
	w.write("keys/k/trim", m{"min_available_version": 2})
	w.refuse("min available", "keys/k/config", m{"min_decryption_version": 1})
	if got := w.read("keys/k")["keys"].(m); len(got) != 2 || got["1"] != nil {
		t.Errorf("after trim: %v", got)
	}
	w.write("keys/k/soft-delete", nil)
	w.refuse("soft-deleted", "encrypt/k", m{"plaintext": ""})
	w.write("keys/k/soft-delete-restore", nil)
	w.write("keys/k/config", m{"deletion_allowed": true})
	if _, err := w.try(policy.Delete, "keys/k", nil); err != nil {
		t.Error(err)
	}
	if out, err := w.try(policy.Read, "keys/k", nil); out != nil || err != nil {
		t.Errorf("after delete: %v %v", out, err)
	}
}

func TestAutoRotation(t *testing.T) {
	w := newWorld(t)
	w.write("keys/k", m{"auto_rotate_period": "2h"})
	w.skew = 2*time.Hour - time.Minute
	if got := w.write("encrypt/k", m{"plaintext": ""})["key_version"]; got != 1.0 {
		t.Errorf("a minute early: version %v", got)
	}
	w.skew = 2*time.Hour + time.Minute
	if got := w.write("encrypt/k", m{"plaintext": ""})["key_version"]; got != 2.0 {
		t.Errorf("after two hours: version %v", got)
	}
	if got := w.write("encrypt/k", m{"plaintext": ""})["key_version"]; got != 2.0 {
		t.Errorf("and again: version %v", got)
	}
}

func TestDerivedAndConvergent(t *testing.T) {
	w := newWorld(t)
	w.write("keys/c", m{"derived": true, "convergent_encryption": true})
	enc := func(text, context string) string {
		return w.write("encrypt/c", m{"plaintext": b64(text), "context": b64(context)})["ciphertext"].(string)
	}
	a, again, other, elsewhere := enc("a", "one"), enc("a", "one"), enc("b", "one"), enc("a", "two")
	if a != again || a == other || a == elsewhere {
		t.Errorf("convergent: %s %s %s %s", a, again, other, elsewhere)
	}
	// Two plaintexts must never share a nonce.
	if a[:len("vault:v1:")+16] == other[:len("vault:v1:")+16] {
		t.Error("two plaintexts share a nonce")
	}
	w.refuse("message authentication failed", "decrypt/c", m{"ciphertext": a, "context": b64("two")})
	w.write("keys/ed", m{"type": "ed25519", "derived": true})
	signed := w.write("sign/ed", m{"input": b64("x"), "context": b64("one")})
	if got := w.write("verify/ed", m{"input": b64("x"), "context": b64("one"), "signature": signed["signature"]}); got["valid"] != true || signed["public_key"] == "" {
		t.Errorf("derived signature: %v %v", signed, got)
	}
	if got := w.write("verify/ed", m{"input": b64("x"), "context": b64("two"), "signature": signed["signature"]}); got["valid"] != false {
		t.Error("a signature of one context is valid in another")
	}
}

func TestBatches(t *testing.T) {
	w := newWorld(t)
	w.write("keys/k", nil)
	out := w.write("encrypt/k", m{"plaintext": "ignored", "batch_input": []m{{"plaintext": b64("a"), "reference": "first"}, {"plaintext": b64("b")}}})
	results := out["batch_results"].([]any)
	if len(results) != 2 || results[0].(m)["reference"] != "first" || out["status"] != 0 {
		t.Fatalf("batch: %v", out)
	}
	mixed := []m{{"ciphertext": results[0].(m)["ciphertext"]}, {"ciphertext": "bad", "reference": "r"}}
	out = w.write("decrypt/k", m{"batch_input": mixed})
	results = out["batch_results"].([]any)
	if out["status"] != 400 || results[0].(m)["plaintext"] != b64("a") || results[1].(m)["error"] == nil || results[1].(m)["reference"] != "r" {
		t.Errorf("one bad item: %v", out)
	}
	if out = w.write("decrypt/k", m{"batch_input": mixed, "partial_failure_response_code": 207}); out["status"] != 207 {
		t.Errorf("partial failure: %v", out)
	}
	if out = w.write("decrypt/k", m{"batch_input": mixed[1:], "partial_failure_response_code": 207}); out["status"] != 400 {
		t.Errorf("all failed: %v", out)
	}
}

// TestSignaturesElsewhere: what is signed here holds with Go's own libraries, in
// every encoding.
func TestSignaturesElsewhere(t *testing.T) {
	w := newWorld(t)
	w.write("keys/ec", m{"type": "ecdsa-p256"})
	w.write("keys/rsa", m{"type": "rsa-2048"})
	pub := func(name string) any {
		block, _ := pem.Decode([]byte(w.read("keys/" + name)["keys"].(m)["1"].(m)["public_key"].(string)))
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	digest := sha256.Sum256([]byte("x"))
	signature := func(path string, body m) []byte {
		body["input"] = b64("x")
		if body["prehashed"] == true {
			body["input"] = base64.StdEncoding.EncodeToString(digest[:])
		}
		out := w.write(path, body)
		text := strings.TrimPrefix(out["signature"].(string), "vault:v1:")
		if body["marshaling_algorithm"] == "jws" {
			raw, err := base64.RawURLEncoding.DecodeString(text)
			if err != nil {
				t.Fatal(err)
			}
			return raw
		}
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	ec := pub("ec").(*ecdsa.PublicKey)
	if !ecdsa.VerifyASN1(ec, digest[:], signature("sign/ec", m{})) || !ecdsa.VerifyASN1(ec, digest[:], signature("sign/ec", m{"prehashed": true})) {
		t.Error("ECDSA in ASN.1")
	}
	if jws := signature("sign/ec", m{"marshaling_algorithm": "jws"}); len(jws) != 64 {
		t.Errorf("ECDSA for JWS has %d bytes", len(jws))
	}
	both := w.write("sign/ec", m{"input": b64("x"), "marshaling_algorithm": "jws"})["signature"]
	if got := w.write("verify/ec", m{"input": b64("x"), "marshaling_algorithm": "jws", "signature": both}); got["valid"] != true {
		t.Error("a JWS signature is not valid here")
	}
	r := pub("rsa").(*rsa.PublicKey)
	for _, salt := range []string{"auto", "hash", "20", "0", "-1"} {
		if err := rsa.VerifyPSS(r, 5, digest[:], signature("sign/rsa", m{"salt_length": salt}), nil); err != nil {
			t.Errorf("PSS with salt %s: %v", salt, err)
		}
	}
	if err := rsa.VerifyPKCS1v15(r, 5, digest[:], signature("sign/rsa/sha2-256", m{"signature_algorithm": "pkcs1v15"})); err != nil {
		t.Error(err)
	}
	if err := rsa.VerifyPKCS1v15(r, 0, digest[:], signature("sign/rsa/none", m{"signature_algorithm": "pkcs1v15", "prehashed": true})); err != nil {
		t.Error(err)
	}
	for hash := range map[string]bool{"sha1": true, "sha2-224": true, "sha2-384": true, "sha2-512": true, "sha3-224": true, "sha3-256": true, "sha3-384": true, "sha3-512": true} {
		out := w.write("sign/rsa/"+hash, m{"input": b64("x")})
		if got := w.write("verify/rsa/"+hash, m{"input": b64("x"), "signature": out["signature"]}); got["valid"] != true {
			t.Errorf("%s is not valid", hash)
		}
	}
}

// TestImport brings keys in as "bao transit import" does, and opens what they
// encrypted elsewhere.
func TestImport(t *testing.T) {
	w := newWorld(t)
	block, _ := pem.Decode([]byte(w.read("wrapping_key")["public_key"].(string)))
	pub, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	wrap := func(secret []byte) string {
		once := make([]byte, 32)
		_, _ = rand.Read(once)
		kwp, err := subtle.NewKWP(once)
		if err != nil {
			t.Fatal(err)
		}
		inner, err := kwp.Wrap(secret)
		if err != nil {
			t.Fatal(err)
		}
		outer, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, pub.(*rsa.PublicKey), once, nil)
		if err != nil {
			t.Fatal(err)
		}
		return base64.StdEncoding.EncodeToString(append(outer, inner...))
	}
	w.write("keys/theirs", m{"exportable": true})
	secret, err := base64.StdEncoding.DecodeString(w.read("export/encryption-key/theirs/latest")["keys"].(m)["1"].(string))
	if err != nil {
		t.Fatal(err)
	}
	text := w.write("encrypt/theirs", m{"plaintext": b64("moved")})["ciphertext"]
	w.write("keys/ours/import", m{"ciphertext": wrap(secret), "type": "aes256-gcm96"})
	if got := w.write("decrypt/ours", m{"ciphertext": text})["plaintext"]; got != b64("moved") {
		t.Errorf("the imported key decrypts to %v", got)
	}
	w.refuse("does not allow rotation", "keys/ours/rotate", nil)
	w.write("keys/ours/import_version", m{"ciphertext": wrap(secret)})
	w.refuse("existing key", "keys/ours/import", m{"ciphertext": wrap(secret)})
	w.refuse("wrong for", "keys/small/import", m{"ciphertext": wrap(secret[:16]), "type": "aes256-gcm96"})
	w.refuse("does not open", "keys/bad/import", m{"ciphertext": base64.StdEncoding.EncodeToString(make([]byte, 600))})

	// From one server to the next, and nobody sees the key.
	w.write("keys/to/import", m{"public_key": string(pem.EncodeToMemory(block)), "type": "rsa-4096"})
	moved := w.read("byok-export/to/theirs/latest")["keys"].(m)["1"]
	w.write("keys/moved/import", m{"ciphertext": moved, "type": "aes256-gcm96"})
	if got := w.write("decrypt/moved", m{"ciphertext": text})["plaintext"]; got != b64("moved") {
		t.Errorf("the key that was exported to a key decrypts to %v", got)
	}

	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	w.write("keys/ec/import", m{"ciphertext": wrap(der), "type": "ecdsa-p256"})
	signed := w.write("sign/ec", m{"input": b64("x")})["signature"]
	w.refuse("not ecdsa-p384", "keys/ec2/import", m{"ciphertext": wrap(der), "type": "ecdsa-p384"})
	spki, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	w.write("keys/pub/import", m{"public_key": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})), "type": "ecdsa-p256"})
	if got := w.write("verify/pub", m{"input": b64("x"), "signature": signed}); got["valid"] != true {
		t.Error("a public key alone does not verify")
	}
	w.refuse("private key", "sign/pub", m{"input": b64("x")})
}

func TestBackupAndRestore(t *testing.T) {
	w := newWorld(t)
	w.write("keys/k", m{"exportable": true, "allow_plaintext_backup": true})
	text := w.write("encrypt/k", m{"plaintext": b64("x")})["ciphertext"]
	w.write("keys/k/rotate", nil)
	backup := w.read("backup/k")["backup"]
	w.refuse("already exists", "restore", m{"backup": backup})
	w.write("restore/copy", m{"backup": backup})
	if got := w.write("decrypt/copy", m{"ciphertext": text})["plaintext"]; got != b64("x") {
		t.Errorf("the copy decrypts to %v", got)
	}
	if got := w.read("keys/copy")["latest_version"]; got != 2.0 {
		t.Errorf("the copy is at version %v", got)
	}
}

func TestDataKeys(t *testing.T) {
	w := newWorld(t)
	w.write("keys/k", nil)
	for _, bits := range []int{128, 256, 512} {
		out := w.write("datakey/plaintext/k", m{"bits": bits})
		if got := w.write("decrypt/k", m{"ciphertext": out["ciphertext"]})["plaintext"]; got != out["plaintext"] {
			t.Errorf("%d bits: %v", bits, out)
		}
	}
	if out := w.write("datakey/wrapped/k", nil); out["plaintext"] != nil {
		t.Errorf("wrapped: %v", out)
	}
}

// FuzzDecrypt: no text that is not a ciphertext of ours opens, or breaks anything.
func FuzzDecrypt(f *testing.F) {
	w := newWorld(f)
	w.write("keys/k", nil)
	good := w.write("encrypt/k", m{"plaintext": b64("x")})["ciphertext"].(string)
	f.Add("vault:v1:")
	f.Add("vault:v-1:AAAA")
	f.Add("vault:v99999999999999999999:AAAA")
	f.Add(good[:len(good)-4])
	f.Fuzz(func(t *testing.T, text string) {
		if text == good {
			return
		}
		w := &world{t: t, e: w.e}
		// Go's base64 passes over line breaks, so one ciphertext can be written in
		// several ways.
		out, err := w.try(policy.Update, "decrypt/k", m{"ciphertext": text})
		if same := err == nil && out["plaintext"] == b64("x"); !same && !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v %v", text, out, err)
		}
	})
}

func BenchmarkEncrypt(b *testing.B) {
	w := newWorld(b)
	w.write("keys/k", nil)
	body := map[string]json.RawMessage{"plaintext": json.RawMessage(fmt.Sprintf("%q", b64(strings.Repeat("x", 100))))}
	for b.Loop() {
		if _, err := w.e.Handle(b.Context(), &engine.Request{Op: policy.Update, Path: "encrypt/k", Data: body, Now: time.Now()}); err != nil {
			b.Fatal(err)
		}
	}
}
