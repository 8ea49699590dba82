// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package component

import (
	"cmp"
	"slices"
	"strings"

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
	v.assignOwners(inv.Components)
	inv.Problems = append(inv.Problems, finishDistroPackages(inv.Components, inv.OS)...)
	inv.Problems = append(inv.Problems, v.problems()...)
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

// assignOwners finds the distribution package each other component came with.
func (v *view) assignOwners(all []Component) {
	distro := map[string]bool{}
	for _, c := range all {
		if isDistroPackage(c) && (fromDistro(c.Maintainer) || isApkPath(c.Path)) {
			distro[c.Name] = true
		}
	}
	owners := map[string]string{}
	for i, layer := range v.layers {
		for _, o := range layer.Owned {
			if !v.visible(i, o.Path) {
				continue
			}
			for pkg, files := range o.Files {
				for _, f := range files {
					if distro[pkg] && pkg > owners[f] { // two owners: the same one each time
						owners[f] = pkg
					}
				}
			}
		}
	}
	for i := range all {
		if !isDistroPackage(all[i]) {
			all[i].Owner = ownerOf(owners, all[i].Path)
		}
	}
}

// ownerOf also tries the other side of a merged /usr: lists may say /bin/x for
// what lies at /usr/bin/x.
func ownerOf(owners map[string]string, p string) string {
	if o, ok := owners[p]; ok {
		return o
	}
	if rest, ok := strings.CutPrefix(p, "usr/"); ok {
		return owners[rest]
	}
	return owners["usr/"+p]
}

// isDistroPackage tells distribution packages from the rest: only they have a source.
func isDistroPackage(c Component) bool { return c.Source != "" }

func isApkPath(p string) bool { return strings.HasSuffix(p, "apk/db/installed") }

// finishDistroPackages writes what only the distribution tells: ecosystem and purl.
func finishDistroPackages(all []Component, os OS) []Problem {
	uncovered := 0
	for i := range all {
		c := &all[i]
		if !isDistroPackage(*c) {
			continue
		}
		kind, fits := "deb", strings.HasPrefix(os.Ecosystem, "Debian") || strings.HasPrefix(os.Ecosystem, "Ubuntu")
		if isApkPath(c.Path) {
			kind, fits = "apk", strings.HasPrefix(os.Ecosystem, "Alpine") || os.Ecosystem == "Wolfi" || os.Ecosystem == "Chainguard"
		}
		c.PURL = distroPURL(kind, os, *c)
		if fits {
			c.Ecosystem = os.Ecosystem
		} else {
			uncovered++
		}
	}
	switch {
	case uncovered > 0:
		return []Problem{{Path: "etc/os-release", Reason: "the packages of this distribution are not covered by any advisories known here", Fatal: true}}
	case os.Ecosystem != "" && !slices.ContainsFunc(all, isDistroPackage):
		return []Problem{{Path: "etc/os-release", Reason: "the image says it is " + os.Ecosystem + ", yet no package database was found in it", Fatal: true}}
	}
	return nil
}

// databases are the files whose packages must not be missed behind a link.
var databases = []string{"var/lib/dpkg/status", "lib/apk/db/installed", "usr/lib/apk/db/installed"}

func (v *view) problems() []Problem {
	var out []Problem
	for i, layer := range v.layers {
		for _, p := range layer.Problems {
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
