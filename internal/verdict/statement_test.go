// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package verdict_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/verdict"
	"github.com/goldkeep/goldkeep/internal/vex"
)

// TestADecisionIsAStatementAndBack: through both formats nothing of it is lost.
func TestADecisionIsAStatementAndBack(t *testing.T) {
	at := time.Date(2026, 11, 22, 8, 0, 0, int(3*time.Millisecond), time.UTC)
	image := "sha256:" + strings.Repeat("0a", 32)
	for name, want := range map[string]verdict.Triage{
		"image": {
			Finding: "CVE-1", Aliases: []string{"GHSA-1"}, Image: image, Packages: []string{"openssl", "pkg:npm/%40a/b@1", "a name/with: signs@?#%"},
			Status: verdict.NotAffected, Justification: "component_not_present", Reason: "line\n\ngoldkeep-author: nobody", Author: "ann b", Imported: "bob",
		},
		"golden":   {Finding: "CVE-1", Golden: "debian-base", Status: verdict.Accepted, Reason: "ok", Author: "ann"},
		"workload": {Finding: "CVE-1", Workload: "shop", Status: verdict.Fixing, Reason: "ok", Author: "ann"},
	} {
		want.ID, want.At, want.Expires = "0123", at, at.Add(time.Hour+time.Millisecond)
		doc := vex.Document{ID: "urn:uuid:00000000-0000-8000-8000-000000000000", Author: "x", Time: at, Statements: []vex.Statement{want.Statement()}}
		for format, write := range map[string]func(vex.Document) ([]byte, error){"openvex": vex.WriteOpenVEX, "cyclonedx": vex.WriteCycloneDX} {
			text, err := write(doc)
			if err != nil {
				t.Fatal(err)
			}
			read, err := vex.Parse(text)
			if err != nil {
				t.Fatalf("%s as %s: %v", name, format, err)
			}
			got, why := verdict.TriageOf(read.Statements[0])
			if len(got) != 1 || why != "" {
				t.Fatalf("%s as %s: %+v, %s", name, format, got, why)
			}
			if diff := cmp.Diff(want, got[0]); diff != "" {
				t.Errorf("%s as %s:\n%s", name, format, diff)
			}
		}
	}
	for status, s := range map[string]vex.Statement{
		"affected": {Status: vex.Affected}, "fixed": {Status: vex.Fixed}, "under_investigation": {Status: vex.UnderInvestigation},
		"without one of the justifications": {Status: vex.NotAffected, Text: "because"},
	} {
		s.Names, s.Products = []string{"CVE-1"}, []vex.Product{{Digests: []string{image}}}
		if got, why := verdict.TriageOf(s); len(got) > 0 || !strings.Contains(why, status) {
			t.Errorf("%s: %+v, %q", status, got, why)
		}
	}
}

// TestDecisionsTogether: a bundle of CVEs counts until each is decided about, and
// again from the exact moment the first of those decisions ends.
func TestDecisionsTogether(t *testing.T) {
	now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	ev := verdict.Evidence{
		Image: verdict.Image{ID: "sha256:x"}, Snapshot: "s", SnapshotAt: now,
		Findings: []finding.Finding{{
			ID: "DSA-1", Aliases: []string{"CVE-1", "CVE-2"}, Ecosystem: "Debian:12", Package: "p", Version: "1", Fixed: "2",
			PURL: "pkg:deb/debian/p@1", Score: 9.8, Severity: "critical", Since: now.AddDate(0, -1, 0),
		}},
	}
	decide := func(id, finding string, length time.Duration) verdict.Triage {
		return verdict.Triage{ID: id, Finding: finding, Status: verdict.NotAffected, Expires: now.Add(length)}
	}
	day, hour := 24*time.Hour, time.Hour
	for _, c := range []struct {
		name  string
		all   []verdict.Triage
		until time.Duration // 0: it counts
		by    string
	}{
		{"one of two", []verdict.Triage{decide("a", "CVE-1", day)}, 0, ""},
		{"the same twice", []verdict.Triage{decide("a", "CVE-1", day), decide("b", "CVE-1", hour)}, 0, ""},
		{"both", []verdict.Triage{decide("a", "CVE-1", day), decide("b", "CVE-2", hour)}, hour, "b"},
		{"both, one of them again for longer", []verdict.Triage{decide("a", "CVE-1", day), decide("b", "CVE-2", hour), decide("c", "CVE-2", 2*hour)}, 2 * hour, "c"},
		{"the advisory itself for longer", []verdict.Triage{decide("a", "CVE-1", hour), decide("b", "CVE-2", hour), decide("c", "DSA-1", 3*hour)}, 3 * hour, "c"},
		{"the advisory itself for less", []verdict.Triage{decide("a", "CVE-1", 2*hour), decide("b", "CVE-2", 2*hour), decide("c", "DSA-1", hour)}, 2 * hour, "b"},
		{"in another package", []verdict.Triage{{Finding: "DSA-1", Packages: []string{"q"}, Status: verdict.Accepted, Expires: now.Add(day)}}, 0, ""},
	} {
		v := verdict.Evaluate(verdict.Default(), withTriage(ev, c.all...), now)
		if v.Admitted() != (c.until > 0) {
			t.Errorf("%s: admitted %v", c.name, v.Admitted())
		}
		if c.until == 0 {
			continue
		}
		end := now.Add(c.until)
		if by, _ := withTriage(ev, c.all...).Excuse(ev.Findings[0], now); by.ID != c.by || !v.Until.Equal(end) {
			t.Errorf("%s: by %q until %s, want %q until %s", c.name, by.ID, v.Until, c.by, end)
		}
		if v := verdict.Evaluate(verdict.Default(), withTriage(ev, c.all...), end.Add(-time.Millisecond)); !v.Admitted() {
			t.Errorf("%s: it counts a millisecond too early", c.name)
		}
		if v := verdict.Evaluate(verdict.Default(), withTriage(ev, c.all...), end); v.Admitted() {
			t.Errorf("%s: it does not count at the moment", c.name)
		}
	}
}
