// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/finding"
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
	})
}
