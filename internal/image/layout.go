// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// layout is an OCI image layout in a folder. It reads through os.Root, so no
// symbolic link in the folder leads out of it.
type layout struct{ root *os.Root }

func openLayout(ctx context.Context, dir string, o Options) (*Image, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fault.New(fault.NotFound, "open image folder: %w", err)
	}
	img, err := loadLayout(ctx, &layout{root}, o)
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	img.closers = append(img.closers, root)
	return img, nil
}

func loadLayout(ctx context.Context, from *layout, o Options) (*Image, error) {
	l := newLoader(from, o)
	data, err := from.index()
	if err != nil {
		return nil, err
	}
	return l.load(ctx, data, "")
}

// blob implements source. Only regular files are blobs: a named pipe would hang.
func (l *layout) blob(_ context.Context, d Digest) (io.ReadCloser, error) {
	name := filepath.FromSlash(blobName(d))
	if !l.has(d) {
		return nil, fault.New(fault.Invalid, "read image folder: blob missing: %s", d)
	}
	f, err := l.root.Open(name)
	if err != nil {
		return nil, fault.New(fault.Invalid, "read image folder: blob %s: %w", d, err)
	}
	return f, nil
}

// has tells the loader whether a blob is there.
func (l *layout) has(d Digest) bool {
	info, err := l.root.Lstat(filepath.FromSlash(blobName(d)))
	return err == nil && info.Mode().IsRegular()
}

// manifest implements source.
func (l *layout) manifest(ctx context.Context, d Digest, limit int64) ([]byte, error) {
	return readBlob(ctx, l, d, limit)
}
