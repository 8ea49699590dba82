// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// ring is a keyring of GnuPG with one person in it.
type ring struct {
	t    *testing.T
	home string
	key  string // the public key, in base64
}

func newRing(t *testing.T, algorithm string) *ring {
	t.Helper()
	if _, err := exec.LookPath("gpg"); err != nil {
		t.Fatal("gpg is missing: apt-get install gnupg")
	}
	home, err := os.MkdirTemp("", "gpg") // its agent's socket wants a short path
	if err != nil {
		t.Fatal(err)
	}
	r := &ring{t: t, home: home}
	t.Cleanup(func() {
		_ = exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run()
		_ = os.RemoveAll(home)
	})
	parts := "Key-Type: EDDSA\nKey-Curve: ed25519\nKey-Usage: sign\nSubkey-Type: ECDH\nSubkey-Curve: cv25519\nSubkey-Usage: encrypt\n"
	if algorithm == "rsa" {
		parts = "Key-Type: RSA\nKey-Length: 2048\nKey-Usage: sign\nSubkey-Type: RSA\nSubkey-Length: 2048\nSubkey-Usage: encrypt\n"
	}
	r.gpg("%no-protection\n"+parts+"Name-Email: a@example.org\nExpire-Date: 0\n%commit\n", "--gen-key")
	r.key = base64.StdEncoding.EncodeToString(r.gpg("", "--export"))
	return r
}

func (r *ring) gpg(in string, args ...string) []byte {
	r.t.Helper()
	cmd := exec.Command("gpg", append([]string{"--homedir", r.home, "--batch", "--quiet"}, args...)...)
	var out, problem bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(in), &out, &problem
	if err := cmd.Run(); err != nil {
		r.t.Fatalf("gpg %v: %v\n%s", args, err, problem.String())
	}
	return out.Bytes()
}

// open decrypts a message in base64.
func (r *ring) open(message string) string {
	r.t.Helper()
	raw, err := base64.StdEncoding.DecodeString(message)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(r.gpg(string(raw), "--decrypt"))
}

// pgpAnswer is what answers with encrypted shares have.
type pgpAnswer struct {
	Nonce        string   `json:"nonce"`
	Complete     bool     `json:"complete"`
	Keys         []string `json:"keys"`
	Base64       []string `json:"keys_base64"`
	RootToken    string   `json:"root_token"`
	Fingerprints []string `json:"pgp_fingerprints"`
	Backup       bool     `json:"backup"`
	Encoded      string   `json:"encoded_token"`
	Fingerprint  string   `json:"pgp_fingerprint"`
}

// TestPGP has shares and root tokens encrypted for their holders, who read them with
// GnuPG: at the initialization, at a rekeying, and for a new root token.
func TestPGP(t *testing.T) {
	one, two := newRing(t, "rsa"), newRing(t, "ecc")
	w := &world{t: t, dir: t.TempDir(), legacy: true}
	w.start()
	both, err := json.Marshal([]string{one.key, two.key})
	w.must(err)
	for body, want := range map[string]string{
		`{"secret_shares":3,"secret_threshold":2,"pgp_keys":` + string(both) + `}`:                                         "incorrect number of PGP keys",
		`{"secret_shares":1,"secret_threshold":1,"pgp_keys":["!!"]}`:                                                       "error decoding given PGP key",
		`{"secret_shares":1,"secret_threshold":1,"pgp_keys":["AAAA"]}`:                                                     "error parsing given PGP key",
		`{"secret_shares":1,"secret_threshold":1,"root_token_pgp_key":"AAAA"}`:                                             "error parsing given PGP key",
		`{"secret_shares":1,"secret_threshold":1,"pgp_keys":["` + base64.StdEncoding.EncodeToString(signOnly(one)) + `"]}`: "no valid encryption keys",
	} {
		if status, answer := w.do("PUT", "sys/init", "", body); status != 400 || !strings.Contains(string(answer), want) {
			t.Errorf("%.60s: %d %s", body, status, answer)
		}
	}
	made := ask[pgpAnswer](w, "PUT", "sys/init", "", `{"secret_shares":2,"secret_threshold":2,"pgp_keys":`+string(both)+`,"root_token_pgp_key":"`+two.key+`"}`)
	w.root = two.open(made.RootToken)
	w.keys = []string{one.open(made.Base64[0]), two.open(made.Base64[1])}
	if raw, _ := hex.DecodeString(made.Keys[0]); base64.StdEncoding.EncodeToString(raw) != made.Base64[0] {
		t.Error("hex and base64 say different things")
	}
	w.unseal()
	w.ok("GET", "auth/token/lookup-self", w.root, "")

	for _, path := range []string{"sys/rotate/root", "sys/rekey"} {
		begun := ask[pgpAnswer](w, "PUT", path+"/init", w.root, `{"secret_shares":2,"secret_threshold":2,"Backup":true,"pgp_keys":`+string(both)+`}`)
		if len(begun.Fingerprints) != 2 || !begun.Backup {
			t.Errorf("%+v", begun)
		}
		var done pgpAnswer
		for _, key := range w.keys {
			done = ask[pgpAnswer](w, "PUT", path+"/update", w.root, `{"key":"`+key+`","nonce":"`+begun.Nonce+`"}`)
		}
		if !done.Complete || done.Fingerprints[1] != begun.Fingerprints[1] {
			t.Errorf("%+v", done)
		}
		w.keys = []string{one.open(done.Base64[0]), two.open(done.Base64[1])}
		kept := ask[struct {
			Nonce  string
			Keys   map[string][]string `json:"keys"`
			Base64 map[string][]string `json:"keys_base64"`
		}](w, "GET", path+"/backup", w.root, "")
		if kept.Nonce != begun.Nonce || one.open(kept.Base64[begun.Fingerprints[0]][0]) != w.keys[0] || kept.Keys[begun.Fingerprints[1]][0] != done.Keys[1] {
			t.Errorf("backup %+v", kept)
		}
		if status, _ := w.do("GET", path+"/backup", "", ""); status != 403 {
			t.Errorf("anybody reads the backup: %d", status)
		}
		w.ok("DELETE", path+"/backup", w.root, "")
		if status, answer := w.do("GET", path+"/backup", w.root, ""); status != 400 || !strings.Contains(string(answer), "no backed-up keys found") {
			t.Errorf("%d %s", status, answer)
		}
		w.ok("PUT", "sys/seal", w.root, "")
		w.unseal()
		if status, answer := w.do("PUT", path+"/init", w.root, `{"secret_shares":1,"secret_threshold":1,"backup":true}`); status != 400 || !strings.Contains(string(answer), "without providing PGP keys") {
			t.Errorf("%d %s", status, answer)
		}
	}
	begun := ask[pgpAnswer](w, "PUT", "sys/generate-root/attempt", "", `{"pgp_key":"`+one.key+`"}`)
	var done pgpAnswer
	for _, key := range w.keys {
		done = ask[pgpAnswer](w, "PUT", "sys/generate-root/update", "", `{"key":"`+key+`","nonce":"`+begun.Nonce+`"}`)
	}
	if begun.Fingerprint == "" || done.Fingerprint != begun.Fingerprint {
		t.Errorf("%+v, then %+v", begun, done)
	}
	w.ok("GET", "auth/token/lookup-self", one.open(done.Encoded), "")
}

// signOnly is somebody's key without the part for encryption.
func signOnly(r *ring) []byte {
	return r.gpg("", "--export-options", "export-minimal", "--export-filter", "drop-subkey=usage =~ e", "--export")
}
