// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package component_test

import (
	"archive/tar"
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
)

const hostileFolder = "../image/testdata/hostile"

func TestHostileLayers(t *testing.T) {
	tests := []struct {
		file string
		kind fault.Kind // Internal: it is read
		want []string   // components
	}{
		{"bomb-zstd", fault.TooLarge, nil},
		{"diffid-mismatch", fault.Invalid, nil},
		{"duplicate-entries", fault.Internal, []string{"openssl 3.0.22-1~deb12u2@0"}},
		{"encrypted-layer", fault.Internal, []string{"openssl 3.0.9-1@0"}},
		{"foreign-layer", fault.Internal, []string{"openssl 3.0.9-1@0"}},
		{"lang-garbled", fault.Internal, []string{"openssl 3.0.9-1@0", "Jinja2 2.11.2@0", "bom 1.0.0@0", "lodash 4.17.15@0"}},
		{"size-mismatch", fault.Invalid, nil},
		{"symlink-dpkg", fault.Internal, []string{}},
		{"tar-huge-size", fault.Invalid, nil},
		{"tar-sparse", fault.Internal, []string{}},
		{"truncated-blob", fault.Invalid, nil},
		{"whiteout-odd", fault.Internal, []string{"openssl 3.0.9-1@0"}},
		{"whiteout-same-layer", fault.Internal, []string{"openssl 3.0.9-1@0"}},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			img, err := image.Open(t.Context(), filepath.Join(hostileFolder, tt.file+".oci.tar"), image.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer img.Close()
			var reports []*component.LayerReport
			allocated := allocatedBy(func() { reports, err = component.ReadLayers(t.Context(), img, image.Limits{}, nil) })
			if allocated > 96<<20 {
				t.Errorf("%d MiB were allocated", allocated>>20)
			}
			if err != nil || tt.kind != fault.Internal {
				if !fault.Is(err, tt.kind) {
					t.Errorf("got %v (%v); want %v", err, fault.KindOf(err), tt.kind)
				}
				return
			}
			inv := component.Join(img, reports)
			if diff := cmp.Diff(tt.want, names(inv)); diff != "" {
				t.Error(diff)
			}
			if len(tt.want) == 0 && len(fatal(inv)) == 0 {
				t.Error("nothing was found, and nobody says why")
			}
		})
	}
}

