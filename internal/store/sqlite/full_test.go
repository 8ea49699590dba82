// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package sqlite_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/store/sqlite"
)

// TestFullDisk fills a small file system: a write then fails with a clear error
// and changes nothing, reads go on, and writes go on once there is space.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Fatalf("this test mounts a tmpfs and must run as root: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	s, err := sqlite.Open(t.Context(), filepath.Join(dir, "goldkeep.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Migrate(t.Context(), "full", []string{"CREATE TABLE thing (n BIGINT PRIMARY KEY, body BLOB)"}); err != nil {
		t.Fatal(err)
	}
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	add := func(n int) error {
		return s.Update(t.Context(), func(tx store.Tx) error {
			_, err := tx.Exec(t.Context(), "INSERT INTO thing (n, body) VALUES (?, ?)", n, make([]byte, 100<<10))
			return err
		})
	}
	kept := 0
	for err = add(kept); err == nil; err = add(kept) {
		if kept++; kept > 100 {
			t.Fatal("the disk never filled")
		}
	}
	if !fault.Is(err, fault.Unavailable) {
		t.Errorf("a write to the full disk: %v (%v), want unavailable", err, fault.KindOf(err))
	}
	count := func() (n int) {
		err := s.View(t.Context(), func(tx store.Tx) error { return tx.QueryRow(t.Context(), "SELECT COUNT(*) FROM thing").Scan(&n) })
		if err != nil {
			t.Errorf("read on the full disk: %v", err)
		}
		return n
	}
	if got := count(); got != kept {
		t.Errorf("%d rows, want the %d that were acknowledged", got, kept)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := add(kept); err != nil {
		t.Errorf("a write with space again: %v", err)
	}
	if got := count(); got != kept+1 {
		t.Errorf("%d rows, want %d", got, kept+1)
	}
}
