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
// the other and commits what is waiting as one group.
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
//
// Nearly every job succeeds, or fails before it has written anything; a savepoint
// for each costs a third of the writer's time (every page it touches is copied). So
// the jobs run without; where one fails that has written, the group is rolled back
// and run again, each job in a savepoint of its own.
func (s *Store) group(ctx context.Context, c *conn, first *job) {
	if _, err := c.exec(ctx, "BEGIN IMMEDIATE"); err != nil {
		first.done <- broken("begin", err)
		return
	}
	jobs, clean := []*job{first}, first.run(c)
	for clean && len(jobs) < maxGroup {
		j := s.waiting()
		if j == nil {
			break
		}
		jobs, clean = append(jobs, j), j.run(c)
	}
	var err error
	if !clean {
		_, _ = c.exec(ctx, "ROLLBACK") // may have happened by itself
		if len(jobs) == 1 {
			first.done <- first.err
			return
		}
		err = again(ctx, c, jobs)
	}
	if err == nil {
		err = s.clock.save(ctx, c)
	}
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

// again runs jobs anew in a transaction that it begins, so that the failure of one
// leaves the others untouched. An error means that the transaction is over: SQLite
// ends it by itself where the disk is full or broken. What came after would be
// committed apart from the rest, and nobody told.
func again(ctx context.Context, c *conn, jobs []*job) error {
	if _, err := c.exec(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	for _, j := range jobs {
		if err := j.apart(ctx, c); err != nil {
			return err
		}
	}
	return nil
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

// run executes the job and reports whether the transaction can go on: the job has
// succeeded, or changed nothing.
func (j *job) run(c *conn) bool {
	j.tx = &tx{conn: c}
	j.err = j.work(j.tx)
	return j.err == nil || !j.tx.wrote
}

// apart executes the job in a savepoint of its own. The error is not the job's: the
// transaction cannot go on.
func (j *job) apart(ctx context.Context, c *conn) error {
	if _, err := c.exec(ctx, "SAVEPOINT job"); err != nil {
		return err
	}
	if !j.run(c) {
		if _, err := c.exec(ctx, "ROLLBACK TO job"); err != nil {
			return err
		}
	}
	_, err := c.exec(ctx, "RELEASE job")
	return err
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
