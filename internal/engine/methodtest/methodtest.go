// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package methodtest is one mount of an auth method over a real store, with real
// tokens, spoken to as the gate would: what the tests of all methods stand on.
package methodtest

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"maps"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/entity"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/policy"
	"github.com/goldkeep/goldkeep/internal/store/sqlite"
)

// M is a body, or what was answered.
type M = map[string]any

// World is one mount.
type World struct {
	T      *testing.T
	Engine engine.Engine
	Later  time.Duration       // how far the clock is set forward
	Remote string              // where requests come from
	Peer   []*x509.Certificate // what their connection has shown
	Made   []auth.NewToken     // the tokens that logins asked for

	mu    sync.Mutex // guards Made
	space barrier.Space
	kind  engine.Kind
	mount string
}

// New mounts a method at auth/NAME/.
func New(t *testing.T, name string, method func(engine.Tokens) engine.Kind) *World {
	t.Helper()
	w := &World{T: t, Remote: "127.0.0.1", mount: "auth/" + name + "/"}
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "goldkeep.db"), sqlite.Options{})
	w.Must(err)
	t.Cleanup(func() { _ = st.Close() })
	w.Must(auth.Migrate(t.Context(), st))
	b, err := barrier.Open(t.Context(), st)
	w.Must(err)
	key := bytes.Repeat([]byte{7}, 32)
	_, err = b.Init(t.Context(), barrier.InitOptions{KeyFile: key})
	w.Must(err)
	w.Must(b.UnsealWithFile(t.Context(), key))
	tokens := auth.NewTokens(auth.TokensOptions{Store: st, Space: b.Space().Sub("token"), Keys: b, Entities: entity.New(b.Space().Sub("identity"))})
	w.kind = method(noted{tokens, w})
	w.space = b.Space().Sub("mount")
	w.Engine = w.Second()
	return w
}

// noted makes tokens, and notes what was asked for.
type noted struct {
	engine.Tokens
	w *World
}

// Create implements engine.Tokens.
func (n noted) Create(ctx context.Context, t auth.NewToken) (*auth.Granted, error) {
	n.w.mu.Lock()
	n.w.Made = append(n.w.Made, t)
	n.w.mu.Unlock()
	return n.Tokens.Create(ctx, t)
}

// Who is the name and the groups the last login was by.
func (w *World) Who() (name string, groups []string) {
	last := w.Made[len(w.Made)-1]
	return last.Alias.Name, last.Groups
}

// Second is another server's engine of the same mount.
func (w *World) Second() engine.Engine {
	return w.kind(engine.Mount{Path: w.mount, Kind: "test", UUID: "u", Accessor: "test_1"}, w.space)
}

// Must ends the test at an error.
func (w *World) Must(err error) {
	w.T.Helper()
	if err != nil {
		w.T.Fatal(err)
	}
}

// Request is one request, at the test's time.
func (w *World) Request(op policy.Capability, path string, body M) *engine.Request {
	w.T.Helper()
	data := map[string]json.RawMessage{}
	for name, value := range body {
		raw, err := json.Marshal(value)
		w.Must(err)
		data[name] = raw
	}
	return &engine.Request{Op: op, Mount: w.mount, Path: path, Data: data, Remote: w.Remote, Peer: w.Peer, Now: w.space.Now().Add(w.Later)}
}

// On asks one server's engine.
func (w *World) On(e engine.Engine, op policy.Capability, path string, body M) (*engine.Response, error) {
	w.T.Helper()
	return e.Handle(w.T.Context(), w.Request(op, path, body))
}

// Write asks for a write.
func (w *World) Write(path string, body M) (*engine.Response, error) {
	w.T.Helper()
	return w.On(w.Engine, policy.Update, path, body)
}

// OK is a write that must be taken.
func (w *World) OK(path string, body M) *engine.Response {
	w.T.Helper()
	resp, err := w.Write(path, body)
	if err != nil {
		w.T.Fatalf("write %s: %v", path, err)
	}
	return resp
}

// Refused is a write that must end in an error of a kind, with a word in it.
func (w *World) Refused(kind fault.Kind, path string, body M, word string) {
	w.T.Helper()
	_, err := w.Write(path, body)
	if !fault.Is(err, kind) || !strings.Contains(err.Error(), word) {
		w.T.Errorf("write %s %v: %v; want %v with %q", path, body, err, kind, word)
	}
}

// Invalid is a write that must be refused as bad input, with a word in the error.
func (w *World) Invalid(path string, body M, word string) {
	w.T.Helper()
	w.Refused(fault.Invalid, path, body, word)
}

// Read is what a path shows.
func (w *World) Read(path string) M {
	w.T.Helper()
	resp, err := w.On(w.Engine, policy.Read, path, nil)
	w.Must(err)
	if resp == nil {
		return nil
	}
	raw, err := json.Marshal(resp.Data)
	w.Must(err)
	var data M
	w.Must(json.Unmarshal(raw, &data))
	return data
}

// With is a copy of a body with other fields.
func With(body, more M) M {
	body = maps.Clone(body)
	maps.Copy(body, more)
	return body
}
