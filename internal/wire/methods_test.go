// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// TestJWT is a program's login over the wire; internal/engine/jwt has the rest.
func TestJWT(t *testing.T) {
	w := enabled(t)
	w.call(204, "POST", "sys/auth/ci", w.root, `{"type":"jwt"}`)
	w.call(204, "POST", "sys/auth/people", w.root, `{"type":"oidc"}`)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.must(err)
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	w.must(err)
	public, err := json.Marshal(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
	w.must(err)
	w.call(404, "GET", "auth/ci/config", w.root, "")
	w.call(400, "POST", "auth/ci/login", "", `{"role":"build","jwt":"x"}`)
	w.call(204, "POST", "auth/ci/config", w.root, `{"jwt_validation_pubkeys":`+string(public)+`}`)
	w.call(204, "POST", "auth/ci/role/build", w.root, `{"role_type":"jwt","user_claim":"sub","bound_subject":"build-7","policies":"reader"}`)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, nil)
	w.must(err)
	object, err := signer.Sign([]byte(fmt.Sprintf(`{"sub":"build-7","iat":%d}`, time.Now().Unix())))
	w.must(err)
	token, err := object.CompactSerialize()
	w.must(err)
	got := w.call(200, "POST", "auth/ci/login", "", `{"role":"build","jwt":"`+token+`"}`)
	w.call(200, "GET", "secret/data/x", got.Auth.Token, "")
	if look := w.call(200, "GET", "auth/token/lookup-self", got.Auth.Token, "").Data; look["display_name"] != "ci-build-7" || look["path"] != "auth/ci/login" {
		t.Errorf("lookup: %v", look)
	}
	w.call(403, "GET", "auth/ci/config", "", "")
	w.call(403, "GET", "auth/ci/role/build", got.Auth.Token, "")
	w.call(404, "GET", "auth/ci/role/none", w.root, "")
	w.call(400, "POST", "auth/ci/oidc/auth_url", "", `{"role":"build","redirect_uri":"http://localhost:8250/oidc/callback"}`)
	w.call(400, "GET", "auth/ci/oidc/callback?state=x&code=y", "", "")
	w.call(405, "POST", "auth/ci/oidc/callback", "", `{"state":"x"}`)
	w.call(204, "DELETE", "sys/auth/ci", w.root, "")
	w.call(403, "GET", "secret/data/x", got.Auth.Token, "")
	w.logMu.Lock()
	defer w.logMu.Unlock()
	if strings.Contains(w.log.String(), token) {
		t.Error("the log holds a token")
	}
}

// TestOneFieldViews: each field of an approle role can be read, set and reset alone.
func TestOneFieldViews(t *testing.T) {
	w := enabled(t)
	w.call(204, "POST", "auth/approle/role/app", w.root, `{"policies":"a","period":"1h","bound_cidr_list":"127.0.0.0/8"}`)
	shown := w.call(200, "GET", "auth/approle/role/app", w.root, "").Data
	for field, want := range map[string]any{
		"policies": "[a]", "token_policies": "[a]", "period": "3600", "token_period": "3600", "secret_id_bound_cidrs": "[127.0.0.0/8]", "token_bound_cidrs": "[]",
	} {
		if got := fmt.Sprint(shown[field]); got != want {
			t.Errorf("%s: %v, want %v", field, got, want)
		}
	}
	for _, c := range []struct{ path, field, value, want string }{
		{"policies", "token_policies", `"x,y"`, "[x y]"},
		{"period", "token_period", `"2h"`, "7200"},
		{"secret-id-ttl", "secret_id_ttl", `"2h"`, "7200"},
		{"secret-id-num-uses", "secret_id_num_uses", "7", "7"},
		{"secret-id-bound-cidrs", "secret_id_bound_cidrs", `"10.1.2.3/8"`, "[10.1.2.3/8]"},
		{"token-ttl", "token_ttl", `"3m"`, "180"},
		{"token-max-ttl", "token_max_ttl", `"30m"`, "1800"},
		{"token-num-uses", "token_num_uses", "3", "3"},
		{"token-bound-cidrs", "token_bound_cidrs", `["10.1.2.3/8"]`, "[10.1.2.3/8]"},
		{"bind-secret-id", "bind_secret_id", "true", "true"},
	} {
		path := "auth/approle/role/app/" + c.path
		w.call(204, "POST", path, w.root, `{"`+c.field+`":`+c.value+`}`)
		if got := fmt.Sprint(w.call(200, "GET", path, w.root, "").Data[c.field]); got != c.want {
			t.Errorf("%s: %s", c.path, got)
		}
		if !strings.Contains(c.path, "cidrs") {
			w.call(400, "POST", path, w.root, `{}`)
		}
		w.call(204, "DELETE", path, w.root, "")
		w.call(404, "GET", "auth/approle/role/none/"+c.path, w.root, "")
		w.call(404, "POST", "auth/approle/role/none/"+c.path, w.root, `{"`+c.field+`":`+c.value+`}`)
		w.call(204, "DELETE", "auth/approle/role/none/"+c.path, w.root, "")
	}
	if got := w.call(200, "GET", "auth/approle/role/app/local-secret-ids", w.root, "").Data["local_secret_ids"]; got != false {
		t.Errorf("local_secret_ids: %v", got)
	}
	w.call(405, "POST", "auth/approle/role/app/local-secret-ids", w.root, `{}`)
	w.call(202, "POST", "auth/approle/tidy/secret-id", w.root, "")
}

