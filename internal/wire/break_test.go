// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/goldkeep/goldkeep/internal/audit"
)

// TestNothingReadableOnDisk plants names, values and tokens and looks for them
// in every byte that was written, and in the log.
func TestNothingReadableOnDisk(t *testing.T) {
	w := newWorld(t)
	w.ok("POST", "sys/mounts/planted-mount", w.root, `{"type":"kv-v2"}`)
	w.ok("POST", "secret/data/planted-name/inner", w.root, `{"data":{"planted-field":"planted-value"}}`)
	w.ok("POST", "secret/metadata/planted-name/inner", w.root, `{"custom_metadata":{"planted-meta":"planted-text"}}`)
	w.ok("POST", "planted-mount/data/planted-other", w.root, `{"data":{"planted-field":"`+strings.Repeat("planted-value", 5000)+`"}}`)
	w.ok("GET", "secret/data/planted-name/inner?version=1", w.root, "")
	w.ok("POST", "cubbyhole/planted-drawer", w.root, `{"planted-field":"planted-value"}`)
	tok := w.token(`path "secret/data/planted-name/*" { capabilities = ["read"] }`, `,"meta":{"planted-meta":"planted-text"}`)
	w.do("GET", "secret/data/planted-denied", tok, "")
	w.do("POST", "secret/data/planted-name/inner", w.root, `{"data":"planted-wrong"}`)
	w.do("POST", "secret/data/planted-name/..", w.root, `{"planted`)
	wrapped := w.ok("GET", "secret/data/planted-name/inner", w.root, "", "X-Vault-Wrap-TTL", "60")
	var wrap struct {
		Info struct {
			Token string `json:"token"`
		} `json:"wrap_info"`
	}
	w.must(json.Unmarshal(wrapped, &wrap))
	w.do("GET", "secret/data/planted-name/inner", "hvs.planted-foreign-token", "")

	needles := []string{"planted-field", "planted-value", "planted-name", "planted-meta", "planted-text", "planted-drawer", "planted-denied", "planted-wrong", "planted-other", "planted-foreign", w.root, tok, wrap.Info.Token}
	needles = append(needles, w.keys...)
	w.search(needles)
}

// TestNoEngineShowsItsNames plants names and secrets in every engine there is.
func TestNoEngineShowsItsNames(t *testing.T) {
	w := newWorld(t)
	for _, mount := range []string{"sys/mounts/transit", "sys/mounts/totp", "sys/auth/approle", "sys/auth/userpass"} {
		_, kind, _ := strings.Cut(strings.TrimPrefix(mount, "sys/"), "/")
		w.ok("POST", mount, w.root, `{"type":"`+kind+`"}`)
	}
	for _, ask := range []struct{ path, body string }{
		{"transit/keys/planted-key", `{"exportable":true}`},
		{"transit/encrypt/planted-key", `{"plaintext":"cGxhbnRlZC1wbGFpbnRleHQ=","associated_data":"cGxhbnRlZC1wbGFpbnRleHQ="}`},
		{"transit/hmac/planted-key", `{"input":"cGxhbnRlZC1wbGFpbnRleHQ="}`},
		{"totp/keys/planted-account", `{"generate":true,"issuer":"planted-issuer","account_name":"planted-account","exported":true}`},
		{"auth/approle/role/planted-role", `{"token_policies":"planted-policy"}`},
		{"auth/approle/role/planted-role/custom-secret-id", `{"secret_id":"planted-secret-id","metadata":"{\"planted-meta\":\"planted-text\"}"}`},
		{"auth/userpass/users/planted-user", `{"password":"planted-password","token_policies":"planted-policy"}`},
		{"auth/userpass/login/planted-user", `{"password":"planted-password"}`},
		{"auth/userpass/login/planted-nobody", `{"password":"planted-wrong"}`},
		{"auth/token/roles/planted-token-role", `{"allowed_policies":"planted-policy","path_suffix":"planted-suffix"}`},
		{"auth/token/create/planted-token-role", `{"policies":["planted-policy"]}`},
		{"identity/entity", `{"name":"planted-entity","metadata":{"planted-meta":"planted-text"},"policies":["planted-policy"]}`},
		{"identity/group", `{"name":"planted-group","metadata":{"planted-meta":"planted-text"}}`},
		{"sys/policies/acl/planted-policy", `{"policy":"path \"secret/data/planted-name\" { capabilities = [\"read\"] }"}`},
		{"sys/policies/password/planted-recipe", `{"policy":"length = 20\nrule \"charset\" { charset = \"planted\" }"}`},
		{"sys/quotas/rate-limit/planted-quota", `{"rate":100000}`},
	} {
		if status, answer := w.do("POST", ask.path, w.root, ask.body); status >= 300 && !strings.Contains(ask.path, "nobody") {
			t.Errorf("%s: %d %s", ask.path, status, answer)
		}
	}
	w.search([]string{
		"planted-key", "planted-plaintext", "cGxhbnRlZC1wbGFpbnRleHQ", "planted-account", "planted-issuer", "planted-role", "planted-secret-id",
		"planted-user", "planted-password", "planted-nobody", "planted-wrong", "planted-token-role", "planted-suffix", "planted-policy",
		"planted-entity", "planted-group", "planted-meta", "planted-text", "planted-name", "planted-recipe", "planted-quota",
	})
}

