// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package bench measures Goldkeep against a bare minimum that does the same work,
// in the same run, so that the figure holds on any machine.
package bench

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/image"
)

// BenchmarkReadLayers compares reading all layers of an image with merely
// decompressing them and walking their tars, one layer after the other in both.
// With GOLDKEEP_DATA set it takes python-app, else an image made up here.
func BenchmarkReadLayers(b *testing.B) {
	img := openSample(b, samplePath(b))
	blobs := storedBlobs(b, img)
	var bare, ours time.Duration
	for b.Loop() {
		start := time.Now()
		for _, blob := range blobs {
			walkBare(b, blob)
		}
		middle := time.Now()
		for _, layer := range img.Layers {
			if _, err := component.ReadLayer(b.Context(), layer, image.Limits{}); err != nil {
				b.Fatal(err)
			}
		}
		bare += middle.Sub(start)
		ours += time.Since(middle)
	}
	b.ReportMetric(bare.Seconds()*1000/float64(b.N), "bare-ms/op")
	b.ReportMetric(ours.Seconds()*1000/float64(b.N), "ours-ms/op")
	b.ReportMetric(ours.Seconds()/bare.Seconds(), "ratio")
}

// BenchmarkDerivedImage measures an image of which all layers but the last are known.
func BenchmarkDerivedImage(b *testing.B) {
	img := openSample(b, samplePath(b))
	reports, err := component.ReadLayers(b.Context(), img, image.Limits{}, nil)
	if err != nil {
		b.Fatal(err)
	}
	kept := map[image.Digest]*component.LayerReport{}
	for i, r := range reports[:len(reports)-1] {
		kept[img.Layers[i].DiffID] = r
	}
	known := func(l image.Layer) (*component.LayerReport, bool) { r, ok := kept[l.DiffID]; return r, ok }
	for b.Loop() {
		again, err := component.ReadLayers(b.Context(), img, image.Limits{}, known)
		if err != nil {
			b.Fatal(err)
		}
		component.Join(img, again)
	}
}

// samplePath is python-app, or an image made up here.
func samplePath(b *testing.B) string {
	b.Helper()
	if data := os.Getenv("GOLDKEEP_DATA"); data != "" {
		return filepath.Join(data, "images", "python-app.oci.tar")
	}
	return madeUpImage(b)
}

func openSample(b *testing.B, path string) *image.Image {
	b.Helper()
	img, err := image.Open(b.Context(), path, image.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = img.Close() })
	return img
}

// storedBlobs reads the layers as they are stored.
func storedBlobs(b *testing.B, img *image.Image) [][]byte {
	b.Helper()
	var blobs [][]byte
	for _, layer := range img.Layers {
		name := "blobs/sha256/" + layer.Digest.Hex()
		blobs = append(blobs, readMember(b, img.Name, name))
	}
	return blobs
}

func readMember(b *testing.B, path, name string) []byte {
	b.Helper()
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		data, err := os.ReadFile(filepath.Join(path, name))
		if err != nil {
			b.Fatal(err)
		}
		return data
	}
	f, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	for tr := tar.NewReader(f); ; {
		h, err := tr.Next()
		if err != nil {
			b.Fatalf("%s: %v", name, err)
		}
		if strings.TrimPrefix(h.Name, "./") == name {
			data, err := io.ReadAll(tr)
			if err != nil {
				b.Fatal(err)
			}
			return data
		}
	}
}

// walkBare is the bare minimum: decompress, and pass over the tar's members.
func walkBare(b *testing.B, blob []byte) {
	b.Helper()
	var plain io.Reader
	if bytes.HasPrefix(blob, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(bytes.NewReader(blob))
		if err != nil {
			b.Fatal(err)
		}
		plain = z
	} else {
		z, err := zstd.NewReader(bytes.NewReader(blob))
		if err != nil {
			b.Fatal(err)
		}
		defer z.Close()
		plain = z
	}
	for tr := tar.NewReader(plain); ; {
		if _, err := tr.Next(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			b.Fatal(err)
		}
	}
}

// madeUpImage writes a layout of two layers: one like a small distribution, one
// like an application.
func madeUpImage(b *testing.B) string {
	b.Helper()
	img := empty.Image
	for i, files := range []int{3000, 300} {
		var buf bytes.Buffer
		z := gzip.NewWriter(&buf)
		writeFiles(b, z, files, uint64(i))
		if err := z.Close(); err != nil {
			b.Fatal(err)
		}
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buf.Bytes())), nil })
		if err != nil {
			b.Fatal(err)
		}
		if img, err = mutate.AppendLayers(img, layer); err != nil {
			b.Fatal(err)
		}
	}
	dir := b.TempDir()
	l, err := layout.Write(dir, empty.Index)
	if err != nil {
		b.Fatal(err)
	}
	if err := l.AppendImage(img); err != nil {
		b.Fatal(err)
	}
	return dir
}

// writeFiles writes text files, metadata files and one package database.
func writeFiles(b *testing.B, w io.Writer, n int, seed uint64) {
	b.Helper()
	random := rand.New(rand.NewPCG(seed, 1))
	tw := tar.NewWriter(w)
	write := func(name, text string) {
		if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text)), Typeflag: tar.TypeReg}); err != nil {
			b.Fatal(err)
		}
		if _, err := io.WriteString(tw, text); err != nil {
			b.Fatal(err)
		}
	}
	var status strings.Builder
	for i := range n {
		var text strings.Builder
		for range random.IntN(2000) {
			fmt.Fprintf(&text, "%x line of text\n", random.Uint64())
		}
		write(fmt.Sprintf("usr/share/part%d/file%d", i%50, i), text.String())
		if i%10 == 0 {
			write(fmt.Sprintf("app/node_modules/m%d/package.json", i), fmt.Sprintf(`{"name":"m%d","version":"1.0.0"}`, i))
			fmt.Fprintf(&status, "Package: p%d\nStatus: install ok installed\nVersion: 1.%d\nArchitecture: all\n\n", i, i)
		}
	}
	write("var/lib/dpkg/status", status.String())
	write("etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n")
	if err := tw.Close(); err != nil {
		b.Fatal(err)
	}
}
