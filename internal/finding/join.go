// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package finding

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/image"
)

// A fleet shares layers, so an image is split into parts that say nothing of the
// image they are in. A part is matched once for all images that have it, and Join
// makes of the parts' results what Match says of the whole. docs/design/fleet.md
// tells why.

// Part is what one layer adds to what an image holds. Its components name no layer;
// their LayerIndex counts from the part's own.
type Part struct {
	Components []component.Component `json:"components,omitempty"`
	Owners     []string              `json:"owners,omitempty"` // the distribution's own packages that own one of them, sorted
}

// Piece is a part at its place in an image: the index of its lowest layer.
type Piece struct {
	Part
	Layer int
}

// Split takes an inventory apart, lowest layer first: one piece for each layer that
// brought packages. Where a distribution's advisories name source and binary
// packages alike (RPM, Wolfi), all it installed is one piece, for its packages
// cannot be judged apart from each other.
func Split(inv component.Inventory) []Piece {
	own := ownPackages(inv)
	pieces := map[int]*Piece{}
	whole := Piece{Layer: -1}
	for _, c := range inv.Components {
		if wholeOnly(c) {
			whole.Components = append(whole.Components, c)
			continue
		}
		p := pieces[c.LayerIndex]
		if p == nil {
			p = &Piece{Layer: c.LayerIndex}
			pieces[c.LayerIndex] = p
		}
		p.Components = append(p.Components, c)
	}
	out := make([]Piece, 0, len(pieces)+1)
	for _, at := range slices.Sorted(maps.Keys(pieces)) {
		out = append(out, *pieces[at])
	}
	if len(whole.Components) > 0 {
		whole.Layer = slices.MinFunc(whole.Components, func(a, b component.Component) int { return a.LayerIndex - b.LayerIndex }).LayerIndex
		out = append(out, whole)
	}
	for i := range out {
		out[i].setApart(own)
	}
	return out
}

func wholeOnly(c component.Component) bool {
	return c.Ecosystem != "" && distributions[advisory.Family(advisory.Ecosystem(c.Ecosystem))] == byBoth
}

// setApart takes out of a piece what its image said of it.
func (p *Piece) setApart(own map[string]bool) {
	owners := map[string]bool{}
	for i := range p.Components {
		c := &p.Components[i]
		c.Layer, c.LayerIndex = "", c.LayerIndex-p.Layer
		if own[c.Owner] {
			owners[c.Owner] = true
		}
	}
	p.Owners = slices.Sorted(maps.Keys(owners))
}

// Keys returns the packages of a part as the advisory index names them: a change
// of any of these may change what is found in it.
func (p Part) Keys() []advisory.Key { return Keys(p.inventory()) }

func (p Part) inventory() component.Inventory { return component.Inventory{Components: p.Components} }

// units are those of Match, with the owners of the image the part was in.
func (p Part) units() []unit {
	owners := map[string]bool{}
	for _, name := range p.Owners {
		owners[name] = true
	}
	return unitsOf(p.Components, owners)
}

// Matched is what was found in a part.
type Matched struct {
	Units     []Unit   `json:"units,omitempty"`     // those there is something to say of
	Uncovered []string `json:"uncovered,omitempty"` // ecosystems in it nobody could speak for, sorted
}

// Unit is what advisories speak of, see units: a source package with all that was
// installed from it, or one package of a language.
type Unit struct {
	Span     string    `json:"span,omitempty"` // equal in all parts of an image one source package is spread over; "": it is not
	Name     string    `json:"name"`           // of the component whose place is shown, as all that follows
	Version  string    `json:"version"`
	PURL     string    `json:"purl"`
	Path     string    `json:"path"`
	Layer    int       `json:"layer"` // counted from the part's
	Binaries []string  `json:"binaries,omitempty"`
	Findings []Finding `json:"findings,omitempty"` // without what the unit says
	Doubts   []string  `json:"doubts,omitempty"`   // what could not be compared
}

// MatchedPiece is what was found in a part, at its place in an image.
type MatchedPiece struct {
	Matched
	Layer int
}

// Join makes of what was found in the pieces of an image, which Split gave, what
// Match finds in the whole of it, placed in its surroundings. layers are the
// image's DiffIDs.
func Join(inv component.Inventory, layers []image.Digest, pieces []MatchedPiece, s Surroundings) ([]Finding, []Gap) {
	var findings []Finding
	var gaps []Gap
	for _, u := range joinUnits(pieces) {
		for _, f := range u.Findings {
			f.PURL, f.Path, f.LayerIndex, f.Binaries = u.PURL, u.Path, u.Layer, u.Binaries
			if u.Layer < len(layers) {
				f.Layer = string(layers[u.Layer])
			}
			findings = append(findings, f)
		}
		for _, d := range u.Doubts {
			gaps = append(gaps, Gap{u.PURL, d})
		}
	}
	gaps = append(gaps, notCovered(inv, pieces)...)
	return Place(findings, s), gapsInOrder(gaps)
}

// joinUnits puts the spread ones together.
func joinUnits(pieces []MatchedPiece) []Unit {
	var out []Unit
	spread := map[string]int{}
	for _, p := range pieces {
		for _, u := range p.Units {
			u.Layer += p.Layer
			at, seen := spread[u.Span]
			if u.Span == "" || !seen {
				spread[u.Span] = len(out)
				out = append(out, u)
				continue
			}
			out[at] = out[at].with(u)
		}
	}
	return out
}

// with is a unit that is spread over two parts. The same advisories speak of both
// halves; should one of them have been matched a moment later, all count.
func (u Unit) with(v Unit) Unit {
	if v.compare(u) < 0 {
		u, v = v, u
	}
	u.Binaries = once(slices.Concat(u.Binaries, v.Binaries))
	u.Doubts = once(slices.Concat(u.Doubts, v.Doubts))
	known := map[string]bool{}
	for _, f := range u.Findings {
		known[f.ID] = true
	}
	u.Findings = slices.Clone(u.Findings)
	for _, f := range v.Findings {
		if !known[f.ID] {
			u.Findings = append(u.Findings, f)
		}
	}
	return u
}

// compare is compareComponents for the components shown.
func (u Unit) compare(v Unit) int {
	return cmp.Or(strings.Compare(u.Name, v.Name), strings.Compare(u.Version, v.Version),
		strings.Compare(u.Path, v.Path), strings.Compare(u.PURL, v.PURL))
}

// notCovered counts over the whole image what nobody can speak for. Nearly always
// there is nothing, and the image need not be taken to pieces again.
func notCovered(inv component.Inventory, pieces []MatchedPiece) []Gap {
	open := map[string]bool{}
	for _, p := range pieces {
		for _, eco := range p.Uncovered {
			open[eco] = true
		}
	}
	if len(open) == 0 {
		return uncovered(inv, nil, nil)
	}
	all := units(inv)
	covered := map[string]bool{}
	for _, u := range all {
		covered[u.ecosystem] = !open[u.ecosystem]
	}
	return uncovered(inv, all, covered)
}
