// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package barrier_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/store/storetest"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func term(t *testing.T, b *barrier.Barrier) uint32 {
	t.Helper()
	s, err := b.KeyStatus()
	must(t, err)
	return s.Term
}

// TestRotate writes under several terms and reads everything back, also after
// unsealing anew.
func TestRotate(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s store.Store) {
		ctx := t.Context()
		b := open(t, s)
		text, err := b.SealBytes("test", []byte("plain"), nil)
		must(t, err)
		for n := range 4 {
			put(t, b.Space(), barrier.Entry{Path: fmt.Sprint("a/", n), Value: []byte{byte(n)}})
			must(t, b.Rotate(ctx))
			if got := term(t, b); got != uint32(n+2) {
				t.Errorf("term %d after %d rotations", got, n+1)
			}
		}
		if status, err := b.KeyStatus(); err != nil || status.Installed.IsZero() || status.Sealed != 0 {
			t.Errorf("%+v, %v", status, err)
		}
		put(t, b.Space(), barrier.Entry{Path: "a/0", Value: []byte("new")})
		for _, again := range []bool{false, true} {
			if again {
				b.Seal()
				must(t, b.UnsealWithFile(ctx, keyFile))
			}
			for n, want := range []string{"new", "\x01", "\x02", "\x03"} {
				if got, _ := get(t, b.Space(), fmt.Sprint("a/", n)); got != want {
					t.Errorf("again %v: entry %d is %q", again, n, got)
				}
			}
			if plain, err := b.OpenBytes("test", text, nil); err != nil || string(plain) != "plain" {
				t.Errorf("again %v: %q, %v", again, plain, err)
			}
		}
		b.Seal()
		if err := b.Rotate(ctx); !fault.Is(err, fault.Sealed) {
			t.Errorf("rotate while sealed: %v", err)
		}
	})
}

