// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/fleet"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

// assembler puts evidence together from an image's row and the parts it names. One
// serves many images that are read in one transaction.
type assembler struct {
	parts fleet.Loaded
	seen  map[int64]finding.Surroundings
	state advisory.Snapshot
}

// assemble reads what the rows of some images name.
func (c *Catalog) assemble(ctx context.Context, tx store.Tx, state advisory.Snapshot, images map[int64]*known) (*assembler, error) {
	a := &assembler{state: state}
	var lists [][]fleet.Placed
	for _, k := range images {
		lists = append(lists, k.Parts)
	}
	var err error
	if a.parts, err = c.fleet.Load(ctx, tx, lists...); err != nil {
		return nil, err
	}
	a.seen, err = c.seenOf(ctx, tx, images)
	return a, err
}

// evidence is all that is known of an image, but for what depends on where it
// stands, its lists in no order.
func (a *assembler) evidence(num int64, k *known) verdict.Evidence {
	ev := k.Evidence
	inv := component.Inventory{OS: ev.OS, Components: []component.Component{}, Facts: append([]component.Fact{}, ev.Facts...), Problems: ev.Problems}
	a.parts.Fill(&inv, k.Layers, k.Parts)
	seen := a.seen[num]
	seen.Exposed = ev.Image.Ports
	ev.Components, ev.Facts, ev.Problems = inv.Components, inv.Facts, inv.Problems
	ev.Findings, ev.Gaps = a.parts.Findings(inv, k.Layers, k.Parts, seen)
	ev.Snapshot, ev.SnapshotAt = a.state.ID, a.state.LastSync()
	ev.PartialFeeds = finding.PartialFeeds(a.state, ev.Components)
	return ev
}

// inOrder sorts the lists of evidence as a scan does.
func inOrder(ev *verdict.Evidence) {
	inv := component.Inventory{Components: ev.Components, Facts: ev.Facts}
	fleet.Sort(&inv)
}
