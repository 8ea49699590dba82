// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/internal/catalog"
	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/manifest"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/store/storetest"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

func open(t *testing.T, st store.Store) *catalog.Catalog {
	t.Helper()
	return must(catalog.New(t.Context(), st))(t)
}

// must returns the value of a call that may not fail.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantKind(t testing.TB, err error, kind fault.Kind) {
	t.Helper()
	if !fault.Is(err, kind) {
		t.Errorf("error = %v, want one of the kind %v", err, kind)
	}
}

func digest(name string) image.Digest { return image.DigestOf([]byte(name)) }

// evidence is what is known of an image with some Go modules.
func evidence(name string, modules ...string) verdict.Evidence {
	ev := verdict.Evidence{Image: verdict.Image{ID: string(digest(name)), Name: name, Kind: "image", Created: time.Now().Add(-time.Hour)}}
	for _, m := range modules {
		ev.Components = append(ev.Components, component.Component{Ecosystem: "Go", Name: m, Version: "1.0.0", PURL: "pkg:golang/" + m + "@1.0.0"})
	}
	return ev
}

// learn has the catalog learn an image with two manifests, "NAME manifest" and
// "both index".
func learn(t *testing.T, c *catalog.Catalog, name string, modules ...string) {
	t.Helper()
	img := &image.Image{ID: digest(name), Name: name, Manifests: []image.Digest{digest(name + " manifest"), digest("both index")}}
	ok(t, c.Learn(t.Context(), img, evidence(name, modules...)))
}

func find(t *testing.T, c *catalog.Catalog, d image.Digest) *catalog.Image {
	t.Helper()
	return must(c.Find(t.Context(), d))(t)
}

const prod = `
apiVersion: goldkeep.dev/v1
kind: Environment
metadata: {name: prod, owner: sec}
spec:
  admit: [{age: {max: 1h30m}}, {expression: {rule: "size(image.labels) >= 0", message: labels}}]
`

func environment(t testing.TB, text string) verdict.Environment {
	t.Helper()
	docs := must(manifest.Parse("env.yaml", []byte(text)))(t)
	return *must(verdict.ParseEnvironment(docs[0]))(t)
}

func TestAnImageIsFoundByEveryDigest(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		c := open(t, st)
		_, err := c.Find(t.Context(), digest("a"))
		wantKind(t, err, fault.NotFound)
		learn(t, c, "a", "example.com/x")
		learn(t, c, "b")
		for _, d := range []image.Digest{digest("a"), digest("a manifest")} {
			got := find(t, c, d)
			if got.ID != digest("a") || got.State != catalog.Known || got.Evidence == nil || len(got.Evidence.Components) != 1 {
				t.Errorf("by %s found %+v", d, got)
			}
			if want := slices.Sorted(slices.Values([]image.Digest{digest("a manifest"), digest("both index")})); !slices.Equal(got.Digests, want) {
				t.Errorf("digests %v, want %v", got.Digests, want)
			}
		}
		want := slices.Sorted(slices.Values([]image.Digest{digest("a"), digest("b")}))
		if got := must(c.Known(t.Context(), digest("both index")))(t); !slices.Equal(got, want) {
			t.Errorf("the index is of %v, want %v", got, want)
		}
		first := must(c.Images(t.Context(), "", 1))(t)
		rest := must(c.Images(t.Context(), first[0].ID, 10))(t)
		if len(first) != 1 || len(rest) != 1 || first[0].ID != want[0] || rest[0].ID != want[1] {
			t.Errorf("pages: %v, %v", first, rest)
		}
	})
}

