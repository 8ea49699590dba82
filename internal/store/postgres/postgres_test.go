// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package postgres_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/store/postgres"
	"github.com/goldkeep/goldkeep/internal/store/storetest"
)

// TestNodesThatStartTogether migrate a new database at the same moment.
func TestNodesThatStartTogether(t *testing.T) {
	if testing.Short() {
		t.Log("short run: PostgreSQL is left to the full run")
		return
	}
	for range 3 {
		dsn := storetest.PostgresDSN(t)
		var nodes []store.Store
		for range 4 {
			nodes = append(nodes, storetest.PostgresAt(t, dsn))
		}
		var wg sync.WaitGroup
		for _, node := range nodes {
			wg.Go(func() {
				for room := range 5 {
					steps := []string{fmt.Sprintf("CREATE TABLE t%d (a BIGINT)", room), fmt.Sprintf("INSERT INTO t%d (a) VALUES (1)", room)}
					if err := node.Migrate(t.Context(), fmt.Sprint("room", room), steps); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		var n int
		err := nodes[0].View(t.Context(), func(tx store.Tx) error {
			return tx.QueryRow(t.Context(), "SELECT COUNT(*) FROM t4").Scan(&n)
		})
		if err != nil || n != 1 {
			t.Errorf("the last step ran %d times, %v", n, err)
		}
	}
}

// TestErrorsHideThePassword: a connection string never comes back in an error.
func TestErrorsHideThePassword(t *testing.T) {
	for _, dsn := range []string{
		"postgres://ada:hunter2@127.0.0.1:1/goldkeep?connect_timeout=1",
		"postgres://ada:hunter2@[bad",
		"host=127.0.0.1 port=1 user=ada password=hunter2 connect_timeout=1",
	} {
		_, err := postgres.Open(t.Context(), dsn)
		if err == nil {
			t.Fatalf("opened %d", len(dsn))
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error holds the password: %v", err)
		}
		if fault.HintOf(err) == "" {
			t.Errorf("no hint: %v", err)
		}
	}
}
