// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package vex

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/goldkeep/goldkeep/internal/advisory"
)

// PURL is a package URL taken apart (https://github.com/package-url/purl-spec).
type PURL struct {
	Type, Namespace, Name, Version string
	Qualifiers                     map[string]string
}

// ParsePURL reads a package URL. A subpath is an error: it speaks of a part of a
// package only.
func ParsePURL(text string) (PURL, error) {
	rest, ok := strings.CutPrefix(text, "pkg:")
	if !ok {
		return PURL{}, fmt.Errorf("%.200q does not begin with pkg: and so is no package URL", text)
	}
	if strings.Contains(rest, "#") {
		return PURL{}, fmt.Errorf("%.200q speaks of a part of a package", text)
	}
	rest, query, _ := strings.Cut(rest, "?")
	kind, path, ok := strings.Cut(strings.Trim(rest, "/"), "/")
	if !ok || kind == "" {
		return PURL{}, fmt.Errorf("%.200q is no package URL: it needs a type and a name", text)
	}
	p := PURL{Type: strings.ToLower(kind), Qualifiers: map[string]string{}}
	// An @ before the last slash is part of a name (npm's scopes, not escaped).
	if at := strings.LastIndexByte(path, '@'); at > strings.LastIndexByte(path, '/')+1 {
		p.Version, path = path[at+1:], path[:at]
	}
	if slash := strings.LastIndexByte(path, '/'); slash >= 0 {
		p.Namespace, path = path[:slash], path[slash+1:]
	}
	p.Name = path
	for _, part := range []*string{&p.Namespace, &p.Name, &p.Version} {
		plain, err := url.PathUnescape(*part)
		if err != nil {
			return PURL{}, fmt.Errorf("%.200q is no package URL: %v", text, err)
		}
		*part = plain
	}
	if p.Name == "" {
		return PURL{}, fmt.Errorf("%.200q is no package URL: it has no name", text)
	}
	return p, p.qualify(query)
}

func (p *PURL) qualify(query string) error {
	for pair := range strings.SplitSeq(query, "&") {
		key, value, _ := strings.Cut(pair, "=")
		plain, err := url.PathUnescape(value)
		if err != nil {
			return fmt.Errorf("qualifier %.80q of the package URL: %v", pair, err)
		}
		if key != "" && plain != "" {
			p.Qualifiers[strings.ToLower(key)] = plain
		}
	}
	return nil
}

// String writes the package URL, its qualifiers sorted.
func (p PURL) String() string {
	var b strings.Builder
	b.WriteString("pkg:" + p.Type + "/")
	if p.Namespace != "" {
		for part := range strings.SplitSeq(p.Namespace, "/") {
			b.WriteString(url.PathEscape(part) + "/")
		}
	}
	b.WriteString(escaped(p.Name))
	if p.Version != "" {
		b.WriteString("@" + escaped(p.Version))
	}
	sign := "?"
	for _, key := range slices.Sorted(maps.Keys(p.Qualifiers)) {
		b.WriteString(sign + key + "=" + strings.ReplaceAll(url.QueryEscape(p.Qualifiers[key]), "+", "%20"))
		sign = "&"
	}
	return b.String()
}

func escaped(text string) string {
	return strings.NewReplacer("@", "%40", ":", "%3A", "=", "%3D", "&", "%26").Replace(url.PathEscape(text))
}

// families are the advisory ecosystems that types of package URL, and of
// distributions the namespaces, stand for.
var families = map[string]string{
	"deb/debian": "Debian", "deb/ubuntu": "Ubuntu", "deb/echo": "Echo",
	"apk/alpine": "Alpine", "apk/wolfi": "Wolfi", "apk/chainguard": "Chainguard", "apk/minimos": "MinimOS", "apk/alpaquita": "Alpaquita",
	"rpm/redhat": "Red Hat", "rpm/rhel": "Red Hat", "rpm/rocky": "Rocky Linux", "rpm/rocky-linux": "Rocky Linux", "rpm/rockylinux": "Rocky Linux",
	"rpm/almalinux": "AlmaLinux", "rpm/suse": "SUSE", "rpm/sles": "SUSE", "rpm/opensuse": "openSUSE", "rpm/openeuler": "openEuler",
	"rpm/mageia": "Mageia", "rpm/azurelinux": "Azure Linux", "rpm/photon": "Photon OS",
	"golang": "Go", "npm": "npm", "pypi": "PyPI", "maven": "Maven", "gem": "RubyGems", "cargo": "crates.io",
	"composer": "Packagist", "nuget": "NuGet", "hex": "Hex", "pub": "Pub", "swift": "SwiftURL", "conan": "ConanCenter",
	"julia": "Julia", "hackage": "Hackage", "cran": "CRAN", "bitnami": "Bitnami", "githubactions": "GitHub Actions",
}

// Key names the package as advisories do, with the family of its ecosystem
// ("Debian", no release). It is false for what no advisory speaks of.
func (p PURL) Key() (advisory.Key, bool) {
	family, ok := families[p.Type]
	name := p.Name
	switch {
	case !ok:
		family, ok = families[p.Type+"/"+strings.ToLower(p.Namespace)]
	case p.Namespace == "":
	case p.Type == "maven":
		name = p.Namespace + ":" + p.Name
	default:
		name = p.Namespace + "/" + p.Name
	}
	if family == "Go" { // package URLs write these in lower case
		name = strings.ToLower(name)
	}
	return advisory.NewKey(family, name), ok
}
