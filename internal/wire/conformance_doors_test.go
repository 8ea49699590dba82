// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"encoding/base64"
	"testing"
)

func TestConformCORS(t *testing.T) {
	w := newWorld(t)
	origin := []string{"Origin", "https://page.example"}
	ask := func(method, token string) (int, string, string) {
		t.Helper()
		status, header, _ := w.send(method, "secret/data/none", token, "", origin...)
		return status, header.Get("Access-Control-Allow-Origin"), header.Get("Access-Control-Allow-Headers")
	}
	if status, allowed, _ := ask("GET", w.root); status != 404 || allowed != "" {
		t.Errorf("switched off: %d %q", status, allowed)
	}
	w.ok("PUT", "sys/config/cors", w.root, `{"allowed_origins":"https://other.example"}`)
	if status, allowed, _ := ask("GET", w.root); status != 403 || allowed != "" {
		t.Errorf("another origin: %d %q", status, allowed)
	}
	w.ok("PUT", "sys/config/cors", w.root, `{"allowed_origins":"https://page.example,https://other.example","allowed_headers":"X-Mine"}`)
	if status, allowed, _ := ask("GET", w.root); status != 404 || allowed != origin[1] {
		t.Errorf("allowed: %d %q", status, allowed)
	}
	if status, allowed, headers := ask("OPTIONS", ""); status != 204 || allowed != origin[1] || headers == "" {
		t.Errorf("preflight: %d %q %q", status, allowed, headers)
	}
	w.ok("DELETE", "sys/config/cors", w.root, "")
	if status, _, _ := ask("OPTIONS", ""); status != 405 {
		t.Errorf("preflight when off: %d", status)
	}
}

func TestConformInlineLogin(t *testing.T) {
	w := newWorld(t)
	w.ok("POST", "secret/data/a", w.root, `{"data":{"k":"v"}}`)
	w.ok("PUT", "sys/policies/acl/reader", w.root, `{"policy":"path \"secret/data/a\" { capabilities = [\"read\"] }\npath \"db/*\" { capabilities = [\"read\"] }\npath \"auth/token/create\" { capabilities = [\"update\"] }"}`)
	w.ok("POST", "sys/mounts/db", w.root, `{"type":"issuer"}`)
	w.ok("POST", "sys/auth/userpass", w.root, `{"type":"userpass"}`)
	w.ok("POST", "auth/userpass/users/me", w.root, `{"password":"right-password","token_policies":"reader"}`)
	login := func(password string) []string {
		pair := base64.StdEncoding.EncodeToString([]byte(`{"key":"password","value":"` + password + `"}`))
		return []string{"X-Vault-Inline-Auth-Path", "auth/userpass/login/me", "X-Vault-Inline-Auth-Parameter-Password", pair}
	}
	before := w.accessors()
	conform(t, w, nil, []row{
		{does: "GET secret/data/a", token: "-", header: login("right-password"), status: 200, shape: "data.data.k=v auth:null"},
		{does: "GET secret/data/b", token: "-", header: login("right-password"), status: 403},
		{does: "GET secret/data/a", token: "-", header: login("wrong-password"), status: 400, has: "invalid username or password"},
		{does: "GET secret/data/a", header: login("right-password"), status: 400, has: "not both"},
		{does: "GET db/creds/x", token: "-", header: login("right-password"), status: 400, has: "cannot hold a lease"},
		{does: "POST auth/token/create", body: `{}`, token: "-", header: login("right-password"), status: 400},
		{does: "GET secret/data/a", token: "-", header: []string{"X-Vault-Inline-Auth-Path", "sys/mounts"}, status: 400},
		{does: "GET secret/data/a", token: "-", header: []string{"X-Vault-Inline-Auth-Path", "auth/userpass/login/me", "X-Vault-Inline-Auth-Parameter-X", "{"}, status: 400},
	})
	w.must(w.leases.Settle(t.Context()))
	if after := w.accessors(); after != before || w.held() != 0 {
		t.Errorf("%d tokens before, %d after; %d credentials held", before, after, w.held())
	}
}
