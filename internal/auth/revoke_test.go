// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package auth_test

import (
	"context"
	"errors"
	"testing"

	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/store"
)

// tree makes a token with children and grandchildren.
func tree(w *world, children, grandchildren int) (head *auth.Granted, below []*auth.Granted) {
	w.t.Helper()
	head = w.create(auth.NewToken{Policies: []string{"a"}})
	s := w.subject(head.Token)
	for range children {
		c := w.create(auth.NewToken{Parent: s})
		below = append(below, c)
		for range grandchildren {
			below = append(below, w.create(auth.NewToken{Parent: w.subject(c.Token)}))
		}
	}
	return head, below
}

func TestRevokeTakesTheTree(t *testing.T) {
	w := newWorld(t)
	head, below := tree(w, 3, 2)
	other := w.create(auth.NewToken{Policies: []string{"a"}})
	w.must(w.Revoke(t.Context(), head.Token))
	w.refused("the head", head.Token)
	for _, g := range below {
		w.refused("a descendant", g.Token)
	}
	w.subject(other.Token)
	if len(w.ended) != 10 {
		t.Errorf("%d ended, want 10", len(w.ended))
	}
	w.must(w.Revoke(t.Context(), head.Token)) // again is fine
	names, err := w.Accessors(t.Context())
	if err != nil || len(names) != 1 {
		t.Errorf("%d accessors left, %v", len(names), err)
	}
}

// errCrash stands for the process dying in the middle of clearing a tree.
var errCrash = errors.New("crash")

func TestCutShortRevocationHoldsAndIsFinished(t *testing.T) {
	w := newWorld(t)
	head, below := tree(w, 5, 1)
	// Only the transaction that ends the head gets through.
	gate := crashAfter(w, 1)
	if err := gate.Revoke(t.Context(), head.Token); !errors.Is(err, errCrash) {
		t.Fatalf("not cut short: %v", err)
	}
	w.restart()
	w.refused("the head", head.Token)
	for _, g := range below {
		w.refused("a descendant of a half-cleared tree", g.Token)
	}
	if _, err := w.Tidy(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	if names, _ := w.Accessors(t.Context()); len(names) != 0 {
		t.Errorf("%d left after tidy", len(names))
	}
}

// crashAfter is a second Tokens on the same store whose n+1st write fails.
func crashAfter(w *world, n int) *auth.Tokens {
	return auth.NewTokens(auth.TokensOptions{
		Space: w.b.Space().Sub("token"), Keys: w.b, Store: &dying{Store: w.st, left: n},
	})
}

type dying struct {
	store.Store
	left int
}

func (d *dying) Update(ctx context.Context, fn func(store.Tx) error) error {
	if d.left == 0 {
		return errCrash
	}
	d.left--
	return d.Store.Update(ctx, fn)
}

func TestRevokeOrphanKeepsTheChildren(t *testing.T) {
	for name, cut := range map[string]bool{"whole": false, "cut short": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			grand := w.create(auth.NewToken{Policies: []string{"a"}})
			parent := w.create(auth.NewToken{Parent: w.subject(grand.Token)})
			child := w.create(auth.NewToken{Parent: w.subject(parent.Token)})
			if cut {
				_ = crashAfter(w, 1).RevokeOrphan(t.Context(), parent.Token)
				w.restart()
			} else {
				w.must(w.RevokeOrphan(t.Context(), parent.Token))
			}
			w.refused("the parent", parent.Token)
			w.subject(child.Token)
			w.must(w.Revoke(t.Context(), grand.Token)) // no longer reaches the child
			w.subject(child.Token)
			if _, err := w.Tidy(t.Context(), 10); err != nil {
				t.Fatal(err)
			}
			if s := w.subject(child.Token); !s.Orphan {
				t.Error("the child has a parent still")
			}
			if names, _ := w.Accessors(t.Context()); len(names) != 1 {
				t.Errorf("accessors left: %d", len(names))
			}
		})
	}
}

func TestRevokeInstance(t *testing.T) {
	w := newWorld(t)
	one := w.create(auth.NewToken{Policies: []string{"a"}, Instance: "i/1"})
	two := w.create(auth.NewToken{Policies: []string{"a"}, Instance: "i/1"})
	child := w.create(auth.NewToken{Parent: w.subject(two.Token)})
	other := w.create(auth.NewToken{Policies: []string{"a"}, Instance: "i/2"})
	n, err := w.RevokeInstance(t.Context(), "i/1")
	if err != nil || n != 2 {
		t.Errorf("%d, %v", n, err)
	}
	w.refused("one", one.Token)
	w.refused("two", two.Token)
	w.refused("the child of two", child.Token)
	w.subject(other.Token)
	if n, err := w.RevokeInstance(t.Context(), "i/1"); n != 0 || err != nil {
		t.Errorf("again: %d, %v", n, err)
	}
}

func TestRevocationIsAllOrNothing(t *testing.T) {
	w := newWorld(t)
	g := w.create(auth.NewToken{Policies: []string{"a"}})
	w.fail = errors.New("leases cannot be marked")
	if err := w.Revoke(t.Context(), g.Token); err == nil {
		t.Fatal("revoked without its leases")
	}
	w.subject(g.Token)
	w.fail = nil
	w.must(w.RevokeAccessor(t.Context(), g.Accessor))
	w.refused("the token", g.Token)
	if err := w.RevokeAccessor(t.Context(), g.Accessor); err == nil {
		t.Error("an unknown accessor is no error")
	}
}

func TestWideTree(t *testing.T) {
	children := 10_000
	if testing.Short() {
		children = 500
	}
	w := newWorld(t)
	head := w.create(auth.NewToken{Policies: []string{"a"}})
	s := w.subject(head.Token)
	var last *auth.Granted
	for range children {
		last = w.create(auth.NewToken{Parent: s})
	}
	w.must(w.Revoke(t.Context(), head.Token))
	w.refused("the last child", last.Token)
	if names, _ := w.Accessors(t.Context()); len(names) != 0 {
		t.Errorf("%d left", len(names))
	}
}
