// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// device is somebody's authenticator app.
type device struct {
	w      *world
	secret []byte
}

// code is the code some periods from now (RFC 6238 with its defaults).
func (d *device) code(step int64) string {
	mac := hmac.New(sha1.New, d.secret)
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(d.w.st.Now().Unix()/30+step)))
	sum := mac.Sum(nil)
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[sum[19]&15:])&0x7fffffff%1_000_000)
}

// wrong is a code that is not good now, nor soon.
func (d *device) wrong() string {
	for n := 0; ; n++ {
		text := fmt.Sprintf("%06d", n)
		if text != d.code(-2) && text != d.code(-1) && text != d.code(0) && text != d.code(1) && text != d.code(2) {
			return text
		}
	}
}

// held is the answer to a login that needs more.
type held struct {
	Auth struct {
		Token string `json:"client_token"`
		Needs *struct {
			ID  string `json:"mfa_request_id"`
			Any map[string]struct {
				Any []struct{ Type, ID, Name string }
			} `json:"mfa_constraints"`
		} `json:"mfa_requirement"`
	}
	Warnings []string
}

// guarded is a server whose user bob needs a code to log in.
func guarded(t *testing.T, enforce string) (w *world, method, bob string) {
	t.Helper()
	w = enabled(t)
	bob = w.login("bob").Auth.Entity
	method = w.call(200, "POST", "identity/mfa/method/totp", w.root, `{"issuer":"keep","method_name":"otp","max_validation_attempts":3}`).Data["method_id"].(string)
	enforce = strings.NewReplacer("BOB", bob, "ACCESSOR", w.accessor("userpass")).Replace(enforce)
	w.call(204, "POST", "identity/mfa/login-enforcement/all", w.root, `{"mfa_method_ids":"`+method+`",`+enforce+`}`)
	return w, method, bob
}

const byType = `"auth_method_types":"userpass"`

// enrol gives somebody a new device.
func (w *world) enrol(method, who string) *device {
	w.t.Helper()
	body := `{"method_id":"` + method + `","entity_id":"` + who + `"}`
	w.call(204, "POST", "identity/mfa/method/totp/admin-destroy", w.root, body)
	made := w.call(200, "POST", "identity/mfa/method/totp/admin-generate", w.root, body).Data
	u, err := url.Parse(made["url"].(string))
	w.must(err)
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(u.Query().Get("secret"))
	w.must(err)
	if picture, err := base64.StdEncoding.DecodeString(made["barcode"].(string)); err != nil || len(secret) != 20 || len(picture) < 100 {
		w.t.Fatalf("device: %v, %v", made, err)
	}
	return &device{w, secret}
}

// begin logs bob in as far as his password goes.
func (w *world) begin() string {
	w.t.Helper()
	var h held
	w.must(json.Unmarshal(w.ok("POST", "auth/userpass/login/bob", "", `{"password":"planted-password"}`), &h))
	if h.Auth.Token != "" || h.Auth.Needs == nil || h.Auth.Needs.ID == "" || len(h.Warnings) != 1 || len(h.Auth.Needs.Any["all"].Any) != 1 || h.Auth.Needs.Any["all"].Any[0].Name != "otp" {
		w.t.Fatalf("login: %+v", h)
	}
	return h.Auth.Needs.ID
}

// bring brings a code for a login that was begun.
func (w *world) bring(status int, request, method, code string) answer {
	w.t.Helper()
	return w.call(status, "POST", "sys/mfa/validate", "", `{"mfa_request_id":"`+request+`","mfa_payload":{"`+method+`":["`+code+`"]}}`)
}