// TestRenewalIsHeldAgainstTheRole that the login came by.
func TestRenewalIsHeldAgainstTheRole(t *testing.T) {
	w := enabled(t)
	w.call(204, "POST", "auth/userpass/users/a", w.root, `{"password":"p","policies":"reader"}`)
	token := w.call(200, "POST", "auth/userpass/login/a", "", `{"password":"p"}`).Auth.Token
	w.call(200, "POST", "auth/token/renew-self", token, `{}`)
	w.call(204, "POST", "auth/userpass/users/a/policies", w.root, `{"policies":"reader,more"}`)
	if a := w.call(400, "POST", "auth/token/renew-self", token, `{}`); !a.says("policies have changed") {
		t.Errorf("other policies: %v", a.Errors)
	}
	w.call(204, "POST", "auth/userpass/users/a/policies", w.root, `{"policies":"Reader"}`)
	w.call(200, "POST", "auth/token/renew-self", token, `{}`)
	w.call(204, "DELETE", "auth/userpass/users/a", w.root, "")
	w.call(400, "POST", "auth/token/renew-self", token, `{}`)
	w.call(204, "POST", "auth/approle/role/app", w.root, `{"role_id":"me","policies":"reader"}`)
	secret := w.call(200, "POST", "auth/approle/role/app/secret-id", w.root, `{}`).Data["secret_id"].(string)
	token = w.call(200, "POST", "auth/approle/login", "", `{"role_id":"me","secret_id":"`+secret+`"}`).Auth.Token
	w.call(200, "POST", "auth/token/renew-self", token, `{}`)
	w.call(204, "DELETE", "auth/approle/role/app", w.root, "")
	w.call(204, "POST", "auth/approle/role/app", w.root, `{"role_id":"me","policies":"reader"}`)
	w.call(400, "POST", "auth/token/renew-self", token, `{}`) // another role of that name
}

// TestGuessesAtOnce: many guesses at the same moment are not many more than five.
func TestGuessesAtOnce(t *testing.T) {
	w := enabled(t)
	w.call(204, "POST", "auth/userpass/users/a", w.root, `{"password":"p"}`)
	var told atomic.Int64
	var wg sync.WaitGroup
	for range 24 {
		wg.Go(func() {
			if status, _ := w.do("POST", "auth/userpass/login/a", "", `{"password":"guess"}`); status == 400 {
				told.Add(1)
			}
		})
	}
	wg.Wait()
	if n := told.Load(); n < 5 || n > 8 {
		t.Errorf("%d guesses were answered", n)
	}
}
