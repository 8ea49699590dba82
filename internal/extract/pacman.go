// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package extract

import (
	"path"
	"strings"
)

// isPacman knows the two files pacman keeps for each package: what it is, and
// which files it put in place.
func isPacman(name string) bool {
	base := path.Base(name)
	return IsPacman(name) && (base == "desc" || base == "files")
}

// IsPacman reports whether a file belongs to pacman's database.
func IsPacman(name string) bool { return strings.HasPrefix(name, "var/lib/pacman/local/") }

// addPacman reads one of them: "%NAME%", the values on lines of their own, an
// empty line.
func (f *Found) addPacman(name string, data []byte) {
	fields := map[string][]string{}
	key := ""
	for line := range lines(data) {
		switch {
		case line == "":
			key = ""
		case strings.HasPrefix(line, "%") && strings.HasSuffix(line, "%"):
			key = line
		case key != "":
			fields[key] = append(fields[key], line)
		}
	}
	if path.Base(name) == "files" {
		f.Owned = pacmanOwned(name, fields["%FILES%"])
		return
	}
	p := Package{
		Name: first(fields["%NAME%"]), Version: first(fields["%VERSION%"]), Arch: SafeText(first(fields["%ARCH%"])),
		Maintainer: SafeText(first(fields["%PACKAGER%"])),
	}
	if p.Name == "" || p.Version == "" {
		f.fail("not understood: it names no package", true)
		return
	}
	p.Source, p.SourceVersion = orElse(first(fields["%BASE%"]), p.Name), SafeText(p.Version)
	for _, l := range fields["%LICENSE%"] {
		p.Licenses = append(p.Licenses, SafeText(l))
	}
	f.add(p)
}

// pacmanOwned names the package by its folder, NAME-VERSION-RELEASE.
func pacmanOwned(name string, files []string) map[string][]string {
	pkg := path.Base(path.Dir(name))
	for range 2 {
		if i := strings.LastIndexByte(pkg, '-'); i > 0 {
			pkg = pkg[:i]
		}
	}
	o := newOwned()
	for _, file := range files {
		o.add(pkg, "", file)
	}
	return o.files
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}
