// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package sbom

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/extract"
	"github.com/goldkeep/goldkeep/internal/image"
)

// whole stands in a Problem for the image a bill was made of.
const whole = "(the image itself)"

// contents makes an inventory of the items of a bill.
type contents struct {
	inv       component.Inventory
	purlless  []string // names of packages without a package URL
	unsourced []string // of packages whose source's version is not stated
	unknown   []string // of packages without a version
}

// inventory decides what each item is.
func (d *document) inventory() component.Inventory {
	c := contents{inv: component.Inventory{Components: []component.Component{}, Facts: []component.Fact{}, Problems: []component.Problem{}}}
	c.inv.OS = d.system()
	refs := map[string]string{}
	for _, i := range d.items {
		refs[i.ref] = i.name
	}
	for _, i := range d.items {
		if d.described[i.ref] && i.purlKind() == "" || i.isNoPackage() {
			continue
		}
		if owner := d.owners[i.ref]; owner != "" {
			i.owner = refs[owner]
		}
		c.add(i)
	}
	c.problems(d)
	slices.SortStableFunc(c.inv.Components, func(a, b component.Component) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version), cmp.Compare(a.PURL, b.PURL))
	})
	return c.inv
}

func (i item) purlKind() string {
	p, _ := parsePURL(i.purl)
	return p.kind
}

// isNoPackage tells files, images and systems from packages.
func (i item) isNoPackage() bool {
	switch i.kind {
	case "operating-system", "file", "container", "device", "platform", "firmware", "data", "machine-learning-model", "cryptographic-asset", "archive", "source":
		return i.purlKind() == "" || i.kind == "container"
	}
	switch i.purlKind() {
	case "oci", "docker":
		return true
	case "":
		return i.kind == "application" && i.version == "" || i.props["trivyType"] != "" && i.version == "" // a lock file, as trivy lists it
	}
	return false
}

// system finds the distribution: the item that says so, else what most of the
// distribution's packages say.
func (d *document) system() component.OS {
	for _, i := range d.items {
		if i.kind == "operating-system" {
			id := strings.ToLower(cmp.Or(i.props["distroId"], i.name))
			return component.Distribution(shown(cmp.Or(names[id], id)), shown(cmp.Or(i.props["distroVersion"], i.version)), shown(cmp.Or(i.props["distroName"], i.found, i.name+" "+i.version)))
		}
	}
	votes := map[[2]string]int{}
	for _, i := range d.items {
		if p, ok := parsePURL(i.purl); ok && systems[p.kind] {
			if id, version := p.distroOf(); id != "" {
				votes[[2]string{id, version}]++
			}
		}
	}
	var best [2]string
	for v, n := range votes {
		if n > votes[best] || n == votes[best] && (v[1] > best[1] || v[1] == best[1] && v[0] < best[0]) {
			best = v
		}
	}
	if best[0] == "" {
		return component.OS{}
	}
	return component.Distribution(shown(best[0]), shown(best[1]), shown(strings.TrimSpace(best[0]+" "+best[1])))
}

// add makes a component of one item.
func (c *contents) add(i item) {
	p, ok := parsePURL(i.purl)
	if !ok && i.props["ecosystem"] == "" {
		c.purlless = append(c.purlless, i.name)
		return
	}
	out := component.Component{
		PURL: shown(i.purl), Name: shown(cmp.Or(i.name, p.name)), Version: shown(cmp.Or(i.version, p.version)), Licenses: i.licenses,
		Path: shown(strings.TrimPrefix(i.props["path"], "/")), Layer: digestOf(i.props["layer"]), Maintainer: shown(cmp.Or(i.props["maintainer"], i.maker)),
		Arch: shown(cmp.Or(i.props["arch"], p.qualifiers["arch"])), Owner: shown(cmp.Or(i.props["owner"], i.owner)), Main: i.props["main"] == "true",
	}
	if n, err := strconv.Atoi(i.props["layerIndex"]); err == nil && n >= 0 && n < 10_000 {
		out.LayerIndex = n
	}
	if i.props["linked"] != "" {
		for _, name := range strings.Fields(i.props["linked"]) {
			out.Packages = append(out.Packages, shown(name))
		}
	}
	switch {
	case i.props["layerIndex"] != "": // our own: all is said
		out.Ecosystem, out.Source, out.SourceVersion = shown(i.props["ecosystem"]), shown(i.props["source"]), shown(i.props["sourceVersion"])
		out.Module = shown(i.props["module"])
	case systems[p.kind]:
		c.systemPackage(&out, p, i)
	default:
		languagePackage(&out, p)
	}
	if out.Version == "" && !out.Main {
		c.unknown = append(c.unknown, out.Name)
	}
	c.inv.Components = append(c.inv.Components, out)
}

