// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package finding

import (
	"cmp"
	"regexp"
	"strings"
	"sync"
)

// rules names the ecosystem whose order a family shares, where the library does
// not know the family itself.
var rules = map[string]string{"Azure Linux": "Red Hat", "Photon OS": "Red Hat"}

const (
	semverTail = `(?:-[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?$`
	apkGrammar = `^\d+(?:\.\d+)*[a-z]?(?:_(?:alpha|beta|pre|rc|cvs|svn|git|hg|p)\d*)*(?:~[0-9a-f]+)?(?:-r\d+)?$`
)

// grammars are what the versions of an ecosystem look like. The library takes
// anything for some version or other: a fourth number for a pre-release
// ("1.2.3.4" before "1.2.3"), words for nothing. What does not fit is not
// compared, and becomes a gap.
var grammars = sync.OnceValue(func() map[string]*regexp.Regexp {
	out := map[string]*regexp.Regexp{
		"NuGet":     regexp.MustCompile(`^v?\d+(?:\.\d+){0,3}` + semverTail),
		"PyPI":      regexp.MustCompile(`(?i)^v?(?:\d+!)?\d+(?:\.\d+)*(?:[-_.]?(?:a|b|c|rc|alpha|beta|pre|preview)[-_.]?\d*)?(?:-\d+|[-_.]?(?:post|rev|r)[-_.]?\d*)?(?:[-_.]?dev[-_.]?\d*)?(?:\+[a-z0-9]+(?:[-_.][a-z0-9]+)*)?$`),
		"RubyGems":  regexp.MustCompile(`^\d+(?:\.[0-9A-Za-z]+)*(?:-[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?$`),
		"Packagist": composer,
		"Maven":     regexp.MustCompile(`^[0-9A-Za-z]`),
	}
	semver := regexp.MustCompile(`^v?\d+(?:\.\d+){0,2}` + semverTail)
	for _, family := range []string{"Go", "npm", "crates.io", "Hex"} {
		out[family] = semver
	}
	deb := regexp.MustCompile(`^(?:\d+:)?[0-9A-Za-z][0-9A-Za-z.+~:-]*$`)
	for _, family := range []string{"Debian", "Ubuntu"} {
		out[family] = deb
	}
	apk := regexp.MustCompile(apkGrammar)
	for _, family := range []string{"Alpine", "Alpaquita", "Wolfi", "Chainguard", "MinimOS", "BellSoft Hardened Containers"} {
		out[family] = apk
	}
	rpm := regexp.MustCompile(`^(?:\d+:)?[0-9A-Za-z._+~^%-]+$`)
	for _, family := range []string{"Red Hat", "AlmaLinux", "Rocky Linux", "SUSE", "openSUSE", "Azure Linux", "Photon OS", "Mageia", "openEuler"} {
		out[family] = rpm
	}
	return out
})

// composer is the grammar of Composer's VersionParser for releases: one to four
// numbers, a stability with numbers of its own, "dev".
var composer = regexp.MustCompile(`(?i)^v?(\d{1,5})(\.\d+)?(\.\d+)?(\.\d+)?[._-]?(?:(stable|beta|b|rc|alpha|a|patch|pl|p)((?:[.-]?\d+)*))?([.-]?dev)?(?:\+\S+)?$`)

// stabilities are Composer's words in the spelling it compares.
var stabilities = map[string]string{
	"b": "beta", "beta": "beta", "rc": "RC", "a": "alpha", "alpha": "alpha", "p": "patch", "pl": "patch", "patch": "patch",
}

// qualifier finds a word behind a dot. Maven orders it like one behind a hyphen
// ("1.0.RC1" and "1.0-RC1"), the library does not.
var qualifier = regexp.MustCompile(`\.([A-Za-z])`)

// spelled writes a version the way the library orders it rightly.
func spelled(family, v string) string {
	switch family {
	case "Maven":
		return qualifier.ReplaceAllString(v, "-$1")
	case "RubyGems": // as Gem::Version does
		return strings.ReplaceAll(v, "-", ".pre.")
	case "Packagist":
		return composerSpelled(v)
	}
	return v
}

// composerSpelled makes "1.0.0.0-patch1" of "v1-p1", as Composer does before it
// compares; the library leaves the numbers that are not written out.
func composerSpelled(v string) string {
	m := composer.FindStringSubmatch(v)
	if m == nil {
		return v
	}
	out := m[1] + cmp.Or(m[2], ".0") + cmp.Or(m[3], ".0") + cmp.Or(m[4], ".0")
	if word := stabilities[strings.ToLower(m[5])]; word != "" {
		out += "-" + word + strings.TrimLeft(m[6], ".-")
	}
	if m[7] != "" {
		out += "-dev"
	}
	return out
}
