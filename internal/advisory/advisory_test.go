// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package advisory_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/store/sqlite"
)

// newIndex returns an empty index in a file of its own.
func newIndex(t *testing.T, o sqlite.Options) *advisory.Index {
	t.Helper()
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "advisories.db"), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	idx := advisory.New(st)
	if err := idx.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return idx
}

// feed makes a zip as the OSV bucket has it, of records by ID.
func feed(t *testing.T, records map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for id, text := range records {
		f, err := w.Create(id + ".json")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// recorded returns the real records of testdata for a feed.
func recorded(t *testing.T, name string) map[string]string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name+".jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for line := range strings.Lines(string(raw)) {
		var r struct{ ID string }
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		out[r.ID] = line
	}
	return out
}

func mustImport(t *testing.T, idx *advisory.Index, name string, records map[string]string) advisory.Change {
	t.Helper()
	raw := feed(t, records)
	c, err := idx.Import(t.Context(), name, bytes.NewReader(raw), int64(len(raw)), nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func settle(t *testing.T, idx *advisory.Index, c advisory.Change) {
	t.Helper()
	if err := idx.Settle(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

func rec(id, pkg, more string) string {
	return `{"id":"` + id + `","modified":"2026-01-02T00:00:00Z","published":"2026-01-01T00:00:00Z",` + more +
		`"affected":[{"package":{"ecosystem":"npm","name":"` + pkg + `"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"2.0.0"}]}]}]}`
}

func keysOf(c advisory.Change) string {
	var out []string
	for _, k := range c.Keys {
		out = append(out, k.Ecosystem+"/"+k.Name)
	}
	return strings.Join(out, " ")
}

// clock is a wall clock and its boot clock, moved by the test.
type clock struct{ now time.Time }

func (c *clock) options() sqlite.Options {
	start := c.now
	return sqlite.Options{
		Wall: func() time.Time { return c.now },
		Boot: func() time.Duration { return time.Hour + c.now.Sub(start) },
	}
}
