// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package extract reads one file of a layer and says which packages it names: the
// database of a distribution, the metadata a language's tools leave behind, an
// archive or a program. It knows nothing of layers and images. All it reads is
// hostile: every reader has limits and a fuzz test.
package extract

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// File is one file of a layer.
type File struct {
	Name    string // path in the layer, without a leading slash
	Content io.ReaderAt
	Size    int64

	data []byte // all of it, where it is in memory
}

// InMemory is a file whose content is at hand. It must not change while it is read.
func InMemory(name string, data []byte) File {
	return File{Name: name, Content: bytes.NewReader(data), Size: int64(len(data)), data: data}
}

// Package is one package a file names. Packages of a distribution have a Source,
// and no PURL or Ecosystem: these depend on the image (see component.Join).
type Package struct {
	PURL          string
	Ecosystem     string // as in OSV; "" where no feed covers it
	Name          string
	Version       string // of an RPM with its epoch: "1:3.0.7-27.el9"
	Source        string
	SourceVersion string
	Arch          string
	Module        string   // RPM: module and stream it is of, "nodejs:18"
	Inside        string   // where in the file: "BOOT-INF/lib/x.jar", inner archives after "!/"; "" the file itself
	Main          bool     // the program itself, not what it is made from
	Packages      []string // Go packages linked in, where known
	Licenses      []string
	Maintainer    string // who made it, as the distribution states
}

// Trouble is a part of a file that could not be read or judged.
type Trouble struct {
	Reason    string
	Fatal     bool // packages may have been missed
	Uncovered bool // nobody can speak for what is in it
}

// Found is what one file says.
type Found struct {
	Packages []Package
	Owned    map[string][]string // files a distribution package put in place, as far as they may hold packages
	Troubles []Trouble
}

func (f *Found) fail(reason string, fatal bool) {
	f.Troubles = append(f.Troubles, Trouble{Reason: reason, Fatal: fatal})
}

// add takes in a package, unless its name or version is impossible.
func (f *Found) add(p Package) {
	if !plausible(p.Name) || !plausible(p.Version) {
		f.fail("a package with an impossible name or version was left out", false)
		return
	}
	f.Packages = append(f.Packages, p)
}

// Limits of the files that are read whole. Parsed text takes several times its
// size in memory.
const (
	ListLimit   = 24 << 20 // package databases in text: Debian's largest are under 20 MiB
	RecordLimit = 8 << 20  // one package's metadata
	RandomLimit = 4 << 30  // archives and binary databases, which are read in pieces
)

// Wants reports whether a file says something by its name. Programs say it by
// their content, see Program.
func Wants(name string) bool {
	return Random(name) || parserFor(name) != nil || isOwnerList(name) || isInstalledPHP(name) ||
		isRPMManifest(name) || isPacman(name) || isPomProperties(name)
}

// Random reports whether a wanted file is read in pieces, from anywhere in it: it
// need not be in memory.
func Random(name string) bool { return isRPMDatabase(name) || IsJava(name) || isWheel(name) }

// Limit is the size in bytes up to which a wanted file is read.
func Limit(name string) int64 {
	switch {
	case Random(name):
		return RandomLimit
	case strings.HasPrefix(name, "var/lib/dpkg/"), IsApk(name), isRPMManifest(name):
		return ListLimit
	}
	return RecordLimit
}

// Read reads a wanted file. What is wrong with it becomes a Trouble; a fault of a
// reader, too.
func Read(ctx context.Context, file File) (found Found) {
	defer func() {
		if r := recover(); r != nil {
			found.fail(fmt.Sprintf("not understood: the reader failed: %v", r), true)
		}
	}()
	switch {
	case isRPMDatabase(file.Name):
		readRPM(file, &found)
		return found
	case IsJava(file.Name):
		readJava(ctx, file, &found)
		return found
	case isWheel(file.Name):
		readWheel(ctx, file, &found)
		return found
	}
	data, err := all(file)
	if err != nil {
		found.fail("not read: "+short(err.Error()), true)
		return found
	}
	found.text(ctx, file.Name, data)
	return found
}

