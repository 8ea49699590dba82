// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package scan_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/sbom"
	"github.com/goldkeep/goldkeep/internal/scan"
)

// What any one input may cost: memory of a whole process, and processor time.
const (
	memoryBar = 512 << 10 // KiB
	timeBar   = 30 * time.Second
)

// toScan and toTell name the input and the place of the outcome for a process that
// scans one file, so that its memory is its own.
const (
	toScan = "GOLDKEEP_TEST_SCAN"
	toTell = "GOLDKEEP_TEST_OUTCOME"
)

// TestOneFile is the process; without a file there is nothing to do.
func TestOneFile(t *testing.T) {
	path := os.Getenv(toScan)
	if path == "" {
		return
	}
	text := outcome(t, path)
	if err := os.WriteFile(os.Getenv(toTell), fmt.Appendf(nil, "%d\n%s", peak(t), text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// peak is the most memory this process has used, in KiB.
func peak(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			return kib
		}
	}
	t.Fatal("the kernel does not say what the process used")
	return 0
}

// outcome is "KIND: ERROR", or what was found.
func outcome(t *testing.T, path string) string {
	if strings.HasSuffix(path, ".json") {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		bill, err := sbom.Read(f, sbom.Limits{})
		if err != nil {
			return fault.KindOf(err).String() + ": " + err.Error()
		}
		return fmt.Sprint(len(bill.Inventory.Components), " components")
	}
	img, err := image.Open(t.Context(), path, image.Options{Platform: "linux/amd64"})
	if err != nil {
		return fault.KindOf(err).String() + ": " + err.Error()
	}
	defer img.Close()
	ev, err := scan.Scan(t.Context(), img, deps(newIndex(t), nil))
	if err != nil {
		return fault.KindOf(err).String() + ": " + err.Error()
	}
	found := append([]string{"user " + ev.Image.User}, img.Warnings...)
	for _, c := range ev.Components {
		found = append(found, c.Name+" "+c.Version)
	}
	for _, p := range ev.Problems[:min(len(ev.Problems), 5)] {
		found = append(found, "problem "+p.Path+": "+p.Reason)
	}
	return strings.Join(found, "\n")
}

// unraced is this test program without the race detector, whose memory is not ours.
func unraced(t *testing.T) string {
	t.Helper()
	if !raced {
		return os.Args[0]
	}
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "goldkeep-scan")
	if err != nil {
		return "", err
	}
	cleanups = append(cleanups, func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "scan.test")
	if said, err := exec.Command("go", "test", "-c", "-o", path, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build without the race detector: %w: %s", err, said)
	}
	return path, nil
})

// cleanups are what is left to do when all tests have run.
var cleanups []func()

func TestMain(m *testing.M) {
	code := m.Run()
	for _, f := range cleanups {
		f()
	}
	os.Exit(code)
}

// scanAlone scans a file in a process of its own and holds it to the bars.
func scanAlone(t *testing.T, path string) string {
	t.Helper()
	answer := filepath.Join(t.TempDir(), "outcome")
	cmd := exec.CommandContext(t.Context(), unraced(t), "-test.run=^TestOneFile$")
	cmd.Env = append(os.Environ(), toScan+"="+path, toTell+"="+answer)
	said, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %.2000s", err, said)
	}
	answered, err := os.ReadFile(answer)
	if err != nil {
		t.Fatal(err)
	}
	first, text, _ := strings.Cut(string(answered), "\n")
	kib, err := strconv.Atoi(first)
	if err != nil {
		t.Fatal(err)
	}
	spent := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	t.Logf("%d MiB, %s of processor time", kib>>10, spent.Round(time.Millisecond))
	if kib > memoryBar || spent > timeBar {
		t.Errorf("it took %d MiB and %s of processor time", kib>>10, spent)
	}
	return text
}

