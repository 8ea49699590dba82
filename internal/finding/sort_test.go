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
	no := false
	want := []finding.Finding{
		{ID: "exploited, though low", Exploited: true, Severity: "low", Score: 2},
		{ID: "critical", Severity: "critical"},
		{ID: "high, above 8", Severity: "high", Score: 8.1},
		{ID: "high, likelier", Severity: "high", Score: 7.5, EPSS: 0.5},
		{ID: "high, with a fix", Severity: "high", Score: 7.5, Fixed: "2"},
		{ID: "high", Severity: "high", Score: 7.5},
		{ID: "high, not linked in", Severity: "high", Score: 8.9, Linked: &no},
		{ID: "not stated", Package: "a"},
		{ID: "unknown", Severity: "unknown", Package: "b"},
		{ID: "medium", Severity: "medium", Score: 6.9},
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
