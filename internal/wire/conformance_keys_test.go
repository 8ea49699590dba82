// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
)

// ask sends a request and reads its answer: the envelope's data, or the bare answer.
func ask[T any](w *world, method, path, token, body string) (out T) {
	w.t.Helper()
	answer := w.ok(method, path, token, body)
	var dressed struct{ Data json.RawMessage }
	w.must(json.Unmarshal(answer, &dressed))
	if len(dressed.Data) > 0 {
		answer = dressed.Data
	}
	w.must(json.Unmarshal(answer, &out))
	return out
}

type ceremonyAnswer struct {
	Nonce       string   `json:"nonce"`
	Complete    bool     `json:"complete"`
	Keys        []string `json:"keys"`
	VerifyNonce string   `json:"verification_nonce"`
	Encoded     string   `json:"encoded_token"`
	OTP         string   `json:"otp"`
}

func TestConformRotate(t *testing.T) {
	w := newWorld(t)
	tokens := map[string]string{"plain": w.token(`path "sys/*" { capabilities = ["create", "read", "update", "delete", "list"] }`, "")}
	conform(t, w, tokens, []row{
		{does: "GET sys/key-status", status: 200, shape: "flat data{encryptions,install_time,term} data.term=1 data.encryptions:int data.install_time:time"},
		{does: "POST sys/rotate", token: "plain", status: 403},
		{does: "POST sys/rotate", status: 204},
		{does: "POST sys/rotate/keyring", status: 204},
		{does: "GET sys/key-status", status: 200, shape: "data.term=3"},
		{does: "GET sys/rotate/config", status: 200, shape: "data.enabled=true data.interval=0 data.max_operations:int"},
		{does: "POST sys/rotate/keyring/config", body: `{"enabled":false,"interval":"48h","max_operations":2000000}`, status: 204},
		{does: "GET sys/rotate/keyring/config", status: 200, shape: "data.enabled=false data.interval=172800 data.max_operations=2000000"},
		{does: "POST sys/rotate/config", body: `{"interval":"1h"}`, status: 400},
		// The old, unauthenticated paths are off.
		{does: "GET sys/rekey/init", token: "-", status: 403},
		{does: "GET sys/rekey/init", status: 404, has: "sys/rotate/root"},
		{does: "PUT sys/generate-root/attempt", token: "-", status: 403},
		{does: "PUT sys/generate-root/attempt", status: 404},
		{does: "GET sys/rotate/root/init", status: 200, shape: "envelope data.started=false data.nonce:str data.t=0 data.n=0 data.progress=0 data.required=2 data.pgp_fingerprints:null data.backup=false data.verification_required=false"},
		{does: "GET sys/rotate/root/init", token: "plain", status: 403},
		{does: "POST sys/rotate/root/init", body: `{"secret_shares":1,"secret_threshold":2}`, status: 400},
		{does: "POST sys/rotate/root/init", body: `{"secret_shares":5,"secret_threshold":3,"pgp_keys":["x"]}`, status: 400},
		{does: "POST sys/rotate/root/update", body: `{"key":"00","nonce":"x"}`, status: 400},
		{does: "GET sys/rotate/root/verify", status: 400},
		{does: "GET sys/rotate/root/backup", status: 400, has: "no backed-up keys found"},
		{does: "DELETE sys/rotate/root/backup", status: 204},
		{does: "GET sys/rotate/recovery/init", status: 400},
		{does: "POST sys/rotate/root", status: 400},
		{does: "GET sys/generate-root-token/attempt", status: 200, shape: "data.started=false data.otp_length=28 data.required=2 data.progress=0 data.complete=false"},
		{does: "GET sys/generate-root-token/attempt", token: "plain", status: 403},
		{does: "PUT sys/generate-root-token/attempt", body: `{"otp":"short"}`, status: 400},
		{does: "POST sys/decode-token", body: `{"encoded_token":"QUE","otp":"  "}`, status: 200, shape: "data.token=aa"},
		{does: "POST sys/decode-token", body: `{}`, status: 400},
	})
}