// TestHostileCases: every case of cases.json has the wanted outcome, in bounds.
func TestHostileCases(t *testing.T) {
	const folder = "../image/testdata/hostile"
	wanted := map[string][]string{ // parts of the outcome; "!x": x is not in it
		"bomb-entries": {"too_large: ", "entries"}, "bomb-zstd": {"too_large: ", "times its size"},
		"config-not-json": {"invalid: ", "config"}, "config-wrong-types": {"invalid: ", "config"},
		"diffid-mismatch": {"invalid: ", "diff_id mismatch"}, "digest-traversal": {"invalid: ", "malformed digest"}, "digest-upper": {"invalid: ", "malformed digest"},
		"duplicate-entries": {"openssl 3.0.22-1~deb12u2", "!openssl 3.0.9-1"},
		"encrypted-layer":   {"user ", "encrypted"}, "foreign-layer": {"user ", "non-distributable"},
		"lang-garbled": {"lodash 4.17.15", "Jinja2 2.11.2", "!notme"}, "missing-blob": {"invalid: ", "blob missing"}, "outer-tricks": {"user "},
		"size-mismatch": {"invalid: ", "size mismatch"}, "symlink-dpkg": {"user ", "!root:"}, "tar-huge-size": {"invalid: "}, "tar-sparse": {"user "},
		"truncated-blob": {"invalid: ", "mismatch"}, "whiteout-odd": {"openssl 3.0.9-1"}, "whiteout-same-layer": {"openssl 3.0.9-1"},
	}
	text, err := os.ReadFile(filepath.Join(folder, "cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	var list struct{ Cases []struct{ File string } }
	if err := json.Unmarshal(text, &list); err != nil || len(list.Cases) != len(wanted) {
		t.Fatalf("%d cases, %d wanted outcomes: %v", len(list.Cases), len(wanted), err)
	}
	for _, c := range list.Cases {
		name := strings.TrimSuffix(c.File, ".oci.tar")
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(folder, c.File)
			if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && name == "bomb-entries" {
				path = imageOf(t, nil, manyMembers(t, 300_001)) // too large for the repository
			}
			expect(t, scanAlone(t, path), wanted[name])
		})
	}
}

func expect(t *testing.T, got string, wanted []string) {
	t.Helper()
	if len(wanted) == 0 {
		t.Fatal("no outcome is wanted")
	}
	for _, want := range wanted {
		if part, not := strings.CutPrefix(want, "!"); strings.Contains(got, part) == not {
			t.Errorf("want %q, got %.2000s", want, got)
		}
	}
}

