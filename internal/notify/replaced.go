// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"context"
	"fmt"

	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/workload"
)

// hearMove tells those who run what a channel points at, and those whose images are
// built on what it pointed at before. Whoever moved the channel knows of it.
func (r *ring) hearMove(ctx context.Context, before standing, n news) error {
	if before.State == n.Standing.State {
		return nil // it was moved back
	}
	place := plain(n.Golden+" "+n.Channel, maxText)
	for _, w := range r.workloads[workload.Image{Golden: n.Golden, Channel: n.Channel}] {
		r.pass(Item{
			Change: Replaced, Environment: w.Environment, Image: string(n.Image), Golden: []string{place}, Workloads: []string{w.Name}, At: n.At,
			Reasons:  []string{place + " is another image now"},
			Remedies: []string{"restart what runs the one before, " + short(image.Digest(before.State))},
		}, []stake{{w.Owner, w.Contact}}, n.Cause)
	}
	built, err := r.s.o.Catalog.BuiltOn(ctx, image.Digest(before.State))
	if err != nil {
		return fmt.Errorf("find what is built on %s: %w", place, err)
	}
	for _, b := range built {
		it := Item{
			Change: Replaced, Image: string(b.Image), Golden: []string{plain(b.Golden+" "+b.Channel, maxText)}, At: n.At,
			Reasons:  []string{"the base image " + place + " is another image now"},
			Remedies: []string{"rebuild on " + place + ", " + string(n.Image)},
		}
		for _, w := range r.workloads[workload.Image{Golden: b.Golden, Channel: b.Channel}] {
			it.Workloads = appendNew(it.Workloads, w.Name)
		}
		r.pass(it, []stake{{b.Owner, b.Contact}}, n.Cause)
	}
	return nil
}

// short is enough of a digest to find it.
func short(d image.Digest) string { return string(d[:min(len(d), 19)]) }
