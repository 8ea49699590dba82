// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"

	"github.com/goldkeep/goldkeep/internal/store"
)

var _ store.Inspector = (*Store)(nil)

// Tables implements store.Inspector. The clock is the store's own.
func (s *Store) Tables(ctx context.Context, tx store.Tx) ([]store.Table, error) {
	return store.ReadTables(ctx, tx, `SELECT t.name, c.name, c.type = 'BLOB' FROM sqlite_schema AS t, pragma_table_info(t.name) AS c
		WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%' AND t.name <> 'store_clock' ORDER BY t.name, c.cid`)
}

// Adapt implements store.Inspector: SQL is written in this dialect.
func (s *Store) Adapt(step string) string { return step }
