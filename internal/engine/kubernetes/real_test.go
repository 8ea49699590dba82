// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package kubernetes_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/engine/kubernetes"
	"github.com/goldkeep/goldkeep/internal/engine/methodtest"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/fetch"
)

// kubernetesVersion is what hack/kubernetes/build makes.
const kubernetesVersion = "v1.36.3"

// cluster is a real API server over a real etcd, without nodes.
type cluster struct {
	t     *testing.T
	dir   string
	url   string
	caPEM string
	http  *http.Client
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir(), http: &http.Client{Timeout: 10 * time.Second}}
	etcd, peer, port := freePort(t), freePort(t), freePort(t)
	c.url = "https://127.0.0.1:" + port
	c.certificate()
	c.write("tokens.csv", []byte("admin-token,admin,1,system:masters\n"))
	key := c.newKey()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	c.must(err)
	c.write("sa.pub", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	c.writeKey("sa.key", key)
	c.start("etcd", "--data-dir", filepath.Join(c.dir, "etcd"), "--unsafe-no-fsync", "--log-level", "error",
		"--listen-client-urls", "http://127.0.0.1:"+etcd, "--advertise-client-urls", "http://127.0.0.1:"+etcd,
		"--listen-peer-urls", "http://127.0.0.1:"+peer, "--initial-advertise-peer-urls", "http://127.0.0.1:"+peer, "--initial-cluster", "default=http://127.0.0.1:"+peer)
	c.start("kube-apiserver", "--etcd-servers", "http://127.0.0.1:"+etcd, "--secure-port", port, "--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1",
		"--tls-cert-file", filepath.Join(c.dir, "tls.crt"), "--tls-private-key-file", filepath.Join(c.dir, "tls.key"), "--cert-dir", c.dir,
		"--service-account-issuer", "https://kubernetes.default.svc", "--service-account-signing-key-file", filepath.Join(c.dir, "sa.key"),
		"--service-account-key-file", filepath.Join(c.dir, "sa.pub"), "--service-cluster-ip-range", "10.0.0.0/24",
		"--token-auth-file", filepath.Join(c.dir, "tokens.csv"), "--authorization-mode", "RBAC", "--disable-admission-plugins", "ServiceAccount")
	c.waitReady()
	return c
}

func (c *cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
}

func (c *cluster) newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	c.must(err)
	return key
}

func (c *cluster) write(name string, content []byte) {
	c.must(os.WriteFile(filepath.Join(c.dir, name), content, 0o600))
}

func (c *cluster) writeKey(name string, key *ecdsa.PrivateKey) {
	der, err := x509.MarshalECPrivateKey(key)
	c.must(err)
	c.write(name, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
}

// certificate is the API server's own, which clients trust.
func (c *cluster) certificate() {
	key := c.newKey()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kube-apiserver"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	c.must(err)
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
	c.write("tls.crt", text)
	c.writeKey("tls.key", key)
	c.caPEM = string(text)
	client, err := fetch.NewClient(c.caPEM)
	c.must(err)
	c.http = client
}

// start runs a program until the test ends. The last started ends first: an API
// server whose etcd is gone does not stop.
func (c *cluster) start(name string, args ...string) {
	cache, err := os.UserCacheDir()
	c.must(err)
	path := filepath.Join(cache, "goldkeep", "kubernetes-"+kubernetesVersion, name)
	if _, err := os.Stat(path); err != nil {
		c.t.Fatalf("%v; build it with: hack/kubernetes/build", err)
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = c.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := os.Create(filepath.Join(c.dir, name+".log"))
	c.must(err)
	cmd.Stdout, cmd.Stderr = log, log
	c.must(cmd.Start())
	c.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = log.Close()
	})
}

// waitReady asks until the API server is ready, and gives up after a generous bound.
func (c *cluster) waitReady() {
	bound, look := time.NewTimer(3*time.Minute), time.NewTicker(100*time.Millisecond)
	defer bound.Stop()
	defer look.Stop()
	for {
		if status, _ := c.ask("GET", "/readyz", nil); status == http.StatusOK {
			return
		}
		select {
		case <-bound.C:
			log, _ := os.ReadFile(filepath.Join(c.dir, "kube-apiserver.log"))
			c.t.Fatalf("the API server is not ready:\n%s", log[max(0, len(log)-4000):])
		case <-look.C:
		}
	}
}

func (c *cluster) ask(verb, path string, body any) (int, m) {
	raw, err := json.Marshal(body)
	c.must(err)
	req, err := http.NewRequestWithContext(c.t.Context(), verb, c.url+path, bytes.NewReader(raw))
	c.must(err)
	req.Header.Set("Authorization", "Bearer admin-token")
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	c.must(err)
	var answer m
	_ = json.Unmarshal(text, &answer) // some answers are plain text
	return resp.StatusCode, answer
}

func (c *cluster) create(path string, body m) m {
	c.t.Helper()
	status, answer := c.ask("POST", path, body)
	if status != http.StatusCreated {
		c.t.Fatalf("create at %s: %d %v", path, status, answer)
	}
	return answer
}

