// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package component

import (
	"cmp"
	"slices"
	"strings"

	"github.com/goldkeep/goldkeep/internal/extract"
	"github.com/goldkeep/goldkeep/internal/image"
)

// Join computes what a container of the image sees from its layers' reports, one
// for each layer, lowest first. A nil report becomes a fatal Problem. The order
// of everything in the result depends on the image alone.
//
// A component belongs to the layer that brought this version to this place: a
// package database is written anew by each layer that installs something, so a
// package belongs to the lowest layer since which it is there without a break.
func Join(img *image.Image, reports []*LayerReport) *Inventory {
	inv := &Inventory{Components: []Component{}, Facts: configFacts(img), Problems: []Problem{}}
	inv.Base, _ = baseImage(img)
	layers := make([]*LayerReport, len(img.Layers))
	for i, layer := range img.Layers {
		if i < len(reports) && reports[i] != nil {
			layers[i] = reports[i]
			continue
		}
		layers[i] = &LayerReport{DiffID: layer.DiffID, Problems: []Problem{{Path: string(layer.DiffID), Reason: "the layer was not read", Fatal: true}}}
	}
	v := newView(layers)
	inv.OS = v.os()
	inv.Components = append(inv.Components, v.components()...)
	owners := v.owners(inv.Components, inv.OS)
	assignOwners(inv.Components, owners)
	inv.Problems = append(inv.Problems, finishDistroPackages(inv.Components, inv.OS)...)
	inv.Problems = append(inv.Problems, v.problems(owners)...)
	inv.Facts = append(inv.Facts, v.facts()...)
	sortInventory(inv)
	return inv
}

func (v *view) os() OS {
	for _, name := range []string{"etc/os-release", "usr/lib/os-release"} {
		p := v.resolve(name)
		if p == "" {
			continue
		}
		if release, ok := v.layers[max(0, v.lookup(p))].Releases[p]; ok {
			return osFrom(release)
		}
	}
	return OS{}
}

// components plays the layers from the lowest up.
func (v *view) components() []Component {
	byPath := map[string][]Component{}
	for i, layer := range v.layers {
		before := map[string][]Component{}
		for p, old := range byPath {
			if v.covers(i, p) {
				before[p] = old
				delete(byPath, p)
			}
		}
		for _, c := range layer.Components {
			c.Layer, c.LayerIndex = layer.DiffID, i
			for _, old := range before[c.Path] {
				if samePackage(old, c) {
					c.Layer, c.LayerIndex = old.Layer, old.LayerIndex
					break
				}
			}
			byPath[c.Path] = append(byPath[c.Path], c)
		}
	}
	var all []Component
	for _, at := range byPath {
		all = append(all, at...)
	}
	return all
}

func samePackage(a, b Component) bool {
	return a.Name == b.Name && a.Version == b.Version && a.Arch == b.Arch && a.Ecosystem == b.Ecosystem && a.Source == b.Source && a.SourceVersion == b.SourceVersion
}

// databases are the files whose packages must not be missed behind a link.
var databases = append([]string{"var/lib/dpkg/status", "lib/apk/db/installed", "usr/lib/apk/db/installed"}, extract.RPMDatabases()...)

// problems of what is still there. What nobody can speak for is no matter where the
// distribution does: the file is one of its packages'.
func (v *view) problems(owners map[string]string) []Problem {
	var out []Problem
	for i, layer := range v.layers {
		for _, p := range layer.Problems {
			if p.Uncovered && ownerOf(owners, p.Path) != "" {
				continue
			}
			if p.Path == string(layer.DiffID) || p.Path == "" || v.visible(i, p.Path) {
				out = append(out, p)
			}
		}
	}
	for _, name := range databases {
		to := v.resolve(name)
		if to != "" && to != name && !slices.Contains(databases, to) {
			out = append(out, Problem{Path: name, Reason: "a link to " + to + ", which was not read as a package database", Fatal: true})
		}
		if to == "" && v.lookup(name) >= 0 {
			out = append(out, Problem{Path: name, Reason: "a link that leads nowhere in the image"})
		}
	}
	return out
}

func (v *view) facts() []Fact {
	var out []Fact
	for i, layer := range v.layers {
		for _, f := range layer.Facts {
			f.Layer, f.LayerIndex = layer.DiffID, i
			f.Deleted = !v.visible(i, strings.TrimPrefix(f.Path, "/"))
			if !f.Deleted || f.Kind == EmbeddedSecret {
				out = append(out, f)
			}
		}
	}
	return out
}

func sortInventory(inv *Inventory) {
	for i := range inv.Components {
		if c := &inv.Components[i]; c.Inside != "" {
			c.Path, c.Inside = c.Path+"!/"+c.Inside, ""
		}
	}
	slices.SortFunc(inv.Components, func(a, b Component) int {
		return cmp.Or(cmp.Compare(a.Ecosystem, b.Ecosystem), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version),
			cmp.Compare(a.Path, b.Path), cmp.Compare(a.Arch, b.Arch), cmp.Compare(a.LayerIndex, b.LayerIndex), cmp.Compare(a.PURL, b.PURL))
	})
	inv.Components = slices.CompactFunc(inv.Components, func(a, b Component) bool {
		return a.PURL == b.PURL && a.Path == b.Path && samePackage(a, b)
	})
	slices.SortStableFunc(inv.Facts, func(a, b Fact) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Path, b.Path), cmp.Compare(a.LayerIndex, b.LayerIndex), cmp.Compare(a.Detail, b.Detail))
	})
	slices.SortFunc(inv.Problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Reason, b.Reason))
	})
	inv.Problems = slices.Compact(inv.Problems)
}
