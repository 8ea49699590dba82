// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/store"
)

// Refreshed tells what followed from changed advisories.
type Refreshed struct {
	Matched int // parts looked at again
	Changed int // parts in which something else was found
	Images  int // images that hold one of these
}

// refreshBatch is how many parts are matched and written at once.
const refreshBatch = 256

// Changed is told of the images something else was found in, by number, sorted, in
// the transaction that keeps it: what it writes stands or falls with that.
type Changed func(ctx context.Context, tx store.Tx, images []int64) error

// Refresh matches again whatever holds one of these packages, and what was kept
// just before a crash. It may be interrupted and called again, and by several nodes
// at once: what was done is not done twice.
func (f *Fleet) Refresh(ctx context.Context, keys []advisory.Key, changed Changed) (Refreshed, error) {
	touched, err := f.touchedParts(ctx, keys)
	if err != nil {
		return Refreshed{}, err
	}
	matcher, err := finding.NewMatcher(ctx, f.advisories, f.store.Now())
	if err != nil {
		return Refreshed{}, err
	}
	r := &refresh{f: f, matcher: matcher, touched: touched, tell: changed}
	todo := slices.Sorted(maps.Keys(touched))
	for len(todo) > 0 {
		batch := todo[:min(len(todo), refreshBatch)]
		late, err := r.batch(ctx, batch)
		if err != nil {
			return Refreshed{}, fmt.Errorf("match again: %w", err)
		}
		todo = append(todo[len(batch):], late...)
	}
	return r.done(ctx, len(touched))
}

// touchedParts finds the parts a change concerns, with the packages whose
// advisories changed; nil stands for all packages of the part.
func (f *Fleet) touchedParts(ctx context.Context, keys []advisory.Key) (map[int64]map[advisory.Key]bool, error) {
	covered, err := f.advisories.Covered(ctx)
	if err != nil {
		return nil, err
	}
	touched := map[int64]map[advisory.Key]bool{}
	err = f.store.View(ctx, func(tx store.Tx) error { // a second run finds the same, or more
		if err := eachContaining(ctx, tx, keys, func(part int64, key advisory.Key) {
			if touched[part] == nil {
				touched[part] = map[advisory.Key]bool{}
			}
			touched[part][key] = true
		}); err != nil {
			return err
		}
		// A feed for an ecosystem nobody could speak for may know nothing of a
		// package, and yet say more than nobody.
		return store.Each(ctx, tx, func(r store.Row) error {
			var num, fresh int64
			var uncovered string
			err := r.Scan(&num, &uncovered, &fresh)
			if fresh == 1 || slices.ContainsFunc(strings.Split(uncovered, "\n"), func(eco string) bool { return covered[eco] }) {
				touched[num] = nil
			}
			return err
		}, "SELECT num, uncovered, fresh FROM fleet_part WHERE uncovered <> '' UNION SELECT num, uncovered, fresh FROM fleet_part WHERE fresh = 1")
	})
	if err != nil {
		return nil, fmt.Errorf("find what is touched: %w", err)
	}
	return touched, nil
}

// eachContaining calls found for every part that contains one of the packages.
func eachContaining(ctx context.Context, tx store.Tx, keys []advisory.Key, found func(part int64, key advisory.Key)) error {
	wanted := map[advisory.Key]bool{}
	names := make([]string, 0, len(keys))
	for _, k := range keys {
		wanted[k] = true
		names = append(names, k.Name)
	}
	packages := map[int64]advisory.Key{}
	slices.Sort(names)
	err := InChunks(slices.Compact(names), func(marks string, args []any) error {
		return store.Each(ctx, tx, func(r store.Row) error {
			var num int64
			var key advisory.Key
			err := r.Scan(&num, &key.Ecosystem, &key.Name)
			if wanted[key] {
				packages[num] = key
			}
			return err
		}, "SELECT num, ecosystem, name FROM fleet_package WHERE name IN ("+marks+")", args...)
	})
	if err != nil {
		return err
	}
	return InChunks(slices.Sorted(maps.Keys(packages)), func(marks string, args []any) error {
		return store.Each(ctx, tx, func(r store.Row) error {
			var pkg, part int64
			err := r.Scan(&pkg, &part)
			found(part, packages[pkg])
			return err
		}, "SELECT package, part FROM fleet_contains WHERE package IN ("+marks+")", args...)
	})
}

// refresh is one Refresh under way.
type refresh struct {
	f       *Fleet
	tell    Changed
	matcher *finding.Matcher
	touched map[int64]map[advisory.Key]bool
	changed []int64
}

// renewed is a part in which something else was found.
type renewed struct {
	*part
	result
}

// batch matches some parts again and writes what changed. It returns those that
// somebody else has written meanwhile.
func (r *refresh) batch(ctx context.Context, nums []int64) (late []int64, err error) {
	var parts map[int64]*part
	marks := map[int64]string{}
	// The parts are read before the advisories: should another node know newer ones,
	// its version of the part is newer too.
	err = r.f.store.View(ctx, func(tx store.Tx) error {
		if parts, err = r.f.load(ctx, tx, nums); err != nil {
			return err
		}
		return eachMark(ctx, tx, nums, marks)
	})
	if err != nil {
		return nil, err
	}
	old := make([]finding.Old, 0, len(nums))
	for _, num := range nums {
		p := parts[num]
		old = append(old, finding.Old{Part: p.content.Part, Matched: p.found, Touched: r.touched[num]})
	}
	found, err := r.matcher.Match(ctx, old)
	if err != nil {
		return nil, err
	}
	var changed []renewed
	for i, num := range nums {
		res, err := newResult(found[i])
		if err != nil {
			return nil, err
		}
		if res.mark != marks[num] {
			changed = append(changed, renewed{parts[num], res})
		}
	}
	return r.write(ctx, nums, changed)
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
func (r *refresh) write(ctx context.Context, nums []int64, changed []renewed) (late []int64, err error) {
	var written []int64
	err = r.f.store.Update(ctx, func(tx store.Tx) error {
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
			if err := indexHits(ctx, tx, p.num, p.part.found, p.result.found); err != nil {
				return err
			}
		}
		for _, num := range nums {
			if r.touched[num] != nil || slices.Contains(late, num) {
				continue
			}
			if _, err := tx.Exec(ctx, "UPDATE fleet_part SET fresh = 0 WHERE num = ? AND fresh = 1", num); err != nil {
				return err
			}
		}
		images, err := holders(ctx, tx, written)
		if err != nil {
			return err
		}
		return r.tell(ctx, tx, images)
	})
	r.changed = append(r.changed, written...)
	return late, err
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
