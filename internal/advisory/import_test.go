// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package advisory_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/store/sqlite"
)

func TestImportNamesExactlyWhatIsTouched(t *testing.T) {
	idx := newIndex(t, sqlite.Options{})
	records := map[string]string{
		"A-1": rec("A-1", "alpha", ""), "A-2": rec("A-2", "beta", ""), "A-3": rec("A-3", "gamma", ""), "A-4": rec("A-4", "delta", ""),
	}
	first := mustImport(t, idx, "npm", records)
	if first.Added != 4 || len(first.Keys) != 4 {
		t.Fatalf("first import: %+v", first)
	}
	settle(t, idx, first)

	if c := mustImport(t, idx, "npm", records); !c.Unchanged && c.Added+c.Changed+c.Removed > 0 || len(c.Keys) > 0 {
		t.Errorf("the same feed again: %+v", c)
	}

	next := maps.Clone(records)
	next["A-1"] = rec("A-1", "alpha", `"withdrawn":"2026-02-01T00:00:00Z",`) // withdrawn
	next["A-2"] = rec("A-2", "renamed", "")                                  // left one package for another
	delete(next, "A-3")                                                      // gone
	next["A-5"] = rec("A-5", "epsilon", "")                                  // new
	c := mustImport(t, idx, "npm", next)
	if got, want := keysOf(c), "npm/alpha npm/beta npm/epsilon npm/gamma npm/renamed"; got != want {
		t.Errorf("keys = %s\nwant   %s", got, want)
	}
	if c.Added != 1 || c.Changed != 2 || c.Removed != 1 || c.Records != 4 {
		t.Errorf("change = %+v", c)
	}
	for pkg, want := range map[string]int{"alpha": 1, "beta": 0, "renamed": 1, "gamma": 0, "delta": 1, "epsilon": 1} {
		found, err := idx.Lookup(t.Context(), []advisory.Key{{Ecosystem: "npm", Name: pkg}})
		if err != nil || len(found) != want {
			t.Errorf("%s: %d records, %v; want %d", pkg, len(found), err, want)
		}
	}
}

func TestKeysAreNamedAgainUntilSettled(t *testing.T) {
	idx := newIndex(t, sqlite.Options{})
	records := map[string]string{"A-1": rec("A-1", "alpha", "")}
	mustImport(t, idx, "npm", records)
	again := mustImport(t, idx, "npm", records)
	if !again.Unchanged || keysOf(again) != "npm/alpha" {
		t.Fatalf("a crash after the import would lose its keys: %+v", again)
	}
	settle(t, idx, again)
	if c := mustImport(t, idx, "npm", records); len(c.Keys) > 0 {
		t.Errorf("keys after settling: %s", keysOf(c))
	}
}

// failing makes the n-th write transaction fail, as a crash would.
type failing struct {
	store.Store
	left int
}

var errCrash = errors.New("crash")

func (f *failing) Update(ctx context.Context, fn func(store.Tx) error) error {
	if f.left--; f.left < 0 {
		return errCrash
	}
	return f.Store.Update(ctx, fn)
}

func TestInterruptedImportIsSimplyRunAgain(t *testing.T) {
	records := map[string]string{}
	for i := range 2500 { // three batches
		id := fmt.Sprintf("A-%d", i)
		records[id] = rec(id, fmt.Sprintf("p%d", i), "")
	}
	raw := feed(t, records)
	for crash := range 5 {
		st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "a.db"), sqlite.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := advisory.New(st).Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err = advisory.New(&failing{st, crash}).Import(t.Context(), "npm", bytes.NewReader(raw), int64(len(raw)), nil)
		if crash < 4 != errors.Is(err, errCrash) {
			t.Fatalf("crash %d: %v", crash, err)
		}
		idx := advisory.New(st)
		if snap, _ := idx.Snapshot(t.Context()); crash < 4 && snap.ID != "" {
			t.Errorf("crash %d: a half import counts as a snapshot", crash)
		}
		c, err := idx.Import(t.Context(), "npm", bytes.NewReader(raw), int64(len(raw)), nil)
		if err != nil || c.Records != 2500 || len(c.Keys) != 2500 {
			t.Errorf("crash %d: second run has %d records, %d keys, %v", crash, c.Records, len(c.Keys), err)
		}
		_ = st.Close()
	}
}

