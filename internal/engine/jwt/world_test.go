// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package jwt_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/engine/jwt"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/policy"
	"github.com/goldkeep/goldkeep/internal/store/sqlite"
)

// world is one mount over a real store, with real tokens, spoken to as the gate
// would.
type world struct {
	t      *testing.T
	kind   engine.Kind
	space  barrier.Space
	e      engine.Engine
	later  time.Duration // how far the clock is set forward
	remote string
}

type m = map[string]any

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, remote: "127.0.0.1"}
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "goldkeep.db"), sqlite.Options{})
	w.must(err)
	t.Cleanup(func() { _ = st.Close() })
	w.must(auth.Migrate(t.Context(), st))
	b, err := barrier.Open(t.Context(), st)
	w.must(err)
	key := bytes.Repeat([]byte{7}, 32)
	_, err = b.Init(t.Context(), barrier.InitOptions{KeyFile: key})
	w.must(err)
	w.must(b.UnsealWithFile(t.Context(), key))
	w.kind = jwt.New(auth.NewTokens(auth.TokensOptions{Store: st, Space: b.Space().Sub("token"), Keys: b}))
	w.space = b.Space().Sub("mount")
	w.e = w.second()
	return w
}

// second is another server's engine of the same mount.
func (w *world) second() engine.Engine {
	return w.kind(engine.Mount{Path: "auth/oidc/", Kind: "oidc", UUID: "u"}, w.space)
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// on asks one server's engine.
func (w *world) on(e engine.Engine, op policy.Capability, path string, body m) (*engine.Response, error) {
	w.t.Helper()
	data := map[string]json.RawMessage{}
	for name, value := range body {
		raw, err := json.Marshal(value)
		w.must(err)
		data[name] = raw
	}
	return e.Handle(w.t.Context(), &engine.Request{
		Op: op, Mount: "auth/oidc/", Path: path, Data: data, Remote: w.remote, Now: w.space.Now().Add(w.later),
	})
}

func (w *world) write(path string, body m) (*engine.Response, error) {
	w.t.Helper()
	return w.on(w.e, policy.Update, path, body)
}

// ok is a write that must be taken.
func (w *world) ok(path string, body m) *engine.Response {
	w.t.Helper()
	resp, err := w.write(path, body)
	if err != nil {
		w.t.Fatalf("write %s: %v", path, err)
	}
	return resp
}

// refused is a write that must be refused, as bad input, with a word in the error.
func (w *world) refused(path string, body m, word string) {
	w.t.Helper()
	_, err := w.write(path, body)
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), word) {
		w.t.Errorf("write %s: %v; want a refusal with %q", path, err, word)
	}
}

func (w *world) read(path string) m {
	w.t.Helper()
	resp, err := w.on(w.e, policy.Read, path, nil)
	w.must(err)
	raw, err := json.Marshal(resp.Data)
	w.must(err)
	var data m
	w.must(json.Unmarshal(raw, &data))
	return data
}

// with is a copy of a body with other fields.
func with(body m, more m) m {
	body = maps.Clone(body)
	maps.Copy(body, more)
	return body
}
