// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/store/sqlite"
)

// A feed as large as npm's without its malware reports, and the part of it that
// is new from one time to the next after a long while.
const (
	feedRecords = 60_000
	feedChanged = 10_000
)

// BenchmarkFeedImport takes in a feed of 60,000 records, then the same with 10,000
// changed, then the same again: first-s, changed-s, same-s. What a plain reading of
// the changed feed takes is the measure: ratio is changed-s to unzipping and hashing it.
func BenchmarkFeedImport(b *testing.B) {
	first, changed := syntheticFeed(b, 0), syntheticFeed(b, feedChanged)
	ctx := context.Background()
	for b.Loop() {
		st, err := sqlite.Open(ctx, filepath.Join(b.TempDir(), "advisories.db"), sqlite.Options{})
		if err != nil {
			b.Fatal(err)
		}
		idx := advisory.New(st)
		if err := idx.Migrate(ctx); err != nil {
			b.Fatal(err)
		}
		take := func(file []byte, added, changed int) float64 {
			start := time.Now()
			c, err := idx.Import(ctx, "npm", bytes.NewReader(file), int64(len(file)), nil)
			if err != nil || c.Added != added || c.Changed != changed {
				b.Fatalf("%+v, %v", c, err)
			}
			if err := idx.Settle(ctx, c); err != nil {
				b.Fatal(err)
			}
			return time.Since(start).Seconds()
		}
		b.ReportMetric(take(first, feedRecords, 0), "first-s")
		peak := watchHeap(b)
		again := take(changed, 0, feedChanged)
		b.ReportMetric(peak(), "peak-MiB")
		b.ReportMetric(again, "changed-s")
		b.ReportMetric(take(changed, 0, 0), "same-s")
		b.ReportMetric(again/readFeed(b, changed), "ratio")
		if err := st.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(0, "ns/op")
}

// syntheticFeed makes records about the size of real ones, the first of them changed.
func syntheticFeed(b *testing.B, changed int) []byte {
	b.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for i := range feedRecords {
		member, err := w.Create(fmt.Sprintf("GHSA-%05d.json", i))
		if err != nil {
			b.Fatal(err)
		}
		fix := 3
		if i < changed {
			fix = 4
		}
		if _, err := fmt.Fprintf(member, `{"schema_version":"1.7.0","id":"GHSA-%05d","modified":"2026-11-%02dT00:00:00Z","published":"2026-01-01T00:00:00Z",
			"aliases":["CVE-2026-%05d"],"summary":"A flaw in package %d","details":"%0400d","severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N"}],
			"affected":[{"package":{"ecosystem":"npm","name":"package-%d"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1.%d.0"}]}]}],
			"references":[{"type":"WEB","url":"https://example.com/%d"}]}`, i, fix, i, i, i, i%20_000, fix, i); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	return out.Bytes()
}

// readFeed unzips a feed and returns how many seconds that takes.
func readFeed(b *testing.B, file []byte) float64 {
	b.Helper()
	start := time.Now()
	r, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range r.File {
		in, err := f.Open()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, in); err != nil {
			b.Fatal(err)
		}
		_ = in.Close()
	}
	return time.Since(start).Seconds()
}

// watchHeap returns a function that tells, in MiB, how much the heap has grown at most.
func watchHeap(b *testing.B) func() float64 {
	b.Helper()
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	stop, peak := make(chan struct{}), make(chan uint64)
	go func() {
		look := time.NewTicker(20 * time.Millisecond)
		defer look.Stop()
		var most uint64
		for {
			select {
			case <-stop:
				peak <- most
				return
			case <-look.C:
				runtime.ReadMemStats(&now)
				most = max(most, now.HeapAlloc)
			}
		}
	}()
	return func() float64 {
		close(stop)
		return float64(max(<-peak, before.HeapAlloc)-before.HeapAlloc) / (1 << 20)
	}
}
