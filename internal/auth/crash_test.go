// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package auth_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/store/storetest"
)

func TestMain(m *testing.M) {
	if path := os.Getenv("AUTH_TEST_CHILD"); path != "" {
		childIssuer(path)
	}
	os.Exit(m.Run())
}

// childIssuer issues and revokes trees for ever and prints what it was answered.
func childIssuer(path string) {
	b := &testing.B{}
	w := &world{t: b, path: path}
	w.open()
	var printing sync.Mutex
	say := func(what, token string) {
		printing.Lock()
		defer printing.Unlock()
		fmt.Println(what, token)
	}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for ctx := context.Background(); ; {
				head, err := w.Create(ctx, auth.NewToken{Policies: []string{"a"}})
				if err != nil {
					return
				}
				say("live", head.Token)
				child, err := w.Create(ctx, auth.NewToken{Parent: &auth.Subject{Accessor: head.Accessor}})
				if err != nil {
					return
				}
				if rand.IntN(2) == 0 {
					say("live", child.Token)
					continue
				}
				say("ending", head.Token)
				if err := w.Revoke(ctx, head.Token); err != nil {
					return
				}
				say("dead", head.Token)
				say("dead", child.Token)
			}
		})
	}
	wg.Wait()
	os.Exit(1)
}

// TestRevocationSurvivesKill is invariant 4: what was answered as revoked is not
// accepted after a crash at any instant, and what was issued is.
func TestRevocationSurvivesKill(t *testing.T) {
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	path := filepath.Join(t.TempDir(), "goldkeep.db")
	state := map[string]string{}
	for range rounds {
		killIssuer(t, path, state)
		w := &world{t: t, path: path}
		w.open()
		for token, want := range state {
			_, err := w.Subject(t.Context(), token)
			if want == "dead" && !fault.Is(err, fault.Denied) {
				t.Errorf("a revoked token is accepted: %v", err)
			}
			if want == "live" && err != nil {
				t.Errorf("an issued token is lost: %v", err)
			}
		}
		w.must(w.st.Close())
	}
	if len(state) == 0 {
		t.Error("nothing was issued")
	}
}

func killIssuer(t *testing.T, path string, state map[string]string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "AUTH_TEST_CHILD="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stopAt, seen := 10+rand.IntN(100), 0
	for lines := bufio.NewScanner(out); lines.Scan(); seen++ {
		what, token, _ := strings.Cut(lines.Text(), " ")
		state[token] = what // "ending" may go either way
		if seen == stopAt {
			_ = cmd.Process.Kill()
		}
	}
	_ = cmd.Wait()
	if seen < stopAt {
		t.Fatal("the issuer stopped by itself")
	}
}

// TestRevokedOnEveryNode runs two servers on one PostgreSQL.
func TestRevokedOnEveryNode(t *testing.T) {
	dsn := storetest.PostgresDSN(t)
	one, two := node(t, storetest.PostgresAt(t, dsn)), node(t, storetest.PostgresAt(t, dsn))
	ctx := t.Context()
	head, err := one.Create(ctx, auth.NewToken{Policies: []string{"a"}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := two.Subject(ctx, head.Token)
	if err != nil {
		t.Fatalf("the other node does not know the token: %v", err)
	}
	child, err := two.Create(ctx, auth.NewToken{Parent: s})
	if err != nil {
		t.Fatal(err)
	}
	limited, err := one.Create(ctx, auth.NewToken{Policies: []string{"a"}, NumUses: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := two.Subject(ctx, limited.Token); err != nil {
		t.Fatal(err)
	}
	if err := one.Revoke(ctx, head.Token); err != nil {
		t.Fatal(err)
	}
	for _, n := range []*auth.Tokens{one, two} {
		for _, token := range []string{head.Token, child.Token, limited.Token} {
			if _, err := n.Subject(ctx, token); !fault.Is(err, fault.Denied) {
				t.Errorf("accepted: %v", err)
			}
		}
	}
}

func node(t *testing.T, st store.Store) *auth.Tokens {
	t.Helper()
	ctx := t.Context()
	if err := auth.Migrate(ctx, st); err != nil {
		t.Fatal(err)
	}
	b, err := barrier.Open(ctx, st)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Init(ctx, barrier.InitOptions{KeyFile: keyFile}); err != nil && !fault.Is(err, fault.Conflict) {
		t.Fatal(err)
	}
	if err := b.UnsealWithFile(ctx, keyFile); err != nil {
		t.Fatal(err)
	}
	return auth.NewTokens(auth.TokensOptions{Space: b.Space().Sub("token"), Keys: b, Store: st})
}
