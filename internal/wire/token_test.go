// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestTokenRoles: a role says what tokens may be like, whatever the caller has.
func TestTokenRoles(t *testing.T) {
	w := enabled(t)
	w.call(404, "LIST", "auth/token/roles", w.root, "")
	w.call(404, "GET", "auth/token/roles/r", w.root, "")
	w.call(400, "POST", "auth/token/create/r", w.root, `{}`)
	w.call(204, "POST", "auth/token/roles/r", w.root, `{}`)
	shown := w.call(200, "GET", "auth/token/roles/r", w.root, "").Data
	for name, want := range map[string]any{
		"name": "r", "orphan": false, "renewable": true, "path_suffix": "", "token_type": "default-service", "token_period": 0.0, "period": 0.0,
		"token_explicit_max_ttl": 0.0, "explicit_max_ttl": 0.0, "token_num_uses": 0.0, "token_no_default_policy": false,
	} {
		if shown[name] != want {
			t.Errorf("%s: %v, want %v", name, shown[name], want)
		}
	}
	for _, name := range []string{"allowed_policies", "allowed_policies_glob", "disallowed_policies", "disallowed_policies_glob", "token_bound_cidrs"} {
		if list, ok := shown[name].([]any); !ok || len(list) != 0 {
			t.Errorf("%s: %v", name, shown[name])
		}
	}
	w.call(204, "POST", "auth/token/roles/r", w.root, `{"allowed_policies":"reader,other","allowed_policies_glob":["app-*"],"disallowed_policies_glob":"app-root*",
		"orphan":true,"path_suffix":"ci","token_period":"1h","token_num_uses":5,"token_no_default_policy":true}`)
	for _, body := range []string{`{"path_suffix":"../x"}`, `{"token_type":"cosmic"}`, `{"token_type":"batch"}`, `{"token_num_uses":-1}`} {
		w.call(400, "POST", "auth/token/roles/r", w.root, body)
	}
	made := w.call(200, "POST", "auth/token/create/r", w.root, `{"display_name":"ci"}`).Auth
	if strings.Join(made.Policies, " ") != "other reader" || !made.Orphan || made.TTL != 3600 || made.Uses != 5 {
		t.Errorf("made: %+v", made)
	}
	look := w.call(200, "POST", "auth/token/lookup", w.root, `{"token":"`+made.Token+`"}`).Data
	if look["path"] != "auth/token/create/r/ci" || look["display_name"] != "token-ci" || look["period"] != 3600.0 {
		t.Errorf("lookup: %v", look)
	}
	for body, want := range map[string]int{
		`{"policies":["reader"]}`: 200, `{"policies":["App-x"]}`: 200, `{"policies":["app-rootish"]}`: 400, `{"policies":["root"]}`: 400, `{"policies":["none"]}`: 400,
		`{"entity_alias":"x"}`: 400,
	} {
		w.call(want, "POST", "auth/token/create/r", w.root, body)
	}
	// A caller without these policies and without sudo may use the role all the same.
	ci := w.token(`path "auth/token/create/r" { capabilities = ["update"] }`, "")
	w.call(200, "POST", "auth/token/create/r", ci, `{"policies":["reader"]}`)
	w.call(400, "POST", "auth/token/create/r", ci, `{"policies":["reader"],"id":"chosen"}`)
	w.call(403, "POST", "auth/token/create", ci, `{}`)
	if keys := texts(w.call(200, "LIST", "auth/token/roles", w.root, "").Data["keys"]); !slices.Equal(keys, []string{"r"}) {
		t.Errorf("roles: %q", keys)
	}
	w.call(204, "DELETE", "auth/token/roles/r", w.root, "")
	w.call(404, "GET", "auth/token/roles/r", w.root, "")
}

