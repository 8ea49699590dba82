// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package storetest is the conformance suite of package store, and starts real
// databases for the tests of other rooms.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store"
)

// Run checks that open gives a store that keeps the contract. Each call of open
// must return a new, empty store.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	for _, c := range []struct {
		name string
		test func(*testing.T, store.Store)
	}{
		{"values survive", testValues},
		{"a failed update changes nothing", testRollback},
		{"a panic fails only its own update", testPanic},
		{"concurrent updates are serial", testSerial},
		{"write skew is impossible", testWriteSkew},
		{"a view sees one point in time", testSnapshot},
		{"after-commit runs only after commit", testAfterCommit},
		{"migrations run once and in order", testMigrate},
		{"newer tables are refused", testNewerTables},
		{"the clock does not go back", testClock},
		{"a cancelled caller changes nothing", testCancel},
		{"a transaction ends with its function", testEnded},
		{"a closed store answers", testClosed},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

func table(t *testing.T, s store.Store) {
	t.Helper()
	err := s.Migrate(t.Context(), "suite", []string{"CREATE TABLE thing (name TEXT PRIMARY KEY, n BIGINT NOT NULL, body BLOB)"})
	if err != nil {
		t.Fatal(err)
	}
}

func put(ctx context.Context, s store.Store, name string, n int64) error {
	return s.Update(ctx, func(tx store.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO thing (name, n) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET n = excluded.n", name, n)
		return err
	})
}

func get(t *testing.T, s store.Store, name string) (n int64, found bool) {
	t.Helper()
	err := s.View(t.Context(), func(tx store.Tx) error {
		return tx.QueryRow(t.Context(), "SELECT n FROM thing WHERE name = ?", name).Scan(&n)
	})
	if errors.Is(err, store.ErrNoRows) {
		return 0, false
	}
	if err != nil {
		t.Fatal(err)
	}
	return n, true
}

func testValues(t *testing.T, s store.Store) {
	table(t, s)
	ctx := t.Context()
	body := []byte{0, 1, 255, '?', '\''}
	err := s.Update(ctx, func(tx store.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO thing (name, n, body) VALUES (?, ?, ?)", "it's a ? — ü", int64(1)<<62, body)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var name string
	var n int64
	var got []byte
	err = s.View(ctx, func(tx store.Tx) error {
		return store.Each(ctx, tx, func(r store.Row) error { return r.Scan(&name, &n, &got) }, "SELECT name, n, body FROM thing WHERE n > ?", 5)
	})
	if err != nil || name != "it's a ? — ü" || n != 1<<62 || !bytes.Equal(got, body) {
		t.Errorf("got %q %d %v, %v", name, n, got, err)
	}
}

func testRollback(t *testing.T, s store.Store) {
	table(t, s)
	ctx := t.Context()
	stop := fault.New(fault.Conflict, "stop here")
	if err := put(ctx, s, "counter", 0); err != nil {
		t.Fatal(err)
	}
	count := func(tx store.Tx) error { // sees what earlier updates of its group left
		_, err := tx.Exec(ctx, "UPDATE thing SET n = n + 1 WHERE name = ?", "counter")
		return err
	}
	var wg sync.WaitGroup
	for i := range 20 { // failing and succeeding updates share groups
		wg.Add(2)
		go func() {
			defer wg.Done()
			err := s.Update(ctx, func(tx store.Tx) error {
				if _, err := tx.Exec(ctx, "INSERT INTO thing (name, n) VALUES (?, 1)", fmt.Sprint("bad", i)); err != nil {
					return err
				}
				if err := count(tx); err != nil {
					return err
				}
				return stop
			})
			if !errors.Is(err, stop) {
				t.Errorf("error = %v, want the function's own", err)
			}
		}()
		go func() {
			defer wg.Done()
			err := s.Update(ctx, func(tx store.Tx) error {
				if _, err := tx.Exec(ctx, "INSERT INTO thing (name, n) VALUES (?, 1)", fmt.Sprint("good", i)); err != nil {
					return err
				}
				return count(tx)
			})
			if err != nil {
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	if n, _ := get(t, s, "counter"); n != 20 {
		t.Errorf("counter = %d, want 20: failed updates were counted", n)
	}
	for i := range 20 {
		if _, found := get(t, s, fmt.Sprint("bad", i)); found {
			t.Errorf("bad%d was kept", i)
		}
		if _, found := get(t, s, fmt.Sprint("good", i)); !found {
			t.Errorf("good%d was lost", i)
		}
	}
}

func testPanic(t *testing.T, s store.Store) {
	table(t, s)
	err := recovered(func() error {
		return s.Update(t.Context(), func(store.Tx) error { panic("boom") })
	})
	if err == nil {
		t.Error("a panicking update succeeded")
	}
	if err := put(t.Context(), s, "after", 1); err != nil {
		t.Errorf("update after a panic: %v", err)
	}
}

func recovered(fn func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	return fn()
}

func testSerial(t *testing.T, s store.Store) {
	table(t, s)
	ctx := t.Context()
	if err := put(ctx, s, "counter", 0); err != nil {
		t.Fatal(err)
	}
	const workers, each = 8, 25
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				err := s.Update(ctx, func(tx store.Tx) error {
					var n int64
					if err := tx.QueryRow(ctx, "SELECT n FROM thing WHERE name = ?", "counter").Scan(&n); err != nil {
						return err
					}
					_, err := tx.Exec(ctx, "UPDATE thing SET n = ? WHERE name = ?", n+1, "counter")
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n, _ := get(t, s, "counter"); n != workers*each {
		t.Errorf("counter = %d, want %d", n, workers*each)
	}
}

// testWriteSkew lets two transactions each read both rows and empty one of them,
// as long as the sum stays positive. Run one after the other, one must refuse.
func testWriteSkew(t *testing.T, s store.Store) {
	table(t, s)
	ctx := t.Context()
	for round := range 10 {
		for _, name := range []string{"a", "b"} {
			if err := put(ctx, s, name, 1); err != nil {
				t.Fatal(err)
			}
		}
		var wg sync.WaitGroup
		for _, name := range []string{"a", "b"} {
			wg.Go(func() {
				err := s.Update(ctx, func(tx store.Tx) error {
					var sum int64
					if err := tx.QueryRow(ctx, "SELECT CAST(SUM(n) AS BIGINT) FROM thing").Scan(&sum); err != nil {
						return err
					}
					if sum < 2 {
						return nil
					}
					_, err := tx.Exec(ctx, "UPDATE thing SET n = 0 WHERE name = ?", name)
					return err
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		a, _ := get(t, s, "a")
		b, _ := get(t, s, "b")
		if a+b != 1 {
			t.Fatalf("round %d: sum = %d, want 1", round, a+b)
		}
	}
}

func testSnapshot(t *testing.T, s store.Store) {
	table(t, s)
	ctx := t.Context()
	if err := put(ctx, s, "x", 1); err != nil {
		t.Fatal(err)
	}
	err := s.View(ctx, func(tx store.Tx) error {
		var before, after int64
		if err := tx.QueryRow(ctx, "SELECT n FROM thing WHERE name = 'x'").Scan(&before); err != nil {
			return err
		}
		if err := put(ctx, s, "x", 2); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, "SELECT n FROM thing WHERE name = 'x'").Scan(&after); err != nil {
			return err
		}
		if before != after {
			t.Errorf("the view saw %d, then %d", before, after)
		}
		if _, err := tx.Exec(ctx, "UPDATE thing SET n = 3 WHERE name = 'x'"); err == nil {
			t.Log("a write in a view was accepted; it must not last")
		}
		return nil
	})
	if err != nil {
		t.Logf("view ended with: %v", err) // PostgreSQL aborts it: fine
	}
	if n, _ := get(t, s, "x"); n != 2 {
		t.Errorf("x = %d, want 2: a write in a view lasted", n)
	}
}

func testAfterCommit(t *testing.T, s store.Store) {
	table(t, s)
	ctx := t.Context()
	var ran atomic.Int32
	_ = s.Update(ctx, func(tx store.Tx) error {
		tx.AfterCommit(func() { ran.Add(1) })
		return errors.New("no")
	})
	if ran.Load() != 0 {
		t.Error("after-commit ran for a failed update")
	}
	err := s.Update(ctx, func(tx store.Tx) error {
		tx.AfterCommit(func() { ran.Add(1) })
		return nil
	})
	if err != nil || ran.Load() != 1 {
		t.Errorf("after-commit ran %d times, %v", ran.Load(), err)
	}
}

func testMigrate(t *testing.T, s store.Store) {
	ctx := t.Context()
	steps := []string{"CREATE TABLE m (a BIGINT); INSERT INTO m (a) VALUES (1)"}
	for range 2 {
		if err := s.Migrate(ctx, "m", steps); err != nil {
			t.Fatal(err)
		}
	}
	steps = append(steps, "INSERT INTO m (a) VALUES (2)")
	var wg sync.WaitGroup
	for range 4 { // nodes that start together
		wg.Go(func() {
			if err := s.Migrate(ctx, "m", steps); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	var n int64
	err := s.View(ctx, func(tx store.Tx) error { return tx.QueryRow(ctx, "SELECT COUNT(*) FROM m").Scan(&n) })
	if err != nil || n != 2 {
		t.Errorf("rows = %d, %v; want 2", n, err)
	}
	if err := s.Migrate(ctx, "broken", []string{"CREATE TABLE b (a BIGINT); NONSENSE"}); err == nil {
		t.Error("a broken step succeeded")
	}
	if err := s.Migrate(ctx, "broken", []string{"CREATE TABLE b (a BIGINT)"}); err != nil {
		t.Errorf("the broken step left something behind: %v", err)
	}
}

func testNewerTables(t *testing.T, s store.Store) {
	ctx := t.Context()
	if err := s.Migrate(ctx, "m", []string{"CREATE TABLE n1 (a BIGINT)", "CREATE TABLE n2 (a BIGINT)"}); err != nil {
		t.Fatal(err)
	}
	err := s.Migrate(ctx, "m", []string{"CREATE TABLE n1 (a BIGINT)"})
	if !fault.Is(err, fault.Conflict) {
		t.Errorf("an older program opened newer tables: %v", err)
	}
}

func testClock(t *testing.T, s store.Store) {
	last := s.Now()
	if last.IsZero() {
		t.Fatal("the clock stands at zero")
	}
	for range 1000 {
		now := s.Now()
		if now.Before(last) {
			t.Fatalf("the clock went back from %v to %v", last, now)
		}
		last = now
	}
}

func testCancel(t *testing.T, s store.Store) {
	table(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := put(ctx, s, "late", 1); err == nil {
		t.Error("an update of a cancelled caller succeeded")
	}
	if _, found := get(t, s, "late"); found {
		t.Error("an update of a cancelled caller was kept")
	}
}

func testEnded(t *testing.T, s store.Store) {
	table(t, s)
	var kept store.Tx
	if err := s.Update(t.Context(), func(tx store.Tx) error { kept = tx; return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := kept.Exec(t.Context(), "INSERT INTO thing (name, n) VALUES ('late', 1)"); err == nil {
		t.Error("a transaction was used after its end")
	}
}

func testClosed(t *testing.T, s store.Store) {
	table(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := put(t.Context(), s, "x", 1); err == nil {
		t.Error("a closed store took an update")
	}
}