// allocatedBy counts all bytes allocated, which is more than ever were in use.
func allocatedBy(work func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	work()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestLimits(t *testing.T) {
	many := make([]file, 50)
	for i := range many {
		many[i] = file{name: strings.Repeat("d/", i) + "f", text: "x"}
	}
	if _, err := component.ReadLayer(t.Context(), layerOf(t, many...), image.Limits{Entries: 49}); !fault.Is(err, fault.TooLarge) {
		t.Errorf("got %v; want too many entries", err)
	}
	r, err := component.ReadLayer(t.Context(), layerOf(t, status([2]string{"a", "1"})), image.Limits{FileBytes: 10})
	if err != nil || len(r.Problems) != 1 || !r.Problems[0].Fatal {
		t.Errorf("got %v, %v; want a fatal problem for the large database", r, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := component.ReadLayer(ctx, layerOf(t, many...), image.Limits{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v; want it cancelled", err)
	}
}

func TestNotScannable(t *testing.T) {
	layer := image.Layer{DiffID: image.DigestOf(nil), Open: func(context.Context) (io.ReadCloser, error) {
		return nil, fault.New(fault.Unsupported, "not scannable")
	}}
	inv := inventoryOf(t, layer)
	if diff := cmp.Diff([]string{string(layer.DiffID)}, fatal(inv)); diff != "" {
		t.Error(diff)
	}
	r, err := component.ReadLayer(t.Context(), layer, image.Limits{})
	if err != nil || r.Usable() {
		t.Errorf("%v: a layer that was not read must be tried again next time", err)
	}
}

func TestKnownLayersAreNotOpened(t *testing.T) {
	base, app := layerOf(t, release(), status([2]string{"a", "1"})), layerOf(t, file{name: "x", text: "y"})
	first, err := component.ReadLayer(t.Context(), base, image.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	base.Open = func(context.Context) (io.ReadCloser, error) { return nil, errors.New("it was opened") }
	img := &image.Image{Layers: []image.Layer{base, app, app}}
	reports, err := component.ReadLayers(t.Context(), img, image.Limits{}, func(l image.Layer) (*component.LayerReport, bool) {
		return first, l.DiffID == base.DiffID
	})
	if err != nil || reports[0] != first || reports[1] == nil || reports[1] != reports[2] {
		t.Fatalf("got %v, %v", reports, err)
	}
	old := *first
	old.Version--
	if _, err := component.ReadLayers(t.Context(), img, image.Limits{}, func(image.Layer) (*component.LayerReport, bool) { return &old, true }); err == nil {
		t.Error("a report of another version was used")
	}
}

// TestGoProgram reads this very test: a Go program whose modules are known.
func TestGoProgram(t *testing.T) {
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	img, err := image.Open(t.Context(), "file:"+path, image.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	reports, err := component.ReadLayers(t.Context(), img, image.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	inv := component.Join(img, reports)
	byName := map[string]component.Component{}
	for _, c := range inv.Components {
		byName[c.Name] = c
	}
	std, main := byName["stdlib"], byName["github.com/goldkeep/goldkeep"]
	if std.Ecosystem != "Go" || std.Version == "" || strings.HasPrefix(std.Version, "go") || !slices.Contains(std.Packages, "archive/tar") {
		t.Errorf("stdlib: %s %s, %d packages", std.Ecosystem, std.Version, len(std.Packages))
	}
	if !main.Main || !slices.Contains(main.Packages, "github.com/goldkeep/goldkeep/internal/image") {
		t.Errorf("main: %+v", main)
	}
	if len(factsOf(inv, component.RootUser)) > 0 {
		t.Error("a plain program has no user")
	}
}

// TestRustProgram reads an ELF file made here, with the section cargo-auditable writes.
func TestRustProgram(t *testing.T) {
	record := `{"packages":[{"name":"app","version":"0.1.0","root":true},{"name":"time","version":"0.1.40"},{"name":"cc","version":"1.0.0","kind":"build"}]}`
	inv := inventoryOf(t, layerOf(t, file{name: "app", text: string(elfWithSection(t, ".dep-v0", record)), mode: 0o755}))
	if diff := cmp.Diff([]string{"app 0.1.0@0", "time 0.1.40@0"}, names(inv)); diff != "" {
		t.Fatal(diff, inv.Problems)
	}
	if c := inv.Components[1]; c.Ecosystem != "crates.io" || c.PURL != "pkg:cargo/time@0.1.40" || !inv.Components[0].Main {
		t.Errorf("got %+v", inv.Components)
	}
}

// elfWithSection writes the smallest ELF file with one section of zlib'd text.
func elfWithSection(t *testing.T, name, text string) []byte {
	t.Helper()
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	_, _ = io.WriteString(z, text)
	_ = z.Close()
	const head, entry = 64, 64
	strtab := "\x00" + name + "\x00.shstrtab\x00"
	le := binary.LittleEndian
	out := make([]byte, head)
	copy(out, "\x7fELF\x02\x01\x01")
	le.PutUint16(out[16:], 2)
	le.PutUint16(out[18:], 62)
	le.PutUint32(out[20:], 1)
	le.PutUint64(out[40:], uint64(head+packed.Len()+len(strtab)))
	le.PutUint16(out[52:], head)
	le.PutUint16(out[58:], entry)
	le.PutUint16(out[60:], 3)
	le.PutUint16(out[62:], 2)
	out = append(append(out, packed.Bytes()...), strtab...)
	section := func(name, kind uint32, offset, size int) {
		s := make([]byte, entry)
		le.PutUint32(s, name)
		le.PutUint32(s[4:], kind)
		le.PutUint64(s[24:], uint64(offset))
		le.PutUint64(s[32:], uint64(size))
		out = append(out, s...)
	}
	section(0, 0, 0, 0)
	section(1, 1, head, packed.Len())
	section(uint32(len(name)+2), 3, head+packed.Len(), len(strtab))
	return out
}

// TestManyFiles is the bomb of many entries, small: time and memory must follow the
// count, also where each file takes the place of the one before.
func TestManyFiles(t *testing.T) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	const n = 50_000
	for i := range n {
		name := "same/" + strings.Repeat("x", i%7)
		if i%3 == 0 {
			name = "d" + strings.Repeat("/e", i%100) + "/f"
		}
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	layer := layerFrom(buf.Bytes())
	allocated := allocatedBy(func() {
		if _, err := component.ReadLayer(t.Context(), layer, image.Limits{}); err != nil {
			t.Error(err)
		}
	})
	if allocated > 256<<20 {
		t.Errorf("%d MiB were allocated", allocated>>20)
	}
}

// TestTricksWithNames must end at a limit, quickly.
func TestTricksWithNames(t *testing.T) {
	const n = 30_000
	replaced := make([]file, 0, 2*n)
	for range n {
		replaced = append(replaced, file{name: "d/"}, file{name: "d", text: "x"})
	}
	links := []file{}
	for i := range 40 {
		links = append(links, file{name: fmt.Sprintf("l%d", i), link: fmt.Sprintf("l%d", i+1)})
	}
	for range n {
		links = append(links, file{name: "l0/x"})
	}
	packages := make([][2]string, 100_001)
	for i := range packages {
		packages[i] = [2]string{"p", fmt.Sprint(i)}
	}
	for name, files := range map[string][]file{
		"folders replaced": replaced, "chains of links": links, "too many packages": {status(packages...)},
	} {
		if _, err := component.ReadLayer(t.Context(), layerOf(t, files...), image.Limits{}); !fault.Is(err, fault.TooLarge) {
			t.Errorf("%s: got %v; want it refused", name, err)
		}
	}
	deep := file{name: strings.Repeat("d/", 200) + "f", text: "x"}
	if got := fatal(inventoryOf(t, layerOf(t, deep))); len(got) != 1 {
		t.Errorf("a path too deep: %v", got)
	}
}

func FuzzReadLayer(f *testing.F) {
	seed := func(files ...file) {
		r, err := layerOf(f, files...).Open(f.Context())
		if err != nil {
			f.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	seed(release(), status([2]string{"a", "1"}), file{name: "a", link: "b"}, file{name: "b", link: "a"}, file{name: "a/c", text: "x"})
	seed(file{name: ".wh.x"}, file{name: "d/.wh..wh..opq"}, file{name: "d", hard: "e"}, file{name: "x/package.json", text: `{"name":"x","version":"1"}`})
	seed(file{name: "x.dist-info/METADATA", text: "Name: a\nVersion: 1\n"}, file{name: "lib/apk/db/installed", text: "P:a\nV:1\n\n"}, file{name: "p", text: "\x7fELF.dep-v0"})
	f.Fuzz(func(t *testing.T, data []byte) {
		layer := layerFrom(data)
		r, err := component.ReadLayer(t.Context(), layer, image.Limits{FileBytes: 1 << 20, Entries: 1000})
		if err != nil {
			if fault.KindOf(err) == fault.Internal {
				t.Errorf("an error without a kind: %v", err)
			}
			return
		}
		if !slices.IsSorted(r.Paths) {
			t.Error("paths are not sorted")
		}
		img := &image.Image{Layers: []image.Layer{layer, layer}}
		a, b := component.Join(img, []*component.LayerReport{r, r}), component.Join(img, []*component.LayerReport{r, r})
		if diff := cmp.Diff(a, b); diff != "" {
			t.Error(diff)
		}
	})
}
