// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package auth_test

import (
	"strings"
	"testing"

	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/entity"
)

// withEntities makes logins known.
func withEntities(w *world) {
	w.Tokens = auth.NewTokens(auth.TokensOptions{
		Space: w.b.Space().Sub("token"), Keys: w.b, Store: w.st, Entities: entity.New(w.b.Space().Sub("identity")),
	})
}

func login(name string) auth.NewToken {
	return auth.NewToken{Policies: []string{"app"}, Mount: "userpass_1", Origin: "u1", Alias: &auth.Alias{Name: name, Meta: map[string]string{"team": "a"}}}
}

// TestLoginHasEntity: the same alias is the same entity, another one is not; a
// child is who its parent is, an orphan nobody.
func TestLoginHasEntity(t *testing.T) {
	w := newWorld(t)
	withEntities(w)
	first, again, other := w.create(login("bob")), w.create(login("Bob")), w.create(login("eve"))
	if first.EntityID == "" || again.EntityID != first.EntityID || other.EntityID == first.EntityID {
		t.Fatalf("entities: %q, %q, %q", first.EntityID, again.EntityID, other.EntityID)
	}
	elsewhere := login("bob")
	elsewhere.Mount = "userpass_2"
	if g := w.create(elsewhere); g.EntityID == first.EntityID {
		t.Error("the same name at another mount is the same entity")
	}
	bob := w.subject(first.Token)
	if team, ok := bob.Identity.Value("entity.aliases.userpass_1.metadata.team"); !ok || team != "a" {
		t.Errorf("the login's metadata: %q, %t", team, ok)
	}
	child := w.create(auth.NewToken{Parent: bob})
	orphan := w.create(auth.NewToken{Parent: bob, NoParent: true})
	if child.EntityID != first.EntityID || orphan.EntityID != "" {
		t.Errorf("child %q, orphan %q", child.EntityID, orphan.EntityID)
	}
	info, err := w.Info(t.Context(), first.Token)
	w.must(err)
	if info.EntityID != first.EntityID || strings.Join(info.All(), " ") != "app default" {
		t.Errorf("lookup: %+v", info)
	}
}
