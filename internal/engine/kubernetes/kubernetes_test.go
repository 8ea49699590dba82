// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package kubernetes_test

import (
	"bytes"
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

	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/engine/kubernetes"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/policy"
	"github.com/goldkeep/goldkeep/internal/store/sqlite"
)

type m = map[string]any

// world is one mount over a real store, with real tokens, and a cluster whose API
// server answers as a real one does (see testdata/README.md).
type world struct {
	t      *testing.T
	e      engine.Engine
	pod    string
	remote string

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
	w := &world{t: t, pod: t.TempDir(), remote: "127.0.0.1", labels: map[string]string{"team": "payments", "kubernetes.io/metadata.name": "shop"}}
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "goldkeep.db"), sqlite.Options{})
	w.must(err)
	t.Cleanup(func() { _ = st.Close() })
	w.must(auth.Migrate(t.Context(), st))
	b, err := barrier.Open(t.Context(), st)
	w.must(err)
	file := bytes.Repeat([]byte{7}, 32)
	_, err = b.Init(t.Context(), barrier.InitOptions{KeyFile: file})
	w.must(err)
	w.must(b.UnsealWithFile(t.Context(), file))
	tokens := auth.NewTokens(auth.TokensOptions{Store: st, Space: b.Space().Sub("token"), Keys: b})
	w.e = kubernetes.New(tokens, w.pod)(engine.Mount{Path: "auth/kubernetes/", Kind: "kubernetes", UUID: "u"}, b.Space().Sub("mount"))
	w.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.must(err)
	w.bearer.Store("reviewer")
	w.api = httptest.NewTLSServer(http.HandlerFunc(w.serve))
	t.Cleanup(w.api.Close)
	w.caPEM = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.api.Certificate().Raw}))
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// serve is the API server.
func (w *world) serve(out http.ResponseWriter, req *http.Request) {
	w.asked.Add(1)
	reply := func(status int, what m) {
		out.Header().Set("Content-Type", "application/json")
		out.WriteHeader(status)
		if err := json.NewEncoder(out).Encode(what); err != nil {
			w.t.Error(err)
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
			w.t.Errorf("a review: %+v %v", review, err)
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
	w.must(json.Unmarshal(payload, &claims))
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
	w.t.Helper()
	claims := m{
		"iss": "https://kubernetes.default.svc", "aud": []string{"https://kubernetes.default.svc", "goldkeep"}, "sub": "system:serviceaccount:shop:till",
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
		"kubernetes.io": m{"namespace": "shop", "serviceaccount": m{"name": "till", "uid": "9a3c"}, "pod": m{"name": "till-1", "uid": "77"}},
	}
	for k, v := range more {
		claims[k] = v
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, nil)
	w.must(err)
	payload, err := json.Marshal(claims)
	w.must(err)
	object, err := signer.Sign(payload)
	w.must(err)
	text, err := object.CompactSerialize()
	w.must(err)
	return text
}

func (w *world) ask(op policy.Capability, path string, body m) (*engine.Response, error) {
	w.t.Helper()
	data := map[string]json.RawMessage{}
	for name, value := range body {
		raw, err := json.Marshal(value)
		w.must(err)
		data[name] = raw
	}
	return w.e.Handle(w.t.Context(), &engine.Request{Op: op, Mount: "auth/kubernetes/", Path: path, Data: data, Remote: w.remote, Now: time.Now()})
}

func (w *world) ok(path string, body m) *engine.Response {
	w.t.Helper()
	resp, err := w.ask(policy.Update, path, body)
	if err != nil {
		w.t.Fatalf("write %s: %v", path, err)
	}
	return resp
}

func (w *world) refused(kind fault.Kind, path string, body m, word string) {
	w.t.Helper()
	_, err := w.ask(policy.Update, path, body)
	if !fault.Is(err, kind) || !strings.Contains(err.Error(), word) {
		w.t.Errorf("write %s %v: %v; want %v with %q", path, body, err, kind, word)
	}
}

func (w *world) read(path string) m {
	w.t.Helper()
	resp, err := w.ask(policy.Read, path, nil)
	w.must(err)
	raw, err := json.Marshal(resp.Data)
	w.must(err)
	var data m
	w.must(json.Unmarshal(raw, &data))
	return data
}

// ready is a world with a configuration and a role.
func ready(t *testing.T, role m) *world {
	t.Helper()
	w := newWorld(t)
	w.ok("config", m{"kubernetes_host": w.api.URL, "kubernetes_ca_cert": w.caPEM, "token_reviewer_jwt": "reviewer"})
	body := m{"bound_service_account_names": "till", "bound_service_account_namespaces": "shop", "token_policies": "reader", "token_ttl": "5m"}
	for k, v := range role {
		body[k] = v
	}
	w.ok("role/shop", body)
	return w
}

func TestLogin(t *testing.T) {
	w := ready(t, m{"audience": "goldkeep"})
	got := w.ok("login", m{"role": "Shop", "jwt": w.token(w.key, nil)}).Auth
	want := map[string]string{
		"role": "shop", "service_account_name": "till", "service_account_namespace": "shop", "service_account_uid": "9a3c", "service_account_secret_name": "",
	}
	if diff := cmp.Diff(want, got.Meta); diff != "" {
		t.Error(diff)
	}
	if got.TTL != 5*time.Minute || strings.Join(got.Policies, " ") != "default reader" {
		t.Errorf("token: %+v", got)
	}
	w.refused(fault.Invalid, "login", m{"jwt": "x"}, "missing role")
	w.refused(fault.Invalid, "login", m{"role": "shop"}, "missing jwt")
	w.refused(fault.Invalid, "login", m{"role": "none", "jwt": "x"}, "invalid role name")
	w.ok("role/shop", m{"token_bound_cidrs": "10.0.0.0/8"})
	w.refused(fault.Denied, "login", m{"role": "shop", "jwt": w.token(w.key, nil)}, "permission denied")
}

// TestRefused: what a token says is never enough; and what is refused on sight is
// not taken to the API server.
func TestRefused(t *testing.T) {
	w := ready(t, nil)
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.must(err)
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
		if _, err := w.ask(policy.Update, "login", m{"role": "shop", "jwt": token}); !fault.Is(err, fault.Denied) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := w.asked.Load(); n != 0 {
		t.Errorf("the API server was asked %d times", n)
	}
	good := w.token(w.key, nil)
	w.refused(fault.Denied, "login", m{"role": "shop", "jwt": w.token(stranger, nil)}, "does not know the token")
	for name, change := range map[string]func(m){
		"not authenticated": func(s m) { s["authenticated"] = false },
		"another audience":  func(s m) { s["audiences"] = []string{"other"} },
		"no audience":       func(s m) { delete(s, "audiences") },
		"another name":      func(s m) { s["user"].(m)["username"] = "system:serviceaccount:shop:other" },
		"another uid":       func(s m) { s["user"].(m)["uid"] = "1" },
		"a person":          func(s m) { s["user"].(m)["username"] = "admin" },
	} {
		w.answer = change
		if _, err := w.ask(policy.Update, "login", m{"role": "shop", "jwt": good}); !fault.Is(err, fault.Denied) {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.answer = nil
	w.bearer.Store("another reviewer")
	w.refused(fault.Denied, "login", m{"role": "shop", "jwt": good}, "let us ask")
	w.api.Close()
	w.refused(fault.Denied, "login", m{"role": "shop", "jwt": good}, "cannot be asked")
}

func TestNamespacesByLabel(t *testing.T) {
	w := ready(t, m{"bound_service_account_names": "t*", "bound_service_account_namespaces": "other", "bound_service_account_namespace_selector": `{"matchLabels":{"team":"payments"}}`})
	w.ok("login", m{"role": "shop", "jwt": w.token(w.key, nil)})
	w.labels = map[string]string{"team": "others"}
	w.refused(fault.Denied, "login", m{"role": "shop", "jwt": w.token(w.key, nil)}, "namespace not authorized")
}

// TestPod: in a pod the server needs no configuration but the address, and follows
// what rotates.
func TestPod(t *testing.T) {
	w := ready(t, nil)
	for name, text := range map[string]string{"ca.crt": w.caPEM, "token": "of-the-pod\n"} {
		w.must(os.WriteFile(filepath.Join(w.pod, name), []byte(text), 0o600))
	}
	w.ok("config", m{"kubernetes_host": w.api.URL})
	login := m{"role": "shop", "jwt": w.token(w.key, nil)}
	w.bearer.Store("of-the-pod")
	w.ok("login", login)
	w.must(os.WriteFile(filepath.Join(w.pod, "token"), []byte("rotated"), 0o600))
	w.bearer.Store("rotated")
	w.ok("login", login)
	// Without the pod's token the one that logs in asks about itself.
	w.must(os.Remove(filepath.Join(w.pod, "token")))
	w.bearer.Store(login["jwt"])
	w.ok("login", login)
	w.must(os.Remove(filepath.Join(w.pod, "ca.crt")))
	w.refused(fault.Denied, "login", login, "cannot be asked")
	w.refused(fault.Invalid, "config", m{"kubernetes_host": w.api.URL, "disable_local_ca_jwt": true}, "kubernetes_ca_cert")
	w.must(os.WriteFile(filepath.Join(w.pod, "token"), []byte("of-the-pod"), 0o600))
	w.ok("config", m{"kubernetes_host": w.api.URL, "kubernetes_ca_cert": w.caPEM, "disable_local_ca_jwt": true})
	w.ok("login", login) // not with the pod's token
}

func TestConfigAndRoles(t *testing.T) {
	w := newWorld(t)
	w.refused(fault.Invalid, "config", m{}, "no host")
	w.refused(fault.Invalid, "config", m{"kubernetes_host": "ftp://x"}, "https")
	w.refused(fault.Invalid, "config", m{"kubernetes_host": "x", "kubernetes_ca_cert": "none"}, "CA PEM")
	w.refused(fault.Invalid, "config", m{"kubernetes_host": "x", "pem_keys": "none"}, "PEM")
	w.ok("config", m{"kubernetes_host": "10.0.0.1:6443", "kubernetes_ca_cert": w.caPEM, "token_reviewer_jwt": "planted"})
	shown := w.read("config")
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
		w.refused(fault.Invalid, "role/r", c.body, c.word)
	}
	w.ok("role/R", m{"bound_service_account_names": "a", "bound_service_account_namespace_selector": "matchLabels:\n  team: a", "period": "1h", "num_uses": 3})
	shown = w.read("role/r")
	for name, want := range map[string]any{
		"bound_service_account_names": []any{"a"}, "alias_name_source": "serviceaccount_uid", "token_period": 3600.0, "token_num_uses": 3.0, "token_type": "default",
	} {
		if !cmp.Equal(shown[name], want) {
			t.Errorf("%s: %v", name, shown[name])
		}
	}
}

func TestKeysAndOldTokens(t *testing.T) {
	w := ready(t, m{"alias_name_source": "serviceaccount_name"})
	der, err := x509.MarshalPKIXPublicKey(w.key.Public())
	w.must(err)
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.must(err)
	w.ok("config", m{
		"kubernetes_host": w.api.URL, "kubernetes_ca_cert": w.caPEM, "token_reviewer_jwt": "reviewer",
		"pem_keys": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), "issuer": "https://kubernetes.default.svc", "disable_iss_validation": false,
	})
	w.ok("login", m{"role": "shop", "jwt": w.token(w.key, nil)})
	asked := w.asked.Load()
	w.refused(fault.Denied, "login", m{"role": "shop", "jwt": w.token(stranger, nil)}, "signature")
	w.refused(fault.Denied, "login", m{"role": "shop", "jwt": w.token(w.key, m{"iss": "other"})}, "issuer")
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
