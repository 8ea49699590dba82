// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package image_test

import (
	"bytes"
	"errors"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
)

func discardLogger() *log.Logger { return log.New(io.Discard, "", 0) }

func TestHostileImages(t *testing.T) {
	tests := []struct {
		file    string
		kind    fault.Kind // of the error; Internal: there is none
		message string     // in the error, or in a warning
	}{
		{"bomb-zstd", fault.TooLarge, "times its size"},
		{"config-not-json", fault.Invalid, "config"},
		{"config-wrong-types", fault.Invalid, "config"},
		{"diffid-mismatch", fault.Invalid, "diff_id mismatch"},
		{"digest-traversal", fault.Invalid, "malformed digest"},
		{"digest-upper", fault.Invalid, "malformed digest"},
		{"encrypted-layer", fault.Internal, "encrypted"},
		{"foreign-layer", fault.Internal, "non-distributable"},
		{"missing-blob", fault.Invalid, "blob missing"},
		{"outer-tricks", fault.Internal, "two members"},
		{"size-mismatch", fault.Invalid, "size mismatch"},
		{"truncated-blob", fault.Invalid, "mismatch"},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			img, err := image.Open(t.Context(), filepath.Join("testdata", "hostile", tt.file+".oci.tar"), image.Options{})
			said := ""
			if err == nil {
				defer img.Close()
				err = errors.Join(readAll(t, img)...)
				said = strings.Join(img.Warnings, "\n")
			}
			if err != nil {
				said = err.Error()
			}
			if (err != nil) != (tt.kind != fault.Internal) || fault.KindOf(firstOf(err)) != tt.kind || !strings.Contains(said, tt.message) {
				t.Errorf("got %q (%v); want %v with %q", said, fault.KindOf(firstOf(err)), tt.kind, tt.message)
			}
		})
	}
}

// firstOf unpacks errors.Join.
func firstOf(err error) error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		return many.Unwrap()[0]
	}
	return err
}

// TestEveryByteCounts flips bytes all over an archive: either it is refused, or
// the same image comes out.
func TestEveryByteCounts(t *testing.T) {
	path := archiveOf(t, layoutOf(t, nil, sample(t, "amd64")))
	data := must[[]byte](t)(os.ReadFile(path))
	whole, err := image.OpenArchive(t.Context(), bytes.NewReader(data), int64(len(data)), "whole", image.Options{})
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for at := 0; at < len(data); at += 7 {
		broken := bytes.Clone(data)
		broken[at] ^= 0x20
		img, err := image.OpenArchive(t.Context(), bytes.NewReader(broken), int64(len(broken)), "broken", image.Options{})
		if err != nil || readAll(t, img) != nil {
			refused++
			continue
		}
		if img.ID != whole.ID || len(img.Layers) != len(whole.Layers) {
			t.Errorf("byte %d: another image came out", at)
		}
	}
	if refused == 0 {
		t.Error("nothing was refused")
	}
}

// TestTheStoredBytesCount changes a time in the header of a gzip'd layer: what it
// unpacks to is the same, yet it is not the blob the manifest names.
func TestTheStoredBytesCount(t *testing.T) {
	dir := layoutOf(t, nil, sample(t, "amd64"))
	img, err := image.Open(t.Context(), dir, image.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	blob := filepath.Join(dir, "blobs", "sha256", img.Layers[0].Digest.Hex())
	data := must[[]byte](t)(os.ReadFile(blob))
	data[4]++
	if err := os.WriteFile(blob, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := firstOf(errors.Join(readAll(t, img)...)); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "digest mismatch") {
		t.Errorf("got %v", err)
	}
}

func TestLimits(t *testing.T) {
	path := archiveOf(t, layoutOf(t, nil, sample(t, "amd64")))
	for name, lim := range map[string]image.Limits{
		"layer bytes":  {LayerBytes: 1000},
		"config bytes": {ConfigBytes: 100},
		"layers":       {Layers: 1},
	} {
		img, err := image.Open(t.Context(), path, image.Options{Limits: lim})
		if err == nil {
			err = errors.Join(readAll(t, img)...)
			_ = img.Close()
		}
		if !fault.Is(firstOf(err), fault.TooLarge) {
			t.Errorf("%s: got %v; want it too large", name, err)
		}
	}
	_, err := image.Open(t.Context(), gzipped(t, path), image.Options{Limits: image.Limits{ArchiveBytes: 1000}})
	if !fault.Is(err, fault.TooLarge) {
		t.Errorf("archive bytes: got %v; want it too large", err)
	}
}

func FuzzOpenArchive(f *testing.F) {
	files, err := filepath.Glob("testdata/hostile/*.oci.tar")
	if err != nil || len(files) == 0 {
		f.Fatal("no hostile images in testdata", err)
	}
	for _, path := range files {
		if data, err := os.ReadFile(path); err == nil && len(data) < 40_000 {
			f.Add(data)
		}
	}
	lim := image.Limits{LayerBytes: 1 << 20, ArchiveBytes: 1 << 20}
	f.Fuzz(func(t *testing.T, data []byte) {
		img, err := image.OpenArchive(t.Context(), bytes.NewReader(data), int64(len(data)), "fuzz", image.Options{Limits: lim})
		if err != nil {
			if fault.KindOf(err) == fault.Internal {
				t.Errorf("an error without a kind: %v", err)
			}
			return
		}
		readAll(t, img)
		_ = img.Close()
	})
}

func FuzzReadConfig(f *testing.F) {
	f.Add([]byte(`{"os":"linux","architecture":"amd64","config":{"Env":["A=b"]},"rootfs":{"diff_ids":[]},"history":[{"created_by":"x"}]}`))
	f.Add([]byte(`{"created":"2026-01-02T03:04:05Z"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		img, err := image.ReadConfigForTest(data)
		if err == nil && img.ID != image.DigestOf(data) {
			t.Error("the id is not the digest of the config")
		}
	})
}

func FuzzParseDigest(f *testing.F) {
	f.Add("sha256:" + strings.Repeat("a", 64))
	f.Add("sha256:" + strings.Repeat("A", 64))
	f.Add("sha256:../../etc/hostname")
	f.Fuzz(func(t *testing.T, s string) {
		d, err := image.ParseDigest(s)
		if err == nil && (string(d) != s || len(d.Hex()) != 64 || strings.ContainsAny(s, "./ \n")) {
			t.Errorf("accepted %q", s)
		}
	})
}
