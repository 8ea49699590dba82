// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"encoding/json"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// answer is as much of an answer as these tests look at.
type answer struct {
	Errors []string       `json:"errors"`
	Data   map[string]any `json:"data"`
	Auth   struct {
		Token     string            `json:"client_token"`
		Policies  []string          `json:"policies"`
		Own       []string          `json:"token_policies"`
		Identity  []string          `json:"identity_policies"`
		Entity    string            `json:"entity_id"`
		Accessor  string            `json:"accessor"`
		Type      string            `json:"token_type"`
		Renewable bool              `json:"renewable"`
		Meta      map[string]string `json:"metadata"`
		TTL       int               `json:"lease_duration"`
		Orphan    bool              `json:"orphan"`
		Uses      int               `json:"num_uses"`
	} `json:"auth"`
}

// call sends a request that must end with a status, and reads its answer.
func (w *world) call(status int, method, path, token, body string) answer {
	w.t.Helper()
	got, text := w.do(method, path, token, body)
	if got != status {
		w.t.Fatalf("%s %s: %d %s; want %d", method, path, got, text, status)
	}
	var a answer
	if len(text) > 0 {
		w.must(json.Unmarshal(text, &a))
	}
	return a
}

func (a answer) says(word string) bool {
	return len(a.Errors) > 0 && strings.Contains(a.Errors[0], word)
}

// enabled is a server with both methods and a secret only "reader" may read.
func enabled(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	for _, method := range []string{"approle", "userpass"} {
		w.call(204, "POST", "sys/auth/"+method, w.root, `{"type":"`+method+`"}`)
	}
	w.call(204, "PUT", "sys/policies/acl/reader", w.root, `{"policy":"path \"secret/data/x\" { capabilities = [\"read\"] }\npath \"auth/token/create\" { capabilities = [\"update\"] }"}`)
	w.call(200, "POST", "secret/data/x", w.root, `{"data":{"a":"b"}}`)
	return w
}

func TestAppRole(t *testing.T) {
	w := enabled(t)
	w.call(404, "GET", "auth/approle/role/app", w.root, "")
	w.call(204, "POST", "auth/approle/role/app", w.root, `{"token_policies":"reader","token_ttl":"10m","token_max_ttl":"1h","secret_id_num_uses":2,"secret_id_ttl":"5m"}`)
	shown := w.call(200, "GET", "auth/approle/role/app", w.root, "").Data
	if shown["token_ttl"] != 600.0 || shown["bind_secret_id"] != true || shown["token_type"] != "default" || shown["secret_id_num_uses"] != 2.0 {
		t.Errorf("role: %v", shown)
	}
	id := w.call(200, "GET", "auth/approle/role/app/role-id", w.root, "").Data["role_id"].(string)
	secret := w.call(200, "POST", "auth/approle/role/app/secret-id", w.root, `{"metadata":"{\"by\":\"ci\"}"}`).Data
	login := func(status int, id, secret string) answer {
		t.Helper()
		return w.call(status, "POST", "auth/approle/login", "", `{"role_id":"`+id+`","secret_id":"`+secret+`"}`)
	}
	first := login(200, id, secret["secret_id"].(string))
	if first.Auth.TTL != 600 || first.Auth.Meta["role_name"] != "app" || first.Auth.Meta["by"] != "ci" || !first.Auth.Orphan || strings.Join(first.Auth.Policies, " ") != "default reader" {
		t.Errorf("login: %+v", first.Auth)
	}
	w.call(200, "GET", "secret/data/x", first.Auth.Token, "")
	w.call(403, "GET", "secret/data/y", first.Auth.Token, "")
	accessor := secret["secret_id_accessor"].(string)
	if left := w.call(200, "POST", "auth/approle/role/app/secret-id-accessor/lookup", w.root, `{"secret_id_accessor":"`+accessor+`"}`).Data; left["secret_id_num_uses"] != 1.0 {
		t.Errorf("after one use: %v", left)
	}
	login(200, id, secret["secret_id"].(string))
	if a := login(400, id, secret["secret_id"].(string)); !a.says("invalid role or secret ID") {
		t.Errorf("a spent secret ID: %v", a.Errors)
	}
	w.call(404, "POST", "auth/approle/role/app/secret-id-accessor/lookup", w.root, `{"secret_id_accessor":"`+accessor+`"}`)
	w.call(204, "POST", "auth/approle/role/app/secret-id/lookup", w.root, `{"secret_id":"nothing"}`)
	login(400, "nobody", "nothing")

	// One may only ask for less than the role gives.
	for _, more := range []string{`{"num_uses":3}`, `{"num_uses":0}`, `{"ttl":"6m"}`, `{"metadata":"[]"}`, `{"cidr_list":"here"}`} {
		w.call(400, "POST", "auth/approle/role/app/secret-id", w.root, more)
	}
	w.call(404, "POST", "auth/approle/role/none/secret-id", w.root, `{}`)
	w.call(204, "POST", "auth/approle/role/app/token-ttl", w.root, `{"token_ttl":"20m"}`)
	if got := w.call(200, "GET", "auth/approle/role/app/token-ttl", w.root, "").Data["token_ttl"]; got != 1200.0 {
		t.Errorf("token-ttl: %v", got)
	}
	w.call(204, "DELETE", "auth/approle/role/app/token-ttl", w.root, "")
	if got := w.call(200, "GET", "auth/approle/role/app", w.root, "").Data["token_ttl"]; got != 0.0 {
		t.Errorf("token_ttl after it was reset: %v", got)
	}
	w.call(204, "DELETE", "auth/approle/role/app", w.root, "")
	w.call(404, "LIST", "auth/approle/role", w.root, "")
	// A role of the same name and role ID does not honour the secret IDs of the old.
	w.call(404, "GET", "auth/approle/role/app/role-id", w.root, "")
	w.call(204, "POST", "auth/approle/role/app", w.root, `{"role_id":"`+id+`"}`)
	login(400, id, secret["secret_id"].(string))
}

