// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// published are the keys everybody may read.
func (w *world) published() (set jose.JSONWebKeySet) {
	w.t.Helper()
	status, header, text := w.send("GET", "identity/oidc/.well-known/keys", "", "")
	if status != 200 || header.Get("Content-Type") != "application/json" || strings.Contains(string(text), `"d"`) {
		w.t.Fatalf("keys: %d %v %s", status, header, text)
	}
	w.must(json.Unmarshal(text, &set))
	return set
}

// active asks whether an identity token is good.
func (w *world) active(token, client string) bool {
	w.t.Helper()
	var said struct {
		Active bool `json:"active"`
	}
	w.must(json.Unmarshal(w.ok("POST", "identity/oidc/introspect", w.root, `{"token":"`+token+`","client_id":"`+client+`"}`), &said))
	return said.Active
}

// TestIdentityTokens: who logged in gets a signed token that others can check.
func TestIdentityTokens(t *testing.T) {
	w := enabled(t)
	bob := w.login("bob").Auth
	w.call(204, "POST", "identity/entity/id/"+bob.Entity, w.root, `{"metadata":{"team":"a\"b"},"policies":["signer"]}`)
	w.call(204, "PUT", "sys/policies/acl/signer", w.root, `{"policy":"path \"identity/oidc/token/*\" { capabilities = [\"read\"] }"}`)
	w.call(204, "POST", "identity/oidc/config", w.root, `{"issuer":""}`)
	if c := w.call(200, "GET", "identity/oidc/config", w.root, "").Data; c["issuer"] != "" {
		t.Errorf("config: %v", c)
	}
	w.call(400, "POST", "identity/oidc/config", w.root, `{"issuer":"https://x/y"}`)
	w.call(200, "POST", "identity/oidc/config", w.root, `{"issuer":"https://keep.example:8200"}`)
	w.call(204, "POST", "identity/oidc/role/r", w.root, `{"key":"k","ttl":"1h","template":"{\"team\": {{identity.entity.metadata.team}}, \"all\": {{identity.entity.metadata}}, \"later\": {{time.now.plus.1h}}, \"groups\": {{identity.entity.groups.names}}}"}`)
	for _, template := range []string{`{`, `{\"sub\": 1}`, `{\"a\": {{identity`, `{\"a\": {{secret.x}}}`, `[]`} {
		w.call(400, "POST", "identity/oidc/role/bad", w.root, `{"key":"k","template":"`+template+`"}`)
	}
	client := w.call(200, "GET", "identity/oidc/role/r", w.root, "").Data["client_id"].(string)
	w.call(400, "GET", "identity/oidc/token/r", bob.Token, "")
	w.call(204, "POST", "identity/oidc/key/k", w.root, `{"algorithm":"ES256"}`)
	w.call(400, "GET", "identity/oidc/token/r", bob.Token, "")
	w.call(204, "POST", "identity/oidc/key/k", w.root, `{"allowed_client_ids":["`+client+`"]}`)
	w.call(400, "GET", "identity/oidc/token/r", w.root, "") // root is nobody
	got := w.call(200, "GET", "identity/oidc/token/r", bob.Token, "").Data
	token := got["token"].(string)
	if got["client_id"] != client || got["ttl"] != 3600.0 {
		t.Errorf("token: %v", got)
	}
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	w.must(err)
	set := w.published()
	body, err := signed.Verify(set.Key(signed.Signatures[0].Header.KeyID)[0])
	w.must(err)
	var said map[string]any
	w.must(json.Unmarshal(body, &said))
	if said["iss"] != "https://keep.example:8200/v1/identity/oidc" || said["sub"] != bob.Entity || said["aud"] != client || said["team"] != `a"b` ||
		said["all"].(map[string]any)["team"] != `a"b` || said["later"].(float64)-said["iat"].(float64) != 3600 {
		t.Errorf("claims: %s", body)
	}
	if !w.active(token, client) || w.active(token, "another") || w.active(token[:len(token)-8]+"AAAAAAAA", client) || w.active("x", client) {
		t.Error("introspection is wrong")
	}
	w.call(204, "POST", "identity/oidc/key/k/rotate", w.root, `{}`)
	if !w.active(token, client) {
		t.Error("not good after a rotation")
	}
	w.call(204, "POST", "identity/oidc/key/k/rotate", w.root, `{"verification_ttl":"30m"}`)
	if k := w.call(200, "GET", "identity/oidc/key/k", w.root, "").Data; k["verification_ttl"] != 1800.0 || k["algorithm"] != "ES256" {
		t.Errorf("key: %v", k)
	}
	w.call(400, "DELETE", "identity/oidc/key/k", w.root, "")
	w.call(204, "POST", "identity/entity/id/"+bob.Entity, w.root, `{"disabled":true}`)
	if w.active(token, client) {
		t.Error("good though its entity is disabled")
	}
	w.call(204, "DELETE", "identity/oidc/role/r", w.root, "")
	w.call(204, "DELETE", "identity/oidc/key/k", w.root, "")
	if w.active(token, client) || len(w.published().Keys) != 0 {
		t.Error("good without its key")
	}
	var about map[string]any
	w.must(json.Unmarshal(w.ok("GET", "identity/oidc/.well-known/openid-configuration", "", ""), &about))
	if about["issuer"] != "https://keep.example:8200/v1/identity/oidc" || about["jwks_uri"] != "https://keep.example:8200/v1/identity/oidc/.well-known/keys" {
		t.Errorf("discovery: %v", about)
	}
}
