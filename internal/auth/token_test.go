// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package auth_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/store/sqlite"
	"github.com/google/go-cmp/cmp"
)

var keyFile = bytes.Repeat([]byte{7}, 32)

// world is a real store and barrier with a clock the test moves.
type world struct {
	*auth.Tokens
	t    testing.TB
	path string
	boot atomic.Int64
	st   store.Store
	b    *barrier.Barrier

	ended []string // accessors OnRevoke was called with
	fail  error    // what it answers
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, path: filepath.Join(t.TempDir(), "goldkeep.db")}
	w.open()
	t.Cleanup(func() { _ = w.st.Close() })
	return w
}

func (w *world) open() {
	w.t.Helper()
	ctx := context.Background()
	st, err := sqlite.Open(ctx, w.path, sqlite.Options{Boot: func() time.Duration { return time.Duration(w.boot.Load()) }})
	w.must(err)
	w.st = st
	w.must(auth.Migrate(ctx, st))
	w.b, err = barrier.Open(ctx, st)
	w.must(err)
	if _, err := w.b.Init(ctx, barrier.InitOptions{KeyFile: keyFile}); err != nil && !fault.Is(err, fault.Conflict) {
		w.t.Fatal(err)
	}
	w.must(w.b.UnsealWithFile(ctx, keyFile))
	w.Tokens = auth.NewTokens(auth.TokensOptions{
		Space: w.b.Space().Sub("token"), Keys: w.b, Store: st, MaxTTL: 10 * time.Hour, DefaultTTL: time.Hour,
		OnRevoke: []auth.OnRevoke{func(_ context.Context, tx store.Tx, accessor string) error {
			tx.AfterCommit(func() { w.ended = append(w.ended, accessor) })
			return w.fail
		}},
	})
}

func (w *world) restart() {
	w.t.Helper()
	w.must(w.st.Close())
	w.open()
}

func (w *world) pass(d time.Duration) { w.boot.Add(int64(d)) }

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) create(n auth.NewToken) *auth.Granted {
	w.t.Helper()
	g, err := w.Create(context.Background(), n)
	w.must(err)
	return g
}

func (w *world) subject(token string) *auth.Subject {
	w.t.Helper()
	s, err := w.Subject(context.Background(), token)
	w.must(err)
	return s
}

func (w *world) refused(what, token string) {
	w.t.Helper()
	s, err := w.Subject(context.Background(), token)
	if !fault.Is(err, fault.Denied) {
		w.t.Errorf("%s is accepted: %+v, %v", what, s, err)
	}
	if err != nil && strings.Contains(err.Error(), token) {
		w.t.Errorf("%s: the token is in the error", what)
	}
}

func root(w *world) *auth.Granted { return w.create(auth.NewToken{Policies: []string{"root"}}) }

