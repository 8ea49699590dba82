// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package externalsecrets_test lets the Vault provider of External Secrets work
// with Goldkeep, as its operator does in a cluster.
package externalsecrets_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	authv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
)

// goldkeep is the program, built once for all tests. GOLDKEEP_E2E_BINARY names
// one that is built already.
var goldkeep string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	for _, name := range []string{"VAULT_ADDR", "VAULT_TOKEN", "VAULT_NAMESPACE", "KUBECONFIG"} {
		_ = os.Unsetenv(name) // cannot fail
	}
	if goldkeep = os.Getenv("GOLDKEEP_E2E_BINARY"); goldkeep != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "gkclients")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	goldkeep = filepath.Join(dir, "goldkeep")
	build := exec.Command("go", "build", "-C", "../../..", "-o", goldkeep, "./cmd/goldkeep")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Printf("go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// must(f())(t) is f's value; its error ends the test.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// server is a Goldkeep of the test's own, over TLS.
type server struct {
	url  string
	ca   []byte // PEM
	root *api.Client
}

func start(t *testing.T) *server {
	t.Helper()
	l := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	addr := l.Addr().String()
	ok(t, l.Close())
	dir := t.TempDir()
	cmd := exec.Command(goldkeep, "server", "--data", filepath.Join(dir, "data"), "--key-file", filepath.Join(dir, "key"), "--listen", addr)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	ok(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("the server said:\n%s", said.String())
		}
	})
	s := &server{url: "https://" + addr}
	wait(t, func() (err error) {
		s.ca, err = os.ReadFile(filepath.Join(dir, "data", "tls", "ca.pem"))
		return err
	})
	config := api.DefaultConfig()
	config.Address, config.MaxRetries = s.url, 0
	ok(t, config.ConfigureTLS(&api.TLSConfig{CACertBytes: s.ca}))
	s.root = must(api.NewClient(config))(t)
	var token []byte // the server initializes itself where it has a key file
	wait(t, func() (err error) {
		if token, err = os.ReadFile(filepath.Join(dir, "data", "root-token")); err != nil {
			return err
		}
		_, err = s.root.Sys().Health()
		return err
	})
	s.root.SetToken(strings.TrimSpace(string(token)))
	return s
}

// wait asks again until it works.
func wait(t *testing.T, ready func() error) {
	t.Helper()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	bound := time.After(time.Minute)
	for {
		err := ready()
		if err == nil {
			return
		}
		select {
		case <-look.C:
		case <-bound:
			t.Fatalf("the server does not serve: %v", err)
		}
	}
}

func (s *server) write(t *testing.T, path string, data map[string]any) *api.Secret {
	t.Helper()
	return must(s.root.Logical().Write(path, data))(t)
}

// cluster is as much of a Kubernetes API as logins need: it gives service accounts
// their tokens, and tells whose a token is.
type cluster struct {
	*httptest.Server
	key *ecdsa.PrivateKey
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{key: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)}
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v) // the client may have gone
	}
	mux.HandleFunc("POST /api/v1/namespaces/{space}/serviceaccounts/{name}/token", func(w http.ResponseWriter, r *http.Request) {
		var asked authv1.TokenRequest
		if err := decode(r.Body, &asked); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		asked.Status.Token = c.token(t, r.PathValue("space"), r.PathValue("name"), asked.Spec.Audiences)
		answer(w, &asked)
	})
	mux.HandleFunc("POST /apis/authentication.k8s.io/v1/tokenreviews", func(w http.ResponseWriter, r *http.Request) {
		var asked authv1.TokenReview
		if err := decode(r.Body, &asked); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		asked.Status = authv1.TokenReviewStatus{Authenticated: true, Audiences: asked.Spec.Audiences, User: authv1.UserInfo{
			Username: "system:serviceaccount:apps:shop", UID: "uid-1", Groups: []string{"system:serviceaccounts"},
		}}
		answer(w, &asked)
	})
	c.Server = httptest.NewServer(mux)
	t.Cleanup(c.Close)
	return c
}

// decode reads JSON or what the operator's client writes.
func decode(from io.Reader, into runtime.Object) error {
	body, err := io.ReadAll(from)
	if err != nil {
		return err
	}
	_, _, err = scheme.Codecs.UniversalDeserializer().Decode(body, nil, into)
	return err
}

// token is a service account's, signed as clusters do.
func (c *cluster) token(t *testing.T, space, name string, audiences []string) string {
	t.Helper()
	if audiences == nil {
		audiences = []string{"https://kubernetes.default.svc"}
	}
	part := func(v any) string { return base64.RawURLEncoding.EncodeToString(must(json.Marshal(v))(t)) }
	now := time.Now()
	text := part(map[string]string{"alg": "ES256", "typ": "JWT"}) + "." + part(map[string]any{
		"iss": "https://kubernetes.default.svc", "sub": "system:serviceaccount:" + space + ":" + name, "aud": audiences,
		"iat": now.Unix(), "nbf": now.Unix() - 1, "exp": now.Unix() + 600,
		"kubernetes.io": map[string]any{"namespace": space, "serviceaccount": map[string]string{"name": name, "uid": "uid-1"}},
	})
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, c.key, sum[:])
	ok(t, err)
	return text + "." + base64.RawURLEncoding.EncodeToString(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

// public is the key that tokens are checked with, as PEM.
func (c *cluster) public(t *testing.T) string {
	t.Helper()
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(&c.key.PublicKey))(t)}))
}

// config makes a kubeconfig and has the operator find it.
func (c *cluster) config(t *testing.T) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	ok(t, os.WriteFile(file, []byte(`apiVersion: v1
kind: Config
current-context: a
clusters: [{name: a, cluster: {server: "`+c.URL+`"}}]
contexts: [{name: a, context: {cluster: a, user: a}}]
users: [{name: a, user: {token: a}}]
`), 0o600))
	t.Setenv("KUBECONFIG", file)
}