func TestBadRecordsAreCountedAndTheOldCopyStays(t *testing.T) {
	idx := newIndex(t, sqlite.Options{})
	records := map[string]string{"A-1": rec("A-1", "alpha", ""), "A-2": rec("A-2", "beta", "")}
	settle(t, idx, mustImport(t, idx, "npm", records))
	records["A-1"] = `{"id": 7}`
	records["A-3"] = rec("A-9", "beta", "")
	records["A-4"] = `{"id":"A-4","summary":"` + strings.Repeat("x", 5<<20) + `"}`
	c := mustImport(t, idx, "npm", records)
	if c.Bad.Count != 3 || len(c.Bad.First) != 3 || len(c.Keys) != 0 || c.Records != 2 {
		t.Errorf("change = %+v", c)
	}
	if found, err := idx.Lookup(t.Context(), []advisory.Key{{Ecosystem: "npm", Name: "alpha"}}); err != nil || len(found) != 1 {
		t.Errorf("the readable copy is lost: %v, %v", found, err)
	}
	snap, err := idx.Snapshot(t.Context())
	if err != nil || snap.Feeds[0].Bad.Count != 3 {
		t.Errorf("the snapshot does not tell that the feed is partial: %+v, %v", snap, err)
	}
}

func TestRefusedFeeds(t *testing.T) {
	idx := newIndex(t, sqlite.Options{})
	settle(t, idx, mustImport(t, idx, "npm", map[string]string{"A-1": rec("A-1", "alpha", "")}))
	for name, raw := range map[string][]byte{
		"no zip": []byte("hello"), "nothing": nil, "empty": feed(t, nil), "all bad": feed(t, map[string]string{"A-1": "{", "A-2": "["}),
	} {
		_, err := idx.Import(t.Context(), "npm", bytes.NewReader(raw), int64(len(raw)), nil)
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	whole := feed(t, map[string]string{"A-2": rec("A-2", "beta", "")})
	for _, name := range []string{"", "kev", "epss", "cvss", "a\nb"} {
		if _, err := idx.Import(t.Context(), name, bytes.NewReader(whole), int64(len(whole)), nil); !fault.Is(err, fault.Invalid) {
			t.Errorf("feed %q: %v", name, err)
		}
	}
	if found, _ := idx.Lookup(t.Context(), []advisory.Key{{Ecosystem: "npm", Name: "alpha"}}); len(found) != 1 {
		t.Error("a refused feed changed the index")
	}
}

func TestLearned(t *testing.T) {
	c := &clock{now: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)}
	idx := newIndex(t, c.options())
	records := map[string]string{"A-1": rec("A-1", "alpha", "")}
	mustImport(t, idx, "npm", records)
	c.now = c.now.Add(24 * time.Hour)
	records["A-1"] = rec("A-1", "alpha", `"summary":"changed",`)
	records["A-2"] = rec("A-2", "beta", "") // published long ago, but news to us
	mustImport(t, idx, "npm", records)
	for pkg, want := range map[string]time.Time{"alpha": time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), "beta": c.now} {
		found, err := idx.Lookup(t.Context(), []advisory.Key{{Ecosystem: "npm", Name: pkg}})
		if err != nil || len(found) != 1 || found[0].Learned.Sub(want).Abs() > time.Second {
			t.Errorf("%s: %+v, %v; want learned %v", pkg, found, err, want)
		}
	}
}

