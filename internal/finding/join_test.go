// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package finding_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/image"
)

// made is an inventory, and a database that speaks of it, made by chance.
type made struct {
	*rand.Rand
	inv    component.Inventory
	layers []image.Digest
}

func makeInventory(r *rand.Rand) made {
	m := made{Rand: r}
	for i := range 1 + r.IntN(5) {
		m.layers = append(m.layers, image.DigestOf([]byte{byte(i)}))
	}
	system := pick(r, "Debian:12", "Alpine:v3.18", "AlmaLinux:9", "Wolfi", "Photon OS:5", "")
	m.inv.OS = component.OS{ID: "x", Name: "X Linux", Ecosystem: system}
	for range r.IntN(25) {
		m.system(system)
	}
	for range r.IntN(15) {
		m.language()
	}
	if r.IntN(4) == 0 {
		m.inv.Problems = append(m.inv.Problems, component.Problem{Path: "a.jar", Reason: "not read", Uncovered: true})
	}
	return m
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

func (m *made) system(eco string) {
	source := fmt.Sprintf("source%d", m.IntN(4))
	name := fmt.Sprintf("%s-bin%d", source, m.IntN(4))
	version := pick(m.Rand, "1.0-1", "1.5-1", "2.0-1", "1:1.0-1")
	kind := "pkg:deb/debian/"
	if eco == "" {
		kind = "pkg:rpm/amzn/"
	}
	m.add(component.Component{
		Ecosystem: eco, Name: name, Version: version + pick(m.Rand, "", "+b1"), Source: source, SourceVersion: version,
		PURL: kind + name + "@" + version, Path: "var/lib/dpkg/status", Maintainer: pick(m.Rand, "", "A <a@debian.org>", "B <b@example.com>"),
	})
}

func (m *made) language() {
	eco, kind := pick(m.Rand, "PyPI", "npm", "Go"), ""
	switch eco {
	case "Go":
		kind = "golang"
	default:
		kind = eco
	}
	name := fmt.Sprintf("lib%d", m.IntN(6))
	c := component.Component{
		Ecosystem: eco, Name: name, Version: pick(m.Rand, "1.0.0", "1.5.0", "2.0.0", "garbled version"),
		Path: fmt.Sprintf("app/%d", m.IntN(8)), Owner: pick(m.Rand, "", "source1-bin1", "source2-bin2"), Main: m.IntN(9) == 0,
	}
	c.PURL = "pkg:" + kind + "/" + name + "@" + c.Version
	if eco == "Go" {
		c.Packages = []string{"lib/a"}
	}
	m.add(c)
}

// add puts a component in some layer, unless it is there: a place has one layer.
func (m *made) add(c component.Component) {
	for _, old := range m.inv.Components {
		if old.PURL == c.PURL && old.Path == c.Path && old.Version == c.Version {
			return
		}
	}
	c.LayerIndex = m.IntN(len(m.layers))
	c.Layer = m.layers[c.LayerIndex]
	m.inv.Components = append(m.inv.Components, c)
}

// database makes records that speak of some of the packages, under names that join.
func (m *made) database(t *testing.T) records {
	var lines []string
	for i := range 40 {
		eco := pick(m.Rand, "PyPI", "npm", "Go", m.inv.OS.Ecosystem)
		name := pick(m.Rand, fmt.Sprintf("source%d", m.IntN(4)), fmt.Sprintf("source%d-bin%d", m.IntN(4), m.IntN(4)), fmt.Sprintf("lib%d", m.IntN(6)))
		if eco == "" || eco == "PyPI" && m.IntN(2) == 0 {
			continue
		}
		kind := "ECOSYSTEM"
		if eco == "Go" || eco == "npm" {
			kind = "SEMVER"
		}
		lines = append(lines, fmt.Sprintf(`{"id":"%s-%d","modified":"2026-01-01T00:00:00Z","published":"2026-01-0%dT00:00:00Z",
			"aliases":["CVE-%d","X-%d"],"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:%s/I:N/A:N"}],
			"affected":[{"package":{"ecosystem":%q,"name":%q},"ranges":[{"type":%q,"events":[{"introduced":"0"},{"fixed":"%s"}]}],
			"ecosystem_specific":{"imports":[{"path":%q}]}}]}`, pick(m.Rand, "A", "DSA", "GHSA"), i, 1+m.IntN(9), m.IntN(6), m.IntN(6),
			pick(m.Rand, "H", "L", "N"), eco, name, kind, pick(m.Rand, "1.2.0", "1.8.0", "3.0.0"), pick(m.Rand, "lib/a", "lib/b")))
	}
	db := parse(t, lines...)
	db.scores = map[string]advisory.Score{"CVE-1": {Exploited: true}, "CVE-2": {EPSS: 0.5}, "CVE-3": {EPSS: 0.01}}
	return db
}

// match is Match by way of parts: split, match each part alone, join.
func (m *made) match(t *testing.T, db records, now time.Time) ([]finding.Finding, []finding.Gap) {
	t.Helper()
	var pieces []finding.MatchedPiece
	for _, p := range finding.Split(m.inv) {
		matcher, err := finding.NewMatcher(t.Context(), db, now)
		if err != nil {
			t.Fatal(err)
		}
		found, err := matcher.Match(t.Context(), []finding.Old{{Part: p.Part}})
		if err != nil {
			t.Fatal(err)
		}
		pieces = append(pieces, finding.MatchedPiece{Matched: found[0], Layer: p.Layer})
	}
	m.Shuffle(len(pieces), func(i, j int) { pieces[i], pieces[j] = pieces[j], pieces[i] })
	return finding.Join(m.inv, m.layers, pieces, finding.Surroundings{})
}

// TestTheJoinedPartsAreTheWhole is what makes it right to match each layer once
// for all images that have it.
func TestTheJoinedPartsAreTheWhole(t *testing.T) {
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	found, spread := 0, 0
	for seed := range uint64(500) {
		m := makeInventory(rand.New(rand.NewPCG(seed, 1)))
		db := m.database(t)
		want, wantGaps, err := finding.Match(t.Context(), db, m.inv, now)
		if err != nil {
			t.Fatal(err)
		}
		got, gotGaps := m.match(t, db, now)
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("seed %d: findings (-whole +joined):\n%s", seed, diff)
		}
		if diff := cmp.Diff(wantGaps, gotGaps, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("seed %d: gaps (-whole +joined):\n%s", seed, diff)
		}
		found += len(want)
		for _, f := range want {
			if len(f.Binaries) > 1 {
				spread++
			}
		}
	}
	if found < 400 || spread < 80 {
		t.Errorf("the test tested little: %d findings, %d of several packages", found, spread)
	}
}

