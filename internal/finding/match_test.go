// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package finding_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/finding"
)

// records is a database in memory: a plain list.
type records struct {
	all    []advisory.Record
	scores map[string]advisory.Score
}

func (r records) Lookup(_ context.Context, keys []advisory.Key) ([]advisory.Record, error) {
	var out []advisory.Record
	for _, rec := range r.all {
		if slices.ContainsFunc(rec.Keys(), func(k advisory.Key) bool { return slices.Contains(keys, k) }) {
			out = append(out, rec)
		}
	}
	return out, nil
}

func (r records) Scores(context.Context, []string) (map[string]advisory.Score, error) {
	return r.scores, nil
}

func (r records) Covered(context.Context) (map[string]bool, error) {
	out := map[string]bool{}
	for _, rec := range r.all {
		for _, k := range rec.Keys() {
			out[k.Ecosystem] = true
		}
	}
	return out, nil
}

// parse reads OSV records, one a line.
func parse(t testing.TB, lines ...string) records {
	t.Helper()
	var out records
	for _, line := range lines {
		r, err := advisory.Parse([]byte(line))
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		r.Learned = r.Published
		out.all = append(out.all, r)
	}
	return out
}

// recorded reads the real records kept for the tests.
func recorded(t testing.TB, feeds ...string) records {
	t.Helper()
	var lines []string
	for _, f := range feeds {
		raw, err := os.ReadFile("../advisory/testdata/" + f + ".jsonl")
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, strings.Split(strings.TrimSpace(string(raw)), "\n")...)
	}
	return parse(t, lines...)
}

// rec writes a record with one affected entry.
func rec(id, more, ecosystem, name, ranges string) string {
	return fmt.Sprintf(`{"id":%q,"modified":"2026-01-02T00:00:00Z","published":"2026-01-01T00:00:00Z",%s"affected":[{"package":{"ecosystem":%q,"name":%q},"ranges":[%s]}]}`,
		id, more, ecosystem, name, ranges)
}

func below(kind, fixed string) string {
	return fmt.Sprintf(`{"type":%q,"events":[{"introduced":"0"},{"fixed":%q}]}`, kind, fixed)
}

var now = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

func match(t testing.TB, db finding.Advisories, comps ...component.Component) ([]finding.Finding, []finding.Gap) {
	t.Helper()
	inv := component.Inventory{Components: comps}
	for _, c := range comps {
		if strings.HasPrefix(c.PURL, "pkg:deb") {
			inv.OS = component.OS{ID: "debian", Name: "Debian", Ecosystem: c.Ecosystem}
		}
	}
	found, gaps, err := finding.Match(t.Context(), db, inv, now)
	if err != nil {
		t.Fatal(err)
	}
	return found, gaps
}

// brief lists findings as "ID package version -> fix".
func brief(found []finding.Finding) string {
	var out []string
	for _, f := range found {
		s := f.ID + " " + f.Package + " " + f.Version
		if f.Fixed != "" {
			s += " -> " + f.Fixed
		}
		if f.Hidden != "" {
			s += " (" + f.Hidden + ")"
		}
		out = append(out, s)
	}
	return strings.Join(out, "; ")
}

func lib(ecosystem, name, version string) component.Component {
	return component.Component{PURL: "pkg:x/" + name + "@" + version, Ecosystem: ecosystem, Name: name, Version: version, Path: "app/" + name}
}

func deb(ecosystem, name, version, source, sourceVersion string) component.Component {
	return component.Component{
		PURL: "pkg:deb/debian/" + name + "@" + version, Ecosystem: ecosystem, Name: name, Version: version,
		Source: source, SourceVersion: sourceVersion, Path: "var/lib/dpkg/status",
	}
}

func rpm(ecosystem, name, version, source, sourceVersion string) component.Component {
	c := deb(ecosystem, name, version, source, sourceVersion)
	c.PURL = "pkg:rpm/some/" + name + "@" + version
	return c
}

