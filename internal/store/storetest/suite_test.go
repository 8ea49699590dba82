// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package storetest_test

import (
	"testing"

	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/store/storetest"
)

func TestSQLite(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return storetest.SQLite(t) })
}

func TestPostgres(t *testing.T) {
	if testing.Short() {
		t.Log("short run: PostgreSQL is left to the full run")
		return
	}
	storetest.Run(t, func(t *testing.T) store.Store { return storetest.Postgres(t) })
}
