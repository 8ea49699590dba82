// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package scan_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/scan"
	"github.com/goldkeep/goldkeep/internal/store/sqlite"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

var now = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

// layer makes a layer of files; opened counts how often it was read.
func layer(t *testing.T, opened *int, files map[string]string) image.Layer {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		text := files[name]
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	raw := out.Bytes()
	return image.Layer{
		DiffID: image.DigestOf(raw), Digest: image.DigestOf(raw), Size: int64(len(raw)),
		Open: func(context.Context) (io.ReadCloser, error) {
			*opened++
			return io.NopCloser(bytes.NewReader(raw)), nil
		},
	}
}

// sample is a Debian image with a Python application on top.
func sample(t *testing.T, base, app *int) *image.Image {
	return &image.Image{
		Name: "sample", ID: image.DigestOf([]byte("config")), Platform: "linux/amd64", Kind: image.KindImage,
		Config: image.Config{User: "10001", Ports: []string{"8080/tcp"}},
		Layers: []image.Layer{
			layer(t, base, map[string]string{
				"etc/os-release": "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n",
				"var/lib/dpkg/status": "Package: libkrb5-3\nStatus: install ok installed\nSource: krb5\nVersion: 1.20.1-2+deb12u3\nArchitecture: amd64\n" +
					"Maintainer: Sam Hartman <hartmans@debian.org>\n\n",
			}),
			layer(t, app, map[string]string{
				"opt/app/lib/python3.11/site-packages/PyYAML-5.3.dist-info/METADATA": "Metadata-Version: 2.1\nName: PyYAML\nVersion: 5.3\n",
			}),
		},
	}
}

// newIndex returns an index of the recorded advisories of some feeds.
func newIndex(t *testing.T, feeds ...string) *advisory.Index {
	t.Helper()
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "a.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	idx := advisory.New(st)
	if err := idx.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, f := range feeds {
		importFeed(t, idx, f)
	}
	return idx
}

func importFeed(t *testing.T, idx *advisory.Index, name string) advisory.Change {
	t.Helper()
	raw, err := os.ReadFile("../advisory/testdata/" + name + ".jsonl")
	if err != nil {
		t.Fatal(err)
	}
	return importText(t, idx, name, string(raw))
}