func TestRanges(t *testing.T) {
	between := `{"type":"SEMVER","events":[{"fixed":"3.1.1"},{"introduced":"1.0.0"}]}`
	last := `{"type":"SEMVER","events":[{"introduced":"0"},{"last_affected":"2.0.0"}]}`
	again := `{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1.0.0"},{"introduced":"2.0.0"},{"fixed":"2.1.0"}]}`
	limit := `{"type":"SEMVER","events":[{"introduced":"0"},{"limit":"2.0.0"}]}`
	zero := `{"type":"SEMVER","events":[{"introduced":"0"}]}`
	for _, c := range []struct{ ecosystem, ranges, version, want string }{
		{"npm", between + "," + below("SEMVER", "2.6.7"), "2.6.0", "X p 2.6.0 -> 2.6.7"},
		{"npm", between, "0.9.0", ""},
		{"npm", between, "3.1.1", ""},
		{"npm", between, "3.1.1-rc.1", "X p 3.1.1-rc.1 -> 3.1.1"},
		{"npm", last, "2.0.0", "X p 2.0.0"},
		{"npm", last, "2.0.1", ""},
		{"npm", again, "0.5.0", "X p 0.5.0 -> 1.0.0"},
		{"npm", again, "1.5.0", ""},
		{"npm", again, "2.0.5", "X p 2.0.5 -> 2.1.0"},
		{"npm", limit, "1.9.9", "X p 1.9.9"},
		{"npm", limit, "2.0.0", ""},
		{"npm", zero, "0.0.0-alpha", "X p 0.0.0-alpha"},
		{"Go", below("SEMVER", "0.0.0-20220906165146-f3363e06e74c"), "v0.0.0-20220127200216-cd36cc0744dd", "X p v0.0.0-20220127200216-cd36cc0744dd -> 0.0.0-20220906165146-f3363e06e74c"},
		{"Go", below("SEMVER", "0.0.0-20220101000000-f3363e06e74c"), "v0.0.0-20220127200216-cd36cc0744dd", ""},
		{"Go", below("SEMVER", "3.2.1"), "v3.2.0+incompatible", "X p v3.2.0+incompatible -> 3.2.1"},
		{"Debian:12", below("ECOSYSTEM", "1.0-1"), "1.0~rc1-1", "X p 1.0~rc1-1 -> 1.0-1"},
		{"Debian:12", below("ECOSYSTEM", "1.0-1+deb12u1"), "1:0.5-1", ""},
		{"Alpine:v3.18", below("ECOSYSTEM", "1.2.3-r10"), "1.2.3-r9", "X p 1.2.3-r9 -> 1.2.3-r10"},
		{"PyPI", below("ECOSYSTEM", "2.0"), "2.0rc1", "X p 2.0rc1 -> 2.0"},
		{"PyPI", below("ECOSYSTEM", "2.0"), "2.0.post1", ""},
		{"Maven", below("ECOSYSTEM", "2.0"), "2.0-alpha", "X p 2.0-alpha -> 2.0"},
	} {
		db := parse(t, rec("X", "", c.ecosystem, "p", c.ranges))
		if found, gaps := match(t, db, lib(c.ecosystem, "p", c.version)); brief(found) != c.want || len(gaps) > 0 {
			t.Errorf("%s %s: found %q, want %q; gaps %v", c.ranges, c.version, brief(found), c.want, gaps)
		}
	}
}

func TestListOfVersions(t *testing.T) {
	db := parse(t, `{"id":"P","affected":[{"package":{"ecosystem":"PyPI","name":"Some.Thing"},"versions":["1.0","2.0.0"]}]}`)
	for version, want := range map[string]int{"1.0": 1, "1.0.0": 1, "2.0": 1, "1.1": 0} {
		if found, _ := match(t, db, lib("PyPI", "some_thing", version)); len(found) != want {
			t.Errorf("%s: %q", version, brief(found))
		}
	}
}

// TestOneRecordWithSeveralEntries hits by two of them: the nearest fix counts.
func TestOneRecordWithSeveralEntries(t *testing.T) {
	entry := func(fixed string) string {
		return `{"package":{"ecosystem":"npm","name":"a"},"ranges":[` + below("SEMVER", fixed) + `]}`
	}
	for _, fixes := range [][2]string{{"3.0.0", "2.5.0"}, {"2.5.0", "3.0.0"}} {
		db := parse(t, `{"id":"X","modified":"2026-01-02T00:00:00Z","affected":[`+entry(fixes[0])+`,`+entry(fixes[1])+`]}`)
		if found, _ := match(t, db, lib("npm", "a", "2.1.0")); brief(found) != "X a 2.1.0 -> 2.5.0" {
			t.Errorf("%v: got %q", fixes, brief(found))
		}
	}
}

