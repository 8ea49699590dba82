// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

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
	for range listTries {
		if err := remote.Put(ref, document{what.manifest, manifestType}, r.options(ctx)...); err != nil {
			return writeFault(ref.String(), err)
		}
		if listed, err := r.listed(ctx, what); listed || err != nil {
			return err
		}
	}
	return fault.New(fault.Conflict, "attach to %s: others keep writing the list of referrers", what.subject.Digest).WithHint("try again")
}

// The list behind the fallback tag is read, changed and written, and no registry
// locks it: whoever is put on it looks, a moment later, whether somebody else who
// wrote it at the same time has left it out.
const (
	listTries = 10
	listPause = 200 * time.Millisecond // up to twice that
)

func (r *repository) listed(ctx context.Context, what *sealedReferrer) (bool, error) {
	if list, err := r.fallback(ctx, what.subject.Digest); list == nil || err != nil {
		return err == nil, err
	}
	select {
	case <-time.After(listPause + rand.N(listPause)):
	case <-ctx.Done():
		return false, ctx.Err()
	}
	all, err := r.referrers(ctx, what.subject.Digest)
	return slices.ContainsFunc(all, func(d descriptor) bool { return d.Digest == string(what.digest) }), err
}

// fallback is the list behind the fallback tag; nil where there is none.
func (r *repository) fallback(ctx context.Context, subject Digest) ([]byte, error) {
	tag := r.repo.Tag(fallbackTag(subject))
	desc, err := remote.Get(tag, r.options(ctx)...)
	var answer *transport.Error
	if errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, registryFault(tag.String(), err)
	}
	return desc.Manifest, nil
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
	held, err := r.fallback(ctx, subject)
	if held == nil || err != nil || !bytes.Contains(held, []byte(referrer)) {
		return err
	}
	list, err := edited(held, less(referrer))
	if err != nil {
		return err
	}
	tag := r.repo.Tag(fallbackTag(subject))
	if err := remote.Put(tag, document{list, types.OCIImageIndex}, r.options(ctx)...); err != nil {
		return writeFault(tag.String(), err)
	}
	return nil
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
