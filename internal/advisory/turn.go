// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"context"
	"errors"
	"time"

	"github.com/goldkeep/goldkeep/internal/store"
)

// turn is the work on one row of the schedule, claimed for as long as it goes on. Until
// it is finished the row stays due: should this node die, another takes it up.
type turn struct {
	feed string
	end  context.CancelFunc
	held chan int64 // the claim as it is in the end
}

// begin claims a row where it is due and free, else the turn is nil. The context it
// returns ends where the claim is lost.
func (k *Keeper) begin(ctx context.Context, feed string) (context.Context, *turn, error) {
	c, err := k.claim(ctx, feed, 0)
	if err != nil || c == 0 {
		return ctx, nil, err
	}
	working, end := context.WithCancel(ctx)
	t := &turn{feed: feed, end: end, held: make(chan int64, 1)}
	go func() { t.held <- k.hold(working, feed, c, end) }()
	return working, t, nil
}

// finish gives the row back and keeps how the attempt went.
func (k *Keeper) finish(ctx context.Context, t *turn, failure error) error {
	t.end()
	c := <-t.held
	if ctx.Err() != nil {
		// We are stopping: another node may have it at once.
		return k.free(context.WithoutCancel(ctx), t.feed, c)
	}
	return k.settleTry(ctx, t.feed, c, failure)
}

// lookAt does the work of one row, where it is due and free, and keeps how that went.
func (k *Keeper) lookAt(ctx context.Context, feed string, work func(context.Context) error) error {
	working, t, err := k.begin(ctx, feed)
	if t == nil {
		return err
	}
	return k.finish(ctx, t, work(working))
}

// together is for how long feeds are gathered before what follows from them is done: a
// slow one does not keep the others waiting.
const together = 20 * time.Second

// taken are feeds whose consequences are still to be drawn.
type taken struct {
	turns   []*turn
	changes []Change
	since   time.Time
}

// takeAll takes the feeds of a place that are due and free.
func (k *Keeper) takeAll(ctx context.Context, src origin, unreachable error) error {
	var got taken
	for _, f := range src.files {
		working, t, err := k.begin(ctx, f.feed)
		if err != nil {
			return errors.Join(err, k.tell(ctx, got))
		}
		if t == nil {
			continue
		}
		change, failure := Change{}, unreachable
		if failure == nil {
			change, failure = k.take(working, src, f)
		}
		if failure == nil && change.Feed != "" {
			got.add(t, change, k.Index.st.Now())
		} else if err := k.finish(ctx, t, failure); err != nil {
			return errors.Join(err, k.tell(ctx, got))
		}
		if len(got.turns) > 0 && k.Index.st.Now().Sub(got.since) > together {
			if err := k.tell(ctx, got); err != nil {
				return err
			}
			got = taken{}
		}
	}
	return k.tell(ctx, got)
}

func (g *taken) add(t *turn, change Change, now time.Time) {
	if len(g.turns) == 0 {
		g.since = now
	}
	g.turns, g.changes = append(g.turns, t), append(g.changes, change)
}

// take takes one feed; a Change without a name where it is optional and not there.
func (k *Keeper) take(ctx context.Context, src origin, f feedFile) (Change, error) {
	change, there, err := src.takeFeed(ctx, f, source{shrink: k.Options.AllowShrink})
	if err != nil || !there {
		return Change{}, err
	}
	if !change.Unchanged {
		k.Log.Info("advisory feed taken", "feed", f.feed, "records", change.Records, "new", change.Added, "changed", change.Changed, "gone", change.Removed)
	}
	return change, nil
}

// tell has the consequences of feeds drawn and gives their rows back. Where that
// fails, it has failed for all of them, and they are taken again.
func (k *Keeper) tell(ctx context.Context, got taken) error {
	if len(got.turns) == 0 {
		return nil
	}
	var failure error
	if k.OnChange != nil {
		failure = k.OnChange(ctx, got.changes)
	}
	for _, c := range got.changes {
		if failure == nil {
			failure = k.Index.Settle(ctx, c)
		}
	}
	var errs []error
	for _, t := range got.turns {
		errs = append(errs, k.finish(ctx, t, failure))
	}
	return errors.Join(errs...)
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

func (k *Keeper) free(ctx context.Context, feed string, c int64) error {
	return k.Index.st.Update(ctx, func(tx store.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE advisory_schedule SET claim = 0, node = '' WHERE feed = ? AND claim = ?`, feed, c)
		return err
	})
}