// search fails where a needle is readable in any file or in the log.
func (w *world) search(needles []string) {
	w.t.Helper()
	seen := 0
	look := func(where string, text []byte) {
		for _, needle := range needles {
			for _, form := range []string{needle, base64.StdEncoding.EncodeToString([]byte(needle))[:len(needle)], fmt.Sprintf("%x", needle)} {
				if bytes.Contains(text, []byte(form)) {
					w.t.Errorf("%s holds %q in clear", where, needle)
				}
			}
		}
	}
	w.must(filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		look(filepath.Base(path), text)
		seen += len(text)
		return err
	}))
	if seen < 10_000 {
		w.t.Errorf("only %d bytes on disk: is the search looking at the right files?", seen)
	}
	w.logMu.Lock()
	defer w.logMu.Unlock()
	look("the log", w.log.Bytes())
}

func TestErrorsTellNoSecrets(t *testing.T) {
	w := newWorld(t)
	for _, body := range []string{`{"data":"planted"}`, `{"data":{"planted":`, `{"data":{},"options":{"cas":"planted"}}`} {
		status, answer := w.do("POST", "secret/data/a", w.root, body)
		if status != 400 || bytes.Contains(answer, []byte("planted")) {
			t.Errorf("%s: %d %s", body, status, answer)
		}
	}
	_, answer := w.do("POST", "auth/token/lookup", w.root, `{"token":"planted"}`)
	if bytes.Contains(answer, []byte("planted")) {
		t.Errorf("lookup: %s", answer)
	}
}

// TestNoAuditNoAnswer breaks the audit at each record of each kind of request:
// nothing may be answered, and nothing handed out may work.
func TestNoAuditNoAnswer(t *testing.T) {
	w := newWorld(t)
	w.ok("POST", "secret/data/a", w.root, `{"data":{"k":"planted-value"}}`)
	for _, c := range []struct {
		name, method, path, body string
		records                  int64
	}{
		{"read", "GET", "secret/data/a", "", 1},
		{"list", "LIST", "secret/metadata/", "", 1},
		{"write", "POST", "secret/data/b", `{"data":{"k":"v"}}`, 2},
		{"token", "POST", "auth/token/create", `{}`, 2},
		{"chosen token", "POST", "auth/token/create", `{"id":"planted-id"}`, 2},
		{"denied", "GET", "secret/data/a", "", 1},
		{"mounts", "GET", "sys/mounts", "", 1},
	} {
		for skip := range c.records {
			t.Run(fmt.Sprintf("%s/%d", c.name, skip), func(t *testing.T) {
				token := w.root
				if c.name == "denied" {
					token = "nobody"
				}
				before := w.accessors()
				w.audit.skip.Store(skip)
				w.audit.broken.Store(true)
				status, answer := w.do(c.method, c.path, token, c.body)
				w.audit.broken.Store(false)
				if status < 500 || bytes.Contains(answer, []byte("planted-value")) || bytes.Contains(answer, []byte("client_token")) {
					t.Errorf("answered %d %s", status, answer)
				}
				if after := w.accessors(); after != before {
					t.Errorf("%d tokens before, %d after", before, after)
				}
				if status, _ := w.do("GET", "auth/token/lookup-self", "planted-id", ""); status != 403 {
					t.Errorf("an unaudited token works: %d", status)
				}
				if status, _ := w.do("GET", "secret/data/b", w.root, ""); skip == 0 && c.name == "write" && status != 404 {
					t.Errorf("a write happened before it was recorded: %d", status)
				}
			})
		}
	}
}

func (w *world) accessors() int {
	var answer struct {
		Data struct{ Keys []string }
	}
	w.must(json.Unmarshal(w.ok("LIST", "auth/token/accessors", w.root, ""), &answer))
	return len(answer.Data.Keys)
}

