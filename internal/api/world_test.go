// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/server"
)

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

// world is a whole server as main starts it, spoken to over HTTP.
type world struct {
	t    testing.TB
	url  string
	root string
	*client.Client
}

func newWorld(t testing.TB) *world {
	t.Helper()
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	s, err := server.New(ctx, server.Config{
		Listen: "127.0.0.1:0", Data: filepath.Join(dir, "data"), KeyFile: filepath.Join(dir, "key"), Node: "test",
		Audit: server.Audit{MinFree: 1 << 20}, TLS: server.TLS{Off: true}, Feeds: server.Feeds{From: filepath.Join(dir, "feeds")},
		Notifications: server.Notifications{Webhooks: server.Webhooks{Allow: []string{"127.0.0.0/8"}}},
	}, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	w := &world{t: t, url: s.URL(), root: strings.TrimSpace(string(must(os.ReadFile(filepath.Join(dir, "data", "root-token")))(t)))}
	w.Client = must(client.New(client.Config{Addr: w.url, Token: w.root}))(t)
	return w
}

// answer is what came over HTTP.
type answer struct {
	status int
	kind   string // content type
	body   []byte
}

// send sends one request as it stands; the path is not cleaned.
func (w *world) send(method, path, token string, body io.Reader) answer {
	w.t.Helper()
	req := must(http.NewRequestWithContext(context.Background(), method, w.url+path, body))(w.t)
	req.Header.Set("X-Vault-Token", token)
	resp := must(http.DefaultClient.Do(req))(w.t)
	defer func() { _ = resp.Body.Close() }()
	return answer{resp.StatusCode, resp.Header.Get("Content-Type"), must(io.ReadAll(resp.Body))(w.t)}
}

// problem is RFC 9457 with our members, as docs/openapi.json describes it.
type problem struct {
	Type, Title, Detail, Kind, Hint string
	Status                          int
	Errors                          []string
	Wanted                          bool
	Verdict                         *client.Verdict
}

// refused sends a request that must fail with a status, and checks the problem.
func (w *world) refused(status int, method, path, token string, body string) problem {
	w.t.Helper()
	a := w.send(method, path, token, strings.NewReader(body))
	if a.status != status || a.kind != "application/problem+json" {
		w.t.Fatalf("%s %s: %d %s %s, want %d", method, path, a.status, a.kind, a.body, status)
	}
	var p problem
	dec := json.NewDecoder(bytes.NewReader(a.body))
	dec.DisallowUnknownFields()
	ok(w.t, dec.Decode(&p))
	if p.Status != status || p.Type != "about:blank" || p.Title != http.StatusText(status) || p.Kind == "" || p.Detail == "" {
		w.t.Errorf("%s %s: problem %+v", method, path, p)
	}
	return p
}

// token makes a token with one policy of this text.
func (w *world) token(text string, meta map[string]string) string {
	w.t.Helper()
	ok(w.t, w.Do(context.Background(), "PUT", "/v1/sys/policies/acl/testing", map[string]string{"policy": text}, nil))
	var made struct {
		Auth struct {
			Token string `json:"client_token"`
		} `json:"auth"`
	}
	ok(w.t, w.Do(context.Background(), "POST", "/v1/auth/token/create", map[string]any{"policies": []string{"testing"}, "meta": meta}, &made))
	return made.Auth.Token
}

// debian is a small image with one Debian package; salt makes it another image.
func debian(t testing.TB, salt string) v1.Image {
	t.Helper()
	var layer bytes.Buffer
	z := tar.NewWriter(&layer)
	for _, f := range []struct{ name, text string }{
		{"etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n"},
		{"var/lib/dpkg/status", "Package: zlib1g\nStatus: install ok installed\nVersion: 1:1.2.13.dfsg-1\nSource: zlib\nArchitecture: amd64\n\n"},
		{"salt", salt},
	} {
		ok(t, z.WriteHeader(&tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.text))}))
		must(io.WriteString(z, f.text))(t)
	}
	ok(t, z.Close())
	l := must(tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil }))(t)
	img := must(mutate.AppendLayers(empty.Image, l))(t)
	cfg := must(img.ConfigFile())(t).DeepCopy()
	cfg.OS, cfg.Architecture, cfg.Created = "linux", "amd64", v1.Time{Time: time.Now().Add(-time.Hour)}
	cfg.Config.User = "1000"
	cfg.Config.Labels = map[string]string{"token": planted, "team": "payments"}
	return must(mutate.ConfigFile(img, cfg))(t)
}

// planted is a credential in an image's label.
const planted = "glpat-" + "Zq7Wd93kLm2Xs8Rb4Tn6"

func archive(t testing.TB, img v1.Image) []byte {
	t.Helper()
	var out bytes.Buffer
	ok(t, tarball.Write(must(name.NewTag("example.com/app:1"))(t), img, &out))
	return out.Bytes()
}

// feed is an OSV feed of one advisory about a package that is not there.
func feed(t testing.TB) []byte { return feedOf(t, "other") }

// feedOf is a feed of one advisory for each of some packages.
func feedOf(t testing.TB, packages ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for i, name := range packages {
		f := must(z.Create(fmt.Sprintf("DSA-%d.json", i+1)))(t)
		must(fmt.Fprintf(f, `{"id":"DSA-%d","modified":"2026-01-01T00:00:00Z","published":"2026-01-01T00:00:00Z",
			"affected":[{"package":{"ecosystem":"Debian:12","name":%q},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"}]}]}]}`, i+1, name))(t)
	}
	ok(t, z.Close())
	return out.Bytes()
}

func request(t testing.TB) string {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	der := must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key))(t)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

// documents declares an environment and a workload whose gold is an image.
func documents(digest string) client.PlanRequest {
	return client.PlanRequest{Documents: []client.Document{{File: "app.yaml", Text: `
apiVersion: goldkeep.dev/v1
kind: Environment
metadata: {name: prod, owner: sec}
spec:
  admit: [{age: {max: 30d}}]
  retain: [{age: {max: 45d, grace: 5d}}]
  onFail: revoke
---
apiVersion: goldkeep.dev/v1
kind: GoldenImage
metadata: {name: pay, owner: team, contact: "#pay"}
spec: {channels: {gold: "` + digest + `"}}
---
apiVersion: goldkeep.dev/v1
kind: Workload
metadata: {name: pay, owner: team, protect: true}
spec:
  environment: prod
  image: {golden: pay, channel: gold}
  secrets: [{kv: pay/db, file: db.json}]
`}}}
}