// token is what a pod of the account would be given.
func (c *cluster) token(namespace, account, audience string) string {
	c.t.Helper()
	spec := m{"expirationSeconds": 600}
	if audience != "" {
		spec["audiences"] = []string{audience}
	}
	answer := c.create("/api/v1/namespaces/"+namespace+"/serviceaccounts/"+account+"/token", m{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec})
	return answer["status"].(m)["token"].(string)
}

func (c *cluster) account(namespace, name string) {
	c.t.Helper()
	c.create("/api/v1/namespaces/"+namespace+"/serviceaccounts", m{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": m{"name": name}})
}

// TestRealCluster: service accounts of a real API server log in, until it takes
// them back.
func TestRealCluster(t *testing.T) {
	if testing.Short() {
		t.Log("short run: the real API server is left to the full run")
		return
	}
	c := newCluster(t)
	c.create("/api/v1/namespaces", m{"apiVersion": "v1", "kind": "Namespace", "metadata": m{"name": "shop", "labels": m{"team": "payments"}}})
	for _, name := range []string{"till", "other", "reviewer"} {
		c.account("shop", name)
	}
	w := methodtest.New(t, "kubernetes", func(tokens engine.Tokens) engine.Kind { return kubernetes.New(tokens, t.TempDir()) })
	config := m{"kubernetes_host": c.url, "kubernetes_ca_cert": c.caPEM, "token_reviewer_jwt": c.token("shop", "reviewer", "")}
	w.OK("config", config)
	w.OK("role/shop", m{"bound_service_account_names": "till", "bound_service_account_namespaces": "shop", "audience": "goldkeep"})
	login := m{"role": "shop", "jwt": c.token("shop", "till", "goldkeep")}
	w.Refused(fault.Denied, "login", login, "let us ask") // the reviewer has no right yet
	grant := func(name string, role m) {
		c.create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", m{
			"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": m{"name": name},
			"roleRef": role, "subjects": []m{{"kind": "ServiceAccount", "name": "reviewer", "namespace": "shop"}},
		})
	}
	grant("review", m{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:auth-delegator"})
	got := letIn(w, login)
	if meta := got.Auth.Meta; meta["service_account_name"] != "till" || meta["service_account_namespace"] != "shop" || len(meta["service_account_uid"]) != 36 {
		t.Errorf("metadata: %v", meta)
	}
	w.Refused(fault.Denied, "login", m{"role": "shop", "jwt": c.token("shop", "other", "goldkeep")}, "name not authorized")
	w.Refused(fault.Denied, "login", m{"role": "shop", "jwt": c.token("shop", "till", "elsewhere")}, "another audience")
	w.OK("role/any", m{"bound_service_account_names": "*", "bound_service_account_namespaces": "*"})
	w.OK("login", m{"role": "any", "jwt": c.token("shop", "till", "elsewhere")})
	w.OK("login", m{"role": "any", "jwt": c.token("shop", "till", "")})

	w.OK("role/label", m{"bound_service_account_names": "till", "bound_service_account_namespace_selector": "matchLabels: {team: payments}"})
	w.Refused(fault.Denied, "login", with(login, "role", "label"), "let us ask") // namespaces may not be read yet
	c.create("/apis/rbac.authorization.k8s.io/v1/clusterroles", m{
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": m{"name": "namespaces"},
		"rules": []m{{"apiGroups": []string{""}, "resources": []string{"namespaces"}, "verbs": []string{"get"}}},
	})
	grant("namespaces", m{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "namespaces"})
	letIn(w, with(login, "role", "label"))

	// The account is taken back, and one of the same name made: the old token is void.
	if status, answer := c.ask("DELETE", "/api/v1/namespaces/shop/serviceaccounts/till", nil); status != http.StatusOK {
		t.Fatalf("delete: %d %v", status, answer)
	}
	c.account("shop", "till")
	refusedSoon(w, login)
}

func with(body m, field, value string) m { return methodtest.With(body, m{field: value}) }

// letIn logs in as soon as the API server has seen what was just granted.
func letIn(w *methodtest.World, body m) (got *engine.Response) {
	w.T.Helper()
	eventually(w.T, "the login is let in", func() (err error) { got, err = w.Write("login", body); return err })
	return got
}

// refusedSoon waits until the API server no longer believes what it has cached.
func refusedSoon(w *methodtest.World, body m) {
	w.T.Helper()
	eventually(w.T, "the login is refused", func() error {
		if _, err := w.Write("login", body); !fault.Is(err, fault.Denied) {
			return fmt.Errorf("the login ended in %v", err)
		}
		return nil
	})
}

func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	bound, look := time.NewTimer(2*time.Minute), time.NewTicker(100*time.Millisecond)
	defer bound.Stop()
	defer look.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-bound.C:
			t.Fatalf("it never came that %s: %v", what, err)
		case <-look.C:
		}
	}
}
