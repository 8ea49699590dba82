// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package finding

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/advisory"
)

// Matcher matches many parts with one state of the advisory database. What they
// have in common is looked up, and compared, once. Make a new one for each change
// of the database. It is for one goroutine.
type Matcher struct {
	idx     Advisories
	now     time.Time
	covered map[string]bool
	known   map[advisory.Key][]entry
	entries int // in known
	scores  map[string]advisory.Score
	hits    map[string]compared // by all that was asked
}

// compared is what comparing one unit gave.
type compared struct {
	groups [][]hit
	doubts []string
}

// What a Matcher remembers at most.
const (
	maxEntries = 60_000
	maxScores  = 200_000
	maxHits    = 100_000
)

// NewMatcher reads the database as it is from now on.
func NewMatcher(ctx context.Context, idx Advisories, now time.Time) (*Matcher, error) {
	covered, err := idx.Covered(ctx)
	if err != nil {
		return nil, fmt.Errorf("match: %w", err)
	}
	return &Matcher{
		idx: idx, now: now, covered: covered,
		known: map[advisory.Key][]entry{}, scores: map[string]advisory.Score{}, hits: map[string]compared{},
	}, nil
}

// Old is a part with what was found in it, and the packages whose advisories have
// changed since; nil: all of them.
type Old struct {
	Part    Part
	Matched Matched
	Touched map[advisory.Key]bool
}

// Match finds what there is to say of each part now. Of one that was matched before
// only the units are compared again whose advisories have changed.
func (m *Matcher) Match(ctx context.Context, parts []Old) ([]Matched, error) {
	work := make([][]unit, len(parts))
	wanted := map[advisory.Key]bool{}
	for i, p := range parts {
		for _, u := range p.Part.units() {
			if p.touches(u) {
				work[i] = append(work[i], u)
				u.want(wanted)
			}
		}
	}
	if err := m.load(ctx, wanted); err != nil {
		return nil, err
	}
	out := make([]Matched, len(parts))
	var fresh []*Finding
	for i, p := range parts {
		out[i].Uncovered = m.uncovered(p.Part)
		out[i].Units = p.untouched(work[i])
		for _, u := range work[i] {
			if made := m.unit(u); len(made.Findings)+len(made.Doubts) > 0 {
				out[i].Units = append(out[i].Units, made)
				for at := range made.Findings {
					fresh = append(fresh, &made.Findings[at])
				}
			}
		}
		slices.SortFunc(out[i].Units, Unit.compare)
	}
	return out, m.addScores(ctx, fresh)
}

func (p Old) touches(u unit) bool {
	return p.Touched == nil || slices.ContainsFunc(u.asks, func(a ask) bool { return p.Touched[a.key] })
}

func (u unit) want(keys map[advisory.Key]bool) {
	for _, a := range u.asks {
		keys[a.key] = true
	}
}

// untouched are the units found before that are not compared again.
func (p Old) untouched(again []unit) []Unit {
	if p.Touched == nil {
		return nil
	}
	type place struct{ span, purl, path string }
	renewed := map[place]bool{}
	for _, u := range again {
		renewed[place{u.span(), u.shown.PURL, u.shown.Path}] = true
	}
	var kept []Unit
	for _, u := range p.Matched.Units {
		if !renewed[place{u.Span, u.PURL, u.Path}] {
			kept = append(kept, u)
		}
	}
	return kept
}

// load makes sure that all advisories on some packages are known.
func (m *Matcher) load(ctx context.Context, wanted map[advisory.Key]bool) error {
	if m.entries > maxEntries {
		clear(m.known)
		m.entries = 0
	}
	var missing []advisory.Key
	for key := range wanted {
		if _, here := m.known[key]; !here {
			missing = append(missing, key)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	records, err := m.idx.Lookup(ctx, missing)
	if err != nil {
		return fmt.Errorf("match: %w", err)
	}
	found := byKey(records)
	for _, key := range missing {
		m.known[key] = found[key] // a record found by one of its packages says nothing of all records of another
		m.entries += len(found[key])
	}
	return nil
}

func (m *Matcher) uncovered(p Part) []string {
	open := map[string]bool{}
	seen := map[string]bool{"": true}
	for _, c := range p.Components {
		if seen[c.Ecosystem] {
			continue
		}
		seen[c.Ecosystem] = true
		if eco := advisory.Ecosystem(c.Ecosystem); !ordered(eco) || !m.covered[eco] {
			open[eco] = true
		}
	}
	return slices.Sorted(maps.Keys(open))
}

// span names a unit that may be spread over parts.
func (u unit) span() string {
	if len(u.binaries) == 0 {
		return ""
	}
	return u.ecosystem + "\x00" + u.asks[0].key.Name + "\x00" + u.asks[0].version
}

// unit compares one, or remembers how that ended.
func (m *Matcher) unit(u unit) Unit {
	c := m.compare(u)
	out := Unit{
		Span: u.span(), Name: u.shown.Name, Version: u.shown.Version, PURL: u.shown.PURL, Path: u.shown.Path,
		Layer: u.shown.LayerIndex, Binaries: u.binaries, Doubts: c.doubts,
	}
	for _, group := range c.groups {
		f := u.finding(group, m.now)
		f.PURL, f.Path, f.Layer, f.LayerIndex, f.Binaries = "", "", "", 0, nil
		out.Findings = append(out.Findings, f)
	}
	slices.SortFunc(out.Findings, func(a, b Finding) int { return strings.Compare(a.ID, b.ID) })
	return out
}

func (m *Matcher) compare(u unit) compared {
	var question strings.Builder
	for _, a := range u.asks {
		question.WriteString(a.key.Ecosystem + "\x00" + a.key.Name + "\x00" + a.version + "\x01")
	}
	if c, asked := m.hits[question.String()]; asked {
		return c
	}
	hits, gaps := u.match(m.known)
	c := compared{groups: groupByAlias(hits)}
	for _, g := range gaps {
		c.doubts = append(c.doubts, g.Reason)
	}
	c.doubts = once(c.doubts)
	if len(m.hits) >= maxHits {
		clear(m.hits)
	}
	m.hits[question.String()] = c
	return c
}

// addScores is that of Match for the findings of many parts.
func (m *Matcher) addScores(ctx context.Context, fresh []*Finding) error {
	all := make([]Finding, len(fresh))
	for i, f := range fresh {
		all[i] = *f
	}
	err := addScores(ctx, remembered{m}, all)
	for i, f := range fresh {
		*f = all[i]
	}
	return err
}

// remembered is the advisory database with the scores that were asked for before.
type remembered struct{ *Matcher }

func (r remembered) Lookup(ctx context.Context, keys []advisory.Key) ([]advisory.Record, error) {
	return r.idx.Lookup(ctx, keys)
}

func (r remembered) Covered(context.Context) (map[string]bool, error) { return r.covered, nil }

func (r remembered) Scores(ctx context.Context, names []string) (map[string]advisory.Score, error) {
	if len(r.scores) > maxScores {
		clear(r.scores)
	}
	var missing []string
	for _, name := range names {
		if _, here := r.scores[name]; !here {
			r.scores[name] = advisory.Score{}
			missing = append(missing, name)
		}
	}
	found, err := r.idx.Scores(ctx, missing)
	if err != nil {
		return nil, fmt.Errorf("match: %w", err)
	}
	maps.Copy(r.scores, found)
	return r.scores, nil
}
