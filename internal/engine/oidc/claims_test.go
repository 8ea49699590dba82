// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/internal/entity"
	"github.com/goldkeep/goldkeep/internal/fault"
)

var bob = &entity.Identity{
	Entity: &entity.Entity{ID: "e1", Name: `b"ob`, Meta: map[string]string{"k": "}}\"v"}, Aliases: []entity.Alias{{Mount: "up_1", Name: "bob", Meta: map[string]string{"x": "y"}}}},
	Groups: []*entity.Group{{ID: "g1", Name: "devs"}},
}

// TestClaims: values become JSON of their own, whatever they hold.
func TestClaims(t *testing.T) {
	now := time.Unix(1000, 0)
	for name, want := range map[string]string{
		"identity.entity.id": `"e1"`, "identity.entity.name": `"b\"ob"`, "identity.entity.metadata.k": `"}}\"v"`, "identity.entity.metadata.none": `""`,
		"identity.entity.metadata": `{"k":"}}\"v"}`, "identity.entity.aliases.up_1.metadata": `{"x":"y"}`, "identity.entity.aliases.none.metadata": `{}`,
		"identity.entity.aliases.up_1.name": `"bob"`, "identity.entity.groups.names": `["devs"]`, "identity.entity.groups.ids": `["g1"]`,
		"time.now": "1000", "time.now.plus.1m": "1060", "time.now.minus.10": "990",
	} {
		got, err := claims(`{"a": {{`+name+`}} }`, bob, now)
		if err != nil || string(got["a"]) != want {
			t.Errorf("%s: %s, %v; want %s", name, got["a"], err, want)
		}
	}
	for _, template := range []string{`{"a": {{time.now.plus.x}}}`, `{"a": {{time.nowhere}}}`, `{"exp": 1}`, `{"a": {{b}}}`, `{{identity.entity.id}}`} {
		if _, err := claims(template, bob, now); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", template, err)
		}
	}
}

// TestRotation: the key that signs next is known before, and one that signed is
// known for as long as its tokens are good.
func TestRotation(t *testing.T) {
	now := time.Unix(1000, 0)
	k := &signingKey{Algorithm: "ES256", Rotation: time.Hour, Verify: time.Minute}
	var err error
	if k.Current, err = generate("ES256"); err != nil {
		t.Fatal(err)
	}
	if k.Next, err = generate("ES256"); err != nil {
		t.Fatal(err)
	}
	first, next := k.Current.KeyID, k.Next.KeyID
	fresh, err := generate("ES256")
	if err != nil {
		t.Fatal(err)
	}
	k.rotate(fresh, now)
	known := func(id string, at time.Time) bool {
		for _, key := range k.public(at) {
			if !key.IsPublic() {
				t.Error("a private key is published")
			}
			if key.KeyID == id {
				return true
			}
		}
		return false
	}
	if k.Current.KeyID != next || !known(first, now.Add(59*time.Second)) || known(first, now.Add(time.Minute)) || !known(fresh.KeyID, now) {
		t.Errorf("after a rotation: %s signs, published %v", k.Current.KeyID, k.public(now))
	}
}

// FuzzClaims: a template is a template or a clear error.
func FuzzClaims(f *testing.F) {
	f.Add(`{"a": {{identity.entity.name}}, "b": {{time.now.plus.1h}}}`)
	f.Add(`{"a": {{identity.groups.names.devs.id}}}`)
	f.Add(`{{{{`)
	f.Add(`{"a": {{identity.entity.metadata}}, "sub": 1}`)
	f.Fuzz(func(t *testing.T, template string) {
		_, err := claims(template, bob, time.Unix(1000, 0))
		if err != nil && fault.KindOf(err) != fault.Invalid {
			t.Errorf("unclassified: %v", err)
		}
	})
}
