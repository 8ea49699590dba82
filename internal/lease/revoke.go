// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// Sizes of background work.
const (
	batch   = 64 // leases looked at in one step
	workers = 8  // undone at once, so that one dead target does not hold up the rest
	perTx   = 200
)

// Revoke marks a lease as to be undone, durably. With sync it undoes it at once
// and answers fault.Unavailable where the target did not confirm; it is then
// retried for ever. An unknown id is revoked already. A pending lease, of which
// nothing was handed out, is undone once its effect is over.
func (l *Ledger) Revoke(ctx context.Context, id string, sync bool) error {
	return l.revokeAll(ctx, []string{id}, sync)
}

// RevokePrefix is Revoke for all leases at or below a path.
func (l *Ledger) RevokePrefix(ctx context.Context, prefix string, sync bool) error {
	ids, err := l.idsBelow(ctx, prefix)
	if err != nil {
		return err
	}
	return l.revokeAll(ctx, ids, sync)
}

// RevokeForce drops all leases at or below a path after one try to undo each.
// What the target still holds is then nobody's: it is for targets that are gone.
func (l *Ledger) RevokeForce(ctx context.Context, prefix string) error {
	ids, err := l.idsBelow(ctx, prefix)
	if err != nil {
		return err
	}
	if err := l.revokeAll(ctx, ids, true); err != nil && !fault.Is(err, fault.Unavailable) {
		return err
	}
	return l.inBatches(ctx, ids, func(w barrier.Writer, id string) error { return w.Delete(ctx, l.at(id)) })
}

// RevokeOwner undoes all leases of a token now; see MarkOwner.
func (l *Ledger) RevokeOwner(ctx context.Context, accessor string) error {
	err := l.o.Space.Update(ctx, func(w barrier.Writer) error { return l.MarkOwner(ctx, w, accessor) })
	if err != nil {
		return err
	}
	return l.Settle(ctx)
}

// MarkOwner notes, within a running transaction, that a token has ended. From
// then on none of its leases is renewed and none is made; Run undoes them. It
// writes one entry however many leases there are.
func (l *Ledger) MarkOwner(ctx context.Context, w barrier.Writer, accessor string) error {
	return w.Put(ctx, barrier.Entry{Path: ownerPath(accessor), Expires: l.o.Space.Now()})
}

func (l *Ledger) revokeAll(ctx context.Context, ids []string, sync bool) error {
	var marked []*Lease
	for len(ids) > 0 {
		n := min(perTx, len(ids))
		some, err := l.mark(ctx, ids[:n], sync)
		if err != nil {
			return err
		}
		marked, ids = append(marked, some...), ids[n:]
	}
	if !sync {
		l.Wake()
		return nil
	}
	return l.undoAll(ctx, marked)
}

// revoke makes a lease revoking and reports whether it may be undone at once.
// While its effect may still be under way that is not so: undone too early, the
// credential would appear afterwards and belong to nobody.
func (l *Lease) revoke(now time.Time) (ready bool) {
	due := now
	if l.State == Pending {
		due = l.due()
	} else if l.State == Revoking && l.Tries == 0 && l.Retry.After(now) {
		due = l.Retry // was pending when first revoked
	}
	l.State, l.Retry = Revoking, due
	if due.After(now) {
		return false
	}
	l.Retry = now
	return true
}

// Abort undoes a pending lease whose effect has failed or is otherwise over: the
// caller of Begin knows. Errors are those of Revoke.
func (l *Ledger) Abort(ctx context.Context, id string) error {
	var have *Lease
	err := l.o.Space.Update(ctx, func(w barrier.Writer) (err error) {
		if have, err = l.load(ctx, w, id); err != nil || have == nil {
			return err
		}
		have.State, have.Retry = Revoking, l.o.Space.Now().Add(claimFor)
		have.Tries++
		return save(ctx, w, have)
	})
	if err != nil || have == nil {
		return err
	}
	return l.undo(ctx, have)
}

// mark makes leases revoking. With claim those ready for it are the caller's to
// undo; without they are due.
func (l *Ledger) mark(ctx context.Context, ids []string, claim bool) ([]*Lease, error) {
	var marked []*Lease
	err := l.o.Space.Update(ctx, func(w barrier.Writer) error {
		marked = nil
		for _, id := range ids {
			have, err := l.load(ctx, w, id)
			if err != nil {
				return err
			}
			if have == nil {
				continue
			}
			ready := have.revoke(l.o.Space.Now())
			if ready && claim {
				have.Retry = have.Retry.Add(claimFor)
				have.Tries++
				marked = append(marked, have)
			}
			if err := save(ctx, w, have); err != nil {
				return err
			}
		}
		return nil
	})
	return marked, err
}

func (l *Ledger) inBatches(ctx context.Context, ids []string, fn func(barrier.Writer, string) error) error {
	for len(ids) > 0 {
		n := min(perTx, len(ids))
		err := l.o.Space.Update(ctx, func(w barrier.Writer) error {
			for _, id := range ids[:n] {
				if err := fn(w, id); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		ids = ids[n:]
	}
	return nil
}

// undoAll undoes claimed leases, some at once, and returns one of the errors.
func (l *Ledger) undoAll(ctx context.Context, claimed []*Lease) error {
	work := make(chan *Lease)
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			for have := range work {
				if err := l.undo(ctx, have); err != nil {
					errs[i] = err
				}
			}
		})
	}
	for _, have := range claimed {
		work <- have
	}
	close(work)
	wg.Wait()
	return errors.Join(errs...)
}

