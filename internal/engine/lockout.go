// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// LockoutConfig are a mount's limits of failed logins; 0: as clients of Vault and
// OpenBao know them, 5 failures with less than 15 minutes between, then 15 minutes.
type LockoutConfig struct {
	Off       bool          `json:"off,omitempty"`
	Threshold int           `json:"threshold,omitempty"`
	Duration  time.Duration `json:"duration,omitempty"` // of the lock
	Reset     time.Duration `json:"reset,omitempty"`    // after which failures no longer count
}

const (
	lockAfter = 5
	lockFor   = 15 * time.Minute
)

// Lockout refuses an account for a while after too many failed logins. It counts in
// the store: several servers count together, and a restart forgets nothing.
type Lockout struct {
	space  barrier.Space
	config LockoutConfig
}

// NewLockout counts in a space of its own.
func NewLockout(space barrier.Space, c *LockoutConfig) Lockout {
	l := Lockout{space: space}
	if c != nil {
		l.config = *c
	}
	if l.config.Threshold == 0 {
		l.config.Threshold = lockAfter
	}
	l.config.Duration = orDefault(l.config.Duration, lockFor)
	l.config.Reset = orDefault(l.config.Reset, lockFor)
	return l
}

func (l Lockout) locked(f failures) bool {
	return !l.config.Off && f.Count >= l.config.Threshold && l.space.Now().Before(f.Last.Add(l.config.Duration))
}

type failures struct {
	Count int       `json:"count"`
	Last  time.Time `json:"last"`
}

// Check is fault.Denied while an account is locked.
func (l Lockout) Check(ctx context.Context, account string) error {
	return l.space.View(ctx, func(r barrier.Reader) error {
		f, err := loadFailures(ctx, r, account)
		if err == nil && l.locked(f) {
			err = fault.New(fault.Denied, "permission denied").WithHint("too many failed logins: wait, or ask for sys/locked-users/.../unlock")
		}
		return err
	})
}

// swept is how many old counts go when a new one is kept: whoever makes up names
// fills nothing.
const swept = 10

// Failed counts a failed login.
func (l Lockout) Failed(ctx context.Context, account string) error {
	if l.config.Off {
		return nil
	}
	old, err := l.space.Expired(ctx, l.space.Now(), swept)
	if err != nil {
		return err
	}
	return l.space.Update(ctx, func(w barrier.Writer) error {
		now := l.space.Now()
		if err := Sweep(ctx, w, old, now); err != nil {
			return err
		}
		f, err := loadFailures(ctx, w, account)
		if err != nil {
			return err
		}
		if !now.Before(f.Last.Add(l.config.Reset)) {
			f.Count = 0
		}
		f.Count, f.Last = f.Count+1, now
		return w.Put(ctx, barrier.Entry{Path: account, Value: Stored(f), Expires: now.Add(max(l.config.Reset, l.config.Duration))})
	})
}

// Succeeded forgets the failures of an account; where there are none nothing is
// written.
func (l Lockout) Succeeded(ctx context.Context, account string) error {
	var any bool
	err := l.space.View(ctx, func(r barrier.Reader) error {
		f, err := loadFailures(ctx, r, account)
		any = f.Count > 0
		return err
	})
	if err != nil || !any {
		return err
	}
	return l.space.Update(ctx, func(w barrier.Writer) error { return w.Delete(ctx, account) })
}

func loadFailures(ctx context.Context, r barrier.Reader, account string) (failures, error) {
	f, err := Found[failures](ctx, r, account)
	if err != nil || f == nil {
		return failures{}, err
	}
	return *f, nil
}

// Locker is an auth method that locks accounts out.
type Locker interface {
	// Locked names the accounts that are locked now, sorted.
	Locked(ctx context.Context) ([]string, error)
	// Unlock lets an account log in again; one that is not locked is fine.
	Unlock(ctx context.Context, account string) error
}

// Locked implements Locker.
func (l Lockout) Locked(ctx context.Context) (accounts []string, err error) {
	err = l.space.View(ctx, func(r barrier.Reader) error {
		names, err := Below(ctx, r, "")
		if err != nil {
			return err
		}
		accounts = nil
		for _, name := range names {
			f, err := loadFailures(ctx, r, name)
			if err != nil {
				return err
			}
			if l.locked(f) {
				accounts = append(accounts, name)
			}
		}
		return nil
	})
	return accounts, err
}

// Unlock implements Locker.
func (l Lockout) Unlock(ctx context.Context, account string) error { return l.Succeeded(ctx, account) }
