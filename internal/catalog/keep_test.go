// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/internal/catalog"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/store/storetest"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

func TestWhoeverListensIsToldOfOldAndNewVerdict(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		c, ctx := open(t, st), t.Context()
		var told []string
		var refuse error
		c.OnKeep = func(_ context.Context, _ store.Tx, old *verdict.Verdict, kept verdict.Verdict) error {
			line := "new " + string(kept.Admit.Answer)
			if old != nil {
				line = "old " + string(old.Admit.Answer) + " " + line
			}
			told = append(told, line)
			return refuse
		}
		learn(t, c, "a")
		pair := catalog.Pair{Image: digest("a"), Environment: "prod"}
		keep := func(answer verdict.Answer) error {
			turn := must(c.Turn(ctx, pair))(t)
			return c.Keep(ctx, verdict.Verdict{Image: string(pair.Image), Environment: "prod", Admit: verdict.Outcome{Answer: answer}}, turn)
		}
		ok(t, keep(verdict.Yes))
		ok(t, keep(verdict.No))
		ok(t, c.Keep(ctx, verdict.Verdict{Image: string(pair.Image), Environment: "prod"}, 0)) // outdated: not kept, not told
		refuse = errors.New("the listener could not write it down")
		if err := keep(verdict.Yes); !errors.Is(err, refuse) {
			t.Errorf("kept though the listener failed: %v", err)
		}
		if diff := cmp.Diff([]string{"new yes", "old yes new no", "old no new yes"}, told); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
		kept := must(c.Verdicts(ctx, image.Digest(pair.Image)))(t)
		if len(kept) != 1 || kept[0].Admit.Answer != verdict.No {
			t.Errorf("the verdict stands without what the listener writes: %+v", kept)
		}
	})
}