func TestWantedThenKnownAndAFailureKeepsEvidence(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		c, ctx := open(t, st), t.Context()
		ok(t, c.Want(ctx, digest("a"), "a\x1b[31m\nname", image.KindImage))
		if got := find(t, c, digest("a")); got.State != catalog.Wanted || strings.ContainsAny(got.Name, "\x1b\n") {
			t.Errorf("wanted: %+v", got)
		}
		ok(t, c.Fail(ctx, digest("a"), "a", "the layer is damaged"))
		if got := find(t, c, digest("a")); got.State != catalog.Failed || got.Error == "" || got.Evidence != nil {
			t.Errorf("failed: %+v", got)
		}
		learn(t, c, "a", "example.com/x")
		if got := find(t, c, digest("a")); got.State != catalog.Known || got.Error != "" {
			t.Errorf("known: %+v", got)
		}
		ok(t, c.Fail(ctx, digest("a"), "a", "the layer is damaged"))
		ok(t, c.Want(ctx, digest("a"), "other", image.KindArtifact))
		if got := find(t, c, digest("a")); got.State != catalog.Known || got.Evidence == nil || got.Error == "" || got.Kind != "image" {
			t.Errorf("after a failed scan: %+v", got)
		}
	})
}

func TestChannelsMove(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		c, ctx := open(t, st), t.Context()
		learn(t, c, "a")
		one := catalog.Golden{Name: "base", Owner: "team", Channels: map[string]image.Digest{"gold": digest("a manifest"), "silver": digest("b")}}
		moved := must(c.PutGolden(ctx, one))(t)
		if want := slices.Sorted(slices.Values([]image.Digest{digest("a manifest"), digest("b")})); !slices.Equal(moved, want) {
			t.Errorf("moved %v, want %v", moved, want)
		}
		stands := must(c.Channels(ctx, digest("a")))(t)
		if len(stands) != 1 || stands[0].Golden != "base" || stands[0].Name != "gold" || stands[0].Owner != "team" {
			t.Errorf("a stands in %+v, though the channel names its manifest", stands)
		}
		if moved = must(c.PutGolden(ctx, one))(t); len(moved) != 0 {
			t.Errorf("the same again moved %v", moved)
		}
		if again := must(c.Channels(ctx, digest("a")))(t); !again[0].Since.Equal(stands[0].Since) {
			t.Errorf("since changed from %v to %v", stands[0].Since, again[0].Since)
		}
		one.Channels = map[string]image.Digest{"gold": digest("c"), "silver": digest("b")}
		if moved = must(c.PutGolden(ctx, one))(t); !slices.Equal(moved, slices.Sorted(slices.Values([]image.Digest{digest("a manifest"), digest("c")}))) {
			t.Errorf("moved %v", moved)
		}
		standing := must(c.Standing(ctx, "base", "gold"))(t)
		if !slices.Equal(standing, []image.Digest{digest("c")}) {
			t.Errorf("gold is %v", standing)
		}
		if moved = must(c.DeleteGolden(ctx, "base"))(t); len(moved) != 2 {
			t.Errorf("deleting moved %v", moved)
		}
		_, err := c.Golden(ctx, "base")
		wantKind(t, err, fault.NotFound)
	})
}

