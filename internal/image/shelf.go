// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// Subject is a manifest or an index something can be attached to.
type Subject struct {
	Digest    Digest `json:"digest"`
	MediaType string `json:"mediaType"`
	Size      int64  `json:"size"` // bytes
	Raw       []byte `json:"-"`    // the document itself
}

// Contained reads a manifest or an index: a manifest has a config, whose digest is the
// image's ID; an index has images, by the digests of their manifests.
func Contained(raw []byte) (config Digest, images []Digest, err error) {
	doc, err := readManifest(raw)
	if err != nil {
		return "", nil, err
	}
	for _, d := range doc.Manifests {
		if d.Platform != nil && d.Platform.OS == "unknown" { // all that keeps a runtime from running it
			continue
		}
		digest, err := ParseDigest(d.Digest)
		if err != nil {
			return "", nil, fmt.Errorf("read image index: %w", err)
		}
		images = append(images, digest)
	}
	if doc.Config != nil && len(doc.Manifests) == 0 {
		config, err = ParseDigest(doc.Config.Digest)
	}
	if err == nil && config == "" && len(images) == 0 || len(images) > maxReferrers {
		err = fault.New(fault.Invalid, "read manifest: it is of no image, or of more than %d", maxReferrers)
	}
	return config, images, err
}

// Shelf is an image where it lies, to attach things to it: a repository of a
// registry, or an OCI layout folder.
type Shelf struct {
	Name     string    // HOST/REPOSITORY; "" for a folder
	Subjects []Subject // the index and its images, or the one manifest

	at interface {
		source
		holder
		attach(ctx context.Context, r *sealedReferrer) error
		detach(ctx context.Context, subject, referrer Digest) error
	}
	close func() error
}

// OpenShelf opens the place a reference names, as Open reads references: a folder
// that is an OCI layout, else a registry reference. An archive cannot be written to.
func OpenShelf(ctx context.Context, ref string, o Options) (*Shelf, error) {
	dir, forced := strings.CutPrefix(ref, "oci:")
	info, err := os.Stat(dir)
	switch {
	case forced || err == nil && info.IsDir():
		return layoutShelf(ctx, dir)
	case err == nil || looksLikePath(ref) || strings.HasPrefix(ref, "archive:") || strings.HasPrefix(ref, "podman:") || strings.HasPrefix(ref, "docker:") && !strings.HasPrefix(ref, "docker://"):
		return nil, fault.New(fault.Unsupported, "open %.200q to attach to it: things can be attached in a registry and in an OCI layout folder", ref).
			WithHint("copy the image first, as in: skopeo copy oci-archive:FILE oci:FOLDER")
	}
	ref = strings.TrimPrefix(strings.TrimPrefix(ref, "docker://"), "registry:")
	return registryShelf(ctx, ref, o)
}

// Close gives back what the shelf holds open.
func (s *Shelf) Close() error {
	if s.close == nil {
		return nil
	}
	return s.close()
}

// Open opens the image one subject is, or leads to.
func (s *Shelf) Open(ctx context.Context, subject Subject, o Options) (*Image, error) {
	img, err := newLoader(s.at, o).load(ctx, subject.Raw, subject.Digest)
	if err == nil && s.Name != "" {
		img.Name = s.Name + "@" + string(subject.Digest)
	}
	return img, err
}

// Attached returns the bundles attached to one subject; see Image.Attached.
func (s *Shelf) Attached(ctx context.Context, subject Digest) ([]Referrer, error) {
	found, err := attachedTo(ctx, s.at, s.at, subject)
	if err == nil && len(found) > maxAttached {
		err = fault.New(fault.TooLarge, "read what is attached to %s: more than %d bundles", subject, maxAttached)
	}
	return found, err
}

// Attach puts a bundle beside a subject, as cosign v3 does: the body is the only
// layer, the config is empty. It returns the digest of the referrer's manifest.
// Attaching the same again at the same time changes nothing.
func (s *Shelf) Attach(ctx context.Context, to Subject, r Referrer, at time.Time) (Digest, error) {
	if len(r.Body) > maxReferrerBytes {
		return "", fault.New(fault.TooLarge, "attach to %s: a bundle of %d bytes; at most %d are read again", to.Digest, len(r.Body), maxReferrerBytes)
	}
	sealed, err := seal(to, r, at)
	if err != nil {
		return "", err
	}
	if err := s.at.attach(ctx, sealed); err != nil {
		return "", err
	}
	return sealed.digest, nil
}