// undo asks the target and records what it said.
func (l *Ledger) undo(ctx context.Context, have *Lease) error {
	failure := l.ask(ctx, have)
	err := l.o.Space.Update(ctx, func(w barrier.Writer) error {
		if failure == nil {
			return w.Delete(ctx, have.at)
		}
		now, err := loadAt(ctx, w, have.at)
		if err != nil || now == nil {
			return err
		}
		now.LastError = fault.KindOf(failure).String()
		now.Retry = l.o.Space.Now().Add(pause(now.Tries))
		return save(ctx, w, now)
	})
	if err != nil {
		return err // it stays claimed for a while, and is then tried again
	}
	if failure == nil {
		return nil
	}
	l.o.Log.WarnContext(ctx, "lease not undone, will retry", "kind", have.Kind, "tries", have.Tries, "error", fault.Public(failure))
	return fault.New(fault.Unavailable, "the target did not confirm that it was revoked; it is retried until it does")
}

func (l *Ledger) ask(ctx context.Context, have *Lease) error {
	if have.Kind == "" {
		return nil
	}
	u, ok := l.o.Undoers[have.Kind]
	if !ok {
		return fault.New(fault.Unsupported, "nobody can undo leases of kind %q", have.Kind)
	}
	ctx, cancel := context.WithTimeout(ctx, undoFor)
	defer cancel()
	return u.Undo(ctx, have.Recipe)
}

// pause grows from one second to maxWait.
func pause(tries int) time.Duration {
	return min(time.Second<<min(max(tries-1, 0), 10), maxWait)
}

// Step does the work that is due, up to some dozens of leases, and returns how
// many it took up. Several nodes may step at once: each lease is claimed in a
// transaction first.
func (l *Ledger) Step(ctx context.Context) (int, error) {
	now := l.o.Space.Now()
	due, err := l.o.Space.Expired(ctx, now, batch)
	if err != nil || len(due) == 0 {
		return 0, err
	}
	var paths, owners []string
	for _, e := range due {
		if strings.HasPrefix(e.Path, rootBase) || strings.HasPrefix(e.Path, spaceBase) {
			paths = append(paths, e.Path)
		} else if accessor, ok := strings.CutPrefix(e.Path, "owner/"); ok {
			owners = append(owners, accessor)
		}
	}
	if len(owners) > 0 {
		if err := l.spread(ctx, owners, now); err != nil {
			return 0, err
		}
	}
	claimed, err := l.claim(ctx, paths, now)
	if err != nil {
		return len(owners), err
	}
	err = l.undoAll(ctx, claimed)
	if fault.Is(err, fault.Unavailable) {
		err = nil // recorded with the lease, and to be retried
	}
	return len(owners) + len(claimed), err
}

// claim takes up what is still due: expired and pending leases become revoking.
func (l *Ledger) claim(ctx context.Context, paths []string, now time.Time) ([]*Lease, error) {
	var claimed []*Lease
	err := l.o.Space.Update(ctx, func(w barrier.Writer) error {
		claimed = nil
		for _, path := range paths {
			have, err := loadAt(ctx, w, path)
			if err != nil {
				return err
			}
			if have == nil || have.due().After(now) {
				continue // renewed, gone, or another node's by now
			}
			have.State, have.Retry = Revoking, now.Add(claimFor)
			have.Tries++
			if err := save(ctx, w, have); err != nil {
				return err
			}
			claimed = append(claimed, have)
		}
		return nil
	})
	return claimed, err
}

// spread marks the leases of ended tokens as due, as many as fit a transaction.
// An owner without leases left is remembered for a time and then forgotten.
func (l *Ledger) spread(ctx context.Context, owners []string, now time.Time) error {
	return l.o.Space.Update(ctx, func(w barrier.Writer) error {
		room := perTx
		for _, accessor := range owners {
			e, err := w.Get(ctx, ownerPath(accessor))
			if err != nil {
				return err
			}
			if e == nil || e.Expires.After(now) {
				continue
			}
			left, err := l.spreadOne(ctx, w, e, &room)
			if err != nil || left {
				return err // the rest is for the next step
			}
		}
		return nil
	})
}

func (l *Ledger) spreadOne(ctx context.Context, w barrier.Writer, owner *barrier.Entry, room *int) (left bool, err error) {
	leases, err := w.InGroup(ctx, strings.TrimPrefix(owner.Path, "owner/"))
	if err != nil {
		return false, err
	}
	for i := range leases {
		have, err := decode(&leases[i])
		if err != nil {
			return false, err
		}
		if have.State == Revoking {
			continue
		}
		if *room == 0 {
			return true, nil
		}
		*room--
		have.revoke(l.o.Space.Now())
		if err := save(ctx, w, have); err != nil {
			return false, err
		}
	}
	if len(owner.Value) > 0 { // it has been mourned
		return false, w.Delete(ctx, owner.Path)
	}
	return false, w.Put(ctx, barrier.Entry{Path: owner.Path, Value: []byte("done"), Expires: l.o.Space.Now().Add(mournFor)})
}

// Settle steps until nothing is due: what was marked has then been undone, or
// has failed and waits for its next try.
func (l *Ledger) Settle(ctx context.Context) error {
	for {
		n, err := l.Step(ctx)
		if err != nil || n == 0 {
			return err
		}
	}
}

// Wake makes Run look for work now.
func (l *Ledger) Wake() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Run steps whenever something is due, until ctx ends. While the barrier is
// sealed it waits.
func (l *Ledger) Run(ctx context.Context) error {
	tick := time.NewTicker(l.o.Poll)
	defer tick.Stop()
	for {
		if err := l.Settle(ctx); err != nil && ctx.Err() == nil && !fault.Is(err, fault.Sealed) {
			l.o.Log.ErrorContext(ctx, "lease work failed, will retry", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-l.wake:
		case <-tick.C:
		}
	}
}