// TestSecondFactor: a password alone gives no token; with a code it does, once.
func TestSecondFactor(t *testing.T) {
	w, method, bob := guarded(t, byType)
	request := w.begin()
	if a := w.bring(403, request, method, "123456"); !a.says("not present in entity") {
		t.Errorf("without a device: %v", a.Errors)
	}
	d := w.enrol(method, bob)
	for _, code := range []string{d.wrong(), "", d.code(0) + "0", " "} {
		w.bring(403, request, method, code)
		d2 := w.enrol(method, bob) // forgets the tries
		*d = *d2
	}
	w.call(403, "POST", "sys/mfa/validate", "", `{"mfa_request_id":"`+request+`","mfa_payload":{}}`)
	w.call(403, "POST", "sys/mfa/validate", "", `{"mfa_request_id":"`+request+`"}`)
	w.call(403, "POST", "sys/mfa/validate", "", `{"mfa_request_id":"`+request+`","mfa_payload":{"`+method+`":[]}}`)
	w.call(403, "POST", "sys/mfa/validate", "", `{"mfa_request_id":"`+request+`","mfa_payload":{"`+method+`":["1","`+d.code(0)+`"]}}`)
	w.call(400, "POST", "sys/mfa/validate", "", `{"mfa_request_id":"x","mfa_payload":{"`+method+`":["`+d.code(0)+`"]}}`)
	code := d.code(0)
	in := w.bring(200, request, "otp", code).Auth
	if in.Entity != bob || in.Token == "" || in.Meta["username"] != "bob" {
		t.Errorf("login: %+v", in)
	}
	w.call(200, "GET", "auth/token/lookup-self", in.Token, "")
	w.bring(400, request, method, d.code(1))
	if a := w.bring(403, w.begin(), method, code); !a.says("code already used") {
		t.Errorf("a code twice: %v", a.Errors)
	}
	approle := w.call(204, "POST", "auth/approle/role/app", w.root, `{"bind_secret_id":false,"token_bound_cidrs":"127.0.0.0/8"}`)
	_ = approle
	id := w.call(200, "GET", "auth/approle/role/app/role-id", w.root, "").Data["role_id"].(string)
	if w.call(200, "POST", "auth/approle/login", "", `{"role_id":"`+id+`"}`).Auth.Token == "" {
		t.Error("another method needs a code too")
	}
}

// TestSecondFactorAtOnce: a login that brings its code in a header.
func TestSecondFactorAtOnce(t *testing.T) {
	w, method, bob := guarded(t, byType)
	d := w.enrol(method, bob)
	login := func(header string) (int, answer) {
		var a answer
		status, text := w.do("POST", "auth/userpass/login/bob", "", `{"password":"planted-password"}`, "X-Vault-MFA", header)
		w.must(json.Unmarshal(text, &a))
		return status, a
	}
	for _, header := range []string{method, method + ":", method + ":" + d.wrong(), "other:" + d.code(0), ":" + d.code(0)} {
		if status, a := login(header); status != 403 || a.Auth.Token != "" {
			t.Errorf("%s: %d %+v", header, status, a)
		}
	}
	d = w.enrol(method, bob)
	code := d.code(0)
	if status, a := login("otp:" + code); status != 200 || a.Auth.Token == "" || a.Auth.Entity != bob {
		t.Errorf("login: %d %+v", status, a)
	}
	if status, _ := login(method + ":" + code); status != 403 {
		t.Errorf("a code twice: %d", status)
	}
	status, text := w.do("GET", "secret/data/x", "", "", "X-Vault-Inline-Auth-Path", "auth/userpass/login/bob",
		"X-Vault-Inline-Auth-Parameter-A", base64.RawURLEncoding.EncodeToString([]byte(`{"key":"password","value":"planted-password"}`)))
	if status != 400 {
		t.Errorf("inline: %d %s", status, text)
	}
}