// TestASecretIDIsUsedOnce even when many try at the same moment.
func TestASecretIDIsUsedOnce(t *testing.T) {
	w := enabled(t)
	w.call(204, "POST", "auth/approle/role/app", w.root, `{"role_id":"me","secret_id_num_uses":1}`)
	secret := w.call(200, "POST", "auth/approle/role/app/secret-id", w.root, `{}`).Data["secret_id"].(string)
	var in atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if status, _ := w.do("POST", "auth/approle/login", "", `{"role_id":"me","secret_id":"`+secret+`"}`); status == 200 {
				in.Add(1)
			}
		})
	}
	wg.Wait()
	if in.Load() != 1 {
		t.Errorf("one use let %d in", in.Load())
	}
}

// TestARefusedLoginTakesNoUse of a secret ID.
func TestARefusedLoginTakesNoUse(t *testing.T) {
	w := enabled(t)
	w.call(204, "POST", "auth/approle/role/app", w.root, `{"role_id":"me","secret_id_num_uses":1,"token_bound_cidrs":"192.0.2.0/24"}`)
	secret := w.call(200, "POST", "auth/approle/role/app/secret-id", w.root, `{}`).Data["secret_id"].(string)
	body := `{"role_id":"me","secret_id":"` + secret + `"}`
	if a := w.call(400, "POST", "auth/approle/login", "", body); !a.says("not authorized by CIDR") {
		t.Errorf("from elsewhere: %v", a.Errors)
	}
	w.call(204, "POST", "auth/approle/role/app", w.root, `{"token_bound_cidrs":[]}`)
	w.call(200, "POST", "auth/approle/login", "", body)
	w.call(400, "POST", "auth/approle/login", "", body)
}

func TestUserpass(t *testing.T) {
	w := enabled(t)
	w.call(400, "POST", "auth/userpass/users/Alice", w.root, `{"token_policies":["reader"]}`)
	w.call(204, "POST", "auth/userpass/users/Alice", w.root, `{"password":"long enough","token_policies":["reader"]}`)
	shown := w.call(200, "GET", "auth/userpass/users/alice", w.root, "").Data
	for name, value := range shown {
		if text, ok := value.(string); ok && (strings.Contains(text, "long") || strings.HasPrefix(text, "$2")) || strings.Contains(name, "password") {
			t.Errorf("the answer shows %s", name)
		}
	}
	got := w.call(200, "POST", "auth/userpass/login/ALICE", "", `{"password":"long enough"}`)
	if got.Auth.Meta["username"] != "alice" {
		t.Errorf("login: %+v", got.Auth)
	}
	w.call(200, "GET", "secret/data/x", got.Auth.Token, "")
	w.call(204, "POST", "auth/userpass/users/alice/password", w.root, `{"password":"another one"}`)
	if a := w.call(400, "POST", "auth/userpass/login/alice", "", `{"password":"long enough"}`); !a.says("invalid username or password") {
		t.Errorf("the old password: %v", a.Errors)
	}
	if a := w.call(400, "POST", "auth/userpass/login/nobody", "", `{"password":"x"}`); !a.says("invalid username or password") {
		t.Errorf("nobody: %v", a.Errors)
	}
	for range 4 {
		w.call(400, "POST", "auth/userpass/login/alice", "", `{"password":"guess"}`)
	}
	w.call(403, "POST", "auth/userpass/login/alice", "", `{"password":"another one"}`) // locked: five were wrong
	w.call(403, "POST", "auth/userpass/login/aLiCe", "", `{"password":"another one"}`) // by any spelling
	for range 4 {
		w.call(400, "POST", "auth/userpass/login/nobody", "", `{"password":"guess"}`)
	}
	w.call(403, "POST", "auth/userpass/login/nobody", "", `{"password":"guess"}`) // nobody is locked too: it tells nothing
	w.call(204, "DELETE", "auth/userpass/users/alice", w.root, "")
	w.call(400, "POST", "auth/userpass/login/alice", "", `{"password":"another one"}`)
}

