// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package advisory_test

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"log"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store/sqlite"
)

var packedAt = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)

func pack(t *testing.T, dir string) []byte {
	t.Helper()
	var out bytes.Buffer
	names, err := advisory.Pack(dir, &out, packedAt)
	if want := []string{"Debian/all.zip", "Go/all.zip", "PyPI/all.zip", "kev.json", "epss.csv"}; err != nil || !slices.Equal(names, want) {
		t.Fatalf("packed %v, %v", names, err)
	}
	return out.Bytes()
}

// TestArtifact takes the same feeds from an archive, a layout folder and a registry.
func TestArtifact(t *testing.T) {
	dir := bucket(t)
	packed := pack(t, dir)
	if !bytes.Equal(packed, pack(t, dir)) {
		t.Error("the same feeds and time give other bytes")
	}
	archive := filepath.Join(t.TempDir(), "feeds.oci.tar")
	write(t, archive, packed)
	folder := t.TempDir()
	untar(t, packed, folder)
	for where, from := range map[string]string{"archive": archive, "folder": folder, "registry": push(t, folder)} {
		t.Run(where, func(t *testing.T) {
			idx := newIndex(t, sqlite.Options{})
			o := advisory.SyncOptions{Insecure: true}
			first, err := idx.Sync(t.Context(), from, o)
			if err != nil || states(first) != "Debian new, Go new, PyPI new, kev new, epss new" {
				t.Fatalf("first: %s, %v", states(first), err)
			}
			second, err := idx.Sync(t.Context(), from, o)
			if err != nil || states(second) != "Debian same, Go same, PyPI same, kev same, epss same" {
				t.Errorf("second: %s, %v", states(second), err)
			}
			if third, err := idx.Sync(t.Context(), dir, o); err != nil || states(third) != states(second) {
				t.Errorf("the folder it was packed from: %s, %v", states(third), err)
			}
		})
	}
}

func TestArtifactsThatCannotBe(t *testing.T) {
	dir := bucket(t)
	packed := pack(t, dir)
	idx := newIndex(t, sqlite.Options{})
	for name, c := range map[string]struct {
		spoil func([]byte) []byte
		want  string
	}{
		"another type": {func(b []byte) []byte {
			return bytes.ReplaceAll(b, []byte("vnd.goldkeep.advisories.v1"), []byte("vnd.goldkeep.advisories.v9"))
		}, "mismatch"},
		"another name":   {func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("kev.json"), []byte("../.json")) }, "mismatch"},
		"cut short":      {func(b []byte) []byte { return b[:len(b)/2] }, "unexpected EOF"},
		"nothing":        {func([]byte) []byte { return nil }, "index.json"},
		"no archive":     {func([]byte) []byte { return []byte(strings.Repeat("x", 2000)) }, "invalid tar header"},
		"a changed feed": {func(b []byte) []byte { return swap(b, "PK\x03\x04") }, "digest mismatch"},
	} {
		file := filepath.Join(t.TempDir(), "feeds.oci.tar")
		write(t, file, c.spoil(slices.Clone(packed)))
		if _, err := idx.Sync(t.Context(), file, advisory.SyncOptions{}); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, from := range []string{"feeds", "./nothing", "/nothing.tar", "nothing/here"} {
		if _, err := idx.Sync(t.Context(), from, advisory.SyncOptions{}); !fault.Is(err, fault.NotFound) || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", from, err)
		}
	}
	if s, err := idx.Snapshot(t.Context()); err != nil || len(s.Feeds) > 2 { // the lists beside the spoilt feeds are whole
		t.Errorf("something was taken: %+v, %v", s, err)
	}
}

// swap changes a byte after each mark.
func swap(b []byte, mark string) []byte {
	for at := 0; ; {
		next := bytes.Index(b[at:], []byte(mark))
		if next < 0 {
			return b
		}
		at += next + len(mark)
		b[at]++
	}
}

// push puts the artifact of a layout folder into a registry, byte for byte.
func push(t *testing.T, folder string) string {
	t.Helper()
	srv := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(srv.Close)
	path, err := layout.FromPath(folder)
	if err != nil {
		t.Fatal(err)
	}
	index, err := path.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	list, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	img, err := index.Image(list.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(strings.TrimPrefix(srv.URL, "http://") + "/feeds:today")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img, remote.WithContext(context.WithoutCancel(t.Context()))); err != nil {
		t.Fatal(err)
	}
	return ref.String()
}

func untar(t *testing.T, packed []byte, dir string) {
	t.Helper()
	for r := tar.NewReader(bytes.NewReader(packed)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, h.Name), raw)
	}
}
