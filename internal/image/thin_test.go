// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package image_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
)

// TestWriteArchive sends an image on with all its layers, and with those only the
// other side lacks: it stays the same image under the same digests.
func TestWriteArchive(t *testing.T) {
	dir := layoutOf(t, nil, sample(t, "amd64"))
	img := must[*image.Image](t)(image.Open(t.Context(), dir, image.Options{}))
	defer img.Close()
	reopen := func(archive []byte, known ...image.Digest) (*image.Image, error) {
		return image.OpenArchive(t.Context(), bytes.NewReader(archive), int64(len(archive)), "sent", image.Options{
			Known: func(l image.Layer) bool { return slices.Contains(known, l.DiffID) },
		})
	}
	var whole, thin bytes.Buffer
	if err := img.WriteArchive(t.Context(), &whole, func(image.Layer) bool { return false }); err != nil {
		t.Fatal(err)
	}
	again := must[*image.Image](t)(reopen(whole.Bytes()))
	if again.ID != img.ID || !slices.Equal(again.Manifests, img.Manifests) || readAll(t, again) != nil {
		t.Errorf("sent as a whole it is %s %v, was %s %v", again.ID, again.Manifests, img.ID, img.Manifests)
	}

	lower := img.Layers[0].DiffID
	if err := img.WriteArchive(t.Context(), &thin, func(l image.Layer) bool { return l.DiffID == lower }); err != nil {
		t.Fatal(err)
	}
	if _, err := reopen(thin.Bytes()); !fault.Is(err, fault.Invalid) {
		t.Errorf("a missing layer nobody knows: %v; want it refused", err)
	}
	again = must[*image.Image](t)(reopen(thin.Bytes(), lower))
	if again.ID != img.ID || len(again.Layers) != 2 {
		t.Errorf("sent without the lower layer it is %s with %d layers", again.ID, len(again.Layers))
	}
	if _, err := again.Layers[0].Open(t.Context()); !fault.Is(err, fault.Invalid) {
		t.Errorf("opening the layer that was not sent: %v", err)
	}
	if upper, err := again.Layers[1].Open(t.Context()); err != nil {
		t.Error(err)
	} else {
		_ = upper.Close()
	}
}

func TestWhatDockerSavedIsNotPortable(t *testing.T) {
	img := must[*image.Image](t)(image.Open(t.Context(), savedOf(t, sample(t, "amd64")), image.Options{}))
	defer img.Close()
	err := img.WriteArchive(t.Context(), &bytes.Buffer{}, func(image.Layer) bool { return false })
	if img.Portable() || !fault.Is(err, fault.Unsupported) {
		t.Errorf("portable: %v, %v", img.Portable(), err)
	}
}
