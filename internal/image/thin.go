// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// written are an image's documents as they were found: what WriteArchive repeats.
type written struct {
	from             source
	manifest, config []byte
	manifestType     string
	elsewhere        map[Digest]bool // blobs kept where nobody looks, see layer
}

// Portable reports whether WriteArchive can write the image. What "docker save"
// wrote and plain programs are sent as they are.
func (i *Image) Portable() bool { return i.written.from != nil }

// WriteArchive writes the image as an OCI layout archive (image-spec,
// image-layout.md), byte for byte the documents it was opened from, without the
// layers that omit names: whoever reads the archive has them. Layers
// are streamed and not looked into.
func (i *Image) WriteArchive(ctx context.Context, w io.Writer, omit func(Layer) bool) error {
	if !i.Portable() {
		return fault.New(fault.Unsupported, "write archive: %s has no OCI documents", i.Name)
	}
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": []map[string]any{{
		"mediaType": i.written.manifestType, "digest": DigestOf(i.written.manifest), "size": len(i.written.manifest),
	}}})
	if err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	archive := tar.NewWriter(w)
	for _, doc := range []struct {
		name string
		data []byte
	}{
		{"oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)},
		{"index.json", index},
		{blobName(DigestOf(i.written.manifest)), i.written.manifest},
		{blobName(DigestOf(i.written.config)), i.written.config},
	} {
		err := writeMember(archive, doc.name, int64(len(doc.data)))
		if err == nil {
			_, err = archive.Write(doc.data)
		}
		if err != nil {
			return fmt.Errorf("write archive: %w", err)
		}
	}
	sent := map[Digest]bool{}
	for _, layer := range i.Layers {
		if sent[layer.Digest] || i.written.elsewhere[layer.Digest] || omit(layer) {
			continue
		}
		sent[layer.Digest] = true
		if err := i.writeLayer(ctx, archive, layer); err != nil {
			return fmt.Errorf("copy layer %s: %w", layer.Digest, err)
		}
	}
	if err := archive.Close(); err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	return nil
}

func writeMember(archive *tar.Writer, name string, size int64) error {
	return archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: size})
}

// writeLayer copies a layer's blob as it is stored.
func (i *Image) writeLayer(ctx context.Context, archive *tar.Writer, layer Layer) (err error) {
	blob, err := i.written.from.blob(ctx, layer.Digest)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, blob.Close()) }()
	if err := writeMember(archive, blobName(layer.Digest), layer.Size); err != nil {
		return err
	}
	n, err := io.Copy(archive, io.LimitReader(blob, layer.Size))
	if err == nil && n < layer.Size {
		err = fault.New(fault.Invalid, "size mismatch: the manifest says %d bytes, the blob has %d", layer.Size, n)
	}
	return err
}
