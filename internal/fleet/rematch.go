// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/store"
)

// refreshBatch is how many parts are matched and written at once.
const refreshBatch = 256

// refresh is one Refresh under way.
type refresh struct {
	f       *Fleet
	tell    Changed
	now     time.Time
	touched map[int64]map[advisory.Key]bool

	mu      sync.Mutex
	todo    []int64
	changed []int64
}

// all matches what there is to do, on all processors.
func (r *refresh) all(ctx context.Context) error {
	errs := make([]error, min(runtime.GOMAXPROCS(0), 1+len(r.todo)/refreshBatch))
	var wait sync.WaitGroup
	for i := range errs {
		wait.Go(func() {
			m := &rematcher{refresh: r}
			for batch := r.next(); len(batch) > 0 && errs[i] == nil; batch = r.next() {
				errs[i] = m.batch(ctx, batch)
			}
			if errs[i] != nil {
				r.stop()
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

// next takes some parts to be matched.
func (r *refresh) next() []int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	batch := r.todo[:min(len(r.todo), refreshBatch)]
	r.todo = r.todo[len(batch):]
	return batch
}

// add notes what was written and what is to be done again.
func (r *refresh) add(written, late []int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changed, r.todo = append(r.changed, written...), append(r.todo, late...)
}

// stop leaves the rest undone.
func (r *refresh) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.todo = nil
}

// rematcher is one goroutine's share of a refresh.
type rematcher struct {
	*refresh
	matcher  *finding.Matcher
	snapshot string // of the advisories it knows
}

// current makes sure that the matcher knows no older advisories than parts that were
// read a moment ago: another node may have taken a feed in and matched them meanwhile.
func (m *rematcher) current(ctx context.Context) error {
	state, err := m.f.advisories.Snapshot(ctx)
	if err != nil || m.matcher != nil && state.ID == m.snapshot {
		return err
	}
	m.snapshot = state.ID
	m.matcher, err = finding.NewMatcher(ctx, m.f.advisories, m.now)
	return err
}

// renewed is a part in which something else was found.
type renewed struct {
	*part
	result
	hits hitChange
}

// batch matches some parts again and writes what changed. Those that somebody else
// has written meanwhile are to be done again.
func (m *rematcher) batch(ctx context.Context, nums []int64) error {
	var parts map[int64]*part
	marks := map[int64]string{}
	err := m.f.store.View(ctx, func(tx store.Tx) (err error) {
		if parts, err = m.f.load(ctx, tx, nums); err != nil {
			return err
		}
		return eachMark(ctx, tx, nums, marks)
	})
	if err != nil {
		return err
	}
	if err := m.current(ctx); err != nil {
		return err
	}
	old := make([]finding.Old, 0, len(nums))
	for _, num := range nums {
		p := parts[num]
		old = append(old, finding.Old{Part: p.content.Part, Matched: p.found, Touched: m.touched[num]})
	}
	found, err := m.matcher.Match(ctx, old)
	if err != nil {
		return err
	}
	var changed []renewed
	for i, num := range nums {
		res, err := newResult(found[i])
		if err != nil {
			return err
		}
		if res.mark != marks[num] {
			changed = append(changed, renewed{parts[num], res, hitsChanged(parts[num].found, res.found)})
		}
	}
	return m.write(ctx, nums, changed)
}

// eachMark reads the marks of parts that need no looking at beyond them.
func eachMark(ctx context.Context, tx store.Tx, nums []int64, marks map[int64]string) error {
	return InChunks(nums, func(in string, args []any) error {
		return store.Each(ctx, tx, func(r store.Row) error {
			var num int64
			var mark string
			err := r.Scan(&num, &mark)
			marks[num] = mark
			return err
		}, "SELECT num, mark FROM fleet_part WHERE num IN ("+in+")", args...)
	})
}

// write keeps what was found and makes the verdicts that rest on it due.
func (r *refresh) write(ctx context.Context, nums []int64, changed []renewed) error {
	var written, late []int64
	err := r.f.store.Update(ctx, func(tx store.Tx) error {
		late, written = nil, nil
		for _, p := range changed {
			n, err := tx.Exec(ctx, "UPDATE fleet_part SET version = version + 1, mark = ?, found = ?, uncovered = ? WHERE num = ? AND version = ?",
				p.mark, p.body, strings.Join(p.result.found.Uncovered, "\n"), p.num, p.version)
			if err != nil {
				return err
			}
			if n == 0 {
				late = append(late, p.num)
				continue
			}
			written = append(written, p.num)
			if err := indexHits(ctx, tx, p.num, p.hits); err != nil {
				return err
			}
		}
		if err := r.settle(ctx, tx, nums, late); err != nil {
			return err
		}
		images, err := holders(ctx, tx, written)
		if err != nil {
			return err
		}
		return r.tell(ctx, tx, images)
	})
	if err != nil {
		return err
	}
	r.add(written, late)
	return nil
}

// settle notes that fresh parts were looked at.
func (r *refresh) settle(ctx context.Context, tx store.Tx, nums, late []int64) error {
	for _, num := range nums {
		if r.touched[num] != nil || slices.Contains(late, num) {
			continue
		}
		if _, err := tx.Exec(ctx, "UPDATE fleet_part SET fresh = 0 WHERE num = ? AND fresh = 1", num); err != nil {
			return err
		}
	}
	return nil
}

// done counts.
func (r *refresh) done(ctx context.Context, matched int) (Refreshed, error) {
	out := Refreshed{Matched: matched, Changed: len(r.changed)}
	err := r.f.store.View(ctx, func(tx store.Tx) error {
		images, err := holders(ctx, tx, r.changed)
		out.Images = len(images)
		return err
	})
	return out, err
}
