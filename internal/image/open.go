// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/gzip"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// Options say how an image is opened. The zero value is fine.
type Options struct {
	Platform     string // "linux/arm64"; "": the image's only platform, else linux on this machine's architecture
	Limits       Limits
	PodmanSocket string // "": where podman puts it
	DockerSocket string // "": where docker puts it
	Insecure     bool   // the registry speaks plain HTTP

	// Known tells of layers whose blobs may be missing: they were read before. nil: none.
	Known func(Layer) bool
}

// Open opens the image a user named. ref is
//
//   - a folder that holds an OCI image layout,
//   - a file: an OCI archive, a docker-save archive (each may be gzip'd), or an executable,
//   - podman:NAME or docker:NAME, an image in the local store,
//   - else a registry reference, as in HOST/NAME:TAG.
//
// The prefixes oci:, archive:, file: and registry: (or docker://) force one of these.
// The caller closes the image. Errors are fault.NotFound, Invalid, TooLarge,
// Denied, Unavailable or Unsupported.
func Open(ctx context.Context, ref string, o Options) (*Image, error) {
	img, err := open(ctx, ref, o)
	if err != nil {
		return nil, err
	}
	img.Name = ref
	return img, nil
}

func open(ctx context.Context, ref string, o Options) (*Image, error) {
	if rest, ok := strings.CutPrefix(ref, "docker://"); ok {
		return openRegistry(ctx, rest, o)
	}
	prefix, rest, _ := strings.Cut(ref, ":")
	switch prefix {
	case "oci":
		return openLayout(ctx, rest, o)
	case "archive", "file":
		return openFile(ctx, rest, o)
	case "registry":
		return openRegistry(ctx, rest, o)
	case "podman":
		return podmanStore(o).open(ctx, rest, o)
	case "docker":
		return dockerStore(o).open(ctx, rest, o)
	}
	return openUnprefixed(ctx, ref, o)
}

func openUnprefixed(ctx context.Context, ref string, o Options) (*Image, error) {
	info, err := os.Stat(ref)
	switch {
	case err == nil && info.IsDir():
		return openLayout(ctx, ref, o)
	case err == nil:
		return openFile(ctx, ref, o)
	case !errors.Is(err, fs.ErrNotExist) && looksLikePath(ref):
		return nil, fault.New(fault.Invalid, "open image: %w", err)
	case looksLikePath(ref):
		return nil, fault.New(fault.NotFound, "open image %.200q: there is no such file or folder", ref).
			WithHint("give an archive, an OCI layout folder, an executable, podman:NAME, docker:NAME, or a registry reference")
	}
	img, err := openRegistry(ctx, ref, o)
	if err != nil {
		local := fmt.Sprintf("there is no file or folder %.200q; an image in the local store is podman:%.200s or docker:%.200s", ref, ref, ref)
		if hint := fault.HintOf(err); hint != "" {
			local = hint + "; " + local
		}
		return nil, fault.New(fault.KindOf(err), "%w", err).WithHint("%s", local)
	}
	return img, nil
}

func looksLikePath(ref string) bool {
	if strings.HasPrefix(ref, ".") || filepath.IsAbs(ref) {
		return true
	}
	for _, end := range []string{".tar", ".tar.gz", ".tgz", "/"} {
		if strings.HasSuffix(ref, end) {
			return true
		}
	}
	return false
}

// openedFile is an archive or executable and what is to be closed in the end.
type openedFile struct {
	r    io.ReaderAt
	c    io.Closer
	size int64
	name string
}

func openFile(ctx context.Context, path string, o Options) (*Image, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "open image %.200q: there is no such file", path)
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "open image: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fault.New(fault.Invalid, "open image %.200q: it is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.New(fault.Invalid, "open image: %w", err)
	}
	return openArchiveFile(ctx, openedFile{f, f, info.Size(), path}, o)
}

// openArchiveFile opens f and gives it to the image, or closes it.
func openArchiveFile(ctx context.Context, f openedFile, o Options) (*Image, error) {
	img, err := OpenArchive(ctx, f.r, f.size, f.name, o)
	if err != nil {
		return nil, errors.Join(err, f.c.Close())
	}
	img.closers = append(img.closers, f.c)
	return img, nil
}

// OpenArchive opens an archive or an executable that the caller has as a file of
// size bytes; name is what the user called it. The caller keeps r open for as
// long as the image, and closes the image before r.
func OpenArchive(ctx context.Context, r io.ReaderAt, size int64, name string, o Options) (*Image, error) {
	head := make([]byte, 512)
	n, err := r.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fault.New(fault.Invalid, "read image file: %w", err)
	}
	head = head[:n]
	switch {
	case isGzip(head):
		return openGzip(ctx, r, size, name, o)
	case isTar(head):
		return openTar(ctx, r, size, name, o)
	case isExecutable(head):
		return openArtifact(r, size, name, o)
	}
	return nil, fault.New(fault.Invalid, "open image %.200q: it is no image archive and no executable", name).
		WithHint("tried: OCI archive, docker-save archive (both also gzip'd), ELF, PE and Mach-O programs")
}

func openTar(ctx context.Context, r io.ReaderAt, size int64, name string, o Options) (*Image, error) {
	a, err := indexArchive(ctx, r, size)
	if err != nil {
		return nil, err
	}
	img, err := a.load(ctx, o)
	if err != nil {
		return nil, err
	}
	img.Name = name
	return img, nil
}

// openGzip unpacks a gzip'd archive to a temporary file: a tar is read by offset.
func openGzip(ctx context.Context, r io.ReaderAt, size int64, name string, o Options) (*Image, error) {
	z, err := gzip.NewReader(io.NewSectionReader(r, 0, size))
	if err != nil {
		return nil, fault.New(fault.Invalid, "open image: %w", err)
	}
	lim := o.Limits.WithDefaults()
	f, unpacked, err := spool(ctx, z, min(lim.ArchiveBytes, max(ratioFloor, size*lim.Ratio)))
	if err != nil {
		return nil, err
	}
	img, err := openTar(ctx, f, unpacked, name, o)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	img.closers = append(img.closers, f)
	return img, nil
}

// isTar looks for the mark of POSIX and GNU tar headers.
func isTar(head []byte) bool {
	return len(head) == 512 && bytes.HasPrefix(head[257:], []byte("ustar"))
}
