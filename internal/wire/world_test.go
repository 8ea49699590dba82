// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/internal/audit"
	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/engine/approle"
	"github.com/goldkeep/goldkeep/internal/engine/cert"
	"github.com/goldkeep/goldkeep/internal/engine/jwt"
	"github.com/goldkeep/goldkeep/internal/engine/kubernetes"
	"github.com/goldkeep/goldkeep/internal/engine/kv"
	"github.com/goldkeep/goldkeep/internal/engine/namespace"
	"github.com/goldkeep/goldkeep/internal/engine/seal"
	"github.com/goldkeep/goldkeep/internal/engine/sys"
	"github.com/goldkeep/goldkeep/internal/engine/totp"
	"github.com/goldkeep/goldkeep/internal/engine/transit"
	"github.com/goldkeep/goldkeep/internal/engine/userpass"
	"github.com/goldkeep/goldkeep/internal/gate"
	"github.com/goldkeep/goldkeep/internal/lease"
	"github.com/goldkeep/goldkeep/internal/quota"
	"github.com/goldkeep/goldkeep/internal/realm"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/store/sqlite"
	"github.com/goldkeep/goldkeep/internal/wire"
)

// world is a whole server over a real store, barrier and audit, spoken to over
// TLS.
type world struct {
	t     testing.TB
	dir   string
	st    store.Store
	b     *barrier.Barrier
	gate  *gate.Gate
	audit *auditSwitch
	srv   *httptest.Server
	log   bytes.Buffer
	logMu sync.Mutex
	root  string
	keys  []string

	leases *lease.Ledger
	house  *realm.House
	sys    *sys.Engine
	legacy bool     // the unauthenticated paths are on
	target sync.Map // credentials at the target of the issuer
}

// auditSwitch is an audit log that can be made to fail.
type auditSwitch struct {
	audit.Log
	broken atomic.Bool
	skip   atomic.Int64 // how many records still pass when broken
}

func (a *auditSwitch) Append(ctx context.Context, rec audit.Record) error {
	if a.broken.Load() && a.skip.Add(-1) < 0 {
		return errors.New("no space left on device")
	}
	return a.Log.Append(ctx, rec)
}

func (a *auditSwitch) Begin(ctx context.Context, rec audit.Record) (func() error, error) {
	if a.broken.Load() && a.skip.Add(-1) < 0 {
		return nil, errors.New("no space left on device")
	}
	return a.Log.Begin(ctx, rec)
}

// Write implements io.Writer for the captured log.
func (w *world) Write(p []byte) (int, error) {
	w.logMu.Lock()
	defer w.logMu.Unlock()
	return w.log.Write(p)
}

// newWorld makes a server and initializes and unseals it as an operator would.
func newWorld(t testing.TB) *world {
	t.Helper()
	return newLegacyWorld(t, false)
}

func newLegacyWorld(t testing.TB, legacy bool) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), legacy: legacy}
	w.start()
	var answer struct {
		Keys []string `json:"keys"`
		Root string   `json:"root_token"`
	}
	w.must(json.Unmarshal(w.ok("PUT", "sys/init", "", `{"secret_shares":3,"secret_threshold":2}`), &answer))
	w.root, w.keys = answer.Root, answer.Keys
	w.unseal()
	w.ok("POST", "sys/mounts/secret", w.root, `{"type":"kv","options":{"version":"2"}}`)
	return w
}

func (w *world) start() {
	w.t.Helper()
	ctx := context.Background()
	var err error
	w.st, err = sqlite.Open(ctx, filepath.Join(w.dir, "goldkeep.db"), sqlite.Options{})
	w.must(err)
	w.t.Cleanup(func() { _ = w.st.Close() })
	w.must(auth.Migrate(ctx, w.st))
	w.b, err = barrier.Open(ctx, w.st)
	w.must(err)
	logger := slog.New(slog.NewTextHandler(w, nil))
	file, err := audit.Open(audit.Options{Path: filepath.Join(w.dir, "audit.log"), Node: "test", Now: w.st.Now})
	w.must(err)
	w.t.Cleanup(func() { _ = file.Close() })
	w.audit = &auditSwitch{Log: file}
	w.gate = wiring(w, logger)
	w.srv = httptest.NewTLSServer(wire.Handler(w.gate, wire.Options{Logger: logger, CORS: w.sys.CORS}))
	w.srv.Client().Transport.(*http.Transport).MaxIdleConnsPerHost = 32
	w.t.Cleanup(w.srv.Close)
}

// wiring joins the parts as the server does.
func wiring(w *world, logger *slog.Logger) *gate.Gate {
	w.leases = lease.New(lease.Options{Space: w.b.Space().Sub("lease"), Undoers: map[string]lease.Undoer{"test": w}, Log: logger})
	quotas := quota.New(w.b.Space().Sub("quota"), w.st.Exclusive())
	w.house = realm.New(realm.Options{
		Store: w.st, Space: w.b.Space(), Keys: w.b, Leases: w.leases, Kinds: w.kinds, Log: logger,
		Fix: func(r *engine.Realm) { w.fix(r, quotas) },
	})
	root := w.house.Root
	return gate.New(gate.Options{
		Barrier: w.b, Mounts: root.Mounts, Tokens: root.Tokens, Policies: root.Policies, Leases: w.leases, Root: root,
		Wrapping: root.Wrapping, Quotas: quotas, Audit: w.audit, Now: w.st.Now, Logger: logger,
	})
}

