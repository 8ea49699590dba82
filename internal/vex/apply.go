// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package vex

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/store"
)

// Apply writes into findings what vendors say of them: one that is not affected,
// or fixed, by the newest statement on it is hidden, with the vendor's reason.
// Other statements are noted, and change nothing. The findings are sorted again.
func (b *Book) Apply(ctx context.Context, findings []finding.Finding) error {
	known, err := b.lookup(ctx, findings)
	if err != nil {
		return err
	}
	for i := range findings {
		f := &findings[i]
		judge(f, known[keyOf(*f)])
	}
	finding.Weigh(findings)
	finding.Sort(findings)
	return nil
}

func keyOf(f finding.Finding) advisory.Key {
	family := advisory.Family(advisory.Ecosystem(f.Ecosystem))
	key := advisory.NewKey(family, f.Package)
	if family == "Go" {
		key.Name = strings.ToLower(key.Name)
	}
	return key
}

// lookup returns the statements on the packages of findings.
func (b *Book) lookup(ctx context.Context, findings []finding.Finding) (map[advisory.Key][]said, error) {
	names := map[string]map[string]bool{}
	for _, f := range findings {
		key := keyOf(f)
		if names[key.Ecosystem] == nil {
			names[key.Ecosystem] = map[string]bool{}
		}
		names[key.Ecosystem][key.Name] = true
	}
	var known map[advisory.Key][]said
	err := b.st.View(ctx, func(tx store.Tx) error {
		known = map[advisory.Key][]said{}
		for family, set := range names {
			for part := range slices.Chunk(slices.Sorted(maps.Keys(set)), batch/2) {
				if err := lookupSome(ctx, tx, family, part, known); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, fault.New(fault.KindOf(err), "look up what vendors say: %w", err)
	}
	return known, nil
}

func lookupSome(ctx context.Context, tx store.Tx, family string, names []string, known map[advisory.Key][]said) error {
	args := []any{family}
	for _, name := range names {
		args = append(args, name)
	}
	marks := strings.TrimSuffix(strings.Repeat("?, ", len(names)), ", ")
	return store.Each(ctx, tx, func(r store.Row) error {
		key := advisory.Key{Ecosystem: family}
		var vendor, body string
		if err := r.Scan(&vendor, &key.Name, &body); err != nil {
			return err
		}
		s := said{}
		if err := json.Unmarshal([]byte(body), &s); err != nil {
			return fmt.Errorf("decode statement: %w", err)
		}
		s.Vendor = vendor
		known[key] = append(known[key], s)
		return nil
	}, "SELECT vendor, name, body FROM vex_statement WHERE family = ? AND name IN ("+marks+") ORDER BY vendor, file, hash", args...)
}

// judge decides by the newest statement on each part of a finding; see Covered.
func judge(f *finding.Finding, all []said) {
	if len(all) == 0 {
		return
	}
	var excuse, other *said
	excused := true
	for _, flaw := range flaws(*f) {
		for _, name := range installed(*f) {
			s := latest(*f, flaw, name, all)
			switch {
			case s == nil:
				excused = false
			case s.excuses():
				excuse = newer(excuse, s)
			default:
				excused = false
				other = newer(other, s)
			}
		}
	}
	switch {
	case excuse != nil && excused && f.Hidden == "":
		f.Hidden, f.Vendor = excuse.String(), excuse.String()
	case other != nil:
		f.Vendor = other.String()
	case excuse != nil && !excused:
		f.Vendor = "of a part of this: " + excuse.String()
	}
}

// latest is the newest statement on one part of a finding. Of two of one time the
// one of the later document counts, or else the more alarming one.
func latest(f finding.Finding, flaw, name string, all []said) *said {
	var best *said
	for i := range all {
		s := &all[i]
		if c := s.claim(); c.names(f, flaw) && c.concerns(f, name) {
			best = newer(best, s)
		}
	}
	return best
}

func newer(a, b *said) *said {
	if a == nil {
		return b
	}
	order := cmp.Or(a.Time.Compare(b.Time), sameDocument(a, b)*cmp.Compare(a.Version, b.Version))
	if order < 0 || order == 0 && a.excuses() && !b.excuses() {
		return b
	}
	return a
}

// sameDocument is 1 where versions can be compared, else 0.
func sameDocument(a, b *said) int {
	if a.Vendor == b.Vendor && a.Document == b.Document {
		return 1
	}
	return 0
}

func (s *said) excuses() bool { return s.Status == NotAffected || s.Status == Fixed }

func (s *said) claim() Claim {
	if s.Package == "" {
		return Claim{Names: s.Names}
	}
	return Claim{s.Names, []string{s.Package}}
}

// String is what a vendor says, in one line.
func (s *said) String() string {
	text := strings.ReplaceAll(string(s.Status), "_", " ") + " says " + s.Vendor
	if why := cmp.Or(strings.ReplaceAll(s.Justification, "_", " "), s.Text); why != "" {
		text += ": " + why
	}
	return text + " (" + s.Document + ")"
}
