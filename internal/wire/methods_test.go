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
