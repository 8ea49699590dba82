// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package component_test

import (
	"archive/zip"
	"bytes"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/image"
)

// jarOf makes an archive of a library, in it a member of so many bytes.
func jarOf(t testing.TB, artifact, version string, size int) string {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for name, text := range map[string]string{
		"data.bin": strings.Repeat("x", size),
		"META-INF/maven/com.example/" + artifact + "/pom.properties": "groupId=com.example\nartifactId=" + artifact + "\nversion=" + version + "\n",
	} {
		f, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestJavaAcrossLayers: an archive belongs to the layer that brought it, is gone
// when a later one takes it away, and is shown with its place inside.
func TestJavaAcrossLayers(t *testing.T) {
	var war bytes.Buffer
	w := zip.NewWriter(&war)
	f, err := w.Create("WEB-INF/lib/inner.jar")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(f, jarOf(t, "inner", "1.0", 0)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	inv := inventoryOf(t,
		layerOf(t, file{name: "app/a.jar", text: jarOf(t, "a", "1.0", 0)}, file{name: "app/b.jar", text: jarOf(t, "b", "1.0", 0)}, file{name: "web.war", text: war.String()}),
		layerOf(t, file{name: "app/.wh.a.jar"}, file{name: "app/b.jar", text: jarOf(t, "b", "2.0", 0)}, file{name: "app/c.jar", hard: "app/b.jar"}),
	)
	var got []string
	for _, c := range inv.Components {
		got = append(got, c.PURL+" "+c.Path)
	}
	slices.Sort(got)
	want := []string{
		"pkg:maven/com.example/b@2.0 app/b.jar", "pkg:maven/com.example/b@2.0 app/c.jar",
		"pkg:maven/com.example/inner@1.0 web.war!/WEB-INF/lib/inner.jar",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestLargeArchive is too large for memory: it goes through a temporary file, of
// which nothing is left.
func TestLargeArchive(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	layer := layerOf(t, file{name: "app/big.jar", text: jarOf(t, "big", "1.0", 40<<20)})
	var reports []*component.LayerReport
	allocated := allocatedBy(func() {
		var err error
		if reports, err = component.ReadLayers(t.Context(), &image.Image{Layers: []image.Layer{layer}}, image.Limits{}, nil); err != nil {
			t.Fatal(err)
		}
	})
	if len(reports[0].Components) != 1 || allocated > 16<<20 {
		t.Errorf("got %+v, %d MiB were allocated", reports[0].Components, allocated>>20)
	}
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	if err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}
