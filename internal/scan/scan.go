// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package scan is the line from an image to what is known of it: read the layers
// that are new, join them to the image's contents, match those with the
// advisories. What comes out is evidence; verdict judges it.
package scan

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/sbom"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

// Advisories is the advisory database; *advisory.Index is one.
type Advisories interface {
	finding.Advisories
	Snapshot(ctx context.Context) (advisory.Snapshot, error)
}

// Cache keeps reports of layers by DiffID. It may forget: a miss costs time only.
type Cache interface {
	Get(diffID image.Digest) (*component.LayerReport, bool)
	Put(report *component.LayerReport)
}

// Deps are the parts a scan works with.
type Deps struct {
	Advisories Advisories
	Layers     Cache // nil: every layer is read
	Limits     image.Limits
	Now        func() time.Time
}

// Scan finds out all that can be known of an image from its bytes and the
// advisory database. A layer it knows is not opened. What could not be read or
// judged is in the evidence as a problem or a gap; an error means that there is
// no evidence at all.
func Scan(ctx context.Context, img *image.Image, d Deps) (verdict.Evidence, error) {
	known := &knownLayers{cache: d.Layers, found: map[*component.LayerReport]bool{}}
	reports, err := component.ReadLayers(ctx, img, d.Limits, known.get)
	if err != nil {
		return verdict.Evidence{}, fmt.Errorf("scan image: %w", err)
	}
	if err := known.contradict(img.Layers, reports); err != nil {
		return verdict.Evidence{}, fmt.Errorf("scan image: %w", err)
	}
	known.add(img.Layers, reports)

	contents := component.Join(img, reports)
	about := verdict.Evidence{
		Image:      describe(img, contents),
		OS:         contents.OS,
		Components: contents.Components,
		Facts:      contents.Facts,
		Problems:   contents.Problems,
	}
	return Rematch(ctx, about, d.Advisories, d.Now())
}

// Bill finds out what can be known from a bill of materials alone: the packages
// and their flaws. The rest is not known, and said to be.
func Bill(ctx context.Context, bill *sbom.Bill, idx Advisories, now time.Time) (verdict.Evidence, error) {
	about := verdict.Evidence{
		Image: verdict.Image{ID: bill.ID, Name: bill.Name, Kind: verdict.Bill, Origin: bill.Origin(), Platform: bill.Platform, Ports: bill.Ports},
		OS:    bill.Inventory.OS, Components: bill.Inventory.Components, Facts: bill.Inventory.Facts, Problems: bill.Inventory.Problems,
	}
	return Rematch(ctx, about, idx, now)
}

// Rematch judges known contents by the advisories of today: new findings for old
// evidence, without the image.
func Rematch(ctx context.Context, ev verdict.Evidence, idx Advisories, now time.Time) (verdict.Evidence, error) {
	// The snapshot is read first: should an import come in between, the evidence
	// names the older one, and the import names it as touched.
	snapshot, err := idx.Snapshot(ctx)
	if err != nil {
		return verdict.Evidence{}, fmt.Errorf("scan image: %w", err)
	}
	ev.Findings, ev.Gaps, err = finding.Match(ctx, idx, Inventory(ev), now)
	if err != nil {
		return verdict.Evidence{}, fmt.Errorf("scan image: %w", err)
	}
	ev.Findings = finding.Place(ev.Findings, finding.Surroundings{Exposed: ev.Image.Ports})
	ev.Snapshot, ev.SnapshotAt, ev.PartialFeeds = snapshot.ID, snapshot.LastSync(), finding.PartialFeeds(snapshot, ev.Components)
	return ev, nil
}

// Inventory is the part of evidence that was read from the image.
func Inventory(ev verdict.Evidence) component.Inventory {
	return component.Inventory{
		OS: ev.OS, Components: ev.Components, Facts: ev.Facts, Problems: ev.Problems, Base: ev.Image.Base,
	}
}

// describe is what is said of the image itself. Evidence is stored and shown:
// credentials in it are found, and left out.
func describe(img *image.Image, contents *component.Inventory) verdict.Image {
	return verdict.Image{
		Name: component.Shown(img.Name), ID: string(img.ID), ChainID: string(img.ChainID), Platform: img.Platform, Kind: string(img.Kind),
		Created: img.Created, User: img.Config.User, Labels: component.ShownLabels(img.Labels, contents.Facts), Ports: slices.Clone(img.Config.Ports),
		Base: component.Shown(contents.Base),
	}
}

// knownLayers are the layers of one scan that need not be read.
type knownLayers struct {
	cache Cache // nil: none is known
	mu    sync.Mutex
	found map[*component.LayerReport]bool
}

// get returns the kept report of a layer. Several layers may be asked for at once.
func (k *knownLayers) get(layer image.Layer) (*component.LayerReport, bool) {
	if k.cache == nil {
		return nil, false
	}
	report, ok := k.cache.Get(layer.DiffID)
	if !ok || !report.Tells(layer) {
		return nil, false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.found[report] = true
	return report, true
}

// contradict refuses a blob that cannot be read and is said to be a layer that is
// known from another: else whoever may bring images could make a good one unknown.
func (k *knownLayers) contradict(layers []image.Layer, reports []*component.LayerReport) error {
	if k.cache == nil {
		return nil
	}
	for i, r := range reports {
		if !r.Unread {
			continue
		}
		if before, ok := k.cache.Get(layers[i].DiffID); ok && before.Usable() && before.DiffID == layers[i].DiffID {
			return fault.New(fault.Invalid, "layer %d: the blob %s cannot be read, and the layer it is said to be is known from another", i, layers[i].Digest).
				WithHint("bring the image from where it was built")
		}
	}
	return nil
}

// add keeps what was read anew, and from which blobs.
func (k *knownLayers) add(layers []image.Layer, reports []*component.LayerReport) {
	if k.cache == nil {
		return
	}
	for i, r := range reports {
		if r.Usable() && !k.found[r] {
			before, _ := k.cache.Get(r.DiffID)
			k.cache.Put(r.Proven(layers[i].Digest, before))
			k.found[r] = true
		}
	}
}
