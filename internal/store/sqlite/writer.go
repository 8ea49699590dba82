// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"runtime"
	"time"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// job is one Update waiting for the writer.
type job struct {
	work func(*tx) error
	done chan error
	err  error
	tx   *tx
}

func newJob(work func(*tx) error) *job {
	return &job{work: work, done: make(chan error, 1)}
}

const (
	maxGroup  = 256              // jobs committed together
	clockBeat = 30 * time.Second // how often an idle store writes down its clock
)

// write is the only goroutine that changes the database. It runs jobs one after
// the other, each in a savepoint, and commits what is waiting as one group.
func (s *Store) write(ctx context.Context, c *conn) {
	defer close(s.done)
	beat := time.NewTicker(clockBeat)
	defer beat.Stop()
	for {
		select {
		case j := <-s.jobs:
			s.group(ctx, c, j)
		case <-beat.C:
			s.group(ctx, c, newJob(func(*tx) error { return nil }))
		case <-s.quit:
			for {
				select {
				case j := <-s.jobs:
					s.group(ctx, c, j)
				default:
					return
				}
			}
		}
	}
}

// group runs first and whatever else is waiting, commits, and answers them all.
func (s *Store) group(ctx context.Context, c *conn, first *job) {
	if _, err := c.exec(ctx, "BEGIN IMMEDIATE"); err != nil {
		first.done <- broken("begin", err)
		return
	}
	jobs := []*job{first}
	first.run(ctx, c)
	for len(jobs) < maxGroup {
		j := s.waiting()
		if j == nil {
			break
		}
		j.run(ctx, c)
		jobs = append(jobs, j)
	}
	err := s.clock.save(ctx, c)
	if err == nil {
		_, err = c.exec(ctx, "COMMIT")
	}
	if err != nil {
		err = broken("commit", err)
		_, _ = c.exec(ctx, "ROLLBACK") // may have happened by itself
	}
	for _, j := range jobs {
		j.finish(err)
	}
}

// waiting is the next job of a group, or nil. A commit costs far more than a job,
// so whoever is about to hand one in goes first; with nobody about, that takes no
// time.
func (s *Store) waiting() *job {
	if len(s.jobs) == 0 {
		runtime.Gosched()
	}
	select {
	case j := <-s.jobs:
		return j
	default:
		return nil
	}
}

// run executes the job in a savepoint of its own, so that its failure leaves the
// others of the group untouched.
func (j *job) run(ctx context.Context, c *conn) {
	if _, err := c.exec(ctx, "SAVEPOINT job"); err != nil {
		j.err = broken("begin", err)
		return
	}
	j.tx = &tx{conn: c}
	j.err = j.work(j.tx)
	if j.err != nil {
		if _, err := c.exec(ctx, "ROLLBACK TO job"); err != nil {
			j.err = broken("roll back", err)
		}
	}
	if _, err := c.exec(ctx, "RELEASE job"); err != nil && j.err == nil {
		j.err = broken("end", err)
	}
}

func (j *job) finish(commit error) {
	if j.err == nil {
		j.err = commit
	}
	if j.err == nil {
		for _, fn := range j.tx.after {
			fn()
		}
	}
	j.done <- j.err
}

// broken is what a caller gets when the database itself fails (a full disk, an
// unreadable file): nothing was changed, and trying again later may work.
func broken(what string, err error) error {
	return fault.New(fault.Unavailable, "%s transaction: %w", what, err).
		WithHint("look at the free space and the health of the disk that holds the database")
}
