// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// presence tells the other nodes of a database that this one is there: a connection
// of its own, with a lock that all may share. Whoever wants to be alone needs that
// lock for itself. It ends with the connection, so also with a crash.
type presence struct {
	mu     sync.Mutex
	config *pgx.ConnConfig
	conn   *pgx.Conn
	alone  bool
}

// The lock is of one schema of one database. The class is "gkee" in ASCII.
const (
	presenceClass = 0x676b6565
	ourSchema     = "hashtext(current_database() || '.' || current_schema())"
)

// show takes the shared lock, on a new connection where there is none or it broke.
func (p *presence) show(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil {
		if p.conn.Ping(ctx) == nil {
			return nil
		}
		_ = p.conn.Close(ctx) // it is broken already
		p.conn, p.alone = nil, false
	}
	conn, err := pgx.ConnectConfig(ctx, p.config)
	if err != nil {
		return classify(err)
	}
	got, err := lock(ctx, conn, "pg_try_advisory_lock_shared")
	if err == nil && !got {
		err = fault.New(fault.Unavailable, "another server of this database is restoring a snapshot").WithHint("start this one when that is done")
	}
	if err != nil {
		return errors.Join(err, conn.Close(ctx))
	}
	p.conn = conn
	return nil
}

func lock(ctx context.Context, conn *pgx.Conn, function string) (got bool, err error) {
	err = conn.QueryRow(ctx, "SELECT "+function+"($1, "+ourSchema+")", presenceClass).Scan(&got)
	if err != nil {
		return false, classify(err)
	}
	return got, nil
}

func (p *presence) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil {
		_ = p.conn.PgConn().Conn().Close() // the lock goes with the connection
		p.conn = nil
	}
}

// claim asks for the lock of whoever is alone. The database takes a moment to see that
// a server has just ended, so it is asked for a second.
func (p *presence) claim(ctx context.Context) (got bool, err error) {
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for range 20 {
		if got, err = lock(ctx, p.conn, "pg_try_advisory_lock"); got || err != nil {
			break
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-again.C:
		}
	}
	return got, err
}

// Alone makes sure that no other node uses the database until release is called or
// the store is closed. fault.Conflict: some do.
func (s *Store) Alone(ctx context.Context) (release func(), err error) {
	if err := s.presence.show(ctx); err != nil {
		return nil, err
	}
	p := &s.presence
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn == nil || p.alone {
		return nil, fault.New(fault.Conflict, "the database is in use")
	}
	// Both locks can be held by one connection, and the first is given up only for the
	// second: nobody comes in between.
	got, err := p.claim(ctx)
	if err != nil {
		return nil, err
	}
	if !got {
		var others int
		err := p.conn.QueryRow(ctx, `SELECT count(DISTINCT pid) FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid <> pg_backend_pid()
			AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
			AND classid::bigint = $1 AND objid::bigint = `+ourSchema+`::bigint & 4294967295`, presenceClass).Scan(&others)
		if err != nil {
			return nil, classify(err)
		}
		return nil, fault.New(fault.Conflict, "%d other servers use this database", others).
			WithHint("stop them, restore, and start them again: they would go on with what is no longer there")
	}
	p.alone = true
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.conn == nil || !p.alone {
			return
		}
		p.alone = false
		calm, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if _, err := lock(calm, p.conn, "pg_advisory_unlock"); err != nil {
			_ = p.conn.Close(calm) // shown again with the next look at the clock
			p.conn = nil
		}
	}, nil
}
