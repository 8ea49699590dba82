// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package component

import (
	"strings"

	"github.com/goldkeep/goldkeep/internal/extract"
)

// owners finds the distribution package that put each file in place. A package the
// distribution did not make owns nothing: its advisories do not speak of it.
func (v *view) owners(all []Component, os OS) map[string]string {
	distro := map[string]bool{}
	for _, c := range all {
		if isDistroPackage(c) && madeByDistro(c, os) {
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
	return owners
}

// PackagesOf names the distribution packages that put files of an image in place,
// sorted, as its layers' reports tell; nil reports say nothing. Paths may have a
// leading slash.
func PackagesOf(reports []*LayerReport, files []string) []string {
	owners := map[string]string{}
	for _, layer := range reports {
		if layer == nil {
			continue
		}
		for _, o := range layer.Owned {
			for pkg, paths := range o.Files {
				for _, p := range paths {
					owners[p] = max(owners[p], pkg) // two owners: the same one each time
				}
			}
		}
	}
	found := map[string]bool{}
	for _, f := range files {
		if pkg := ownerOf(owners, strings.TrimPrefix(f, "/")); pkg != "" {
			found[pkg] = true
		}
	}
	return sortedSet(found)
}

func madeByDistro(c Component, os OS) bool {
	switch systemKind(c.Path) {
	case "apk", "alpm":
		return true
	case "rpm":
		return ofVendor(os, c.Maintainer)
	}
	return fromDistro(c.Maintainer)
}

// assignOwners notes the distribution package each other component came with.
func assignOwners(all []Component, owners map[string]string) {
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

// systemKind is the type of a distribution's packages in package URLs, by where
// they were found.
func systemKind(p string) string {
	switch {
	case extract.IsApk(p):
		return "apk"
	case extract.IsRPM(p):
		return "rpm"
	case extract.IsPacman(p):
		return "alpm"
	}
	return "deb"
}

// distroAddresses end the addresses of people and teams who speak for a
// distribution. A package of anybody else is not covered by its advisories.
var distroAddresses = []string{"debian.org", "debian.net", "ubuntu.com", "canonical.com", "alpinelinux.org", "progress-linux.org", "wolfi.dev", "chainguard.dev"}

// fromDistro reports whether the distribution itself made the package, by its
// maintainer's address. Some of Debian's people use private addresses: their
// files are then matched twice, which is noise; the other mistake would hide flaws.
func fromDistro(maintainer string) bool {
	_, address, ok := strings.Cut(maintainer, "<")
	if !ok {
		return false
	}
	address = strings.ToLower(strings.TrimSuffix(address, ">"))
	for _, end := range distroAddresses {
		if strings.HasSuffix(address, "@"+end) || strings.HasSuffix(address, "."+end) {
			return true
		}
	}
	return false
}
