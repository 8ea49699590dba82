// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goldkeep/goldkeep/internal/store"
)

// clock is the store's time. It starts at the later of the machine's clock and
// the last time written down, then runs on the kernel's boot-time clock (which
// counts suspended time, and which nobody can set). So a lifetime holds although
// somebody sets the machine's clock back or forward; a machine clock that runs
// ahead by up to maxDrift (NTP at work) is followed, a larger step only at the
// next start.
type clock struct {
	mu    sync.Mutex
	wall  func() time.Time
	boot  func() time.Duration
	start time.Time     // the store's time when opened
	since time.Duration // the boot clock then
	last  time.Time     // the latest time given out
	saved time.Time     // the latest time written down
}

const (
	maxDrift  = time.Minute
	saveEvery = time.Second // the clock is written with a commit at most this often
)

func openClock(ctx context.Context, c *conn, o Options) (*clock, error) {
	k := &clock{wall: o.Wall, boot: o.Boot}
	if k.wall == nil {
		k.wall = time.Now
	}
	if k.boot == nil {
		k.boot = bootTime
	}
	if _, err := c.exec(ctx, "CREATE TABLE IF NOT EXISTS store_clock (id INTEGER PRIMARY KEY, now BIGINT NOT NULL)"); err != nil {
		return nil, broken("prepare clock", err)
	}
	var ms int64
	t := &tx{conn: c}
	err := t.QueryRow(ctx, "SELECT now FROM store_clock WHERE id = 1").Scan(&ms)
	if err != nil && !errors.Is(err, store.ErrNoRows) {
		return nil, fmt.Errorf("read clock: %w", err)
	}
	k.since = k.boot()
	k.start = k.wall().Round(0)
	if written := store.Time(ms); written.After(k.start) {
		k.start = written
	}
	k.last = k.start
	return k, nil
}

// now never goes back.
func (k *clock) now() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.start.Add(k.boot() - k.since)
	if ahead := k.wall().Round(0).Sub(now); ahead > 0 && ahead <= maxDrift {
		k.start = k.start.Add(ahead)
		now = now.Add(ahead)
	}
	if now.Before(k.last) {
		now = k.last
	}
	k.last = now
	return now.UTC()
}

// save writes the time down as part of the running transaction.
func (k *clock) save(ctx context.Context, c *conn) error {
	now := k.now()
	if now.Sub(k.saved) < saveEvery {
		return nil
	}
	_, err := c.exec(ctx, "INSERT INTO store_clock (id, now) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET now = excluded.now", store.Millis(now))
	if err == nil {
		k.saved = now
	}
	return err
}

func bootTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0 // not on Linux: time then stands still at the wall clock's drift
	}
	return time.Duration(ts.Nano())
}
