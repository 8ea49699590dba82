// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package postgres is the store beyond one machine: every node is active, and
// the database is the only thing they share.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sys/unix"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store"
)

// Store is a pool of connections to one database.
type Store struct {
	pool    *pgxpool.Pool
	queries sync.Map // query with "?" -> query with "$1"

	mu      sync.Mutex
	base    time.Time     // the database's clock when last asked
	at      time.Duration // the boot clock then
	last    time.Time
	refresh func()

	presence presence

	migrating sync.Mutex // or callers of one node could hold all connections while one needs a second
}

var _ store.Store = (*Store)(nil)

// Open connects to a database given as a URL or key=value string (see libpq).
// The connection string may hold a password and never appears in errors.
func Open(ctx context.Context, dsn string) (*Store, error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, fault.New(fault.Invalid, "the PostgreSQL connection string is not understood").
			WithHint("write postgres://user@host:5432/database?sslmode=verify-full, and put the password in PGPASSWORD or a pgpass file")
	}
	cfg.MaxConns = max(cfg.MaxConns, 4) // Migrate needs two at once
	cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheStatement
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "connect to PostgreSQL: %s", plain(err))
	}
	s := &Store{pool: pool}
	s.refresh = func() {
		calm, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = s.askTime(calm)
		_ = s.presence.show(calm) // a broken connection is made again
	}
	if err := s.askTime(ctx); err != nil {
		pool.Close()
		return nil, fault.New(fault.Unavailable, "connect to PostgreSQL at %s: %s", cfg.ConnConfig.Host, plain(err)).
			WithHint("check that the server runs and that the user may log in")
	}
	s.presence.config = cfg.ConnConfig.Copy()
	if err := s.presence.show(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	return s, nil
}

// plain is an error's text without the connection string pgx puts in front.
func plain(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Message
	}
	text := err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 {
		return text[i+2:]
	}
	return text
}

// View runs fn in a read-only, serializable transaction.
func (s *Store) View(ctx context.Context, fn func(store.Tx) error) error {
	return s.retry(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, fn)
}

// Update runs fn in a serializable transaction, again where another one got in
// its way.
func (s *Store) Update(ctx context.Context, fn func(store.Tx) error) error {
	return s.retry(ctx, pgx.TxOptions{IsoLevel: pgx.Serializable}, fn)
}

// maxTries bounds how often a transaction that keeps colliding is run.
const maxTries = 30

func (s *Store) retry(ctx context.Context, opts pgx.TxOptions, fn func(store.Tx) error) error {
	for try := 1; ; try++ {
		err := s.once(ctx, opts, fn)
		if err == nil || !collided(err, try) {
			return err
		}
		if try == maxTries {
			return fault.New(fault.Unavailable, "the transaction collided with others %d times", try)
		}
		pause := time.Duration(rand.Int64N(int64(time.Millisecond) * int64(min(try*try, 100))))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// collided reports a serialization failure or deadlock (SQLSTATE 40001, 40P01),
// or, in the first tries, a row or table that exists already: when two
// transactions insert the same, the second one sees it when run again.
func collided(err error, try int) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return false
	}
	switch pg.Code {
	case "40001", "40P01":
		return true
	case "23505", "42P07":
		return try < 4
	}
	return false
}

func (s *Store) once(ctx context.Context, opts pgx.TxOptions, fn func(store.Tx) error) error {
	var t *tx
	err := pgx.BeginTxFunc(ctx, s.pool, opts, func(ptx pgx.Tx) error {
		t = &tx{store: s, tx: ptx}
		defer func() { t.ended = true }()
		return fn(t)
	})
	if err != nil {
		return classify(err)
	}
	for _, fn := range t.after {
		fn()
	}
	return nil
}

// classify makes a lost or refused connection fault.Unavailable.
func classify(err error) error {
	var known *fault.Error
	var pg *pgconn.PgError
	var conn *pgconn.ConnectError
	switch {
	case errors.As(err, &known), errors.Is(err, store.ErrNoRows):
		return err
	case errors.As(err, &conn), pgconn.Timeout(err):
		return fault.New(fault.Unavailable, "PostgreSQL does not answer: %s", plain(err))
	case errors.As(err, &pg) && (strings.HasPrefix(pg.Code, "08") || strings.HasPrefix(pg.Code, "57") || strings.HasPrefix(pg.Code, "53")):
		return fault.New(fault.Unavailable, "PostgreSQL: %s", pg.Message)
	}
	return err
}

var blob = regexp.MustCompile(`\bBLOB\b`)

// migrateLock is the advisory lock that lets one node migrate at a time: making
// tables is not serializable in PostgreSQL. The number is "goldkeep" in ASCII.
const migrateLock int64 = 0x676f6c646b656570

// Migrate applies a room's steps that have not been applied yet. Nodes that start
// together take turns.
func (s *Store) Migrate(ctx context.Context, room string, steps []string) error {
	s.migrating.Lock()
	defer s.migrating.Unlock()
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return classify(err)
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", migrateLock); err != nil {
		return classify(err)
	}
	err = store.ApplySteps(ctx, s, room, steps, s.Adapt)
	_, unlock := conn.Exec(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", migrateLock)
	return errors.Join(err, unlock)
}

// Exclusive reports that other nodes may change the data at any time.
func (s *Store) Exclusive() bool { return false }

// Close waits for running transactions and closes all connections.
func (s *Store) Close() error {
	s.pool.Close()
	s.presence.close()
	return nil
}

// timeFresh is for how long a reading of the database's clock is carried on by
// this machine's own (boot) clock.
const timeFresh = 10 * time.Second

// Now is the database's clock, the same for every node: asked every timeFresh,
// carried on by the boot clock between.
func (s *Store) Now() time.Time {
	s.mu.Lock()
	stale := bootTime()-s.at > timeFresh
	s.mu.Unlock()
	if stale {
		s.refresh() // where it does not answer, the boot clock carries on
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.base.Add(bootTime() - s.at)
	if now.Before(s.last) {
		now = s.last
	}
	s.last = now
	return now.UTC()
}

func (s *Store) askTime(ctx context.Context) error {
	var ms int64
	err := s.pool.QueryRow(ctx, "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint").Scan(&ms)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.base, s.at = store.Time(ms), bootTime()
	return nil
}

func bootTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// dollars turns "?" placeholders into "$1", "$2", ... once per query text.
func (s *Store) dollars(query string) string {
	if known, ok := s.queries.Load(query); ok {
		return known.(string)
	}
	var b strings.Builder
	n := 0
	quoted := false
	for _, r := range query {
		switch {
		case r == '\'':
			quoted = !quoted
			b.WriteRune(r)
		case r == '?' && !quoted:
			n++
			fmt.Fprintf(&b, "$%d", n)
		default:
			b.WriteRune(r)
		}
	}
	s.queries.Store(query, b.String())
	return b.String()
}
