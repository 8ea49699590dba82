// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package extract

import (
	"path"
	"strings"
)

// isOwnerList knows dpkg's lists of files (and those of distroless images).
func isOwnerList(name string) bool {
	return strings.HasPrefix(name, "var/lib/dpkg/info/") && strings.HasSuffix(name, ".list") ||
		strings.HasPrefix(name, "var/lib/dpkg/status.d/") && strings.HasSuffix(name, ".md5sums")
}

// owned collects the files that distribution packages put in place.
type owned struct {
	files map[string][]string
	left  int // bytes of names that may still be looked at
}

const (
	longestPath = 4096
	ownedBytes  = 128 << 20 // of all names of one database; Debian's largest images have under 40 MiB
)

func newOwned() *owned { return &owned{files: map[string][]string{}, left: ownedBytes} }

// add notes a file, if it may hold packages. Names are joined only when both are
// of a possible length: lists of few bytes could name terabytes otherwise.
func (o *owned) add(pkg, folder, name string) {
	if len(folder)+len(name) > longestPath || o.left < 0 {
		return
	}
	o.left -= len(folder) + len(name)
	if p, ok := insidePath(folder + name); ok && mayHoldPackage(p) {
		o.files[pkg] = append(o.files[pkg], p)
	}
}

// ownedFiles reads one of dpkg's lists: "NAME.list" or "NAME:ARCH.list" with a
// path on each line, or "NAME.md5sums" with a checksum before it.
func ownedFiles(name string, data []byte) map[string][]string {
	base := path.Base(name)
	sums := strings.HasSuffix(base, ".md5sums")
	owner := strings.TrimSuffix(strings.TrimSuffix(base, ".list"), ".md5sums")
	owner, _, _ = strings.Cut(owner, ":")
	o := newOwned()
	for text := range lines(data) {
		if sums {
			_, text, _ = strings.Cut(text, "  ")
		}
		o.add(owner, "", text)
	}
	return o.files
}

// apkOwned reads the files of each package from apk's database: P: package,
// F: folder, R: file in it.
func apkOwned(data []byte) map[string][]string {
	o := newOwned()
	var pkg, folder string
	for line := range lines(data) {
		key, value, _ := strings.Cut(line, ":")
		switch key {
		case "P":
			pkg = SafeText(value)
		case "F":
			folder = value + "/"
		case "R":
			o.add(pkg, folder, value)
		}
	}
	return o.files
}

// IsApk knows apk's database.
func IsApk(name string) bool { return strings.HasSuffix(name, "apk/db/installed") }

// isLibrary knows shared libraries: what runs maps them, which tells that their
// package is in use.
func isLibrary(base string) bool {
	_, after, ok := strings.Cut(base, ".so")
	return ok && (after == "" || after[0] == '.')
}

// mayHoldPackage keeps the lists short: package metadata, programs and libraries.
func mayHoldPackage(p string) bool {
	if p == "" || strings.HasPrefix(p, "usr/share/doc/") || strings.HasPrefix(p, "usr/share/man/") || strings.HasPrefix(p, "usr/share/locale/") {
		return false
	}
	if strings.Contains("/"+path.Dir(p)+"/", "bin/") || strings.Contains(p, "libexec/") || isLibrary(path.Base(p)) {
		return true
	}
	if IsJava(p) {
		return true
	}
	for _, part := range []string{".dist-info/METADATA", ".egg-info", "EGG-INFO/PKG-INFO", "/package.json", ".gemspec", "composer.lock", "composer/installed.json", ".deps.json", ".egg", ".whl"} {
		if strings.HasSuffix(p, part) || strings.HasSuffix(p, part+"/PKG-INFO") {
			return true
		}
	}
	return strings.HasPrefix(p, "usr/lib/") && !strings.Contains(path.Base(p), ".") // helper programs
}
