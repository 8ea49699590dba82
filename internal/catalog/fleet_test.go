// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"archive/zip"
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/catalog"
	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/scan"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/store/storetest"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

// flaw is a critical advisory on a package, with a fix.
func flaw(id, ecosystem, name, fixed string) string {
	return fmt.Sprintf(`{"id":%q,"modified":"2026-01-01T00:00:00Z","published":"2026-01-01T00:00:00Z","aliases":["CVE-%s"],
		"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
		"affected":[{"package":{"ecosystem":%q,"name":%q},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":%q}]}]}]}`,
		id, id, ecosystem, name, fixed)
}

// feed takes a feed in, and returns what it touched.
func feed(t *testing.T, st store.Store, name string, records map[string]string) []advisory.Key {
	t.Helper()
	var body bytes.Buffer
	z := zip.NewWriter(&body)
	for id, text := range records {
		f := must(z.Create(id + ".json"))(t)
		must(f.Write([]byte(text)))(t)
	}
	ok(t, z.Close())
	return must(advisory.New(st).Import(t.Context(), name, bytes.NewReader(body.Bytes()), int64(body.Len()), nil))(t).Keys
}

// layered is evidence on an image of a system layer, a middle layer and its own. The
// middle one installs one more package of a source the system has.
func layered(name, system, middle string, own ...string) verdict.Evidence {
	ev := verdict.Evidence{
		Image: verdict.Image{ID: string(digest(name)), Name: name, Kind: "image", Ports: []string{"80/tcp"}},
		OS:    component.OS{ID: "debian", Name: "Debian 12", Ecosystem: "Debian:12"}, Problems: []component.Problem{},
	}
	deb := func(layer int, from, name, source string) {
		ev.Components = append(ev.Components, component.Component{
			Ecosystem: "Debian:12", Name: name, Version: "1.0", Source: source, SourceVersion: "1.0", Path: "var/lib/dpkg/status",
			PURL: "pkg:deb/debian/" + name + "@1.0", Layer: digest(from), LayerIndex: layer,
		})
		ev.Facts = append(ev.Facts, component.Fact{Kind: component.Shell, Path: "/bin/" + name, Layer: digest(from), LayerIndex: layer})
	}
	deb(0, system, "libssl3", "openssl")
	deb(0, system, "bash", "bash")
	deb(1, middle, "openssl", "openssl")
	for _, o := range own {
		ev.Components = append(ev.Components, component.Component{
			Ecosystem: "Go", Name: o, Version: "1.0.0", PURL: "pkg:golang/" + o + "@1.0.0", Path: "app", Layer: digest(name + " layer"), LayerIndex: 2,
		})
	}
	ev.Facts = append(ev.Facts, component.Fact{Kind: component.RootUser, Path: "config"})
	return ev
}

func layersOf(name, system, middle string) []image.Layer {
	return []image.Layer{{DiffID: digest(system)}, {DiffID: digest(middle)}, {DiffID: digest(name + " layer")}}
}

func learnLayered(t *testing.T, c *catalog.Catalog, name, system, middle string, own ...string) verdict.Evidence {
	t.Helper()
	ev := layered(name, system, middle, own...)
	ok(t, c.Learn(t.Context(), &image.Image{ID: digest(name), Layers: layersOf(name, system, middle)}, ev))
	return ev
}

func count(t *testing.T, st store.Store, table string) (n int) {
	t.Helper()
	ok(t, st.View(t.Context(), func(tx store.Tx) error { return tx.QueryRow(t.Context(), "SELECT COUNT(*) FROM "+table).Scan(&n) }))
	return n
}

