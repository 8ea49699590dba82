// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package finding

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/advisory"
)

// groupByAlias joins the hits that speak of one flaw: they are connected by their
// IDs and aliases, directly or over each other. Not by "related", which only means
// similar, and not by "upstream": a distribution's advisory may bundle ten flaws
// and share one of them with another advisory that has a fix of its own.
func groupByAlias(hits []hit) [][]hit {
	leader := make([]int, len(hits))
	byName := map[string]int{}
	for i, h := range hits {
		leader[i] = i
		for _, name := range append([]string{h.record.ID}, h.record.Aliases...) {
			if j, seen := byName[name]; seen {
				leader[root(leader, i)] = root(leader, j)
			}
			byName[name] = i
		}
	}
	groups := map[int][]hit{}
	for i, h := range hits {
		r := root(leader, i)
		groups[r] = append(groups[r], h)
	}
	out := make([][]hit, 0, len(groups))
	for _, g := range groups {
		slices.SortFunc(g, func(a, b hit) int { return compareNames(a.record.ID, b.record.ID) })
		out = append(out, g)
	}
	return out
}

func root(leader []int, i int) int {
	for leader[i] != i {
		leader[i] = leader[leader[i]]
		i = leader[i]
	}
	return i
}

// ranks orders the names of one flaw: whoever ships the package speaks first, then
// the ecosystem's own database, then the general ones.
var ranks = [][]string{
	{"DSA-", "DLA-", "DTSA-", "USN-", "LSN-", "RHSA-", "RHBA-", "RHEA-", "ALSA-", "ALBA-", "ALEA-", "RLSA-", "RXSA-", "SUSE-", "openSUSE-", "OESA-", "MGASA-", "CGA-"},
	{"DEBIAN-", "UBUNTU-", "ALPINE-"},
	{"GO-", "PYSEC-", "RUSTSEC-", "MAL-", "OSV-", "HSEC-", "RSEC-", "BIT-"},
	{"GHSA-"},
	{"CVE-"},
}

func rank(id string) int {
	for i, prefixes := range ranks {
		if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(id, p) }) {
			return i
		}
	}
	return len(ranks)
}

func compareNames(a, b string) int {
	if d := rank(a) - rank(b); d != 0 {
		return d
	}
	return strings.Compare(a, b)
}

// finding makes one finding of a group of hits, the leading one first.
func (u unit) finding(group []hit, now time.Time) Finding {
	lead := group[0]
	f := Finding{
		ID: lead.record.ID, Ecosystem: u.ecosystem, Package: lead.pkg, Version: lead.version,
		PURL: u.shown.PURL, Path: u.shown.Path, Layer: string(u.shown.Layer), LayerIndex: u.shown.LayerIndex,
		Binaries: u.binaries, Linked: linked(group, u.shown.Packages), Since: now,
		Summary: lead.record.Summary, URL: lead.record.URL, Why: lead.why, Hidden: u.hidden,
	}
	o := newOrder(u.ecosystem)
	for _, h := range group {
		f.Aliases = append(f.Aliases, h.record.ID)
		f.Aliases = append(append(f.Aliases, h.record.Aliases...), h.record.Upstream...)
		if l := h.record.Learned; !l.IsZero() && l.Before(f.Since) {
			f.Since = l
		}
		// The version that is free of the flaw by every name of it.
		if h.fixed != "" && (f.Fixed == "" || o.lower(f.Fixed, h.fixed)) {
			f.Fixed = h.fixed
		}
	}
	slices.Sort(f.Aliases)
	f.Aliases = slices.DeleteFunc(slices.Compact(f.Aliases), func(a string) bool { return a == f.ID })
	f.Score, f.Severity, f.Vectors = severity(group)
	if why := playedDown(group); f.Hidden == "" && why != "" {
		f.Hidden = why
	}
	return f
}

var levels = []string{"none", "low", "medium", "high", "critical"}

// severity takes the highest score of the group, or else the highest word.
func severity(group []hit) (float64, string, []string) {
	score, level := 0.0, -1
	scored := false
	var vectors []string
	for _, h := range group {
		s := h.record.Severity
		if len(s.Vectors) > 0 && s.Level != "" {
			scored = true
			score = max(score, s.Score)
			vectors = append(vectors, s.Vectors...)
		}
		level = max(level, slices.Index(levels, s.Level), slices.Index(levels, h.level))
	}
	switch {
	case scored:
		return score, advisory.Level(score), once(vectors)
	case level >= 0:
		return 0, levels[level], nil
	}
	return 0, "unknown", nil
}

// severityOf is the highest score of some vectors, and those of them that are understood.
func severityOf(vectors []string) (float64, string, []string) {
	score, level := 0.0, "unknown"
	var scored []string
	for _, v := range vectors {
		s, ok := advisory.BaseScore(v)
		if !ok {
			continue
		}
		scored = append(scored, v)
		if level == "unknown" || s > score {
			score, level = s, advisory.Level(s)
		}
	}
	return score, level, once(scored)
}

func once(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}

// playedDown returns the distribution's word for a flaw it does not count as one.
func playedDown(group []hit) string {
	word := ""
	for _, h := range group {
		urgency := h.urgency
		if urgency == "" {
			urgency = h.record.Severity.Urgency
		}
		switch strings.ToLower(urgency) {
		case "unimportant", "negligible", "unmaintained", "notice":
			word = strings.ToLower(urgency)
		default:
			return ""
		}
	}
	return word
}

// linked tells whether a Go package the flaw is in is part of the program; nil
// where the advisory or the program does not say.
func linked(group []hit, packages []string) *bool {
	var out *bool
	for _, h := range group {
		if len(h.imports) == 0 || len(packages) == 0 {
			continue
		}
		in := slices.ContainsFunc(h.imports, func(p string) bool { return slices.Contains(packages, p) })
		if out == nil || in {
			out = &in
		}
	}
	return out
}

// addScores joins what is known of each finding's CVEs, under any of its names.
func addScores(ctx context.Context, idx Advisories, findings []Finding) error {
	var names []string
	for _, f := range findings {
		names = append(append(names, f.ID), f.Aliases...)
	}
	names = slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, "CVE-") })
	scores, err := idx.Scores(ctx, names)
	if err != nil {
		return err
	}
	for i := range findings {
		f := &findings[i]
		var vectors []string
		for _, name := range append([]string{f.ID}, f.Aliases...) {
			s := scores[name]
			f.Exploited = f.Exploited || s.Exploited
			f.Ransomware = f.Ransomware || s.Ransomware
			if !s.Due.IsZero() && (f.Due.IsZero() || s.Due.Before(f.Due)) {
				f.Due = s.Due
			}
			f.EPSS, f.Percentile = max(f.EPSS, s.EPSS), max(f.Percentile, s.Percentile)
			vectors = append(vectors, s.Vectors...)
		}
		if f.Severity == "unknown" {
			f.Score, f.Severity, f.Vectors = severityOf(vectors)
		}
	}
	return nil
}
