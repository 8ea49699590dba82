// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package advisory_test

import (
	"strings"
	"testing"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/store/storetest"
)

// TestBothStores walks through everything the database is asked, on each variant.
func TestBothStores(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		ctx := t.Context()
		idx := advisory.New(st)
		if err := idx.Migrate(ctx); err != nil {
			t.Fatal(err)
		}
		records := map[string]string{
			"A-1": rec("A-1", "alpha", `"aliases":["CVE-2026-0001"],`), "A-2": rec("A-2", "beta", ""), "A-3": rec("A-3", "gamma", ""),
		}
		first := mustImport(t, idx, "npm", records)
		if first.Added != 3 || len(first.Keys) != 3 {
			t.Errorf("first import: %+v", first)
		}
		unsettled, err := idx.Unsettled(ctx)
		if err != nil || len(unsettled) != 1 || unsettled[0].Feed != "npm" || keysOf(unsettled[0]) != "npm/alpha npm/beta npm/gamma" {
			t.Errorf("unsettled after a crash = %+v, %v", unsettled, err)
		}
		settle(t, idx, first)
		if unsettled, err = idx.Unsettled(ctx); err != nil || len(unsettled) != 0 {
			t.Errorf("unsettled after settling = %+v, %v", unsettled, err)
		}
		delete(records, "A-3")
		records["A-2"] = rec("A-2", "beta", `"withdrawn":"2026-02-01T00:00:00Z",`)
		second := mustImport(t, idx, "npm", records)
		if got := keysOf(second); got != "npm/beta npm/gamma" {
			t.Errorf("touched = %s", got)
		}
		settle(t, idx, second)

		kev, err := idx.ImportKEV(ctx, strings.NewReader(`{"vulnerabilities":[{"cveID":"CVE-2026-0001","dateAdded":"2026-01-02"}]}`))
		if err != nil || keysOf(kev) != "npm/alpha" {
			t.Errorf("KEV touched %s, %v", keysOf(kev), err)
		}
		if _, err := idx.ImportEPSS(ctx, strings.NewReader("cve,epss,percentile\nCVE-2026-0001,0.5,0.9\n")); err != nil {
			t.Error(err)
		}
		found, err := idx.Lookup(ctx, []advisory.Key{{Ecosystem: "npm", Name: "alpha"}, {Ecosystem: "npm", Name: "gamma"}})
		if err != nil || len(found) != 1 || found[0].ID != "A-1" {
			t.Errorf("lookup = %+v, %v", found, err)
		}
		scores, err := idx.Scores(ctx, []string{"CVE-2026-0001"})
		if s := scores["CVE-2026-0001"]; err != nil || !s.Exploited || s.EPSS != 0.5 {
			t.Errorf("scores = %+v, %v", scores, err)
		}
		if got, err := idx.Get(ctx, "CVE-2026-0001"); err != nil || len(got) != 1 {
			t.Errorf("get by alias = %+v, %v", got, err)
		}
		if snap, err := idx.Snapshot(ctx); err != nil || len(snap.Feeds) != 3 {
			t.Errorf("snapshot = %+v, %v", snap, err)
		}
		if covered, err := idx.Covered(ctx); err != nil || !covered["npm"] {
			t.Errorf("covered = %v, %v", covered, err)
		}
	})
}