func TestAuditTellsTheStory(t *testing.T) {
	w := newWorld(t)
	tok := w.token(`path "secret/data/a" { capabilities = ["create"] }`, "")
	w.ok("POST", "secret/data/a", tok, `{"data":{"k":"v"}}`)
	w.do("GET", "secret/data/a", tok, "")
	f, err := os.Open(filepath.Join(w.dir, "audit.log"))
	w.must(err)
	defer func() { _ = f.Close() }()
	result, err := audit.Verify(context.Background(), f, nil)
	if err != nil || len(result.Problems) > 0 {
		t.Fatalf("%v %v", result, err)
	}
	text, err := os.ReadFile(f.Name())
	w.must(err)
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	var denied audit.Record
	w.must(json.Unmarshal(lines[len(lines)-1], &denied))
	if denied.Answer != "deny" || denied.Reason != "rule lacks the capability" || denied.Mount != "secret/" {
		t.Errorf("the denial is %+v", denied)
	}
	detail, err := w.gate.Open(denied)
	w.must(err)
	if want := `{"path":"secret/data/a","rule":"secret/data/a","policies":["testing"],"held":["default","testing"]}`; string(detail) != want {
		t.Errorf("detail %s, want %s", detail, want)
	}
	if blinded, err := w.gate.Blind([]byte("secret/data/a")); err != nil || blinded != denied.Path {
		t.Errorf("the path is blinded as %s, want %s, %v", denied.Path, blinded, err)
	}
}

// TestRevokedAtOnce revokes a token while many use it: once the revocation has
// answered, no request that begins after it may succeed.
func TestRevokedAtOnce(t *testing.T) {
	w := newWorld(t)
	w.ok("POST", "secret/data/a", w.root, `{"data":{"k":"v"}}`)
	for range 5 {
		tok := w.token(`path "secret/data/a" { capabilities = ["read"] }`, "")
		var revoked atomic.Bool
		var late, good atomic.Int64
		var readers sync.WaitGroup
		for range 8 {
			readers.Go(func() {
				for after := 0; after < 5; {
					began := revoked.Load()
					status, _ := w.do("GET", "secret/data/a", tok, "")
					switch {
					case status == 200 && began:
						late.Add(1)
					case status == 200:
						good.Add(1)
					}
					if began {
						after++
					}
				}
			})
		}
		for good.Load() < 20 {
			w.ok("GET", "sys/health", "", "")
		}
		w.ok("POST", "auth/token/revoke", w.root, `{"token":"`+tok+`"}`)
		revoked.Store(true)
		readers.Wait()
		if late.Load() > 0 {
			t.Fatalf("%d requests succeeded after the revocation had answered", late.Load())
		}
	}
}

// TestUnwrapOnce lets many unwrap one token at once: one gets it.
func TestUnwrapOnce(t *testing.T) {
	w := newWorld(t)
	for range 10 {
		var wrap struct {
			Info struct{ Token string } `json:"wrap_info"`
		}
		w.must(json.Unmarshal(w.ok("POST", "sys/wrapping/wrap", w.root, `{"k":"v"}`, "X-Vault-Wrap-TTL", "1m"), &wrap))
		var got atomic.Int64
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				status, answer := w.do("POST", "sys/wrapping/unwrap", wrap.Info.Token, "")
				switch {
				case status == 200 && bytes.Contains(answer, []byte(`"k":"v"`)):
					got.Add(1)
				case status != 400:
					t.Errorf("unwrap: %d %s", status, answer)
				}
			})
		}
		all.Wait()
		if got.Load() != 1 {
			t.Fatalf("%d got the answer", got.Load())
		}
	}
}

// TestLeases follows what an engine hands out to its end.
func TestLeases(t *testing.T) {
	w := newWorld(t)
	w.ok("POST", "sys/mounts/db", w.root, `{"type":"issuer"}`)
	get := func(token string, headers ...string) (id string) {
		t.Helper()
		var answer struct {
			ID string `json:"lease_id"`
		}
		w.must(json.Unmarshal(w.ok("GET", "db/creds/app", token, "", headers...), &answer))
		return answer.ID
	}
	id := get(w.root)
	if !strings.HasPrefix(id, "db/creds/app/") {
		t.Errorf("lease id %q", id)
	}
	if answer := w.ok("PUT", "sys/leases/lookup", w.root, `{"lease_id":"`+id+`"}`); !bytes.Contains(answer, []byte(`"renewable":true`)) {
		t.Errorf("lookup: %s", answer)
	}
	if answer := w.ok("PUT", "sys/leases/renew", w.root, `{"lease_id":"`+id+`","increment":60}`); !bytes.Contains(answer, []byte(`"lease_duration":60`)) {
		t.Errorf("renew: %s", answer)
	}
	if answer := w.ok("LIST", "sys/leases/lookup/db/creds/app", w.root, ""); !bytes.Contains(answer, []byte(id[len("db/creds/app/"):])) {
		t.Errorf("list: %s", answer)
	}
	w.ok("PUT", "sys/leases/revoke/"+id, w.root, "")
	if status, _ := w.do("PUT", "sys/leases/lookup", w.root, `{"lease_id":"`+id+`"}`); status != 400 || w.held() != 0 {
		t.Errorf("a revoked lease: %d, %d at the target", status, w.held())
	}

	w.audit.skip.Store(1)
	w.audit.broken.Store(true)
	status, answer := w.do("GET", "db/creds/app", w.root, "")
	w.audit.broken.Store(false)
	w.must(w.leases.Settle(t.Context()))
	if status < 500 || bytes.Contains(answer, []byte("planted-value")) || w.held() != 0 {
		t.Errorf("unaudited: %d %s, %d at the target", status, answer, w.held())
	}

	tok := w.token(`path "db/*" { capabilities = ["read"] }`, "")
	get(tok)
	get(tok, "X-Vault-Wrap-TTL", "60")
	w.ok("POST", "auth/token/revoke", w.root, `{"token":"`+tok+`"}`)
	w.must(w.leases.Settle(t.Context()))
	if w.held() != 0 {
		t.Errorf("%d credentials outlive their token", w.held())
	}
	get(w.root)
	w.ok("DELETE", "sys/mounts/db", w.root, "")
	if w.held() != 0 {
		t.Errorf("%d credentials outlive their mount", w.held())
	}
}

