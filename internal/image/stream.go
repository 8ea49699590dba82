// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// zstdWindow bounds the memory a zstd frame may ask for. The image builders in
// use write windows of up to 8 MiB.
const zstdWindow = 64 << 20

// blobSpec says what a stored layer must turn out to be.
type blobSpec struct {
	digest Digest // "": the archive does not name it
	size   int64
	diffID Digest
	limits Limits
}

// layerStream reads a stored layer as an uncompressed tar. It ends in an error,
// not in io.EOF, where the size, the digest or the DiffID does not hold.
type layerStream struct {
	ctx     func() error
	spec    blobSpec
	raw     io.ReadCloser
	stored  *hashingReader
	plain   io.Reader
	release func()
	diff    hash.Hash
	count   int64
	err     error
}

// openLayer starts reading a stored layer. It owns raw from here on.
func openLayer(ctx context.Context, raw io.ReadCloser, spec blobSpec) (io.ReadCloser, error) {
	// One byte more than stated: enough to notice, never more.
	stored := &hashingReader{from: io.LimitReader(raw, spec.size+1), sum: sha256.New()}
	plain, release, err := decompress(stored)
	if err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	return &layerStream{ctx: ctx.Err, spec: spec, raw: raw, stored: stored, plain: plain, release: release, diff: sha256.New()}, nil
}

// Read implements io.Reader.
func (s *layerStream) Read(p []byte) (int, error) {
	if s.err == nil {
		s.err = s.ctx()
	}
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.plain.Read(p)
	s.diff.Write(p[:n])
	s.count += int64(n)
	if over := s.overLimit(); over != nil {
		s.err = over
		return 0, over
	}
	if errors.Is(err, io.EOF) {
		err = s.verify()
	} else if err != nil {
		err = s.explain(err)
	}
	s.err = err
	return n, err
}

// Close implements io.Closer.
func (s *layerStream) Close() error {
	defer s.release() // last: who reads ahead may be waiting for what is raw
	if s.err == nil {
		s.err = fault.New(fault.Invalid, "read layer: already closed")
	}
	return s.raw.Close()
}

func (s *layerStream) overLimit() error {
	if s.count > s.spec.limits.LayerBytes {
		return fault.New(fault.TooLarge, "read layer %s: it unpacks to more than %d bytes", s.spec.name(), s.spec.limits.LayerBytes)
	}
	if s.count > ratioFloor && s.count/max(1, s.spec.size) > s.spec.limits.Ratio {
		return fault.New(fault.TooLarge, "read layer %s: it unpacks to more than %d times its size", s.spec.name(), s.spec.limits.Ratio)
	}
	return nil
}

// verify runs once the uncompressed stream is at its end.
func (s *layerStream) verify() error {
	if _, err := io.Copy(io.Discard, s.stored); err != nil {
		return s.explain(err)
	}
	if err := s.checkStored(); err != nil {
		return err
	}
	if got := digestOfHash(s.diff); got != s.spec.diffID {
		return fault.New(fault.Invalid, "read layer %s: diff_id mismatch: the config says %s, the layer is %s", s.spec.name(), s.spec.diffID, got)
	}
	return io.EOF
}

func (s *layerStream) checkStored() error {
	if s.stored.count != s.spec.size {
		word := "more"
		if s.stored.count < s.spec.size {
			word = "fewer"
		}
		return fault.New(fault.Invalid, "read layer %s: size mismatch: the manifest says %d bytes, the blob has %s", s.spec.name(), s.spec.size, word)
	}
	if got := digestOfHash(s.stored.sum); s.spec.digest != "" && got != s.spec.digest {
		return fault.New(fault.Invalid, "read layer %s: digest mismatch: the blob is %s", s.spec.name(), got)
	}
	return nil
}

// explain turns a decompressor's error into the reason behind it, where there is
// one: a blob that is cut short, or longer than stated.
func (s *layerStream) explain(err error) error {
	if fault.KindOf(err) != fault.Internal {
		return err
	}
	if _, drained := io.Copy(io.Discard, s.stored); drained == nil {
		if reason := s.checkStored(); reason != nil {
			return reason
		}
	}
	return fault.New(fault.Invalid, "read layer %s: %w", s.spec.name(), err)
}

func (b blobSpec) name() Digest {
	if b.digest != "" {
		return b.digest
	}
	return b.diffID
}

// decompress looks at the first bytes, as container runtimes do: media types are
// wrong too often.
func decompress(from io.Reader) (plain io.Reader, release func(), err error) {
	r := bufio.NewReaderSize(from, 64<<10)
	magic, err := r.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, fault.New(fault.Invalid, "read layer: %w", err)
	}
	switch {
	case isGzip(magic):
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, nil, fault.New(fault.Invalid, "read gzip layer: %w", err)
		}
		return ahead(z)
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(zstdWindow), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, nil, fault.New(fault.Invalid, "read zstd layer: %w", err)
		}
		return z, z.Close, nil
	case bytes.HasPrefix(magic, []byte("BZh")), bytes.HasPrefix(magic, []byte("\xfd7zX")):
		return nil, nil, fault.New(fault.Unsupported, "read layer: bzip2 and xz layers are not supported")
	}
	return r, func() {}, nil
}

// ahead decompresses while what came before is hashed and looked into, as zstd does by itself.
func ahead(z *gzip.Reader) (plain io.Reader, release func(), err error) {
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		large := bufio.NewWriterSize(w, 256<<10) // handing over costs
		_, err := io.Copy(large, z)
		w.CloseWithError(errors.Join(err, large.Flush()))
	}()
	return r, func() { _, _, _ = r.Close(), <-done, z.Close() }, nil
}

func isGzip(magic []byte) bool { return bytes.HasPrefix(magic, []byte{0x1f, 0x8b}) }

// hashingReader counts and hashes what passes through.
type hashingReader struct {
	from  io.Reader
	sum   hash.Hash
	count int64
}

// Read implements io.Reader.
func (h *hashingReader) Read(p []byte) (int, error) {
	n, err := h.from.Read(p)
	h.sum.Write(p[:n])
	h.count += int64(n)
	return n, err
}
