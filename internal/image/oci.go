// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// indexDepth is how deep indexes may nest. Real ones nest once.
const indexDepth = 4

// ociManifest is the media type of a manifest that does not state its own.
const ociManifest = "application/vnd.oci.image.manifest.v1+json"

// loader turns a source and a root document into an Image.
type loader struct {
	from source
	opts Options
	lim  Limits
}

func newLoader(from source, o Options) *loader {
	return &loader{from: from, opts: o, lim: o.Limits.WithDefaults()}
}

// load reads the image a root document leads to: an index, or a manifest. digest
// is the root's own digest, or "" where it is a layout's index.json, which has none.
func (l *loader) load(ctx context.Context, root []byte, digest Digest) (*Image, error) {
	img := &Image{from: l.from}
	doc, err := l.resolve(ctx, img, rootDocument{root, digest}, 0)
	if err != nil {
		return nil, err
	}
	slices.Reverse(img.Manifests) // the manifest itself first, then the indexes around it
	if err := l.fill(ctx, img, doc); err != nil {
		return nil, err
	}
	if want := l.opts.Platform; want != "" && !splitPlatform(img.Platform).matches(want) {
		return nil, noPlatform(want, []string{img.Platform})
	}
	return img, nil
}

type rootDocument struct {
	data   []byte
	digest Digest
}

// resolve follows indexes until it stands on a manifest.
func (l *loader) resolve(ctx context.Context, img *Image, root rootDocument, depth int) (*manifestFile, error) {
	doc, err := readManifest(root.data)
	if err != nil {
		return nil, err
	}
	if root.digest != "" {
		img.Manifests = append(img.Manifests, root.digest)
	}
	if len(doc.Manifests) == 0 {
		return doc, nil
	}
	if depth >= indexDepth {
		return nil, fault.New(fault.Invalid, "read image index: indexes are nested more than %d deep", indexDepth)
	}
	d, err := l.choose(img, doc.Manifests)
	if err != nil {
		return nil, err
	}
	digest, err := ParseDigest(d.Digest)
	if err != nil {
		return nil, fmt.Errorf("read image index: %w", err)
	}
	data, err := l.document(ctx, digest, l.from.manifest)
	if err != nil {
		return nil, err
	}
	if err := checkSize("manifest", digest, d.Size, data); err != nil {
		return nil, err
	}
	return l.resolve(ctx, img, rootDocument{data, digest}, depth+1)
}

// readManifest reads a manifest or an index, and refuses what is the one or the
// other by its media type (CVE-2021-41190).
func readManifest(data []byte) (*manifestFile, error) {
	doc := &manifestFile{raw: data}
	err := decodeDocument("manifest", data, doc)
	if err == nil && len(doc.Manifests) > 0 && (doc.Config != nil || len(doc.Layers) > 0) {
		err = fault.New(fault.Invalid, "read image manifest: it is a manifest and an index at once")
	}
	return doc, err
}

// choose picks the image for the wanted platform from an index. Where nobody said
// which, it warns of those that are not looked at.
func (l *loader) choose(img *Image, all []descriptor) (descriptor, error) {
	var images []descriptor
	var platforms []string
	for _, d := range all {
		if isAttestation(d) {
			continue
		}
		if d.Platform != nil && d.Platform.OS == "" {
			d.Platform = nil // some tools write an empty one
		}
		images = append(images, d)
		if d.Platform != nil {
			platforms = append(platforms, d.Platform.String())
		}
	}
	if len(images) == 1 && (l.opts.Platform == "" || images[0].Platform == nil) {
		return images[0], nil
	}
	want := l.opts.Platform
	if want == "" {
		want = "linux/" + runtime.GOARCH
	}
	var fitting []descriptor
	for _, d := range images {
		if d.Platform == nil || d.Platform.matches(want) {
			fitting = append(fitting, d)
		}
	}
	switch {
	case len(fitting) == 0:
		return descriptor{}, noPlatform(want, platforms)
	case len(fitting) > 1 && fitting[0].Platform == nil:
		return descriptor{}, fault.New(fault.Invalid, "read image index: it names %d images and does not say for which platform", len(fitting)).
			WithHint("save one image into one archive or layout")
	}
	if l.opts.Platform == "" && len(platforms) > 1 {
		img.Warnings = append(img.Warnings, fmt.Sprintf("of %s only %s is looked at: --platform names another", strings.Join(platforms, ", "), want))
	}
	return fitting[0], nil
}

// isAttestation knows the signatures, lists and proofs that lie beside images in
// an index. Some tools give images an artifactType, too: that of their config.
func isAttestation(d descriptor) bool {
	otherType := d.ArtifactType != "" && !strings.Contains(d.ArtifactType, ".image.")
	return otherType || isFallback(d) || d.Annotations["vnd.docker.reference.type"] == "attestation-manifest" ||
		d.Platform != nil && d.Platform.OS == "unknown"
}

func noPlatform(want string, have []string) error {
	return fault.New(fault.NotFound, "open image: it has no %s; it has %s", want, strings.Join(have, ", ")).
		WithHint("choose one of its platforms with --platform")
}

func splitPlatform(s string) platform {
	os, rest, _ := strings.Cut(s, "/")
	arch, variant, _ := strings.Cut(rest, "/")
	return platform{os, arch, variant}
}

