// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package finding

import (
	"cmp"
	"slices"
	"strings"
)

// Sort puts the most urgent finding first.
func Sort(findings []Finding) {
	// A finding is large: its place is moved until all are in order.
	places := make([]*Finding, len(findings))
	for i := range findings {
		places[i] = &findings[i]
	}
	slices.SortFunc(places, moreUrgent)
	sorted := make([]Finding, len(findings))
	for i, f := range places {
		sorted[i] = *f
	}
	copy(findings, sorted)
}

// MoreUrgent is the one order of urgency, for slices.SortFunc: what is counted
// before what is hidden, then by urgency; within it what is exploited before what
// is not (by ransomware first), then by severity, whether the flawed code may run,
// how it can be reached, score, probability of exploitation, and whether there is
// a fix. Equals go by name, so that the order is the same each time. The reasons
// are in docs/urgency.md.
func MoreUrgent(a, b Finding) int { return moreUrgent(&a, &b) }

// moreUrgent looks at each question only where all before it leave the two equal: a
// fleet's findings are sorted all day.
func moreUrgent(a, b *Finding) int {
	for _, order := range orders {
		if c := order(a, b); c != 0 {
			return c
		}
	}
	return 0
}

var orders = []func(a, b *Finding) int{
	func(a, b *Finding) int { return yesFirst(a.Hidden == "", b.Hidden == "") },
	func(a, b *Finding) int { return cmp.Compare(urgencyRank(a), urgencyRank(b)) },
	func(a, b *Finding) int { return yesFirst(a.Exploited, b.Exploited) },
	func(a, b *Finding) int { return yesFirst(a.Ransomware, b.Ransomware) },
	func(a, b *Finding) int { return cmp.Compare(severityRank(b.Severity), severityRank(a.Severity)) },
	func(a, b *Finding) int { return yesFirst(!unused(a), !unused(b)) },
	func(a, b *Finding) int { return cmp.Compare(reachRank(a.Reach), reachRank(b.Reach)) },
	func(a, b *Finding) int { return yesFirst(seenRunning(a), seenRunning(b)) },
	func(a, b *Finding) int { return cmp.Compare(b.Score, a.Score) },
	func(a, b *Finding) int { return cmp.Compare(b.EPSS, a.EPSS) },
	func(a, b *Finding) int { return yesFirst(a.Fixed != "", b.Fixed != "") },
	func(a, b *Finding) int { return strings.Compare(a.Ecosystem, b.Ecosystem) },
	func(a, b *Finding) int { return strings.Compare(a.Package, b.Package) },
	func(a, b *Finding) int { return strings.Compare(a.Version, b.Version) },
	func(a, b *Finding) int { return strings.Compare(a.Path, b.Path) },
	func(a, b *Finding) int { return strings.Compare(a.ID, b.ID) },
	func(a, b *Finding) int { return strings.Compare(a.PURL, b.PURL) },
}

// urgencyRank works the urgency out where nobody has: findings kept by an earlier version.
func urgencyRank(f *Finding) int {
	u := f.Urgency
	if u == "" {
		u, _ = urgency(*f)
	}
	return slices.Index(urgencies, u)
}

// Over tells whether a finding is more urgent than u.
func (f Finding) Over(u Urgency) bool { return urgencyRank(&f) < slices.Index(urgencies, u) }

func reachRank(r Reach) int {
	switch r {
	case Listening:
		return 0
	case Exposed:
		return 1
	}
	return 2
}

func seenRunning(f *Finding) bool { return f.Executed != nil && *f.Executed }

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
