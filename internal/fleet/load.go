// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/store"
)

// Loaded are parts read in one transaction, for as many images as hold them.
type Loaded map[int64]*part

// Load reads the parts of images.
func (f *Fleet) Load(ctx context.Context, tx store.Tx, images ...[]Placed) (Loaded, error) {
	var nums []int64
	for _, parts := range images {
		for _, p := range parts {
			nums = append(nums, p.Part)
		}
	}
	slices.Sort(nums)
	return f.load(ctx, tx, slices.Compact(nums))
}

// Fill adds to what an image holds what its parts bring, in no order. layers are the
// image's DiffIDs.
func (l Loaded) Fill(inv *component.Inventory, layers []image.Digest, parts []Placed) {
	diff := func(i int) image.Digest {
		if i < len(layers) {
			return layers[i]
		}
		return ""
	}
	for _, at := range parts {
		p := l[at.Part]
		if p == nil { // cannot be: parts are never removed
			inv.Problems = append(slices.Clone(inv.Problems), component.Problem{Path: "layer", Reason: "what is known of a layer is gone from the database", Fatal: true})
			continue
		}
		for _, c := range p.content.Components {
			c.LayerIndex += at.Layer
			c.Layer = diff(c.LayerIndex)
			inv.Components = append(inv.Components, c)
		}
		for _, f := range p.content.Facts {
			f.LayerIndex, f.Layer = at.Layer, diff(at.Layer)
			inv.Facts = append(inv.Facts, f)
		}
	}
}

// Findings is what is found in an image that was filled, in its surroundings.
func (l Loaded) Findings(inv component.Inventory, layers []image.Digest, parts []Placed, s finding.Surroundings) ([]finding.Finding, []finding.Gap) {
	pieces := make([]finding.MatchedPiece, 0, len(parts))
	for _, at := range parts {
		if p := l[at.Part]; p != nil {
			pieces = append(pieces, finding.MatchedPiece{Matched: p.found, Layer: at.Layer})
		}
	}
	return finding.Join(inv, layers, pieces, s)
}

// Sort puts what was filled in the order package component has it in.
func Sort(inv *component.Inventory) {
	slices.SortFunc(inv.Components, compareComponents)
	slices.SortStableFunc(inv.Facts, compareFacts)
}

// cache keeps the parts used last. It is emptied by halves: what was not used
// since the last time goes.
type cache struct {
	mu         sync.Mutex
	young, old map[int64]*part
	weight     int // of the young
}

// cacheWeight bounds half the cache, in components: about 50 MB.
const cacheWeight = 60_000

func (c *cache) get(num, version int64) *part {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.young[num]
	if p == nil {
		if p = c.old[num]; p != nil {
			c.add(p)
		}
	}
	if p == nil || p.version != version {
		return nil
	}
	return p
}

func (c *cache) put(p *part) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(p)
}

func (c *cache) add(p *part) {
	if c.young == nil || c.weight > cacheWeight {
		c.young, c.old, c.weight = map[int64]*part{}, c.young, 0
	}
	c.young[p.num] = p
	c.weight += p.weight()
}

// load returns parts by number: from the cache where what was found in them
// has not changed since.
func (f *Fleet) load(ctx context.Context, tx store.Tx, nums []int64) (Loaded, error) {
	parts := make(Loaded, len(nums))
	var missing []int64
	err := InChunks(nums, func(marks string, args []any) error {
		return store.Each(ctx, tx, func(r store.Row) error {
			var num, version int64
			if err := r.Scan(&num, &version); err != nil {
				return err
			}
			if p := f.cache.get(num, version); p != nil {
				parts[num] = p
			} else {
				missing = append(missing, num)
			}
			return nil
		}, "SELECT num, version FROM fleet_part WHERE num IN ("+marks+")", args...)
	})
	if err == nil {
		err = InChunks(missing, func(marks string, args []any) error {
			return store.Each(ctx, tx, func(r store.Row) error {
				p, err := scanPart(r)
				if err == nil {
					parts[p.num] = p
					f.cache.put(p)
				}
				return err
			}, "SELECT num, version, body, found FROM fleet_part WHERE num IN ("+marks+")", args...)
		})
	}
	if err != nil {
		return nil, fmt.Errorf("read parts: %w", err)
	}
	return parts, nil
}

func scanPart(r store.Row) (*part, error) {
	var body, found []byte
	p := &part{}
	if err := r.Scan(&p.num, &p.version, &body, &found); err != nil {
		return nil, err
	}
	if err := store.Unpack(body, &p.content); err != nil {
		return nil, err
	}
	return p, store.Unpack(found, &p.found)
}
