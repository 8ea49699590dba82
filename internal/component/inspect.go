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

	"github.com/goldkeep/goldkeep/internal/extract"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/leak"
)

const (
	inMemory     = 32 << 20  // larger programs and archives go to a temporary file
	spoolBudget  = 16 << 30  // bytes written to temporary files for one layer
	textLimit    = 8 << 20   // larger files are not searched for secrets
	programLimit = 1 << 20   // larger programs neither
	unpackBudget = 256 << 20 // bytes unpacked to look for credentials in one layer
	sparseLimit  = 64 << 20  // sparse files cost nothing to write and much to read
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

// take adds what was found in the file, or in a part of it.
func (f *fileFindings) take(name string, found extract.Found) {
	for _, p := range found.Packages {
		f.components = append(f.components, componentOf(p, name))
	}
	if len(found.Owned) > 0 {
		f.owned = append(f.owned, OwnedFiles{Path: name, Files: found.Owned})
	}
	for _, t := range found.Troubles {
		f.problems = append(f.problems, Problem{Path: name, Reason: t.Reason, Fatal: t.Fatal, Uncovered: t.Uncovered})
	}
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
	buf     []byte
	spooled int64

	unpacked leak.Budget // for credentials inside packed files
}

func newInspector(lim image.Limits) *inspector {
	return &inspector{lim: lim, unpacked: leak.Budget{Bytes: unpackBudget}}
}

func (in *inspector) close() { in.buf = nil }

// wants reports whether a file of this name is read for what it is called.
func (in *inspector) wants(name string) bool { return extract.Wants(name) || isRelease(name) }

// inspect reads a regular file as far as it is of interest. Its error is one of
// the stream; what is wrong with the file itself becomes a Problem.
func (in *inspector) inspect(ctx context.Context, name string, h *tar.Header, r io.Reader) (*fileFindings, error) {
	f := &fileFindings{facts: regularFacts(name, h)}
	if h.Size == 0 {
		return f, nil
	}
	named := in.wants(name)
	if named && h.Size > in.limitFor(name, h) {
		f.fail(name, "the file is too large to be read", true)
		return f, nil
	}
	pieces := extract.Random(name) && h.Size > inMemory
	if named && !pieces || h.Size <= textLimit {
		data, err := in.read(r, h.Size)
		if err != nil {
			return nil, err
		}
		in.content(ctx, f, name, data)
		return f, nil
	}
	return f, in.large(ctx, f, largeFile{name, h, r})
}

// limitFor is the size up to which a file of interest is read.
func (in *inspector) limitFor(name string, h *tar.Header) int64 {
	limit := extract.Limit(name)
	if image.IsSparse(h) {
		limit = min(limit, sparseLimit)
	}
	if extract.Random(name) {
		return limit // it is not read whole
	}
	return min(limit, in.lim.FileBytes)
}

// turns lets one large text be parsed after the other, whatever layer or image it is
// of: parsers take many times its size in memory.
type turns chan struct{}

var parsing = make(turns, 1)

// largeText is from where on a text waits for its turn, in bytes.
const largeText = 1 << 20

func (t turns) turn(size int) (done func()) {
	if size < largeText {
		return func() {}
	}
	t <- struct{}{}
	return func() { <-t }
}

// content looks at a file that is in memory.
func (in *inspector) content(ctx context.Context, f *fileFindings, name string, data []byte) {
	file := extract.InMemory(name, data)
	if extract.Wants(name) {
		done := parsing.turn(len(data))
		f.take(name, extract.Read(ctx, file))
		done()
	}
	if isProgram(data) {
		if len(data) <= programLimit {
			in.secrets(f, name, data)
		}
		if extract.HasMark(data) {
			f.take(name, extract.Program(file))
		}
		return
	}
	if isRelease(name) {
		f.release = parseRelease(data)
	}
	if len(data) <= textLimit {
		in.secrets(f, name, data)
	}
}

// secrets looks for credentials in a file, and inside it where it is packed.
func (in *inspector) secrets(f *fileFindings, name string, data []byte) {
	found := leak.InFile(name, data)
	if leak.IsPacked(name) {
		found = append(found, leak.InPacked(name, data, &in.unpacked)...)
	}
	for _, detail := range found {
		f.facts = append(f.facts, Fact{Kind: EmbeddedSecret, Path: "/" + name, Detail: safeText(detail)})
	}
}

type largeFile struct {
	name string
	h    *tar.Header
	r    io.Reader
}

// large looks at a big file: only programs, and what is read in pieces, are of interest.
func (in *inspector) large(ctx context.Context, f *fileFindings, file largeFile) error {
	head, err := in.read(file.r, 4)
	if err != nil {
		return err
	}
	head = bytes.Clone(head)
	wanted := extract.Random(file.name)
	if !isProgram(head) && !wanted {
		return nil
	}
	if image.IsSparse(file.h) && file.h.Size > sparseLimit {
		f.fail(file.name, "a sparse program was not read", true)
		return nil
	}
	whole := io.MultiReader(bytes.NewReader(head), file.r)
	if file.h.Size <= inMemory {
		data, err := in.read(whole, file.h.Size)
		if err == nil && extract.HasMark(data) {
			f.take(file.name, extract.Program(extract.InMemory(file.name, data)))
		}
		return err
	}
	return in.spool(file, whole, f, func(content extract.File) {
		if wanted {
			f.take(file.name, extract.Read(ctx, content))
		}
		if isProgram(head) {
			f.take(file.name, extract.Program(content))
		}
	})
}

// spool copies a big file to a temporary one that has no name any more.
func (in *inspector) spool(file largeFile, content io.Reader, f *fileFindings, use func(extract.File)) error {
	if in.spooled += file.h.Size; in.spooled > spoolBudget {
		f.fail(file.name, "the programs and archives of this layer are too large to be read", true)
		return nil
	}
	tmp, err := os.CreateTemp("", "goldkeep-file-*")
	if err != nil {
		return fault.New(fault.Unavailable, "make temporary file: %w", err)
	}
	defer tmp.Close()
	if err := os.Remove(tmp.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.Unavailable, "make temporary file: %w", err)
	}
	if _, err := io.Copy(tmp, content); err != nil {
		return err
	}
	use(extract.File{Name: file.name, Content: tmp, Size: file.h.Size})
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
			// Twice what came, or little, at most: a header may state any size.
			in.buf = slices.Grow(in.buf, max(want, int(min(n-int64(at), max(int64(at), 8*step)))))
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
