// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store"
)

// Keeper keeps the index up to one place, feed by feed. Several may work on one
// database: each feed is claimed in the store, so that one of them takes it. All
// must be given the same place.
type Keeper struct {
	Index   *Index
	From    string        // see Sync
	Every   time.Duration // how often each feed is looked at; 0: DefaultEvery
	Node    string        // who this is, for the others
	Log     *slog.Logger
	Options SyncOptions   // but for OnChange
	Beat    time.Duration // how often to look for what is due; 0: ten seconds
	// OnChange is told of feeds that were due together, in one go: what they have in
	// common is looked at once. Their keys are settled when it returns nil; nil: at once.
	OnChange func(context.Context, []Change) error
	// OnFailure, where set, is told of the first failure of a feed in a row (Place:
	// of all), in the transaction that keeps it.
	OnFailure func(ctx context.Context, tx store.Tx, feed, why string) error
}

// How often feeds are looked at, and a feed that failed: after a minute, then
// after twice as long each time, up to an hour or Every.
const (
	DefaultEvery = 6 * time.Hour
	MinEvery     = time.Minute
	firstRetry   = time.Minute
	lastRetry    = time.Hour
	beat         = 10 * time.Second
	// claimFor is how long a feed is one node's to take; it is claimed again while
	// the work goes on.
	claimFor = 2 * time.Minute
)

// Place is the row of the place feeds come from: what there is.
const Place = "*"

