// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package entity_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/entity"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/store/storetest"
)

// world is a directory over a real store, on which it may have a second node.
type world struct {
	*entity.Directory
	t  *testing.T
	st store.Store
}

func each(t *testing.T, run func(t *testing.T, w *world)) {
	storetest.Each(t, func(t *testing.T, st store.Store) { run(t, node(t, st)) })
}

func node(t *testing.T, st store.Store) *world {
	t.Helper()
	b, err := barrier.Open(t.Context(), st)
	must(t, err)
	key := bytes.Repeat([]byte{7}, 32)
	if _, err := b.Init(t.Context(), barrier.InitOptions{KeyFile: key}); err != nil && !fault.Is(err, fault.Conflict) {
		t.Fatal(err)
	}
	must(t, b.UnsealWithFile(t.Context(), key))
	return &world{entity.New(b.Space().Sub("identity")), t, st}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) login(name string, groups ...string) (e *entity.Entity) {
	w.t.Helper()
	must(w.t, w.st.Update(context.Background(), func(tx store.Tx) (err error) {
		e, err = w.Login(context.Background(), tx, entity.Login{Mount: "oidc_1", Name: name, Groups: groups})
		return err
	}))
	return e
}

func (w *world) policies(id string) []string {
	w.t.Helper()
	who, err := w.Resolve(w.t.Context(), id)
	must(w.t, err)
	return who.Policies
}

// external makes a group whose members are those whose login names it.
func (w *world) external(name string) string {
	w.t.Helper()
	g, _, err := w.PutGroup(w.t.Context(), entity.Key{Name: name}, func(g *entity.Group) error {
		g.Kind, g.Policies = entity.External, []string{name}
		return nil
	})
	must(w.t, err)
	_, _, err = w.PutGroupAlias(w.t.Context(), entity.Aliasing{Owner: g.ID, Mount: "oidc_1", Name: name})
	must(w.t, err)
	return g.ID
}

// TestExternalGroups: each login says anew what somebody is in; groups of other
// mounts and those people fill stay.
func TestExternalGroups(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.external("devs")
		ops := w.external("ops")
		bob := w.login("bob", "devs", "unknown")
		_, _, err := w.PutGroup(t.Context(), entity.Key{Name: "hand"}, func(g *entity.Group) error {
			g.Entities, g.Policies = []string{bob.ID}, []string{"hand"}
			return nil
		})
		must(t, err)
		if got := w.policies(bob.ID); !slices.Equal(got, []string{"devs", "hand"}) {
			t.Errorf("in devs: %q", got)
		}
		w.login("bob", "ops", "ops")
		if got := w.policies(bob.ID); !slices.Equal(got, []string{"hand", "ops"}) {
			t.Errorf("in ops: %q", got)
		}
		g, err := w.Group(t.Context(), entity.Key{ID: ops})
		must(t, err)
		if !slices.Equal(g.Entities, []string{bob.ID}) {
			t.Errorf("members of ops: %q", g.Entities)
		}
		w.login("bob")
		if got := w.policies(bob.ID); !slices.Equal(got, []string{"hand"}) {
			t.Errorf("in none: %q", got)
		}
	})
}

// TestWithoutTheirAlias external groups have nobody whose login said so.
func TestWithoutTheirAlias(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		for what, change := range map[string]func(alias string) error{
			"deleted": func(alias string) error { return w.DeleteGroupAlias(ctx, alias) },
			"renamed": func(alias string) error {
				_, _, err := w.PutGroupAlias(ctx, entity.Aliasing{ID: alias, Mount: "oidc_1", Name: "another"})
				return err
			},
			"given away": func(alias string) error {
				_, _, err := w.PutGroupAlias(ctx, entity.Aliasing{ID: alias, Owner: w.external("heirs"), Mount: "oidc_1", Name: "given"})
				return err
			},
			"replaced": func(alias string) error {
				g, err := w.Group(ctx, entity.Key{AliasID: alias})
				must(t, err)
				_, _, err = w.PutGroupAlias(ctx, entity.Aliasing{Owner: g.ID, Mount: "oidc_1", Name: "replaced by"})
				return err
			},
			"unmounted": func(string) error { return w.Unmounted(ctx, "oidc_1") },
		} {
			g, err := w.Group(ctx, entity.Key{ID: w.external(what)})
			must(t, err)
			bob := w.login("bob", what)
			must(t, w.Unmounted(ctx, "oidc_2"))
			_, _, err = w.PutGroupAlias(ctx, entity.Aliasing{ID: g.Alias.ID, Mount: "oidc_1", Name: what})
			must(t, err)
			if got := w.policies(bob.ID); !slices.Equal(got, []string{what}) {
				t.Errorf("before it is %s: %q", what, got)
			}
			must(t, change(g.Alias.ID))
			if got := w.policies(bob.ID); len(got) > 0 {
				t.Errorf("%s: %q", what, got)
			}
			if g, err = w.Group(ctx, entity.Key{ID: g.ID}); err != nil || len(g.Entities) > 0 {
				t.Errorf("%s: members %q, %v", what, g.Entities, err)
			}
		}
	})
}

