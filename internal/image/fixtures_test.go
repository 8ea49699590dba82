// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package image_test

import (
	"archive/tar"
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/klauspost/compress/gzip"

	"github.com/goldkeep/goldkeep/internal/image"
)

// must fails the test on an error.
func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// sample builds an image of two layers for one platform.
func sample(t testing.TB, arch string) v1.Image {
	t.Helper()
	img := empty.Image
	for i, text := range []string{"lower", "upper"} {
		layer := must[v1.Layer](t)(tarball.LayerFromOpener(func() (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(tarOf(t, arch+text))), nil
		}))
		img = must[v1.Image](t)(mutate.Append(img, mutate.Addendum{Layer: layer, History: v1.History{CreatedBy: "step " + text}}))
		if i == 0 {
			img = must[v1.Image](t)(mutate.Append(img, mutate.Addendum{History: v1.History{CreatedBy: "ENV A=b", EmptyLayer: true}}))
		}
	}
	cfg := must[*v1.ConfigFile](t)(img.ConfigFile())
	cfg = cfg.DeepCopy()
	cfg.OS, cfg.Architecture = "linux", arch
	cfg.Created = v1.Time{Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	cfg.Config = v1.Config{
		User: "1000", Env: []string{"A=b"}, Entrypoint: []string{"/app"}, WorkingDir: "/srv",
		ExposedPorts: map[string]struct{}{"8080/tcp": {}}, Labels: map[string]string{"l": "v"},
	}
	return must[v1.Image](t)(mutate.ConfigFile(img, cfg))
}

// indexOf is a sample for each of several platforms.
func indexOf(t testing.TB, archs ...string) v1.ImageIndex {
	t.Helper()
	var all []mutate.IndexAddendum
	for _, arch := range archs {
		platform := &v1.Platform{OS: "linux", Architecture: arch}
		if arch == "arm64" {
			platform.Variant = "v8"
		}
		all = append(all, mutate.IndexAddendum{Add: sample(t, arch), Descriptor: v1.Descriptor{Platform: platform}})
	}
	return mutate.AppendManifests(empty.Index, all...)
}

func tarOf(t testing.TB, text string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := w.WriteHeader(&tar.Header{Name: "file", Mode: 0o644, Size: int64(len(text))}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// layoutOf writes images into one OCI layout folder.
func layoutOf(t testing.TB, index v1.ImageIndex, images ...v1.Image) string {
	t.Helper()
	dir := t.TempDir()
	l := must[layout.Path](t)(layout.Write(dir, empty.Index))
	for _, img := range images {
		if err := l.AppendImage(img); err != nil {
			t.Fatal(err)
		}
	}
	if index != nil {
		if err := l.AppendIndex(index); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// archiveOf packs a layout folder as a tar.
func archiveOf(t testing.TB, dir string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image.tar")
	f := must[*os.File](t)(os.Create(path))
	w := tar.NewWriter(f)
	err := fs.WalkDir(os.DirFS(dir), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(dir, p))
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Name: p, Mode: 0o644, Size: int64(len(data))}); err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	})
	for _, err := range []error{err, w.Close(), f.Close()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// savedOf writes what "docker save" would.
func savedOf(t testing.TB, img v1.Image) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "saved.tar")
	tag := must[name.Tag](t)(name.NewTag("example.test/app:1"))
	if err := tarball.WriteToFile(path, tag, img); err != nil {
		t.Fatal(err)
	}
	return path
}

func gzipped(t testing.TB, path string) string {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	if _, err := z.Write(must[[]byte](t)(os.ReadFile(path))); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	out := path + ".gz"
	if err := os.WriteFile(out, buf.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return out
}

// readAll reads every layer to its end, which verifies it.
func readAll(t testing.TB, img *image.Image) []error {
	t.Helper()
	var errs []error
	for _, layer := range img.Layers {
		r, err := layer.Open(t.Context())
		if err == nil {
			_, err = io.Copy(io.Discard, r)
			_ = r.Close()
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}
