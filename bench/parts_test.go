// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/goldkeep/goldkeep/internal/audit"
	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/gate"
	"github.com/goldkeep/goldkeep/internal/policy"
)

// sixteen runs fn from 16 goroutines (8 for each of 2 processors) and reports how
// often a second it got through.
func sixteen(b *testing.B, fn func(n int64) error) {
	b.Helper()
	var n atomic.Int64
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := fn(n.Add(1)); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "per-s")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkAuditAppend writes records as the gate does: a read's, and a change's,
// which waits for the disk.
func BenchmarkAuditAppend(b *testing.B) {
	for _, c := range []struct {
		name string
		sync bool
	}{{"written", false}, {"on disk", true}} {
		b.Run(c.name, func(b *testing.B) {
			log, err := audit.Open(audit.Options{Path: filepath.Join(b.TempDir(), "audit.log"), Node: "bench"})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = log.Close() }()
			rec := audit.Record{Kind: "request", ID: "8a4c", Op: "read", Mount: "secret/", Actor: "accessor", Answer: "allow", Sealed: make([]byte, 200), Sync: c.sync}
			sixteen(b, func(int64) error { return log.Append(context.Background(), rec) })
		})
	}
}

// BenchmarkBarrier reads sealed entries that are in memory, and writes them
// durably.
func BenchmarkBarrier(b *testing.B) {
	space := newServer(b).barrier.Space().Sub("bench")
	ctx := context.Background()
	path := func(n int64) string { return fmt.Sprintf("entry/%d", n%100) }
	put := func(n int64) error {
		return space.Update(ctx, func(w barrier.Writer) error {
			return w.Put(ctx, barrier.Entry{Path: path(n), Value: make([]byte, 300)})
		})
	}
	for n := range int64(100) {
		if err := put(n); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("read", func(b *testing.B) {
		sixteen(b, func(n int64) error {
			return space.View(ctx, func(r barrier.Reader) error {
				_, err := r.Get(ctx, path(n))
				return err
			})
		})
	})
	b.Run("write", func(b *testing.B) { sixteen(b, put) })
}

// BenchmarkGateDenied is a request the policies do not allow, from the token to
// the audit record: what it costs to say no.
func BenchmarkGateDenied(b *testing.B) {
	s := newServer(b)
	req := &gate.Request{Op: policy.Read, Path: "sys/mounts", Token: s.token, Remote: "127.0.0.1"}
	sixteen(b, func(int64) error {
		if _, err := s.gate.Handle(context.Background(), req); !fault.Is(err, fault.Denied) {
			return fmt.Errorf("not denied: %w", err)
		}
		return nil
	})
}