// TestHostileInventions are more of the kind, made here.
func TestHostileInventions(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 700_000)
	for name, tt := range map[string]struct {
		make func(t *testing.T) string
		want []string
	}{
		"nested whiteouts": {func(t *testing.T) string {
			return imageOf(t, nil, packedLayer(t, func(w *tar.Writer) {
				for i := range 50_000 {
					member(t, w, &tar.Header{Name: fmt.Sprintf("d/.wh..wh.%d/.wh.x/.wh..wh..opq", i)}, "")
				}
				member(t, w, &tar.Header{Name: ".wh..wh..wh..wh."}, "")
			}))
		}, []string{"user 1", "a whiteout used as a folder"}},
		"hard links to outside": {func(t *testing.T) string {
			return imageOf(t, nil, packedLayer(t, func(w *tar.Writer) {
				for i, target := range []string{"../../etc/passwd", "/etc/shadow", "var/lib/dpkg/status", "/proc/self/environ"} {
					member(t, w, &tar.Header{Name: fmt.Sprint("link", i), Typeflag: tar.TypeLink, Linkname: target}, "")
				}
				member(t, w, &tar.Header{Name: "var/lib/dpkg/status", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}, "")
			}))
		}, []string{"user 1", "problem var/lib/dpkg/status", "!root:x"}},
		"PAX headers": {func(t *testing.T) string {
			return imageOf(t, nil, packedLayer(t, func(w *tar.Writer) {
				for i := range 150 {
					member(t, w, &tar.Header{Name: fmt.Sprint("f", i), PAXRecords: map[string]string{"GOLDKEEP.x": strings.Repeat("x", 1000<<10)}}, "")
				}
			}))
		}, []string{"too_large: ", "times its size"}},
		"300,000 layers": {func(t *testing.T) string {
			return imageOf(t, func(m map[string]any) {
				one, err := json.Marshal(m["layers"].([]any)[0])
				if err != nil {
					t.Fatal(err)
				}
				m["layers"] = json.RawMessage("[" + string(one) + strings.Repeat(","+string(one), 299_999) + "]")
			}, manyMembers(t, 1))
		}, []string{"too_large: "}},
		"zstd with a huge window": {func(t *testing.T) string {
			frame := append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8}, make([]byte, 4096)...)
			return imageOf(t, func(m map[string]any) {
				m["layers"].([]any)[0].(map[string]any)["mediaType"] = "application/vnd.oci.image.layer.v1.tar+zstd"
			}, frame)
		}, []string{": "}},
		"deep JSON in a config": {func(t *testing.T) string {
			return imageWith(t, []byte(`{"os":"linux","architecture":"amd64","config":`+deep), nil, manyMembers(t, 1))
		}, []string{"invalid: "}},
		"keys twice in a config": {func(t *testing.T) string {
			data := manyMembers(t, 1)
			return imageWith(t, []byte(`{"os":"linux","architecture":"amd64","config":{"User":"1"},"config":{"User":"root"},"rootfs":{"type":"layers","diff_ids":["`+string(image.DigestOf(plain(t, data)))+`"]}}`), nil, data)
		}, []string{"user root"}},
		"names that trick a terminal": {func(t *testing.T) string {
			return imageOf(t, nil, packedLayer(t, func(w *tar.Writer) {
				for _, name := range []string{"\x1b[2J\x1b]0;x\a", "\u202etxt.exe", "a\nb", "\xff\xfe", strings.Repeat("x/", 3000)} {
					member(t, w, &tar.Header{Name: name + "/package.json"}, `{"name":"\u001b[31mx","version":"1\u202e"}`)
				}
			}))
		}, []string{"user 1", "!\x1b", "!\xff"}},
		"a bill of one long string": {func(t *testing.T) string {
			return writeFile(t, "long.json", []byte(`{"bomFormat":"CycloneDX","specVersion":"1.6","components":[{"type":"library","name":"x","purl":"pkg:npm/`+strings.Repeat("x", 60<<20)+`"}]}`))
		}, []string{"0 components"}},
		"a bill of empty components": {func(t *testing.T) string {
			return writeFile(t, "many.json", []byte(`{"bomFormat":"CycloneDX","specVersion":"1.6","components":[{}`+strings.Repeat(",{}", 10_000_000)+`]}`))
		}, []string{"too_large: ", "components"}},
		"a bill of everything nested": {func(t *testing.T) string {
			return writeFile(t, "nested.json", []byte(`{"bomFormat":"CycloneDX","specVersion":"1.6","components":[{"components":[{}`+strings.Repeat(",{}", 10_000_000)+`]}]}`))
		}, []string{"too_large: ", "components"}},
	} {
		t.Run(name, func(t *testing.T) { expect(t, scanAlone(t, tt.make(t)), tt.want) })
	}
}

