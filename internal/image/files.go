// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// fileTitle is the annotation of a layer that is a file, as ORAS writes it.
const fileTitle = "org.opencontainers.image.title"

// maxFiles bounds the files of one artifact.
const maxFiles = 1000

// Files are the files an OCI artifact carries, each a layer with a title
// (image-spec 1.1, "Guidelines for Artifact Usage").
type Files struct {
	Digest Digest // of the manifest
	List   []File

	from  source
	close func() error
}

// File is one of them.
type File struct {
	Name   string
	Digest Digest
	Size   int64 // bytes
}

// OpenFiles opens an artifact of files of a type: in an OCI layout folder, an OCI
// archive, or a registry, named as for Open. An artifact of another type, or with
// a name that leads out of a folder, is fault.Invalid.
func OpenFiles(ctx context.Context, ref, artifactType string, o Options) (*Files, error) {
	from, root, end, err := rootOf(ctx, ref, o)
	if err != nil {
		return nil, err
	}
	f := &Files{from: from, close: end}
	if err := f.read(ctx, root, artifactType); err != nil {
		return nil, errors.Join(err, end())
	}
	return f, nil
}

// rootOf opens the place a reference names and reads the first document there.
func rootOf(ctx context.Context, ref string, o Options) (source, []byte, func() error, error) {
	info, err := os.Stat(ref)
	limit := o.Limits.WithDefaults().ConfigBytes
	switch {
	case err == nil && info.IsDir():
		root, err := os.OpenRoot(ref)
		if err != nil {
			return nil, nil, nil, fault.New(fault.Invalid, "open artifact: %w", err)
		}
		from := &layout{root}
		data, err := from.index()
		if err != nil {
			return nil, nil, nil, errors.Join(err, root.Close())
		}
		return from, data, root.Close, nil
	case err == nil:
		file, err := os.Open(ref)
		if err != nil {
			return nil, nil, nil, fault.New(fault.Invalid, "open artifact: %w", err)
		}
		from, err := indexArchive(ctx, file, info.Size())
		var data []byte
		found := false
		if err == nil {
			data, found, err = from.document("index.json", limit)
		}
		if err == nil && !found {
			err = fault.New(fault.Invalid, "open artifact %.200q: it has no index.json: it is no OCI archive", ref)
		}
		if err != nil {
			return nil, nil, nil, errors.Join(err, file.Close())
		}
		return from, data, file.Close, nil
	case looksLikePath(ref):
		return nil, nil, nil, fault.New(fault.NotFound, "open artifact %.200q: there is no such file or folder", ref)
	}
	return remoteRoot(ctx, strings.TrimPrefix(strings.TrimPrefix(ref, "registry:"), "docker://"), o)
}

func remoteRoot(ctx context.Context, ref string, o Options) (source, []byte, func() error, error) {
	var opts []name.Option
	if o.Insecure {
		opts = append(opts, name.Insecure)
	}
	parsed, err := name.ParseReference(ref, opts...)
	if err != nil {
		return nil, nil, nil, fault.New(fault.Invalid, "open artifact %.200q: it is no file, folder or registry reference", ref)
	}
	from := &repository{parsed.Context()}
	desc, err := remote.Get(parsed, from.options(ctx)...)
	if err != nil {
		return nil, nil, nil, registryFault(parsed.String(), err)
	}
	if got := DigestOf(desc.Manifest); string(got) != desc.Digest.String() {
		return nil, nil, nil, fault.New(fault.Invalid, "open artifact %s: digest mismatch: the registry says %s, the manifest is %s", parsed, desc.Digest, got)
	}
	return from, desc.Manifest, func() error { return nil }, nil
}

// read follows an index of one entry, then lists the layers.
func (f *Files) read(ctx context.Context, root []byte, artifactType string) error {
	var doc struct {
		manifestFile
		ArtifactType string `json:"artifactType"`
	}
	if err := decodeDocument("manifest", root, &doc); err != nil {
		return err
	}
	if len(doc.Manifests) > 0 {
		if len(doc.Manifests) > 1 {
			return fault.New(fault.Invalid, "open artifact: the index names %d manifests, not one", len(doc.Manifests))
		}
		digest, err := ParseDigest(doc.Manifests[0].Digest)
		if err != nil {
			return fmt.Errorf("open artifact: %w", err)
		}
		data, err := (&loader{from: f.from, lim: Limits{}.WithDefaults()}).document(ctx, digest, f.from.manifest)
		if err != nil {
			return err
		}
		root = data
		doc.Manifests = nil
		if err := decodeDocument("manifest", data, &doc); err != nil {
			return err
		}
	}
	if doc.ArtifactType != artifactType {
		return fault.New(fault.Invalid, "open artifact: its type is %.100q, not %s", doc.ArtifactType, artifactType)
	}
	if len(doc.Layers) > maxFiles {
		return fault.New(fault.TooLarge, "open artifact: it has %d files, the limit is %d", len(doc.Layers), maxFiles)
	}
	f.Digest = DigestOf(root)
	for _, l := range doc.Layers {
		title, inside := insideName(l.Annotations[fileTitle])
		digest, err := ParseDigest(l.Digest)
		if err != nil || !inside || l.Size < 0 {
			return fault.New(fault.Invalid, "open artifact: the file %.100q has a name, digest or size that cannot be", l.Annotations[fileTitle])
		}
		f.List = append(f.List, File{Name: title, Digest: digest, Size: l.Size})
	}
	return nil
}

