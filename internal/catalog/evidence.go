// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/scan"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

// assembler puts evidence together from an image's row and the parts it names. One
// serves many images that are read in one transaction.
type assembler struct {
	c     *Catalog
	parts map[int64]*part
	seen  map[int64]finding.Surroundings
	state advisory.Snapshot
}

// assemble reads what the rows of some images name.
func (c *Catalog) assemble(ctx context.Context, tx store.Tx, state advisory.Snapshot, images map[int64]*known) (*assembler, error) {
	a := &assembler{c: c, state: state, seen: map[int64]finding.Surroundings{}}
	var nums []int64
	for _, k := range images {
		for _, p := range k.Parts {
			nums = append(nums, p.Part)
		}
	}
	slices.Sort(nums)
	var err error
	if a.parts, err = c.loadParts(ctx, tx, slices.Compact(nums)); err != nil {
		return nil, err
	}
	a.seen, err = c.seenOf(ctx, tx, images)
	return a, err
}

// evidence is all that is known of an image, but for what depends on where it stands.
func (a *assembler) evidence(num int64, k *known) verdict.Evidence {
	ev := k.Evidence
	ev.Components, ev.Facts = []component.Component{}, slices.Clone(k.Evidence.Facts)
	pieces := make([]finding.MatchedPiece, 0, len(k.Parts))
	for _, at := range k.Parts {
		p := a.parts[at.Part]
		if p == nil { // cannot be: parts are never removed
			ev.Problems = append(slices.Clone(ev.Problems), component.Problem{Path: "layer", Reason: "what is known of a layer is gone from the database", Fatal: true})
			continue
		}
		for _, c := range p.content.Components {
			c.LayerIndex += at.Layer
			if c.LayerIndex < len(k.Layers) {
				c.Layer = k.Layers[c.LayerIndex]
			}
			ev.Components = append(ev.Components, c)
		}
		for _, f := range p.content.Facts {
			f.LayerIndex = at.Layer
			if at.Layer < len(k.Layers) {
				f.Layer = k.Layers[at.Layer]
			}
			ev.Facts = append(ev.Facts, f)
		}
		pieces = append(pieces, finding.MatchedPiece{Matched: p.found, Layer: at.Layer})
	}
	seen := a.seen[num]
	seen.Exposed = ev.Image.Ports
	ev.Findings, ev.Gaps = finding.Join(scan.Inventory(ev), k.Layers, pieces, seen)
	return scan.Stamp(ev, a.state)
}

// inOrder sorts what was put together as package component does.
func inOrder(ev *verdict.Evidence) {
	slices.SortFunc(ev.Components, compareComponents)
	slices.SortStableFunc(ev.Facts, compareFacts)
}

// partCache keeps the parts used last. It is emptied by halves: what was not used
// since the last time goes.
type partCache struct {
	mu         sync.Mutex
	young, old map[int64]*part
	weight     int // of the young
}

// cacheWeight bounds half the cache, in components: about 50 MB.
const cacheWeight = 60_000

func (c *partCache) get(num, version int64) *part {
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

func (c *partCache) put(p *part) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(p)
}

func (c *partCache) add(p *part) {
	if c.young == nil || c.weight > cacheWeight {
		c.young, c.old, c.weight = map[int64]*part{}, c.young, 0
	}
	c.young[p.num] = p
	c.weight += p.weight()
}

// loadParts returns parts by number: from the cache where what was found in them
// has not changed since.
func (c *Catalog) loadParts(ctx context.Context, tx store.Tx, nums []int64) (map[int64]*part, error) {
	parts := make(map[int64]*part, len(nums))
	var missing []int64
	err := inChunks(nums, func(marks string, args []any) error {
		return store.Each(ctx, tx, func(r store.Row) error {
			var num, version int64
			if err := r.Scan(&num, &version); err != nil {
				return err
			}
			if p := c.parts.get(num, version); p != nil {
				parts[num] = p
			} else {
				missing = append(missing, num)
			}
			return nil
		}, "SELECT num, version FROM catalog_part WHERE num IN ("+marks+")", args...)
	})
	if err == nil {
		err = inChunks(missing, func(marks string, args []any) error {
			return store.Each(ctx, tx, func(r store.Row) error {
				p, err := scanPart(r)
				if err == nil {
					parts[p.num] = p
					c.parts.put(p)
				}
				return err
			}, "SELECT num, version, body, found FROM catalog_part WHERE num IN ("+marks+")", args...)
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
	if err := unpack(body, &p.content); err != nil {
		return nil, err
	}
	return p, unpack(found, &p.found)
}