func writeFile(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// packedLayer is a gzip'd tar.
func packedLayer(t *testing.T, fill func(*tar.Writer)) []byte {
	t.Helper()
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	fill(w)
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func member(t *testing.T, w *tar.Writer, h *tar.Header, text string) {
	t.Helper()
	h.Size, h.Mode = int64(len(text)), 0o644
	if h.Typeflag == 0 {
		h.Typeflag = tar.TypeReg
	}
	if err := w.WriteHeader(h); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

func manyMembers(t *testing.T, n int) []byte {
	t.Helper()
	return packedLayer(t, func(w *tar.Writer) {
		for i := range n {
			member(t, w, &tar.Header{Name: fmt.Sprint("f", i)}, "")
		}
	})
}

// plain unpacks a layer; one that is no gzip is taken as it is.
func plain(t *testing.T, blob []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(blob))
	if err != nil {
		return blob
	}
	var out bytes.Buffer
	if _, err := out.ReadFrom(z); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// imageOf writes an OCI layout with one layer. change may change the manifest.
func imageOf(t *testing.T, change func(manifest map[string]any), blob []byte) string {
	t.Helper()
	config, err := json.Marshal(map[string]any{
		"os": "linux", "architecture": "amd64", "config": map[string]any{"User": "1"},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{string(image.DigestOf(plain(t, blob)))}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return imageWith(t, config, change, blob)
}

func imageWith(t *testing.T, config []byte, change func(map[string]any), blob []byte) string {
	t.Helper()
	dir := t.TempDir()
	put := func(name string, data []byte) {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	descriptor := func(kind string, data []byte) map[string]any {
		d := image.DigestOf(data)
		put(filepath.Join("blobs", "sha256", d.Hex()), data)
		return map[string]any{"mediaType": kind, "digest": d, "size": len(data)}
	}
	const oci = "application/vnd.oci.image."
	manifest := map[string]any{
		"schemaVersion": 2, "mediaType": oci + "manifest.v1+json",
		"config": descriptor(oci+"config.v1+json", config), "layers": []any{descriptor(oci+"layer.v1.tar+gzip", blob)},
	}
	if change != nil {
		change(manifest)
	}
	text, err := json.Marshal(manifest)
	if err != nil {
		t.Fatal(err)
	}
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": []any{descriptor(oci+"manifest.v1+json", text)}})
	if err != nil {
		t.Fatal(err)
	}
	put("index.json", index)
	put("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	return dir
}

// TestManyHostileLayers: several layers, each with a list of packages that is made to
// cost its parser much, cost no more than one.
func TestManyHostileLayers(t *testing.T) {
	const size = 23 << 20
	long := func(format string, size int) string {
		var b strings.Builder
		for i := 0; b.Len() < size; i++ {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	for name, c := range map[string]struct{ file, text string }{
		"a paragraph without end": {"var/lib/dpkg/status", "Package: a\nStatus: install ok installed\nVersion: 1\n" + long("K%d: x\n", size)},
		"packages without end":    {"lib/apk/db/installed", long("P:p%d\nV:1\n\n", size)},
		"versions without end":    {"vendor/composer/installed.json", "[" + strings.TrimSuffix(long(`{"name":"a/%d","version":"1"},`, 8<<20-100), ",") + "]"},
	} {
		t.Run(name, func(t *testing.T) {
			var layers [][]byte
			for i := range 6 {
				layers = append(layers, packedLayer(t, func(w *tar.Writer) {
					member(t, w, &tar.Header{Name: c.file}, c.text)
					member(t, w, &tar.Header{Name: fmt.Sprint("salt", i)}, "")
				}))
			}
			if said := scanAlone(t, layered(t, layers)); !strings.Contains(said, "problem "+c.file) {
				t.Errorf("%.300s", said)
			}
		})
	}
}

// layered is an image of many layers, as an OCI layout.
func layered(t *testing.T, layers [][]byte) string {
	t.Helper()
	var diffs []string
	for _, b := range layers {
		diffs = append(diffs, string(image.DigestOf(plain(t, b))))
	}
	config, err := json.Marshal(map[string]any{"os": "linux", "architecture": "amd64", "rootfs": map[string]any{"type": "layers", "diff_ids": diffs}})
	if err != nil {
		t.Fatal(err)
	}
	dir := imageWith(t, config, func(manifest map[string]any) {
		kind := manifest["layers"].([]any)[0].(map[string]any)["mediaType"]
		var all []any
		for _, b := range layers {
			all = append(all, map[string]any{"mediaType": kind, "digest": image.DigestOf(b), "size": len(b)})
		}
		manifest["layers"] = all
	}, layers[0])
	for _, b := range layers {
		if err := os.WriteFile(filepath.Join(dir, "blobs", "sha256", image.DigestOf(b).Hex()), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
