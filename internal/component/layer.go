// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package component

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
)

const (
	maxPath       = 4096      // longer paths cannot be unpacked on Linux
	maxPathsBytes = 128 << 20 // of all paths of one layer
	maxDepth      = 128       // folders in one another; deeper is no software
	linkSteps     = 40        // symbolic links followed for one path, as in Linux
	maxFollowed   = 300_000   // symbolic links followed among the folders of all paths of one layer
	maxReplaced   = 100       // folders of one layer that a file takes the place of
	maxComponents = 100_000   // of one layer
)

// ReadLayer reads one layer as a stream, from start to end, and never unpacks it.
// A layer that is not scannable (kept elsewhere, unknown compression) gives a
// report with a fatal Problem; a layer that is broken, lies about its digest, or
// goes over a limit gives an error (fault.Invalid, fault.TooLarge).
func ReadLayer(ctx context.Context, layer image.Layer, lim image.Limits) (*LayerReport, error) {
	stream, err := layer.Open(ctx)
	if fault.Is(err, fault.Unsupported) {
		return &LayerReport{
			Version: ReportVersion, DiffID: layer.DiffID, Unread: true,
			Problems: []Problem{{Path: string(layer.DiffID), Reason: err.Error(), Fatal: true}},
		}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open layer: %w", err)
	}
	defer stream.Close()
	w := newWalk(lim.WithDefaults())
	defer w.files.close()
	if err := w.run(ctx, stream); err != nil {
		return nil, err
	}
	return w.report(layer.DiffID), nil
}

// kind is what stands at a path.
type kind byte

const (
	isFile kind = iota
	isDir
	isLink
)

// walk is the state of one pass over a layer's tar.
type walk struct {
	lim        image.Limits
	files      *inspector
	seen       map[string]kind
	bytes      int // of all paths
	followed   int
	replaced   int
	components int
	links      map[string]string
	found      map[string]*fileFindings // by path: a later entry of the same path replaces them
	whiteouts  map[string]bool
	opaque     map[string]bool
	twice      map[string]bool
	problems   []Problem
}

func newWalk(lim image.Limits) *walk {
	return &walk{
		lim: lim, files: newInspector(lim), seen: map[string]kind{}, links: map[string]string{}, found: map[string]*fileFindings{},
		whiteouts: map[string]bool{}, opaque: map[string]bool{}, twice: map[string]bool{},
	}
}

func (w *walk) run(ctx context.Context, stream io.Reader) error {
	buffered := bufio.NewReaderSize(stream, 256<<10)
	if start, _ := buffered.Peek(4); isCompressed(start) {
		return fault.New(fault.Invalid, "read layer: it is compressed twice")
	}
	tr := tar.NewReader(buffered)
	for n := 0; ; n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return layerFault(err)
		}
		if n >= w.lim.Entries {
			return fault.New(fault.TooLarge, "read layer: more than %d entries", w.lim.Entries)
		}
		if err := w.entry(ctx, h, tr); err != nil {
			return err
		}
	}
	// The rest is padding; its last byte is where size and digests are checked.
	if _, err := io.Copy(io.Discard, buffered); err != nil {
		return layerFault(err)
	}
	return w.overLimit()
}

// isCompressed knows gzip and zstd. A file can be a tar and a compressed tar at once:
// it would be one layer to us, and another to who unpacks it.
func isCompressed(start []byte) bool {
	return bytes.HasPrefix(start, []byte{0x1f, 0x8b}) || bytes.HasPrefix(start, []byte{0x28, 0xb5, 0x2f, 0xfd})
}

func layerFault(err error) error {
	if fault.KindOf(err) != fault.Internal {
		return err
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fault.New(fault.Invalid, "read layer: its tar ends in the middle of a file: %w", err)
	}
	return fault.New(fault.Invalid, "read layer: %w", err)
}

