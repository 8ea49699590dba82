// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"encoding/base64"
	"strings"
	"testing"
)

func TestConformProvider(t *testing.T) {
	w, _ := offering(t)
	id, secret := w.client("c", "")
	basic := []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))}
	tokens := map[string]string{"plain": w.token(`path "secret/*" { capabilities = ["read"] }`, ""), "bob": w.login("bob").Auth.Token}
	at := "identity/oidc/provider/p/authorize?client_id=" + id + "&redirect_uri=" + callback
	token := "POST identity/oidc/provider/p/token"
	conform(t, w, tokens, []row{
		{does: "LIST identity/oidc/provider", status: 200, shape: "envelope data.key_info.default{issuer,allowed_client_ids,scopes_supported}"},
		{does: "LIST identity/oidc/provider", token: "plain", status: 403},
		{does: "GET identity/oidc/provider/default", status: 200, shape: "data{issuer,allowed_client_ids,scopes_supported} data.issuer:str data.scopes_supported:list"},
		{does: "GET identity/oidc/provider/p/.well-known/keys", token: "-", status: 200, shape: "bare keys:list"},
		{does: "GET identity/oidc/key/default", status: 200, shape: "data{algorithm,allowed_client_ids,rotation_period,verification_ttl} data.algorithm=RS256 data.rotation_period=86400"},
		{does: "DELETE identity/oidc/key/default", status: 400, has: "not allowed"},
		{does: "DELETE identity/oidc/provider/default", status: 400, has: "not allowed"},
		{does: "DELETE identity/oidc/assignment/allow_all", status: 400, has: "not allowed"},
		{does: "GET identity/oidc/client/c", status: 200, shape: "envelope data{access_token_ttl,assignments,client_id,client_secret,client_type,id_token_ttl,key,redirect_uris} data.access_token_ttl:int data.client_type=confidential"},
		{does: "LIST identity/oidc/client", status: 200, shape: "data.key_info.c{access_token_ttl,assignments,client_id,client_type,id_token_ttl,key,redirect_uris}"},
		{does: "DELETE identity/oidc/scope/who", status: 400, has: "referenced by these providers: p"},
		{does: "GET " + at, token: "-", status: 403},
		{does: "GET " + at, status: 400, shape: "bare error=invalid_request"},
		{does: "GET " + at + "&scope=openid&response_type=code", status: 400, shape: "bare error=access_denied error_description:str state="},
		{does: "GET " + at + "&scope=openid&response_type=code&state=s", token: "bob", status: 200, shape: "bare code:str state=s"},
		{does: token, token: "-", status: 400, shape: "bare error=invalid_request"},
		{does: token, token: "-", header: basic, body: `{"grant_type":"x"}`, status: 400, shape: "bare error=unsupported_grant_type"},
		{does: token, token: "-", header: []string{"Authorization", "Basic !"}, status: 400, shape: "bare error=invalid_request"},
		{does: token, token: "-", body: `{"client_id":"` + id + `","client_secret":"` + secret[1:] + `"}`, status: 401, shape: "bare error=invalid_client"},
		{does: token, token: "-", header: append(basic, "Content-Type", "application/x-www-form-urlencoded"), body: "grant_type=authorization_code&code=" + strings.Repeat("x", 32), status: 400, shape: "bare error=invalid_grant"},
		{does: "GET identity/oidc/provider/p/userinfo", token: "-", status: 401, shape: "bare error=invalid_token"},
		{does: "GET identity/oidc/provider/p/userinfo", status: 401, shape: "bare error=invalid_token"},
	})
}

func TestConformSecondFactor(t *testing.T) {
	w, method, bob := guarded(t, byType)
	both := `{"method_id":"` + method + `","entity_id":"` + bob + `"}`
	tokens := map[string]string{"plain": w.token(`path "secret/*" { capabilities = ["read"] }`, "")}
	conform(t, w, tokens, []row{
		{does: "LIST identity/mfa/method", token: "plain", status: 403},
		{does: "LIST identity/mfa/method", status: 200, shape: "envelope data{keys,key_info}"},
		{does: "LIST identity/mfa/method/duo", status: 404},
		{does: "GET identity/mfa/method/" + method, status: 200, shape: "data{algorithm,digits,id,issuer,key_size,max_validation_attempts,name,namespace_id,namespace_path,period,qr_size,skew,type} data.period=30 data.type=totp"},
		{does: "GET identity/mfa/method/okta/" + method, status: 400, has: "failed to find the method ID under MFA type okta."},
		{does: "POST identity/mfa/method/totp", body: `{}`, status: 400, has: "issuer must be set"},
		{does: "DELETE identity/mfa/method/totp/" + method, status: 400, has: "still used by an enforcement"},
		{does: "GET identity/mfa/login-enforcement/all", status: 200, shape: "data{auth_method_accessors,auth_method_types,id,identity_entity_ids,identity_group_ids,mfa_method_ids,name,namespace_id,namespace_path} data.identity_group_ids:list"},
		{does: "POST identity/mfa/login-enforcement/b", body: `{"mfa_method_ids":["` + method + `"]}`, status: 400, has: "must be specified"},
		{does: "POST identity/mfa/method/totp/admin-generate", token: "plain", body: both, status: 403},
		{does: "POST identity/mfa/method/totp/admin-generate", body: both, status: 200, shape: "envelope data{barcode,url} data.barcode:str"},
		{does: "POST identity/mfa/method/totp/admin-generate", body: both, status: 200, shape: "warn data:null", has: "already has a secret"},
		{does: "POST auth/userpass/login/bob", token: "-", body: `{"password":"planted-password"}`, status: 200, shape: "envelope warn auth.client_token= auth.accessor= auth.mfa_requirement{mfa_request_id,mfa_constraints} auth.token_type=default"},
		{does: "POST auth/userpass/login/bob", token: "-", body: `{"password":"planted-password"}`, header: []string{"X-Vault-MFA", method}, status: 403, has: "permission denied"},
		{does: "POST sys/mfa/validate", token: "-", body: `{}`, status: 400, has: "missing request ID"},
		{does: "POST sys/mfa/validate", token: "-", body: `{"mfa_request_id":"x"}`, status: 400, has: "invalid request ID"},
		{does: "POST identity/mfa/method/totp/admin-destroy", body: both, status: 204},
	})
}
