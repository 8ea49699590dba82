// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/goldkeep/goldkeep/internal/catalog"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/store/storetest"
	"github.com/goldkeep/goldkeep/internal/verdict"
	"github.com/goldkeep/goldkeep/internal/vex"
)

// line declares base <- middle <- app, and other beside them, each with one image
// of its name, and a workload that runs app in prod.
func line(t *testing.T, c *catalog.Catalog, st store.Store) {
	t.Helper()
	for name, from := range map[string]string{"base": "", "middle": "base", "app": "middle", "other": ""} {
		learn(t, c, name)
		must(c.PutGolden(t.Context(), catalog.Golden{Name: name, Owner: "o", From: from, Channels: map[string]image.Digest{"gold": digest(name)}}))(t)
	}
	run(t, c, st, catalog.Run{Workload: "shop", Environment: "prod", Golden: "app", Channel: "gold"})
}

func run(t *testing.T, c *catalog.Catalog, st store.Store, r catalog.Run) {
	t.Helper()
	ok(t, st.Update(t.Context(), func(tx store.Tx) error { return c.PutRun(t.Context(), tx, r) }))
}

// excused names, sorted, the images whose one flaw does not count in an environment.
func excused(t *testing.T, c *catalog.Catalog, st store.Store, environmentName string) []string {
	t.Helper()
	env := environment(t, strings.NewReplacer("{age: {max: 1h30m}}", "{vulnerabilities: {maxCVSS: 5}}", "prod", environmentName).Replace(prod))
	var names []string
	for _, name := range []string{"app", "base", "middle", "other"} {
		img := find(t, c, digest(name))
		img.Evidence.Findings = []finding.Finding{{ID: "CVE-1", Package: "p", Score: 9, Severity: "critical", Since: st.Now().Add(-time.Hour)}}
		img.Evidence.Snapshot, img.Evidence.SnapshotAt, img.Evidence.Gaps = "s", st.Now(), nil
		if must(c.Judge(t.Context(), img, env, st.Now()))(t).Admitted() {
			names = append(names, name)
		}
	}
	return names
}

// TestADecisionCountsWhereItIsForAndNowhereElse: other images, golden images,
// environments, flaws and packages are as they were.
func TestADecisionCountsWhereItIsForAndNowhereElse(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		c, ctx := open(t, st), t.Context()
		line(t, c, st)
		for _, s := range []struct {
			name       string
			edit       func(*verdict.Triage)
			prod, test []string
			concerned  []string
		}{
			{"an image", func(d *verdict.Triage) { d.Image = string(digest("middle manifest")) }, []string{"middle"}, []string{"middle"}, []string{"middle"}},
			{"a base", func(d *verdict.Triage) { d.Golden = "base" }, []string{"app", "base", "middle"}, []string{"app", "base", "middle"}, []string{"app", "base", "middle"}},
			{"a child", func(d *verdict.Triage) { d.Golden = "middle" }, []string{"app", "middle"}, []string{"app", "middle"}, []string{"app", "middle"}},
			{"a workload", func(d *verdict.Triage) { d.Workload = "shop" }, []string{"app"}, nil, []string{"app"}},
			{"its package", func(d *verdict.Triage) { d.Golden, d.Packages = "other", []string{"p"} }, []string{"other"}, []string{"other"}, []string{"other"}},
			{"another package", func(d *verdict.Triage) { d.Golden, d.Packages = "other", []string{"q"} }, nil, nil, []string{"other"}},
			{"another flaw", func(d *verdict.Triage) { d.Golden, d.Finding = "other", "CVE-2" }, nil, nil, []string{"other"}},
			{"a promise", func(d *verdict.Triage) { d.Golden, d.Status, d.Justification = "other", verdict.Fixing, "" }, nil, nil, []string{"other"}},
		} {
			made := must(c.PutTriage(ctx, triage(st, s.edit)))(t)
			if diff := cmp.Diff([]verdict.Triage{made}, must(c.Triages(ctx))(t)); diff != "" {
				t.Errorf("%s: kept:\n%s", s.name, diff)
			}
			if got := excused(t, c, st, "prod"); !slices.Equal(got, s.prod) {
				t.Errorf("%s: excused in prod %v, want %v", s.name, got, s.prod)
			}
			if got := excused(t, c, st, "test"); !slices.Equal(got, s.test) {
				t.Errorf("%s: excused in test %v, want %v", s.name, got, s.test)
			}
			var want []image.Digest
			for _, name := range s.concerned {
				want = append(want, digest(name))
			}
			slices.Sort(want)
			if got := must(c.Concerned(ctx, made))(t); !slices.Equal(got, want) {
				t.Errorf("%s: concerned %v", s.name, got)
			}
			must(c.DeleteTriage(ctx, made.ID))(t)
			if got := excused(t, c, st, "prod"); got != nil {
				t.Errorf("%s: taken back, and still excused: %v", s.name, got)
			}
		}
	})
}