// TestTwoNodes: many log in for the first time at two nodes at once, and each is
// one entity; what one node writes the other sees.
func TestTwoNodes(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		nodes := []*world{w, node(t, w.st)}
		ids := make([]string, 16)
		var all sync.WaitGroup
		for i := range ids {
			all.Go(func() { ids[i] = nodes[i%2].login(fmt.Sprintf("user%d", i/4)).ID })
		}
		all.Wait()
		for i := range ids {
			if ids[i] != ids[i/4*4] {
				t.Errorf("user%d is two: %s and %s", i/4, ids[i], ids[i/4*4])
			}
		}
		if kelvin, k := w.login("\u212ae"), w.login("ke"); kelvin.ID == k.ID {
			t.Error("a name with another letter is the same")
		} else if again := w.login("KE"); again.ID != k.ID {
			t.Error("a name in capitals is another")
		}
		if entities, err := w.Entities(t.Context()); err != nil || len(entities) != 6 {
			t.Errorf("%d entities, %v", len(entities), err)
		}
		nodes[1].policies(ids[0])
		_, _, err := w.PutEntity(t.Context(), entity.Key{ID: ids[0]}, func(e *entity.Entity) { e.Policies = []string{"new"} })
		must(t, err)
		if got := w.policies(ids[0]); !slices.Equal(got, []string{"new"}) {
			t.Errorf("on the same node: %q", got)
		}
		if got := nodes[1].policies(ids[0]); !w.st.Exclusive() && !slices.Equal(got, []string{"new"}) {
			t.Errorf("on the other node: %q", got)
		}
	})
}

// TestMergedIsStillSomebody: tokens of an entity that became another are that
// one's, over several merges; they are nobody's once it is gone.
func TestMergedIsStillSomebody(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ids := []string{w.login("a").ID}
		for _, name := range []string{"b", "c"} {
			e, _, err := w.PutEntity(t.Context(), entity.Key{Name: name}, func(e *entity.Entity) { e.Policies = []string{name} })
			must(t, err)
			ids = append(ids, e.ID)
		}
		must(t, w.Merge(t.Context(), entity.Merging{To: ids[1], From: ids[:1]}))
		must(t, w.Merge(t.Context(), entity.Merging{To: ids[2], From: ids[1:2]}))
		for _, id := range ids {
			if got := w.policies(id); !slices.Equal(got, []string{"c"}) {
				t.Errorf("policies: %q", got)
			}
		}
		if again := w.login("a"); again.ID != ids[2] {
			t.Errorf("the alias leads to %s, not %s", again.ID, ids[2])
		}
		must(t, w.DeleteEntity(t.Context(), entity.Key{ID: ids[2]}))
		for _, id := range ids {
			if who, err := w.Resolve(t.Context(), id); err != nil || who != nil {
				t.Errorf("after the deletion: %v, %v", who, err)
			}
		}
	})
}

// TestValues is what policy templates can name.
func TestValues(t *testing.T) {
	who := &entity.Identity{
		Entity: &entity.Entity{ID: "e1", Name: "bob", Meta: map[string]string{"team.name": "a"}, Aliases: []entity.Alias{
			{ID: "a1", Mount: "userpass_1", Name: "bob@x", Meta: map[string]string{"role": "r"}, Custom: map[string]string{"desk": "7"}},
		}},
		Groups: []*entity.Group{{ID: "g1", Name: "dev.ops", Meta: map[string]string{"floor": "2"}}},
	}
	for path, want := range map[string]string{
		"entity.id": "e1", "entity.name": "bob", "entity.metadata.team.name": "a",
		"entity.aliases.userpass_1.id": "a1", "entity.aliases.userpass_1.name": "bob@x",
		"entity.aliases.userpass_1.metadata.role": "r", "entity.aliases.userpass_1.custom_metadata.desk": "7",
		"groups.ids.g1.name": "dev.ops", "groups.names.dev.ops.id": "g1", "groups.names.dev.ops.metadata.floor": "2",
	} {
		if got, ok := who.Value(path); !ok || got != want {
			t.Errorf("%s: %q, %t; want %q", path, got, ok, want)
		}
	}
	for _, path := range []string{"", "entity", "entity.none", "entity.metadata", "entity.metadata.x", "entity.aliases.other.name", "entity.aliases", "groups.ids.g2.name", "groups.names.dev.id", "groups", "token.id"} {
		if got, ok := who.Value(path); ok {
			t.Errorf("%s: %q", path, got)
		}
	}
	var nobody *entity.Identity
	if _, ok := nobody.Value("entity.id"); ok {
		t.Error("nobody has an id")
	}
}
