// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package finding

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/component"
)

// unit is what advisories speak of: a source package of a distribution with all
// that was installed from it, or one package of a language at one path.
type unit struct {
	ecosystem string // normalised
	asks      []ask
	shown     component.Component // the component whose place is shown
	binaries  []string
	hidden    string
}

// ask is one name to look up and the version to compare.
type ask struct {
	key     advisory.Key
	version string
}

// naming says under which names the advisories of a distribution are kept.
type naming int

const (
	bySource naming = iota + 1 // the source package only
	byBoth                     // source or binary, it differs between feeds and even records
)

// distributions are the ecosystems whose packages are built from source packages.
var distributions = map[string]naming{
	"Debian": bySource, "Ubuntu": bySource, "Echo": bySource,
	"Alpine": bySource, "Alpaquita": bySource, "BellSoft Hardened Containers": bySource,
	"Chainguard": byBoth, "Wolfi": byBoth, "MinimOS": byBoth,
	"AlmaLinux": byBoth, "Rocky Linux": byBoth, "Red Hat": byBoth, "SUSE": byBoth, "openSUSE": byBoth,
	"openEuler": byBoth, "Mageia": byBoth, "Azure Linux": byBoth, "Photon OS": byBoth,
}

// epochs are the distributions whose package versions carry an epoch that the
// file name of the source package leaves out.
var epochs = map[string]bool{
	"AlmaLinux": true, "Rocky Linux": true, "Red Hat": true, "openEuler": true, "Mageia": true, "Azure Linux": true,
}

// Keys returns the packages of an inventory as the advisory index names them: a
// change of any of these may change the findings.
func Keys(inv component.Inventory) []advisory.Key {
	var keys []advisory.Key
	for _, u := range units(inv) {
		for _, a := range u.asks {
			keys = append(keys, a.key)
		}
	}
	slices.SortFunc(keys, compareKeys)
	return slices.Compact(keys)
}

func compareKeys(a, b advisory.Key) int {
	return cmp.Or(strings.Compare(a.Ecosystem, b.Ecosystem), strings.Compare(a.Name, b.Name))
}

// units groups an inventory; the result does not depend on its order. What no
// ecosystem covers is left out, and so is the main module of a Go program that was
// not built from a release.
func units(inv component.Inventory) []unit { return unitsOf(inv.Components, ownPackages(inv)) }

func unitsOf(components []component.Component, owners map[string]bool) []unit {
	comps := components
	if !slices.IsSortedFunc(comps, compareComponents) { // those of a kept part are, but for their last questions
		comps = slices.SortedFunc(slices.Values(comps), compareComponents)
	}
	groups := map[[3]string]int{}
	var out []unit
	for i, c := range comps {
		if unversioned(c) || c.Ecosystem == "" || i > 0 && compareComponents(c, comps[i-1]) == 0 {
			continue
		}
		eco := advisory.Ecosystem(c.Ecosystem)
		how := distributions[advisory.Family(eco)]
		if how == 0 {
			out = append(out, languageUnit(eco, c, owners))
			continue
		}
		source, version := sourceOf(eco, c)
		group := [3]string{eco, source, version}
		at, seen := groups[group]
		if !seen {
			at = len(out)
			groups[group] = at
			out = append(out, systemUnit(eco, source, version, c))
		}
		out[at].add(how, c)
	}
	return out
}

// release is a tagged version; pseudo-versions and changed trees are none.
var release = regexp.MustCompile(`^v?\d+\.\d+\.\d+(-(?:alpha|beta|rc)[.0-9]*)?(\+incompatible)?$`)

// unversioned: "(devel)", or a commit that sorts below every release and would
// match all that was ever wrong with the module. A program of another language is
// not what its registry has under that name; the path of a Go module is.
func unversioned(c component.Component) bool {
	return c.Main && (c.Ecosystem != "Go" || !release.MatchString(c.Version) || strings.HasPrefix(strings.TrimPrefix(c.Version, "v"), "0.0.0"))
}

