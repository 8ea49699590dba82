// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"encoding/json"
	"encoding/pem"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

const callback = "http://127.0.0.1:9/cb"

// offering is a server whose provider "p" people can log in through.
func offering(t *testing.T) (w *world, issuer string) {
	t.Helper()
	w = enabled(t)
	w.call(204, "POST", "identity/oidc/scope/who", w.root, `{"template":"{\"name\": {{identity.entity.name}}, \"groups\": {{identity.entity.groups.names}}}"}`)
	w.call(200, "POST", "identity/oidc/provider/p", w.root, `{"issuer":"`+w.srv.URL+`","allowed_client_ids":"*","scopes_supported":"who"}`)
	return w, w.srv.URL + "/v1/identity/oidc/provider/p"
}

// client makes a program people can log in to; more are fields with a comma before.
func (w *world) client(name, more string) (id, secret string) {
	w.t.Helper()
	w.call(204, "POST", "identity/oidc/client/"+name, w.root, `{"redirect_uris":"`+callback+`","assignments":"allow_all"`+more+`}`)
	data := w.call(200, "GET", "identity/oidc/client/"+name, w.root, "").Data
	secret, _ = data["client_secret"].(string)
	return data["client_id"].(string), secret
}

// consent is what the provider's page does: it brings the person's token, and gets a
// code to send the browser back with.
func (w *world) consent(authURL, token string) (code, state string) {
	w.t.Helper()
	u, err := url.Parse(authURL)
	w.must(err)
	path := strings.TrimPrefix(u.Path, "/ui/vault/")
	var said struct{ Code, State string }
	w.must(json.Unmarshal(w.ok("GET", path+"?"+u.RawQuery, token, ""), &said))
	if said.Code == "" {
		w.t.Fatal("no code")
	}
	return said.Code, said.State
}

// TestLogInThroughProvider: a program with a library of others logs people in,
// whatever its kind and key.
func TestLogInThroughProvider(t *testing.T) {
	w, issuer := offering(t)
	bob := w.login("bob").Auth
	ctx := oidc.ClientContext(t.Context(), w.srv.Client())
	for _, algorithm := range []string{"RS256", "ES384", "EdDSA"} {
		w.call(204, "POST", "identity/oidc/key/"+algorithm, w.root, `{"allowed_client_ids":"*","algorithm":"`+algorithm+`"}`)
		for kind, style := range map[string]oauth2.AuthStyle{"confidential": oauth2.AuthStyleInHeader, "public": oauth2.AuthStyleInParams} {
			id, secret := w.client(kind+algorithm, `,"key":"`+algorithm+`","client_type":"`+kind+`"`)
			found, err := oidc.NewProvider(ctx, issuer)
			w.must(err)
			config := oauth2.Config{ClientID: id, ClientSecret: secret, Endpoint: found.Endpoint(), RedirectURL: callback, Scopes: []string{"openid", "who"}}
			config.Endpoint.AuthStyle = style
			verifier := oauth2.GenerateVerifier()
			code, state := w.consent(config.AuthCodeURL("st", oidc.Nonce("n1"), oauth2.S256ChallengeOption(verifier), oauth2.SetAuthURLParam("max_age", "600")), bob.Token)
			if state != "st" {
				t.Errorf("state %q", state)
			}
			token, err := config.Exchange(ctx, code, oauth2.VerifierOption(verifier))
			w.must(err)
			raw, _ := token.Extra("id_token").(string)
			idToken, err := found.Verifier(&oidc.Config{ClientID: id}).Verify(ctx, raw)
			w.must(err)
			w.must(idToken.VerifyAccessToken(token.AccessToken))
			var said struct {
				Name string `json:"name"`
				Auth int64  `json:"auth_time"`
			}
			w.must(idToken.Claims(&said))
			if idToken.Subject != bob.Entity || idToken.Nonce != "n1" || !strings.HasPrefix(said.Name, "entity_") || said.Auth == 0 {
				t.Errorf("ID token of %s, %+v", idToken.Subject, said)
			}
			about, err := found.UserInfo(ctx, config.TokenSource(ctx, token))
			w.must(err)
			w.must(about.Claims(&said))
			if about.Subject != bob.Entity || !strings.HasPrefix(said.Name, "entity_") {
				t.Errorf("userinfo: %+v", about)
			}
			checkAccess(w, token.AccessToken, bob.Entity)
		}
	}
}