// TestRenewedByTheRoleAsItIs: what was made by a role lives as the role says now, and
// not on where it is gone.
func TestRenewedByTheRoleAsItIs(t *testing.T) {
	w := enabled(t)
	w.call(204, "POST", "auth/token/roles/r", w.root, `{"allowed_policies":"reader","token_period":"1h"}`)
	made := w.call(200, "POST", "auth/token/create/r", w.root, `{}`).Auth
	w.call(204, "POST", "auth/token/roles/r", w.root, `{"token_period":"20m"}`)
	if got := w.call(200, "POST", "auth/token/renew-self", made.Token, `{}`).Auth.TTL; got != 1200 {
		t.Errorf("with a shorter period: %d", got)
	}
	w.call(204, "POST", "auth/token/roles/r", w.root, `{"token_explicit_max_ttl":"10m"}`)
	if got := w.call(200, "POST", "auth/token/renew-accessor", w.root, `{"accessor":"`+made.Accessor+`"}`).Auth.TTL; got > 600 {
		t.Errorf("with an end: %d", got)
	}
	w.call(204, "DELETE", "auth/token/roles/r", w.root, "")
	if a := w.call(400, "POST", "auth/token/renew", w.root, `{"token":"`+made.Token+`"}`); !a.says("could not be found, not renewing") {
		t.Errorf("without the role: %v", a.Errors)
	}
	w.call(400, "POST", "auth/token/renew-self", made.Token, `{}`)
}

// TestRoleCreateOrUpdate: who may only create cannot change a role that is there.
func TestRoleCreateOrUpdate(t *testing.T) {
	w := enabled(t)
	maker := w.token(`path "auth/token/roles/*" { capabilities = ["create"] }`, "")
	w.call(204, "POST", "auth/token/roles/r", maker, `{}`)
	w.call(403, "POST", "auth/token/roles/r", maker, `{"orphan":true}`)
}

// TestEntityAlias: a token of a role may be somebody's, where the role says so.
func TestEntityAlias(t *testing.T) {
	w := enabled(t)
	w.call(204, "POST", "auth/token/roles/r", w.root, `{"allowed_entity_aliases":["web-*"],"allowed_policies":"reader"}`)
	made := w.call(200, "POST", "auth/token/create/r", w.root, `{"entity_alias":"web-1"}`).Auth
	again := w.call(200, "POST", "auth/token/create/r", w.root, `{"entity_alias":"Web-1"}`).Auth
	if made.Entity == "" || again.Entity != made.Entity {
		t.Errorf("entities: %q, %q", made.Entity, again.Entity)
	}
	e := w.call(200, "GET", "identity/entity/id/"+made.Entity, w.root, "").Data
	if alias := e["aliases"].([]any)[0].(map[string]any); alias["name"] != "web-1" || alias["mount_accessor"] != w.accessor("token") {
		t.Errorf("alias: %v", alias)
	}
	w.call(400, "POST", "auth/token/create/r", w.root, `{"entity_alias":"db-1"}`)
	w.call(400, "POST", "auth/token/create", w.root, `{"entity_alias":"web-1"}`)
}

// TestBatchTokens as clients see them.
func TestBatchTokens(t *testing.T) {
	w := enabled(t)
	made := w.call(200, "POST", "auth/token/create", w.root, `{"type":"batch","policies":["reader"],"ttl":"10m"}`).Auth
	if made.Type != "batch" || made.Accessor != "" || made.Renewable || made.TTL != 600 {
		t.Errorf("made: %+v", made)
	}
	self := w.call(200, "GET", "auth/token/lookup-self", made.Token, "").Data
	if self["type"] != "batch" || self["accessor"] != "" || self["id"] != made.Token || self["expire_time"] == nil || self["num_uses"] != 0.0 {
		t.Errorf("lookup: %v", self)
	}
	w.call(200, "GET", "secret/data/x", made.Token, "")
	w.call(403, "GET", "secret/data/y", made.Token, "")
	for path, body := range map[string]string{
		"cubbyhole/a": `{"a":"b"}`, "auth/token/renew-self": `{}`, "auth/token/revoke-self": `{}`, "auth/token/create": `{}`,
	} {
		if a := w.call(400, "POST", path, made.Token, body); len(a.Errors) == 0 {
			t.Errorf("%s: no reason", path)
		}
	}
	w.call(400, "POST", "auth/token/revoke", w.root, `{"token":"`+made.Token+`"}`)
	w.call(400, "POST", "auth/token/renew", w.root, `{"token":"`+made.Token+`"}`)
	w.ok("POST", "sys/wrapping/wrap", made.Token, `{"a":"b"}`, "X-Vault-Wrap-TTL", "60")
	for _, more := range []string{`"num_uses":1`, `"period":"1h"`, `"explicit_max_ttl":"1h"`, `"id":"x"`, `"policies":["root"]`} {
		w.call(400, "POST", "auth/token/create", w.root, `{"type":"batch","policies":["reader"],`+more+`}`)
	}
	w.call(204, "POST", "sys/auth/people", w.root, `{"type":"userpass","config":{"token_type":"batch"}}`)
	w.call(204, "POST", "auth/people/users/bob", w.root, `{"password":"planted-password","token_policies":"reader"}`)
	bob := w.call(200, "POST", "auth/people/login/bob", "", `{"password":"planted-password"}`).Auth
	if bob.Type != "batch" || bob.Entity == "" {
		t.Errorf("login: %+v", bob)
	}
	w.call(200, "GET", "secret/data/x", bob.Token, "")
	w.call(204, "DELETE", "sys/auth/people", w.root, "")
	w.call(403, "GET", "secret/data/x", bob.Token, "")
}

