// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/goldkeep/goldkeep/internal/wire"
)

// TestRules walks the rules that every endpoint shares.
func TestRules(t *testing.T) {
	w := newWorld(t)
	w.ok("POST", "secret/data/a", w.root, `{"data":{"n":9007199254740993,"d":1.10,"t":"<&>","e":1E400}}`)
	reader := w.token(`path "secret/data/a" { capabilities = ["read"] }
path "secret/data/new" { capabilities = ["create"] }
path "secret/data/old" { capabilities = ["update"] }
path "unknown/*" { capabilities = ["read"] }`, "")
	w.ok("POST", "secret/data/old", w.root, `{"data":{}}`)
	long := strings.Repeat("x", 2000)
	for _, c := range []struct {
		name, method, path, token, body string
		headers                         []string
		status                          int
		has                             string
	}{
		{"numbers are exact", "GET", "secret/data/a", w.root, "", nil, 200, `"n":9007199254740993,"d":1.10,"t":"<&>","e":1E400`},
		{"envelope", "GET", "secret/data/a", w.root, "", nil, 200, `"lease_id":"","renewable":false,"lease_duration":0,"data":{`},
		{"envelope's end", "GET", "secret/data/a", w.root, "", nil, 200, `"wrap_info":null,"warnings":null,"auth":null}`},
		{"bearer", "GET", "secret/data/a", "", "", []string{"Authorization", "Bearer " + w.root}, 200, ""},
		{"a proxy's authorization", "GET", "secret/data/a", w.root, "", []string{"Authorization", "Basic eDp5"}, 200, ""},
		{"no token", "GET", "secret/data/a", "", "", nil, 403, `{"errors":["permission denied"]}`},
		{"bad token", "GET", "secret/data/a", "hvs.nobody", "", nil, 403, "permission denied"},
		{"no rule", "GET", "secret/data/b", reader, "", nil, 403, "permission denied"},
		{"create allowed", "POST", "secret/data/new", reader, `{"data":{}}`, nil, 200, `"version":1`},
		{"update not", "POST", "secret/data/new", reader, `{"data":{}}`, nil, 403, "permission denied"},
		{"update allowed", "POST", "secret/data/old", reader, `{"data":{}}`, nil, 200, `"version":2`},
		{"unknown route with rights", "GET", "unknown/a", reader, "", nil, 404, "no handler for route"},
		{"unknown route without", "GET", "elsewhere/a", reader, "", nil, 403, "permission denied"},
		{"login to nowhere", "POST", "auth/nowhere/login", "", `{}`, nil, 403, "permission denied"},
		{"read of nothing", "GET", "secret/data/none", w.root, "", nil, 404, `{"errors":[]}`},
		{"read of a folder", "GET", "secret/data/a/", w.root, "", nil, 404, ""},
		{"read of no key", "GET", "secret/data/", w.root, "", nil, 404, ""},
		{"delete of a folder", "DELETE", "secret/metadata/a/", w.root, "", nil, 204, ""},
		{"list of a mount", "LIST", "secret", w.root, "", nil, 404, ""},
		{"list of all mounts", "LIST", "sys/policies/acl/", w.root, "", nil, 200, `"default"`},
		{"list of nothing", "LIST", "secret/metadata/none", w.root, "", nil, 404, `{"errors":[]}`},
		{"list by query", "GET", "secret/metadata?list=true", w.root, "", nil, 200, `"keys":["a","new","old"]`},
		{"list by verb", "LIST", "secret/metadata", w.root, "", nil, 200, `"keys":["a","new","old"]`},
		{"list and scan", "GET", "secret/metadata?list=true&scan=true", w.root, "", nil, 400, ""},
		{"delete of nothing", "DELETE", "secret/data/none", w.root, "", nil, 204, ""},
		{"unmount of nothing", "DELETE", "sys/mounts/none", w.root, "", nil, 204, ""},
		{"no such mount", "GET", "sys/mounts/none", w.root, "", nil, 400, "No secret engine mount at none/"},
		{"no such auth", "GET", "sys/auth/none", w.root, "", nil, 400, "No auth engine at none/"},
		{"wrong verb", "LIST", "secret/config", w.root, "", nil, 405, "unsupported operation"},
		{"wrong verb on sys", "DELETE", "sys/seal-status", w.root, "", nil, 405, `{"errors":[]}`},
		{"strange verb", "BREW", "secret/data/a", w.root, "", nil, 405, ""},
		{"not a v2 path", "GET", "secret/a", w.root, "", nil, 404, `"warnings":["Invalid path`},
		{"patch without type", "PATCH", "secret/data/a", w.root, `{"data":{}}`, nil, 415, "merge-patch"},
		{"patch of nothing", "PATCH", "secret/data/none", w.root, `{"data":{}}`, []string{"Content-Type", "application/merge-patch+json"}, 404, ""},
		{"no data", "POST", "secret/data/x", w.root, `{}`, nil, 400, "no data provided"},
		{"cas", "POST", "secret/data/a", w.root, `{"data":{},"options":{"cas":"0"}}`, nil, 400, "check-and-set parameter did not match the current version"},
		{"write to a folder", "POST", "secret/data/x/", w.root, `{"data":{}}`, nil, 400, ""},
		{"form body", "POST", "cubbyhole/f", w.root, "a=b&c=d", []string{"Content-Type", "application/x-www-form-urlencoded"}, 204, ""},
		{"form read back", "GET", "cubbyhole/f", w.root, "", nil, 200, `"data":{"a":"b","c":"d"}`},
		{"json called a form", "POST", "cubbyhole/g", w.root, `{"a":1}`, []string{"Content-Type", "application/x-www-form-urlencoded"}, 204, ""},
		{"broken json", "POST", "secret/data/x", w.root, `{"data":{`, nil, 400, "error parsing JSON"},
		{"json list", "POST", "secret/data/x", w.root, `[1]`, nil, 400, "error parsing JSON"},
		{"deep json", "POST", "secret/data/x", w.root, strings.Repeat(`{"data":`, 100_000), nil, 400, "nested"},
		{"not utf-8", "POST", "secret/data/x", w.root, "{\"data\":{\"a\":\"\xff\"}}", nil, 400, "UTF-8"},
		{"dots", "GET", "secret/data/../data/a", w.root, "", nil, 400, "relative"},
		{"escaped dots", "GET", "secret/data/%2e%2e/data/a", w.root, "", nil, 400, "relative"},
		{"two slashes", "GET", "secret//data/a", w.root, "", nil, 400, "empty segment"},
		{"escaped slash", "GET", "secret%2fdata%2fa", reader, "", nil, 200, `"n":9`},
		{"control character", "GET", "secret/data/a%00", w.root, "", nil, 400, "non-printable"},
		{"newline", "POST", "secret/data/a%0ab", w.root, `{"data":{}}`, nil, 400, "non-printable"},
		{"long path", "GET", "secret/data/" + long, w.root, "", nil, 400, "over 1024 bytes"},
		{"root namespace", "GET", "secret/data/a", w.root, "", []string{"X-Vault-Namespace", "/"}, 200, ""},
		{"other namespace", "GET", "secret/data/a", w.root, "", []string{"X-Vault-Namespace", "team"}, 404, ""},
		{"bad wrap ttl", "GET", "secret/data/a", w.root, "", []string{"X-Vault-Wrap-TTL", "soon"}, 400, "X-Vault-Wrap-TTL"},
		{"wrap without header", "POST", "sys/wrapping/wrap", w.root, `{"a":1}`, nil, 400, "wrapping"},
		{"foreign wrapping token", "POST", "sys/wrapping/unwrap", w.root, "", nil, 400, "wrapping token is not valid or does not exist"},
		{"preflight", "GET", "sys/internal/ui/mounts/secret/x/y", reader, "", nil, 200, `"path":"secret/"`},
		{"preflight of nothing", "GET", "sys/internal/ui/mounts/none/x", reader, "", nil, 403, ""},
		{"preflight by nobody", "GET", "sys/internal/ui/mounts/secret/x", "", "", nil, 403, ""},
		{"root policy", "PUT", "sys/policies/acl/root", w.root, `{"policy":"path \"x\" {capabilities=[\"read\"]}"}`, nil, 400, ""},
		{"default policy", "DELETE", "sys/policies/acl/default", w.root, "", nil, 400, "cannot delete"},
		{"token mount", "DELETE", "sys/auth/token", w.root, "", nil, 400, ""},
		{"health by code", "GET", "sys/health?activecode=299", "", "", nil, 299, `"sealed":false`},
		{"hash", "POST", "sys/tools/hash/sha2-256", w.root, `{"input":"YQ=="}`, nil, 200, "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"},
		{"random", "POST", "sys/tools/random/platform/8", w.root, `{"format":"hex"}`, nil, 200, `"random_bytes":"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, header, answer := w.send(c.method, c.path, c.token, c.body, c.headers...)
			if status != c.status || !bytes.Contains(answer, []byte(c.has)) {
				t.Errorf("%d %.300s, want %d with %q", status, answer, c.status, c.has)
			}
			if header.Get("Cache-Control") != "no-store" {
				t.Error("the answer may be cached")
			}
			if len(answer) > 0 && header.Get("Content-Type") != "application/json" {
				t.Errorf("content type %q", header.Get("Content-Type"))
			}
			if status != 204 && !json.Valid(answer) {
				t.Errorf("no JSON: %s", answer)
			}
		})
	}
}

// TestHistory writes versions of many sizes and reads them all back, so that
// those within a key's record and those beside it are met.
func TestHistory(t *testing.T) {
	w := newWorld(t)
	w.ok("POST", "secret/metadata/h", w.root, `{"max_versions":12}`)
	sizes := []int{10, 40 << 10, 3 << 10, 3 << 10, 3 << 10, 7 << 10, 20, 33 << 10, 9 << 10, 1 << 10, 5, 31 << 10, 8 << 10, 2}
	body := func(n int) string { return strings.Repeat(string(rune('a'+n)), sizes[n]) }
	for n := range sizes {
		w.ok("POST", "secret/data/h", w.root, `{"data":{"v":"`+body(n)+`"}}`)
	}
	for n := range sizes {
		status, answer := w.do("GET", fmt.Sprintf("secret/data/h?version=%d", n+1), w.root, "")
		if kept := n >= len(sizes)-12; kept != (status == 200) || kept && !bytes.Contains(answer, []byte(`"`+body(n)+`"`)) {
			t.Errorf("version %d: %d %.100s", n+1, status, answer)
		}
	}
	w.ok("POST", "secret/destroy/h", w.root, `{"versions":[8,14]}`)
	if status, _ := w.do("GET", "secret/data/h?version=8", w.root, ""); status != 404 {
		t.Errorf("a destroyed version: %d", status)
	}
}

func TestLargeBody(t *testing.T) {
	w := newWorld(t)
	value := strings.Repeat("x", 1<<20)
	w.ok("POST", "secret/data/large", w.root, `{"data":{"v":"`+value+`"}}`)
	w.ok("POST", "secret/data/large", w.root, `{"data":{"v":"small"}}`)
	if answer := w.ok("GET", "secret/data/large?version=1", w.root, ""); !bytes.Contains(answer, []byte(value)) {
		t.Error("a large value came back otherwise")
	}
	status, answer := w.do("POST", "secret/data/large", w.root, `{"data":{"v":"`+strings.Repeat("x", 33<<20)+`"}}`)
	if status != 413 {
		t.Errorf("33 MiB: %d %s", status, answer)
	}
}

// FuzzRequest sends anything: no answer may be a 5xx or no JSON, and the server
// must live.
func FuzzRequest(f *testing.F) {
	w := newWorld(f)
	h := w.srv.Config.Handler
	for _, seed := range [][3]string{
		{"POST", "secret/data/a", `{"data":{"a":1},"options":{"cas":0}}`},
		{"PATCH", "secret/data/a", `{"data":{"a":null}}`},
		{"GET", "secret/metadata/?list=true", ""},
		{"PUT", "sys/wrapping/unwrap", `{"token":"x"}`},
		{"POST", "auth/token/create", `{"ttl":"5d","policies":"a,b","meta":{"a":1}}`},
		{"POST", "sys/mounts/x", `{"type":"kv","options":{"version":2}}`},
		{"POST", "sys/tools/random/all/3", `{"bytes":"1e9"}`},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	_ = wire.Options{}
	f.Fuzz(func(t *testing.T, method, path, body string) {
		if path == "sys/seal" || strings.HasPrefix(path, "sys/seal?") {
			return
		}
		req := httptest.NewRequest("GET", "/v1/", strings.NewReader(body))
		req.Method = method
		path, query, _ := strings.Cut(path, "?")
		req.URL.Path, req.URL.RawQuery = "/v1/"+path, query
		req.Header.Set("X-Vault-Token", w.root)
		if method == "PATCH" {
			req.Header.Set("Content-Type", "application/merge-patch+json")
		}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, req)
		if rec.Code >= 500 && !strings.HasPrefix(path, "sys/health") {
			t.Errorf("%q %q %q: %d %s", method, path, body, rec.Code, rec.Body)
		}
		if rec.Body.Len() > 0 && !json.Valid(rec.Body.Bytes()) {
			t.Errorf("%q %q %q: no JSON: %s", method, path, body, rec.Body)
		}
	})
}