// TestRekeyByOthers plays both rekeyings, with and without verification, to the end.
func TestRekeyByOthers(t *testing.T) {
	for _, path := range []string{"sys/rotate/root", "sys/rekey"} {
		t.Run(strings.ReplaceAll(path, "/", ":"), func(t *testing.T) {
			w := newLegacyWorld(t, true)
			w.ok("POST", "secret/data/a", w.root, `{"data":{"k":"kept"}}`)
			token := w.root
			if path == "sys/rekey" {
				token = ""
			}
			old := w.keys
			begun := ask[ceremonyAnswer](w, "PUT", path+"/init", token, `{"secret_shares":5,"secret_threshold":3}`)
			if status, _ := w.do("PUT", path+"/init", token, `{"secret_shares":5,"secret_threshold":3}`); status != 400 {
				t.Errorf("begun twice: %d", status)
			}
			if status, _ := w.do("PUT", path+"/update", token, `{"key":"`+old[0]+`","nonce":"wrong"}`); status != 400 {
				t.Errorf("a wrong nonce: %d", status)
			}
			bring := func(step, nonce, key string) ceremonyAnswer {
				t.Helper()
				return ask[ceremonyAnswer](w, "PUT", path+"/"+step, token, `{"key":"`+key+`","nonce":"`+nonce+`"}`)
			}
			bring("update", begun.Nonce, old[0])
			done := bring("update", begun.Nonce, old[2])
			if !done.Complete || len(done.Keys) != 5 {
				t.Fatalf("%+v", done)
			}
			w.keys = done.Keys

			// Now with verification, and a wrong share first.
			begun = ask[ceremonyAnswer](w, "PUT", path+"/init", token, `{"secret_shares":3,"secret_threshold":2,"require_verification":true}`)
			for _, key := range w.keys[:2] {
				bring("update", begun.Nonce, key)
			}
			forged := w.keys[2][:2] + strings.Repeat("00", 32)
			if status, _ := w.do("PUT", path+"/update", token, `{"key":"`+forged+`","nonce":"`+begun.Nonce+`"}`); status != 400 {
				t.Errorf("a forged share: %d", status)
			}
			for _, key := range w.keys[:3] {
				done = bring("update", begun.Nonce, key)
			}
			w.ok("PUT", "sys/seal", w.root, "")
			for _, key := range w.keys[:3] { // unverified: the present shares still count
				w.ok("PUT", "sys/unseal", "", `{"key":"`+key+`"}`)
			}
			if status, _ := w.do("GET", path+"/verify", token, ""); status != 400 {
				t.Errorf("sealing kept the shares: %d", status)
			}
			begun = ask[ceremonyAnswer](w, "PUT", path+"/init", token, `{"secret_shares":3,"secret_threshold":2,"require_verification":true}`)
			for _, key := range w.keys[:3] {
				done = bring("update", begun.Nonce, key)
			}
			bring("verify", done.VerifyNonce, done.Keys[1])
			if verified := bring("verify", done.VerifyNonce, done.Keys[2]); !verified.Complete {
				t.Errorf("%+v", verified)
			}
			w.ok("PUT", "sys/seal", w.root, "")
			w.keys = done.Keys
			w.unseal()
			if answer := w.ok("GET", "secret/data/a", w.root, ""); !strings.Contains(string(answer), "kept") {
				t.Errorf("%s", answer)
			}
		})
	}
}

// TestGenerateRoot makes a root token of key shares, by both paths.
func TestGenerateRoot(t *testing.T) {
	w := newLegacyWorld(t, true)
	for _, c := range []struct{ path, token, otp string }{
		{"sys/generate-root-token", w.root, ""},
		{"sys/generate-root", "", "BMjzW3wAsEzINXCM05Wbas3u9zSl"},
	} {
		begun := ask[ceremonyAnswer](w, "PUT", c.path+"/attempt", c.token, `{"otp":"`+c.otp+`"}`)
		if c.otp == "" {
			c.otp = begun.OTP
		} else if begun.OTP != "" {
			t.Error("the caller's own password was told again")
		}
		if status, _ := w.do("PUT", c.path+"/attempt", c.token, `{}`); status != 400 {
			t.Errorf("begun twice: %d", status)
		}
		var done ceremonyAnswer
		for _, key := range w.keys[1:] {
			done = ask[ceremonyAnswer](w, "PUT", c.path+"/update", c.token, `{"key":"`+key+`","nonce":"`+begun.Nonce+`"}`)
		}
		raw, err := base64.RawStdEncoding.DecodeString(done.Encoded)
		if err != nil || !done.Complete || len(raw) != len(c.otp) {
			t.Fatalf("%+v, %v", done, err)
		}
		for i := range raw {
			raw[i] ^= c.otp[i]
		}
		if answer := w.ok("GET", "auth/token/lookup-self", string(raw), ""); !strings.Contains(string(answer), `"root"`) {
			t.Errorf("%s", answer)
		}
		w.ok("PUT", c.path+"/attempt", c.token, `{}`)
		w.ok("DELETE", c.path+"/attempt", c.token, "")
		if answer := w.ok("GET", c.path+"/attempt", c.token, ""); !strings.Contains(string(answer), `"started":false`) {
			t.Errorf("%s", answer)
		}
	}
}