// TestSecondFactorOnce: of many who bring one code at once, for one login or for
// several, one gets a token.
func TestSecondFactorOnce(t *testing.T) {
	w, method, bob := guarded(t, byType)
	d := w.enrol(method, bob)
	requests := []string{w.begin(), w.begin(), w.begin(), w.begin()}
	body := `","mfa_payload":{"` + method + `":["` + d.code(0) + `"]}}`
	var won atomic.Int32
	var all sync.WaitGroup
	for n := range 16 {
		all.Go(func() {
			switch status, text := w.do("POST", "sys/mfa/validate", "", `{"mfa_request_id":"`+requests[n%4]+body); status {
			case 200:
				won.Add(1)
			case 400, 403:
			default:
				t.Errorf("%d %s", status, text)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 {
		t.Errorf("%d tokens for one code", won.Load())
	}
}

// TestSecondFactorTries: after some wrong codes the right one is refused too, for a
// while, whatever login it is brought for.
func TestSecondFactorTries(t *testing.T) {
	w, method, bob := guarded(t, byType)
	d := w.enrol(method, bob)
	request := w.begin()
	for range 3 {
		w.bring(403, request, method, d.wrong())
	}
	for _, request := range []string{request, w.begin()} {
		if a := w.bring(403, request, method, d.code(0)); !a.says("exceeded the allowed attempts 3") {
			t.Errorf("after three wrong codes: %v", a.Errors)
		}
	}
}

// TestSecondFactorOf: whom enforcements mean.
func TestSecondFactorOf(t *testing.T) {
	for _, enforce := range []string{`"auth_method_accessors":"ACCESSOR"`, `"identity_entity_ids":["BOB"]`} {
		w, _, _ := guarded(t, enforce)
		w.begin()
	}
	w, method, bob := guarded(t, byType)
	group := w.call(200, "POST", "identity/group", w.root, `{"name":"g","member_entity_ids":["`+bob+`"]}`).Data["id"].(string)
	w.call(204, "POST", "identity/mfa/login-enforcement/all", w.root, `{"mfa_method_ids":"`+method+`","identity_group_ids":"`+group+`","auth_method_types":[]}`)
	w.begin()
	w.login("ann") // is not in the group: she has a token
	request := w.begin()
	d := w.enrol(method, bob)
	w.call(204, "POST", "identity/entity/id/"+bob, w.root, `{"disabled":true}`)
	w.bring(403, request, method, d.code(0))
	w.call(204, "POST", "identity/entity/id/"+bob, w.root, `{"disabled":false}`)
	w.call(204, "DELETE", "identity/mfa/login-enforcement/all", w.root, "")
	if w.login("bob").Auth.Token == "" {
		t.Error("no token without an enforcement")
	}
}

// TestSecondFactorOutside: a method that is not served lets nobody in, and does not
// stop another one of the same enforcement.
func TestSecondFactorOutside(t *testing.T) {
	w, method, bob := guarded(t, byType)
	for kind, body := range map[string]string{
		"duo": `{"secret_key":"planted-key","integration_key":"planted-key","api_hostname":"h"}`, "okta": `{"org_name":"o","api_token":"planted-key"}`,
		"pingid": `{"settings_file_base64":"` + base64.StdEncoding.EncodeToString([]byte("token=planted-key\nidp_url=https://x\n")) + `"}`,
	} {
		id := w.call(200, "POST", "identity/mfa/method/"+kind, w.root, body).Data["method_id"].(string)
		if _, text := w.do("GET", "identity/mfa/method/"+id, w.root, ""); strings.Contains(string(text), "planted") {
			t.Errorf("%s shows its key: %s", kind, text)
		}
		w.call(204, "POST", "identity/mfa/login-enforcement/all", w.root, `{"mfa_method_ids":["`+id+`"],`+byType+`}`)
		var h held
		w.must(json.Unmarshal(w.ok("POST", "auth/userpass/login/bob", "", `{"password":"planted-password"}`), &h))
		if a := w.bring(403, h.Auth.Needs.ID, id, "push"); !a.says("not available on this server") || a.Auth.Token != "" {
			t.Errorf("%s: %+v", kind, a)
		}
		w.call(400, "DELETE", "identity/mfa/method/"+kind+"/"+id, w.root, "")
		w.call(204, "POST", "identity/mfa/login-enforcement/all", w.root, `{"mfa_method_ids":["`+id+`","`+method+`"],`+byType+`}`)
		d := w.enrol(method, bob)
		w.must(json.Unmarshal(w.ok("POST", "auth/userpass/login/bob", "", `{"password":"planted-password"}`), &h))
		w.bring(200, h.Auth.Needs.ID, method, d.code(0))
		w.call(204, "POST", "identity/mfa/login-enforcement/all", w.root, `{"mfa_method_ids":["`+method+`"],`+byType+`}`)
		w.call(204, "DELETE", "identity/mfa/method/"+kind+"/"+id, w.root, "")
	}
	for _, body := range []string{`{"entity_id":"` + bob + `"}`, `{"method_id":"` + method + `","entity_id":"none"}`, `{"method_id":"none","entity_id":"` + bob + `"}`} {
		w.call(400, "POST", "identity/mfa/method/totp/admin-generate", w.root, body)
	}
	w.call(400, "POST", "identity/mfa/method/totp/generate", w.root, `{"method_id":"`+method+`"}`)
}
