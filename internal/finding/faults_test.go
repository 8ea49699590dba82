// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package finding_test

import (
	"archive/zip"
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/store/sqlite"
)

// imported is a database that took the records in as feeds, one for each family of
// ecosystems, as the public bucket has them.
func imported(t *testing.T, lines ...string) *advisory.Index {
	t.Helper()
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "advisories.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	idx := advisory.New(st)
	if err := idx.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	feeds := map[string]map[string]string{}
	for i, r := range parse(t, lines...).all {
		feed := advisory.Family(r.Affected[0].Ecosystem)
		if feeds[feed] == nil {
			feeds[feed] = map[string]string{}
		}
		feeds[feed][r.ID] = lines[i]
	}
	for feed, records := range feeds {
		var file bytes.Buffer
		w := zip.NewWriter(&file)
		for id, text := range records {
			member, err := w.Create(id + ".json")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := member.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		c, err := idx.Import(t.Context(), feed, bytes.NewReader(file.Bytes()), int64(file.Len()), nil)
		if err != nil || c.Added != len(records) {
			t.Fatalf("import %s: %+v, %v", feed, c, err)
		}
	}
	return idx
}

// The eight faults of a well-known matcher, each once, through
// the import of feeds as they are published: see docs/design/finding.md.

func TestFault1SourceNameWithSourceVersion(t *testing.T) {
	db := imported(t, rec("DSA-1", "", "Debian:12", "util-linux", below("ECOSYSTEM", "2.38.1-5+deb12u9")))
	found, _ := match(t, db,
		deb("Debian:12", "bsdutils", "1:2.38.1-5+deb12u3", "util-linux", "2.38.1-5+deb12u3"),
		deb("Debian:12", "mount", "2.38.1-5+deb12u3", "util-linux", "2.38.1-5+deb12u3"))
	if got, want := brief(found), "DSA-1 util-linux 2.38.1-5+deb12u3 -> 2.38.1-5+deb12u9"; got != want {
		t.Fatalf("found %q, want %q", got, want)
	}
	if got := found[0].Binaries; !slices.Equal(got, []string{"bsdutils", "mount"}) {
		t.Errorf("binaries = %v", got)
	}
}

func TestFault2UbuntuLTS(t *testing.T) {
	db := imported(t,
		rec("USN-1", "", "Ubuntu:22.04:LTS", "openssl", below("ECOSYSTEM", "3.0.2-0ubuntu1.20")),
		rec("USN-2", "", "Ubuntu:Pro:22.04:LTS", "openssl", below("ECOSYSTEM", "3.0.2-0ubuntu1.21+esm1")),
		rec("USN-3", "", "Ubuntu:24.04:LTS", "openssl", below("ECOSYSTEM", "9")))
	found, gaps := match(t, db, deb("Ubuntu:22.04", "libssl3", "3.0.2-0ubuntu1.10", "openssl", "3.0.2-0ubuntu1.10"))
	if len(found) != 2 || found[0].ID != "USN-1" || found[1].ID != "USN-2" || len(gaps) > 0 {
		t.Errorf("found %q, gaps %v", brief(found), gaps)
	}
}

func TestFault3GitRangeIsSkippedNotTheEntry(t *testing.T) {
	git := `{"type":"GIT","repo":"https://x.test","events":[{"introduced":"0"},{"fixed":"0123456789abcdef"}]},`
	db := imported(t, rec("GHSA-1", "", "npm", "left", git+below("SEMVER", "2.0.0")), rec("GHSA-2", "", "npm", "right", strings.TrimSuffix(git, ",")))
	found, gaps := match(t, db, lib("npm", "left", "1.0.0"), lib("npm", "right", "1.0.0"))
	if got, want := brief(found), "GHSA-1 left 1.0.0 -> 2.0.0"; got != want {
		t.Errorf("found %q, want %q", got, want)
	}
	if len(gaps) != 1 || !strings.Contains(gaps[0].Reason, "GHSA-2") {
		t.Errorf("an entry of commits only cannot be judged: %v", gaps)
	}
}

func TestFault4UnsupportedEcosystemIsAGap(t *testing.T) {
	db := imported(t, rec("AZL-1", "", "Azure Linux:3", "openssl", below("ECOSYSTEM", "9")))
	for _, eco := range []string{"Photon OS:5.0", "Echo", "Root", "opam", "FreeBSD:14", "CleanStart", "", ":", "Debian"} {
		found, gaps := match(t, db, rpm(eco, "openssl", "1.0-1", "openssl", "1.0-1"))
		if len(found) > 0 || len(gaps) != 1 || !strings.Contains(gaps[0].Reason, "(1 package)") {
			t.Errorf("%q: found %q, gaps %v", eco, brief(found), gaps)
		}
	}
}

func TestFault5NoFeedIsSaidOnce(t *testing.T) {
	inv := component.Inventory{
		OS: component.OS{ID: "amzn", VersionID: "2023", Name: "Amazon Linux 2023"},
		Components: []component.Component{
			{PURL: "pkg:rpm/amzn/bash@5", Name: "bash", Version: "5"},
			{PURL: "pkg:rpm/amzn/curl@8", Name: "curl", Version: "8"},
			lib("npm", "left", "1.0.0"), lib("npm", "right", "1.0.0"),
		},
	}
	found, gaps, err := finding.Match(t.Context(), imported(t), inv, now)
	want := []finding.Gap{
		{Component: "npm", Reason: "no advisories for npm in the database (2 packages)"},
		{Component: "pkg:rpm/amzn", Reason: "no feed for Amazon Linux 2023 (pkg:rpm/amzn) (2 packages)"},
	}
	if d := cmp.Diff(want, gaps); err != nil || len(found) > 0 || d != "" {
		t.Errorf("%v %v %s", found, err, d)
	}
}

func TestFault6RPMByNameAndBySource(t *testing.T) {
	db := imported(t,
		rec("RLSA-1", "", "Rocky Linux:8", "openssl", below("ECOSYSTEM", "1:1.1.1k-9.el8_7")),
		rec("RLSA-2", "", "Rocky Linux:8", "openssl-libs", below("ECOSYSTEM", "1:1.1.1k-12.el8_9")),
		rec("RLSA-3", "", "Rocky Linux:8", "openssl", below("ECOSYSTEM", "1:1.1.1k-7.el8_6")))
	for _, source := range [][2]string{{"openssl", "1.1.1k-7.el8_6"}, {"openssl-1.1.1k-7.el8_6.src.rpm", ""}} {
		found, _ := match(t, db, rpm("Rocky Linux:8.9", "openssl-libs", "1:1.1.1k-7.el8_6", source[0], source[1]))
		want := "RLSA-1 openssl 1:1.1.1k-7.el8_6 -> 1:1.1.1k-9.el8_7; RLSA-2 openssl-libs 1:1.1.1k-7.el8_6 -> 1:1.1.1k-12.el8_9"
		if got := brief(found); got != want {
			t.Errorf("%v: found %q, want %q", source, got, want)
		}
	}
}

func TestFault7OneFlawOneFinding(t *testing.T) {
	go1 := below("SEMVER", "1.2.0")
	db := imported(t,
		rec("GHSA-aaaa", `"aliases":["CVE-2026-1"],`, "Go", "m", go1),
		rec("CVE-2026-1", ``, "Go", "m", go1),
		rec("GO-2026-1", `"aliases":["GHSA-aaaa"],"related":["GHSA-bbbb"],`, "Go", "m", below("SEMVER", "1.1.0")),
		rec("GHSA-bbbb", `"aliases":["CVE-2026-2"],`, "Go", "m", go1))
	if _, err := db.ImportKEV(t.Context(), strings.NewReader(`{"vulnerabilities":[{"cveID":"CVE-2026-1"}]}`)); err != nil {
		t.Fatal(err)
	}
	if _, err := db.ImportEPSS(t.Context(), strings.NewReader("cve,epss,percentile\nCVE-2026-1,0.5,0.9\nCVE-2026-2,0.25,0.8\n")); err != nil {
		t.Fatal(err)
	}
	found, _ := match(t, db, lib("Go", "m", "v1.0.0"))
	if got, want := brief(found), "GO-2026-1 m v1.0.0 -> 1.2.0; GHSA-bbbb m v1.0.0 -> 1.2.0"; got != want {
		t.Fatalf("found %q, want %q", got, want)
	}
	if f := found[0]; !slices.Equal(f.Aliases, []string{"CVE-2026-1", "GHSA-aaaa"}) || !f.Exploited || f.EPSS != 0.5 {
		t.Errorf("first = %+v", f)
	}
	if found[1].Exploited {
		t.Error("a related flaw is not the same flaw")
	}
}

func TestFault8WhatCannotBeComparedIsVisible(t *testing.T) {
	db := imported(t,
		rec("GHSA-1", "", "npm", "a", below("SEMVER", "2.0.0")),
		rec("GHSA-2", "", "npm", "b", below("SEMVER", "soon")),
		rec("DSA-1", "", "Debian:12", "c", below("ECOSYSTEM", "1.0")))
	for _, c := range []component.Component{
		lib("npm", "a", "latest"), lib("npm", "a", ""), lib("npm", "a", "(devel)"), lib("npm", "a", strings.Repeat("1", 300)), lib("npm", "b", "1.0.0"),
		deb("Debian:12", "c", "x:1", "c", "x:1"),
	} {
		found, gaps := match(t, db, c)
		if len(found) > 0 || len(gaps) != 1 || !strings.Contains(gaps[0].Reason, "not understood") {
			t.Errorf("%s %s: found %q, gaps %v", c.Name, c.Version, brief(found), gaps)
		}
	}
}