func TestScoresTouchTheRecordsThatNameTheCVE(t *testing.T) {
	idx := newIndex(t, sqlite.Options{})
	for _, name := range []string{"PyPI", "Debian", "Go"} {
		settle(t, idx, mustImport(t, idx, name, recorded(t, name)))
	}
	kev := func(cves ...string) string {
		var entries []string
		for _, c := range cves {
			entries = append(entries, `{"cveID":"`+c+`","dateAdded":"2026-08-01","dueDate":"2026-08-22","knownRansomwareCampaignUse":"Known"}`)
		}
		return `{"dateReleased":"2026-08-07T16:45:47.0648Z","vulnerabilities":[` + strings.Join(entries, ",") + `]}`
	}
	run := func(text, want string) {
		t.Helper()
		c, err := idx.ImportKEV(t.Context(), strings.NewReader(text))
		if err != nil || keysOf(c) != want {
			t.Errorf("keys = %q, %v; want %q", keysOf(c), err, want)
		}
		if of := c.Newest.Format(time.DateOnly); of != "2026-08-07" {
			t.Errorf("the catalogue is of %s, want the day it was released", of)
		}
		settle(t, idx, c)
	}
	run(kev("CVE-2020-1747", "CVE-1990-0001"), "PyPI/pyyaml")
	run(kev("CVE-2020-1747", "CVE-1990-0001", "CVE-2026-40355"), "Debian:12/krb5 Debian:13/krb5") // over "upstream"
	run(kev("CVE-1990-0001", "CVE-2026-40355"), "PyPI/pyyaml")                                    // gone again

	list, err := os.ReadFile("testdata/epss.csv")
	if err != nil {
		t.Fatal(err)
	}
	c, err := idx.ImportEPSS(t.Context(), bytes.NewReader(list))
	if of := c.Newest.Format(time.DateOnly); of != "2026-09-29" {
		t.Errorf("the list is of %s, want the day it names", of)
	}
	if err != nil || keysOf(c) != "PyPI/django" {
		t.Errorf("epss keys = %q, %v", keysOf(c), err)
	}
	scores, err := idx.Scores(t.Context(), []string{"CVE-2022-23833", "CVE-2026-40355", "CVE-2000-1"})
	if err != nil || len(scores) != 2 || scores["CVE-2022-23833"].EPSS != 0.49527 || !scores["CVE-2026-40355"].Exploited || !scores["CVE-2026-40355"].Ransomware {
		t.Errorf("scores = %+v, %v", scores, err)
	}
	if due := scores["CVE-2026-40355"].Due; due.Format(time.DateOnly) != "2026-08-22" {
		t.Errorf("due = %v", due)
	}
}

func TestGetFindsByIDAndAlias(t *testing.T) {
	idx := newIndex(t, sqlite.Options{})
	mustImport(t, idx, "PyPI", recorded(t, "PyPI"))
	for _, name := range []string{"PYSEC-2020-96", "CVE-2020-1747"} {
		found, err := idx.Get(t.Context(), name)
		if err != nil || len(found) != 1 || found[0].ID != "PYSEC-2020-96" {
			t.Errorf("%s: %v, %v", name, found, err)
		}
	}
	if _, err := idx.Get(t.Context(), "CVE-0"); !fault.Is(err, fault.NotFound) || fault.HintOf(err) == "" {
		t.Errorf("unknown: %v", err)
	}
}

func TestSnapshotAndCoverage(t *testing.T) {
	idx := newIndex(t, sqlite.Options{})
	if s, err := idx.Snapshot(t.Context()); err != nil || s.ID != "" {
		t.Errorf("empty: %+v, %v", s, err)
	}
	mustImport(t, idx, "Debian", recorded(t, "Debian"))
	one, _ := idx.Snapshot(t.Context())
	stray := rec("A-1", "alpha", "")
	mustImport(t, idx, "Maven", map[string]string{"A-1": stray})
	two, _ := idx.Snapshot(t.Context())
	if one.ID == "" || one.ID == two.ID || len(two.Feeds) != 2 {
		t.Errorf("snapshots %v, %v", one, two)
	}
	covered, err := idx.Covered(t.Context())
	if err != nil || !covered["Debian:12"] || covered["Debian:14"] || covered["npm"] {
		t.Errorf("covered = %v, %v: only an ecosystem's own feed covers it", covered, err)
	}
}
