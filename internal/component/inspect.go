// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package component

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
)

const (
	inMemory    = 32 << 20 // larger executables go to a temporary file
	spoolBudget = 16 << 30 // bytes written to temporary files for one layer
	textLimit   = 1 << 20  // larger files are not searched for secrets
	listLimit   = 64 << 20 // package databases: Debian's largest are under 20 MiB
	recordLimit = 8 << 20  // one package's metadata
	sparseLimit = 64 << 20 // sparse files cost nothing to write and much to read
)

// fileFindings is what one file says.
type fileFindings struct {
	components []Component
	facts      []Fact
	owned      []OwnedFiles
	release    map[string]string
	problems   []Problem
}

func (f *fileFindings) empty() bool {
	return len(f.components)+len(f.facts)+len(f.owned)+len(f.problems) == 0 && f.release == nil
}

func (f *fileFindings) fail(name, reason string, fatal bool) {
	f.problems = append(f.problems, Problem{Path: name, Reason: reason, Fatal: fatal})
}

// modeFacts returns the facts that come from the file's mode, told of another name.
func (f *fileFindings) modeFacts(name string) []Fact {
	var out []Fact
	for _, fact := range f.facts {
		if fact.Kind == SetUID || fact.Kind == Capability {
			fact.Path = "/" + name
			out = append(out, fact)
		}
	}
	return out
}

// inspector reads the files of one layer that say something. It keeps one buffer
// for all of them.
type inspector struct {
	lim     image.Limits
	parsers []parser
	buf     []byte
	spooled int64
}

func newInspector(lim image.Limits) *inspector {
	return &inspector{lim: lim, parsers: parsers()}
}

func (in *inspector) close() { in.buf = nil }

// wants reports whether a file of this name is read for what it is called.
func (in *inspector) wants(name string) bool {
	return in.parserFor(name) != nil || isOwnerList(name) || isRelease(name) || isInstalledPHP(name)
}

func (in *inspector) parserFor(name string) *parser {
	for i := range in.parsers {
		if in.parsers[i].required(name) {
			return &in.parsers[i]
		}
	}
	return nil
}

// inspect reads a regular file as far as it is of interest. Its error is one of
// the stream; what is wrong with the file itself becomes a Problem.
func (in *inspector) inspect(ctx context.Context, name string, h *tar.Header, r io.Reader) (*fileFindings, error) {
	f := &fileFindings{facts: regularFacts(name, h)}
	if reason := unreadable(name); reason != "" {
		f.fail(name, reason, true)
	}
	if isJavaArchive(name) {
		f.problems = append(f.problems, Problem{Path: name, Reason: javaArchive, Uncovered: true})
	}
	if h.Size == 0 {
		return f, nil
	}
	named := in.wants(name)
	if named && h.Size > in.limitFor(name, h) {
		f.fail(name, "the file is too large to be read", true)
		return f, nil
	}
	if named || h.Size <= textLimit {
		data, err := in.read(r, h.Size)
		if err != nil {
			return nil, err
		}
		in.content(ctx, f, name, data)
		return f, nil
	}
	return f, in.large(f, largeFile{name, h, r})
}

// limitFor is the size up to which a file of interest is read. Parsed text takes
// several times its size in memory, so the limit is well below FileBytes.
func (in *inspector) limitFor(name string, h *tar.Header) int64 {
	limit := int64(recordLimit)
	switch {
	case strings.HasPrefix(name, "var/lib/dpkg/"), isApkPath(name), image.IsSparse(h):
		limit = listLimit
	case strings.HasSuffix(name, ".egg"), strings.HasSuffix(name, ".whl"):
		limit = in.lim.FileBytes
	}
	return min(limit, in.lim.FileBytes)
}

// content looks at a file that is in memory.
func (in *inspector) content(ctx context.Context, f *fileFindings, name string, data []byte) {
	if isProgram(data) {
		f.addProgram(program{name, bytes.NewReader(data), int64(len(data)), hasMark(data)})
		return
	}
	if p := in.parserFor(name); p != nil {
		p.read(ctx, f, name, data)
	}
	if isOwnerList(name) {
		f.owned = append(f.owned, ownedFiles(name, data))
	}
	if isRelease(name) {
		f.release = parseRelease(data)
	}
	if isInstalledPHP(name) {
		f.addInstalledPHP(name, data)
	}
	if len(data) <= textLimit {
		f.facts = append(f.facts, secretFacts(name, data)...)
	}
}

