// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package scan_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/scan"
)

// TestAKnownLayerVouchesForNoOtherBlob: whoever writes a manifest may name any blob
// for a layer that is known. It is read, and refused, as if nothing were known.
func TestAKnownLayerVouchesForNoOtherBlob(t *testing.T) {
	good, evil := packedLayer(t, func(w *tar.Writer) { member(t, w, &tar.Header{Name: "app"}, "good") }),
		packedLayer(t, func(w *tar.Writer) { member(t, w, &tar.Header{Name: "app"}, "evil") })
	goodID := image.DigestOf(plain(t, good))
	config := func(diffIDs ...image.Digest) []byte {
		text, err := json.Marshal(map[string]any{"os": "linux", "architecture": "amd64", "rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs}})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	blobs := func(all ...[]byte) func(map[string]any) {
		return func(m map[string]any) {
			one := m["layers"].([]any)[0].(map[string]any)
			layers := []any{}
			for _, b := range all {
				layers = append(layers, map[string]any{"mediaType": one["mediaType"], "digest": image.DigestOf(b), "size": len(b)})
			}
			m["layers"] = layers
		}
	}
	put := func(folder string, blob []byte) string {
		if err := os.WriteFile(filepath.Join(folder, "blobs", "sha256", image.DigestOf(blob).Hex()), blob, 0o600); err != nil {
			t.Fatal(err)
		}
		return folder
	}
	idx, cache := newIndex(t), scan.FileCache(filepath.Join(t.TempDir(), "layers"))
	look := func(folder string) error {
		img, err := image.Open(t.Context(), folder, image.Options{Platform: "linux/amd64", Known: func(l image.Layer) bool {
			report, ok := cache.Get(l.DiffID)
			return ok && report.Tells(l)
		}})
		if err != nil {
			return err
		}
		defer img.Close()
		_, err = scan.Scan(t.Context(), img, deps(idx, cache))
		return err
	}
	if err := look(imageWith(t, config(goodID), nil, good)); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ folder, want string }{
		"another blob":           {imageWith(t, config(goodID), nil, evil), "diff_id mismatch"},
		"another blob, left out": {imageWith(t, config(goodID), blobs(evil), good), "blob missing"},
		"a blob kept elsewhere": {imageWith(t, config(goodID), func(m map[string]any) {
			blobs(evil)(m)
			m["layers"].([]any)[0].(map[string]any)["urls"] = []string{"https://example.com/layer"}
		}, good), "known from another"},
		"a blob nobody reads":          {imageWith(t, config(goodID), nil, []byte("BZh91AY&SY")), "known from another"},
		"a tar that is a gzip as well": {imageWith(t, config(image.DigestOf(good)), nil, gzipped(t, good)), "compressed twice"},
		"another blob the next time":   {put(imageWith(t, config(goodID, goodID), blobs(good, evil), good), evil), "diff_id mismatch"},
	} {
		if err := look(tt.folder); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v; want %s", name, err, tt.want)
		}
	}
	again := imageWith(t, config(goodID), nil, good)
	if err := os.Remove(filepath.Join(again, "blobs", "sha256", image.DigestOf(good).Hex())); err != nil {
		t.Fatal(err)
	}
	if err := look(again); err != nil {
		t.Errorf("the very blob that was read, left out: %v", err)
	}
}

func gzipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
