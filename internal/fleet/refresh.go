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
	"github.com/goldkeep/goldkeep/internal/store"
)

// Refreshed tells what followed from changed advisories.
type Refreshed struct {
	Matched int // parts looked at again
	Changed int // parts in which something else was found
	Images  int // images that hold one of these
}

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
	r := &refresh{f: f, touched: touched, tell: changed, now: f.store.Now(), todo: slices.Sorted(maps.Keys(touched))}
	if err := r.all(ctx); err != nil {
		return Refreshed{}, fmt.Errorf("match again: %w", err)
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
