// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// isExecutable knows the first bytes of ELF, PE and Mach-O programs.
func isExecutable(head []byte) bool {
	for _, magic := range []string{"\x7fELF", "MZ", "\xcf\xfa\xed\xfe", "\xfe\xed\xfa\xcf", "\xca\xfe\xba\xbe"} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return true
		}
	}
	return false
}

// openArtifact makes an image of one executable: one layer, one file. The ID is
// the SHA-256 of the file, so that a running process can be found by its program.
func openArtifact(r io.ReaderAt, size int64, name string, o Options) (*Image, error) {
	lim := o.Limits.WithDefaults()
	if size > lim.LayerBytes {
		return nil, fault.New(fault.TooLarge, "open executable: more than %d bytes", lim.LayerBytes)
	}
	header, err := artifactHeader(name, size)
	if err != nil {
		return nil, err
	}
	id, diff := sha256.New(), sha256.New()
	diff.Write(header)
	if n, err := io.Copy(io.MultiWriter(id, diff), io.NewSectionReader(r, 0, size)); err != nil || n != size {
		return nil, fault.New(fault.Invalid, "read executable: it changed while it was read")
	}
	trailer := artifactTrailer(size)
	diff.Write(trailer)

	img := &Image{Name: name, ID: digestOfHash(id), Kind: KindArtifact, Platform: o.Platform}
	if img.Platform == "" {
		img.Platform = "linux/" + runtime.GOARCH
	}
	diffID := digestOfHash(diff)
	img.ChainID = diffID
	total := int64(len(header)) + size + int64(len(trailer))
	img.Config.Entrypoint = []string{"/" + artifactName(name)}
	img.Layers = []Layer{{DiffID: diffID, Digest: diffID, Size: total, Open: func(ctx context.Context) (io.ReadCloser, error) {
		whole := io.MultiReader(bytes.NewReader(header), io.NewSectionReader(r, 0, size), bytes.NewReader(trailer))
		return openLayer(ctx, io.NopCloser(whole), blobSpec{digest: diffID, size: total, diffID: diffID, limits: lim})
	}}}
	return img, nil
}

func artifactName(name string) string {
	clean := path.Base(filepath.ToSlash(name))
	if clean == "." || clean == "/" || clean == ".." || strings.HasPrefix(clean, ".wh.") {
		return "program"
	}
	return clean
}

// artifactHeader is the tar header of the one file; it holds nothing that varies.
func artifactHeader(name string, size int64) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := w.WriteHeader(&tar.Header{Name: artifactName(name), Mode: 0o755, Size: size, Typeflag: tar.TypeReg}); err != nil {
		return nil, fault.New(fault.Invalid, "open executable: %w", err)
	}
	return buf.Bytes(), nil
}

// artifactTrailer fills the last block and ends the tar.
func artifactTrailer(size int64) []byte {
	const block = 512
	padding := (block - size%block) % block
	return make([]byte, padding+2*block)
}