// TestTemplatesOverTheWire: one policy for all, each in their own folder.
func TestTemplatesOverTheWire(t *testing.T) {
	w := enabled(t)
	text, err := json.Marshal(map[string]string{"policy": fmt.Sprintf(`path "secret/data/people/{{identity.entity.aliases.%s.name}}/*" { capabilities = ["create", "read", "update"] }
path "secret/data/teams/{{identity.groups.names.devs.metadata.folder}}/*" { capabilities = ["read"] }`, w.accessor("userpass"))})
	w.must(err)
	w.call(204, "PUT", "sys/policies/acl/own", w.root, string(text))
	tokens := map[string]answer{}
	for _, name := range []string{"bob", "eve"} {
		w.call(204, "POST", "auth/userpass/users/"+name, w.root, `{"password":"planted-password","token_policies":"own"}`)
		tokens[name] = w.call(200, "POST", "auth/userpass/login/"+name, "", `{"password":"planted-password"}`)
	}
	w.call(200, "POST", "secret/data/teams/front/x", w.root, `{"data":{"a":"b"}}`)
	for name, a := range tokens {
		w.call(200, "POST", "secret/data/people/"+name+"/x", a.Auth.Token, `{"data":{"a":"b"}}`)
		for other := range tokens {
			want := 403
			if other == name {
				want = 200
			}
			w.call(want, "POST", "secret/data/people/"+other+"/x", a.Auth.Token, `{"data":{"a":"b"}}`)
		}
		w.call(200, "GET", "identity/entity/id/"+a.Auth.Entity, a.Auth.Token, "")
		w.call(403, "GET", "secret/data/teams/front/x", a.Auth.Token, "")
	}
	w.call(403, "GET", "identity/entity/id/"+tokens["bob"].Auth.Entity, tokens["eve"].Auth.Token, "")
	w.call(200, "POST", "identity/group", w.root, `{"name":"devs","metadata":{"folder":"front"},"member_entity_ids":["`+tokens["bob"].Auth.Entity+`"]}`)
	w.call(200, "GET", "secret/data/teams/front/x", tokens["bob"].Auth.Token, "")
	w.call(403, "GET", "secret/data/teams/front/x", tokens["eve"].Auth.Token, "")
}

// TestLastUse: the last use allowed is one, whatever it is for.
func TestLastUse(t *testing.T) {
	w := enabled(t)
	token := w.call(200, "POST", "auth/token/create", w.root, `{"num_uses":2,"policies":["default"],"display_name":"my name!"}`).Auth.Token
	if left := w.call(200, "GET", "auth/token/lookup-self", token, "").Data; left["num_uses"] != 1.0 || left["display_name"] != "token-my-name" {
		t.Errorf("after one: %v", left)
	}
	if left := w.call(200, "GET", "auth/token/lookup-self", token, "").Data["num_uses"]; left != -1.0 {
		t.Errorf("in the last: %v", left)
	}
	w.call(403, "GET", "auth/token/lookup-self", token, "")
	w.call(403, "POST", "auth/token/lookup", w.root, `{"token":"`+token+`"}`)
}