// Run takes what is due until ctx ends. A feed that fails is logged and tried again.
func (k *Keeper) Run(ctx context.Context) error {
	wait := k.Beat
	if wait == 0 {
		wait = beat
	}
	if err := k.freeOwn(ctx); err != nil {
		return err
	}
	tick := time.NewTicker(wait)
	defer tick.Stop()
	for {
		if err := k.Step(ctx); err != nil && ctx.Err() == nil {
			k.Log.Error("look for advisory feeds that are due", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-k.Index.hurried:
		}
	}
}

// Step takes every feed that is due and that nobody else is taking. What fails is
// kept with the feed, see Tries; the error returned is of the database alone.
func (k *Keeper) Step(ctx context.Context) error {
	due, err := k.due(ctx)
	if err != nil || len(due) == 0 {
		return err
	}
	src, unreachable := k.Index.open(ctx, k.From, k.Options)
	if unreachable != nil {
		src = origin{close: func() {}}
		for _, feed := range due {
			src.files = append(src.files, feedFile{feed: feed})
		}
	}
	defer src.close()
	if err := k.lookAt(ctx, Place, func(ctx context.Context) error {
		if unreachable != nil {
			return unreachable
		}
		return k.list(ctx, src)
	}); err != nil {
		return err
	}
	r := round{Keeper: k, src: src, unreachable: unreachable, since: k.Index.st.Now()}
	if _, err := r.take(ctx, src.files); err != nil {
		return err
	}
	return ctx.Err()
}

// round is the taking of what is due together.
type round struct {
	*Keeper
	src         origin
	unreachable error
	got         []Change // taken, and not settled yet
	since       time.Time
}

// together is for how long feeds are gathered: a slow one keeps no other waiting.
const together = 20 * time.Second

// take takes feeds and settles them while all are still claimed: what a failure or a
// crash leaves unsettled stays due. broken is an error of the database.
func (r *round) take(ctx context.Context, files []feedFile) (failure, broken error) {
	if len(files) == 0 {
		return r.settle(ctx), nil
	}
	f, taken := files[0], false
	err := r.lookAt(ctx, f.feed, func(ctx context.Context) error {
		if why := r.takeOne(ctx, f); why != nil {
			return why
		}
		taken = true
		if r.Index.st.Now().Sub(r.since) > together {
			failure = r.settle(ctx)
		}
		if failure == nil {
			failure, broken = r.take(ctx, files[1:])
		}
		return errors.Join(failure, broken)
	})
	if !taken && err == nil {
		return r.take(ctx, files[1:])
	}
	return failure, errors.Join(err, broken)
}

func (r *round) takeOne(ctx context.Context, f feedFile) error {
	if r.unreachable != nil {
		return r.unreachable
	}
	change, there, err := r.src.takeFeed(ctx, f, source{shrink: r.Options.AllowShrink})
	if err != nil || !there {
		return err
	}
	if !change.Unchanged {
		r.Log.Info("advisory feed taken", "feed", f.feed, "records", change.Records, "new", change.Added, "changed", change.Changed, "gone", change.Removed)
	}
	r.got = append(r.got, change)
	return nil
}

// settle has the consequences of what was taken drawn.
func (r *round) settle(ctx context.Context) error {
	got := r.got
	r.got, r.since = nil, r.Index.st.Now()
	if r.OnChange != nil && len(got) > 0 {
		if err := r.OnChange(ctx, got); err != nil {
			return err
		}
	}
	for _, c := range got {
		if err := r.Index.Settle(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// due names the rows that are due and free. A place that was never looked at, or is
// another than before, is.
func (k *Keeper) due(ctx context.Context) ([]string, error) {
	mark := tagFor(k.From, "place")
	var due []string
	err := k.Index.st.Update(ctx, func(tx store.Tx) error {
		due = nil
		now := store.Millis(k.Index.st.Now())
		var known string
		if err := tx.QueryRow(ctx, `SELECT COALESCE(MAX(mark), '') FROM advisory_schedule WHERE feed = ?`, Place).Scan(&known); err != nil {
			return err
		}
		if known != mark {
			if _, err := tx.Exec(ctx, `DELETE FROM advisory_schedule`); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, `INSERT INTO advisory_schedule (feed, mark, tried, next, failures, error, claim, node)
				VALUES (?, ?, 0, ?, 0, '', 0, '')`, Place, mark, now); err != nil {
				return err
			}
		}
		return store.Each(ctx, tx, func(row store.Row) error {
			var feed string
			err := row.Scan(&feed)
			due = append(due, feed)
			return err
		}, `SELECT feed FROM advisory_schedule WHERE next <= ? AND claim <= ? ORDER BY feed`, now, now)
	})
	if err != nil {
		return nil, fault.New(fault.KindOf(err), "read schedule of feeds: %w", err)
	}
	return due, nil
}

// list makes a row for each feed of the place and forgets those that are gone.
func (k *Keeper) list(ctx context.Context, src origin) error {
	err := k.Index.st.Update(ctx, func(tx store.Tx) error {
		held := map[string]bool{}
		if err := store.Each(ctx, tx, func(row store.Row) error {
			var feed string
			err := row.Scan(&feed)
			held[feed] = true
			return err
		}, `SELECT feed FROM advisory_schedule WHERE feed <> ?`, Place); err != nil {
			return err
		}
		for _, f := range src.files {
			if held[f.feed] {
				delete(held, f.feed)
				continue
			}
			if _, err := tx.Exec(ctx, `INSERT INTO advisory_schedule (feed, mark, tried, next, failures, error, claim, node)
				VALUES (?, '', 0, ?, 0, '', 0, '')`, f.feed, store.Millis(k.Index.st.Now())); err != nil {
				return err
			}
		}
		for feed := range held {
			if _, err := tx.Exec(ctx, `DELETE FROM advisory_schedule WHERE feed = ?`, feed); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fault.New(fault.KindOf(err), "keep schedule of feeds: %w", err)
	}
	return nil
}

// lookAt does the work of one row, where it is due and free, and keeps how that went.
func (k *Keeper) lookAt(ctx context.Context, feed string, work func(context.Context) error) error {
	c, err := k.claim(ctx, feed, 0)
	if err != nil || c == 0 {
		return err
	}
	working, end := context.WithCancel(ctx)
	held := make(chan int64)
	go func() { held <- k.hold(working, feed, c, end) }()
	failure := work(working)
	end()
	c = <-held
	if ctx.Err() != nil {
		// We are stopping: another node may have it at once.
		return k.free(context.WithoutCancel(ctx), feed, c)
	}
	return k.settleTry(ctx, feed, c, failure)
}

// claim makes a row this node's until the time it returns, in milliseconds: one
// that is due and free, or again the one it has a claim on. 0: it is not to be had.
func (k *Keeper) claim(ctx context.Context, feed string, had int64) (int64, error) {
	var until int64
	err := k.Index.st.Update(ctx, func(tx store.Tx) error {
		now := k.Index.st.Now()
		until = max(store.Millis(now.Add(claimFor)), had+1) // no two claims are alike
		query, args := `UPDATE advisory_schedule SET claim = ?, node = ? WHERE feed = ? AND next <= ? AND claim <= ?`,
			[]any{until, k.Node, feed, store.Millis(now), store.Millis(now)}
		if had > 0 {
			query, args = `UPDATE advisory_schedule SET claim = ? WHERE feed = ? AND claim = ?`, []any{until, feed, had}
		}
		n, err := tx.Exec(ctx, query, args...)
		if n == 0 {
			until = 0
		}
		return err
	})
	if err != nil {
		return 0, fault.New(fault.KindOf(err), "claim feed %s: %w", feed, err)
	}
	return until, nil
}

// hold keeps a claim while the work goes on, and ends the work where it is lost. It
// returns the claim as it is in the end.
func (k *Keeper) hold(ctx context.Context, feed string, c int64, end func()) int64 {
	again := time.NewTicker(claimFor / 4)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return c
		case <-again.C:
			longer, err := k.claim(ctx, feed, c)
			if err != nil {
				continue // there is time for another
			}
			if longer == 0 {
				end()
				return c
			}
			c = longer
		}
	}
}

// freeOwn gives back what an earlier process held when it died, where there can be
// no other process that holds anything.
func (k *Keeper) freeOwn(ctx context.Context) error {
	if !k.Index.st.Exclusive() {
		return nil
	}
	return k.Index.st.Update(ctx, func(tx store.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE advisory_schedule SET claim = 0, node = ''`)
		return err
	})
}

func (k *Keeper) free(ctx context.Context, feed string, c int64) error {
	return k.Index.st.Update(ctx, func(tx store.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE advisory_schedule SET claim = 0, node = '' WHERE feed = ? AND claim = ?`, feed, c)
		return err
	})
}

// settleTry keeps how an attempt went, and when the next one is due, unless the
// claim was lost meanwhile.
func (k *Keeper) settleTry(ctx context.Context, feed string, c int64, failure error) error {
	every := k.Every
	if every == 0 {
		every = DefaultEvery
	}
	text := ""
	if failure != nil {
		text = summary(osvRecord{Summary: fault.Public(failure)})
		k.Log.Warn("advisory feed not taken; what is held stays", "feed", feed, "error", failure)
	}
	err := k.Index.st.Update(ctx, func(tx store.Tx) error {
		now := k.Index.st.Now()
		var failures int64
		if err := tx.QueryRow(ctx, `SELECT COALESCE(MAX(failures), 0) FROM advisory_schedule WHERE feed = ?`, feed).Scan(&failures); err != nil {
			return err
		}
		next := now.Add(every)
		if failures++; failure == nil {
			failures = 0
		} else {
			next = now.Add(retryAfter(failures, every))
		}
		n, err := tx.Exec(ctx, `UPDATE advisory_schedule SET tried = ?, next = ?, failures = ?, error = ?, claim = 0, node = '' WHERE feed = ? AND claim = ?`,
			store.Millis(now), store.Millis(next), failures, text, feed, c)
		if err == nil && n > 0 && failures == 1 && k.OnFailure != nil {
			err = k.OnFailure(ctx, tx, feed, text)
		}
		return err
	})
	if err != nil {
		return fault.New(fault.KindOf(err), "keep schedule of feed %s: %w", feed, err)
	}
	return nil
}

// retryAfter is how long to wait after so many failures in a row.
func retryAfter(failures int64, every time.Duration) time.Duration {
	wait := firstRetry << min(failures-1, 10)
	return min(wait, lastRetry, every)
}

// Try is how the last attempt to take a feed went.
type Try struct {
	Feed     string    `json:"feed"` // "*": the place itself
	Tried    time.Time `json:"tried,omitzero"`
	Next     time.Time `json:"next"`
	Failures int       `json:"failures"`        // in a row
	Error    string    `json:"error,omitempty"` // of the last attempt
	Node     string    `json:"node,omitempty"`  // who is taking it now
}

// Tries tells how the attempts to take the feeds of a schedule went; none where
// there is no schedule.
func (x *Index) Tries(ctx context.Context) ([]Try, error) {
	var all []Try
	err := x.st.View(ctx, func(tx store.Tx) error {
		all = nil
		now := store.Millis(x.st.Now())
		return store.Each(ctx, tx, func(row store.Row) error {
			var t Try
			var tried, next, claim int64
			if err := row.Scan(&t.Feed, &tried, &next, &t.Failures, &t.Error, &claim, &t.Node); err != nil {
				return err
			}
			if claim <= now {
				t.Node = ""
			}
			t.Tried, t.Next = store.Time(tried), store.Time(next)
			all = append(all, t)
			return nil
		}, `SELECT feed, tried, next, failures, error, claim, node FROM advisory_schedule ORDER BY feed`)
	})
	if err != nil {
		return nil, fault.New(fault.KindOf(err), "read schedule of feeds: %w", err)
	}
	return all, nil
}

// Hurry makes every feed of the schedule due now; a Keeper of this process takes
// them at once, another one at its next beat. Without a schedule it is fault.NotFound.
func (x *Index) Hurry(ctx context.Context) error {
	var n int64
	err := x.st.Update(ctx, func(tx store.Tx) (err error) {
		n, err = tx.Exec(ctx, `UPDATE advisory_schedule SET next = ?`, store.Millis(x.st.Now()))
		return err
	})
	if err != nil {
		return fault.New(fault.KindOf(err), "hurry feeds: %w", err)
	}
	if n == 0 {
		return fault.New(fault.NotFound, "the server fetches no feeds by itself").
			WithHint("set feeds.from in its configuration, or send feeds: goldkeep advisory sync --from FOLDER --server")
	}
	select {
	case x.hurried <- struct{}{}:
	default: // it is awake
	}
	return nil
}