func TestAVerdictIsDueAgainWheneverWhatItRestsOnChanges(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		c, ctx := open(t, st), t.Context()
		learn(t, c, "a", "example.com/x")
		learn(t, c, "nobody's", "example.com/x") // stands nowhere: judged only when asked
		gold := map[string]image.Digest{"gold": digest("a")}
		must(c.PutGolden(ctx, catalog.Golden{Name: "line", Owner: "o", Channels: gold}))(t)
		env := environment(t, prod)
		ok(t, c.PutEnvironment(ctx, env, false))
		pair := catalog.Pair{Image: digest("a"), Environment: "prod"}
		judge := func() (verdict.Verdict, int64) {
			turn := must(c.Turn(ctx, pair))(t)
			return must(c.Judge(ctx, find(t, c, digest("a")), env, st.Now()))(t), turn
		}
		due := func(at time.Time) []catalog.Pair { return must(c.Due(ctx, "", at, 10))(t) }
		settle := func() {
			t.Helper()
			v, turn := judge()
			ok(t, c.Keep(ctx, v, turn))
			if d := due(st.Now()); len(d) != 0 {
				t.Errorf("due after it was kept: %v", d)
			}
		}
		if d := due(st.Now()); !slices.Equal(d, []catalog.Pair{pair}) {
			t.Errorf("a new environment makes %v due", d)
		}
		if d := due(st.Now()); len(d) != 0 {
			t.Errorf("claimed twice: %v", d)
		}
		if d := due(st.Now().Add(time.Minute)); len(d) != 1 {
			t.Errorf("a claim that was not used is not due again: %v", d)
		}
		settle()
		kept := must(c.Verdicts(ctx, digest("a")))(t)
		if len(kept) != 1 || kept[0].Until.IsZero() || !kept[0].Admitted() {
			t.Fatalf("kept %+v", kept)
		}
		if d := due(kept[0].Until); len(d) != 1 {
			t.Errorf("the image ages: due %v", d)
		}
		settle()
		for what, change := range map[string]func() error{
			"evidence": func() error { learn(t, c, "a"); return nil },
			"rules":    func() error { return c.PutEnvironment(ctx, env, true) },
			"channel": func() error {
				_, err := c.PutGolden(ctx, catalog.Golden{Name: "base", Owner: "o", Channels: map[string]image.Digest{"gold": digest("a manifest")}})
				return err
			},
			"triage": func() error {
				_, err := c.PutTriage(ctx, triage(st, func(t *verdict.Triage) { t.Image = string(digest("a manifest")) }))
				return err
			},
		} {
			ok(t, change())
			if d := due(st.Now()); !slices.Equal(d, []catalog.Pair{pair}) {
				t.Errorf("%s changed: due %v", what, d)
			}
			settle()
		}
		// What was made from old evidence does not replace what came later.
		old, turn := judge()
		learn(t, c, "a", "example.com/z")
		ok(t, c.Keep(ctx, old, turn))
		if d := due(st.Now()); len(d) != 1 {
			t.Errorf("an outdated verdict was kept; due %v", d)
		}
		ok(t, c.DeleteEnvironment(ctx, "prod"))
		if left := must(c.Verdicts(ctx, digest("a")))(t); len(left) != 0 {
			t.Errorf("verdicts outlive their environment: %v", left)
		}
	})
}

func TestAnUnknownImageIsUnknown(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		c := open(t, st)
		ok(t, c.Want(t.Context(), digest("a"), "a", image.KindImage))
		v := must(c.Judge(t.Context(), find(t, c, digest("a")), environment(t, prod), st.Now()))(t)
		if v.Admit.Answer != verdict.Unknown || v.Admitted() {
			t.Errorf("verdict %+v", v.Admit)
		}
	})
}

// triage is a good decision, edited.
func triage(st store.Store, edit func(*verdict.Triage)) verdict.Triage {
	d := verdict.Triage{Finding: "CVE-1", Status: verdict.NotAffected, Justification: "vulnerable_code_not_in_execute_path", Reason: "not called", Author: "ann", Expires: st.Now().Add(time.Hour)}
	edit(&d)
	return d
}

