// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package extract

import (
	"archive/zip"
	"context"
	"errors"
	"strings"
)

// isWheel knows the archives Python installs from, and the older ones it can also
// run from.
func isWheel(name string) bool {
	return strings.HasSuffix(name, ".egg") || strings.HasSuffix(name, ".whl")
}

// readWheel reads the metadata in an archive of Python's, within the limits of
// Java's.
func readWheel(ctx context.Context, file File, out *Found) {
	r := &javaReader{out: out}
	z, err := r.open(file.Content, file.Size)
	if errors.Is(err, errLimit) {
		out.fail("not read: "+short(err.Error()), true)
		return
	}
	if err != nil {
		out.fail("not understood: "+short(err.Error()), false)
		return
	}
	for _, f := range z.File {
		if err := r.metadata(ctx, f); err != nil {
			out.fail("not read to the end: "+short(err.Error()), true)
			return
		}
	}
}

// metadata reads a file of the archive, if it is what Python's tools leave behind.
func (r *javaReader) metadata(ctx context.Context, f *zip.File) error {
	p := parserFor(f.Name)
	if p == nil || isWheel(f.Name) || !strings.HasSuffix(f.Name, "PKG-INFO") && !strings.HasSuffix(f.Name, ".dist-info/METADATA") {
		return nil
	}
	return r.text(f, func(data []byte) { p.read(ctx, r.out, f.Name, data) })
}
