// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// ask sends one request that prepares a benchmark, and reads a field of its data.
func (s *server) ask(b *testing.B, method, path, body, field string) string {
	b.Helper()
	req, err := http.NewRequest(method, s.URL+"/v1/"+path, strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("X-Vault-Token", s.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= 300 {
		b.Fatalf("%s %s: %s", method, path, resp.Status)
	}
	if field == "" {
		return ""
	}
	var answer struct{ Data map[string]any }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		b.Fatal(err)
	}
	return fmt.Sprint(answer.Data[field])
}

// against compares a request with a bare handler that answers the same bytes.
func (s *server) against(b *testing.B, method, path, body string) {
	b.Helper()
	at := func(int64) string { return path }
	ours := newLoad(s.URL, s.token, method, body, at)
	answer, err := ours.once(1)
	if err != nil {
		b.Fatal(err)
	}
	compare(b, ours, newLoad(bare(b, answer).URL, s.token, method, body, at))
}

// BenchmarkTransitEncrypt encrypts 32 bytes with AES-256-GCM. Aim: ratio 0.35.
func BenchmarkTransitEncrypt(b *testing.B) {
	s := newServer(b)
	s.ask(b, "POST", "transit/keys/app", `{}`, "")
	s.against(b, "POST", "transit/encrypt/app", `{"plaintext":"Y29ycmVjdCBob3JzZSBiYXR0ZXJ5IHN0YXBsZQ=="}`)
}

// BenchmarkTransitDecrypt decrypts the same.
func BenchmarkTransitDecrypt(b *testing.B) {
	s := newServer(b)
	s.ask(b, "POST", "transit/keys/app", `{}`, "")
	sealed := s.ask(b, "POST", "transit/encrypt/app", `{"plaintext":"Y29ycmVjdCBob3JzZSBiYXR0ZXJ5IHN0YXBsZQ=="}`, "ciphertext")
	s.against(b, "POST", "transit/decrypt/app", `{"ciphertext":"`+sealed+`"}`)
}

// BenchmarkAppRoleLogin makes a token for a role with a secret id; the role is
// always the same, so all logins are one entity's. Aim: ratio 0.1.
func BenchmarkAppRoleLogin(b *testing.B) {
	s := newServer(b)
	s.ask(b, "POST", "auth/approle/role/app", `{"token_policies":"app","token_ttl":"1h"}`, "")
	role := s.ask(b, "GET", "auth/approle/role/app/role-id", "", "role_id")
	secret := s.ask(b, "POST", "auth/approle/role/app/secret-id", `{}`, "secret_id")
	s.against(b, "POST", "auth/approle/login", `{"role_id":"`+role+`","secret_id":"`+secret+`"}`)
}