func TestWhatLayersShareIsKeptOnceAndFoundAsAWhole(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		c, idx := open(t, st), advisory.New(st)
		feed(t, st, "Debian", map[string]string{"DSA-1": flaw("DSA-1", "Debian:12", "openssl", "1.1"), "DSA-2": flaw("DSA-2", "Debian:12", "bash", "0.5")})
		feed(t, st, "Go", map[string]string{"GO-1": flaw("GO-1", "Go", "example.com/x", "1.1.0")})
		told := map[string]verdict.Evidence{
			"one": learnLayered(t, c, "one", "sys", "mid", "example.com/x", "example.com/y"),
			"two": learnLayered(t, c, "two", "sys", "mid", "example.com/x", "example.com/y"), // rebuilt: another layer, the same packages
			"six": learnLayered(t, c, "six", "sys", "mid", "example.com/z"),
		}
		if n := count(t, st, "fleet_part"); n != 4 {
			t.Errorf("%d parts are kept, want 4: the system's, the middle's and two of their own", n)
		}
		for name, ev := range told {
			want := must(scan.Rematch(t.Context(), ev, idx, st.Now()))(t)
			got := *find(t, c, digest(name)).Evidence
			sortFacts := cmpopts.SortSlices(func(a, b component.Fact) bool { return a.Path < b.Path })
			sortComponents := cmpopts.SortSlices(func(a, b component.Component) bool { return a.PURL < b.PURL })
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), sortFacts, sortComponents, cmpopts.EquateApproxTime(0)); diff != "" {
				t.Errorf("%s (-scanned +kept):\n%s", name, diff)
			}
		}
		if f := find(t, c, digest("one")).Evidence.Findings; len(f) != 2 || len(f[0].Binaries)+len(f[1].Binaries) != 2 {
			t.Errorf("findings %+v", f)
		}
	})
}

// dueNow are the images with a verdict that is due.
func dueNow(t *testing.T, c *catalog.Catalog, st store.Store) []image.Digest {
	t.Helper()
	var ids []image.Digest
	for _, p := range must(c.Due(t.Context(), "", st.Now(), 100))(t) {
		ids = append(ids, p.Image)
	}
	slices.Sort(ids)
	return ids
}

// judgeAll makes all that is due, as the loop does.
func judgeAll(t *testing.T, c *catalog.Catalog, st store.Store) {
	t.Helper()
	judged := must(c.JudgeAll(t.Context(), must(c.Due(t.Context(), "", st.Now(), 100))(t), st.Now()))(t)
	ok(t, c.KeepAll(t.Context(), judged))
}

func TestAChangedAdvisoryConcernsTheImagesItHitsAlone(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		c, ctx := open(t, st), t.Context()
		feed(t, st, "Debian", map[string]string{"DSA-0": flaw("DSA-0", "Debian:12", "other", "1.1")})
		feed(t, st, "Go", map[string]string{"GO-0": flaw("GO-0", "Go", "example.com/other", "1.1.0")})
		channels := map[string]image.Digest{}
		for name, module := range map[string]string{"a": "example.com/x", "b": "example.com/y", "c": "example.com/z"} {
			learnLayered(t, c, name, "sys "+name, "mid", module)
			channels[name] = digest(name)
		}
		learnLayered(t, c, "d", "sys d", "mid", "example.com/x") // like a, and stands nowhere
		must(c.PutGolden(ctx, catalog.Golden{Name: "line", Owner: "o", Channels: channels}))(t)
		ok(t, c.PutEnvironment(ctx, environment(t, prod), false))
		judgeAll(t, c, st)
		if d := dueNow(t, c, st); len(d) != 0 {
			t.Fatalf("due before anything changed: %v", d)
		}

		keys := feed(t, st, "Go", map[string]string{"GO-1": flaw("GO-1", "Go", "example.com/x", "1.1.0"), "GO-2": flaw("GO-2", "Go", "example.com/y", "0.9.0")})
		r := must(c.Refresh(ctx, keys))(t)
		if r.Matched != 2 || r.Changed != 1 || r.Images != 2 {
			t.Errorf("refreshed %+v, want 2 parts looked at, 1 changed, 2 images", r)
		}
		if d := dueNow(t, c, st); !slices.Equal(d, []image.Digest{digest("a")}) {
			t.Errorf("due: %v, want a alone: b's version is fixed, d stands nowhere", d)
		}
		if r := must(c.Refresh(ctx, keys))(t); r.Changed != 0 {
			t.Errorf("the same again changed %+v", r)
		}
		for name, want := range map[string]int{"a": 1, "b": 0, "d": 1} {
			if got := find(t, c, digest(name)).Evidence.Findings; len(got) != want {
				t.Errorf("%s has findings %+v, want %d", name, got, want)
			}
		}
		// The advisory is taken back.
		keys = feed(t, st, "Go", map[string]string{"GO-2": flaw("GO-2", "Go", "example.com/y", "0.9.0")})
		if r := must(c.Refresh(ctx, keys))(t); r.Changed != 1 || len(find(t, c, digest("a")).Evidence.Findings) != 0 {
			t.Errorf("taken back: %+v", r)
		}
	})
}

