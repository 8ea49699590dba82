// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package advisory_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/store/storetest"
)

// late is a store whose clock can be put forward.
type late struct {
	store.Store
	mu sync.Mutex
	by time.Duration
}

func (l *late) Now() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Store.Now().Add(l.by)
}

func (l *late) pass(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.by += d
}

// keepers are nodes with one database and one source of feeds.
type keepers struct {
	t       *testing.T
	clock   *late
	idx     *advisory.Index
	log     bytes.Buffer
	from    string
	told    []string
	times   int   // that they were told something
	refuses error // what is said to that
}

func newKeepers(t *testing.T, st store.Store, from string) *keepers {
	clock := &late{Store: st}
	k := &keepers{t: t, clock: clock, idx: advisory.New(clock), from: from}
	if err := k.idx.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return k
}

func (k *keepers) node(name string) *advisory.Keeper {
	return &advisory.Keeper{
		Index: advisory.New(k.clock), From: k.from, Every: 6 * time.Hour, Node: name, Log: slog.New(slog.NewTextHandler(&k.log, nil)),
		Options: advisory.SyncOptions{Ecosystems: []string{"Go", "PyPI"}},
		OnChange: func(_ context.Context, changes []advisory.Change) error {
			for _, c := range changes {
				k.told = append(k.told, c.Feed)
			}
			k.times++
			return k.refuses
		},
	}
}

// step lets a node look, after some time.
func (k *keepers) step(node *advisory.Keeper, after time.Duration) {
	k.t.Helper()
	k.clock.pass(after)
	if err := node.Step(k.t.Context()); err != nil {
		k.t.Fatal(err)
	}
}

// state is a feed's last attempt as "failures next error".
func (k *keepers) state(feed string) string {
	k.t.Helper()
	all, err := k.idx.Tries(k.t.Context())
	if err != nil {
		k.t.Fatal(err)
	}
	for _, try := range all {
		if try.Feed == feed {
			return strings.TrimSpace(fmt.Sprintf("%d %s %s %s", try.Failures, try.Next.Sub(try.Tried), try.Node, try.Error))
		}
	}
	return "not there"
}

func TestKeeper(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		dir := bucket(t)
		asked, broken := map[string]int{}, true
		srv := serve(t, dir, "/Go/all.zip", func(w http.ResponseWriter, r *http.Request) {
			asked["Go"]++
			if broken {
				http.Error(w, "no", http.StatusBadGateway)
				return
			}
			http.FileServer(http.Dir(dir)).ServeHTTP(w, r)
		})
		k := newKeepers(t, st, srv.URL)
		a, b := k.node("a"), k.node("b")
		if err := k.idx.Hurry(t.Context()); !fault.Is(err, fault.NotFound) || fault.HintOf(err) == "" {
			t.Errorf("hurry without a schedule: %v", err)
		}

		k.step(a, 0)
		k.step(b, 0)
		if got := k.state("Go"); got != "1 1m0s  fetch feed Go: the server answered 502 Bad Gateway" || asked["Go"] != 1 {
			t.Errorf("the failing feed: %q, asked %d times", got, asked["Go"])
		}
		if got := k.state("PyPI"); got != "0 6h0m0s" || strings.Join(k.told, " ") != "PyPI kev epss" {
			t.Errorf("the others: %q, told of %v", got, k.told)
		}
		if !strings.Contains(k.log.String(), "502") {
			t.Errorf("the failure is not in the log: %s", k.log.String())
		}
		for i, want := range []string{"2 2m0s", "3 4m0s", "4 8m0s", "5 16m0s", "6 32m0s", "7 1h0m0s", "8 1h0m0s"} {
			k.step([]*advisory.Keeper{a, b}[i%2], time.Hour)
			if got := k.state("Go"); !strings.HasPrefix(got, want) {
				t.Errorf("retry %d: %q, want %q", i, got, want)
			}
		}
		broken, k.told = false, nil
		k.step(b, time.Hour)
		if got := k.state("Go"); got != "0 6h0m0s" || !strings.Contains(strings.Join(k.told, " "), "Go") {
			t.Errorf("when it works again: %q, told of %v", got, k.told)
		}
		// Nothing is due; when it is, nothing has changed. The manual way does not wait.
		asked["Go"] = 0
		k.step(a, time.Hour)
		k.step(a, 6*time.Hour)
		if err := k.idx.Hurry(t.Context()); err != nil {
			t.Fatal(err)
		}
		k.step(b, 0)
		k.step(a, 0)
		if asked["Go"] != 2 {
			t.Errorf("asked %d times, want once when due and once when hurried", asked["Go"])
		}
	})
}

