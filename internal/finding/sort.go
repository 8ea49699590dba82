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
// before what is hidden, what is exploited before what is not, then by severity,
// whether the flawed code is linked in, score, probability of exploitation, and
// whether there is a fix. Equals go by name, so that the order is the same each
// time. The reasons are in docs/design/finding.md.
func MoreUrgent(a, b Finding) int {
	return cmp.Or(
		yesFirst(a.Hidden == "", b.Hidden == ""),
		yesFirst(a.Exploited, b.Exploited),
		cmp.Compare(severityRank(b.Severity), severityRank(a.Severity)),
		yesFirst(mayRun(a), mayRun(b)),
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

// mayRun is false only where the flawed code is known not to be linked in.
func mayRun(f Finding) bool { return f.Linked == nil || *f.Linked }