// TestSealingUnderLoad seals and unseals while others read and write: each gets
// the right answer or is told that the server is sealed, nothing between.
func TestSealingUnderLoad(t *testing.T) {
	w := newWorld(t)
	w.ok("POST", "secret/data/a", w.root, `{"data":{"k":"value"}}`)
	var done atomic.Bool
	var right atomic.Int64
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			for !done.Load() {
				method, path, body, want := "GET", "secret/data/a", "", `"k":"value"`
				if n%2 == 0 {
					method, path, body, want = "POST", fmt.Sprintf("secret/data/w%d", n), `{"data":{}}`, `"version":`
				}
				status, answer := w.do(method, path, w.root, body)
				switch {
				case status == 200 && bytes.Contains(answer, []byte(want)):
					right.Add(1)
				case status != 503 || !bytes.Contains(answer, []byte("Vault is sealed")):
					t.Errorf("%s: %d %s", method, status, answer)
				}
			}
		})
	}
	for range 10 {
		before := right.Load()
		for right.Load() < before+20 {
			w.ok("GET", "sys/seal-status", "", "")
		}
		w.ok("PUT", "sys/seal", w.root, "")
		w.unseal()
	}
	done.Store(true)
	all.Wait()
}

func TestLimitedUses(t *testing.T) {
	w := newWorld(t)
	tok := w.token(`path "secret/*" { capabilities = ["read"] }`, `,"num_uses":3`)
	var fine atomic.Int64
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			if status, _ := w.do("GET", "secret/data/nothing", tok, ""); status == 404 {
				fine.Add(1)
			}
		})
	}
	all.Wait()
	if fine.Load() != 3 {
		t.Errorf("a token for 3 uses was used %d times", fine.Load())
	}
}

func TestSealedSaysSo(t *testing.T) {
	w := newWorld(t)
	w.ok("PUT", "sys/seal", w.root, "")
	for _, path := range []string{"secret/data/a", "sys/mounts", "auth/token/lookup-self", "unknown", "sys/internal/ui/mounts"} {
		status, answer := w.do("GET", path, w.root, "")
		if status != 503 || !bytes.Contains(answer, []byte("Vault is sealed")) {
			t.Errorf("%s: %d %s", path, status, answer)
		}
	}
	for _, c := range []struct {
		method, path, token string
		status              int
	}{
		{"GET", "api/v1/images/x", w.root, 200},
		{"GET", "api/v1/images/x", "hvs.foreign", 403},
		{"GET", "api/v1/images/x", "", 403},
		{"POST", "api/v1/images", w.root, 503},
		{"GET", "api/v1/workloads", w.root, 503},
	} {
		if status, answer := w.do(c.method, c.path, c.token, ""); status != c.status {
			t.Errorf("sealed %s %s by %q: %d %s, want %d", c.method, c.path, c.token, status, answer, c.status)
		}
	}
	if status, _ := w.do("PUT", "sys/unseal", "", `{"key":"`+strings.Repeat("ab", 33)+`"}`); status >= 500 {
		t.Errorf("a wrong share: %d", status)
	}
	w.ok("PUT", "sys/unseal", "", `{"reset":true}`)
	w.unseal()
	if status, _ := w.do("PUT", "sys/init", "", `{"secret_shares":1,"secret_threshold":1}`); status != 400 {
		t.Errorf("a second init: %d", status)
	}
}