// systemPackage fills in what only distributions have: release, epoch, source.
func (c *contents) systemPackage(out *component.Component, p packageURL, i item) {
	out.Name, out.Version = shown(p.name), shown(cmp.Or(p.version, i.version))
	if epoch := p.qualifiers["epoch"]; epoch != "" && epoch != "0" && !strings.Contains(out.Version, ":") {
		out.Version = shown(epoch + ":" + out.Version)
	}
	out.Module = shown(p.qualifiers["rpmmod"])
	os := c.systemOf(p)
	out.Ecosystem = os.Ecosystem
	out.Source, out.SourceVersion = sourceOf(p, i)
	switch {
	case out.Source == "":
		out.Source, out.SourceVersion = out.Name, out.Version
	case out.SourceVersion == "":
		out.SourceVersion = out.Version
		if p.kind == "deb" && out.Source != out.Name && p.qualifiers["upstream"] == "" {
			c.unsourced = append(c.unsourced, out.Name)
		}
	}
	out.Source, out.SourceVersion = shown(out.Source), shown(out.SourceVersion)
	out.PURL = component.SystemPURL(p.kind, cmp.Or(p.namespace, os.ID), os, *out)
}

// systemOf is the distribution a package is of: the one its URL names, else that of
// the whole.
func (c *contents) systemOf(p packageURL) component.OS {
	id, version := p.distroOf()
	if id == "" || id == c.inv.OS.ID && version == "" {
		return c.inv.OS
	}
	os := component.Distribution(shown(id), shown(version), shown(strings.TrimSpace(id+" "+version)))
	if os.ID == c.inv.OS.ID && os.Ecosystem == c.inv.OS.Ecosystem {
		return c.inv.OS
	}
	return os
}

// sourceOf finds the source package: "upstream" of syft ("openssl@3.0.15-1", or the
// file of an RPM), "source" of OSV-Scalibr, the properties of trivy.
func sourceOf(p packageURL, i item) (name, version string) {
	if i.props["source"] != "" {
		version = i.props["sourceVersion"]
		if v := i.props["trivyVersion"]; v != "" {
			version = v
			if r := i.props["trivyRelease"]; r != "" {
				version += "-" + r
			}
			if e := i.props["trivyEpoch"]; e != "" && e != "0" {
				version = e + ":" + version
			}
		}
		return i.props["source"], version
	}
	name = cmp.Or(p.qualifiers["upstream"], p.qualifiers["source"])
	if strings.HasSuffix(name, ".rpm") {
		return name, ""
	}
	name, version, _ = strings.Cut(name, "@")
	return name, version
}

// languagePackage writes name and package URL as Goldkeep does, whoever made them.
func languagePackage(out *component.Component, p packageURL) {
	out.Ecosystem = ecosystems[p.kind]
	full := p.full()
	switch {
	case strings.EqualFold(out.Name, full): // the bill knows upper and lower case better
	default:
		out.Name = shown(full)
	}
	out.Version = shown(cmp.Or(p.version, out.Version))
	if p.kind == "golang" {
		switch {
		case out.Name == "stdlib" || out.Name == "go":
			out.Name, out.Version = "stdlib", strings.TrimPrefix(out.Version, "go")
		case out.Version == "" || out.Version == "(devel)":
			out.Main, out.Version = true, "(devel)"
		case out.Version[0] >= '0' && out.Version[0] <= '9':
			out.Version = "v" + out.Version
		}
	}
	if out.Ecosystem != "" {
		out.PURL = extract.PURL(p.kind, out.Name, out.Version)
	}
}

func digestOf(text string) image.Digest {
	d, err := image.ParseDigest(text)
	if err != nil {
		return ""
	}
	return d
}

// problems says what was not seen.
func (c *contents) problems(d *document) {
	add := func(p component.Problem) { c.inv.Problems = append(c.inv.Problems, p) }
	add(component.Problem{Path: whole, Reason: "only a bill of materials was given: its files, credentials, user and settings were not looked at"})
	if n := len(c.purlless); n > 0 {
		add(component.Problem{Path: shown(c.purlless[0]), Reason: count(n, "without a package URL: nobody can say what they are"), Uncovered: true})
	}
	if n := len(c.unknown); n > 0 {
		add(component.Problem{Path: shown(c.unknown[0]), Reason: count(n, "without a version: no flaw of them is found"), Uncovered: true})
	}
	if n := len(c.unsourced); n > 0 {
		add(component.Problem{Path: shown(c.unsourced[0]), Reason: count(n, "whose source package has no version: their own was compared"), Uncovered: true})
	}
	var kept []component.Problem
	if json.Unmarshal([]byte(d.props["problems"]), &kept) == nil {
		for _, p := range kept[:min(len(kept), 1000)] {
			p.Path, p.Reason = shown(p.Path), shown(p.Reason)
			add(p)
		}
	}
	if d.partial != "" && len(kept) == 0 {
		add(component.Problem{Path: whole, Reason: "the bill of materials is not whole: " + d.partial, Uncovered: true})
	}
}

func count(n int, what string) string {
	if n == 1 {
		return "a package " + strings.NewReplacer("they are", "it is", "them", "it", "their", "its").Replace(what)
	}
	return fmt.Sprintf("this and %d more packages %s", n-1, what)
}
