// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// archiveEntries bounds the members of an outer archive: layers and documents.
const archiveEntries = 10_000

// section is where a member's bytes lie in an archive.
type section struct{ offset, size int64 }

// archive is the list of contents of a tar: nothing is unpacked, links are never
// followed to files, and names that leave the archive are left out.
type archive struct {
	r        io.ReaderAt
	files    map[string]section
	links    map[string]string // only for docker-save's links between its own layers
	warnings []string
}

// indexArchive reads the headers of a tar once.
func indexArchive(ctx context.Context, r io.ReaderAt, size int64) (*archive, error) {
	a := &archive{r: r, files: map[string]section{}, links: map[string]string{}}
	from := io.NewSectionReader(r, 0, size)
	tr := tar.NewReader(from)
	for n := 0; ; n++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if n > archiveEntries {
			return nil, fault.New(fault.TooLarge, "read archive: more than %d members", archiveEntries)
		}
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return a, nil
		}
		if err != nil {
			return nil, fault.New(fault.Invalid, "read archive: %w", err)
		}
		offset, err := from.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, fault.New(fault.Invalid, "read archive: %w", err)
		}
		a.add(h, section{offset, h.Size})
	}
}

func (a *archive) add(h *tar.Header, at section) {
	name, ok := insideName(h.Name)
	if !ok {
		if h.Typeflag != tar.TypeDir {
			a.warn("a member with a name outside the archive was left out")
		}
		return
	}
	switch h.Typeflag {
	case tar.TypeReg:
		if IsSparse(h) {
			a.warn("the sparse member %q was left out", name)
			return
		}
		if _, twice := a.files[name]; twice && !strings.HasPrefix(name, "blobs/") {
			a.warn("two members are named %q: the last was used, as tools that unpack it do", name)
		}
		a.files[name] = at
		delete(a.links, name)
	case tar.TypeSymlink, tar.TypeLink:
		target := h.Linkname
		if h.Typeflag == tar.TypeSymlink && !path.IsAbs(target) {
			target = path.Join(path.Dir(name), target)
		}
		if clean, ok := insideName(target); ok {
			a.links[name] = clean
		}
		delete(a.files, name)
	}
}

func (a *archive) warn(format string, args ...any) {
	if len(a.warnings) < 20 {
		a.warnings = append(a.warnings, fmt.Sprintf(format, args...))
	}
}

// insideName cleans a member's name; it is not ok when it is empty or leads out.
func insideName(name string) (string, bool) {
	clean := path.Clean(name)
	ok := clean != "." && !path.IsAbs(clean) && clean != ".." && !strings.HasPrefix(clean, "../") && !slices.Contains(strings.Split(name, "/"), "..")
	return clean, ok
}

// IsSparse reports whether a member of a tar is a sparse file: a few stored bytes
// can stand for any size.
func IsSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for k := range h.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse.") {
			return true
		}
	}
	return false
}

func (a *archive) open(name string) (*io.SectionReader, bool) {
	at, ok := a.files[name]
	if !ok {
		return nil, false
	}
	return io.NewSectionReader(a.r, at.offset, at.size), true
}

func blobName(d Digest) string { return "blobs/sha256/" + d.Hex() }

// blob implements source.
func (a *archive) blob(_ context.Context, d Digest) (io.ReadCloser, error) {
	r, ok := a.open(blobName(d))
	if !ok {
		return nil, fault.New(fault.Invalid, "read archive: blob missing: %s", d)
	}
	return io.NopCloser(r), nil
}

// has tells the loader whether a blob is there.
func (a *archive) has(d Digest) bool {
	_, ok := a.files[blobName(d)]
	return ok
}

// manifest implements source.
func (a *archive) manifest(ctx context.Context, d Digest, limit int64) ([]byte, error) {
	return readBlob(ctx, a, d, limit)
}

// document reads a named member whole.
func (a *archive) document(name string, limit int64) ([]byte, bool, error) {
	r, ok := a.open(name)
	if !ok {
		return nil, false, nil
	}
	data, err := readAtMost(r, limit, name)
	return data, true, err
}

// load reads the image in the archive: an OCI layout where there is one, else
// what "docker save" wrote.
func (a *archive) load(ctx context.Context, o Options) (*Image, error) {
	l := newLoader(a, o)
	data, found, err := a.document("index.json", l.lim.ConfigBytes)
	if err != nil {
		return nil, err
	}
	var img *Image
	if found {
		img, err = l.load(ctx, data, "")
	} else {
		img, err = a.loadDockerSave(o)
	}
	if err != nil {
		return nil, err
	}
	img.Warnings = append(a.warnings, img.Warnings...)
	return img, nil
}