// importText imports a feed of one record a line.
func importText(t *testing.T, idx *advisory.Index, name, text string) advisory.Change {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for line := range strings.Lines(text) {
		var r struct{ ID string }
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		f, err := w.Create(r.ID + ".json")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = f.Write([]byte(line))
	}
	_ = w.Close()
	c, err := idx.Import(t.Context(), name, bytes.NewReader(out.Bytes()), int64(out.Len()), nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func deps(idx scan.Advisories, cache scan.Cache) scan.Deps {
	return scan.Deps{Advisories: idx, Layers: cache, Now: func() time.Time { return now }}
}

func TestScan(t *testing.T) {
	idx := newIndex(t, "Debian", "PyPI")
	ev, err := scan.Scan(t.Context(), sample(t, new(int), new(int)), deps(idx, nil))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range ev.Findings {
		got = append(got, f.ID+" "+f.Package+" "+f.Version+" "+f.Fixed)
	}
	slices.Sort(got)
	want := []string{"DSA-6293-1 krb5 1.20.1-2+deb12u3 1.20.1-2+deb12u5", "PYSEC-2020-96 pyyaml 5.3 5.3.1", "PYSEC-2021-142 pyyaml 5.3 5.4"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	snapshot, _ := idx.Snapshot(t.Context())
	if ev.Snapshot != snapshot.ID || ev.SnapshotAt.IsZero() || ev.Image.User != "10001" || ev.OS.Ecosystem != "Debian:12" || len(ev.Gaps)+len(ev.Problems) > 0 {
		t.Errorf("evidence = %+v", ev)
	}
}

func TestScanWithoutAdvisoriesIsNotClean(t *testing.T) {
	ev, err := scan.Scan(t.Context(), sample(t, new(int), new(int)), deps(newIndex(t), nil))
	if err != nil || ev.Snapshot != "" || len(ev.Gaps) != 2 {
		t.Errorf("gaps = %v, %v", ev.Gaps, err)
	}
}

// TestAPartialFeedIsTold has a broken record in a feed of the image, in one of the
// others, and none in a third.
func TestAPartialFeedIsTold(t *testing.T) {
	idx := newIndex(t, "Debian")
	const record = `{"id":"%s","modified":"2026-01-01T00:00:00Z","affected":[{"package":{"ecosystem":"%s","name":"a"},"versions":["1"]}]}` + "\n"
	for _, eco := range []string{"PyPI", "npm"} {
		importText(t, idx, eco, fmt.Sprintf(record, "A-1", eco)+`{"id":"A-2","affected":7}`)
	}
	ev, err := scan.Scan(t.Context(), sample(t, new(int), new(int)), deps(idx, nil))
	if err != nil || len(ev.PartialFeeds) != 1 || !strings.HasPrefix(ev.PartialFeeds[0], "PyPI: records that could not be read: 1 (A-2") {
		t.Fatalf("partial feeds = %q, %v", ev.PartialFeeds, err)
	}
	v := verdict.Evaluate(verdict.Default(), ev, now)
	told := slices.ContainsFunc(v.Admit.Reasons, func(r verdict.Reason) bool { return r.Rule == "vulnerabilities.feeds" && r.Answer == verdict.Yes })
	if !told {
		t.Errorf("the verdict does not tell: %+v", v.Admit.Reasons)
	}
	importText(t, idx, "PyPI", fmt.Sprintf(record, "A-1", "PyPI"))
	if ev, err = scan.Rematch(t.Context(), ev, idx, now); err != nil || len(ev.PartialFeeds) > 0 {
		t.Errorf("partial feeds = %q, %v", ev.PartialFeeds, err)
	}
}

func TestKnownLayersAreNotOpened(t *testing.T) {
	idx, cache := newIndex(t, "Debian", "PyPI"), scan.FileCache(filepath.Join(t.TempDir(), "layers"))
	var base, app int
	first, err := scan.Scan(t.Context(), sample(t, &base, &app), deps(idx, cache))
	if err != nil {
		t.Fatal(err)
	}
	second, err := scan.Scan(t.Context(), sample(t, &base, &app), deps(idx, cache))
	if err != nil {
		t.Fatal(err)
	}
	if base != 1 || app != 1 {
		t.Errorf("layers were opened %d and %d times", base, app)
	}
	if d := cmp.Diff(first, second); d != "" {
		t.Error(d)
	}
}

// TestLimitsHoldForKnownLayers: a layer that was read under other limits is read again.
func TestLimitsHoldForKnownLayers(t *testing.T) {
	idx, cache := newIndex(t, "Debian", "PyPI"), scan.FileCache(filepath.Join(t.TempDir(), "layers"))
	var base, app int
	look := func(lim image.Limits) error {
		d := deps(idx, cache)
		d.Limits = lim
		_, err := scan.Scan(t.Context(), sample(t, &base, &app), d)
		return err
	}
	for i, lim := range []image.Limits{{}, {Entries: 300_000, Layers: 7}, {Entries: 299_999}, {Entries: 299_999}} {
		if err := look(lim); err != nil || base+app != 2*(1+i/2) {
			t.Errorf("limits %+v: %d layers read, %v", lim, base+app, err)
		}
	}
	if err := look(image.Limits{Entries: 1}); !fault.Is(err, fault.TooLarge) {
		t.Errorf("a known layer of more entries than allowed: %v", err)
	}
}

// memory is a cache that gives out one report for every layer, and counts what is
// to be kept.
type memory struct {
	report *component.LayerReport
	kept   int
}

func (m *memory) Get(image.Digest) (*component.LayerReport, bool) { return m.report, m.report != nil }
func (m *memory) Put(*component.LayerReport)                      { m.kept++ }

func TestACacheIsNotTrustedBlindly(t *testing.T) {
	idx := newIndex(t, "Debian", "PyPI")
	var base, app int
	wrong := &memory{report: &component.LayerReport{Version: component.ReportVersion, DiffID: image.DigestOf([]byte("another"))}}
	if _, err := scan.Scan(t.Context(), sample(t, &base, &app), deps(idx, wrong)); err != nil || base+app != 2 {
		t.Errorf("a report on another layer was taken: %d layers read, %v", base+app, err)
	}
	elsewhere := sample(t, &base, &app)
	elsewhere.Layers[1].Open = func(context.Context) (io.ReadCloser, error) {
		return nil, fault.New(fault.Unsupported, "kept elsewhere")
	}
	empty := &memory{}
	ev, err := scan.Scan(t.Context(), elsewhere, deps(idx, empty))
	if err != nil || empty.kept != 1 || len(ev.Problems) != 1 {
		t.Errorf("%d reports kept, want that of the layer that was read; problems %v, %v", empty.kept, ev.Problems, err)
	}
}

// synced is an index whose feeds were synced at other times.
type synced struct {
	*advisory.Index
	times []time.Time
}

func (s synced) Snapshot(context.Context) (advisory.Snapshot, error) {
	out := advisory.Snapshot{ID: "x"}
	for _, at := range s.times {
		out.Feeds = append(out.Feeds, advisory.FeedState{Name: at.String(), Synced: at})
	}
	return out, nil
}

func TestTheOldestFeedSaysHowOldTheDatabaseIs(t *testing.T) {
	old := now.AddDate(0, -1, 0)
	for _, times := range [][]time.Time{{now, old}, {old, now}} {
		ev, err := scan.Rematch(t.Context(), verdict.Evidence{}, synced{newIndex(t), times}, now)
		if err != nil || !ev.SnapshotAt.Equal(old) {
			t.Errorf("synced at %v, %v", ev.SnapshotAt, err)
		}
	}
}

func TestRematchNeedsNoImage(t *testing.T) {
	idx := newIndex(t, "Debian")
	old, err := scan.Scan(t.Context(), sample(t, new(int), new(int)), deps(idx, nil))
	if err != nil {
		t.Fatal(err)
	}
	c := importFeed(t, idx, "PyPI")
	if !slices.ContainsFunc(finding.Keys(scan.Inventory(old)), func(k advisory.Key) bool { return slices.Contains(c.Keys, k) }) {
		t.Errorf("the import does not name the image's packages: %v", c.Keys)
	}
	renewed, err := scan.Rematch(t.Context(), old, idx, now)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := scan.Scan(t.Context(), sample(t, new(int), new(int)), deps(idx, nil))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(whole, renewed); d != "" || len(renewed.Findings) != 3 || renewed.Snapshot == old.Snapshot {
		t.Errorf("%d findings; %s", len(renewed.Findings), d)
	}
}

func report(seed string, size int) *component.LayerReport {
	r := &component.LayerReport{Version: component.ReportVersion, DiffID: image.DigestOf([]byte(seed))}
	for i := range size {
		r.Paths = append(r.Paths, string(image.DigestOf([]byte{byte(i), byte(i >> 8), seed[0]})))
	}
	return r
}

func TestFileCache(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "layers")
	cache := scan.FileCache(dir)
	a := report("a", 10)
	if _, ok := cache.Get(a.DiffID); ok {
		t.Error("an empty cache has it")
	}
	cache.Put(a)
	got, ok := cache.Get(a.DiffID)
	if !ok || cmp.Diff(a, got) != "" {
		t.Errorf("got %v, %v", got, ok)
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v, %v", info.Mode(), err)
	}
	for _, odd := range []image.Digest{"", "sha256:../../x", "sha256:ABC"} {
		if _, ok := cache.Get(odd); ok {
			t.Errorf("%q is in the cache", odd)
		}
	}
}

func TestBrokenCacheFileIsAMiss(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "layers")
	cache := scan.FileCache(dir)
	a, b := report("a", 10), report("b", 10)
	for name, spoil := range map[string]func(raw []byte) []byte{
		"cut":     func(raw []byte) []byte { return raw[:len(raw)/2] },
		"empty":   func([]byte) []byte { return nil },
		"garbage": func([]byte) []byte { return []byte("not zstd at all") },
		"another": func([]byte) []byte { cache.Put(b); return read(t, dir, b) },
	} {
		cache.Put(a)
		where := file(dir, a)
		if err := os.WriteFile(where, spoil(read(t, dir, a)), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, ok := cache.Get(a.DiffID); ok {
			t.Errorf("%s: a hit", name)
		}
		if _, err := os.Stat(where); !os.IsNotExist(err) {
			t.Errorf("%s: the file is still there", name)
		}
	}
}

func file(dir string, r *component.LayerReport) string {
	found, _ := filepath.Glob(filepath.Join(dir, strings.TrimPrefix(string(r.DiffID), "sha256:")+"*"))
	return found[0]
}

func read(t *testing.T, dir string, r *component.LayerReport) []byte {
	t.Helper()
	raw, err := os.ReadFile(file(dir, r))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestFileCacheIsBounded(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "layers")
	cache := scan.FileCache(dir).Limit(100_000)
	for i := range 10 {
		r := report(string(rune('a'+i)), 1000)
		cache.Put(r)
		at := now.Add(time.Duration(i) * time.Minute)
		if err := os.Chtimes(file(dir, r), at, at); err != nil {
			t.Fatal(err)
		}
	}
	var total int64
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, _ := e.Info()
		total += info.Size()
	}
	if total > 100_000 || len(entries) == 0 {
		t.Errorf("%d files of %d bytes", len(entries), total)
	}
	if _, ok := cache.Get(report("a", 1000).DiffID); ok {
		t.Error("the oldest is still there")
	}
}