func compareComponents(a, b component.Component) int {
	switch {
	case a.Name != b.Name || a.Ecosystem != b.Ecosystem:
		return cmp.Or(strings.Compare(a.Ecosystem, b.Ecosystem), strings.Compare(a.Name, b.Name))
	case a.Version != b.Version:
		return strings.Compare(a.Version, b.Version)
	}
	return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.PURL, b.PURL))
}

// ownPackages names what comes from the distribution itself. A package of a third
// party's archive is not covered by the distribution's advisories.
func ownPackages(inv component.Inventory) map[string]bool {
	own := map[string]bool{}
	system := advisory.Ecosystem(inv.OS.Ecosystem)
	for _, c := range inv.Components {
		if system != "" && c.Ecosystem != "" && advisory.Ecosystem(c.Ecosystem) == system && fromDistribution(c) {
			own[c.Name] = true
		}
	}
	return own
}

// fromDistribution goes by the maintainer where the distribution gives its own an
// address. A package maintained from elsewhere counts as foreign: better a flaw
// too many shown than one hidden.
func fromDistribution(c component.Component) bool {
	family := advisory.Family(c.Ecosystem)
	if c.Maintainer == "" || family != "Debian" && family != "Ubuntu" {
		return true
	}
	who := strings.TrimSuffix(strings.TrimSpace(c.Maintainer), ">")
	for _, domain := range []string{"debian.org", "ubuntu.com", "canonical.com"} {
		if strings.HasSuffix(who, "@"+domain) || strings.HasSuffix(who, "."+domain) {
			return true
		}
	}
	return false
}

func languageUnit(eco string, c component.Component, owners map[string]bool) unit {
	version := c.Version
	key := advisory.NewKey(eco, c.Name)
	if key.Ecosystem == "Go" && key.Name == "stdlib" {
		version = stdlibVersion(version)
	}
	u := unit{ecosystem: eco, shown: c, asks: []ask{{key, version}}}
	if owners[c.Owner] {
		// The distribution fixes flaws without changing the upstream's version, so
		// only its own advisories can tell. Shown on demand, never dropped.
		u.hidden = "owned by " + c.Owner
	}
	return u
}

func systemUnit(eco, source, version string, c component.Component) unit {
	u := unit{ecosystem: eco, shown: c, asks: []ask{{advisory.NewKey(eco, source), version}}}
	if source == "linux" {
		u.hidden = "headers of the kernel; a container runs on the host's"
	}
	return u
}

// add puts an installed package to its source package.
func (u *unit) add(how naming, c component.Component) {
	if !slices.Contains(u.binaries, c.Name) {
		u.binaries = append(u.binaries, c.Name)
	}
	own := ask{advisory.NewKey(u.ecosystem, c.Name), c.Version}
	if how == byBoth && !slices.Contains(u.asks, own) {
		u.asks = append(u.asks, own)
	}
}

// sourceOf returns the source package and its version. They may differ from the
// installed package's: bsdutils 1:2.38.1-5 comes from util-linux 2.38.1-5.
func sourceOf(eco string, c component.Component) (name, version string) {
	name, version = c.Source, c.SourceVersion
	if strings.HasSuffix(name, ".rpm") {
		name, version = splitRPM(name)
	}
	if name == "" {
		name = c.Name
	}
	if version == "" {
		version = c.Version
	}
	if epoch, _, has := strings.Cut(c.Version, ":"); has && epochs[advisory.Family(eco)] && !strings.Contains(version, ":") {
		version = epoch + ":" + version
	}
	return name, version
}

// splitRPM takes "openssl-1.1.1k-7.el8_6.src.rpm" apart.
func splitRPM(file string) (name, version string) {
	stem := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(file, ".rpm"), ".src"), ".nosrc")
	release := strings.LastIndexByte(stem, '-')
	if release <= 0 {
		return stem, ""
	}
	at := strings.LastIndexByte(stem[:release], '-')
	if at <= 0 {
		return stem, ""
	}
	return stem[:at], stem[at+1:]
}
