// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package auth_test

import (
	"strings"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/entity"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// TestBatch: a batch token is its own record. It cannot be renewed or revoked, and
// ends with what it hangs on.
func TestBatch(t *testing.T) {
	w := newWorld(t)
	head := w.create(auth.NewToken{Policies: []string{"app"}})
	batch := w.create(auth.NewToken{Parent: w.subject(head.Token), Type: "batch", TTL: time.Minute, Meta: map[string]string{"a": "b"}})
	if !strings.HasPrefix(batch.Token, auth.BatchPrefix) || batch.Accessor != "" || batch.Type != "batch" || batch.Renewable {
		t.Errorf("granted: %+v", batch)
	}
	s := w.subject(batch.Token)
	if !s.Batch || s.Owner != head.Accessor || strings.Join(s.Policies, " ") != "app default" || s.Meta["a"] != "b" || s.Orphan {
		t.Errorf("subject: %+v", s)
	}
	info, err := w.Info(t.Context(), batch.Token)
	w.must(err)
	if info.Type != "batch" || info.Accessor != "" || info.TTL > time.Minute || info.TTL < time.Second {
		t.Errorf("looked up: %+v", info)
	}
	_, renewed := w.Renew(t.Context(), batch.Token, auth.Renewal{})
	_, child := w.Create(t.Context(), auth.NewToken{Parent: s})
	for what, err := range map[string]error{
		"renew": renewed, "child": child, "revoke": w.Revoke(t.Context(), batch.Token), "revoke orphan": w.RevokeOrphan(t.Context(), batch.Token),
	} {
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for at := range len(batch.Token) {
		changed := []byte(batch.Token)
		changed[at] ^= 1
		if s, err := w.Subject(t.Context(), string(changed)); err == nil && at > len(auth.BatchPrefix) && at < len(changed)-1 {
			t.Fatalf("accepted with another byte %d: %+v", at, s)
		}
	}
	w.refused("none", auth.BatchPrefix)
	w.restart()
	w.subject(batch.Token)
	w.must(w.Revoke(t.Context(), head.Token))
	w.refused("a batch token without its parent", batch.Token)

	head = w.create(auth.NewToken{Policies: []string{"app"}})
	batch = w.create(auth.NewToken{Parent: w.subject(head.Token), Type: "batch", TTL: time.Minute})
	w.pass(time.Minute)
	w.refused("an expired batch token", batch.Token)
	if _, err := w.Create(t.Context(), auth.NewToken{Policies: []string{"root"}, Type: "batch"}); !fault.Is(err, fault.Invalid) {
		t.Errorf("a root batch token: %v", err)
	}
	many := make([]string, 900)
	for i := range many {
		many[i] = strings.Repeat("p", 20) + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676))
	}
	if _, err := w.Create(t.Context(), auth.NewToken{Policies: many, Type: "batch"}); !fault.Is(err, fault.TooLarge) {
		t.Errorf("a batch token too long for a header: %v", err)
	}
}

// TestBatchOfALogin ends with its auth mount and with its entity.
func TestBatchOfALogin(t *testing.T) {
	w := newWorld(t)
	withEntities(w)
	n := login("bob")
	n.Type = "batch"
	bob := w.create(n)
	if s := w.subject(bob.Token); s.Identity == nil || s.Identity.Entity.ID != bob.EntityID || s.Owner != "" {
		t.Errorf("subject: %+v", s)
	}
	people := entity.New(w.b.Space().Sub("identity"))
	disable := func(yes bool) {
		t.Helper()
		_, _, err := people.PutEntity(t.Context(), entity.Key{ID: bob.EntityID}, func(e *entity.Entity) { e.Disabled = yes })
		w.must(err)
	}
	disable(true)
	w.refused("a disabled entity's token", bob.Token)
	disable(false)
	w.subject(bob.Token)
	_, err := w.RevokeOrigin(t.Context(), "u1")
	w.must(err)
	w.refused("a batch token without its mount", bob.Token)
	for _, kind := range []string{"service", "batch"} {
		_, err := w.Create(t.Context(), auth.NewToken{Type: kind, Policies: []string{"app"}, Origin: "u1"})
		if !fault.Is(err, fault.Denied) {
			t.Errorf("a login that ends after its method, %s: %v", kind, err)
		}
	}
}