func TestTriageScopeAndExpiry(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		c, ctx := open(t, st), t.Context()
		learn(t, c, "a")
		learn(t, c, "b")
		must(c.PutGolden(ctx, catalog.Golden{Name: "base", Owner: "o", Channels: map[string]image.Digest{"gold": digest("a"), "silver": digest("a")}}))(t)
		for name, c2 := range map[string]struct {
			edit func(*verdict.Triage)
			kind fault.Kind
		}{
			"no scope":     {func(*verdict.Triage) {}, fault.Invalid},
			"two scopes":   {func(d *verdict.Triage) { d.Image, d.Golden = string(digest("a")), "base" }, fault.Invalid},
			"no reason":    {func(d *verdict.Triage) { d.Image, d.Reason = string(digest("a")), "" }, fault.Invalid},
			"long reason":  {func(d *verdict.Triage) { d.Image, d.Reason = string(digest("a")), strings.Repeat("x", 1<<20) }, fault.TooLarge},
			"odd digest":   {func(d *verdict.Triage) { d.Image = "sha256:../../etc" }, fault.Invalid},
			"unseen image": {func(d *verdict.Triage) { d.Image = string(digest("never")) }, fault.NotFound},
			"two images":   {func(d *verdict.Triage) { d.Image = string(digest("both index")) }, fault.Invalid},
			"no golden":    {func(d *verdict.Triage) { d.Golden = "nope" }, fault.NotFound},
			"odd status":   {func(d *verdict.Triage) { d.Golden, d.Status = "base", "ignore" }, fault.Invalid},
			"past":         {func(d *verdict.Triage) { d.Golden, d.Expires = "base", st.Now().Add(-time.Second) }, fault.Invalid},
			"for ever":     {func(d *verdict.Triage) { d.Golden, d.Expires = "base", st.Now().Add(800*24*time.Hour) }, fault.Invalid},
		} {
			if _, err := c.PutTriage(ctx, triage(st, c2.edit)); !fault.Is(err, c2.kind) {
				t.Errorf("%s: %v, want %v", name, err, c2.kind)
			}
		}
		one := must(c.PutTriage(ctx, triage(st, func(d *verdict.Triage) { d.Image = string(digest("b manifest")) })))(t)
		if one.Image != string(digest("b")) {
			t.Errorf("the triage names %s, not the image's ID", one.Image)
		}
		all := must(c.PutTriage(ctx, triage(st, func(d *verdict.Triage) { d.Golden = "base" })))(t)
		if ids := must(c.Concerned(ctx, all))(t); !slices.Equal(ids, []image.Digest{digest("a")}) {
			t.Errorf("concerned: %v", ids)
		}
		if listed := must(c.Triages(ctx))(t); len(listed) != 2 {
			t.Errorf("listed %v", listed)
		}
		excused := func(name string, now time.Time) bool {
			img := find(t, c, digest(name))
			img.Evidence.Findings = []finding.Finding{{ID: "CVE-1", Score: 9, Severity: "critical", Since: st.Now().Add(-time.Hour)}}
			img.Evidence.Snapshot, img.Evidence.SnapshotAt, img.Evidence.Gaps = "s", st.Now(), nil
			env := environment(t, strings.Replace(prod, "{age: {max: 1h30m}}", "{vulnerabilities: {maxCVSS: 5}}", 1))
			return must(c.Judge(ctx, img, env, now))(t).Admitted()
		}
		if !excused("a", st.Now()) || !excused("b", st.Now()) {
			t.Error("a triage does not count")
		}
		if excused("a", st.Now().Add(2*time.Hour)) {
			t.Error("an expired triage counts")
		}
		must(c.DeleteTriage(ctx, one.ID))(t)
		if excused("b", st.Now()) || !excused("a", st.Now()) {
			t.Error("deleting one triage: the wrong one is gone")
		}
		_, err := c.DeleteTriage(ctx, one.ID)
		wantKind(t, err, fault.NotFound)
	})
}

func TestADamagedLayerRowIsAMiss(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		c, ctx := open(t, st), t.Context()
		report := &component.LayerReport{Version: component.ReportVersion, DiffID: digest("layer"), Paths: []string{"etc/", "etc/passwd"}}
		ok(t, c.Put(ctx, report.DiffID, report))
		got, found := c.Get(ctx, report.DiffID)
		if !found || !cmp.Equal(got, report) {
			t.Fatalf("kept %+v, got %+v", report, got)
		}
		var body []byte
		ok(t, st.View(ctx, func(tx store.Tx) error { return tx.QueryRow(ctx, "SELECT body FROM catalog_layer").Scan(&body) }))
		damage := func(with []byte) {
			ok(t, st.Update(ctx, func(tx store.Tx) error {
				_, err := tx.Exec(ctx, "UPDATE catalog_layer SET body = ?", with)
				return err
			}))
		}
		for at := range body {
			bad := bytes.Clone(body)
			bad[at] ^= 0x20
			damage(bad)
			if got, found := c.Get(ctx, report.DiffID); found && !cmp.Equal(got, report) {
				t.Errorf("byte %d damaged, got %+v", at, got)
			}
		}
		damage(body[:len(body)/2])
		if _, found := c.Get(ctx, report.DiffID); found {
			t.Error("half a row is a hit")
		}
		report.Version--
		ok(t, c.Put(ctx, report.DiffID, report))
		if _, found := c.Get(ctx, report.DiffID); found {
			t.Error("an outdated report is a hit")
		}
	})
}

func TestEnvironmentsCompileOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		c, ctx := open(t, st), t.Context()
		_, err := c.Environment(ctx, "prod")
		wantKind(t, err, fault.NotFound)
		ok(t, c.PutEnvironment(ctx, environment(t, prod), true))
		first, second := must(c.Environment(ctx, "prod"))(t), must(c.Environment(ctx, "prod"))(t)
		if first != second {
			t.Error("the same rules were compiled twice")
		}
		changed := environment(t, strings.Replace(prod, "1h30m", "2h", 1))
		ok(t, c.PutEnvironment(ctx, changed, false))
		if third := must(c.Environment(ctx, "prod"))(t); third == first {
			t.Error("changed rules were not compiled")
		}
		if protect := must(c.Protected(ctx, "prod"))(t); protect {
			t.Error("still protected")
		}
	})
}

// TestNoCredentialReachesTheStore plants credentials wherever an image can carry
// text, and looks for them in the database file.
func TestNoCredentialReachesTheStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "goldkeep.db")
	st := storetest.SQLiteAt(t, path)
	c, ctx := open(t, st), t.Context()
	secret := "glpat-" + "Zq7Wd93kLm2Xs8Rb4Tn6"
	ev := evidence("a")
	ev.Image.Name = "https://ci:" + secret + "@registry.example.com/a"
	ev.Image.Labels = map[string]string{"ci.token": secret, "team": "payments"}
	ok(t, c.Learn(ctx, &image.Image{ID: digest("a")}, ev))
	ok(t, c.Fail(ctx, digest("b"), secret, "GET https://x/?t="+secret+": 401"))
	ok(t, c.Want(ctx, digest("c"), secret, image.KindImage))
	labels := find(t, c, digest("a")).Evidence.Image.Labels
	if labels["ci.token"] != component.NotShown || labels["team"] != "payments" {
		t.Errorf("labels %v", labels)
	}
	ok(t, st.Close())
	for _, file := range must(filepath.Glob(path + "*"))(t) {
		if strings.Contains(string(must(os.ReadFile(file))(t)), secret) {
			t.Errorf("%s holds the credential", filepath.Base(file))
		}
	}
	// The rows that are packed do not show their text in the file: look inside.
	again := storetest.SQLiteAt(t, path)
	for _, name := range []string{"a", "b", "c"} {
		if img := find(t, open(t, again), digest(name)); strings.Contains(cmp.Diff(nil, img.Evidence)+img.Name+img.Error, secret) {
			t.Errorf("image %s holds the credential", name)
		}
	}
}

func TestParseGolden(t *testing.T) {
	parse := func(spec string) (*catalog.Golden, error) {
		docs := must(manifest.Parse("g.yaml", []byte("apiVersion: goldkeep.dev/v1\nkind: GoldenImage\nmetadata: {name: base, owner: team}\nspec:\n"+spec)))(t)
		return catalog.ParseGolden(docs[0])
	}
	g := must(parse("  channels:\n    gold: " + string(digest("a")) + "\n"))(t)
	if g.Channels["gold"] != digest("a") || g.Owner != "team" {
		t.Errorf("parsed %+v", g)
	}
	for spec, want := range map[string]string{
		"  channels:\n    gold: debian:12\n":                    "g.yaml:6: channel gold",
		"  channels:\n    Gold!: " + string(digest("a")) + "\n": "g.yaml:6: channel \"Gold!\"",
		"  from: base\n  channels: {}\n":                        "g.yaml:5: a golden image cannot be built from itself",
		"  chanels: {}\n":                                       "g.yaml:5: unknown field \"chanels\"",
	} {
		if _, err := parse(spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", spec, err, want)
		}
	}
}