// TestSinceIsTheFirstDayItCouldBeKnown holds the day grace runs from: that of the
// name of the flaw that was known first, and never a day to come.
func TestSinceIsTheFirstDayItCouldBeKnown(t *testing.T) {
	db := parse(t, rec("GHSA-1", `"aliases":["CVE-1"],`, "npm", "a", below("SEMVER", "2")), rec("CVE-1", "", "npm", "a", below("SEMVER", "2")), rec("X", "", "npm", "b", below("SEMVER", "2")))
	first := now.AddDate(0, -3, 0)
	db.all[1].Learned, db.all[2].Learned = first, now.AddDate(0, 1, 0)
	found, _ := match(t, db, lib("npm", "a", "1.0.0"), lib("npm", "b", "1.0.0"))
	since := map[string]time.Time{}
	for _, f := range found {
		since[f.ID] = f.Since
	}
	// GHSA-1 was learned when it was published, long before CVE-1.
	want := map[string]time.Time{"GHSA-1": time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), "X": now}
	if d := cmp.Diff(want, since); d != "" {
		t.Error(d)
	}
}

func TestWithdrawnIsNotMatched(t *testing.T) {
	db := parse(t, rec("GHSA-1", `"withdrawn":"2026-02-01T00:00:00Z",`, "Go", "m", below("SEMVER", "2.0.0")))
	if found, gaps := match(t, db, lib("Go", "m", "v1.0.0")); len(found)+len(gaps) > 0 {
		t.Errorf("found %q, gaps %v", brief(found), gaps)
	}
}

func TestMainModuleIsMatchedWhereItIsARelease(t *testing.T) {
	db := parse(t, rec("GHSA-1", "", "Go", "main", below("SEMVER", "2.0.0")))
	for version, want := range map[string]int{
		"(devel)": 0, "": 0, "v0.0.0-20260101000000-0123456789ab": 0, "v1.5.1-0.20260101000000-0123456789ab+dirty": 0, "v1.5.0+dirty": 0,
		"v1.5.0": 1, "v1.5.0-rc.1": 1, "v2.0.0": 0,
	} {
		main := lib("Go", "main", version)
		main.Main = true
		if found, gaps := match(t, db, main); len(found) != want || len(gaps) > 0 {
			t.Errorf("%s: found %q, gaps %v", version, brief(found), gaps)
		}
	}
}

func TestStandardLibrary(t *testing.T) {
	db := parse(t, rec("GO-1", "", "Go", "stdlib", `{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1.25.4"},{"introduced":"1.26.0-0"},{"fixed":"1.26.0-rc.2"}]}`))
	for version, want := range map[string]int{
		"go1.25.3": 1, "1.25.3": 1, "v1.25.4": 0, "go1.25.4": 0, "go1.26rc1": 1, "go1.26rc2": 0, "go1.26": 0, "go1.25.3 X:nocoverageredesign": 1,
	} {
		if found, gaps := match(t, db, lib("Go", "stdlib", version)); len(found) != want || len(gaps) > 0 {
			t.Errorf("%s: found %q, gaps %v", version, brief(found), gaps)
		}
	}
}

func TestLinked(t *testing.T) {
	named := func(id, path string) string {
		return strings.Replace(rec(id, "", "Go", "m", below("SEMVER", "2.0.0")), `"ranges"`, `"ecosystem_specific":{"imports":[{"path":"`+path+`"}]},"ranges"`, 1)
	}
	db := parse(t, named("GO-1", "m/in"), named("GO-2", "m/out"), rec("GO-3", "", "Go", "m", below("SEMVER", "2.0.0")))
	c := lib("Go", "m", "v1.0.0")
	c.Packages = []string{"m/in", "m/other"}
	found, _ := match(t, db, c)
	got := map[string]string{}
	for _, f := range found {
		got[f.ID] = "not known"
		if f.Linked != nil {
			got[f.ID] = fmt.Sprint(*f.Linked)
		}
	}
	if d := cmp.Diff(map[string]string{"GO-1": "true", "GO-2": "false", "GO-3": "not known"}, got); d != "" {
		t.Error(d)
	}
	if found[len(found)-1].ID != "GO-2" {
		t.Errorf("what is not linked in comes last: %q", brief(found))
	}
}

