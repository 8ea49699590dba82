// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package audit_test

import (
	"context"
	"path/filepath"
	"sync"
	"testing"

	"github.com/goldkeep/goldkeep/internal/audit"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// TestBeginWhileFilesChange: records on their way to disk while the file is put
// aside under them arrive all the same, each once, in one chain.
func TestBeginWhileFilesChange(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	f := open(t, audit.Options{Path: path, MaxSize: 3000})
	const writers, each = 8, 40
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for i := range each {
				onDisk, err := f.Begin(context.Background(), entry(i))
				if err != nil {
					t.Error(err)
					return
				}
				if i%3 == 0 {
					continue // nobody has to wait
				}
				if err := onDisk(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	last, err := f.Begin(t.Context(), entry(0))
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	if err := last(); err != nil {
		t.Errorf("closing brings what was written to disk: %v", err)
	}
	if res := sound(t, path, f.Head()); res.Records != writers*each+1 {
		t.Errorf("%d records", res.Records)
	}
	if _, err := f.Begin(t.Context(), entry(0)); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a closed log takes records: %v", err)
	}
}

func TestCancelledIsNotWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	f := open(t, audit.Options{Path: path})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Begin(ctx, entry(0)); err == nil || f.Head().Seq != 0 {
		t.Errorf("seq %d, %v", f.Head().Seq, err)
	}
}