// TestOnlyWhatWasTouchedIsMatchedAgain changes some records, and tells which packages
// they name: the result is that of matching all again.
func TestOnlyWhatWasTouchedIsMatchedAgain(t *testing.T) {
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	for seed := range uint64(100) {
		m := makeInventory(rand.New(rand.NewPCG(seed, 2)))
		before, after := m.database(t), m.database(t)
		touched := map[advisory.Key]bool{}
		kept := before.all[:len(before.all)/2]
		for _, r := range slices.Concat(before.all[len(kept):], after.all) {
			for _, k := range r.Keys() {
				touched[k] = true
			}
		}
		after.all = slices.Concat(kept, after.all)
		for i := range after.all {
			after.all[i].ID = fmt.Sprintf("R-%d", i) // once each
		}
		for i := range before.all {
			before.all[i].ID = fmt.Sprintf("R-%d", i)
		}
		var old, whole []finding.Old
		for _, p := range finding.Split(m.inv) {
			old = append(old, finding.Old{Part: p.Part})
			whole = append(whole, finding.Old{Part: p.Part})
		}
		first := matched(t, before, now, old)
		for i := range old {
			old[i].Matched, old[i].Touched = first[i], touched
		}
		if diff := cmp.Diff(matched(t, after, now, whole), matched(t, after, now, old), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("seed %d (-all +touched):\n%s", seed, diff)
		}
	}
}

func matched(t *testing.T, db records, now time.Time, parts []finding.Old) []finding.Matched {
	t.Helper()
	m, err := finding.NewMatcher(t.Context(), db, now)
	if err != nil {
		t.Fatal(err)
	}
	out, err := m.Match(t.Context(), parts)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestAPartSaysNothingOfItsImage: the same packages in other images, at another
// depth, are the same part.
func TestAPartSaysNothingOfItsImage(t *testing.T) {
	package1 := component.Component{Ecosystem: "Debian:12", Name: "a", Version: "1", Source: "a", SourceVersion: "1", PURL: "pkg:deb/debian/a@1", Path: "status"}
	library := component.Component{Ecosystem: "PyPI", Name: "b", Version: "1", PURL: "pkg:pypi/b@1", Path: "b", Owner: "a"}
	at := func(layer int, c component.Component) component.Component {
		c.Layer, c.LayerIndex = image.DigestOf([]byte{byte(layer)}), layer
		return c
	}
	os := component.OS{Ecosystem: "Debian:12"}
	one := finding.Split(component.Inventory{OS: os, Components: []component.Component{at(0, package1), at(2, library)}})
	two := finding.Split(component.Inventory{OS: os, Components: []component.Component{at(1, package1), at(7, library)}})
	if len(one) != 2 || len(two) != 2 || two[0].Layer != 1 || two[1].Layer != 7 {
		t.Fatalf("pieces %+v and %+v", one, two)
	}
	for i := range one {
		if diff := cmp.Diff(one[i].Part, two[i].Part); diff != "" {
			t.Errorf("part %d differs:\n%s", i, diff)
		}
	}
	if !slices.Equal(one[1].Owners, []string{"a"}) {
		t.Errorf("owners %v", one[1].Owners)
	}
	alone := finding.Split(component.Inventory{Components: []component.Component{at(0, library)}})
	if len(alone[0].Owners) != 0 {
		t.Errorf("the package that owns it is not of the image's distribution: %v", alone[0].Owners)
	}
}
