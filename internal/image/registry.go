// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/goldkeep/goldkeep/internal/courier"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// repository is one repository of a registry. Credentials come from the user's
// docker or podman login.
type repository struct {
	repo name.Repository
}

func openRegistry(ctx context.Context, ref string, o Options) (*Image, error) {
	var opts []name.Option
	if o.Insecure {
		opts = append(opts, name.Insecure)
	}
	parsed, err := name.ParseReference(ref, opts...)
	if err != nil {
		return nil, fault.New(fault.Invalid, "open image %.200q: it is neither a file nor a registry reference", ref).
			WithHint("a reference is HOST/NAME:TAG or HOST/NAME@sha256:DIGEST")
	}
	from := &repository{parsed.Context()}
	desc, err := remote.Get(parsed, from.options(ctx)...)
	if err != nil {
		return nil, registryFault(parsed.String(), err)
	}
	digest, err := ParseDigest(desc.Digest.String())
	if err != nil {
		return nil, err
	}
	l := newLoader(from, o)
	if int64(len(desc.Manifest)) > l.lim.ConfigBytes {
		return nil, fault.New(fault.TooLarge, "open image %s: its manifest has more than %d bytes", parsed, l.lim.ConfigBytes)
	}
	if got := DigestOf(desc.Manifest); got != digest {
		return nil, fault.New(fault.Invalid, "open image %s: digest mismatch: the registry says %s, the manifest is %s", parsed, digest, got)
	}
	return l.load(ctx, desc.Manifest, digest)
}

func (r *repository) options(ctx context.Context) []remote.Option {
	return []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain), remote.WithTransport(courier.Shared)}
}

// manifest implements source.
func (r *repository) manifest(ctx context.Context, d Digest, _ int64) ([]byte, error) {
	ref := r.repo.Digest(string(d))
	desc, err := remote.Get(ref, r.options(ctx)...)
	if err != nil {
		return nil, registryFault(ref.String(), err)
	}
	return desc.Manifest, nil
}

// blob implements source.
func (r *repository) blob(ctx context.Context, d Digest) (io.ReadCloser, error) {
	ref := r.repo.Digest(string(d))
	layer, err := remote.Layer(ref, r.options(ctx)...)
	if err != nil {
		return nil, registryFault(ref.String(), err)
	}
	body, err := layer.Compressed()
	if err != nil {
		return nil, registryFault(ref.String(), err)
	}
	return body, nil
}

// referrers implements holder: by the registry's API, or by the fallback tag.
func (r *repository) referrers(ctx context.Context, subject Digest) ([]descriptor, error) {
	ref := r.repo.Digest(string(subject))
	index, err := remote.Referrers(ref, r.options(ctx)...)
	if err != nil {
		return nil, registryFault(ref.String(), err)
	}
	data, err := index.RawManifest()
	if err != nil {
		return nil, registryFault(ref.String(), err)
	}
	var list manifestFile
	if err := decodeDocument("list of referrers", data, &list); err != nil {
		return nil, err
	}
	return list.Manifests, nil
}

// registryFault sorts a registry's answers.
func registryFault(ref string, err error) error {
	var answer *transport.Error
	if !errors.As(err, &answer) {
		return fault.New(fault.Unavailable, "ask registry for %s: %w", ref, err).
			WithHint("is the registry's name right, and does it speak TLS? A plain-HTTP registry needs --insecure")
	}
	switch answer.StatusCode {
	case http.StatusNotFound:
		return fault.New(fault.NotFound, "ask registry for %s: no such image", ref)
	case http.StatusUnauthorized, http.StatusForbidden:
		return fault.New(fault.Denied, "ask registry for %s: access denied, or no such image", ref).
			WithHint("log in with: podman login or docker login")
	}
	return fault.New(fault.Unavailable, "ask registry for %s: %s", ref, http.StatusText(answer.StatusCode))
}