func TestHidden(t *testing.T) {
	urgency := func(id, name, word string) string {
		return strings.Replace(rec(id, "", "Debian:12", name, below("ECOSYSTEM", "2.0")), `"ranges"`, `"ecosystem_specific":{"urgency":"`+word+`"},"ranges"`, 1)
	}
	db := parse(t, urgency("DSA-1", "small", "unimportant"), urgency("DSA-2", "big", "high"), urgency("DSA-3", "linux", "high"),
		rec("PYSEC-1", "", "PyPI", "idna", below("ECOSYSTEM", "3.7")))
	owned, foreign, free := lib("PyPI", "idna", "3.3"), lib("PyPI", "idna", "3.2"), lib("PyPI", "idna", "3.1")
	owned.Owner, foreign.Owner = "python3-idna", "acme-idna"
	acme := deb("Debian:12", "acme-idna", "3.2-1", "acme-idna", "3.2-1")
	acme.Maintainer = "Acme Packages <deb@acme.example>"
	found, _ := match(t, db, owned, foreign, free, acme,
		deb("Debian:12", "small", "1.0", "small", "1.0"), deb("Debian:12", "big", "1.0", "big", "1.0"),
		deb("Debian:12", "linux-libc-dev", "1.0", "linux", "1.0"), deb("Debian:12", "python3-idna", "3.3-1", "python-idna", "3.3-1"))
	want := "DSA-2 big 1.0 -> 2.0; PYSEC-1 idna 3.1 -> 3.7; PYSEC-1 idna 3.2 -> 3.7; " +
		"DSA-3 linux 1.0 -> 2.0 (headers of the kernel; a container runs on the host's); PYSEC-1 idna 3.3 -> 3.7 (owned by python3-idna); " +
		"DSA-1 small 1.0 -> 2.0 (unimportant)"
	if got := brief(found); got != want {
		t.Errorf("found\n%s\nwant\n%s", got, want)
	}
}

func TestSharedUpstreamFlawsStaySeparate(t *testing.T) {
	db := parse(t,
		rec("DSA-1", `"upstream":["CVE-2026-1","CVE-2026-2"],`, "Debian:12", "p", below("ECOSYSTEM", "2.0")),
		rec("DSA-2", `"upstream":["CVE-2026-2"],`, "Debian:12", "p", below("ECOSYSTEM", "3.0")))
	db.scores = map[string]advisory.Score{"CVE-2026-1": {Exploited: true}}
	found, _ := match(t, db, deb("Debian:12", "p", "1.0", "p", "1.0"))
	if got, want := brief(found), "DSA-1 p 1.0 -> 2.0; DSA-2 p 1.0 -> 3.0"; got != want {
		t.Errorf("found %q, want %q", got, want)
	}
	if !found[0].Exploited || found[1].Exploited {
		t.Errorf("exploited: %v, %v", found[0].Exploited, found[1].Exploited)
	}
}

func TestSeverity(t *testing.T) {
	const critical, low = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", "CVSS:3.1/AV:L/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N"
	stated := func(vector string) string { return `"severity":[{"type":"CVSS_V3","score":"` + vector + `"}],` }
	db := parse(t,
		rec("GO-1", `"aliases":["CVE-2026-1"],`, "Go", "m", below("SEMVER", "2.0.0")),             // by its CVE
		rec("GO-2", `"aliases":["CVE-2026-1"],`+stated(low), "Go", "n", below("SEMVER", "2.0.0")), // by itself
		rec("GO-3", `"database_specific":{"severity":"MODERATE"},`, "Go", "o", below("SEMVER", "2.0.0")),
		rec("GO-4", "", "Go", "p", below("SEMVER", "2.0.0")))
	db.scores = map[string]advisory.Score{"CVE-2026-1": {Vectors: []string{low, critical}}}
	found, _ := match(t, db, lib("Go", "m", "v1.0.0"), lib("Go", "n", "v1.0.0"), lib("Go", "o", "v1.0.0"), lib("Go", "p", "v1.0.0"))
	var got []string
	for _, f := range found {
		got = append(got, fmt.Sprintf("%s %s %v", f.ID, f.Severity, f.Score))
	}
	if d := cmp.Diff([]string{"GO-1 critical 9.8", "GO-4 unknown 0", "GO-3 medium 0", "GO-2 low 1.8"}, got); d != "" {
		t.Error(d)
	}
}

func TestMissingPackageListIsAGap(t *testing.T) {
	inv := component.Inventory{OS: component.OS{ID: "debian", Name: "Debian 12", Ecosystem: "Debian:12"}}
	_, gaps, err := finding.Match(t.Context(), records{}, inv, now)
	if err != nil || len(gaps) != 1 || !strings.Contains(gaps[0].Reason, "no list of its packages") {
		t.Errorf("gaps %v, %v", gaps, err)
	}
}

// TestNothingFoundIsAGap is for a program that does not say what it was built from.
func TestNothingFoundIsAGap(t *testing.T) {
	_, gaps, err := finding.Match(t.Context(), records{}, component.Inventory{}, now)
	if err != nil || len(gaps) != 1 || gaps[0].Component != "image" {
		t.Errorf("gaps %v, %v", gaps, err)
	}
}

