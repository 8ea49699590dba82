// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"io"
	"path"
	"strings"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// saved is one image in the manifest.json of "docker save".
type saved struct {
	Config   string   `json:"Config"`
	RepoTags []string `json:"RepoTags"`
	Layers   []string `json:"Layers"`
}

func (a *archive) loadDockerSave(o Options) (*Image, error) {
	lim := o.Limits.WithDefaults()
	data, found, err := a.document("manifest.json", lim.ConfigBytes)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fault.New(fault.Invalid, "read archive: it is not an image: neither index.json nor manifest.json is in it").
			WithHint("write it with: podman save --format oci-archive -o FILE IMAGE")
	}
	var images []saved
	if err := decodeDocument("manifest.json", data, &images); err != nil {
		return nil, err
	}
	if len(images) != 1 {
		return nil, fault.New(fault.Invalid, "read archive: it holds %d images", len(images)).WithHint("save one image into one archive")
	}
	img := &Image{}
	diffIDs, err := a.savedConfig(img, images[0], lim)
	if err != nil {
		return nil, err
	}
	if o.Platform != "" && !splitPlatform(img.Platform).matches(o.Platform) {
		return nil, noPlatform(o.Platform, []string{img.Platform})
	}
	steps := buildSteps(img.Config.History, len(diffIDs))
	for i, name := range images[0].Layers {
		layer, err := a.savedLayer(name, diffIDs[i], lim)
		if err != nil {
			return nil, err
		}
		layer.CreatedBy = steps[i]
		img.Layers = append(img.Layers, layer)
	}
	return img, nil
}

func (a *archive) savedConfig(img *Image, from saved, lim Limits) ([]Digest, error) {
	data, found, err := a.document(path.Clean(from.Config), lim.ConfigBytes)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fault.New(fault.Invalid, "read archive: config missing: %.200q", from.Config)
	}
	// The name is the digest, as "HEX.json" or "blobs/sha256/HEX".
	stated := strings.TrimSuffix(path.Base(from.Config), ".json")
	if d, err := ParseDigest(digestPrefix + stated); err == nil && d != DigestOf(data) {
		return nil, fault.New(fault.Invalid, "read archive: config %s: digest mismatch: it is %s", d, DigestOf(data))
	}
	diffIDs, err := readConfig(img, data, lim)
	if err != nil {
		return nil, err
	}
	if len(diffIDs) != len(from.Layers) {
		return nil, fault.New(fault.Invalid, "read archive: manifest.json has %d layers, the config %d", len(from.Layers), len(diffIDs))
	}
	return diffIDs, nil
}

func (a *archive) savedLayer(name string, diffID Digest, lim Limits) (Layer, error) {
	clean := path.Clean(name)
	if target, linked := a.links[clean]; linked {
		clean = target // old docker links equal layers to each other; one step, inside the archive
	}
	at, ok := a.files[clean]
	if !ok {
		return Layer{}, fault.New(fault.Invalid, "read archive: layer missing: %.200q", name)
	}
	spec := blobSpec{size: at.size, diffID: diffID, limits: lim}
	return Layer{DiffID: diffID, Digest: diffID, Size: at.size, Open: func(ctx context.Context) (io.ReadCloser, error) {
		return openLayer(ctx, io.NopCloser(io.NewSectionReader(a.r, at.offset, at.size)), spec)
	}}, nil
}
