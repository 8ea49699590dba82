// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package finding

import (
	"cmp"
	"slices"
	"strings"
)

// Sort puts the most urgent finding first.
func Sort(findings []Finding) { slices.SortFunc(findings, MoreUrgent) }

// MoreUrgent is the one order of urgency, for slices.SortFunc: what is counted
// before what is hidden, then by urgency; within it what is exploited before what
// is not (by ransomware first), then by severity, whether the flawed code may run,
// how it can be reached, score, probability of exploitation, and whether there is
// a fix. Equals go by name, so that the order is the same each time. The reasons
// are in docs/urgency.md.
func MoreUrgent(a, b Finding) int {
	return cmp.Or(
		yesFirst(a.Hidden == "", b.Hidden == ""),
		cmp.Compare(urgencyRank(a), urgencyRank(b)),
		yesFirst(a.Exploited, b.Exploited),
		yesFirst(a.Ransomware, b.Ransomware),
		cmp.Compare(severityRank(b.Severity), severityRank(a.Severity)),
		yesFirst(!unused(a), !unused(b)),
		cmp.Compare(reachRank(a.Reach), reachRank(b.Reach)),
		yesFirst(seenRunning(a), seenRunning(b)),
		cmp.Compare(b.Score, a.Score),
		cmp.Compare(b.EPSS, a.EPSS),
		yesFirst(a.Fixed != "", b.Fixed != ""),
		strings.Compare(a.Ecosystem, b.Ecosystem),
		strings.Compare(a.Package, b.Package),
		strings.Compare(a.Version, b.Version),
		strings.Compare(a.Path, b.Path),
		strings.Compare(a.ID, b.ID),
		strings.Compare(a.PURL, b.PURL),
	)
}

// urgencyRank works the urgency out where nobody has: findings kept by an earlier version.
func urgencyRank(f Finding) int {
	u := f.Urgency
	if u == "" {
		u, _ = urgency(f)
	}
	return slices.Index(urgencies, u)
}

// Over tells whether a finding is more urgent than u.
func (f Finding) Over(u Urgency) bool { return urgencyRank(f) < slices.Index(urgencies, u) }

func reachRank(r Reach) int { return slices.Index([]Reach{Listening, Exposed, ""}, r) }

func seenRunning(f Finding) bool { return f.Executed != nil && *f.Executed }

func yesFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// severityRank puts "unknown" between high and medium: it may be anything. So may
// a severity nobody knows.
func severityRank(severity string) int {
	ranks := [...]string{"none", "low", "medium", "unknown", "high", "critical"}
	if at := slices.Index(ranks[:], severity); at >= 0 {
		return at
	}
	return slices.Index(ranks[:], "unknown")
}
