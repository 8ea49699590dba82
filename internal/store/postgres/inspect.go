// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"

	"github.com/goldkeep/goldkeep/internal/store"
)

var _ store.Inspector = (*Store)(nil)

// Tables implements store.Inspector: those of the schema that is searched first.
func (s *Store) Tables(ctx context.Context, tx store.Tx) ([]store.Table, error) {
	return store.ReadTables(ctx, tx, `SELECT c.table_name, c.column_name, c.data_type = 'bytea' FROM information_schema.columns AS c
		JOIN information_schema.tables AS t ON t.table_schema = c.table_schema AND t.table_name = c.table_name
		WHERE c.table_schema = current_schema() AND t.table_type = 'BASE TABLE' ORDER BY c.table_name COLLATE "C", c.ordinal_position`)
}

// Adapt implements store.Inspector.
func (s *Store) Adapt(step string) string { return blob.ReplaceAllString(step, "BYTEA") }
