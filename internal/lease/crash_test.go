// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package lease_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/internal/lease"
	"github.com/goldkeep/goldkeep/internal/store/sqlite"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("LEASE_TEST_CHILD"); dir != "" {
		if err := childIssuer(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// childIssuer hands out and revokes for ever, from several goroutines, and
// prints a line for each step it has come past.
func childIssuer(dir string) error {
	ctx := context.Background()
	tg := &target{dir: filepath.Join(dir, "target")}
	l, st, err := openLedger(ctx, filepath.Join(dir, "goldkeep.db"), sqlite.Options{}, tg)
	if err != nil {
		return err
	}
	errs := make(chan error)
	go func() { errs <- l.Run(ctx) }()
	for range 3 {
		go func() {
			for {
				if err := issueOne(ctx, l, tg, st.Now()); err != nil {
					errs <- err
					return
				}
			}
		}()
	}
	return <-errs
}

var printing sync.Mutex

func say(step string) {
	printing.Lock()
	defer printing.Unlock()
	fmt.Println(step)
}

func issueOne(ctx context.Context, l *lease.Ledger, tg *target, now time.Time) error {
	id, err := lease.NewID("db/creds/app", nil)
	if err != nil {
		return err
	}
	recipe, _ := json.Marshal(filepath.Base(id))
	if err := l.Begin(ctx, lease.Lease{ID: id, Owner: "t1", Kind: "file", Recipe: recipe, Expires: now.Add(24 * time.Hour)}); err != nil {
		return err
	}
	say("begun")
	if err := tg.make(filepath.Base(id)); err != nil {
		return err
	}
	say("made")
	if err := l.Activate(ctx, id); err != nil {
		return err
	}
	say("active")
	if rand.IntN(3) == 0 {
		err = l.Revoke(ctx, id, rand.IntN(2) == 0)
		say("revoked")
	}
	return err
}

// TestNoOrphansAfterKill is invariant 3: whenever the process is killed, after a
// restart every credential has its active lease and every lease its credential.
func TestNoOrphansAfterKill(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 4
	}
	dir := t.TempDir()
	tg := &target{dir: filepath.Join(dir, "target")}
	if err := os.Mkdir(tg.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	pending := 0
	for range rounds {
		runAndKill(t, dir)
		w := newWorld(t, filepath.Join(dir, "goldkeep.db"), tg)
		c, err := w.Count(t.Context())
		w.must(err)
		pending += c.Pending
		w.pass(lease.PendingFor + time.Minute)
		w.must(w.Settle(t.Context()))
		compare(t, w)
		w.must(w.st.Close())
	}
	if pending == 0 {
		t.Error("no round was killed between intent and effect: the test shows nothing")
	}
}

func runAndKill(t *testing.T, dir string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "LEASE_TEST_CHILD="+dir)
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
		if seen == stopAt {
			_ = cmd.Process.Kill()
		}
	}
	_ = cmd.Wait()
	if seen < stopAt {
		t.Fatal("the issuer stopped by itself")
	}
}

// compare holds leases and files against each other.
func compare(t *testing.T, w *world) {
	t.Helper()
	names := w.target.names(t)
	leases, err := w.List(t.Context(), "db/creds/app")
	w.must(err)
	for _, name := range leases {
		l, err := w.Lookup(t.Context(), "db/creds/app/"+name)
		w.must(err)
		if l.State != lease.Active {
			t.Errorf("a lease is still %s", l.State)
		}
		if !names[name] {
			t.Error("a lease without its credential")
		}
		delete(names, name)
	}
	if len(names) > 0 {
		t.Errorf("%d credentials without a lease", len(names))
	}
}
