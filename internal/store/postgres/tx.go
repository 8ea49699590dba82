// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/goldkeep/goldkeep/internal/store"
)

type tx struct {
	store *Store
	tx    pgx.Tx
	after []func()
	ended bool
}

var errEnded = errors.New("the transaction has ended")

func (t *tx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	if t.ended {
		return 0, errEnded
	}
	tag, err := t.tx.Exec(ctx, t.store.dollars(query), args...)
	return tag.RowsAffected(), err
}

func (t *tx) Query(ctx context.Context, query string, args ...any) (store.Rows, error) {
	if t.ended {
		return nil, errEnded
	}
	found, err := t.tx.Query(ctx, t.store.dollars(query), args...)
	if err != nil {
		return nil, err
	}
	return rows{found}, nil
}

func (t *tx) QueryRow(ctx context.Context, query string, args ...any) store.Row {
	if t.ended {
		return row{err: errEnded}
	}
	return row{row: t.tx.QueryRow(ctx, t.store.dollars(query), args...)}
}

func (t *tx) AfterCommit(fn func()) { t.after = append(t.after, fn) }

type row struct {
	row pgx.Row
	err error
}

func (r row) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	err := r.row.Scan(dest...)
	if errors.Is(err, pgx.ErrNoRows) {
		return store.ErrNoRows
	}
	return err
}

type rows struct{ pgx.Rows }

func (r rows) Close() error {
	r.Rows.Close()
	return r.Rows.Err()
}
