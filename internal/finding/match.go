// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package finding

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/component"
)

// Advisories is what matching asks of an advisory database; *advisory.Index is one.
type Advisories interface {
	// Lookup returns every record that names one of the keys.
	Lookup(ctx context.Context, keys []advisory.Key) ([]advisory.Record, error)
	// Scores returns what is known of the CVEs among the names.
	Scores(ctx context.Context, names []string) (map[string]advisory.Score, error)
	// Covered returns the ecosystems there are advisories for.
	Covered(ctx context.Context) (map[string]bool, error)
}

// Match finds the flaws of an inventory, most urgent first, and says what it could
// not judge. It reads nothing but the database and its arguments; the order of the
// inventory makes no difference. The rules are in docs/design/finding.md.
func Match(ctx context.Context, idx Advisories, inv component.Inventory, now time.Time) ([]Finding, []Gap, error) {
	all := units(inv)
	records, err := idx.Lookup(ctx, Keys(inv))
	if err != nil {
		return nil, nil, fmt.Errorf("match: %w", err)
	}
	covered, err := idx.Covered(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("match: %w", err)
	}
	gaps := uncovered(inv, all, covered)
	known := byKey(records)
	var findings []Finding
	for _, u := range all {
		hits, trouble := u.match(known)
		gaps = append(gaps, trouble...)
		for _, group := range groupByAlias(hits) {
			findings = append(findings, u.finding(group, now))
		}
	}
	if err := addScores(ctx, idx, findings); err != nil {
		return nil, nil, fmt.Errorf("match: %w", err)
	}
	findings = Place(findings, Surroundings{})
	return findings, gapsInOrder(gaps), nil
}

func gapsInOrder(gaps []Gap) []Gap {
	slices.SortFunc(gaps, func(a, b Gap) int {
		return strings.Compare(a.Component+"\x00"+a.Reason, b.Component+"\x00"+b.Reason)
	})
	return slices.Compact(gaps)
}

// entry is one affected entry of a record.
type entry struct {
	record   *advisory.Record
	affected *advisory.Affected
}

// byKey files the entries of all live records under the package they name.
func byKey(records []advisory.Record) map[advisory.Key][]entry {
	out := map[advisory.Key][]entry{}
	for i := range records {
		r := &records[i]
		if !r.Withdrawn.IsZero() {
			continue
		}
		for j := range r.Affected {
			a := &r.Affected[j]
			key := advisory.NewKey(a.Ecosystem, a.Name)
			out[key] = append(out[key], entry{r, a})
		}
	}
	return out
}

// hit is a record that affects a unit, with the entries of it that say so.
type hit struct {
	record  *advisory.Record
	pkg     string // as the record writes it
	version string // the version compared
	judgement
	imports []string
	level   string
	urgency string
}

// match compares a unit with every entry that names it. What cannot be compared is
// a gap, one for each record at most, unless another entry of the record hits.
func (u unit) match(known map[advisory.Key][]entry) ([]hit, []Gap) {
	if !ordered(u.ecosystem) {
		return nil, nil // told once for the ecosystem, see uncovered
	}
	o := newOrder(u.ecosystem)
	hits := map[string]*hit{}
	doubts := map[string]error{}
	for _, q := range u.asks {
		for _, e := range known[q.key] {
			verdict, err := o.judge(q.version, *e.affected)
			if err != nil {
				doubts[e.record.ID] = err
				continue
			}
			if verdict.hit {
				addHit(o, hits, q, e, verdict)
			}
		}
	}
	var out []hit
	for _, h := range hits {
		out = append(out, *h)
	}
	slices.SortFunc(out, func(a, b hit) int { return strings.Compare(a.record.ID, b.record.ID) })
	var gaps []Gap
	for id, err := range doubts {
		if hits[id] == nil {
			gaps = append(gaps, Gap{Component: u.shown.PURL, Reason: id + ": " + err.Error()})
		}
	}
	return out, gaps
}