func TestTokenIsRecognised(t *testing.T) {
	w := newWorld(t)
	r := root(w)
	if r.TTL != 0 || r.Renewable || !r.Orphan || !strings.HasPrefix(r.Token, "gks.") {
		t.Errorf("root: %+v", r)
	}
	g := w.create(auth.NewToken{Parent: w.subject(r.Token), Policies: []string{"App", "app", "b"}, TTL: time.Minute, Display: "x", Meta: map[string]string{"a": "b"}})
	want := &auth.Subject{Accessor: g.Accessor, Owner: g.Accessor, Display: "x", Policies: []string{"app", "b", "default"}, Meta: map[string]string{"a": "b"}, Path: "auth/token/create"}
	got := w.subject(g.Token)
	if left := got.Expires.Sub(w.st.Now()); left <= 0 || left > time.Minute {
		t.Errorf("expires in %v", left)
	}
	got.Expires = time.Time{}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"", "x", g.Token + "x", g.Token[:len(g.Token)-1], strings.Repeat("a", 5000)} {
		if _, err := w.Subject(t.Context(), bad); !fault.Is(err, fault.Denied) {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
}

func TestExpiryNeedsNoTidy(t *testing.T) {
	w := newWorld(t)
	r := root(w)
	parent := w.create(auth.NewToken{Parent: w.subject(r.Token), Policies: []string{"a"}, TTL: time.Minute})
	child := w.create(auth.NewToken{Parent: w.subject(parent.Token), TTL: time.Hour})
	orphan := w.create(auth.NewToken{Parent: w.subject(parent.Token), TTL: time.Hour, NoParent: true})
	w.pass(61 * time.Second)
	w.refused("an expired token", parent.Token)
	w.refused("the child of an expired token", child.Token)
	w.subject(orphan.Token)
	n, err := w.Tidy(t.Context(), 100)
	if err != nil || n != 1 {
		t.Errorf("tidied %d, %v", n, err)
	}
	if len(w.ended) != 2 {
		t.Errorf("ended %v, want the parent and its child", w.ended)
	}
	names, err := w.Accessors(t.Context())
	if err != nil || len(names) != 2 {
		t.Errorf("%d accessors left, want root and orphan: %v", len(names), err)
	}
}

func TestUsesAreCounted(t *testing.T) {
	w := newWorld(t)
	g := w.create(auth.NewToken{Policies: []string{"a"}, NumUses: 3})
	if _, err := w.Create(t.Context(), auth.NewToken{Parent: &auth.Subject{Accessor: g.Accessor}}); !fault.Is(err, fault.Invalid) {
		t.Errorf("a limited token made a child: %v", err)
	}
	if w.subject(g.Token).LastUse {
		t.Error("first of three is the last")
	}
	w.restart()
	var won, last atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if s, err := w.Subject(context.Background(), g.Token); err == nil {
				won.Add(1)
				if s.LastUse {
					last.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if won.Load() != 2 || last.Load() != 1 {
		t.Errorf("%d of 2 uses, %d last", won.Load(), last.Load())
	}
	w.refused("a spent token", g.Token)
	w.must(w.Revoke(t.Context(), g.Token))
	if len(w.ended) != 1 {
		t.Errorf("ended %v", w.ended)
	}
}

func TestLifetimes(t *testing.T) {
	w := newWorld(t)
	r := w.subject(root(w).Token)
	no := false
	for name, c := range map[string]struct {
		n        auth.NewToken
		ttl      time.Duration
		warnings int
	}{
		"default":         {auth.NewToken{}, time.Hour, 0},
		"asked":           {auth.NewToken{TTL: 2 * time.Hour}, 2 * time.Hour, 0},
		"over max":        {auth.NewToken{TTL: 20 * time.Hour}, 10 * time.Hour, 1},
		"explicit max":    {auth.NewToken{TTL: 2 * time.Hour, ExplicitMax: time.Minute}, time.Minute, 1},
		"period over max": {auth.NewToken{Period: 20 * time.Hour}, 20 * time.Hour, 0},
		"not renewable":   {auth.NewToken{Renewable: &no}, time.Hour, 0},
	} {
		c.n.Parent, c.n.Policies = r, []string{"a"}
		g := w.create(c.n)
		if g.TTL != c.ttl || len(g.Warnings) != c.warnings || g.Renewable != (c.n.Renewable == nil) {
			t.Errorf("%s: %+v", name, g)
		}
	}
}

func TestRenew(t *testing.T) {
	w := newWorld(t)
	r := w.subject(root(w).Token)
	renew := func(token string, inc, want time.Duration, warnings int) {
		t.Helper()
		g, err := w.Renew(t.Context(), token, auth.Renewal{Increment: inc})
		w.must(err)
		if d := g.TTL - want; d > 0 || d < -time.Second || len(g.Warnings) != warnings {
			t.Errorf("ttl %v, want %v; warnings %v", g.TTL, want, g.Warnings)
		}
	}
	g := w.create(auth.NewToken{Parent: r, Policies: []string{"a"}, TTL: 4 * time.Hour})
	w.pass(3 * time.Hour)
	renew(g.Token, 0, 4*time.Hour, 0)
	renew(g.Token, time.Hour, time.Hour, 0)
	renew(g.Token, 9*time.Hour, 7*time.Hour, 1) // ten hours from issue
	p := w.create(auth.NewToken{Parent: r, Policies: []string{"a"}, Period: time.Hour})
	for range 20 {
		w.pass(50 * time.Minute)
		renew(p.Token, 5*time.Hour, time.Hour, 0)
	}
	no := false
	fixed := w.create(auth.NewToken{Parent: r, Policies: []string{"a"}, Renewable: &no})
	if _, err := w.Renew(t.Context(), fixed.Token, auth.Renewal{}); !fault.Is(err, fault.Invalid) {
		t.Errorf("renewed what is not renewable: %v", err)
	}
	w.pass(2 * time.Hour)
	if _, err := w.Renew(t.Context(), p.Token, auth.Renewal{}); !fault.Is(err, fault.Denied) {
		t.Errorf("renewed an expired token: %v", err)
	}
	if _, err := w.RenewAccessor(t.Context(), p.Accessor, auth.Renewal{}); !fault.Is(err, fault.Invalid) {
		t.Errorf("renewed an expired accessor: %v", err)
	}
}

func TestChildrenStayWithinTheParent(t *testing.T) {
	w := newWorld(t)
	r := root(w)
	ab := w.subject(w.create(auth.NewToken{Parent: w.subject(r.Token), Policies: []string{"a", "b"}}).Token)
	for name, c := range map[string]struct {
		n    auth.NewToken
		want []string // nil: refused
	}{
		"inherits":           {auth.NewToken{}, []string{"a", "b", "default"}},
		"subset":             {auth.NewToken{Policies: []string{"a"}}, []string{"a", "default"}},
		"without default":    {auth.NewToken{Policies: []string{"a"}, NoDefault: true}, []string{"a"}},
		"outside":            {auth.NewToken{Policies: []string{"c"}}, nil},
		"outside, sudo":      {auth.NewToken{Policies: []string{"c"}, AnyPolicy: true}, []string{"c", "default"}},
		"root":               {auth.NewToken{Policies: []string{"root"}}, nil},
		"root, sudo":         {auth.NewToken{Policies: []string{"ROOT"}, AnyPolicy: true}, nil},
		"wrapping":           {auth.NewToken{Policies: []string{"response-wrapping"}, AnyPolicy: true}, nil},
		"orphan outside":     {auth.NewToken{Policies: []string{"c"}, NoParent: true}, nil},
		"batch":              {auth.NewToken{Type: "batch"}, []string{"a", "b", "default"}},
		"batch with uses":    {auth.NewToken{Type: "batch", NumUses: 1}, nil},
		"batch with period":  {auth.NewToken{Type: "batch", Period: 1}, nil},
		"batch with id":      {auth.NewToken{Type: "batch", ID: "x"}, nil},
		"id with a space":    {auth.NewToken{ID: "a b"}, nil},
		"id like a real one": {auth.NewToken{ID: "gks.mine"}, nil},
		"id in use":          {auth.NewToken{ID: "mine"}, nil},
	} {
		c.n.Parent = ab
		if name == "id in use" {
			w.create(auth.NewToken{Policies: []string{"a"}, ID: "mine"})
		}
		g, err := w.Create(t.Context(), c.n)
		if (err == nil) != (c.want != nil) {
			t.Errorf("%s: %v", name, err)
		} else if err == nil && !cmp.Equal(g.Policies, c.want) {
			t.Errorf("%s: %v", name, g.Policies)
		}
	}
}

func TestTreesAreNotTooDeep(t *testing.T) {
	w := newWorld(t)
	s := w.subject(root(w).Token)
	for range auth.MaxDepth {
		s = w.subject(w.create(auth.NewToken{Parent: s, Policies: []string{"a"}}).Token)
	}
	if _, err := w.Create(t.Context(), auth.NewToken{Parent: s, Policies: []string{"a"}}); !fault.Is(err, fault.Invalid) {
		t.Errorf("no limit: %v", err)
	}
}

func TestRevokedParentMakesNoChildren(t *testing.T) {
	w := newWorld(t)
	g := w.create(auth.NewToken{Policies: []string{"a"}})
	s := w.subject(g.Token) // let in before the revocation
	w.must(w.Revoke(t.Context(), g.Token))
	if _, err := w.Create(t.Context(), auth.NewToken{Parent: s}); !fault.Is(err, fault.Denied) {
		t.Errorf("a revoked token made a child: %v", err)
	}
}

func TestProofWorksSealed(t *testing.T) {
	w := newWorld(t)
	g := w.create(auth.NewToken{Policies: []string{"a"}, TTL: time.Minute})
	gone := w.create(auth.NewToken{Policies: []string{"a"}})
	chosen := w.create(auth.NewToken{Policies: []string{"a"}, ID: "chosen"})
	w.must(w.Revoke(t.Context(), gone.Token))
	w.b.Seal()
	proof := func(token string, want bool) {
		t.Helper()
		if ok, err := w.Proof(t.Context(), token); err != nil || ok != want {
			t.Errorf("proof = %v, %v", ok, err)
		}
	}
	if _, err := w.Subject(t.Context(), g.Token); !fault.Is(err, fault.Sealed) {
		t.Errorf("sealed: %v", err)
	}
	proof(g.Token, true)
	proof(gone.Token, false)
	proof(chosen.Token, false) // its hash could be guessed
	proof("gks.x", false)
	w.pass(2 * time.Minute)
	proof(g.Token, false)
}

func TestFileDoesNotShowTokens(t *testing.T) {
	w := newWorld(t)
	g := w.create(auth.NewToken{Policies: []string{"very-secret-policy"}, Display: "planted-name", Instance: "planted-instance"})
	w.must(w.st.Close())
	for _, path := range []string{w.path, w.path + "-wal"} {
		file, err := os.ReadFile(path)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		for _, word := range []string{g.Token, g.Accessor, "very-secret-policy", "planted-"} {
			if bytes.Contains(file, []byte(word)) {
				t.Errorf("%s shows %q", filepath.Base(path), word)
			}
		}
	}
	w.open()
}

func BenchmarkSubject(b *testing.B) {
	w := newWorld(b)
	r := w.subject(root(w).Token)
	g := w.create(auth.NewToken{Parent: r, Policies: []string{"a"}})
	for b.Loop() {
		w.subject(g.Token)
	}
}