func TestAFeedForWhatNobodyCouldSpeakForIsNoticed(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		c := open(t, st)
		feed(t, st, "Debian", map[string]string{"DSA-0": flaw("DSA-0", "Debian:12", "other", "1.1")})
		learnLayered(t, c, "a", "sys", "mid", "example.com/x")
		if gaps := find(t, c, digest("a")).Evidence.Gaps; len(gaps) != 1 || gaps[0].Component != "Go" {
			t.Fatalf("gaps %+v", gaps)
		}
		keys := feed(t, st, "Go", map[string]string{"GO-0": flaw("GO-0", "Go", "example.com/other", "1.1.0")})
		if r := must(c.Refresh(t.Context(), keys))(t); r.Changed != 1 {
			t.Errorf("refreshed %+v", r)
		}
		if gaps := find(t, c, digest("a")).Evidence.Gaps; len(gaps) != 0 {
			t.Errorf("gaps %+v", gaps)
		}
	})
}

func TestMatchedAgainByTwoNodesAtOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		const many = 300 // more than one goroutine matches at once
		one, two := open(t, st), open(t, st)
		for i := range many {
			learnLayered(t, one, fmt.Sprint("image", i), fmt.Sprint("sys", i), "mid", fmt.Sprint("example.com/", i))
		}
		records := map[string]string{"DSA-1": flaw("DSA-1", "Debian:12", "openssl", "1.1")}
		for i := range many {
			id := fmt.Sprint("GO-", i)
			records[id] = flaw(id, "Go", fmt.Sprint("example.com/", i), "1.1.0")
		}
		keys := feed(t, st, "Go", records)
		done := make(chan error, 2)
		for _, c := range []*catalog.Catalog{one, two} {
			go func() {
				_, err := c.Refresh(t.Context(), keys)
				done <- err
			}()
		}
		ok(t, <-done)
		ok(t, <-done)
		for i := range many {
			for _, c := range []*catalog.Catalog{one, two} {
				ev := find(t, c, digest(fmt.Sprint("image", i))).Evidence
				want, _, err := finding.Match(t.Context(), advisory.New(st), scan.Inventory(*ev), st.Now())
				ok(t, err)
				if len(ev.Findings) != 2 || len(want) != 2 {
					t.Fatalf("image %d: findings %+v, want %+v", i, ev.Findings, want)
				}
			}
		}
	})
}

