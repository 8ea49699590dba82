// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/store/storetest"
)

func TestWhatAgentsSawAddsUp(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		c, ctx := open(t, st), t.Context()
		learn(t, c, "a")
		if seen, last, err := c.Seen(ctx, digest("a")); err != nil || !last.IsZero() || seen.Executed != nil {
			t.Errorf("nobody looked: %+v, %v, %v", seen, last, err)
		}
		ok(t, c.Saw(ctx, digest("a"), finding.Surroundings{Listening: []finding.Socket{{Port: "80/tcp", Path: "app/server"}}, Executed: []string{"app/server"}}))
		ok(t, c.Saw(ctx, digest("a"), finding.Surroundings{Executed: []string{"app/server", "usr/bin/sh"}, Packages: []string{"dash"}}))
		seen, last, err := c.Seen(ctx, digest("a"))
		ok(t, err)
		want := finding.Surroundings{
			Listening: []finding.Socket{{Port: "80/tcp", Path: "app/server"}}, Executed: []string{"app/server", "usr/bin/sh"}, Packages: []string{"dash"},
		}
		if diff := cmp.Diff(want, seen); diff != "" || last.IsZero() {
			t.Errorf("seen, last %v (-want +got):\n%s", last, diff)
		}
	})
}

func TestALyingAgentFillsNothing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		c, ctx := open(t, st), t.Context()
		var many finding.Surroundings
		for i := range 6000 {
			many.Executed = append(many.Executed, fmt.Sprint("file", i))
		}
		wantKind(t, c.Saw(ctx, digest("a"), many), fault.TooLarge)
		many.Executed = many.Executed[:5000]
		ok(t, c.Saw(ctx, digest("a"), many))
		wantKind(t, c.Saw(ctx, digest("a"), finding.Surroundings{Packages: []string{"one more"}}), fault.TooLarge)
		ok(t, c.Saw(ctx, digest("a"), many)) // the same again

		ok(t, st.Update(ctx, func(tx store.Tx) error { // five weeks later
			_, err := tx.Exec(ctx, "UPDATE fleet_seen SET last = ?", store.Millis(st.Now().Add(-35*24*time.Hour)))
			return err
		}))
		ok(t, c.Saw(ctx, digest("a"), finding.Surroundings{Packages: []string{"one more"}}))
	})
}

// TestFilesThatRunLeadToTheirPackages: by what the layers say of who owns them.
func TestFilesThatRunLeadToTheirPackages(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		c, ctx := open(t, st), t.Context()
		layer := digest("layer of a")
		img := &image.Image{ID: digest("a"), Name: "a", Layers: []image.Layer{{DiffID: layer}}}
		ok(t, c.Learn(ctx, img, evidence("a", "m")))
		ok(t, c.Put(ctx, layer, &component.LayerReport{Version: component.ReportVersion, DiffID: layer, Owned: []component.OwnedFiles{
			{Path: "var/lib/dpkg/info/libssl3.list", Files: map[string][]string{"libssl3": {"usr/lib/libssl.so.3"}}},
		}}))
		ok(t, c.Saw(ctx, digest("a"), finding.Surroundings{Executed: []string{"/usr/lib/libssl.so.3", "/app/server"}}))
		seen, _, err := c.Seen(ctx, digest("a"))
		ok(t, err)
		if diff := cmp.Diff([]string{"libssl3"}, seen.Packages); diff != "" {
			t.Errorf("packages (-want +got):\n%s", diff)
		}
	})
}
