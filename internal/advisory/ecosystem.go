// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"regexp"
	"strings"
)

// NewKey returns the key under which a package is kept and looked up. Feeds and
// images write the same place in different ways ("Ubuntu:22.04:LTS", "Django");
// both go through here, so that they meet.
func NewKey(ecosystem, name string) Key {
	eco := Ecosystem(ecosystem)
	return Key{Ecosystem: eco, Name: packageName(eco, name)}
}

// Family returns the part of an ecosystem that names its version order and its
// feed: "Debian" for "Debian:12".
func Family(ecosystem string) string {
	family, _, _ := strings.Cut(ecosystem, ":")
	return family
}

// Ecosystem returns the one spelling Goldkeep uses for an OSV ecosystem and
// release. A release it does not know a rule for stays as it is written.
func Ecosystem(ecosystem string) string {
	family, release, versioned := strings.Cut(strings.TrimSpace(ecosystem), ":")
	if !versioned {
		return family
	}
	switch family {
	case "Ubuntu":
		return family + ":" + ubuntuRelease(release)
	case "Debian", "AlmaLinux", "Rocky Linux":
		// Point releases ("12.5", "8.9") share their release's advisories.
		major, _, _ := strings.Cut(release, ".")
		return family + ":" + major
	case "Alpine", "Alpaquita":
		return family + ":" + alpineRelease(release)
	case "Red Hat":
		return family + ":" + redHatRelease(release)
	case "SUSE":
		return family + ":" + suseRelease(release)
	case "Maven":
		return family // the suffix is the address of a repository
	}
	return family + ":" + release
}

// ubuntuRelease drops the words LTS and Pro: a flaw that only subscribers get the
// fix for is in the image all the same. Special builds (FIPS, Realtime) keep theirs.
func ubuntuRelease(release string) string {
	parts := strings.Split(release, ":")
	var kept []string
	for _, p := range parts {
		if p != "LTS" && p != "Pro" {
			kept = append(kept, p)
		}
	}
	if len(kept) != 1 {
		return release
	}
	return kept[0]
}

// alpineRelease makes "v3.18" of "3.18", "v3.18" and "3.18.4".
func alpineRelease(release string) string {
	parts := strings.Split(strings.TrimPrefix(release, "v"), ".")
	if parts[0] == "" || parts[0][0] < '0' || parts[0][0] > '9' {
		return release // "edge", "stream"
	}
	return "v" + strings.Join(parts[:min(2, len(parts))], ".")
}

// redHatRelease makes "9" of "9.4" and of the product name
// "enterprise_linux:9::baseos". Other products keep their name: their packages
// are not those of the plain system.
func redHatRelease(release string) string {
	if rest, ok := strings.CutPrefix(release, "enterprise_linux:"); ok {
		release, _, _ = strings.Cut(rest, ":")
	}
	if strings.Contains(release, ":") {
		return release
	}
	major, _, _ := strings.Cut(release, ".")
	return major
}

// suseProduct takes "Linux Enterprise Module for Basesystem 15 SP5" apart, and
// "Linux Enterprise Server 12 SP5-LTSS".
var suseProduct = regexp.MustCompile(`^Linux Enterprise [A-Z][^0-9]* (\d+(?:\.\d+)?)( SP\d+)?(?:-[A-Z]+)?$`)

// suseRelease makes "15 SP5" of all modules, extensions and terms of support of one
// release: they share their packages, and a flaw that only subscribers get the fix
// for is in the image all the same. Other products (Micro, Manager) keep their name.
func suseRelease(release string) string {
	m := suseProduct.FindStringSubmatch(release)
	if m == nil || strings.Contains(release, " Micro ") {
		return release
	}
	return m[1] + m[2]
}

var dashes = regexp.MustCompile(`[-_.]+`)

// packageName folds a name the way its ecosystem does.
func packageName(ecosystem, name string) string {
	name = strings.TrimSpace(name)
	switch Family(ecosystem) {
	case "PyPI": // PEP 503, "Normalized Names"
		return strings.ToLower(dashes.ReplaceAllString(name, "-"))
	case "NuGet", "Packagist", "Hex", "GitHub Actions", "SwiftURL":
		return strings.ToLower(name)
	case "Go":
		if name == "go" || name == "std" {
			return "stdlib"
		}
	}
	return name
}
