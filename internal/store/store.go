// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package store gives the other rooms transactions, a dialect and migrations.
//
// It holds no queries: each room owns its tables and its SQL. Two variants,
// store/sqlite (one machine) and store/postgres (beyond), pass one conformance
// suite, store/storetest. Whatever is written here is readable to whoever
// steals the database: secrets and their names go through the barrier first.
//
// SQL is written once for both variants: placeholders are "?", byte columns are
// declared BLOB (PostgreSQL: BYTEA), integers BIGINT, times BIGINT in
// milliseconds since 1970 (see Millis), JSON in TEXT, and upserts use
// ON CONFLICT ... DO UPDATE.
package store

import (
	"context"
	"errors"
	"time"
)

// ErrNoRows is what Row.Scan returns when a query had no result.
var ErrNoRows = errors.New("no rows")

// Store is a transactional database.
//
// All transactions are serializable: it looks as if they ran one after the
// other. A function given to View or Update may be run more than once (after a
// serialization failure or a lost connection before commit), so it must have no
// effect outside its transaction; use Tx.AfterCommit for those.
type Store interface {
	// View runs fn in a read-only transaction that sees one point in time.
	View(ctx context.Context, fn func(Tx) error) error

	// Update runs fn in a read-write transaction. When it returns nil the
	// changes are durable (fsync has returned). When fn returns an error nothing
	// is changed and that error is returned.
	Update(ctx context.Context, fn func(Tx) error) error

	// Migrate brings a room's tables to the newest version: steps[0] is version
	// 1, and so on. Steps already applied are not run again; each runs in a
	// transaction of its own. Steps are never edited once released.
	Migrate(ctx context.Context, room string, steps []string) error

	// Now is the store's clock: it does not go backwards, not even across a
	// restart, and on PostgreSQL is the same for every node. All lifetimes are
	// measured on it.
	Now() time.Time

	// Exclusive reports whether this process is the only one that can change
	// the data (SQLite: yes), so that caches above may trust what they hold.
	Exclusive() bool

	// Close waits for running transactions and releases everything.
	Close() error
}

// Tx is a running transaction. It must not be used after its function returned,
// nor by two goroutines at once.
type Tx interface {
	// Exec runs a statement and returns the number of rows it changed.
	Exec(ctx context.Context, query string, args ...any) (int64, error)
	// Query runs a query. The caller closes the rows.
	Query(ctx context.Context, query string, args ...any) (Rows, error)
	// QueryRow runs a query with at most one row of interest.
	QueryRow(ctx context.Context, query string, args ...any) Row
	// AfterCommit registers fn to run once the transaction is durable, before
	// Update returns. It does not run when the transaction fails.
	AfterCommit(fn func())
}

// Row is one result row; Scan returns ErrNoRows where there is none.
type Row interface {
	Scan(dest ...any) error
}

// Rows are the results of a query.
type Rows interface {
	Next() bool
	Scan(dest ...any) error
	Err() error
	Close() error
}

// Millis is how times are stored: milliseconds since 1970, 0 for "none".
func Millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// Time is the reverse of Millis, in UTC.
func Time(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// Column returns the rows of a query for one column.
func Column[T any](ctx context.Context, tx Tx, query string, args ...any) (all []T, err error) {
	err = Each(ctx, tx, func(r Row) error {
		var v T
		err := r.Scan(&v)
		all = append(all, v)
		return err
	}, query, args...)
	return all, err
}

// Each runs a query and calls fn for every row; fn scans it.
func Each(ctx context.Context, tx Tx, fn func(Row) error, query string, args ...any) error {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	for rows.Next() {
		if err := fn(rows); err != nil {
			_ = rows.Close()
			return err
		}
	}
	if err := rows.Err(); err != nil {
		_ = rows.Close()
		return err
	}
	return rows.Close()
}
