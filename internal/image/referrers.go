// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// Signatures and attestations lie beside an image: as small manifests of their own
// whose "subject" is the image's manifest or index (OCI image-spec 1.1, distribution-spec
// 1.1 "Listing Referrers"). Whoever may push may attach, so all of it is hostile.

// Limits of what is read of one image's referrers.
const (
	maxReferrers     = 200      // listed for one subject
	maxAttached      = 64       // read for one image
	maxReferrerBytes = 16 << 20 // of one
	maxAttachedBytes = 48 << 20 // of all of one image
)

// BundleType is how the artifact and layer types of Sigstore bundles begin.
const BundleType = "application/vnd.dev.sigstore.bundle"

const (
	emptyType    = "application/vnd.oci.empty.v1+json"
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	indexType    = "application/vnd.oci.image.index.v1+json"
	refName      = "org.opencontainers.image.ref.name"
)

// Referrer is a Sigstore bundle attached to a manifest.
type Referrer struct {
	Subject     Digest // the manifest or index it is attached to
	Digest      Digest // of its own manifest
	Type        string // media type of its body
	Annotations map[string]string
	Body        []byte // its only layer; the digest was checked
}

// holder is a source that can hold referrers.
type holder interface {
	// referrers lists what may be attached to a manifest.
	referrers(ctx context.Context, subject Digest) ([]descriptor, error)
}

// Attached returns the Sigstore bundles attached to the image's manifest and to the
// indexes around it, in the order of their digests. nil means that where the image
// lies nothing can be attached (a docker-save archive, an executable, a local store),
// empty that there is none. At most 64 bundles of 16 MiB each are read; what there is
// over that, or what is no bundle though it says so, is fault.TooLarge or
// fault.Invalid: a list that is not whole must not pass for one.
func (i *Image) Attached(ctx context.Context) ([]Referrer, error) {
	from, ok := i.from.(holder)
	if !ok || len(i.Manifests) == 0 {
		return nil, nil
	}
	found, total := []Referrer{}, 0
	for _, subject := range i.Manifests {
		more, err := attachedTo(ctx, i.from, from, subject)
		if err != nil {
			return nil, err
		}
		for _, r := range more {
			total += len(r.Body)
		}
		found = append(found, more...)
		if len(found) > maxAttached || total > maxAttachedBytes {
			return nil, fault.New(fault.TooLarge, "read what is attached to %s: more than %d bundles or %d bytes", subject, maxAttached, maxAttachedBytes).
				WithHint("remove the referrers that nobody needs from the registry")
		}
	}
	return found, nil
}

func attachedTo(ctx context.Context, from source, list holder, subject Digest) ([]Referrer, error) {
	all, err := list.referrers(ctx, subject)
	if err != nil {
		return nil, err
	}
	if len(all) > maxReferrers {
		return nil, fault.New(fault.TooLarge, "read what is attached to %s: more than %d referrers", subject, maxReferrers).
			WithHint("remove the referrers that nobody needs from the registry")
	}
	slices.SortFunc(all, func(a, b descriptor) int { return strings.Compare(a.Digest, b.Digest) })
	all = slices.CompactFunc(all, func(a, b descriptor) bool { return a.Digest == b.Digest })
	var found []Referrer
	for _, d := range all {
		if !mayBeBundle(d) {
			continue
		}
		r, err := readReferrer(ctx, from, subject, d)
		if fault.Is(err, fault.NotFound) {
			continue // removed since, or listed by a tag nobody tidied
		}
		if err != nil {
			return nil, err
		}
		if r != nil {
			found = append(found, *r)
		}
		if len(found) > maxAttached {
			break // the caller says so
		}
	}
	return found, nil
}

// mayBeBundle looks at what a list says of a referrer. Some registries give the
// config's type as the artifact's, so only a type that is surely another's counts.
func mayBeBundle(d descriptor) bool {
	t := d.ArtifactType
	return t == "" || t == emptyType || strings.HasPrefix(t, BundleType) || strings.Contains(t, ".image.config.")
}

