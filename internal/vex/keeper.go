// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package vex

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"time"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store"
)

// Subscription is a vendor whose documents are fetched on a schedule.
type Subscription struct {
	Feed
	From  string        // see Source
	Every time.Duration // 0: DefaultEvery
}

// Try is how the last attempt to fetch a vendor's documents went.
type Try struct {
	Tried    time.Time `json:"tried,omitzero"`
	Next     time.Time `json:"next"`
	Failures int       `json:"failures,omitempty"` // in a row
	Error    string    `json:"error,omitempty"`
}

// How often vendors are looked at, and one that failed: after a minute, then after
// twice as long each time, up to an hour or Every.
const (
	DefaultEvery = 6 * time.Hour
	MinEvery     = time.Minute
	firstRetry   = time.Minute
	lastRetry    = time.Hour
	beat         = 10 * time.Second
	// claimFor is how long a vendor is one node's to fetch, and how long a crash delays it.
	claimFor = 15 * time.Minute
)

// Keeper keeps the book up to the places of some vendors. Several may work on one
// database: each vendor is claimed in the store.
type Keeper struct {
	Book  *Book
	Feeds []Subscription
	Temp  string // folder for what is fetched
	Log   *slog.Logger
	Beat  time.Duration // how often to look for what is due; 0: ten seconds
	// Settle draws the consequences of a change and then calls Book.Settle.
	Settle func(ctx context.Context, c Change) error
	// OnFailure, where set, is told of the first failure in a row, in the transaction
	// that keeps it.
	OnFailure func(ctx context.Context, tx store.Tx, vendor, why string) error
}

// Run fetches what is due until ctx ends. What fails is logged and tried again.
func (k *Keeper) Run(ctx context.Context) error {
	wait := k.Beat
	if wait == 0 {
		wait = beat
	}
	tick := time.NewTicker(wait)
	defer tick.Stop()
	for {
		if err := k.Step(ctx); err != nil && ctx.Err() == nil {
			k.Log.Error("fetch vendors' statements", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Step fetches every vendor that is due and that nobody else is fetching. A failure is
// kept with the vendor; the error returned is of the database alone.
func (k *Keeper) Step(ctx context.Context) error {
	for _, sub := range k.Feeds {
		tag, mine, err := k.claim(ctx, sub.Vendor)
		if err != nil {
			return err
		}
		if !mine {
			continue
		}
		next, failure := k.take(ctx, sub, tag)
		if ctx.Err() != nil {
			return nil // it is due again when the claim is over
		}
		if failure != nil {
			k.Log.Warn("vendor's statements not taken", "vendor", sub.Vendor, "error", failure)
		}
		if err := k.note(ctx, sub, next, failure); err != nil {
			return err
		}
	}
	return nil
}

// take fetches, imports and settles. The tag it returns is kept only where all went
// well: what a crash leaves unsettled is fetched again.
func (k *Keeper) take(ctx context.Context, sub Subscription, tag string) (string, error) {
	got, err := open(ctx, sub.From, k.Temp, tag)
	if errors.Is(err, errUnchanged) {
		return tag, nil
	}
	if err != nil {
		return "", err
	}
	defer got.done()
	change, err := k.Book.Import(ctx, sub.Feed, got.files)
	if err == nil {
		err = k.Settle(ctx, change)
	}
	return got.tag, err
}

// claim makes a vendor that is due this node's, and returns the tag of what is held.
func (k *Keeper) claim(ctx context.Context, vendor string) (tag string, mine bool, err error) {
	now := k.Book.st.Now()
	err = k.Book.st.Update(ctx, func(tx store.Tx) error {
		if _, err := tx.Exec(ctx, "INSERT INTO vex_try (vendor, tag, tried, next, failures, error) VALUES (?, '', 0, 0, 0, '') ON CONFLICT DO NOTHING", vendor); err != nil {
			return err
		}
		n, err := tx.Exec(ctx, "UPDATE vex_try SET next = ? WHERE vendor = ? AND next <= ?", store.Millis(now.Add(claimFor)), vendor, store.Millis(now))
		if mine = n == 1; err != nil || !mine {
			return err
		}
		return tx.QueryRow(ctx, "SELECT tag FROM vex_try WHERE vendor = ?", vendor).Scan(&tag)
	})
	return tag, mine, err
}

// note keeps how an attempt went and when the next is due.
func (k *Keeper) note(ctx context.Context, sub Subscription, tag string, failure error) error {
	every := sub.Every
	if every <= 0 {
		every = DefaultEvery
	}
	now := k.Book.st.Now()
	return k.Book.st.Update(ctx, func(tx store.Tx) error {
		if failure == nil {
			_, err := tx.Exec(ctx, "UPDATE vex_try SET tag = ?, tried = ?, next = ?, failures = 0, error = '' WHERE vendor = ?",
				tag, store.Millis(now), store.Millis(now.Add(every)), sub.Vendor)
			return err
		}
		var before int
		if err := tx.QueryRow(ctx, "SELECT failures FROM vex_try WHERE vendor = ?", sub.Vendor).Scan(&before); err != nil {
			return err
		}
		why := shown(fault.Public(failure))
		wait := min(firstRetry<<min(before, 10), lastRetry, every)
		_, err := tx.Exec(ctx, "UPDATE vex_try SET tried = ?, next = ?, failures = ?, error = ? WHERE vendor = ?",
			store.Millis(now), store.Millis(now.Add(wait)), before+1, why, sub.Vendor)
		if err == nil && before == 0 && k.OnFailure != nil {
			err = k.OnFailure(ctx, tx, sub.Vendor, why)
		}
		return err
	})
}

// tagOf keeps a server's tag with the address it was given for.
func tagOf(address, tag string) string {
	if tag == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(address))
	return hex.EncodeToString(sum[:8]) + " " + tag
}