// Detach removes a referrer. One that is not there is fine.
func (s *Shelf) Detach(ctx context.Context, r Referrer) error {
	return s.at.detach(ctx, r.Subject, r.Digest)
}

var emptyConfig = []byte("{}")

// sealedReferrer is a referrer with its manifest, ready to be written.
type sealedReferrer struct {
	subject  Subject
	bodyType string
	body     []byte
	manifest []byte
	digest   Digest // of the manifest
	about    map[string]string
}

// descriptor is the entry of the referrer in a list.
type referrerEntry struct {
	MediaType    string            `json:"mediaType"`
	Digest       Digest            `json:"digest"`
	Size         int               `json:"size"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
}

func (r *sealedReferrer) entry() referrerEntry {
	return referrerEntry{MediaType: manifestType, Digest: r.digest, Size: len(r.manifest), ArtifactType: r.bodyType, Annotations: r.about}
}

// seal makes the manifest of a referrer.
func seal(to Subject, r Referrer, at time.Time) (*sealedReferrer, error) {
	about := maps.Clone(r.Annotations)
	if about == nil {
		about = map[string]string{}
	}
	about["org.opencontainers.image.created"] = at.UTC().Format(time.RFC3339)
	manifest, err := json.Marshal(struct {
		SchemaVersion int               `json:"schemaVersion"`
		MediaType     string            `json:"mediaType"`
		ArtifactType  string            `json:"artifactType"`
		Config        referrerEntry     `json:"config"`
		Layers        []referrerEntry   `json:"layers"`
		Subject       Subject           `json:"subject"`
		Annotations   map[string]string `json:"annotations"`
	}{
		2, manifestType, r.Type,
		referrerEntry{MediaType: emptyType, Digest: DigestOf(emptyConfig), Size: len(emptyConfig)},
		[]referrerEntry{{MediaType: r.Type, Digest: DigestOf(r.Body), Size: len(r.Body)}},
		to, about,
	})
	if err != nil {
		return nil, fmt.Errorf("encode referrer: %w", err)
	}
	return &sealedReferrer{subject: to, bodyType: r.Type, body: r.Body, manifest: manifest, digest: DigestOf(manifest), about: about}, nil
}

// subjects lists a root document and, where it is an index, the images in it.
func subjects(ctx context.Context, from source, root Subject, data []byte, depth int) ([]Subject, error) {
	var doc manifestFile
	if err := decodeDocument("manifest", data, &doc); err != nil {
		return nil, err
	}
	root.Raw = data
	all := []Subject{root}
	if len(doc.Manifests) == 0 {
		return all, nil
	}
	if depth >= indexDepth || len(doc.Manifests) > maxReferrers {
		return nil, fault.New(fault.TooLarge, "read image index: it names %d images, %d deep", len(doc.Manifests), depth+1)
	}
	for _, d := range doc.Manifests {
		if isAttestation(d) {
			continue
		}
		digest, err := ParseDigest(d.Digest)
		if err != nil {
			return nil, fmt.Errorf("read image index: %w", err)
		}
		data, err := (&loader{from: from, lim: Limits{}.WithDefaults()}).document(ctx, digest, from.manifest)
		if err != nil {
			return nil, err
		}
		below, err := subjects(ctx, from, Subject{Digest: digest, MediaType: mediaTypeOf(d.MediaType, data), Size: int64(len(data))}, data, depth+1)
		if err != nil {
			return nil, err
		}
		all = append(all, below...)
	}
	return all, nil
}

// mediaTypeOf is what is said of a document, or what it says itself.
func mediaTypeOf(said string, data []byte) string {
	if said != "" {
		return said
	}
	var doc struct {
		MediaType string            `json:"mediaType"`
		Manifests []json.RawMessage `json:"manifests"`
	}
	if err := json.Unmarshal(data, &doc); err == nil && doc.MediaType != "" {
		return doc.MediaType
	}
	if len(doc.Manifests) > 0 {
		return indexType
	}
	return manifestType
}