// entry takes in one member of the tar.
func (w *walk) entry(ctx context.Context, h *tar.Header, content io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, ok := cleanName(h.Name)
	if !ok {
		w.problem(Problem{Path: safeText(trim(h.Name)), Reason: "the name leads out of the image or is too long"})
		return nil
	}
	if name == "" {
		return nil // the root folder
	}
	if w.isWhiteout(name) {
		return nil
	}
	name = w.throughLinks(name)
	if len(name) > maxPath || len(h.Linkname) > maxPath || strings.Count(name, "/") > maxDepth {
		w.problem(Problem{Path: trim(name), Reason: "the path is too long or too deep", Fatal: true})
		return nil
	}
	w.bytes += len(name) + len(h.Linkname)
	if err := w.overLimit(); err != nil {
		return err
	}
	return w.place(ctx, name, h, content)
}

// overLimit keeps tricks with names from costing more than they are worth.
func (w *walk) overLimit() error {
	switch {
	case w.bytes > maxPathsBytes:
		return fault.New(fault.TooLarge, "read layer: its paths have more than %d bytes", maxPathsBytes)
	case w.followed > maxFollowed:
		return fault.New(fault.TooLarge, "read layer: more than %d of its paths lead through symbolic links", maxFollowed)
	case w.replaced > maxReplaced:
		return fault.New(fault.TooLarge, "read layer: more than %d of its folders are replaced by files", maxReplaced)
	case w.components > maxComponents:
		return fault.New(fault.TooLarge, "read layer: more than %d packages", maxComponents)
	}
	return nil
}

// place takes in what stands at name.
func (w *walk) place(ctx context.Context, name string, h *tar.Header, content io.Reader) error {
	switch h.Typeflag {
	case tar.TypeDir:
		w.put(name, isDir)
		w.keep(name, folderFindings(name, h))
	case tar.TypeSymlink:
		w.put(name, isLink)
		w.links[name] = safeText(h.Linkname)
		w.keep(name, &fileFindings{facts: namedFacts(name)})
	case tar.TypeLink:
		w.hardLink(name, h.Linkname)
	case tar.TypeReg, tar.TypeGNUSparse:
		w.put(name, isFile)
		findings, err := w.files.inspect(ctx, name, h, content)
		if err != nil {
			return layerFault(err)
		}
		w.keep(name, findings)
	default: // devices and pipes hold nothing
		w.put(name, isFile)
	}
	return nil
}

// maxProblems keeps a hostile layer from filling memory with complaints.
const maxProblems = 1000

func (w *walk) problem(p Problem) {
	switch {
	case len(w.problems) < maxProblems:
		w.problems = append(w.problems, p)
	case len(w.problems) == maxProblems:
		w.problems = append(w.problems, Problem{Reason: "there are more problems than are listed", Fatal: true})
	}
}

// report puts the findings in order.
func (w *walk) report(diffID image.Digest) *LayerReport {
	r := &LayerReport{Version: ReportVersion, DiffID: diffID, Whiteouts: sortedSet(w.whiteouts), Opaque: sortedSet(w.opaque)}
	if len(w.links) > 0 {
		r.Links = w.links
	}
	for p, k := range w.seen {
		if k == isDir {
			p += "/"
		}
		r.Paths = append(r.Paths, p)
	}
	slices.Sort(r.Paths)
	for _, p := range sortedNames(w.found) {
		f := w.found[p]
		r.Components = append(r.Components, f.components...)
		r.Facts = append(r.Facts, f.facts...)
		r.Owned = append(r.Owned, f.owned...)
		for _, problem := range f.problems {
			w.problem(problem)
		}
		if f.release != nil {
			if r.Releases == nil {
				r.Releases = map[string]map[string]string{}
			}
			r.Releases[p] = f.release
		}
	}
	for _, p := range sortedSet(w.twice) {
		if len(r.Facts) < maxFacts {
			r.Facts = append(r.Facts, Fact{Kind: Duplicate, Path: "/" + p, Detail: "the last entry was used, as container runtimes do"})
		}
	}
	r.Problems = w.problems
	return r
}

// maxFacts bounds the duplicate entries listed for one layer.
const maxFacts = 10_000

func sortedSet(m map[string]bool) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func sortedNames(m map[string]*fileFindings) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