// TestRotateOnTwoNodes rotates on one server and reads on another that has not heard
// of it, then on both at once.
func TestRotateOnTwoNodes(t *testing.T) {
	dsn := storetest.PostgresDSN(t)
	one, two := open(t, storetest.PostgresAt(t, dsn)), open(t, storetest.PostgresAt(t, dsn))
	ctx, stop := context.WithCancel(t.Context())
	var watch sync.WaitGroup
	for _, b := range []*barrier.Barrier{one, two} {
		watch.Go(func() { _ = b.Watch(ctx) })
	}
	defer watch.Wait()
	defer stop()

	must(t, one.Rotate(ctx))
	put(t, one.Space(), barrier.Entry{Path: "a/b", Value: []byte("one")})
	if got, _ := get(t, two.Space(), "a/b"); got != "one" || term(t, two) != 2 {
		t.Errorf("the other server reads %q, at term %d", got, term(t, two))
	}
	must(t, two.Rotate(ctx))
	text, err := two.SealBytes("test", []byte("two"), nil)
	must(t, err)
	if plain, err := one.OpenBytes("test", text, nil); err != nil || string(plain) != "two" {
		t.Errorf("the first server opens %q, %v", plain, err)
	}
	var both sync.WaitGroup
	for n, b := range []*barrier.Barrier{one, two, one, two} {
		both.Go(func() {
			if err := b.Rotate(ctx); err != nil {
				t.Error(err)
			}
			err := b.Space().Update(ctx, func(w barrier.Writer) error {
				return w.Put(ctx, barrier.Entry{Path: fmt.Sprint("c/", n), Value: []byte{byte(n)}})
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	for _, b := range []*barrier.Barrier{one, two} {
		for n := range 4 {
			if got, _ := get(t, b.Space(), fmt.Sprint("c/", n)); got != string(rune(n)) {
				t.Errorf("entry %d is %q", n, got)
			}
		}
	}
	if got := max(term(t, one), term(t, two)); got != 7 {
		t.Errorf("term %d after six rotations", got)
	}
}

// split makes a barrier with shares, and unseals it on each store given.
func splitAmong(t *testing.T, stores ...store.Store) (shares [][]byte, all []*barrier.Barrier) {
	t.Helper()
	for i, s := range stores {
		b, err := barrier.Open(t.Context(), s)
		must(t, err)
		if i == 0 {
			result, err := b.Init(t.Context(), barrier.InitOptions{Shares: 3, Threshold: 2})
			must(t, err)
			shares = result.Shares
		}
		unsealWith(t, b, shares[:2])
		all = append(all, b)
	}
	return shares, all
}

func unsealWith(t *testing.T, b *barrier.Barrier, shares [][]byte) {
	t.Helper()
	for _, share := range shares {
		_, err := b.SubmitShare(t.Context(), share)
		must(t, err)
	}
	if b.Sealed() {
		t.Fatal("still sealed")
	}
}

// sealRow is the barrier's own row; change, where there is one, changes it.
func sealRow(t *testing.T, s store.Store, change func(row map[string]any)) (row map[string]any) {
	t.Helper()
	ctx := t.Context()
	must(t, s.Update(ctx, func(tx store.Tx) error {
		var body string
		if err := tx.QueryRow(ctx, "SELECT body FROM barrier_seal").Scan(&body); err != nil {
			return err
		}
		row = nil
		if err := json.Unmarshal([]byte(body), &row); err != nil || change == nil {
			return err
		}
		change(row)
		text, err := json.Marshal(row)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "UPDATE barrier_seal SET body = ?", string(text))
		return err
	}))
	return row
}

// TestTheHeirGoes: the new root key lies under a key that does not change only while
// other servers need it.
func TestTheHeirGoes(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s store.Store) {
		ctx, stop := context.WithCancel(t.Context())
		_, nodes := splitAmong(t, s, s)
		one, two := nodes[0], nodes[1]
		next, err := barrier.NewCandidate(3, 2)
		must(t, err)
		must(t, one.Install(ctx, next))
		if heir := sealRow(t, s, nil)["heir"]; (heir == nil) != s.Exclusive() {
			t.Fatalf("after the rekeying the heir is %v", heir)
		}
		if s.Exclusive() {
			stop()
			return
		}
		must(t, one.Rotate(ctx))
		text, err := one.SealBytes("test", []byte("plain"), nil)
		must(t, err)
		sealRow(t, s, func(row map[string]any) { row["heir_since"] = s.Now().Add(-11 * time.Minute) })
		var watch sync.WaitGroup
		watch.Go(func() { _ = two.Watch(ctx) })
		defer watch.Wait()
		defer stop()
		if plain, err := two.OpenBytes("test", text, nil); err != nil || string(plain) != "plain" {
			t.Errorf("the other server opens %q, %v", plain, err)
		}
		if heir := sealRow(t, s, nil)["heir"]; heir != nil {
			t.Error("the heir stays")
		}
		must(t, two.Prove(ctx, next.Shares[:2]))
	})
}

func TestRekey(t *testing.T) {
	dsn := storetest.PostgresDSN(t)
	ctx := t.Context()
	old, nodes := splitAmong(t, storetest.PostgresAt(t, dsn), storetest.PostgresAt(t, dsn))
	one, two := nodes[0], nodes[1]
	put(t, one.Space(), barrier.Entry{Path: "a", Value: []byte("kept")})
	must(t, one.Prove(ctx, old[1:]))
	for name, shares := range map[string][][]byte{
		"none": nil, "one": old[:1], "the same twice": {old[0], old[0]}, "three": old,
		"a changed one": {old[0], append([]byte{old[1][0]}, make([]byte, 32)...)}, "a short one": {old[0], {1}},
	} {
		if err := one.Prove(ctx, shares); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	next, err := barrier.NewCandidate(5, 3)
	must(t, err)
	must(t, next.Fits(next.Shares[2:]))
	if next.Fits(next.Shares[:2]) == nil || next.Fits(old[:2]) == nil {
		t.Error("wrong shares fit the candidate")
	}
	must(t, one.Install(ctx, next))
	must(t, two.Rotate(ctx)) // it holds the old root key
	put(t, two.Space(), barrier.Entry{Path: "b", Value: []byte("two")})
	if got, _ := get(t, one.Space(), "b"); got != "two" {
		t.Errorf("after the rotation by the other: %q", got)
	}
	must(t, two.Prove(ctx, next.Shares[:3]))
	if two.Prove(ctx, old[:2]) == nil {
		t.Error("the old shares still prove")
	}
	for _, b := range nodes {
		b.Seal()
		_, _ = b.SubmitShare(ctx, old[0])
		_, _ = b.SubmitShare(ctx, old[1])
		if _, err := b.SubmitShare(ctx, old[2]); err == nil || !b.Sealed() {
			t.Errorf("the old shares unseal: %v", err)
		}
		b.ResetShares()
		unsealWith(t, b, next.Shares[1:4])
		if got, _ := get(t, b.Space(), "a"); got != "kept" {
			t.Errorf("after the rekeying: %q", got)
		}
	}
	if status, err := one.Status(ctx); err != nil || status.Shares != 5 || status.Threshold != 3 {
		t.Errorf("%+v, %v", status, err)
	}
}