func TestOrderOfTheInventoryMakesNoDifference(t *testing.T) {
	db := recorded(t, "Debian", "PyPI", "Go", "npm")
	comps := []component.Component{
		deb("Debian:12", "libssl3", "3.0.19-1~deb12u2", "openssl", "3.0.19-1~deb12u2"), deb("Debian:12", "openssl", "3.0.20-1~deb12u2", "openssl", "3.0.20-1~deb12u2"),
		deb("Debian:12", "libkrb5-3", "1.20.1-2+deb12u3", "krb5", "1.20.1-2+deb12u3"), deb("Debian:12", "libk5crypto3", "1.20.1-2+deb12u3", "krb5", "1.20.1-2+deb12u3"),
		lib("PyPI", "Django", "2.2.10"), lib("PyPI", "urllib3", "1.24.1"), lib("npm", "node-fetch", "2.6.0"), lib("npm", "debug", "bad"),
		lib("Go", "golang.org/x/net", "v0.0.0-20220127200216-cd36cc0744dd"), lib("Ruby", "x", "1"),
	}
	db.scores = map[string]advisory.Score{"CVE-2021-44420": {EPSS: 0.02}, "CVE-2022-23833": {EPSS: 0.49}}
	wantFound, wantGaps := match(t, db, comps...)
	if len(wantFound) < 40 || len(wantGaps) == 0 {
		t.Fatalf("%d findings, %d gaps", len(wantFound), len(wantGaps))
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		random.Shuffle(len(comps), func(i, j int) { comps[i], comps[j] = comps[j], comps[i] })
		random.Shuffle(len(db.all), func(i, j int) { db.all[i], db.all[j] = db.all[j], db.all[i] })
		found, gaps := match(t, db, comps...)
		if d := cmp.Diff(wantFound, found) + cmp.Diff(wantGaps, gaps); d != "" {
			t.Fatal(d)
		}
	}
}

// FuzzVersions: whatever an image claims, comparing ends, and either judges or
// says that it cannot.
func FuzzVersions(f *testing.F) {
	for _, v := range []string{"1:2.38.1-5+deb12u3", "2.0rc1", "v0.0.0-20220127200216-cd36cc0744dd", "1.2.3-r9", "1.1.1k-7.el8_6", "", "latest", "1..2", "~", "1_p1"} {
		f.Add(v, "1.0")
		f.Add("1.0", v)
	}
	ecosystems := []string{"Debian:12", "Ubuntu:22.04", "Alpine:v3.18", "Rocky Linux:8", "PyPI", "npm", "Go", "crates.io", "Maven", "NuGet", "RubyGems", "Packagist", "Hackage", "CRAN", "Pub"}
	f.Fuzz(func(t *testing.T, installed, fixed string) {
		if strings.ContainsFunc(fixed, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) || fixed == "" {
			return
		}
		for _, eco := range ecosystems {
			db := parse(t, rec("X-1", "", eco, "p", below("ECOSYSTEM", fixed)))
			found, gaps := match(t, db, lib(eco, "p", installed))
			if len(found)+len(gaps) > 1 {
				t.Errorf("%s: %q below %q: %q and %v", eco, installed, fixed, brief(found), gaps)
			}
		}
	})
}

// TestListPrefilter: what a list names in another spelling is still found.
func TestListPrefilter(t *testing.T) {
	for _, c := range [][2]string{{"2022.9.24", "2022.09.24"}, {"1.0", "v1"}, {"1.0rc1", "1.0.0-rc.1"}, {"0", "0.0"}, {"1!2.0", "1!2"}, {"1.0.post1", "1.0-1"}} {
		db := parse(t, `{"id":"P","affected":[{"package":{"ecosystem":"PyPI","name":"p"},"versions":["`+c[1]+`"]}]}`)
		if found, _ := match(t, db, lib("PyPI", "p", c[0])); len(found) != 1 {
			t.Errorf("%s is %s", c[0], c[1])
		}
	}
}

// TestUnreadFilesAreGaps: what no feed can speak for is not covered, said once for
// each reason, and a rule may accept it.
func TestUnreadFilesAreGaps(t *testing.T) {
	inv := component.Inventory{Problems: []component.Problem{
		{Path: "app/b.jar", Reason: "not read", Uncovered: true},
		{Path: "app/a.jar", Reason: "not read", Uncovered: true},
		{Path: "opt/broken", Reason: "damaged", Fatal: true},
	}}
	_, gaps, err := finding.Match(t.Context(), records{}, inv, now)
	want := []finding.Gap{{Component: "app/a.jar and 1 more", Reason: "not read"}}
	if d := cmp.Diff(want, gaps); err != nil || d != "" {
		t.Errorf("%v %s", err, d)
	}
}
