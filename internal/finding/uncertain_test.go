// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package finding_test

import (
	"testing"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/component"
)

// What the ground truth (hack/expected) does not decide or has no package for, with
// real records.

func TestNPMBoundaries(t *testing.T) {
	db := recorded(t, "npm")
	for _, c := range []struct{ name, version, want string }{
		{"handlebars", "4.4.5", "GHSA-2cf5-4w76-r9qv handlebars 4.4.5 -> 4.5.2"}, // fixed in 4.4.5 and in 4.3.0: two others
		{"handlebars", "4.5.2", ""},
		{"debug", "2.6.9", ""},
		{"debug", "2.6.8", "GHSA-gxpj-cx7g-858c debug 2.6.8 -> 2.6.9"},
		{"debug", "3.1.0", ""},
		{"debug", "3.2.6", "GHSA-gxpj-cx7g-858c debug 3.2.6 -> 3.2.7"},
		{"debug.js", "2.6.8", ""},                                                // another package
		{"Debug", "2.6.8", ""},                                                   // npm's names know upper and lower case
		{"node-fetch", "2.6.0", "GHSA-r683-j2x4-v87g node-fetch 2.6.0 -> 2.6.7"}, // two ranges: the nearest fix
		{"node-fetch", "2.6.7", "GHSA-r683-j2x4-v87g node-fetch 2.6.7 -> 3.1.1"}, // the wide range is the record's word, too
		{"node-fetch", "3.1.1", ""},
	} {
		found, gaps := match(t, db, lib("npm", c.name, c.version))
		if got := brief(found); got != c.want || len(gaps) > 0 {
			t.Errorf("%s %s: found %q, want %q; gaps %v", c.name, c.version, got, c.want, gaps)
		}
	}
}

// An id that a record only calls related is another flaw: its place in the list of
// exploited ones says nothing of this one.
func TestRelatedIsNotTheSameFlaw(t *testing.T) {
	db := parse(t,
		rec("PYSEC-1", `"aliases":["CVE-2026-1"],"related":["CVE-2026-2"],`, "PyPI", "p", below("ECOSYSTEM", "2.0")),
		rec("PYSEC-2", `"aliases":["CVE-2026-2"],`, "PyPI", "q", below("ECOSYSTEM", "2.0")))
	db.scores = map[string]advisory.Score{"CVE-2026-2": {Exploited: true, EPSS: 0.9}}
	found, _ := match(t, db, lib("PyPI", "p", "1.0"), lib("PyPI", "q", "1.0"))
	if len(found) != 2 || found[0].ID != "PYSEC-2" || !found[0].Exploited || found[1].Exploited || found[1].EPSS > 0 {
		t.Errorf("found %+v", found)
	}
	for _, alias := range found[1].Aliases {
		if alias == "CVE-2026-2" {
			t.Error("the related flaw is named as an alias")
		}
	}
}

// A commit after one release may hold its fix or not: its pseudo-version sorts
// after that release and before the next, and so it is judged.
func TestPseudoVersions(t *testing.T) {
	db := parse(t, rec("GO-1", "", "Go", "m", below("SEMVER", "1.2.4")))
	for version, want := range map[string]int{
		"v0.0.0-20220127200216-cd36cc0744dd":              1, // below every release
		"v1.2.4-0.20220127200216-cd36cc0744dd":            1, // before 1.2.4
		"v1.2.4-rc.1.0.20220127200216-cd36cc0744dd":       1,
		"v1.2.5-0.20220127200216-cd36cc0744dd":            0, // after 1.2.4
		"v2.0.0-20220127200216-cd36cc0744dd+incompatible": 0,
	} {
		if found, gaps := match(t, db, lib("Go", "m", version)); len(found) != want || len(gaps) > 0 {
			t.Errorf("%s: found %q, gaps %v", version, brief(found), gaps)
		}
	}
}

// The same package from the distribution and from an application: each has its own
// advisories, and only one of the two is hidden.
func TestOwnedAndFreeCopies(t *testing.T) {
	db := parse(t, rec("PYSEC-1", "", "PyPI", "certifi", below("ECOSYSTEM", "2023.7.22")),
		rec("DSA-1", "", "Debian:12", "python-certifi", below("ECOSYSTEM", "2022.9.24-2")))
	owned, free := lib("PyPI", "certifi", "2022.9.24"), lib("PyPI", "certifi", "2022.9.24")
	owned.Owner, owned.Path = "python3-certifi", "usr/lib/python3/dist-packages/certifi.egg-info"
	system := deb("Debian:12", "python3-certifi", "2022.9.24-1", "python-certifi", "2022.9.24-1")
	system.Maintainer = "Debian Python Team <team+python@tracker.debian.org>"
	found, _ := match(t, db, owned, free, system, component.Component{})
	want := "DSA-1 python-certifi 2022.9.24-1 -> 2022.9.24-2; PYSEC-1 certifi 2022.9.24 -> 2023.7.22; " +
		"PYSEC-1 certifi 2022.9.24 -> 2023.7.22 (owned by python3-certifi)"
	if got := brief(found); got != want {
		t.Errorf("found\n%s\nwant\n%s", got, want)
	}
}
