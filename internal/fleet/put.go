// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"fmt"
	"slices"

	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/store"
)

// Contents is what an image holds, ready to be kept.
type Contents struct {
	pieces   []piece
	found    map[string]result // of those no image had before, by hash
	snapshot string            // of the advisories they were matched with
	fresh    []int64           // those that Put kept
}

// Contents takes apart what an image holds and matches what no image had before.
func (f *Fleet) Contents(ctx context.Context, inv component.Inventory) (*Contents, error) {
	// The state is read first: should a feed be taken in meanwhile, Confirm sees it.
	state, err := f.advisories.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	c := &Contents{snapshot: state.ID}
	if c.pieces, err = takeApart(inv); err != nil {
		return nil, err
	}
	here, err := f.partsByHash(ctx, c.pieces)
	if err != nil {
		return nil, err
	}
	var unseen []finding.Old
	var hashes []string
	for _, p := range c.pieces {
		if !here[p.hash] {
			unseen, hashes = append(unseen, finding.Old{Part: p.Part}), append(hashes, p.hash)
		}
	}
	c.found, err = f.match(ctx, unseen, hashes)
	return c, err
}

func (f *Fleet) match(ctx context.Context, unseen []finding.Old, hashes []string) (map[string]result, error) {
	results := map[string]result{}
	if len(unseen) == 0 {
		return results, nil
	}
	matcher, err := finding.NewMatcher(ctx, f.advisories, f.store.Now())
	if err != nil {
		return nil, err
	}
	found, err := matcher.Match(ctx, unseen)
	if err != nil {
		return nil, err
	}
	for i, hash := range hashes {
		if results[hash], err = newResult(found[i]); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// partsByHash tells which pieces are kept already.
func (f *Fleet) partsByHash(ctx context.Context, pieces []piece) (map[string]bool, error) {
	var hashes []string
	for _, p := range pieces {
		hashes = append(hashes, p.hash)
	}
	here := map[string]bool{}
	err := f.store.View(ctx, func(tx store.Tx) error {
		return InChunks(hashes, func(marks string, args []any) error {
			return store.Each(ctx, tx, func(r store.Row) error {
				var hash string
				err := r.Scan(&hash)
				here[hash] = true
				return err
			}, "SELECT hash FROM fleet_part WHERE hash IN ("+marks+")", args...)
		})
	})
	return here, err
}

// Put makes an image the holder of its parts, in the transaction that keeps it, and
// returns them; before are those it held until now. Confirm must follow.
func (c *Contents) Put(ctx context.Context, tx store.Tx, image int64, before []Placed) ([]Placed, error) {
	var now []Placed
	c.fresh = nil
	for _, p := range c.pieces {
		num, fresh, err := keepPart(ctx, tx, p, c.found)
		if err != nil {
			return nil, err
		}
		if fresh {
			c.fresh = append(c.fresh, num)
		}
		now = append(now, Placed{Part: num, Layer: p.layer})
	}
	return now, moveHolder(ctx, tx, image, before, now)
}

// moveHolder makes an image holder of the parts it has now, and of no others.
func moveHolder(ctx context.Context, tx store.Tx, image int64, before, now []Placed) error {
	has := func(list []Placed, part int64) bool {
		return slices.ContainsFunc(list, func(p Placed) bool { return p.Part == part })
	}
	for _, p := range before {
		if !has(now, p.Part) {
			if err := release(ctx, tx, p.Part, image); err != nil {
				return err
			}
		}
	}
	for _, p := range now {
		if !has(before, p.Part) {
			if err := hold(ctx, tx, p.Part, image); err != nil {
				return err
			}
		}
	}
	return nil
}

// Confirm makes sure of parts that were put just now: a feed that was taken in while
// they were matched may have looked for them before they were there. changed is as
// for Refresh.
func (f *Fleet) Confirm(ctx context.Context, c *Contents, changed Changed) error {
	if len(c.fresh) == 0 {
		return nil
	}
	state, err := f.advisories.Snapshot(ctx)
	if err != nil {
		return err
	}
	if state.ID != c.snapshot {
		_, err := f.Refresh(ctx, nil, changed)
		return err
	}
	return f.store.Update(ctx, func(tx store.Tx) error {
		for _, num := range c.fresh {
			if _, err := tx.Exec(ctx, "UPDATE fleet_part SET fresh = 0 WHERE num = ?", num); err != nil {
				return fmt.Errorf("settle part: %w", err)
			}
		}
		return nil
	})
}
