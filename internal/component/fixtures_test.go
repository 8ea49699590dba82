// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package component_test

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/image"
)

// file is one entry of a layer made for a test. A name that ends in "/" is a folder.
type file struct {
	name, text string
	link       string // target of a symbolic link
	hard       string // target of a hard link
	mode       int64  // 0: 0644, or 0755 for a folder
	caps       string // the capability attribute
}

// layerOf makes a layer of files, in this order.
func layerOf(t testing.TB, files ...file) image.Layer {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.text)), Typeflag: tar.TypeReg}
		switch {
		case f.link != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, f.link
		case f.hard != "":
			h.Typeflag, h.Linkname = tar.TypeLink, f.hard
		case f.name[len(f.name)-1] == '/':
			h.Typeflag, h.Mode = tar.TypeDir, max(h.Mode, 0o755)
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if f.caps != "" {
			h.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": f.caps}
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, f.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return layerFrom(buf.Bytes())
}

func layerFrom(data []byte) image.Layer {
	return image.Layer{
		DiffID: image.DigestOf(data), Digest: image.DigestOf(data), Size: int64(len(data)),
		Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil },
	}
}

// inventoryOf reads and joins layers, lowest first.
func inventoryOf(t testing.TB, layers ...image.Layer) *component.Inventory {
	t.Helper()
	img := &image.Image{Layers: layers, Config: image.Config{User: "1000"}}
	reports, err := component.ReadLayers(t.Context(), img, image.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return component.Join(img, reports)
}

const debian12 = "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n"

func release() file { return file{name: "etc/os-release", text: debian12} }

// status writes a dpkg database of "name version" pairs.
func status(packages ...[2]string) file {
	var text strings.Builder
	for _, p := range packages {
		text.WriteString("Package: " + p[0] + "\nStatus: install ok installed\nMaintainer: T <t@debian.org>\nArchitecture: amd64\nVersion: " + p[1] + "\n\n")
	}
	return file{name: "var/lib/dpkg/status", text: text.String()}
}

// names lists components as "name version@layer".
func names(inv *component.Inventory) []string {
	out := []string{}
	for _, c := range inv.Components {
		out = append(out, c.Name+" "+c.Version+"@"+string(rune('0'+c.LayerIndex)))
	}
	return out
}

// factsOf lists the facts of a kind as paths; those of deleted files end in "(deleted)".
func factsOf(inv *component.Inventory, kind component.FactKind) []string {
	out := []string{}
	for _, f := range inv.Facts {
		if f.Kind == kind {
			p := f.Path
			if f.Deleted {
				p += "(deleted)"
			}
			out = append(out, p)
		}
	}
	return out
}

// fatal lists the paths of fatal problems.
func fatal(inv *component.Inventory) []string {
	out := []string{}
	for _, p := range inv.Problems {
		if p.Fatal {
			out = append(out, p.Path)
		}
	}
	return out
}