// checkAccess: an access token can read userinfo and nothing else, also not what
// its entity may.
func checkAccess(w *world, access, entity string) {
	w.t.Helper()
	w.call(204, "POST", "identity/entity/id/"+entity, w.root, `{"policies":["reader"]}`)
	for _, path := range []string{"secret/data/x", "auth/token/lookup-self", "identity/entity/id/" + entity, "cubbyhole/x"} {
		w.call(403, "GET", path, access, "")
	}
	w.call(403, "POST", "auth/token/create", access, "{}")
	if status, _ := w.do("GET", "identity/oidc/provider/default/userinfo", "", "", "Authorization", "Bearer "+access); status != 401 {
		w.t.Errorf("another provider's userinfo: %d", status)
	}
	w.call(204, "POST", "identity/entity/id/"+entity, w.root, `{"disabled":true}`)
	if status, _ := w.do("GET", "identity/oidc/provider/p/userinfo", "", "", "Authorization", "Bearer "+access); status != 401 {
		w.t.Errorf("userinfo of a disabled entity: %d", status)
	}
	w.call(204, "POST", "identity/entity/id/"+entity, w.root, `{"disabled":false}`)
}

// TestCodeOnce: of many who bring one code at once, one is served.
func TestCodeOnce(t *testing.T) {
	w, _ := offering(t)
	id, secret := w.client("c", "")
	bob := w.login("bob").Auth
	code, _ := w.consent("/ui/vault/identity/oidc/provider/p/authorize?client_id="+id+"&scope=openid&response_type=code&redirect_uri="+url.QueryEscape(callback), bob.Token)
	body := `{"client_id":"` + id + `","client_secret":"` + secret + `","code":"` + code + `","grant_type":"authorization_code","redirect_uri":"` + callback + `"}`
	var won, lost atomic.Int32
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			switch status, answer := w.do("POST", "identity/oidc/provider/p/token", "", body); {
			case status == 200:
				won.Add(1)
			case status == 400 && strings.Contains(string(answer), "invalid_grant"):
				lost.Add(1)
			default:
				t.Errorf("%d %s", status, answer)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 || lost.Load() != 15 {
		t.Errorf("%d won, %d lost", won.Load(), lost.Load())
	}
}

// TestCodeOfWhoIsGone: a code is worth nothing once its person, client or
// assignment is gone.
func TestCodeOfWhoIsGone(t *testing.T) {
	w, _ := offering(t)
	bob := w.login("bob").Auth
	for _, gone := range []string{"person", "assignment", "client", "provider"} {
		id, secret := w.client("c", "")
		code, _ := w.consent("/ui/vault/identity/oidc/provider/p/authorize?client_id="+id+"&scope=openid&response_type=code&redirect_uri="+url.QueryEscape(callback), bob.Token)
		switch gone {
		case "person":
			w.call(204, "POST", "identity/entity/id/"+bob.Entity, w.root, `{"disabled":true}`)
		case "assignment":
			w.call(204, "POST", "identity/oidc/client/c", w.root, `{"assignments":[]}`)
		case "client":
			w.call(204, "DELETE", "identity/oidc/client/c", w.root, "")
		case "provider":
			w.call(204, "DELETE", "identity/oidc/provider/p", w.root, "")
		}
		body := `{"client_id":"` + id + `","client_secret":"` + secret + `","code":"` + code + `","grant_type":"authorization_code","redirect_uri":"` + callback + `"}`
		if status, answer := w.do("POST", "identity/oidc/provider/p/token", "", body); status != 400 && status != 401 {
			t.Errorf("without the %s: %d %s", gone, status, answer)
		}
		w.call(204, "POST", "identity/entity/id/"+bob.Entity, w.root, `{"disabled":false}`)
	}
}

// TestLogInToAnotherServer: one server is the provider of another's oidc method.
func TestLogInToAnotherServer(t *testing.T) {
	w, issuer := offering(t)
	id, secret := w.client("other", "")
	bob := w.login("bob").Auth
	other := newWorld(t)
	ca, err := json.Marshal(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.srv.Certificate().Raw})))
	w.must(err)
	other.call(204, "POST", "sys/auth/oidc", other.root, `{"type":"oidc"}`)
	other.call(204, "POST", "auth/oidc/config", other.root, `{"oidc_discovery_url":"`+issuer+`","oidc_discovery_ca_pem":`+string(ca)+`,"oidc_client_id":"`+id+`","oidc_client_secret":"`+secret+`","default_role":"people"}`)
	other.call(204, "POST", "auth/oidc/role/people", other.root, `{"user_claim":"name","allowed_redirect_uris":"`+callback+`","oidc_scopes":"who","groups_claim":"groups"}`)
	start := other.call(200, "POST", "auth/oidc/oidc/auth_url", "", `{"role":"people","redirect_uri":"`+callback+`","client_nonce":"mine"}`).Data["auth_url"].(string)
	code, state := w.consent(start, bob.Token)
	in := other.call(200, "GET", "auth/oidc/oidc/callback?state="+state+"&code="+code+"&client_nonce=mine", "", "")
	if in.Auth.Token == "" || in.Auth.Entity == "" {
		t.Fatalf("login: %+v", in)
	}
	who := other.call(200, "GET", "identity/entity/id/"+in.Auth.Entity, other.root, "").Data
	if alias := who["aliases"].([]any)[0].(map[string]any); !strings.HasPrefix(alias["name"].(string), "entity_") {
		t.Errorf("alias: %v", alias)
	}
}