func (w *world) kinds(r *engine.Realm) map[string]engine.Kind {
	return map[string]engine.Kind{
		"kv": kv.New, "transit": transit.New, "totp": totp.New, "auth/approle": approle.New(r.Logins), "auth/userpass": userpass.New(r.Logins),
		"auth/jwt": jwt.New(r.Logins), "auth/oidc": jwt.New(r.Logins), "auth/kubernetes": kubernetes.New(r.Logins, kubernetes.PodDir), "auth/cert": cert.New(r.Logins),
		"issuer": func(m engine.Mount, _ barrier.Space) engine.Engine { return &issuer{w, m.Path, r.Leases} },
	}
}

func (w *world) fix(r *engine.Realm, quotas *quota.Limiter) {
	o := sys.Options{
		Parts:  []sys.Part{namespace.New(namespace.Options{Realm: r, Deleted: func() { w.house.Deleted() }}), r.Logins.Door()},
		Tokens: r.Tokens, Policies: r.Policies, Leases: r.Leases, Mounts: r.Mounts, Realm: r, Unmounted: r.Entities.Unmounted,
		Quotas: quotas, Space: r.Spaces["sys"], Metrics: func() ([]byte, error) { return []byte("goldkeep_sealed 0\n"), nil },
		Version: "0.9.1", Built: "2026-11-22T00:00:00Z", Storage: "sqlite",
	}
	if r.Parent != nil {
		r.Mounts.Fix("sys/", "system", "system endpoints used for control, policy and debugging", sys.New(o))
		return
	}
	o.Parts = append(o.Parts, seal.New(seal.Options{
		Barrier: w.b, Keys: w.b, Tokens: r.Tokens, LegacyRekey: w.legacy, LegacyRoot: w.legacy, Space: r.Spaces["sys"],
		Version: "0.9.1", Built: "2026-11-22T00:00:00Z", Storage: "sqlite",
		OnSeal: func() { r.Mounts.Forget(); quotas.Forget() },
	}))
	w.sys = sys.New(o)
	r.Mounts.Fix("sys/", "system", "system endpoints used for control, policy and debugging", w.sys)
	r.Mounts.Fix("api/", "api", "", evidence{})
}

// evidence is an engine like Goldkeep's own API: parts of it are read sealed too.
type evidence struct{}

func (evidence) Handle(_ context.Context, req *engine.Request) (*engine.Response, error) {
	return &engine.Response{Data: map[string]any{"known": req.Subject != nil}}, nil
}
func (evidence) Exists(context.Context, string) (bool, error) { return true, nil }
func (evidence) Special() engine.Special {
	return engine.Special{Sealed: []string{"v1/images", "v1/images/*"}, Pure: []string{"*"}}
}

// issuer is an engine that hands out credentials with a lease.
type issuer struct {
	w      *world
	path   string
	leases *lease.Ledger
}

func (i *issuer) Handle(ctx context.Context, req *engine.Request) (*engine.Response, error) {
	id, err := lease.NewID(i.path+req.Path, rand.Reader)
	if err != nil {
		return nil, err
	}
	recipe, err := json.Marshal(id)
	if err != nil {
		return nil, err
	}
	err = i.leases.Begin(ctx, lease.Lease{
		ID: id, Owner: req.Subject.Accessor, Issued: req.Now, Expires: req.Now.Add(time.Hour), Renewable: true, Kind: "test", Recipe: recipe,
	})
	if err != nil {
		return nil, err
	}
	i.w.target.Store(id, true)
	return &engine.Response{
		Data:   map[string]string{"password": "planted-value"},
		Secret: &engine.Secret{LeaseID: id, TTL: time.Hour, Renewable: true},
	}, nil
}
func (*issuer) Exists(context.Context, string) (bool, error) { return true, nil }
func (*issuer) Special() engine.Special                      { return engine.Special{} }

// Undo implements lease.Undoer.
func (w *world) Undo(_ context.Context, recipe json.RawMessage) error {
	var id string
	if err := json.Unmarshal(recipe, &id); err != nil {
		return err
	}
	w.target.Delete(id)
	return nil
}

// held is how many credentials the target has.
func (w *world) held() (n int) {
	w.target.Range(func(any, any) bool { n++; return true })
	return n
}

func (w *world) unseal() {
	w.t.Helper()
	for _, key := range w.keys[:2] {
		w.ok("PUT", "sys/unseal", "", `{"key":"`+key+`"}`)
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// do sends one request and returns the status and the body.
func (w *world) do(method, path, token, body string, headers ...string) (int, []byte) {
	w.t.Helper()
	status, _, answer := w.send(method, path, token, body, headers...)
	return status, answer
}

func (w *world) send(method, path, token, body string, headers ...string) (int, http.Header, []byte) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, w.srv.URL+"/v1/"+path, strings.NewReader(body))
	w.must(err)
	if token != "" {
		req.Header.Set("X-Vault-Token", token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := w.srv.Client().Do(req)
	w.must(err)
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	w.must(err)
	return resp.StatusCode, resp.Header, answer
}

// ok sends a request that must succeed.
func (w *world) ok(method, path, token, body string, headers ...string) []byte {
	w.t.Helper()
	status, answer := w.do(method, path, token, body, headers...)
	if status >= 300 {
		w.t.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
	return answer
}

// token makes a token with one policy of this text.
func (w *world) token(policyText string, more string) string {
	w.t.Helper()
	text, err := json.Marshal(map[string]string{"policy": policyText})
	w.must(err)
	w.ok("PUT", "sys/policies/acl/testing", w.root, string(text))
	var answer struct {
		Auth struct {
			Token string `json:"client_token"`
		} `json:"auth"`
	}
	w.must(json.Unmarshal(w.ok("POST", "auth/token/create", w.root, `{"policies":["testing"]`+more+`}`), &answer))
	return answer.Auth.Token
}
