// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestUnwrapByReading unwraps as old clients do, and as newer ones fall back to:
// by reading the wrapping token's own drawer, once.
func TestUnwrapByReading(t *testing.T) {
	w := newWorld(t)
	wrapped := w.ok("POST", "sys/wrapping/wrap", w.root, `{"k":"v"}`, "X-Vault-Wrap-TTL", "1m")
	var wrap struct {
		ID   string            `json:"request_id"`
		Info map[string]any    `json:"wrap_info"`
		Auth map[string]string `json:"auth"`
	}
	w.must(json.Unmarshal(wrapped, &wrap))
	if _, told := wrap.Info["wrapped_accessor"]; wrap.ID != "" || told {
		t.Errorf("a wrapped answer tells %s", wrapped)
	}
	token := wrap.Info["token"].(string)
	for _, path := range []string{"cubbyhole/other", "secret/data/a", "auth/token/lookup-self"} {
		if status, answer := w.do("GET", path, token, ""); status != 403 {
			t.Errorf("a wrapping token reads %s: %d %s", path, status, answer)
		}
	}
	if status, answer := w.do("POST", "cubbyhole/response", token, `{"a":"b"}`); status != 403 {
		t.Errorf("a wrapping token writes: %d %s", status, answer)
	}
	var got struct{ Data struct{ Response string } }
	w.must(json.Unmarshal(w.ok("GET", "cubbyhole/response", token, ""), &got))
	if !strings.Contains(got.Data.Response, `"data":{"k":"v"}`) {
		t.Errorf("kept was %q", got.Data.Response)
	}
	for _, again := range []string{"GET cubbyhole/response", "POST sys/wrapping/unwrap"} {
		method, path, _ := strings.Cut(again, " ")
		if status, answer := w.do(method, path, token, ""); status != 403 && status != 400 {
			t.Errorf("%s again: %d %s", again, status, answer)
		}
	}
}

// TestLockoutOfAMount locks people out after as many failures as the mount says.
func TestLockoutOfAMount(t *testing.T) {
	w := newWorld(t)
	w.ok("POST", "sys/auth/up", w.root, `{"type":"userpass","config":{"user_lockout_config":{"lockout_threshold":"2","lockout_duration":"1h"}}}`)
	w.ok("POST", "auth/up/users/ann", w.root, `{"password":"right"}`)
	try := func(password string) int {
		status, _ := w.do("POST", "auth/up/login/ann", "", `{"password":"`+password+`"}`)
		return status
	}
	for i, want := range []int{400, 400, 403} {
		if got := try("wrong"); got != want {
			t.Errorf("wrong login %d: %d, want %d", i+1, got, want)
		}
	}
	if got := try("right"); got != 403 {
		t.Errorf("a locked user logs in: %d", got)
	}
	w.ok("POST", "sys/auth/up/tune", w.root, `{"user_lockout_config":{"lockout_disable":true}}`)
	if got := try("right"); got != 200 {
		t.Errorf("without lockouts: %d", got)
	}
}

// TestTextsOfTheReference compares whole errors, as some clients do.
func TestTextsOfTheReference(t *testing.T) {
	w := newWorld(t)
	w.ok("POST", "sys/mounts/one", w.root, `{"type":"kv","config":{"max_lease_ttl":"2h"}}`)
	reader := w.token("# nothing", "")
	const listed = "1 error occurred:\n\t* "
	for _, c := range []struct{ does, token, body, want string }{
		{"GET sys/mounts", reader, "", listed + "permission denied\n\n"},
		{"GET sys/mounts", "none", "", "permission denied"},
		{"POST sys/mounts", w.root, "{}", listed + "unsupported operation\n\n"},
		{"GET sys/none", w.root, "", listed + "unsupported path\n\n"},
		{"GET sys/mounts/none/tune", w.root, "", `cannot fetch sysview for path "none/"`},
		{"POST sys/mounts/none/tune", w.root, "{}", `tune of path "none/" failed: no mount entry found`},
		{"POST sys/mounts/x", w.root, `{"type":"nothing"}`, "plugin not found in the catalog: nothing"},
		{"POST sys/mounts/sys", w.root, `{"type":"kv"}`, `cannot mount "sys/"`},
		{"POST sys/mounts/x", w.root, `{"type":"kv","config":{"default_lease_ttl":"abc"}}`, `unable to parse default TTL of abc: time: invalid duration "abc"`},
		{"POST sys/mounts/one/tune", w.root, `{"default_lease_ttl":"3h"}`, "backend max lease TTL of 7200 would be less than backend default lease TTL of 10800"},
		{"DELETE sys/auth/token", w.root, "", "token credential backend cannot be disabled"},
		{"POST sys/remount", w.root, `{"from":"sys","to":"x"}`, `cannot remount "sys/"`},
		{"PUT sys/policies/acl/bad", w.root, `{"policy":"path \"a\" { capabilities = [\"fly\"] }"}`, `failed to parse policy: path "a": invalid capability "fly"`},
		{"DELETE sys/policies/acl/default", w.root, "", "cannot delete default policy"},
		{"GET sys/policies/password/none", w.root, "", listed + "policy does not exist\n\n"},
		{"POST auth/token/create", w.root, `{"ttl":"wrong"}`, `time: invalid duration "wrong"`},
		{"POST auth/token/create", w.root, `{"ttl":"-1h"}`, "ttl must be positive"},
		{"PUT sys/leases/lookup", w.root, `{"lease_id":"none"}`, "invalid lease"},
		{"POST secret/data/x", w.root, `[1]`, "error parsing JSON"},
	} {
		method, path, _ := strings.Cut(c.does, " ")
		_, answer := w.do(method, path, c.token, c.body)
		var got struct{ Errors []string }
		w.must(json.Unmarshal(answer, &got))
		if len(got.Errors) != 1 || got.Errors[0] != c.want {
			t.Errorf("%s %s: %q, want %q", c.does, c.body, got.Errors, c.want)
		}
	}
}