// Open reads a file. The stream ends in an error where size or digest do not hold.
func (f *Files) Open(ctx context.Context, file File) (io.ReadCloser, error) {
	raw, err := f.from.blob(ctx, file.Digest)
	if err != nil {
		return nil, err
	}
	return &checkedFile{raw, io.LimitReader(raw, file.Size+1), sha256.New(), file, 0}, nil
}

// Close gives back what is held open.
func (f *Files) Close() error { return f.close() }

type checkedFile struct {
	io.Closer
	from io.Reader
	sum  hash.Hash
	want File
	size int64
}

// Read implements io.Reader.
func (c *checkedFile) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.sum.Write(p[:n])
	c.size += int64(n)
	if errors.Is(err, io.EOF) && (c.size != c.want.Size || digestOfHash(c.sum) != c.want.Digest) {
		return n, fault.New(fault.Invalid, "read %s: size or digest mismatch: %d bytes", c.want.Name, c.size)
	}
	return n, err
}

// artifactAbout is what a manifest says beside its layers.
type artifactAbout struct {
	kind string
	at   time.Time
}

// Titled is a file to be written under a title.
type Titled struct{ Title, Path string }

// WriteFiles writes files of a folder as an artifact in an OCI layout archive.
// Titles and paths are slash-separated. The same files and time give the same bytes.
func WriteFiles(w io.Writer, dir *os.Root, files []Titled, artifactType string, at time.Time) error {
	layers := []referrerEntry{}
	for _, f := range files {
		digest, size, err := digestOfFile(dir, f.Path)
		if err != nil {
			return fault.New(fault.Invalid, "write artifact: %w", err)
		}
		layers = append(layers, referrerEntry{MediaType: "application/octet-stream", Digest: digest, Size: int(size), Annotations: map[string]string{fileTitle: f.Title}})
	}
	if err := writeArtifact(w, dir, files, layers, artifactAbout{artifactType, at}); err != nil {
		return fmt.Errorf("write artifact: %w", err)
	}
	return nil
}

func writeArtifact(w io.Writer, dir *os.Root, files []Titled, layers []referrerEntry, about artifactAbout) error {
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": manifestType, "artifactType": about.kind,
		"config": referrerEntry{MediaType: emptyType, Digest: DigestOf(emptyConfig), Size: len(emptyConfig)}, "layers": layers,
		"annotations": map[string]string{"org.opencontainers.image.created": about.at.UTC().Format(time.RFC3339)},
	})
	if err != nil {
		return err
	}
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": indexType, "manifests": []any{
		referrerEntry{MediaType: manifestType, Digest: DigestOf(manifest), Size: len(manifest), ArtifactType: about.kind},
	}})
	if err != nil {
		return err
	}
	archive := tar.NewWriter(w)
	for _, doc := range []struct {
		name string
		data []byte
	}{
		{"oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)},
		{"index.json", index},
		{blobName(DigestOf(manifest)), manifest},
		{blobName(DigestOf(emptyConfig)), emptyConfig},
	} {
		if err := writeMember(archive, doc.name, int64(len(doc.data))); err != nil {
			return err
		}
		if _, err := archive.Write(doc.data); err != nil {
			return err
		}
	}
	written := map[Digest]bool{}
	for i, l := range layers {
		if written[l.Digest] {
			continue
		}
		written[l.Digest] = true
		if err := writeFile(archive, dir, files[i].Path, l); err != nil {
			return err
		}
	}
	return archive.Close()
}

func digestOfFile(dir *os.Root, name string) (Digest, int64, error) {
	file, err := dir.Open(name)
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = file.Close() }()
	sum := sha256.New()
	size, err := io.Copy(sum, file)
	return digestOfHash(sum), size, err
}

// writeFile copies a file that must still be what it was when its digest was taken.
func writeFile(archive *tar.Writer, dir *os.Root, name string, l referrerEntry) error {
	file, err := dir.Open(name)
	if err != nil {
		return fault.New(fault.Invalid, "%w", err)
	}
	defer func() { _ = file.Close() }()
	if err := writeMember(archive, blobName(l.Digest), int64(l.Size)); err != nil {
		return err
	}
	sum := sha256.New()
	n, err := io.Copy(archive, io.TeeReader(io.LimitReader(file, int64(l.Size)), sum))
	if err == nil && (n != int64(l.Size) || digestOfHash(sum) != l.Digest) {
		err = fault.New(fault.Conflict, "it changed meanwhile")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