// TestDecisionsFollowWhatIsDeclared: where a line or a workload is declared anew,
// the verdicts that rested on it are due in the same transaction.
func TestDecisionsFollowWhatIsDeclared(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		c, ctx := open(t, st), t.Context()
		line(t, c, st)
		env := environment(t, prod)
		ok(t, c.PutEnvironment(ctx, env, false))
		settle := func() {
			for _, p := range must(c.Due(ctx, "", st.Now().Add(time.Hour), 100))(t) {
				turn := must(c.Turn(ctx, p))(t)
				v := must(c.Judge(ctx, find(t, c, p.Image), env, st.Now()))(t)
				ok(t, c.Keep(ctx, v, turn))
			}
		}
		must(c.PutTriage(ctx, triage(st, func(d *verdict.Triage) { d.Golden = "base" })))(t)
		must(c.PutTriage(ctx, triage(st, func(d *verdict.Triage) { d.Workload = "shop" })))(t)
		golden := func(name, from string) func() {
			return func() {
				must(c.PutGolden(ctx, catalog.Golden{Name: name, Owner: "o", From: from, Channels: map[string]image.Digest{"gold": digest(name)}}))(t)
			}
		}
		for _, s := range []struct {
			name   string
			change func()
			due    []string
			prod   []string // excused afterwards
		}{
			{"nothing new", golden("middle", "base"), nil, []string{"app", "base", "middle"}},
			{"a link less", golden("middle", ""), []string{"app", "middle"}, []string{"app", "base"}}, // app: for the workload
			{"another line", golden("other", "base"), []string{"other"}, []string{"app", "base", "other"}},
			{"a workload moved", func() {
				run(t, c, st, catalog.Run{Workload: "shop", Environment: "test", Golden: "app", Channel: "gold"})
			}, []string{"app"}, []string{"base", "other"}},
			{"a workload with another image", func() {
				run(t, c, st, catalog.Run{Workload: "shop", Environment: "prod", Golden: "middle", Channel: "gold"})
			}, []string{"app", "middle"}, []string{"base", "middle", "other"}},
			{"no workload", func() { run(t, c, st, catalog.Run{Workload: "shop"}) }, []string{"middle"}, []string{"base", "other"}},
			{"a circle", func() { golden("base", "other")() }, []string{"base", "other"}, []string{"base", "other"}},
			{"no base", func() { must(c.DeleteGolden(ctx, "base"))(t) }, []string{"base", "other"}, []string{"other"}},
		} {
			settle()
			s.change()
			var due []string
			for _, p := range must(c.Due(ctx, "", st.Now(), 100))(t) {
				for _, name := range []string{"app", "base", "middle", "other"} {
					if p.Image == digest(name) {
						due = append(due, name)
					}
				}
			}
			slices.Sort(due)
			if !slices.Equal(due, s.due) {
				t.Errorf("%s: due %v, want %v", s.name, due, s.due)
			}
			if got := excused(t, c, st, "prod"); !slices.Equal(got, s.prod) {
				t.Errorf("%s: excused %v, want %v", s.name, got, s.prod)
			}
		}
	})
}

