// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"archive/zip"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/scan"
	"github.com/goldkeep/goldkeep/internal/store/sqlite"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

// BenchmarkCheckCold is the whole line of "goldkeep check" on an image none of
// whose layers is known: open it, read it, look everything up, judge. It is
// compared with merely decompressing and walking the layers. Aim: ratio 1.5.
func BenchmarkCheckCold(b *testing.B) {
	c := newCheck(b)
	for _, sample := range samples(b) {
		c.ref = sample.ref
		b.Run(sample.name, c.cold)
	}
}

func (c check) cold(b *testing.B) {
	img := openSample(b, c.ref)
	blobs := storedBlobs(b, img)
	var ratios, cpu, ours, bare []float64
	for range rounds {
		plain, plainCPU := timed(b, func() {
			for _, blob := range blobs {
				walkBare(b, blob)
			}
		})
		whole, wholeCPU := timed(b, func() { c.run(b, nil) })
		ratios, cpu = append(ratios, whole/plain), append(cpu, wholeCPU/plainCPU)
		ours, bare = append(ours, whole), append(bare, plain)
	}
	b.ReportMetric(median(ratios), "ratio")
	b.ReportMetric(median(cpu), "cpu-ratio")
	b.ReportMetric(median(ours), "ours-ms")
	b.ReportMetric(median(bare), "bare-ms")
	b.ReportMetric(0, "ns/op")
}

// timed is how many milliseconds fn took, and how many of processor time.
func timed(b *testing.B, fn func()) (ms, cpuMs float64) {
	start, before := time.Now(), cpuTime(b)
	fn()
	return time.Since(start).Seconds() * 1000, (cpuTime(b) - before).Seconds() * 1000
}

// BenchmarkCheckDerived is the same where all layers but the last are known from
// an image checked before. Aim: well under 100 ms.
func BenchmarkCheckDerived(b *testing.B) {
	c := newCheck(b)
	img := openSample(b, c.ref)
	c.measure(b, knowing(b, img, img.Layers[:len(img.Layers)-1]))
}

// BenchmarkCheckAgain is the same image once more: no layer is read.
func BenchmarkCheckAgain(b *testing.B) {
	c := newCheck(b)
	img := openSample(b, c.ref)
	c.measure(b, knowing(b, img, img.Layers))
}

// check is what "goldkeep check" has at hand.
type check struct {
	ref, db string
}

func newCheck(b *testing.B) check {
	b.Helper()
	c := check{ref: samplePath(b), db: filepath.Join(b.TempDir(), "advisories.db")}
	from := madeUpFeed(b)
	if data := os.Getenv("GOLDKEEP_DATA"); data != "" {
		from = data
	}
	c.withIndex(b, func(idx *advisory.Index) {
		if _, err := idx.Sync(b.Context(), from, advisory.SyncOptions{}); err != nil {
			b.Fatal(err)
		}
	})
	return c
}

// withIndex opens the database anew, as every run of the command does.
func (c check) withIndex(b *testing.B, fn func(*advisory.Index)) {
	b.Helper()
	st, err := sqlite.Open(b.Context(), c.db, sqlite.Options{Shared: true, Readers: 2})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	idx := advisory.New(st)
	if err := idx.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	fn(idx)
}

// run is one check, from the reference to the verdict.
func (c check) run(b *testing.B, layers scan.Cache) {
	b.Helper()
	now := time.Now()
	img, err := image.Open(b.Context(), c.ref, image.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = img.Close() }()
	c.withIndex(b, func(idx *advisory.Index) {
		found, err := scan.Scan(b.Context(), img, scan.Deps{Advisories: idx, Layers: layers, Now: func() time.Time { return now }})
		if err != nil {
			b.Fatal(err)
		}
		if judged := verdict.Evaluate(verdict.Default(), found, now); len(found.Findings) == 0 || judged.Admitted() {
			b.Fatal("the sample has findings, and is refused for them")
		}
	})
}

func (c check) measure(b *testing.B, layers scan.Cache) {
	var took, cpu []float64
	for range 3 * rounds {
		ms, cpuMs := timed(b, func() { c.run(b, layers) })
		took, cpu = append(took, ms), append(cpu, cpuMs)
	}
	b.ReportMetric(median(took), "ms")
	b.ReportMetric(median(cpu), "cpu-ms")
	b.ReportMetric(0, "ns/op")
}

// frozen is a cache that learns nothing, so that each run finds it as the first did.
type frozen struct{ scan.Cache }

func (frozen) Put(*component.LayerReport) {}

// knowing is a folder with the reports of some layers, as a check leaves it.
func knowing(b *testing.B, img *image.Image, layers []image.Layer) scan.Cache {
	b.Helper()
	reports, err := component.ReadLayers(context.Background(), img, image.Limits{}, nil)
	if err != nil {
		b.Fatal(err)
	}
	files := scan.FileCache(b.TempDir())
	for i := range layers {
		files.Put(reports[i])
	}
	return frozen{files}
}

// madeUpFeed is a feed with one advisory for each package of madeUpImage, and a
// good deal about packages it does not have.
func madeUpFeed(b *testing.B) string {
	b.Helper()
	dir := b.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "Debian"), 0o700); err != nil {
		b.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "Debian", "all.zip"))
	if err != nil {
		b.Fatal(err)
	}
	z := zip.NewWriter(f)
	for i := range 5000 {
		id := fmt.Sprintf("DEBIAN-CVE-2026-%d", 1000+i)
		w, err := z.Create(id + ".json")
		if err != nil {
			b.Fatal(err)
		}
		_, err = fmt.Fprintf(w, `{"id":%q,"modified":"2026-01-01T00:00:00Z","published":"2026-01-01T00:00:00Z","details":"made up",`+
			`"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],`+
			`"affected":[{"package":{"ecosystem":"Debian:12","name":"p%d"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"2.0"}]}]}]}`, id, i)
		if err != nil {
			b.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	return dir
}
