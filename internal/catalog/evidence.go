// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"errors"
	"fmt"
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
	packages, err := c.packagesOf(ctx, id, seen.Executed)
	if err != nil {
		return err
	}
	seen.Packages = append(packages, seen.Packages...)
	return c.store.Update(ctx, func(tx store.Tx) error {
		fresh, err := c.fleet.Saw(ctx, tx, id, seen)
		if err != nil || !fresh {
			return err
		}
		return c.touch(ctx, tx, id)
	})
}

// packagesOf names the distribution packages of files that run from an image.
func (c *Catalog) packagesOf(ctx context.Context, id image.Digest, files []string) ([]string, error) {
	if len(files) == 0 {
		return nil, nil
	}
	k := known{}
	err := c.store.View(ctx, func(tx store.Tx) error {
		var body []byte
		err := tx.QueryRow(ctx, "SELECT body FROM catalog_image WHERE id = ? AND state = ?", string(id), string(Known)).Scan(&body)
		if err != nil {
			return err
		}
		return store.Unpack(body, &k)
	})
	if errors.Is(err, store.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find image: %w", err)
	}
	reports := make([]*component.LayerReport, len(k.Layers))
	for i, diff := range k.Layers {
		reports[i], _ = c.Get(ctx, diff)
	}
	return component.PackagesOf(reports, files), nil
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