// fill reads the config and lists the layers of one manifest.
func (l *loader) fill(ctx context.Context, img *Image, doc *manifestFile) error {
	if doc.Config == nil {
		return fault.New(fault.Unsupported, "read image manifest: it names no config (schema version %d)", doc.SchemaVersion).
			WithHint("only OCI images and Docker schema 2 images are read; push the image again with a current tool")
	}
	digest, err := ParseDigest(doc.Config.Digest)
	if err != nil {
		return fmt.Errorf("read image manifest: config: %w", err)
	}
	data, err := l.document(ctx, digest, l.blob)
	if err != nil {
		return err
	}
	if err := checkSize("config", digest, doc.Config.Size, data); err != nil {
		return err
	}
	diffIDs, err := readConfig(img, data, l.lim)
	if err != nil {
		return err
	}
	if len(diffIDs) != len(doc.Layers) {
		return fault.New(fault.Invalid, "read image: the manifest has %d layers, the config %d", len(doc.Layers), len(diffIDs))
	}
	img.Annotations = doc.Annotations
	img.written = written{from: l.from, manifest: doc.raw, config: data, manifestType: cmp.Or(doc.MediaType, ociManifest), elsewhere: map[Digest]bool{}}
	steps := buildSteps(img.Config.History, len(diffIDs))
	for i, d := range doc.Layers {
		layer, err := l.layer(img, d, diffIDs[i])
		if err != nil {
			return fmt.Errorf("read image manifest: layer %d: %w", i, err)
		}
		layer.CreatedBy = steps[i]
		img.Layers = append(img.Layers, layer)
	}
	return nil
}

// layer describes one layer. Its blob is opened, or asked for, only by Layer.Open;
// a source that can tell says at once when the blob is missing.
func (l *loader) layer(img *Image, d descriptor, diffID Digest) (Layer, error) {
	digest, err := ParseDigest(d.Digest)
	if err != nil {
		return Layer{}, err
	}
	if d.Size < 0 {
		return Layer{}, fault.New(fault.Invalid, "negative size")
	}
	present, known := l.has(digest)
	stored := Layer{DiffID: diffID, Digest: digest, Size: d.Size}
	switch {
	case strings.Contains(d.MediaType, "encrypted"):
		img.Warnings = append(img.Warnings, fmt.Sprintf("layer %s says it is encrypted", digest))
	case isForeign(d) && !present:
		// Its URLs are never asked: they are whatever the image's author wrote.
		img.written.elsewhere[digest] = true
		stored.Open = func(context.Context) (io.ReadCloser, error) {
			return nil, fault.New(fault.Unsupported, "read layer %s: not scannable: it is a non-distributable layer kept elsewhere", digest)
		}
		return stored, nil
	case isForeign(d):
		img.Warnings = append(img.Warnings, fmt.Sprintf("layer %s is non-distributable: the blob in the archive was used, its URLs were not asked", digest))
	}
	if known && !present && (l.opts.Known == nil || !l.opts.Known(stored)) {
		return Layer{}, fault.New(fault.Invalid, "blob missing: %s", digest)
	}
	stored.Open = func(ctx context.Context) (io.ReadCloser, error) {
		raw, err := l.from.blob(ctx, digest)
		if err != nil {
			return nil, err
		}
		return openLayer(ctx, raw, blobSpec{digest: digest, size: d.Size, diffID: diffID, limits: l.lim})
	}
	return stored, nil
}

// has asks a local source for a blob's presence; a registry is not asked (known is false).
func (l *loader) has(d Digest) (present, known bool) {
	local, ok := l.from.(interface{ has(d Digest) bool })
	if !ok {
		return false, false
	}
	return local.has(d), true
}

func isForeign(d descriptor) bool {
	return strings.Contains(d.MediaType, "nondistributable") || strings.Contains(d.MediaType, ".foreign.") || len(d.URLs) > 0
}

// document reads a small blob whole and checks its digest.
func (l *loader) document(ctx context.Context, d Digest, read func(context.Context, Digest, int64) ([]byte, error)) ([]byte, error) {
	data, err := read(ctx, d, l.lim.ConfigBytes)
	if err != nil {
		return nil, err
	}
	if got := DigestOf(data); got != d {
		return nil, fault.New(fault.Invalid, "read blob %s: digest mismatch: it is %s", d, got)
	}
	return data, nil
}

func (l *loader) blob(ctx context.Context, d Digest, limit int64) ([]byte, error) {
	return readBlob(ctx, l.from, d, limit)
}

func readBlob(ctx context.Context, from source, d Digest, limit int64) ([]byte, error) {
	rc, err := from.blob(ctx, d)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	return readAtMost(rc, limit, string(d))
}

// readAtMost reads r whole, or says that it is too large.
func readAtMost(r io.Reader, limit int64, what string) ([]byte, error) {
	var buf bytes.Buffer
	if _, err := io.Copy(&buf, io.LimitReader(r, limit+1)); err != nil {
		return nil, fault.New(fault.Invalid, "read %s: %w", what, err)
	}
	if int64(buf.Len()) > limit {
		return nil, fault.New(fault.TooLarge, "read %s: more than %d bytes", what, limit)
	}
	return buf.Bytes(), nil
}

func checkSize(what string, d Digest, want int64, data []byte) error {
	if want != int64(len(data)) {
		return fault.New(fault.Invalid, "read image %s %s: size mismatch: stated %d bytes, found %d", what, d, want, len(data))
	}
	return nil
}
