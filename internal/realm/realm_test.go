// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package realm_test

import (
	"bytes"
	"context"
	"maps"
	"sync"
	"testing"

	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/engine/kv"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/lease"
	"github.com/goldkeep/goldkeep/internal/realm"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/store/storetest"
)

// shared is a store that other servers write too, whatever it says itself.
type shared struct{ store.Store }

func (shared) Exclusive() bool { return false }

// house is one server's namespaces, over a store that two servers share.
func house(t *testing.T, st store.Store, init bool) *realm.House {
	t.Helper()
	h, _ := built(t, shared{st}, init)
	return h
}

func built(t *testing.T, st store.Store, init bool) (*realm.House, *barrier.Barrier) {
	t.Helper()
	b, err := barrier.Open(t.Context(), st)
	must(t, err)
	key := bytes.Repeat([]byte{7}, 32)
	if init {
		must(t, auth.Migrate(t.Context(), st))
		_, err = b.Init(t.Context(), barrier.InitOptions{KeyFile: key})
		must(t, err)
	}
	must(t, b.UnsealWithFile(t.Context(), key))
	return realm.New(realm.Options{
		Store: st, Space: b.Space(), Keys: b, Leases: lease.New(lease.Options{Space: b.Space().Sub("lease")}),
		Kinds: func(*engine.Realm) map[string]engine.Kind { return map[string]engine.Kind{"kv": kv.New} }, Fix: func(*engine.Realm) {},
	}), b
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put(ctx context.Context, h *realm.House, name string) (*engine.Mount, error) {
	return h.Root.Mounts.PutNamespace(ctx, name, true, func(m map[string]string) (map[string]string, error) { return m, nil })
}

// TestSealedForgets: what a namespace mounts is not in memory once the server is sealed
// and told to forget.
func TestSealedForgets(t *testing.T) {
	ctx := t.Context()
	h, b := built(t, storetest.SQLite(t), true)
	_, err := put(ctx, h, "team")
	must(t, err)
	team, err := h.Root.Enter(ctx, "team")
	must(t, err)
	_, err = put(ctx, &realm.House{Root: team}, "blue")
	must(t, err)
	blue, err := h.Root.Enter(ctx, "team/blue")
	must(t, err)
	for _, r := range []*engine.Realm{team, blue} {
		must(t, r.Mounts.Add(ctx, engine.Mount{Path: "secret/", Kind: "kv"}))
	}
	b.Seal()
	h.Root.Mounts.Forget()
	for _, r := range []*engine.Realm{h.Root, team, blue} {
		if mounts, err := r.Mounts.List(ctx); err == nil {
			t.Errorf("%q still knows %d mounts", r.Path, len(mounts))
		}
	}
}

// TestTwoServers: what one has answered about a namespace holds at the other at once, and
// both may clear away the same one.
func TestTwoServers(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		ctx := t.Context()
		a, b := house(t, st, true), house(t, st, false)
		made := make([]*engine.Mount, 2)
		var both sync.WaitGroup
		for i, h := range []*realm.House{a, b} {
			both.Go(func() {
				m, err := put(ctx, h, "team")
				if err != nil {
					t.Error(err)
				}
				made[i] = m
			})
		}
		both.Wait()
		if t.Failed() || made[0].UUID != made[1].UUID || made[0].Namespace.ID != made[1].Namespace.ID {
			t.Fatalf("two servers made two namespaces of one name: %+v", made)
		}
		here, err := a.Root.Enter(ctx, "team")
		must(t, err)
		there, err := b.Root.Enter(ctx, "team")
		must(t, err)
		granted, err := here.Tokens.Create(ctx, auth.NewToken{Policies: []string{"p"}})
		must(t, err)
		_, err = there.Tokens.Subject(ctx, granted.Token)
		must(t, err)
		must(t, here.Policies.Put(ctx, "p", `path "secret/*" { capabilities = ["read"] }`))
		set, err := there.Policies.Set(ctx, []string{"p"}, nil)
		must(t, err)
		if !set.Any("secret/") {
			t.Error("the other server does not know the policy")
		}
		must(t, here.Mounts.Add(ctx, engine.Mount{Path: "secret/", Kind: "kv"}))

		_, err = a.Root.TaintChild(ctx, "team")
		must(t, err)
		if _, err := b.Root.Enter(ctx, "team"); !fault.Is(err, fault.NotFound) {
			t.Errorf("the other server still enters it: %v", err)
		}
		if err := there.Mounts.Add(ctx, engine.Mount{Path: "late/", Kind: "kv"}); !fault.Is(err, fault.Invalid) {
			t.Errorf("the other server still mounts in it: %v", err)
		}
		for _, h := range []*realm.House{a, b} {
			both.Go(func() {
				if err := h.Tend(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		both.Wait()
		for _, h := range []*realm.House{a, b} {
			left, err := h.Root.Mounts.Namespaces(ctx)
			must(t, err)
			if len(left) > 0 {
				t.Errorf("left: %+v", left)
			}
			known, err := h.Known(ctx, granted.Token)
			must(t, err)
			if known {
				t.Error("a token of a deleted namespace is known")
			}
		}
		for part, space := range maps.All(here.Spaces) {
			must(t, space.View(ctx, func(r barrier.Reader) error {
				names, err := r.List(ctx, "")
				if len(names) > 0 {
					t.Errorf("left in %s: %v", part, names)
				}
				return err
			}))
		}
	})
}