// TestExportAndImport: what one server writes another takes, and nothing is lost.
func TestExportAndImport(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		c, ctx := open(t, st), t.Context()
		line(t, c, st)
		var made []verdict.Triage
		for i, edit := range []func(*verdict.Triage){
			func(d *verdict.Triage) { d.Image, d.Aliases = string(digest("app")), []string{"GHSA-1"} },
			func(d *verdict.Triage) { d.Golden, d.Packages = "base", []string{"p", "pkg:npm/x"} },
			func(d *verdict.Triage) { d.Workload, d.Status, d.Justification = "shop", verdict.Accepted, "" },
		} {
			d := triage(st, edit)
			d.Author = fmt.Sprint("author ", i)
			made = append(made, must(c.PutTriage(ctx, d))(t))
		}
		for _, e := range []struct {
			export catalog.Export
			want   int
		}{
			{catalog.Export{By: "x"}, 3},
			{catalog.Export{By: "x", Golden: "app"}, 1},
			{catalog.Export{By: "x", Image: string(digest("app manifest"))}, 3},
			{catalog.Export{By: "x", Workload: "shop"}, 1},
		} {
			if doc := must(c.ExportTriage(ctx, e.export))(t); len(doc.Statements) != e.want {
				t.Errorf("%+v: %d statements, want %d", e.export, len(doc.Statements), e.want)
			}
		}
		doc := must(c.ExportTriage(ctx, catalog.Export{By: "x"}))(t)
		for format, write := range map[string]func(vex.Document) ([]byte, error){"openvex": vex.WriteOpenVEX, "cyclonedx": vex.WriteCycloneDX} {
			read := must(vex.Parse(must(write(doc))(t)))(t)
			for _, s := range must(c.ImportTriage(ctx, read, catalog.Import{By: "bob"}))(t) {
				if len(s.Triage) != 0 || s.Why != "is known already" {
					t.Errorf("%s: taken twice: %+v", format, s)
				}
			}
			for _, d := range must(c.Triages(ctx))(t) {
				must(c.DeleteTriage(ctx, d.ID))(t)
			}
			must(c.ImportTriage(ctx, read, catalog.Import{By: "bob"}))(t)
			got := must(c.Triages(ctx))(t)
			slices.Reverse(got)
			for i := range made {
				made[i].Imported = "bob"
			}
			if diff := cmp.Diff(made, got, cmpopts.IgnoreFields(verdict.Triage{}, "ID")); diff != "" {
				t.Errorf("%s: came back as:\n%s", format, diff)
			}
		}
	})
}

// TestForeignDocuments: of each statement it is told what became of it; a faulty
// one, or one without an end, has nothing taken.
func TestForeignDocuments(t *testing.T) {
	st := storetest.SQLite(t)
	c, ctx := open(t, st), t.Context()
	line(t, c, st)
	end := st.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
	statement := func(status vex.Status, products ...vex.Product) vex.Statement {
		s := vex.Statement{Names: []string{"CVE-1"}, Status: status, Products: products, Text: "because"}
		if status == vex.NotAffected {
			s.Justification = "component_not_present"
		}
		return s
	}
	index := vex.Product{Digests: []string{string(digest("both index"))}}
	unknown := vex.Product{ID: "pkg:oci/x@" + strings.Replace(string(digest("never")), ":", "%3A", 1)}
	npm := vex.Product{ID: "pkg:npm/x@1"}
	unjustified := statement(vex.NotAffected, index)
	unjustified.Justification = ""
	over := statement(vex.NotAffected, index)
	over.Own.Expires = st.Now().Add(-time.Millisecond)
	late := statement(vex.NotAffected, index)
	late.Own.Expires = st.Now().Add(800 * 24 * time.Hour)
	broken := statement(vex.NotAffected, index)
	broken.Products = append(broken.Products, vex.Product{Digests: []string{"sha256:../x"}})
	in := catalog.Import{By: "bob", Expires: end}
	forGolden := catalog.Import{By: "bob", Expires: end, Golden: "other"}
	for _, s := range []struct {
		name string
		s    vex.Statement
		in   catalog.Import
		made int
		why  string
		kind fault.Kind // 0 (internal): no error
	}{
		{"an index", statement(vex.NotAffected, index), in, 4, "", 0},
		{"affected", statement(vex.Affected, index), in, 0, "says affected", 0},
		{"fixed", statement(vex.Fixed, index), in, 0, "says fixed", 0},
		{"under investigation", statement(vex.UnderInvestigation, index), in, 0, "says under_investigation", 0},
		{"unjustified", unjustified, in, 0, "without one of the justifications", 0},
		{"over", over, in, 0, "ended at", 0},
		{"unknown image", statement(vex.NotAffected, unknown), in, 0, "is not known here", 0},
		{"unknown image, with a place", statement(vex.NotAffected, unknown), forGolden, 1, "", 0},
		{"unknown golden image", statement(vex.NotAffected, vex.Product{ID: "pkg:oci/nope?goldkeep_scope=golden"}), in, 0, "there is no golden image", 0},
		{"a package", statement(vex.NotAffected, npm), in, 0, "names no image", 0},
		{"a package, with a place", statement(vex.NotAffected, npm), forGolden, 1, "", 0},
		{"a package on the web, with a place", statement(vex.NotAffected, vex.Product{ID: "https://example.com/x"}), forGolden, 0, "names no image", 0},
		{"nothing, with a place", statement(vex.NotAffected), forGolden, 1, "", 0},
		{"two places", statement(vex.NotAffected), catalog.Import{By: "bob", Expires: end, Golden: "other", Workload: "shop"}, 0, "", fault.Invalid},
		{"no such place", statement(vex.NotAffected), catalog.Import{By: "bob", Expires: end, Golden: "nope"}, 0, "", fault.NotFound},
		{"no end", statement(vex.NotAffected, index), catalog.Import{By: "bob"}, 0, "", fault.Invalid},
		{"too late an end", late, in, 0, "", fault.Invalid},
		{"a faulty digest", broken, in, 0, "", fault.Invalid},
	} {
		good := statement(vex.NotAffected, vex.Product{Digests: []string{string(digest("other"))}})
		good.Names = []string{"CVE-9"}
		doc := &vex.Document{Author: "upstream", Statements: []vex.Statement{good, s.s}}
		doc.Statements[1].At = "statements[1]"
		tryIt := s.in
		tryIt.Try = true
		tried, tryErr := c.ImportTriage(ctx, doc, tryIt)
		if n := len(must(c.Triages(ctx))(t)); n != 0 {
			t.Fatalf("%s: a trial kept %d", s.name, n)
		}
		taken, err := c.ImportTriage(ctx, doc, s.in)
		kept := must(c.Triages(ctx))(t)
		for _, d := range kept {
			if d.Author != "upstream" || d.Imported != "bob" || d.Golden == "other" && strings.HasPrefix(s.name, "a package") && !slices.Equal(d.Packages, []string{npm.ID}) {
				t.Errorf("%s: kept %+v", s.name, d)
			}
			must(c.DeleteTriage(ctx, d.ID))(t)
		}
		if s.kind != 0 {
			if !fault.Is(err, s.kind) || tryErr == nil || len(kept) != 0 {
				t.Errorf("%s: %v (tried: %v), kept %d", s.name, err, tryErr, len(kept))
			}
			continue
		}
		if err != nil || len(taken) != 2 || len(tried) != 2 {
			t.Errorf("%s: %v", s.name, err)
			continue
		}
		if len(taken[1].Triage) != s.made || len(tried[1].Triage) != s.made || !strings.Contains(taken[1].Why, s.why) || (s.why == "") != (taken[1].Why == "") || len(kept) != s.made+1 {
			t.Errorf("%s: %+v, kept %d", s.name, taken[1], len(kept))
		}
	}
}

