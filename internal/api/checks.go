// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

// maxAsked bounds the layers of one question; no image has more.
const maxAsked = 256

// knownLayers tells which layers need not be sent: an archive without their blobs
// is taken all the same.
func (e *Engine) knownLayers(ctx context.Context, c *call) (any, error) {
	in, err := decode[client.Layers](c)
	if err != nil {
		return nil, err
	}
	if len(in.Layers) > maxAsked {
		return nil, fault.New(fault.TooLarge, "%d layers; at most %d are answered at once", len(in.Layers), maxAsked)
	}
	known := client.Layers{Layers: []client.Layer{}}
	for _, l := range in.Layers {
		diffID, err := image.ParseDigest(l.DiffID)
		if err != nil {
			return nil, fault.New(fault.Invalid, "%v", err)
		}
		digest, err := image.ParseDigest(l.Digest)
		if err != nil {
			return nil, fault.New(fault.Invalid, "%v", err)
		}
		if e.holds(ctx)(image.Layer{DiffID: diffID, Digest: digest}) {
			known.Layers = append(known.Layers, l)
		}
	}
	return known, nil
}

// holds reports whether a layer's report is kept, and was read from the very blob.
func (e *Engine) holds(ctx context.Context) func(image.Layer) bool {
	return func(l image.Layer) bool {
		report, ok := e.o.Catalog.Get(ctx, l.DiffID)
		return ok && report.Tells(l)
	}
}

// check is a verdict with the evidence it was made from: what "goldkeep check
// --server" shows.
func (e *Engine) check(ctx context.Context, c *call) (any, error) {
	digest, err := c.digest()
	if err != nil {
		return nil, err
	}
	env, err := e.o.Catalog.Environment(ctx, c.vars["name"])
	if err != nil {
		return nil, err
	}
	img, err := e.o.Catalog.Find(ctx, digest)
	if err != nil {
		return nil, err
	}
	if img.Evidence == nil {
		return nil, fault.New(fault.NotFound, "image %s has not been scanned", digest).WithHint("bring it with: goldkeep image add IMAGE")
	}
	ev, err := e.o.Catalog.EvidenceIn(ctx, img, env)
	if err != nil {
		return nil, err
	}
	evidence, err := json.Marshal(ev)
	if err != nil {
		return nil, fmt.Errorf("encode evidence: %w", err)
	}
	judged, err := json.Marshal(verdict.Evaluate(*env, ev, c.Now))
	if err != nil {
		return nil, fmt.Errorf("encode verdict: %w", err)
	}
	return client.Check{Evidence: evidence, Verdict: judged}, nil
}
