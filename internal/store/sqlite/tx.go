// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/goldkeep/goldkeep/internal/store"
)

// conn is one connection with its prepared statements.
type conn struct {
	sql   *sql.Conn
	stmts map[string]*sql.Stmt
}

// maxStatements bounds the prepared statements of one connection.
const maxStatements = 256

func (c *conn) close() error {
	for _, st := range c.stmts {
		_ = st.Close()
	}
	return c.sql.Close()
}

func (c *conn) stmt(ctx context.Context, query string) (*sql.Stmt, error) {
	if st, ok := c.stmts[query]; ok {
		return st, nil
	}
	if len(c.stmts) >= maxStatements {
		for _, st := range c.stmts {
			_ = st.Close()
		}
		clear(c.stmts)
	}
	st, err := c.sql.PrepareContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("prepare statement: %w", err)
	}
	c.stmts[query] = st
	return st, nil
}

func (c *conn) exec(ctx context.Context, query string, args ...any) (int64, error) {
	st, err := c.stmt(ctx, query)
	if err != nil {
		return 0, err
	}
	res, err := st.ExecContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func (c *conn) view(ctx context.Context, fn func(store.Tx) error) error {
	calm := context.WithoutCancel(ctx) // a cancelled statement would poison the connection
	if _, err := c.exec(calm, "BEGIN"); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	t := &tx{conn: c}
	err := t.run(ctx, fn)
	if _, end := c.exec(calm, "ROLLBACK"); end != nil && err == nil {
		err = fmt.Errorf("end of view: %w", end)
	}
	return err
}

// tx is a transaction on a connection.
type tx struct {
	conn  *conn
	after []func()
	ended bool
	wrote bool // something may have been changed
}

var errEnded = errors.New("the transaction has ended")

// run calls fn and turns a panic into an error: the connection is shared.
func (t *tx) run(ctx context.Context, fn func(store.Tx) error) (err error) {
	defer func() {
		t.ended = true
		if r := recover(); r != nil {
			err = fmt.Errorf("transaction panicked: %v", r)
		}
	}()
	if err := ctx.Err(); err != nil {
		return err
	}
	return fn(t)
}

func (t *tx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	if t.ended {
		return 0, errEnded
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	t.wrote = true
	return t.conn.exec(context.WithoutCancel(ctx), query, args...)
}

func (t *tx) Query(ctx context.Context, query string, args ...any) (store.Rows, error) {
	if t.ended {
		return nil, errEnded
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	calm := context.WithoutCancel(ctx)
	st, err := t.conn.stmt(calm, query)
	if err != nil {
		return nil, err
	}
	return st.QueryContext(calm, args...)
}

func (t *tx) QueryRow(ctx context.Context, query string, args ...any) store.Row {
	rows, err := t.Query(ctx, query, args...)
	return firstRow{rows, err}
}

func (t *tx) AfterCommit(fn func()) { t.after = append(t.after, fn) }

// firstRow scans the first row of a result.
type firstRow struct {
	rows store.Rows
	err  error
}

func (r firstRow) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	defer func() { _ = r.rows.Close() }()
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return store.ErrNoRows
	}
	return r.rows.Scan(dest...)
}
