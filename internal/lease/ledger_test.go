// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package lease_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/lease"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/store/sqlite"
)

var keyFile = bytes.Repeat([]byte{7}, 32)

// target is a folder in which each file is a credential.
type target struct {
	dir  string
	down atomic.Bool
}

func (f *target) make(name string) error {
	return os.WriteFile(filepath.Join(f.dir, name), nil, 0o600)
}

func (f *target) Undo(_ context.Context, recipe json.RawMessage) error {
	if f.down.Load() {
		return fault.New(fault.Unavailable, "target is down")
	}
	var name string
	if err := json.Unmarshal(recipe, &name); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(f.dir, name)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (f *target) names(t testing.TB) map[string]bool {
	t.Helper()
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, e := range entries {
		names[e.Name()] = true
	}
	return names
}

// world is a ledger on a real store and barrier, with a clock the test moves.
type world struct {
	*lease.Ledger
	t      testing.TB
	target *target
	st     store.Store
	boot   atomic.Int64
}

func openLedger(ctx context.Context, path string, o sqlite.Options, tg *target) (*lease.Ledger, store.Store, error) {
	st, err := sqlite.Open(ctx, path, o)
	if err != nil {
		return nil, nil, err
	}
	b, err := barrier.Open(ctx, st)
	if err != nil {
		return nil, nil, err
	}
	if _, err := b.Init(ctx, barrier.InitOptions{KeyFile: keyFile}); err != nil && !fault.Is(err, fault.Conflict) {
		return nil, nil, err
	}
	if err := b.UnsealWithFile(ctx, keyFile); err != nil {
		return nil, nil, err
	}
	return lease.New(lease.Options{Space: b.Space().Sub("lease"), Undoers: map[string]lease.Undoer{"file": tg}}), st, nil
}

func newWorld(t testing.TB, path string, tg *target) *world {
	t.Helper()
	w := &world{t: t, target: tg}
	var err error
	w.Ledger, w.st, err = openLedger(context.Background(), path, sqlite.Options{Boot: func() time.Duration { return time.Duration(w.boot.Load()) }}, tg)
	w.must(err)
	t.Cleanup(func() { _ = w.st.Close() })
	return w
}

func fresh(t testing.TB) *world {
	return newWorld(t, filepath.Join(t.TempDir(), "goldkeep.db"), &target{dir: t.TempDir()})
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) pass(d time.Duration) { w.boot.Add(int64(d)) }

// begin makes a pending lease and its file.
func (w *world) begin(path, owner string, change ...func(*lease.Lease)) string {
	w.t.Helper()
	id, err := lease.NewID(path, nil)
	w.must(err)
	name := filepath.Base(id)
	recipe, _ := json.Marshal(name)
	now := w.st.Now()
	l := lease.Lease{ID: id, Owner: owner, Kind: "file", Recipe: recipe, Renewable: true, Expires: now.Add(time.Hour), MaxExpiry: now.Add(3 * time.Hour)}
	for _, fn := range change {
		fn(&l)
	}
	w.must(w.Begin(w.t.Context(), l))
	w.must(w.target.make(name))
	return id
}

func (w *world) active(path, owner string, change ...func(*lease.Lease)) string {
	w.t.Helper()
	id := w.begin(path, owner, change...)
	w.must(w.Activate(w.t.Context(), id))
	return id
}

// left checks that exactly these leases and their files are there.
func (w *world) left(ids ...string) {
	w.t.Helper()
	c, err := w.Count(w.t.Context())
	w.must(err)
	names := w.target.names(w.t)
	if all := c.Pending + c.Active + c.Revoking; all != len(ids) || len(names) != len(ids) {
		w.t.Errorf("%d leases, %d files; want %d", all, len(names), len(ids))
	}
	for _, id := range ids {
		if !names[filepath.Base(id)] {
			w.t.Errorf("the file of %s is gone", id)
		}
	}
}

func TestExpiredLeasesAreUndone(t *testing.T) {
	w := fresh(t)
	w.active("db/creds/a", "t1")
	long := w.active("db/creds/a", "t1")
	_, err := w.Renew(t.Context(), long, 2*time.Hour)
	w.must(err)
	w.pass(61 * time.Minute)
	w.must(w.Settle(t.Context()))
	w.left(long)
}

func TestPendingLeasesAreUndoneInTheEnd(t *testing.T) {
	w := fresh(t)
	id := w.begin("db/creds/a", "t1")
	w.must(w.Settle(t.Context()))
	w.left(id) // its effect may be under way
	w.pass(lease.PendingFor + time.Second)
	w.must(w.Settle(t.Context()))
	w.left()
	if err := w.Activate(t.Context(), id); !fault.Is(err, fault.Conflict) {
		t.Errorf("activated: %v", err)
	}
	failed := w.begin("db/creds/a", "t1")
	w.must(w.Abort(t.Context(), failed))
	w.left()
}

func TestRevokedWhilePending(t *testing.T) {
	w := fresh(t)
	id := w.begin("db/creds/a", "t1")
	w.must(os.Remove(filepath.Join(w.target.dir, filepath.Base(id)))) // the effect is not there yet
	w.must(w.Revoke(t.Context(), id, true))
	w.must(w.Settle(t.Context()))
	w.must(w.target.make(filepath.Base(id))) // now it is
	w.must(w.Revoke(t.Context(), id, true))
	if err := w.Activate(t.Context(), id); !fault.Is(err, fault.Conflict) {
		t.Errorf("activated: %v", err)
	}
	w.must(w.Settle(t.Context()))
	w.left()
}

func TestRevoke(t *testing.T) {
	w := fresh(t)
	a, b := w.active("db/creds/a", "t1"), w.active("db/creds/b", "t1")
	c := w.active("db2/creds/a", "t1")
	w.must(w.Revoke(t.Context(), a, true))
	w.left(b, c)
	w.must(w.Revoke(t.Context(), a, true)) // again is fine
	w.must(w.Revoke(t.Context(), "../../x", true))
	w.must(w.RevokePrefix(t.Context(), "db/", true))
	w.left(c)
	w.must(w.Revoke(t.Context(), c, false))
	if _, err := w.Renew(t.Context(), c, time.Hour); !fault.Is(err, fault.Invalid) {
		t.Errorf("renewed what is being revoked: %v", err)
	}
	w.must(w.Settle(t.Context()))
	w.left()
}

func TestDeadTargetIsRetriedForEver(t *testing.T) {
	w := fresh(t)
	id := w.active("db/creds/a", "t1")
	w.target.down.Store(true)
	if err := w.Revoke(t.Context(), id, true); !fault.Is(err, fault.Unavailable) {
		t.Errorf("revoked at a dead target: %v", err)
	}
	for range 20 {
		w.pass(6 * time.Minute)
		w.must(w.Settle(t.Context()))
	}
	have, err := w.Lookup(t.Context(), id)
	w.must(err)
	if have.State != lease.Revoking || have.Tries != 21 || have.LastError != "unavailable" {
		t.Errorf("%+v", have)
	}
	if c, _ := w.Count(t.Context()); c.Failing != 1 {
		t.Errorf("%+v", c)
	}
	w.target.down.Store(false)
	w.must(w.Settle(t.Context())) // not due yet
	w.left(id)
	w.pass(6 * time.Minute)
	w.must(w.Settle(t.Context()))
	w.left()
}

func TestForceDropsTheLease(t *testing.T) {
	w := fresh(t)
	id := w.active("db/creds/a", "t1")
	w.target.down.Store(true)
	w.must(w.RevokeForce(t.Context(), "db"))
	if _, err := w.Lookup(t.Context(), id); !fault.Is(err, fault.Invalid) {
		t.Errorf("still there: %v", err)
	}
}

func TestOwnerTakesItsLeases(t *testing.T) {
	w := fresh(t)
	for range 450 { // more than one transaction's worth
		w.active("db/creds/a", "t1")
	}
	other := w.active("db/creds/a", "t2")
	late := w.begin("db/creds/a", "t1")
	w.must(w.st.Update(t.Context(), func(tx store.Tx) error { return w.OnRevoke(t.Context(), tx, "t1") }))
	if err := w.Activate(t.Context(), late); !fault.Is(err, fault.Denied) {
		t.Errorf("activated for a revoked token: %v", err)
	}
	if err := w.Begin(t.Context(), lease.Lease{ID: "db/x", Owner: "t1", Expires: w.st.Now().Add(time.Hour)}); !fault.Is(err, fault.Denied) {
		t.Errorf("begun for a revoked token: %v", err)
	}
	w.must(w.Settle(t.Context()))
	w.left(other)
	w.must(w.RevokeOwner(t.Context(), "t2"))
	w.left()
	w.pass(time.Hour)
	w.must(w.Settle(t.Context()))
	w.must(w.Begin(t.Context(), lease.Lease{ID: "db/x", Owner: "t1", Expires: w.st.Now().Add(time.Hour)})) // forgotten
}

func TestRenew(t *testing.T) {
	w := fresh(t)
	id := w.active("db/creds/a", "t1")
	for _, c := range []struct{ inc, want time.Duration }{{0, time.Hour}, {30 * time.Minute, 30 * time.Minute}, {0, 30 * time.Minute}, {9 * time.Hour, 3 * time.Hour}} {
		l, err := w.Renew(t.Context(), id, c.inc)
		w.must(err)
		if d := l.Expires.Sub(w.st.Now()) - c.want; d > time.Second || d < -time.Second {
			t.Errorf("increment %v: off by %v", c.inc, d)
		}
	}
	fixed := w.active("db/creds/a", "t1", func(l *lease.Lease) { l.Renewable = false })
	if _, err := w.Renew(t.Context(), fixed, 0); !fault.Is(err, fault.Invalid) {
		t.Errorf("not renewable: %v", err)
	}
	w.pass(4 * time.Hour)
	if _, err := w.Renew(t.Context(), id, 0); !fault.Is(err, fault.Invalid) {
		t.Errorf("expired, though nobody has undone it yet: %v", err)
	}
}

func TestListAndLimits(t *testing.T) {
	w := fresh(t)
	id := w.active("db/creds/a", "t1")
	names, err := w.List(t.Context(), "db/creds/")
	if err != nil || fmt.Sprint(names) != "[a/]" {
		t.Errorf("%v, %v", names, err)
	}
	names, err = w.List(t.Context(), "")
	if err != nil || fmt.Sprint(names) != "[db/]" {
		t.Errorf("%v, %v", names, err)
	}
	now := w.st.Now()
	for name, c := range map[string]struct {
		l    lease.Lease
		kind fault.Kind
	}{
		"no id":        {lease.Lease{Expires: now.Add(time.Hour)}, fault.Invalid},
		"long id":      {lease.Lease{ID: strings.Repeat("x", 2000), Expires: now.Add(time.Hour)}, fault.Invalid},
		"over already": {lease.Lease{ID: "a/b", Expires: now}, fault.Invalid},
		"known id":     {lease.Lease{ID: id, Expires: now.Add(time.Hour)}, fault.Conflict},
		"no undoer":    {lease.Lease{ID: "a/b", Kind: "what", Expires: now.Add(time.Hour)}, fault.Internal},
	} {
		if err := w.Begin(t.Context(), c.l); !fault.Is(err, c.kind) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// idle is a space with nothing due, for a test of Run's own timing.
type idle struct {
	barrier.Space
	asked atomic.Int32
}

func (s *idle) Now() time.Time { return time.Now() }
func (s *idle) Expired(context.Context, time.Time, int) ([]barrier.Entry, error) {
	s.asked.Add(1)
	return nil, fault.New(fault.Sealed, "sealed")
}

func TestRunWakesAndPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &idle{}
		l := lease.New(lease.Options{Space: s, Poll: time.Minute})
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Second)
		defer cancel()
		done := make(chan error)
		go func() { done <- l.Run(ctx) }()
		synctest.Wait()
		l.Wake()
		synctest.Wait()
		if n := s.asked.Load(); n != 2 {
			t.Errorf("asked %d times, want at the start and when woken", n)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := s.asked.Load(); n != 4 {
			t.Errorf("asked %d times, want twice more by the clock", n)
		}
	})
}
