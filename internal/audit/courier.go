// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// Courier brings copies of a log's records to one device: all of them, in order,
// each at least once. Its queue is the log itself, with a cursor in a file
// beside it, so that a device may be away for as long as the log is kept, and
// nobody who writes a record ever waits for it.
type Courier struct {
	path   string
	head   func() Anchor
	config DeviceConfig
	device Device
	now    func() time.Time

	mu    sync.Mutex
	state CourierState
}

// CourierState is how a courier is doing.
type CourierState struct {
	Name   string    `json:"name"`
	Type   string    `json:"type"`
	Sent   uint64    `json:"sent"`            // number of the last record the device has taken
	Behind uint64    `json:"behind"`          // records it has not taken yet
	Error  string    `json:"error,omitempty"` // why not, when it fails
	Since  time.Time `json:"since,omitzero"`  // since when it fails
}

// The beat of a courier, how long it waits after a failure (doubling), and how
// often it writes its cursor down while there is much to do.
const (
	courierBeat  = 200 * time.Millisecond
	longestPause = 15 * time.Second
	cursorBeat   = time.Second
)

// NewCourier makes a courier of the log at path for a device.
func NewCourier(path string, head func() Anchor, c DeviceConfig, now func() time.Time) (*Courier, error) {
	device, err := OpenDevice(c)
	if err != nil {
		return nil, err
	}
	return &Courier{path: path, head: head, config: c, device: device, now: now, state: CourierState{Name: c.Name, Type: c.Type}}, nil
}

// State tells how things stand.
func (c *Courier) State() CourierState {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.state
	if head := c.head().Seq; head > s.Sent {
		s.Behind = head - s.Sent
	}
	return s
}

// Run brings records until ctx ends.
func (c *Courier) Run(ctx context.Context) {
	f := &follower{path: c.path, after: c.readCursor()}
	defer f.close()
	defer func() { _ = c.device.Close() }()
	c.took(f.after)
	pause, saved, written := courierBeat, c.now(), f.after
	for ctx.Err() == nil {
		err := c.bring(ctx, f)
		wait := courierBeat
		if err != nil && ctx.Err() == nil {
			c.failed(err)
			_ = c.device.Close()
			wait, pause = pause, min(2*pause, longestPause)
			f.close()
			f.after = c.State().Sent // what was not taken is sent again
		} else {
			pause = courierBeat
		}
		if sent := c.State().Sent; sent != written && c.now().Sub(saved) > cursorBeat {
			c.writeCursor(sent)
			saved, written = c.now(), sent
		}
		if err == nil && f.after < c.head().Seq {
			continue // there is more already
		}
		rest(ctx, wait)
	}
	c.writeCursor(c.State().Sent)
}

func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// bring sends one batch, if there is one.
func (c *Courier) bring(ctx context.Context, f *follower) error {
	if c.head().Seq == f.after {
		return nil
	}
	lines, err := f.next()
	if err != nil || len(lines) == 0 {
		return err
	}
	if limit := c.device.MaxLine(); limit > 0 {
		for i, line := range lines {
			if len(line) > limit {
				lines[i] = standIn(line, limit)
			}
		}
	}
	if err := c.device.Send(ctx, lines); err != nil {
		return err
	}
	c.took(f.after)
	return nil
}

func (c *Courier) took(seq uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.Sent, c.state.Error, c.state.Since = seq, "", time.Time{}
}

func (c *Courier) failed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.Error == "" {
		c.state.Since = c.now()
	}
	c.state.Error = fault.Public(fault.New(fault.Unavailable, "%w", err))
}

// cursor is what a courier keeps: the last record its device has taken.
type cursor struct {
	Seq uint64 `json:"seq"`
}

func (c *Courier) cursorFile() string { return c.path + ".cursor." + c.config.Name }

// readCursor finds where to go on. A log that is shorter than the cursor has
// been begun anew, and is sent from its beginning.
func (c *Courier) readCursor() uint64 {
	var kept cursor
	text, err := os.ReadFile(c.cursorFile())
	if err != nil || json.Unmarshal(text, &kept) != nil || kept.Seq > c.head().Seq {
		return 0
	}
	return kept.Seq
}

// writeCursor is no loss where it fails: records are then sent twice.
func (c *Courier) writeCursor(seq uint64) {
	text, _ := json.Marshal(cursor{seq}) // a number always marshals
	temp := c.cursorFile() + ".new"
	if err := os.WriteFile(temp, text, 0o600); err == nil {
		_ = os.Rename(temp, c.cursorFile())
	}
}

// Forget removes a device's cursor: enabled again it gets the whole log.
func (c *Courier) Forget() error {
	if err := os.Remove(c.cursorFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.Unavailable, "forget audit device: %w", err)
	}
	return nil
}
