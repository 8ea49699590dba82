// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"time"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/fleet"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

// assembler puts evidence together from an image's row and the parts it names. One
// serves many images that are read in one transaction.
type assembler struct {
	parts fleet.Loaded
	seen  map[string]finding.Surroundings // by ID
	bases map[string]forebear
	state advisory.Snapshot
}

// assemble reads what the rows of some images name.
func (c *Catalog) assemble(ctx context.Context, tx store.Tx, state advisory.Snapshot, images map[int64]*known) (*assembler, error) {
	a := &assembler{state: state}
	var lists [][]fleet.Placed
	var ids []string
	for _, k := range images {
		lists, ids = append(lists, k.Parts), append(ids, k.Evidence.Image.ID)
	}
	var err error
	if a.parts, err = c.fleet.Load(ctx, tx, lists...); err != nil {
		return nil, err
	}
	if a.bases, err = c.forebears(ctx, tx, images); err != nil {
		return nil, err
	}
	a.seen, _, err = c.fleet.Seen(ctx, tx, ids)
	return a, err
}

// evidence is all that is known of an image, but for what depends on where it
// stands, its lists in no order.
func (a *assembler) evidence(k *known) verdict.Evidence {
	ev := k.Evidence
	inv := component.Inventory{OS: ev.OS, Components: []component.Component{}, Facts: append([]component.Fact{}, ev.Facts...), Problems: ev.Problems}
	a.parts.Fill(&inv, k.Layers, k.Parts)
	seen := a.seen[ev.Image.ID]
	seen.Exposed = ev.Image.Ports
	ev.Components, ev.Facts, ev.Problems = inv.Components, inv.Facts, inv.Problems
	ev.Findings, ev.Gaps = a.parts.Findings(inv, k.Layers, k.Parts, seen)
	ev.Snapshot, ev.SnapshotAt = a.state.ID, a.state.LastSync()
	ev.PartialFeeds = finding.PartialFeeds(a.state, ev.Components)
	lineage(&ev, k.Layers, a.bases)
	return ev
}

// inOrder sorts the lists of evidence as a scan does.
func inOrder(ev *verdict.Evidence) {
	inv := component.Inventory{Components: ev.Components, Facts: ev.Facts}
	fleet.Sort(&inv)
}

// Saw notes what an agent saw of an instance of an image, now. What is new makes the
// verdicts kept on the image due. It may say nothing of Exposed: the image does.
// fault.TooLarge where more is said than one image can hold.
func (c *Catalog) Saw(ctx context.Context, id image.Digest, seen finding.Surroundings) error {
	return c.store.Update(ctx, func(tx store.Tx) error {
		fresh, err := c.fleet.Saw(ctx, tx, id, seen)
		if err != nil || !fresh {
			return err
		}
		return c.touch(ctx, tx, id)
	})
}

// Seen returns what agents saw of an image within the last month, and when the last
// of it; the zero values where none looked.
func (c *Catalog) Seen(ctx context.Context, id image.Digest) (seen finding.Surroundings, last time.Time, err error) {
	err = c.store.View(ctx, func(tx store.Tx) error {
		all, newest, err := c.fleet.Seen(ctx, tx, []string{string(id)})
		seen, last = all[string(id)], newest
		return err
	})
	return seen, last, err
}
