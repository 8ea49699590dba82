// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package sbom

import (
	"net/url"
	"strings"
)

// packageURL is a package URL taken apart (github.com/package-url/purl-spec).
type packageURL struct {
	kind       string // "deb", "npm"
	namespace  string // "debian", "@scope", "github.com/x"
	name       string
	version    string
	qualifiers map[string]string
}

// parsePURL is lenient as to escapes and case, which tools differ in.
func parsePURL(text string) (packageURL, bool) {
	rest, ok := strings.CutPrefix(text, "pkg:")
	if !ok || len(text) > 4096 {
		return packageURL{}, false
	}
	rest, _, _ = strings.Cut(rest, "#")
	rest, query, _ := strings.Cut(strings.TrimLeft(rest, "/"), "?")
	p := packageURL{qualifiers: map[string]string{}}
	for pair := range strings.SplitSeq(query, "&") {
		if key, value, ok := strings.Cut(pair, "="); ok && len(p.qualifiers) < 50 {
			p.qualifiers[strings.ToLower(key)] = unescaped(value)
		}
	}
	if at := strings.LastIndexByte(rest, '@'); at > strings.LastIndexByte(rest, '/') {
		p.version = unescaped(rest[at+1:])
		rest = rest[:at]
	}
	kind, path, ok := strings.Cut(rest, "/")
	path = strings.Trim(path, "/")
	if !ok || path == "" {
		return packageURL{}, false
	}
	p.kind = strings.ToLower(kind)
	if last := strings.LastIndexByte(path, '/'); last >= 0 {
		p.namespace, path = unescaped(path[:last]), path[last+1:]
	}
	p.name = unescaped(path)
	return p, p.name != ""
}

func unescaped(s string) string {
	if plain, err := url.PathUnescape(s); err == nil {
		return plain
	}
	return s
}

// full is namespace and name as the ecosystem writes them.
func (p packageURL) full() string {
	switch {
	case p.namespace == "":
		return p.name
	case p.kind == "maven":
		return p.namespace + ":" + p.name
	}
	return p.namespace + "/" + p.name
}

// ecosystems are OSV's names of the types of package URL. A type that is missing
// here is covered by no feed, which is said.
var ecosystems = map[string]string{
	"pypi": "PyPI", "npm": "npm", "gem": "RubyGems", "composer": "Packagist", "nuget": "NuGet", "cargo": "crates.io", "golang": "Go",
	"maven": "Maven", "hex": "Hex", "pub": "Pub", "swift": "SwiftURL", "cran": "CRAN", "hackage": "Hackage", "conan": "ConanCenter",
	"bitnami": "Bitnami",
}

// systems are the types that distributions use.
var systems = map[string]bool{"deb": true, "rpm": true, "apk": true, "alpm": true}

// codenames are the releases some tools write in place of the number.
var codenames = map[string]string{
	"buster": "10", "bullseye": "11", "bookworm": "12", "trixie": "13", "forky": "14",
	"bionic": "18.04", "focal": "20.04", "jammy": "22.04", "noble": "24.04", "questing": "25.10", "resolute": "26.04",
}

// names are distributions by the names some tools use, as os-release has them.
var names = map[string]string{
	"redhat": "rhel", "alma": "almalinux", "amazon": "amzn", "oracle": "ol", "opensuse.leap": "opensuse-leap", "opensuse.tumbleweed": "opensuse-tumbleweed",
	"suse linux enterprise server": "sles", "suse": "sles", "azure": "azurelinux", "cbl-mariner": "mariner",
}

// distroOf reads the qualifier "distro", in all its forms: "debian-12",
// "debian-12.5", "bookworm", "3.20.3", "rhel-9.4".
func (p packageURL) distroOf() (id, version string) {
	distro := strings.ToLower(p.qualifiers["distro"])
	id = strings.ToLower(p.namespace)
	if last := strings.LastIndexByte(distro, '-'); last > 0 && last+1 < len(distro) {
		if d := distro[last+1]; d >= '0' && d <= '9' || codenames[distro[last+1:]] != "" {
			id, distro = distro[:last], distro[last+1:]
		}
	}
	if number := codenames[distro]; number != "" {
		distro = number
	}
	if known := names[id]; known != "" {
		id = known
	}
	if distro == "" || distro[0] < '0' || distro[0] > '9' {
		return id, ""
	}
	return id, distro
}
