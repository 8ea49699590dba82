// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package auth_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// TestRevokedIsNeverAccepted: while others keep using a token and its child, so
// that their records are held in memory, the call that revokes returns. From
// then on neither is accepted by anybody, not once.
func TestRevokedIsNeverAccepted(t *testing.T) {
	w := newWorld(t)
	w.Tokens = auth.NewTokens(auth.TokensOptions{Space: w.b.Space().Sub("token"), Keys: w.b, Store: w.st})
	ctx := context.Background()
	rounds := 40
	if testing.Short() {
		rounds = 10
	}
	for range rounds {
		head := w.create(auth.NewToken{Policies: []string{"app"}})
		child := w.create(auth.NewToken{Parent: w.subject(head.Token)})
		other := w.create(auth.NewToken{})
		var revoked atomic.Bool
		var stop, accepted atomic.Int64
		var users sync.WaitGroup
		for n := range 4 {
			token := []string{head.Token, child.Token}[n%2]
			users.Go(func() {
				for stop.Load() == 0 {
					gone := revoked.Load()
					_, err := w.Subject(ctx, token)
					_, infoErr := w.Info(ctx, token)
					switch {
					case gone && (err == nil || infoErr == nil):
						t.Error("accepted after the revocation was answered")
						return
					case err != nil && !fault.Is(err, fault.Denied):
						t.Error(err)
						return
					case err == nil:
						accepted.Add(1)
					}
				}
			})
		}
		for accepted.Load() < 20 && !t.Failed() {
			w.must(w.Revoke(ctx, other.Token)) // commits of others come in between
		}
		w.must(w.Revoke(ctx, head.Token))
		revoked.Store(true)
		w.refused("the head", head.Token)
		w.refused("the child", child.Token)
		stop.Store(1)
		users.Wait()
	}
}

// TestSubjectsShareNothing: what one request does to its subject no other sees.
func TestSubjectsShareNothing(t *testing.T) {
	w := newWorld(t)
	g := w.create(auth.NewToken{Policies: []string{"app"}, Meta: map[string]string{"team": "a"}})
	w.subject(g.Token) // now it is in memory
	first := w.subject(g.Token)
	first.Policies[0], first.Meta["team"] = "root", "b"
	info, err := w.Info(t.Context(), g.Token)
	w.must(err)
	info.Policies[0], info.Meta["team"] = "root", "b"
	if again := w.subject(g.Token); again.Policies[0] != "app" || again.Meta["team"] != "a" {
		t.Errorf("changed by another: %+v", again)
	}
}

// TestSealForgetsTokens: a token used before is not accepted while sealed, and
// what changed meanwhile counts afterwards.
func TestSealForgetsTokens(t *testing.T) {
	w := newWorld(t)
	g := w.create(auth.NewToken{})
	w.subject(g.Token)
	w.b.Seal()
	if _, err := w.Subject(t.Context(), g.Token); !fault.Is(err, fault.Sealed) {
		t.Errorf("sealed: %v", err)
	}
	w.must(w.b.UnsealWithFile(t.Context(), keyFile))
	w.subject(g.Token)
}