// TestUnmountingAMethodEndsItsTokens, and nobody else's.
func TestUnmountingAMethodEndsItsTokens(t *testing.T) {
	w := enabled(t)
	w.call(204, "POST", "auth/userpass/users/a", w.root, `{"password":"p","policies":"reader"}`)
	theirs := w.call(200, "POST", "auth/userpass/login/a", "", `{"password":"p"}`).Auth.Token
	child := w.call(200, "POST", "auth/token/create", theirs, `{}`)
	w.call(204, "POST", "auth/approle/role/app", w.root, `{"role_id":"me","policies":"reader"}`)
	secret := w.call(200, "POST", "auth/approle/role/app/secret-id", w.root, `{}`).Data["secret_id"].(string)
	others := w.call(200, "POST", "auth/approle/login", "", `{"role_id":"me","secret_id":"`+secret+`"}`).Auth.Token
	w.call(204, "DELETE", "sys/auth/userpass", w.root, "")
	w.call(403, "GET", "secret/data/x", theirs, "")
	w.call(403, "GET", "auth/token/lookup-self", child.Auth.Token, "")
	w.call(200, "GET", "secret/data/x", others, "")
}

func TestWhatMethodsRefuse(t *testing.T) {
	w := enabled(t)
	for _, c := range []struct {
		status             int
		method, path, body string
	}{
		{400, "POST", "sys/auth/x", `{"type":"kv"}`},
		{400, "POST", "sys/mounts/x", `{"type":"approle"}`},
		{400, "POST", "sys/mounts/auth/x", `{"type":"approle"}`},
		{400, "POST", "sys/auth/approle", `{"type":"approle"}`},
		{400, "POST", "auth/approle/role/a", `{"bind_secret_id":false}`},
		{400, "POST", "auth/approle/role/a", `{"token_ttl":"2h","token_max_ttl":"1h"}`},
		{400, "POST", "auth/approle/role/a", `{"token_bound_cidrs":"nowhere"}`},
		{400, "POST", "auth/approle/role/a", `{"token_type":"other"}`},
		{400, "POST", "auth/userpass/users/a", `{"password":"` + strings.Repeat("x", 80) + `"}`},
		{400, "POST", "auth/userpass/users/a", `{"password_hash":"plain"}`},
		{400, "POST", "auth/userpass/users/a", `{"password_hash":"$2a$09$7EqJtq98hPqEX7fNZaFWoOhi5BWX4Z1Z3M3nmU8y8RZ6lZ0e2W0yS"}`},
		{400, "POST", "auth/userpass/users/a", `{"password_hash":"$2a$15$7EqJtq98hPqEX7fNZaFWoOhi5BWX4Z1Z3M3nmU8y8RZ6lZ0e2W0yS"}`},
		{204, "POST", "auth/userpass/users/b", `{"password_hash":"$2a$14$7EqJtq98hPqEX7fNZaFWoOhi5BWX4Z1Z3M3nmU8y8RZ6lZ0e2W0yS"}`},
	} {
		if got, text := w.do(c.method, c.path, w.root, c.body); got != c.status {
			t.Errorf("%s %s %s: %d %s", c.method, c.path, c.body, got, text)
		}
	}
	w.call(204, "POST", "auth/userpass/users/root", w.root, `{"password":"p","policies":"root"}`)
	w.call(400, "POST", "auth/userpass/login/root", "", `{"password":"p"}`)
	// A token that is bound to other addresses opens nothing here.
	w.call(204, "POST", "auth/approle/role/far", w.root, `{"role_id":"far","bind_secret_id":false,"token_bound_cidrs":"192.0.2.0/24"}`)
	w.call(400, "POST", "auth/approle/login", "", `{"role_id":"far"}`)
}