// TestJudgedTogetherAsAlone: what a batch of judgements has in common is read once, and
// every verdict is the one that is made of the image alone, byte for byte; after a feed
// has changed too, and where somebody has decided on a finding.
func TestJudgedTogetherAsAlone(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		c, ctx := open(t, st), t.Context()
		feed(t, st, "Debian", map[string]string{"DSA-1": flaw("DSA-1", "Debian:12", "openssl", "1.1")})
		feed(t, st, "Go", map[string]string{"GO-1": flaw("GO-1", "Go", "example.com/x", "1.1.0")})
		channels := map[string]image.Digest{}
		for i := range 6 {
			name := fmt.Sprint("app", i)
			learnLayered(t, c, name, fmt.Sprint("sys", i%2), "mid", "example.com/x", fmt.Sprint("example.com/", i%3))
			channels[name] = digest(name)
		}
		learnLayered(t, c, "nowhere", "sys0", "mid", "example.com/x")
		must(c.PutGolden(ctx, catalog.Golden{Name: "line", Owner: "o", Contact: "#o", Channels: channels}))(t)
		must(c.PutGolden(ctx, catalog.Golden{Name: "a-second", Owner: "p", Contact: "#p", Channels: map[string]image.Digest{"gold": digest("app3")}}))(t)
		names := []string{"prod", "signed"}
		ok(t, c.PutEnvironment(ctx, environment(t, "apiVersion: goldkeep.dev/v1\nkind: Environment\nmetadata: {name: prod, owner: sec}\nspec: {admit: [{vulnerabilities: {maxCVSS: 6.9}}, {channel: gold}, {hygiene: {root: deny}}]}"), false))
		ok(t, c.PutEnvironment(ctx, environment(t, "apiVersion: goldkeep.dev/v1\nkind: Environment\nmetadata: {name: signed, owner: sec}\nspec: {admit: [{signedBy: release}, {vulnerabilities: {maxCVSS: 6.9}}]}"), false))
		var pairs []catalog.Pair
		for _, name := range []string{"app0", "app1", "app2", "app3", "app4", "app5", "nowhere"} {
			for _, env := range names {
				pairs = append(pairs, catalog.Pair{Image: digest(name), Environment: env})
			}
		}
		now := st.Now()
		same := func(when string) {
			t.Helper()
			for _, j := range must(c.JudgeAll(ctx, pairs, now))(t) {
				env := must(c.Environment(ctx, j.Environment))(t)
				want := must(c.Judge(ctx, find(t, c, j.Image), *env, now))(t)
				if diff := cmp.Diff(want, *j.Verdict); diff != "" {
					t.Errorf("%s: %s in %s (-alone +together):\n%s", when, j.Image, j.Environment, diff)
				}
			}
		}
		same("at first")
		keys := feed(t, st, "Go", map[string]string{"GO-1": flaw("GO-1", "Go", "example.com/x", "0.9.0"), "GO-2": flaw("GO-2", "Go", "example.com/1", "2.0.0")})
		must(c.Refresh(ctx, keys))(t)
		same("after a feed")
		must(c.PutTriage(ctx, triage(st, func(d *verdict.Triage) { d.Finding, d.Golden = "DSA-1", "a-second" })))(t)
		same("after a decision")
	})
}

// TestAffectedOfMany: what stands in channels is found the same in both ways of looking.
func TestAffectedOfMany(t *testing.T) {
	st := storetest.SQLite(t)
	c, ctx := open(t, st), t.Context()
	const many = 300
	channels := map[string]image.Digest{}
	for i := range many {
		name := fmt.Sprint("image", i)
		learnLayered(t, c, name, "sys", "mid")
		channels[name] = digest(name)
	}
	feed(t, st, "Debian", map[string]string{"DSA-1": flaw("DSA-1", "Debian:12", "openssl", "1.1")})
	must(c.Refresh(ctx, []advisory.Key{advisory.NewKey("Debian:12", "openssl")}))(t)
	ok(t, c.PutEnvironment(ctx, environment(t, prod), false))
	for _, want := range []int{0, 1, many} {
		stand := map[string]image.Digest{}
		for name, id := range channels {
			if len(stand) < want {
				stand[name] = id
			}
		}
		must(c.PutGolden(ctx, catalog.Golden{Name: "line", Owner: "o", Channels: stand}))(t)
		hit := must(c.Affected(ctx, "DSA-1", "", 10))(t)
		if hit.Total != many || len(hit.Images) != 10 || len(hit.Channels) != want || len(hit.Watched) != want {
			t.Errorf("with %d channels: %d hit, %d channels, %d watched", want, hit.Total, len(hit.Channels), len(hit.Watched))
		}
	}
}
