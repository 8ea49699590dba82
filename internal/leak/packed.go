// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package leak

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"
)

// Bounds on what is looked for inside compressed files: small ones only, no
// archives inside archives but .tar.gz.
const (
	unpackedBytes   = 4 << 20 // of one file
	unpackedMembers = 1000
	memberBytes     = 1 << 20
)

// Budget bounds what may be unpacked in all; the zero value allows nothing.
type Budget struct{ Bytes int64 }

// InPacked names the kinds of credential inside a compressed file or small
// archive, with the member each is in. What is too large, broken or over the budget
// is not looked at: it is no package, so nothing is missed that a rule asks about.
func InPacked(name string, data []byte, budget *Budget) []string {
	u := unpacking{budget: budget, left: unpackedBytes}
	switch {
	case hasAnyEnd(name, ".zip"):
		u.zip(data)
	case hasAnyEnd(name, ".tar"):
		u.tar(bytes.NewReader(data))
	case hasAnyEnd(name, ".tar.gz", ".tgz"):
		if r := gunzip(data); r != nil {
			u.tar(r)
		}
	case hasAnyEnd(name, ".gz"):
		if r := gunzip(data); r != nil {
			u.member(strings.TrimSuffix(path.Base(name), ".gz"), r)
		}
	}
	slices.Sort(u.found)
	return slices.Compact(u.found)
}

// IsPacked reports whether InPacked would look into a file of this name. The
// manuals of a distribution are compressed and hold samples only.
func IsPacked(name string) bool {
	for _, manual := range []string{"usr/share/doc/", "usr/share/man/", "usr/share/info/", "usr/share/locale/"} {
		if strings.HasPrefix(name, manual) {
			return false
		}
	}
	return hasAnyEnd(name, ".gz", ".tgz", ".tar", ".zip")
}

func hasAnyEnd(name string, ends ...string) bool {
	return slices.ContainsFunc(ends, func(end string) bool { return strings.HasSuffix(name, end) })
}

func gunzip(data []byte) io.Reader {
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil
	}
	return r
}

type unpacking struct {
	budget *Budget
	left   int64
	found  []string
}

var errEnough = errors.New("enough was unpacked")

// counted counts what is unpacked, members that are passed over too.
func (u *unpacking) counted(r io.Reader) io.Reader { return &countedReader{u, r} }

type countedReader struct {
	u *unpacking
	r io.Reader
}

func (c *countedReader) Read(p []byte) (int, error) {
	if c.u.left <= 0 || c.u.budget.Bytes <= 0 {
		return 0, errEnough
	}
	n, err := c.r.Read(p)
	c.u.left -= int64(n)
	c.u.budget.Bytes -= int64(n)
	return n, err
}

// member looks at one file. A part of it is looked at, too.
func (u *unpacking) member(name string, r io.Reader) {
	u.look(name, u.counted(r))
}

func (u *unpacking) look(name string, r io.Reader) {
	data, _ := io.ReadAll(io.LimitReader(r, memberBytes)) // broken: what came is looked at
	for _, detail := range InFile(name, data) {
		u.found = append(u.found, detail+", in "+shortened(name)+" in it")
	}
}

// shortened keeps a member's name fit to be shown; whoever shows it makes it safe.
func shortened(name string) string { return name[max(0, len(name)-100):] }

func (u *unpacking) tar(r io.Reader) {
	tr := tar.NewReader(u.counted(r))
	for range unpackedMembers {
		h, err := tr.Next()
		if err != nil {
			return
		}
		if h.Typeflag == tar.TypeReg && h.Size <= memberBytes {
			u.look(h.Name, tr)
		}
	}
}

func (u *unpacking) zip(data []byte) {
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return
	}
	for _, f := range z.File[:min(len(z.File), unpackedMembers)] {
		if f.UncompressedSize64 > memberBytes || f.FileInfo().IsDir() {
			continue
		}
		if r, err := f.Open(); err == nil {
			u.member(f.Name, r)
			_ = r.Close()
		}
	}
}
