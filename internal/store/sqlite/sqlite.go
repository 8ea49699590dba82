// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package sqlite is the embedded store: one file, one machine, nothing to
// operate. Writes from all goroutines are committed in groups by one writer, so
// that one fsync serves many; reads run beside it on connections of their own.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	_ "modernc.org/sqlite" // the driver, pure Go

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store"
)

// Options are the settings of a store. The zero value is right for a server.
type Options struct {
	// Shared allows several processes to use the file at once (the command line's
	// advisory database). It is slower: nothing may be cached above the store.
	Shared bool
	// Readers is the number of concurrent read transactions; 0 means 8.
	Readers int
	// Wall and Boot replace the machine's clocks in tests.
	Wall func() time.Time
	Boot func() time.Duration
}

// Store is an open database.
type Store struct {
	db      *sql.DB
	readers chan *conn
	all     []*conn
	jobs    chan *job
	quit    chan struct{}
	done    chan struct{}
	closing sync.Once
	lock    *os.File
	clock   *clock
	shared  bool
}

var _ store.Store = (*Store)(nil)

// Open opens or creates the database file; its folder must exist. A file that
// another process holds is fault.Conflict.
func Open(ctx context.Context, path string, o Options) (*Store, error) {
	if o.Readers <= 0 {
		o.Readers = 8
	}
	s := &Store{
		jobs: make(chan *job, 1024), quit: make(chan struct{}), done: make(chan struct{}),
		readers: make(chan *conn, o.Readers), shared: o.Shared,
	}
	if err := s.claim(path); err != nil {
		return nil, err
	}
	if err := s.connect(ctx, path, o); err != nil {
		s.release()
		return nil, err
	}
	return s, nil
}

// claim makes sure that no other process uses the file.
func (s *Store) claim(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fault.New(fault.Invalid, "open database: %w", err).WithHint("check that the folder %s exists and is yours", filepath.Dir(path))
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("close database: %w", err)
	}
	if s.shared {
		return nil
	}
	s.lock, err = os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open lock file: %w", err)
	}
	if err := unix.Flock(int(s.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = s.lock.Close()
		return fault.New(fault.Conflict, "the database %s is in use by another process", path).
			WithHint("stop the other server, or give this one its own data folder")
	}
	return nil
}

func (s *Store) connect(ctx context.Context, path string, o Options) error {
	pragmas := url.Values{"_pragma": {
		"journal_mode(WAL)", "synchronous(FULL)", "busy_timeout(30000)", "foreign_keys(1)",
		"cache_size(-16384)", "temp_store(MEMORY)", "trusted_schema(0)",
	}}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+pragmas.Encode())
	if err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	s.db = db
	writer, err := s.open(ctx)
	if err != nil {
		return err
	}
	for range o.Readers {
		c, err := s.open(ctx)
		if err != nil {
			return err
		}
		s.readers <- c
	}
	if s.clock, err = openClock(ctx, writer, o); err != nil {
		return err
	}
	go s.write(context.WithoutCancel(ctx), writer)
	return nil
}

func (s *Store) open(ctx context.Context) (*conn, error) {
	c, err := s.db.Conn(ctx)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "open database: %w", err)
	}
	opened := &conn{sql: c, stmts: map[string]*sql.Stmt{}}
	s.all = append(s.all, opened)
	return opened, nil
}

// View runs fn in a read-only transaction on a connection of its own.
func (s *Store) View(ctx context.Context, fn func(store.Tx) error) error {
	select {
	case <-s.quit:
		return fault.New(fault.Unavailable, "the store is closed")
	case <-ctx.Done():
		return ctx.Err()
	case c := <-s.readers:
		defer func() { s.readers <- c }()
		return c.view(ctx, fn)
	}
}

// Update hands fn to the writer and waits until its group is on disk. fn must
// not call Update itself.
func (s *Store) Update(ctx context.Context, fn func(store.Tx) error) error {
	j := newJob(func(t *tx) error { return t.run(ctx, fn) })
	select {
	case <-s.quit:
		return fault.New(fault.Unavailable, "the store is closed")
	case <-ctx.Done():
		return ctx.Err()
	case s.jobs <- j:
	}
	select {
	case err := <-j.done:
		return err
	case <-s.done: // closed: the job either ran just before, or never
		select {
		case err := <-j.done:
			return err
		default:
			return fault.New(fault.Unavailable, "the store is closed")
		}
	}
}

// Migrate applies a room's steps that have not been applied yet.
func (s *Store) Migrate(ctx context.Context, room string, steps []string) error {
	return store.ApplySteps(ctx, s, room, steps, s.Adapt)
}

// Now is the store's clock; see clock.
func (s *Store) Now() time.Time { return s.clock.now() }

// Exclusive reports that no other process can change the file.
func (s *Store) Exclusive() bool { return !s.shared }

// Close ends the writer after the jobs it holds and closes every connection.
func (s *Store) Close() error {
	s.closing.Do(func() { close(s.quit) })
	<-s.done
	return s.release()
}

func (s *Store) release() error {
	var errs []error
	if s.db != nil {
		for _, c := range s.all {
			errs = append(errs, c.close())
		}
		errs = append(errs, s.db.Close())
		s.all, s.db = nil, nil
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
		s.lock = nil
	}
	return errors.Join(errs...)
}