func all(file File) ([]byte, error) {
	if file.Size > Limit(file.Name) {
		return nil, fmt.Errorf("it is larger than %d bytes", Limit(file.Name))
	}
	if file.data != nil {
		return file.data, nil
	}
	data := make([]byte, file.Size)
	_, err := io.ReadFull(io.NewSectionReader(file.Content, 0, file.Size), data)
	return data, err
}

// maxPackages of one database: the parsers hold them all, and what they are made
// from. A layer may have fewer, see package component.
const maxPackages = 120_000

// maxListed bounds the versions a list in JSON (composer, npm, NuGet) may name: an
// application of ten thousand packages is a large one.
const maxListed = 50_000

// Limits of the lines of a text: parsers make much of each line, and the more of
// each paragraph. Debian's largest databases have under 500,000 lines, Alpine's
// under a million; a package of a list has hundreds.
const (
	maxLines     = 1_500_000
	maxParagraph = 100_000 // lines
)

// tooMany reports whether a text would cost its parser more than it could be worth.
func tooMany(name string, data []byte) bool {
	if bytes.Count(data, []byte("\n")) > maxLines {
		return true
	}
	if !strings.HasPrefix(name, "var/lib/dpkg/status") && !IsApk(name) {
		return false
	}
	paragraph := 0
	for line := range bytes.Lines(data) {
		paragraph++
		if len(bytes.TrimSpace(line)) == 0 {
			paragraph = 0
		}
		if paragraph > maxParagraph {
			return true
		}
	}
	return false
}

func (f *Found) text(ctx context.Context, name string, data []byte) {
	if bytes.Count(data, []byte(`"version"`)) > maxListed || bytes.Count(data, []byte("\nPackage:")) > maxPackages || IsApk(name) && bytes.Count(data, []byte("\nP:")) > maxPackages {
		f.fail("it names too many packages to be read", true)
		return
	}
	if tooMany(name, data) {
		f.fail("it has more lines than a package database needs", true)
		return
	}
	if p := parserFor(name); p != nil {
		p.read(ctx, f, name, data)
	}
	switch {
	case isOwnerList(name):
		f.Owned = ownedFiles(name, data)
	case IsApk(name):
		f.Owned = apkOwned(data)
	case isInstalledPHP(name):
		f.addInstalledPHP(data)
	case isRPMManifest(name):
		f.addRPMManifest(data)
	case isPacman(name):
		f.addPacman(name, data)
	case isPomProperties(name):
		f.addPom(parsePomProperties(data), "")
	}
}

// SafeText makes a name from an image fit for JSON and for a terminal: bytes that
// are no UTF-8 and control characters are written as escapes.
func SafeText(s string) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return s
	}
	quoted := strconv.Quote(s)
	return quoted[1 : len(quoted)-1]
}

// plausible refuses names and versions no ecosystem allows, which can only
// confuse whoever prints them.
func plausible(s string) bool {
	return s != "" && len(s) <= 512 && !strings.Contains(s, "..") && !strings.ContainsAny(s, " \t\r\n\"\\<>;") && SafeText(s) == s
}

func short(s string) string { return SafeText(s[:min(len(s), 100)]) }

func orElse(s, instead string) string {
	if s == "" {
		return instead
	}
	return SafeText(s)
}

// insidePath returns the path inside the image, without a leading slash.
func insidePath(name string) (string, bool) {
	const longest = 4096
	clean := strings.TrimPrefix(path.Clean("/"+name), "/")
	leadsOut := slices.Contains(strings.Split(name, "/"), "..")
	return SafeText(clean), !leadsOut && len(name) <= longest
}

// lines splits text into lines without their ends.
func lines(data []byte) func(func(string) bool) {
	return func(yield func(string) bool) {
		for line := range bytes.SplitSeq(data, []byte{'\n'}) {
			if !yield(strings.TrimSuffix(string(line), "\r")) {
				return
			}
		}
	}
}
