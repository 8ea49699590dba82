// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/agent"
	"github.com/goldkeep/goldkeep/internal/attest"
	"github.com/goldkeep/goldkeep/internal/attest/attesttest"
)

const patience = 20 * time.Second

// fakeServer answers as the real one does, as told by a test.
type fakeServer struct {
	t    *testing.T
	http *httptest.Server

	mu       sync.Mutex
	ttl      int
	refuse   bool // by verdict
	deny     bool // everything with a token
	down     bool
	wanted   bool // has never seen anything not uploaded
	early    bool // revokes before it answers
	wants    []client.WorkloadSecret
	secrets  map[string]map[string]any
	evidence []attest.Evidence
	uploads  map[string]int // digest -> times
	states   map[string]client.Instance
	left     []string
	renewed  int
	sights   []*client.Sight // one for each renewal
	revision int64
	secret   int64
	seen     int64 // the newest revision an agent has asked after
	changed  chan struct{}
}

func newFake(t *testing.T) *fakeServer {
	t.Helper()
	f := &fakeServer{
		t: t, ttl: 60, revision: 1, secret: 1, changed: make(chan struct{}),
		wants:   []client.WorkloadSecret{{KV: "payments/stripe", Mount: "secret", File: "stripe.json"}},
		secrets: map[string]map[string]any{"payments/stripe": {"key": "sk-1"}},
		uploads: map[string]int{}, states: map[string]client.Instance{},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/instances", f.admit)
	mux.HandleFunc("POST /api/v1/instances/{id}/renew", f.renew)
	mux.HandleFunc("DELETE /api/v1/instances/{id}", f.leave)
	mux.HandleFunc("GET /api/v1/nodes/{node}/watch", f.watch)
	mux.HandleFunc("POST /api/v1/images", f.upload)
	mux.HandleFunc("GET /v1/secret/data/{path...}", f.read)
	f.http = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		down, deny := f.down, f.deny
		f.mu.Unlock()
		switch {
		case down:
			http.Error(w, "down", http.StatusBadGateway)
		case deny || r.Header.Get("X-Vault-Token") == "":
			fail(w, http.StatusForbidden, map[string]any{"errors": []string{"permission denied"}})
		default:
			mux.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(f.http.Close)
	return f
}

func fail(w http.ResponseWriter, status int, body any) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func (f *fakeServer) admit(w http.ResponseWriter, r *http.Request) {
	var ask struct {
		Evidence attest.Evidence `json:"evidence"`
		CSR      string          `json:"csr"`
	}
	if err := json.NewDecoder(r.Body).Decode(&ask); err != nil || !strings.Contains(ask.CSR, "CERTIFICATE REQUEST") {
		f.t.Errorf("bad question: %v", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	defer f.tell()
	f.evidence = append(f.evidence, ask.Evidence)
	digest := ask.Evidence.Image + ask.Evidence.Executable
	switch {
	case f.wanted && len(f.uploads) == 0:
		fail(w, 403, map[string]any{"kind": "refused", "detail": digest + " was never seen", "wanted": true})
	case f.refuse:
		fail(w, 403, map[string]any{
			"kind": "refused", "detail": "payments may not run in prod", "hint": "rebuild the image",
			"verdict": client.Verdict{Admit: client.Outcome{Answer: "no", Reasons: []client.Reason{{
				Rule: "vulnerabilities.maxCVSS", Answer: "no", Text: "CVE-2026-1 is above 6.9", Evidence: []string{"libssl3 3.0.15"},
				Owner: "payments-team", Remedy: "libssl3 3.0.15 -> 3.0.17",
			}}}},
		})
	default:
		id := fmt.Sprintf("i-%d", len(f.states)+1)
		i := client.Instance{ID: id, Workload: "payments", Environment: "prod", State: "active", SPIFFEID: "spiffe://t/workload/prod/payments"}
		f.states[id] = i
		if f.early {
			f.early = false
			f.set(id, "revoked", "bad luck")
			f.waitSeen(f.revision)
		}
		f.answer(w, client.Grant{
			Instance: i, Token: "token-" + id, Certificate: "certificate-0", Bundle: "bundle", Secrets: f.wants, TTL: f.ttl,
			OnChange: client.OnChange{Signal: "SIGUSR1"},
		})
	}
}

// waitSeen waits, unlocked, until an agent has heard of a revision.
func (f *fakeServer) waitSeen(revision int64) {
	for f.seen < revision {
		changed := f.changed
		f.mu.Unlock()
		select {
		case <-changed:
		case <-time.After(patience):
			f.t.Error("nobody asked for news")
			f.mu.Lock()
			return
		}
		f.mu.Lock()
	}
}

func (f *fakeServer) answer(w http.ResponseWriter, v any) {
	if err := json.NewEncoder(w).Encode(v); err != nil {
		f.t.Error(err)
	}
}

func (f *fakeServer) renew(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, ok := f.states[r.PathValue("id")]
	if !ok || i.State == "revoked" {
		fail(w, 403, map[string]any{"kind": "denied", "detail": "the instance was revoked"})
		return
	}
	var ask client.RenewRequest
	if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
		f.t.Error(err)
	}
	f.sights = append(f.sights, ask.Sight)
	defer f.tell()
	f.renewed++
	f.answer(w, client.Grant{Instance: i, Certificate: "certificate-" + strconv.Itoa(f.renewed), Bundle: "bundle", Secrets: f.wants, TTL: f.ttl})
}

func (f *fakeServer) leave(_ http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left = append(f.left, r.PathValue("id"))
	f.tell()
}

func (f *fakeServer) upload(w http.ResponseWriter, r *http.Request) {
	hash := sha256.New()
	if _, err := io.Copy(hash, r.Body); err != nil {
		f.t.Error(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.uploads[hex.EncodeToString(hash.Sum(nil))]++
	f.answer(w, client.Image{State: "known"})
}

func (f *fakeServer) read(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fields, ok := f.secrets[r.PathValue("path")]
	if !ok {
		fail(w, 404, map[string]any{"errors": []string{}})
		return
	}
	f.answer(w, map[string]any{"data": map[string]any{"data": fields, "metadata": map[string]any{"version": 1}}})
}

func (f *fakeServer) watch(w http.ResponseWriter, r *http.Request) {
	since, _ := strconv.ParseInt(r.URL.Query().Get("since"), 10, 64)
	secret, _ := strconv.ParseInt(r.URL.Query().Get("secretsSince"), 10, 64)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = since
	f.tell()
	for f.revision == since && f.secret == secret {
		changed := f.changed
		f.mu.Unlock()
		select {
		case <-changed:
		case <-r.Context().Done():
		}
		f.mu.Lock()
		if r.Context().Err() != nil {
			return
		}
	}
	change := client.NodeChange{Revision: f.revision, SecretsRevision: f.secret}
	for _, i := range f.states {
		if i.Revision > since {
			change.Instances = append(change.Instances, i)
		}
	}
	f.answer(w, change)
}

// set changes an instance's state. The caller holds mu.
func (f *fakeServer) set(id, state, reason string) {
	f.revision++
	i := f.states[id]
	i.State, i.Reason, i.Revision = state, reason, f.revision
	f.states[id] = i
	f.tell()
}

// tell wakes whoever waits for a change. The caller holds mu.
func (f *fakeServer) tell() {
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fakeServer) do(fn func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn()
}

func (f *fakeServer) putSecret(path string, fields map[string]any) {
	f.do(func() {
		f.secrets[path] = fields
		f.secret++
		f.tell()
	})
}

// until waits for a condition on what the server knows.
func (f *fakeServer) until(what string, ok func() bool) {
	f.t.Helper()
	deadline := time.After(patience)
	f.mu.Lock()
	defer f.mu.Unlock()
	for !ok() {
		changed := f.changed
		f.mu.Unlock()
		select {
		case <-changed:
			f.mu.Lock()
		case <-deadline:
			f.mu.Lock()
			f.t.Fatalf("%s: it never happened", what)
		}
	}
}

// house is a running agent.
type house struct {
	socket, files string
	stop          func()
}

// startAgent runs an agent on a tmpfs of its own.
func startAgent(t *testing.T, f *fakeServer, change func(*agent.Options)) house {
	t.Helper()
	dir := attesttest.Folder(t)
	o := agent.Options{Socket: filepath.Join(dir, "run", "agent.sock"), Files: filepath.Join(dir, "files"), Node: "node-1", Hold: time.Nanosecond}
	c, err := client.New(client.Config{Addr: f.http.URL, Token: "node-token", HTTP: f.http.Client()})
	if err != nil {
		t.Fatal(err)
	}
	o.Server = agent.NewRemote(c, o.Node)
	o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	if change != nil {
		change(&o)
	}
	t.Cleanup(func() { _ = unix.Unmount(o.Files, 0) })
	return house{socket: o.Socket, files: o.Files, stop: run(t, o)}
}

func run(t *testing.T, o agent.Options) (stop func()) {
	t.Helper()
	a, err := agent.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("agent: %v", err)
			}
		case <-time.After(patience):
			t.Error("the agent does not stop")
		}
	})
	t.Cleanup(stop)
	return stop
}
