// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package finding_test

import (
	"math/rand"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/internal/finding"
)

func TestTheOrderOfUrgency(t *testing.T) {
	no, yes := false, true
	want := []finding.Finding{
		{ID: "exploited by ransomware", Exploited: true, Ransomware: true, Severity: "low", Score: 2},
		{ID: "exploited and critical", Exploited: true, Severity: "critical"},
		{ID: "critical, listening", Severity: "critical", Reach: finding.Listening},
		{ID: "critical, exploitation likely", Severity: "critical", EPSS: 0.2},
		{ID: "exploited, not linked in", Exploited: true, Severity: "high", Linked: &no},
		{ID: "critical", Severity: "critical"},
		{ID: "high, listening", Severity: "high", Reach: finding.Listening},
		{ID: "high, likely", Severity: "high", Score: 7.5, EPSS: 0.5},
		{ID: "low, likely", Severity: "low", EPSS: 0.1},
		{ID: "critical, never seen running", Severity: "critical", Executed: &no},
		{ID: "high, exposed", Severity: "high", Score: 7, Reach: finding.Exposed},
		{ID: "high, seen running", Severity: "high", Score: 7, Executed: &yes},
		{ID: "high, above 8", Severity: "high", Score: 8.1},
		{ID: "high, likelier", Severity: "high", Score: 7.5, EPSS: 0.09},
		{ID: "high, with a fix", Severity: "high", Score: 7.5, Fixed: "2"},
		{ID: "high", Severity: "high", Score: 7.5},
		{ID: "not stated", Package: "a"},
		{ID: "unknown", Severity: "unknown", Package: "b"},
		{ID: "medium", Severity: "medium", Score: 6.9},
		{ID: "high, not linked in", Severity: "high", Score: 8.9, Linked: &no},
		{ID: "low, a", Severity: "low", Score: 3},
		{ID: "low, b", Severity: "low", Score: 3},
		{ID: "none", Severity: "none"},
		{ID: "hidden", Severity: "critical", Exploited: true, Hidden: "unimportant"},
	}
	r := rand.New(rand.NewSource(1))
	for range 50 {
		got := append([]finding.Finding{}, want...)
		r.Shuffle(len(got), func(i, j int) { got[i], got[j] = got[j], got[i] })
		finding.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	}
}