// addHit notes a hit. A record may hit by several entries: the lowest fix counts.
func addHit(o order, hits map[string]*hit, q ask, e entry, verdict judgement) {
	h := hits[e.record.ID]
	if h == nil {
		hits[e.record.ID] = &hit{
			record: e.record, pkg: e.affected.Name, version: q.version, judgement: verdict,
			imports: e.affected.Imports, level: e.affected.Level, urgency: e.affected.Urgency,
		}
		return
	}
	if verdict.fixed != "" && o.lower(verdict.fixed, h.fixed) {
		h.judgement = verdict
	}
	h.imports = append(slices.Clone(h.imports), e.affected.Imports...)
}

// uncovered names the kinds of component nobody can speak for: no feed in the
// database, no known order of versions, or no ecosystem at all.
func uncovered(inv component.Inventory, all []unit, covered map[string]bool) []Gap {
	counts := map[string]int{}
	for _, u := range all {
		counts[u.ecosystem] += max(1, len(u.binaries))
	}
	var gaps []Gap
	for eco, n := range counts {
		switch {
		case !ordered(eco):
			gaps = append(gaps, Gap{eco, fmt.Sprintf("versions of %s cannot be compared (%s)", eco, packages(n))})
		case !covered[eco]:
			gaps = append(gaps, Gap{eco, fmt.Sprintf("no advisories for %s in the database (%s)", eco, packages(n))})
		}
	}
	strangers := map[string]int{}
	system := false
	for _, c := range inv.Components {
		if c.Ecosystem == "" && !c.Main {
			strangers[kindOf(c.PURL)]++
		}
		system = system || isSystem(c)
	}
	for kind, n := range strangers {
		gaps = append(gaps, Gap{kind, fmt.Sprintf("no feed for %s (%s)", feedName(kind, inv.OS), packages(n))})
	}
	gaps = append(gaps, unread(inv.Problems)...)
	switch {
	case inv.OS.ID != "" && !system:
		gaps = append(gaps, Gap{inv.OS.Name, "the image calls itself " + inv.OS.Name + " but has no list of its packages"})
	case len(inv.Components) == 0 && len(gaps) == 0:
		gaps = append(gaps, Gap{"image", "nothing in it says what it was made from: there is no package to compare with advisories"})
	}
	return gaps
}

// unread makes one gap of all files that no feed can speak for, for each reason.
func unread(problems []component.Problem) []Gap {
	paths := map[string][]string{}
	for _, p := range problems {
		if p.Uncovered {
			paths[p.Reason] = append(paths[p.Reason], p.Path)
		}
	}
	var gaps []Gap
	for reason, files := range paths {
		slices.Sort(files)
		name := files[0]
		if len(files) > 1 {
			name = fmt.Sprintf("%s and %d more", name, len(files)-1)
		}
		gaps = append(gaps, Gap{name, reason})
	}
	return gaps
}

func packages(n int) string {
	if n == 1 {
		return "1 package"
	}
	return fmt.Sprintf("%d packages", n)
}

// kindOf shortens a package URL to its type and namespace: "pkg:rpm/amzn".
func kindOf(purl string) string {
	path, _, _ := strings.Cut(purl, "@")
	path, _, _ = strings.Cut(path, "?")
	parts := strings.Split(path, "/")
	if systemTypes[parts[0]] && len(parts) > 2 {
		return parts[0] + "/" + parts[1]
	}
	if parts[0] == "" {
		return "unknown"
	}
	return parts[0]
}

// systemTypes are the types of package URL that distributions use.
var systemTypes = map[string]bool{"pkg:deb": true, "pkg:rpm": true, "pkg:apk": true, "pkg:alpm": true, "pkg:opkg": true}

func isSystem(c component.Component) bool {
	kind, _, _ := strings.Cut(c.PURL, "/")
	return systemTypes[kind] || distributions[advisory.Family(c.Ecosystem)] != 0
}

func feedName(kind string, os component.OS) string {
	t, _, _ := strings.Cut(kind, "/")
	if systemTypes[t] && os.Name != "" {
		return os.Name + " (" + kind + ")"
	}
	return kind
}
