// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package component

import (
	"context"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/goldkeep/goldkeep/internal/image"
)

// stored is a layer as one blob: two blobs that say they are one layer are both read.
type stored struct{ diffID, blob image.Digest }

// ReadLayers returns the report of each layer, lowest first. What known has is
// not read again: its layer is not even opened. The rest is read side by side,
// at most one layer for each processor. A layer that occurs twice is read once.
func ReadLayers(ctx context.Context, img *image.Image, lim image.Limits, known func(image.Layer) (*LayerReport, bool)) ([]*LayerReport, error) {
	reports, under := make([]*LayerReport, len(img.Layers)), limitsOf(lim)
	first := map[stored]int{}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, layer := range img.Layers {
		blob := stored{layer.DiffID, layer.Digest}
		if _, again := first[blob]; again {
			continue
		}
		first[blob] = i
		if known != nil {
			if r, ok := known(layer); ok && r.Usable() && r.Limits == under {
				reports[i] = r
				continue
			}
		}
		group.Go(func() error {
			r, err := ReadLayer(ctx, layer, lim)
			if err != nil {
				return fmt.Errorf("layer %d: %w", i, err)
			}
			r.Limits, reports[i] = under, r
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for i, layer := range img.Layers {
		reports[i] = reports[first[stored{layer.DiffID, layer.Digest}]]
	}
	return reports, nil
}

// limitsOf are the limits a layer's report depends on: read under others a layer may
// be refused, or a file left out. The defaults are the zero value.
func limitsOf(lim image.Limits) image.Limits {
	part := func(l image.Limits) image.Limits {
		l = l.WithDefaults()
		return image.Limits{LayerBytes: l.LayerBytes, Ratio: l.Ratio, Entries: l.Entries, FileBytes: l.FileBytes}
	}
	if lim = part(lim); lim == part(image.Limits{}) {
		return image.Limits{}
	}
	return lim
}
