// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package sqlite_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/store/sqlite"
)

// machine is a machine whose clocks the test sets.
type machine struct {
	wall time.Time
	boot time.Duration
}

func (m *machine) options() sqlite.Options {
	return sqlite.Options{Wall: func() time.Time { return m.wall }, Boot: func() time.Duration { return m.boot }}
}

// pass lets time pass on both clocks.
func (m *machine) pass(d time.Duration) { m.wall, m.boot = m.wall.Add(d), m.boot+d }

func open(t *testing.T, path string, m *machine) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), path, m.options())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// commit makes the store write its clock down.
func commit(t *testing.T, s *sqlite.Store) {
	t.Helper()
	if err := s.Update(t.Context(), func(store.Tx) error { return nil }); err != nil {
		t.Fatal(err)
	}
}

// TestClockSteps is invariant 5 on one machine: the store's clock is not the wall.
func TestClockSteps(t *testing.T) {
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	m := &machine{wall: noon, boot: time.Hour}
	path := filepath.Join(t.TempDir(), "goldkeep.db")
	s := open(t, path, m)
	expect := func(when string, want time.Time) {
		t.Helper()
		if got := s.Now(); !got.Equal(want) {
			t.Errorf("%s: now = %v, want %v", when, got, want)
		}
	}
	expect("at start", noon)
	m.pass(time.Minute)
	expect("a minute later", noon.Add(time.Minute))

	m.wall = noon.Add(-24 * time.Hour)
	m.boot += time.Minute
	expect("the wall set back a day", noon.Add(2*time.Minute))

	m.wall = noon.Add(365 * 24 * time.Hour)
	m.boot += time.Minute
	expect("the wall set forward a year", noon.Add(3*time.Minute))

	m.wall = noon.Add(3*time.Minute + 30*time.Second)
	expect("NTP finds us half a minute slow", noon.Add(3*time.Minute+30*time.Second))
	m.wall = noon.Add(3 * time.Minute)
	expect("and does not take it back", noon.Add(3*time.Minute+30*time.Second))

	m.pass(time.Hour)
	commit(t, s)
	last := s.Now()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	m.wall, m.boot = noon.Add(-48*time.Hour), 0 // restarted with a dead clock battery
	s = open(t, path, m)
	if now := s.Now(); now.Before(last.Truncate(time.Millisecond)) {
		t.Errorf("after a restart the clock stands at %v, before %v", now, last)
	}
	m.boot += time.Hour
	if now := s.Now(); now.Sub(last) < time.Hour-time.Millisecond {
		t.Errorf("the clock does not run: %v after %v", now, last)
	}
}

func TestSecondServerIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "goldkeep.db")
	open(t, path, &machine{wall: time.Now()})
	_, err := sqlite.Open(t.Context(), path, sqlite.Options{})
	if !fault.Is(err, fault.Conflict) {
		t.Errorf("a second process opened the database: %v", err)
	}
}

func TestSharedFileTakesTwo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "advisories.db")
	for range 2 {
		s, err := sqlite.Open(t.Context(), path, sqlite.Options{Shared: true})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		commit(t, s)
		if s.Exclusive() {
			t.Error("a shared store must not be cached above")
		}
	}
}