type largeFile struct {
	name string
	h    *tar.Header
	r    io.Reader
}

// large looks at a big file: only programs are of interest.
func (in *inspector) large(f *fileFindings, file largeFile) error {
	head, err := in.read(file.r, 4)
	if err != nil || !isProgram(head) {
		return err
	}
	if image.IsSparse(file.h) && file.h.Size > sparseLimit {
		f.fail(file.name, "a sparse program was not read", true)
		return nil
	}
	if file.h.Size <= inMemory {
		data, err := in.read(io.MultiReader(bytes.NewReader(bytes.Clone(head)), file.r), file.h.Size)
		if err != nil {
			return err
		}
		f.addProgram(program{file.name, bytes.NewReader(data), file.h.Size, hasMark(data)})
		return nil
	}
	return in.spool(f, file, bytes.Clone(head))
}

// spool copies a big program to a temporary file that has no name any more.
func (in *inspector) spool(f *fileFindings, file largeFile, head []byte) error {
	if in.spooled += file.h.Size; in.spooled > spoolBudget {
		f.fail(file.name, "the programs of this layer are too large to be read", true)
		return nil
	}
	tmp, err := os.CreateTemp("", "goldkeep-program-*")
	if err != nil {
		return fault.New(fault.Unavailable, "make temporary file: %w", err)
	}
	defer tmp.Close()
	if err := os.Remove(tmp.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.Unavailable, "make temporary file: %w", err)
	}
	if _, err := io.Copy(tmp, io.MultiReader(bytes.NewReader(head), file.r)); err != nil {
		return err
	}
	f.addProgram(program{file.name, tmp, file.h.Size, true})
	return nil
}

// read reads n bytes into the buffer, which the next read uses again. The buffer
// grows with what really comes: a header's word on the size costs nothing.
func (in *inspector) read(r io.Reader, n int64) ([]byte, error) {
	const step = 1 << 20
	in.buf = in.buf[:0]
	for int64(len(in.buf)) < n {
		want := int(min(n-int64(len(in.buf)), step))
		at := len(in.buf)
		if cap(in.buf) < at+want {
			// Twice what came, at most: a header may state any size.
			in.buf = slices.Grow(in.buf, max(want, int(min(n-int64(at), int64(at)))))
		}
		in.buf = in.buf[:at+want]
		if _, err := io.ReadFull(r, in.buf[at:]); err != nil {
			return nil, err
		}
	}
	return in.buf, nil
}

// programMarks begin the programs of Linux (ELF), Windows (PE) and macOS (Mach-O).
var programMarks = [][]byte{[]byte("\x7fELF"), []byte("MZ"), []byte("\xcf\xfa\xed\xfe"), []byte("\xfe\xed\xfa\xcf")}

func isProgram(data []byte) bool {
	return slices.ContainsFunc(programMarks, func(mark []byte) bool { return bytes.HasPrefix(data, mark) })
}

// unreadable names the package formats Goldkeep knows of and does not read yet.
func unreadable(name string) string {
	switch {
	case strings.HasSuffix(name, "lib/rpm/Packages"), strings.HasSuffix(name, "lib/rpm/Packages.db"), strings.HasSuffix(name, "/rpmdb.sqlite"):
		return "RPM package databases are not read yet: no flaw of the packages in it is found"
	case strings.HasPrefix(name, "var/lib/pacman/local/") && strings.HasSuffix(name, "/desc"):
		return "pacman package databases are not read yet: no flaw of the packages in it is found"
	}
	return ""
}

const javaArchive = "Java archives are not read yet: no flaw of the libraries in it is found"

func isJavaArchive(name string) bool {
	return strings.HasSuffix(name, ".jar") || strings.HasSuffix(name, ".war") || strings.HasSuffix(name, ".ear")
}
