// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package advisory_test

import (
	"archive/zip"
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store/sqlite"
)

func FuzzParseCVSS(f *testing.F) {
	f.Add([]byte(`{"CVE-2026-1":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}]}`))
	f.Add([]byte(`{"CVE-2026-1":[{"score":"AV:N/AC:L/Au:N/C:P/I:P/A:P"},{"score":"CVSS:4.0/"}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		scores, err := advisory.ParseCVSS(bytes.NewReader(raw))
		for cve, s := range scores {
			for _, v := range s.Vectors {
				if score, ok := advisory.BaseScore(v); err == nil && (!ok || score < 0 || score > 10) {
					t.Errorf("%s: %s has score %v", cve, v, score)
				}
			}
		}
	})
}

// fuzzed is an index for many rounds.
func fuzzed(f *testing.F) *advisory.Index {
	st, err := sqlite.Open(f.Context(), filepath.Join(f.TempDir(), "advisories.db"), sqlite.Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = st.Close() })
	idx := advisory.New(st)
	if err := idx.Migrate(f.Context()); err != nil {
		f.Fatal(err)
	}
	return idx
}

// FuzzImport: whatever a feed's file holds, it is taken or refused with a kind, and
// what was taken can be looked up.
func FuzzImport(f *testing.F) {
	idx := fuzzed(f)
	for _, name := range []string{"Go", "npm"} {
		raw, err := os.ReadFile("testdata/" + name + ".jsonl")
		if err != nil {
			f.Fatal(err)
		}
		line, _, _ := bytes.Cut(raw, []byte("\n"))
		var file bytes.Buffer
		w := zip.NewWriter(&file)
		member, err := w.CreateHeader(&zip.FileHeader{Name: "GO-2020-0003.json", Method: zip.Store}) // not packed: bytes mean something
		if err != nil {
			f.Fatal(err)
		}
		if _, err := member.Write(line); err != nil {
			f.Fatal(err)
		}
		if err := w.Close(); err != nil {
			f.Fatal(err)
		}
		f.Add(file.Bytes())
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := idx.Import(t.Context(), "Go", bytes.NewReader(raw), int64(len(raw)), nil)
		if err != nil {
			if fault.KindOf(err) == fault.Internal {
				t.Errorf("an error without a kind: %v", err)
			}
			return
		}
		if found, err := idx.Lookup(t.Context(), c.Keys); err != nil || c.Added > 0 && c.Records == 0 {
			t.Errorf("%+v: found %d, %v", c, len(found), err)
		}
	})
}

// FuzzArtifact: a file that says it is a packed folder of feeds is taken or refused.
func FuzzArtifact(f *testing.F) {
	dir := f.TempDir()
	for name, text := range map[string]string{"Go/all.zip": "no zip", "kev.json": "{}"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			f.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			f.Fatal(err)
		}
	}
	var packed bytes.Buffer
	if _, err := advisory.Pack(dir, &packed, packedAt); err != nil {
		f.Fatal(err)
	}
	f.Add(packed.Bytes())
	idx, file := fuzzed(f), filepath.Join(f.TempDir(), "feeds.oci.tar")
	f.Fuzz(func(t *testing.T, raw []byte) {
		if err := os.WriteFile(file, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := idx.Sync(t.Context(), file, advisory.SyncOptions{}); fault.KindOf(err) == fault.Internal && err != nil {
			t.Errorf("an error without a kind: %v", err)
		}
	})
}