// readReferrer reads one referrer; nil where it is no bundle, or not of this subject.
func readReferrer(ctx context.Context, from source, subject Digest, d descriptor) (*Referrer, error) {
	digest, err := ParseDigest(d.Digest)
	if err != nil {
		return nil, err
	}
	l := &loader{from: from, lim: Limits{}.WithDefaults()}
	data, err := l.document(ctx, digest, from.manifest)
	if err != nil {
		return nil, err
	}
	var doc manifestFile
	if err := decodeDocument("referrer", data, &doc); err != nil {
		return nil, err
	}
	if doc.Subject == nil || doc.Subject.Digest != string(subject) || len(doc.Layers) != 1 || !strings.HasPrefix(doc.Layers[0].MediaType, BundleType) {
		return nil, nil
	}
	layer, err := ParseDigest(doc.Layers[0].Digest)
	if err != nil {
		return nil, err
	}
	body, err := readBlob(ctx, from, layer, maxReferrerBytes)
	if err != nil {
		return nil, err
	}
	if got := DigestOf(body); got != layer {
		return nil, fault.New(fault.Invalid, "read referrer %s: digest mismatch: its layer is %s", digest, got)
	}
	return &Referrer{Subject: subject, Digest: digest, Type: doc.Layers[0].MediaType, Annotations: doc.Annotations, Body: body}, nil
}

// fallbackTag is the tag that lists referrers where there is no API for it
// (distribution-spec 1.1, "Referrers Tag Schema").
func fallbackTag(subject Digest) string { return "sha256-" + subject.Hex() }

// fromIndex finds referrers in an OCI layout's index.json: manifests that stand in
// it themselves (as oras and Goldkeep write them), and those of the list that the
// fallback tag names (as skopeo copies it).
func fromIndex(ctx context.Context, from source, root []byte, subject Digest) ([]descriptor, error) {
	var index manifestFile
	if err := decodeDocument("index", root, &index); err != nil {
		return nil, err
	}
	var found []descriptor
	for _, d := range index.Manifests {
		switch {
		case d.Annotations[refName] == fallbackTag(subject):
			listed, err := readList(ctx, from, d)
			if err != nil {
				return nil, err
			}
			found = append(found, listed...)
		case d.Platform == nil && (d.MediaType == "" || d.MediaType == manifestType) && d.Digest != string(subject) && mayBeBundle(d):
			found = append(found, d)
		}
	}
	return found, nil
}

// readList reads the index a fallback tag stands for.
func readList(ctx context.Context, from source, d descriptor) ([]descriptor, error) {
	digest, err := ParseDigest(d.Digest)
	if err != nil {
		return nil, err
	}
	data, err := (&loader{from: from, lim: Limits{}.WithDefaults()}).document(ctx, digest, from.manifest)
	if err != nil {
		return nil, err
	}
	var list manifestFile
	if err := decodeDocument("list of referrers", data, &list); err != nil {
		return nil, err
	}
	return list.Manifests, nil
}

// referrers implements holder.
func (l *layout) referrers(ctx context.Context, subject Digest) ([]descriptor, error) {
	root, err := l.index()
	if err != nil {
		return nil, err
	}
	return fromIndex(ctx, l, root, subject)
}

// index reads the layout's index.json.
func (l *layout) index() ([]byte, error) {
	f, err := l.root.Open("index.json")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.Invalid, "open image folder: there is no index.json in it").
			WithHint("the folder must be an OCI image layout, as written by: skopeo copy docker://IMAGE oci:FOLDER")
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "open image folder: %w", err)
	}
	defer f.Close()
	return readAtMost(f, Limits{}.WithDefaults().ConfigBytes, "index.json")
}

// referrers implements holder. What docker-save wrote holds none.
func (a *archive) referrers(ctx context.Context, subject Digest) ([]descriptor, error) {
	root, found, err := a.document("index.json", Limits{}.WithDefaults().ConfigBytes)
	if err != nil || !found {
		return nil, err
	}
	return fromIndex(ctx, a, root, subject)
}
