// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/goldkeep/goldkeep/internal/fault"
)

func registryShelf(ctx context.Context, ref string, o Options) (*Shelf, error) {
	var opts []name.Option
	if o.Insecure {
		opts = append(opts, name.Insecure)
	}
	parsed, err := name.ParseReference(ref, opts...)
	if err != nil {
		return nil, fault.New(fault.Invalid, "open image %.200q: it is neither a folder nor a registry reference", ref).
			WithHint("a reference is HOST/NAME:TAG or HOST/NAME@sha256:DIGEST")
	}
	from := &repository{parsed.Context()}
	desc, err := remote.Get(parsed, from.options(ctx)...)
	if err != nil {
		return nil, registryFault(parsed.String(), err)
	}
	root := Subject{Digest: DigestOf(desc.Manifest), MediaType: string(desc.MediaType), Size: int64(len(desc.Manifest))}
	if string(root.Digest) != desc.Digest.String() {
		return nil, fault.New(fault.Invalid, "open image %s: digest mismatch: the registry says %s, the manifest is %s", parsed, desc.Digest, root.Digest)
	}
	all, err := subjects(ctx, from, root, desc.Manifest, 0)
	if err != nil {
		return nil, err
	}
	return &Shelf{Name: parsed.Context().Name(), Subjects: all, at: from}, nil
}

// document is a manifest to be put as it is.
type document struct {
	body      []byte
	mediaType types.MediaType
}

// RawManifest implements remote.Taggable.
func (d document) RawManifest() ([]byte, error) { return d.body, nil }

// MediaType implements remote.Taggable.
func (d document) MediaType() (types.MediaType, error) { return d.mediaType, nil }

// attach writes the blobs, then the manifest. Where the registry has no referrers
// API the library adds it to the list behind the fallback tag.
func (r *repository) attach(ctx context.Context, what *sealedReferrer) error {
	for _, blob := range []struct {
		body      []byte
		mediaType string
	}{{what.body, what.bodyType}, {emptyConfig, emptyType}} {
		layer := static.NewLayer(blob.body, types.MediaType(blob.mediaType))
		if err := remote.WriteLayer(r.repo, layer, r.options(ctx)...); err != nil {
			return writeFault(r.repo.Name(), err)
		}
	}
	ref := r.repo.Digest(string(what.digest))
	if err := remote.Put(ref, document{what.manifest, manifestType}, r.options(ctx)...); err != nil {
		return writeFault(ref.String(), err)
	}
	return nil
}

// detach takes a referrer off the list behind the fallback tag, where there is
// one, then deletes it.
func (r *repository) detach(ctx context.Context, subject, referrer Digest) error {
	if err := r.unlist(ctx, subject, referrer); err != nil {
		return err
	}
	ref := r.repo.Digest(string(referrer))
	err := remote.Delete(ref, r.options(ctx)...)
	var answer *transport.Error
	switch {
	case err == nil || errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound:
		return nil
	case answer != nil && answer.StatusCode == http.StatusMethodNotAllowed:
		return fault.New(fault.Unsupported, "delete %s: the registry allows no deleting", ref).
			WithHint("allow it in the registry's settings: signatures that are no longer true must go")
	}
	return writeFault(ref.String(), err)
}

func (r *repository) unlist(ctx context.Context, subject, referrer Digest) error {
	tag := r.repo.Tag(fallbackTag(subject))
	desc, err := remote.Get(tag, r.options(ctx)...)
	var answer *transport.Error
	if errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound {
		return nil
	}
	if err != nil {
		return registryFault(tag.String(), err)
	}
	list, changed, err := without(desc.Manifest, referrer)
	if err != nil || !changed {
		return err
	}
	if err := remote.Put(tag, document{list, types.OCIImageIndex}, r.options(ctx)...); err != nil {
		return writeFault(tag.String(), err)
	}
	return nil
}

// without is an index less one of its entries; all else stays as it was.
func without(index []byte, gone Digest) (rest []byte, changed bool, err error) {
	var doc map[string]json.RawMessage
	var entries []json.RawMessage
	if err := decodeDocument("index", index, &doc); err != nil {
		return nil, false, err
	}
	if err := json.Unmarshal(doc["manifests"], &entries); err != nil {
		return nil, false, fault.New(fault.Invalid, "read image index: its manifests are no list")
	}
	kept := []json.RawMessage{}
	for _, e := range entries {
		var d descriptor
		if err := json.Unmarshal(e, &d); err == nil && d.Digest == string(gone) {
			changed = true
			continue
		}
		kept = append(kept, e)
	}
	if doc["manifests"], err = json.Marshal(kept); err != nil {
		return nil, false, err
	}
	rest, err = json.Marshal(doc)
	return rest, changed, err
}

// writeFault is registryFault for writing.
func writeFault(ref string, err error) error {
	sorted := registryFault(ref, err)
	if fault.Is(sorted, fault.Denied) {
		return fault.New(fault.Denied, "write %s to the registry: access denied", ref).
			WithHint("log in as somebody who may push: podman login or docker login")
	}
	return sorted
}
