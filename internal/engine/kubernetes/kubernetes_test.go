// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package kubernetes_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/engine/kubernetes"
	"github.com/goldkeep/goldkeep/internal/engine/methodtest"
	"github.com/goldkeep/goldkeep/internal/fault"
)

type m = methodtest.M

// world is one mount over a real store, with real tokens, and a cluster whose API
// server answers as a real one does (see testdata/README.md).
type world struct {
	*methodtest.World
	pod string

	api    *httptest.Server
	caPEM  string
	key    *ecdsa.PrivateKey
	asked  atomic.Int64
	bearer atomic.Value // that the API server wants
	labels map[string]string
	answer func(status m) // changes the answer to a review
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{pod: t.TempDir(), labels: map[string]string{"team": "payments", "kubernetes.io/metadata.name": "shop"}}
	w.World = methodtest.New(t, "kubernetes", func(tokens engine.Tokens) engine.Kind { return kubernetes.New(tokens, w.pod) })
	var err error
	w.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.Must(err)
	w.bearer.Store("reviewer")
	w.api = httptest.NewTLSServer(http.HandlerFunc(w.serve))
	t.Cleanup(w.api.Close)
	w.caPEM = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.api.Certificate().Raw}))
	return w
}

// serve is the API server.
func (w *world) serve(out http.ResponseWriter, req *http.Request) {
	w.asked.Add(1)
	reply := func(status int, what m) {
		out.Header().Set("Content-Type", "application/json")
		out.WriteHeader(status)
		if err := json.NewEncoder(out).Encode(what); err != nil {
			w.T.Error(err)
		}
	}
	if got := strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer "); got != w.bearer.Load() {
		reply(http.StatusUnauthorized, m{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Unauthorized", "code": 401})
		return
	}
	switch req.Method + " " + req.URL.Path {
	case "GET /api/v1/namespaces/shop":
		reply(http.StatusOK, m{"kind": "Namespace", "apiVersion": "v1", "metadata": m{"name": "shop", "labels": w.labels}})
	case "POST /apis/authentication.k8s.io/v1/tokenreviews":
		var review struct {
			Kind string `json:"kind"`
			Spec struct {
				Token     string   `json:"token"`
				Audiences []string `json:"audiences"`
			} `json:"spec"`
		}
		if err := json.NewDecoder(req.Body).Decode(&review); err != nil || review.Kind != "TokenReview" {
			w.T.Errorf("a review: %+v %v", review, err)
		}
		reply(http.StatusCreated, m{"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "spec": review.Spec, "status": w.judge(review.Spec.Token, review.Spec.Audiences)})
	default:
		reply(http.StatusNotFound, m{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404})
	}
}

// judge verifies a token as the API server does.
func (w *world) judge(token string, audiences []string) m {
	refused := m{"user": m{}, "error": "[invalid bearer token, square/go-jose: error in cryptographic primitive]"}
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return refused
	}
	payload, err := signed.Verify(w.key.Public())
	if err != nil {
		return refused
	}
	var claims struct {
		Sub string   `json:"sub"`
		Aud []string `json:"aud"`
		K8s struct {
			Account struct {
				UID string `json:"uid"`
			} `json:"serviceaccount"`
		} `json:"kubernetes.io"`
	}
	w.Must(json.Unmarshal(payload, &claims))
	var both []string
	for _, a := range audiences {
		for _, b := range claims.Aud {
			if a == b {
				both = append(both, a)
			}
		}
	}
	if len(both) == 0 {
		return refused
	}
	status := m{"authenticated": true, "audiences": both, "user": m{
		"username": claims.Sub, "uid": claims.K8s.Account.UID, "groups": []string{"system:serviceaccounts", "system:authenticated"},
	}}
	if w.answer != nil {
		w.answer(status)
	}
	return status
}

// token is a service account's, as kubelets put them into pods.
func (w *world) token(key any, more m) string {
	w.T.Helper()
	claims := m{
		"iss": "https://kubernetes.default.svc", "aud": []string{"https://kubernetes.default.svc", "goldkeep"}, "sub": "system:serviceaccount:shop:till",
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
		"kubernetes.io": m{"namespace": "shop", "serviceaccount": m{"name": "till", "uid": "9a3c"}, "pod": m{"name": "till-1", "uid": "77"}},
	}
	for k, v := range more {
		claims[k] = v
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, nil)
	w.Must(err)
	payload, err := json.Marshal(claims)
	w.Must(err)
	object, err := signer.Sign(payload)
	w.Must(err)
	text, err := object.CompactSerialize()
	w.Must(err)
	return text
}

// ready is a world with a configuration and a role.
func ready(t *testing.T, role m) *world {
	t.Helper()
	w := newWorld(t)
	w.OK("config", m{"kubernetes_host": w.api.URL, "kubernetes_ca_cert": w.caPEM, "token_reviewer_jwt": "reviewer"})
	body := m{"bound_service_account_names": "till", "bound_service_account_namespaces": "shop", "token_policies": "reader", "token_ttl": "5m"}
	for k, v := range role {
		body[k] = v
	}
	w.OK("role/shop", body)
	return w
}

func TestLogin(t *testing.T) {
	w := ready(t, m{"audience": "goldkeep"})
	got := w.OK("login", m{"role": "Shop", "jwt": w.token(w.key, nil)}).Auth
	want := map[string]string{
		"role": "shop", "service_account_name": "till", "service_account_namespace": "shop", "service_account_uid": "9a3c", "service_account_secret_name": "",
	}
	if diff := cmp.Diff(want, got.Meta); diff != "" {
		t.Error(diff)
	}
	if got.TTL != 5*time.Minute || strings.Join(got.Policies, " ") != "default reader" {
		t.Errorf("token: %+v", got)
	}
	if name, _ := w.Who(); name != "9a3c" {
		t.Errorf("alias: %s", name)
	}
	w.Refused(fault.Invalid, "login", m{"jwt": "x"}, "missing role")
	w.Refused(fault.Invalid, "login", m{"role": "shop"}, "missing jwt")
	w.Refused(fault.Invalid, "login", m{"role": "none", "jwt": "x"}, "invalid role name")
	w.OK("role/shop", m{"token_bound_cidrs": "10.0.0.0/8"})
	w.Refused(fault.Denied, "login", m{"role": "shop", "jwt": w.token(w.key, nil)}, "permission denied")
}

// TestRefused: what a token says is never enough; and what is refused on sight is
// not taken to the API server.
func TestRefused(t *testing.T) {
	w := ready(t, nil)
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.Must(err)
	account := func(namespace, name, uid string) m {
		return m{"sub": "system:serviceaccount:" + namespace + ":" + name, "kubernetes.io": m{"namespace": namespace, "serviceaccount": m{"name": name, "uid": uid}}}
	}
	for name, token := range map[string]string{
		"no token":          "x",
		"expired":           w.token(w.key, m{"exp": time.Now().Add(-time.Hour).Unix()}),
		"another account":   w.token(w.key, account("shop", "other", "1")),
		"another namespace": w.token(w.key, account("kube-system", "till", "1")),
		"no account":        w.token(w.key, m{"kubernetes.io": nil}),
		"no uid":            w.token(w.key, account("shop", "till", "")),
	} {
		if _, err := w.Write("login", m{"role": "shop", "jwt": token}); !fault.Is(err, fault.Denied) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := w.asked.Load(); n != 0 {
		t.Errorf("the API server was asked %d times", n)
	}
	good := w.token(w.key, nil)
	w.Refused(fault.Denied, "login", m{"role": "shop", "jwt": w.token(stranger, nil)}, "does not know the token")
	for name, change := range map[string]func(m){
		"not authenticated": func(s m) { s["authenticated"] = false },
		"another audience":  func(s m) { s["audiences"] = []string{"other"} },
		"no audience":       func(s m) { delete(s, "audiences") },
		"another name":      func(s m) { s["user"].(m)["username"] = "system:serviceaccount:shop:other" },
		"another uid":       func(s m) { s["user"].(m)["uid"] = "1" },
		"a person":          func(s m) { s["user"].(m)["username"] = "admin" },
	} {
		w.answer = change
		if _, err := w.Write("login", m{"role": "shop", "jwt": good}); !fault.Is(err, fault.Denied) {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.answer = nil
	w.bearer.Store("another reviewer")
	w.Refused(fault.Denied, "login", m{"role": "shop", "jwt": good}, "let us ask")
	w.api.Close()
	w.Refused(fault.Denied, "login", m{"role": "shop", "jwt": good}, "cannot be asked")
}

func TestNamespacesByLabel(t *testing.T) {
	w := ready(t, m{"bound_service_account_names": "t*", "bound_service_account_namespaces": "other", "bound_service_account_namespace_selector": `{"matchLabels":{"team":"payments"}}`})
	w.OK("login", m{"role": "shop", "jwt": w.token(w.key, nil)})
	w.labels = map[string]string{"team": "others"}
	w.Refused(fault.Denied, "login", m{"role": "shop", "jwt": w.token(w.key, nil)}, "namespace not authorized")
}

// TestPod: in a pod the server needs no configuration but the address, and follows
// what rotates.
func TestPod(t *testing.T) {
	w := ready(t, nil)
	for name, text := range map[string]string{"ca.crt": w.caPEM, "token": "of-the-pod\n"} {
		w.Must(os.WriteFile(filepath.Join(w.pod, name), []byte(text), 0o600))
	}
	w.OK("config", m{"kubernetes_host": w.api.URL})
	login := m{"role": "shop", "jwt": w.token(w.key, nil)}
	w.bearer.Store("of-the-pod")
	w.OK("login", login)
	w.Must(os.WriteFile(filepath.Join(w.pod, "token"), []byte("rotated"), 0o600))
	w.bearer.Store("rotated")
	w.OK("login", login)
	// Without the pod's token the one that logs in asks about itself.
	w.Must(os.Remove(filepath.Join(w.pod, "token")))
	w.bearer.Store(login["jwt"])
	w.OK("login", login)
	w.Must(os.Remove(filepath.Join(w.pod, "ca.crt")))
	w.Refused(fault.Denied, "login", login, "cannot be asked")
	w.Refused(fault.Invalid, "config", m{"kubernetes_host": w.api.URL, "disable_local_ca_jwt": true}, "kubernetes_ca_cert")
	w.Must(os.WriteFile(filepath.Join(w.pod, "token"), []byte("of-the-pod"), 0o600))
	w.OK("config", m{"kubernetes_host": w.api.URL, "kubernetes_ca_cert": w.caPEM, "disable_local_ca_jwt": true})
	w.OK("login", login) // not with the pod's token
}

func TestConfigAndRoles(t *testing.T) {
	w := newWorld(t)
	w.Refused(fault.Invalid, "config", m{}, "no host")
	w.Refused(fault.Invalid, "config", m{"kubernetes_host": "ftp://x"}, "https")
	w.Refused(fault.Invalid, "config", m{"kubernetes_host": "x", "pem_keys": "none"}, "public key")
	if resp := w.OK("config", m{"kubernetes_host": "x", "kubernetes_ca_cert": "none"}); resp == nil || !strings.Contains(strings.Join(resp.Warnings, ""), "nobody can log in") {
		t.Errorf("an authority that is no certificate: %v", resp)
	}
	w.OK("config", m{"kubernetes_host": "10.0.0.1:6443", "kubernetes_ca_cert": w.caPEM, "token_reviewer_jwt": "planted"})
	shown := w.Read("config")
	if text, _ := json.Marshal(shown); strings.Contains(string(text), "planted") || shown["token_reviewer_jwt_set"] != true || shown["disable_iss_validation"] != true || shown["kubernetes_host"] != "10.0.0.1:6443" {
		t.Errorf("config: %s", text)
	}
	for _, c := range []struct {
		body m
		word string
	}{
		{m{}, "bound_service_account_names"},
		{m{"bound_service_account_names": "a"}, "bound_service_account_namespaces"},
		{m{"bound_service_account_names": "a,*", "bound_service_account_namespaces": "b"}, "mix"},
		{m{"bound_service_account_names": "a", "bound_service_account_namespaces": "b", "alias_name_source": "pod"}, "alias_name_source"},
		{m{"bound_service_account_names": "a", "bound_service_account_namespace_selector": "{}"}, "selector"},
		{m{"bound_service_account_names": "a", "bound_service_account_namespace_selector": `{"matchExpressions":[]}`}, "selector"},
	} {
		w.Refused(fault.Invalid, "role/r", c.body, c.word)
	}
	w.OK("role/R", m{"bound_service_account_names": "a", "bound_service_account_namespace_selector": "matchLabels:\n  team: a", "period": "1h", "num_uses": 3})
	shown = w.Read("role/r")
	for name, want := range map[string]any{
		"bound_service_account_names": []any{"a"}, "alias_name_source": "serviceaccount_uid", "token_period": 3600.0, "token_num_uses": 3.0, "token_type": "default",
	} {
		if !cmp.Equal(shown[name], want) {
			t.Errorf("%s: %v", name, shown[name])
		}
	}
}

// TestUnreadableAuthority: it was taken, and lets nobody in.
func TestUnreadableAuthority(t *testing.T) {
	w := ready(t, m{})
	login := m{"role": "shop", "jwt": w.token(w.key, nil)}
	w.OK("login", login)
	w.OK("config", m{"kubernetes_host": w.api.URL, "kubernetes_ca_cert": "none", "token_reviewer_jwt": "reviewer"})
	w.Refused(fault.Invalid, "login", login, "CA PEM")
}

func TestKeysAndOldTokens(t *testing.T) {
	w := ready(t, m{"alias_name_source": "serviceaccount_name"})
	der, err := x509.MarshalPKIXPublicKey(w.key.Public())
	w.Must(err)
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.Must(err)
	w.OK("config", m{
		"kubernetes_host": w.api.URL, "kubernetes_ca_cert": w.caPEM, "token_reviewer_jwt": "reviewer",
		"pem_keys": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), "issuer": "https://kubernetes.default.svc", "disable_iss_validation": false,
	})
	w.OK("login", m{"role": "shop", "jwt": w.token(w.key, nil)})
	if name, _ := w.Who(); name != "shop/till" {
		t.Errorf("alias: %s", name)
	}
	asked := w.asked.Load()
	w.Refused(fault.Denied, "login", m{"role": "shop", "jwt": w.token(stranger, nil)}, "signature")
	w.Refused(fault.Denied, "login", m{"role": "shop", "jwt": w.token(w.key, m{"iss": "other"})}, "issuer")
	if w.asked.Load() != asked {
		t.Error("the API server was asked about forged tokens")
	}
}

// FuzzToken: whatever somebody sends, it is refused, and costs the API server nothing.
func FuzzToken(f *testing.F) {
	f.Add("a.b.c")
	f.Add("eyJhbGciOiJFUzI1NiJ9.eyJhdWQiOlsxXX0.AA")
	f.Add("eyJhbGciOiJFUzI1NiJ9.eyJhdWQiOnt9LCJleHAiOjFlMzAwfQ.AA")
	f.Fuzz(func(t *testing.T, token string) {
		if err := kubernetes.ReadToken(token); err != nil && !fault.Is(err, fault.Denied) {
			t.Errorf("%v", err)
		}
	})
}
