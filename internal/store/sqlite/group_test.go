// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package sqlite_test

import (
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/store/sqlite"
)

// TestTransactionLostWithinAGroup lets the transaction of a group end by itself, as
// SQLite does where the disk is full: whoever is told of an error has changed nothing,
// and what runs after a commit runs for every change that was made.
func TestTransactionLostWithinAGroup(t *testing.T) { synctest.Test(t, lostWithinAGroup) }

func lostWithinAGroup(t *testing.T) {
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "goldkeep.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Migrate(t.Context(), "group", []string{"CREATE TABLE thing (n BIGINT PRIMARY KEY)"}); err != nil {
		t.Fatal(err)
	}
	const jobs = 20
	runs, errs, after := make([]int, jobs), make([]error, jobs), make([]bool, jobs)
	start := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() { // the rest waits behind this one, and is one group
		_ = s.Update(t.Context(), func(store.Tx) error { <-start; return nil })
	})
	for n := range jobs {
		all.Go(func() {
			errs[n] = s.Update(t.Context(), func(tx store.Tx) error {
				tx.AfterCommit(func() { after[n] = true })
				runs[n]++
				if n%5 == 2 && runs[n] > 1 {
					_, err := tx.Exec(t.Context(), "ROLLBACK")
					return errors.Join(err, errors.New("the disk is full"))
				}
				_, err := tx.Exec(t.Context(), "INSERT INTO thing (n) VALUES (?)", n)
				if n == jobs-1 && err == nil { // so the group is run again
					err = errors.New("refused")
				}
				return err
			})
		})
	}
	synctest.Wait()
	close(start)
	all.Wait()
	for n := range jobs {
		kept := 0
		err := s.View(t.Context(), func(tx store.Tx) error {
			return tx.QueryRow(t.Context(), "SELECT COUNT(*) FROM thing WHERE n = ?", n).Scan(&kept)
		})
		if err != nil {
			t.Fatal(err)
		}
		if (errs[n] == nil) != (kept == 1) || (errs[n] == nil) != after[n] {
			t.Errorf("job %d: error %v, kept %d, ran after the commit: %t", n, errs[n], kept, after[n])
		}
	}
}