// TestTwoServersSeeOneDecision: what one keeps counts for the other at once.
func TestTwoServersSeeOneDecision(t *testing.T) {
	dsn := storetest.PostgresDSN(t)
	sa, sb := storetest.PostgresAt(t, dsn), storetest.PostgresAt(t, dsn)
	a, b := open(t, sa), open(t, sb)
	line(t, a, sa)
	made := must(a.PutTriage(t.Context(), triage(sa, func(d *verdict.Triage) { d.Workload = "shop" })))(t)
	if got := excused(t, b, sb, "prod"); !slices.Equal(got, []string{"app"}) {
		t.Errorf("the other server excuses %v", got)
	}
	must(b.DeleteTriage(t.Context(), made.ID))(t)
	if got := excused(t, a, sa, "prod"); got != nil {
		t.Errorf("taken back at the other server: %v", got)
	}
}

// TestLineagesAreFoundInOldDatabases: a database from before lineages were kept to be
// found from below is brought up to date when it is opened.
func TestLineagesAreFoundInOldDatabases(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		c, ctx := open(t, st), t.Context()
		for _, g := range []catalog.Golden{{Name: "debian"}, {Name: "python", From: "debian"}, {Name: "shop", From: "python"}} {
			g.Owner, g.Channels = "o", map[string]image.Digest{"gold": digest(g.Name)}
			must(c.PutGolden(ctx, g))(t)
			learn(t, c, g.Name)
		}
		concerned := func(c *catalog.Catalog, want int) {
			t.Helper()
			if got := must(c.Concerned(ctx, verdict.Triage{Golden: "debian"}))(t); len(got) != want {
				t.Errorf("a decision on debian concerns %d images, want %d", len(got), want)
			}
		}
		concerned(c, 3)
		ok(t, st.Update(ctx, func(tx store.Tx) error {
			_, err := tx.Exec(ctx, "DELETE FROM catalog_from")
			return err
		}))
		concerned(c, 1)
		concerned(open(t, st), 3)
		must(c.DeleteGolden(ctx, "python"))(t)
		concerned(c, 1)
	})
}