// TestFeedsDueTogetherAreSettledTogether, or not at all: then they are taken again, and
// nothing of them is lost.
func TestFeedsDueTogetherAreSettledTogether(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		k := newKeepers(t, st, bucket(t))
		a := k.node("a")
		k.refuses = errors.New("no")
		k.step(a, 0)
		if got := k.state("Go"); k.times != 1 || len(k.told) < 3 || !strings.HasPrefix(got, "1 1m0s") {
			t.Errorf("told %d times, of %v; Go: %q", k.times, k.told, got)
		}
		left, err := k.idx.Unsettled(t.Context())
		if err != nil || len(left) < 2 {
			t.Errorf("after a refusal %d feeds are unsettled, %v", len(left), err)
		}
		k.refuses, k.told = nil, nil
		k.step(a, time.Minute)
		if got := k.state("Go"); k.times != 2 || len(k.told) < 3 || got != "0 6h0m0s" {
			t.Errorf("told %d times, again of %v; Go: %q", k.times, k.told, got)
		}
		if left, err = k.idx.Unsettled(t.Context()); err != nil || len(left) != 0 {
			t.Errorf("unsettled: %+v, %v", left, err)
		}
	})
}

// TestOneOfSeveralTakesAFeed: nodes that look at once do the work once, and the work
// of one that died is taken up when its claim ends.
func TestOneOfSeveralTakesAFeed(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		dir := bucket(t)
		arrived, release := make(chan struct{}, 10), make(chan struct{})
		srv := serve(t, dir, "/Go/all.zip", func(w http.ResponseWriter, r *http.Request) {
			arrived <- struct{}{}
			select {
			case <-release:
			case <-r.Context().Done():
				return
			}
			http.FileServer(http.Dir(dir)).ServeHTTP(w, r)
		})
		k := newKeepers(t, st, srv.URL)
		dying, die := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		first := k.node("a")
		go func() { ended <- first.Step(dying) }()
		<-arrived
		second := k.node("b")
		k.step(second, 0) // takes PyPI and the scores, and leaves Go to the first
		if got := k.state("Go"); !strings.HasSuffix(got, " a") {
			t.Errorf("nobody is seen at work: %q", got)
		}
		if got := k.state("PyPI"); got != "0 6h0m0s" {
			t.Errorf("the rest waits for one slow feed: %q", got)
		}
		die() // it goes in order, and says so
		if err := <-ended; err == nil {
			t.Error("an interrupted step ends well")
		}
		close(release)
		k.step(second, 0)
		if got := k.state("Go"); got != "0 6h0m0s" {
			t.Errorf("after the first has gone: %q", got)
		}
	})
}

func TestKeeperOfAFolder(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		dir := filepath.Join(t.TempDir(), "feeds")
		k := newKeepers(t, st, dir)
		a := k.node("a")
		a.Options.Ecosystems = nil
		k.step(a, 0)
		if got := k.state("*"); !strings.HasPrefix(got, "1 1m0s") || !strings.Contains(got, "no advisories at") {
			t.Errorf("the folder is not there: %q", got)
		}
		if err := os.CopyFS(dir, os.DirFS(bucket(t))); err != nil {
			t.Fatal(err)
		}
		k.step(a, time.Minute)
		if k.state("*") != "0 6h0m0s" || k.state("Debian") != "0 6h0m0s" {
			t.Errorf("the folder is there: %q, %q", k.state("*"), k.state("Debian"))
		}
		if err := os.RemoveAll(filepath.Join(dir, "Debian")); err != nil {
			t.Fatal(err)
		}
		k.step(a, 6*time.Hour)
		if got := k.state("Debian"); got != "not there" {
			t.Errorf("a feed that is gone is still tried: %q", got)
		}
		if s, err := k.idx.Snapshot(t.Context()); err != nil || len(s.Feeds) != 5 {
			t.Errorf("what was held of it is gone: %+v, %v", s, err)
		}
		// Another place: everything is due.
		elsewhere := k.node("a")
		elsewhere.From, elsewhere.Options.Ecosystems = bucket(t), nil
		k.step(elsewhere, 0)
		if got := k.state("Debian"); got != "0 6h0m0s" {
			t.Errorf("the new place was not looked at: %q", got)
		}
	})
}

// TestAServerThatCameBackDoesNotWait: on SQLite there is no other that could hold
// what was claimed before.
func TestAServerThatCameBackDoesNotWait(t *testing.T) {
	dir := bucket(t)
	arrived, block := make(chan struct{}, 10), true
	var mu sync.Mutex
	srv := serve(t, dir, "/Go/all.zip", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		wait := block
		block = false
		mu.Unlock()
		if wait {
			arrived <- struct{}{}
			<-r.Context().Done()
			return
		}
		http.FileServer(http.Dir(dir)).ServeHTTP(w, r)
	})
	k := newKeepers(t, storetest.SQLite(t), srv.URL)
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	dead := k.node("a")
	go func() { ended <- dead.Step(ctx) }()
	<-arrived // and nothing more is heard of it
	back := k.node("a")
	back.Beat = 10 * time.Millisecond
	go func() { ended <- back.Run(ctx) }()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for range 1000 {
		if k.state("Go") == "0 6h0m0s" {
			break
		}
		<-look.C
	}
	if got := k.state("Go"); got != "0 6h0m0s" {
		t.Errorf("it waits for itself: %q", got)
	}
	end()
	<-ended
	<-ended
}
