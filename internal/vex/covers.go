// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package vex

import (
	"slices"
	"strings"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/finding"
)

// Claim is what a statement or a decision speaks of.
type Claim struct {
	Names    []string // of the flaw
	Packages []string // package URLs or plain names; none: every package
}

// Covered reports whether claims together speak of all of a finding. One advisory
// of a distribution bundles many CVEs, and one source package makes many
// installed ones: then every CVE and every installed package must be spoken of,
// unless a claim names the advisory, or the source package, itself.
func Covered(f finding.Finding, claims []Claim) bool {
	for _, flaw := range flaws(f) {
		for _, installed := range installed(f) {
			if !slices.ContainsFunc(claims, func(c Claim) bool { return c.names(f, flaw) && c.concerns(f, installed) }) {
				return false
			}
		}
	}
	return true
}

// Touches reports whether a claim speaks of any part of a finding.
func (c Claim) Touches(f finding.Finding) bool {
	return slices.ContainsFunc(flaws(f), func(flaw string) bool { return c.names(f, flaw) }) &&
		slices.ContainsFunc(installed(f), func(name string) bool { return c.concerns(f, name) })
}

// flaws are the CVEs of a finding where it bundles several; "" stands for the one
// flaw of any other.
func flaws(f finding.Finding) []string {
	var cves []string
	for _, name := range append([]string{f.ID}, f.Aliases...) {
		if strings.HasPrefix(name, "CVE-") && !slices.Contains(cves, name) {
			cves = append(cves, name)
		}
	}
	if len(cves) < 2 {
		return []string{""}
	}
	return cves
}

func installed(f finding.Finding) []string {
	if len(f.Binaries) == 0 {
		return []string{f.Package}
	}
	return f.Binaries
}

func (c Claim) names(f finding.Finding, flaw string) bool {
	if slices.Contains(c.Names, f.ID) && (flaw == "" || !strings.HasPrefix(f.ID, "CVE-")) {
		return true
	}
	if flaw != "" {
		return slices.Contains(c.Names, flaw)
	}
	return slices.ContainsFunc(f.Aliases, func(a string) bool { return slices.Contains(c.Names, a) })
}

func (c Claim) concerns(f finding.Finding, installed string) bool {
	return len(c.Packages) == 0 || slices.ContainsFunc(c.Packages, func(p string) bool { return isPackage(p, f, installed) })
}

// isPackage reports whether a package URL or a plain name means an installed
// package of a finding, or the source package it was built from.
func isPackage(text string, f finding.Finding, installed string) bool {
	if !strings.HasPrefix(text, "pkg:") {
		return text == f.Package || text == installed
	}
	p, err := ParsePURL(text)
	if err != nil {
		return false
	}
	key, ok := p.Key()
	family := advisory.Family(advisory.Ecosystem(f.Ecosystem))
	if !ok || key.Ecosystem != family {
		return false
	}
	source := sameName(family, key.Name, f.Package) && (len(f.Binaries) == 0 || p.Qualifiers["arch"] == "" || isSource(p))
	binary := sameName(family, key.Name, installed) && !isSource(p)
	return (source || binary) && p.fits(f, source)
}

func isSource(p PURL) bool { return p.Qualifiers["arch"] == "source" || p.Qualifiers["arch"] == "src" }

func sameName(family, a, b string) bool {
	a, b = advisory.NewKey(family, a).Name, advisory.NewKey(family, b).Name
	if family == "Go" {
		return strings.EqualFold(a, b)
	}
	return a == b
}

// fits compares version and qualifiers. What a package URL demands and the
// finding does not show is not met.
func (p PURL) fits(f finding.Finding, source bool) bool {
	shown, err := ParsePURL(f.PURL)
	if err != nil {
		return false
	}
	if p.Version != "" && !sameVersion(p, f.Version) && (source && len(f.Binaries) > 0 || !sameVersion(p, shown.Version)) {
		return false
	}
	for key, value := range p.Qualifiers {
		switch {
		case key == "arch" && isSource(p):
		case key == "distro" && sameRelease(value, f.Ecosystem, shown):
		case value != shown.Qualifiers[key]:
			return false
		}
	}
	return true
}

func sameVersion(p PURL, version string) bool {
	if epoch := p.Qualifiers["epoch"]; epoch != "" && p.Type == "rpm" && epoch+":"+p.Version == version {
		return true
	}
	if p.Type == "golang" {
		return strings.TrimPrefix(p.Version, "v") == strings.TrimPrefix(version, "v")
	}
	return p.Version == version
}

// codenames of releases, as vendors write them in package URLs.
var codenames = map[string]string{
	"Debian:10": "buster", "Debian:11": "bullseye", "Debian:12": "bookworm", "Debian:13": "trixie", "Debian:14": "forky",
	"Ubuntu:16.04": "xenial", "Ubuntu:18.04": "bionic", "Ubuntu:20.04": "focal", "Ubuntu:22.04": "jammy", "Ubuntu:24.04": "noble", "Ubuntu:26.04": "resolute",
}

// sameRelease compares the "distro" of a package URL with a finding's release:
// "debian-12", "debian-12.5" and "bookworm" are Debian:12.
func sameRelease(distro, ecosystem string, shown PURL) bool {
	ecosystem = advisory.Ecosystem(ecosystem)
	family, release, _ := strings.Cut(ecosystem, ":")
	if distro == shown.Qualifiers["distro"] || distro == codenames[ecosystem] {
		return true
	}
	id, version, ok := strings.Cut(distro, "-")
	return ok && release != "" && families[shown.Type+"/"+strings.ToLower(id)] == family && advisory.Ecosystem(family+":"+version) == ecosystem
}
