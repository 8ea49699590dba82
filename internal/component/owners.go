// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package component

import (
	"bufio"
	"bytes"
	"path"
	"strings"
)

// isOwnerList knows dpkg's lists of files (and those of distroless images).
func isOwnerList(name string) bool {
	return strings.HasPrefix(name, "var/lib/dpkg/info/") && strings.HasSuffix(name, ".list") ||
		strings.HasPrefix(name, "var/lib/dpkg/status.d/") && strings.HasSuffix(name, ".md5sums")
}

// ownedFiles reads one of dpkg's lists: "NAME.list" or "NAME:ARCH.list" with a
// path on each line, or "NAME.md5sums" with a checksum before it.
func ownedFiles(name string, data []byte) OwnedFiles {
	base := path.Base(name)
	sums := strings.HasSuffix(base, ".md5sums")
	owner := strings.TrimSuffix(strings.TrimSuffix(base, ".list"), ".md5sums")
	owner, _, _ = strings.Cut(owner, ":")
	var files []string
	for line := range bytes.SplitSeq(data, []byte{'\n'}) {
		text := string(line)
		if sums {
			_, text, _ = strings.Cut(text, "  ")
		}
		if p, ok := cleanName(text); ok && mayHoldComponent(p) {
			files = append(files, p)
		}
	}
	return OwnedFiles{Path: name, Files: map[string][]string{owner: files}}
}

// apkOwned reads the files of each package from apk's database: P: package,
// F: folder, R: file in it.
func apkOwned(name string, data []byte) OwnedFiles {
	owned := OwnedFiles{Path: name, Files: map[string][]string{}}
	var pkg, folder string
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ":")
		switch key {
		case "P":
			pkg = safeText(value)
		case "F":
			folder = value
		case "R":
			if p, ok := cleanName(folder + "/" + value); ok && mayHoldComponent(p) {
				owned.Files[pkg] = append(owned.Files[pkg], p)
			}
		}
	}
	return owned
}

// mayHoldComponent keeps the lists short: package metadata, and programs.
func mayHoldComponent(p string) bool {
	if p == "" || strings.HasPrefix(p, "usr/share/doc/") || strings.HasPrefix(p, "usr/share/man/") || strings.HasPrefix(p, "usr/share/locale/") {
		return false
	}
	if strings.Contains("/"+path.Dir(p)+"/", "bin/") || strings.Contains(p, "libexec/") {
		return true
	}
	for _, part := range []string{".dist-info/METADATA", ".egg-info", "EGG-INFO/PKG-INFO", "/package.json", ".gemspec", "composer.lock", "composer/installed.json", ".deps.json", ".egg", ".whl"} {
		if strings.HasSuffix(p, part) || strings.HasSuffix(p, part+"/PKG-INFO") {
			return true
		}
	}
	return strings.HasPrefix(p, "usr/lib/") && !strings.Contains(path.Base(p), ".") // helper programs
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
