// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"archive/zip"
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/goldkeep/goldkeep/client"
)

// zlibFlaw is a feed of one advisory, which hits the images that debian makes.
func zlibFlaw(t testing.TB) io.Reader {
	t.Helper()
	var zipped bytes.Buffer
	z := zip.NewWriter(&zipped)
	must(io.WriteString(must(z.Create("DSA-7.json"))(t), `{"id":"DSA-7","aliases":["CVE-2026-7"],"modified":"2026-01-01T00:00:00Z","published":"2026-01-01T00:00:00Z",
		"affected":[{"package":{"ecosystem":"Debian:12","name":"zlib"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"}]}]}]}`))(t)
	ok(t, z.Close())
	return &zipped
}

// TestAffected: who is hit by an advisory and whom to call, on the first page; the
// other pages have images alone. It is answered while the server is sealed too.
func TestAffected(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	must(w.UploadFeed(ctx, "Debian", zlibFlaw(t)))(t)
	img, node, grant := admitted(t, w)
	two := *must(w.AddImage(ctx, "two", bytes.NewReader(archive(t, debian(t, "two")))))(t)
	check := func(name string) {
		t.Helper()
		hit := must(w.Affected(ctx, name))(t)
		for i := range hit.Instances {
			if hit.Instances[i].ID != grant.Instance.ID || hit.Instances[i].Owner != "team" {
				t.Errorf("instance %+v", hit.Instances[i])
			}
		}
		running := len(hit.Instances)
		hit.Instances = nil
		want := &client.Affected{
			Name: name, Total: 2, Images: []client.AffectedImage{{ID: img.ID, Name: img.Name}, {ID: two.ID, Name: two.Name}},
			Flaws:     []client.AffectedFlaw{{ID: "DSA-7", Aliases: []string{"CVE-2026-7"}, Ecosystem: "Debian:12", Package: "zlib", Versions: []string{"1:1.2.13.dfsg-1"}}},
			Channels:  []client.AffectedChannel{{Golden: "pay", Channel: "gold", Image: img.ID, Owner: "team", Contact: "#pay"}},
			Workloads: []client.AffectedWorkload{{Name: "pay", Environment: "prod", Owner: "team"}},
		}
		if diff := cmp.Diff(want, hit); diff != "" || running != 1 {
			t.Errorf("%s (-want +got), %d instances:\n%s", name, running, diff)
		}
	}
	check("DSA-7")
	check("CVE-2026-7")
	path := "/api/v1/advisories/DSA-7/affected"
	first := decode[client.Affected](t, w.send("GET", path+"?limit=1", w.root, nil).body)
	if first.Total != 2 || len(first.Images) != 1 || first.Images[0].ID != img.ID || len(first.Channels) != 1 {
		t.Errorf("the first page is %+v", first)
	}
	rest := decode[client.Affected](t, w.send("GET", path+"?limit=1&after="+img.ID, w.root, nil).body)
	if rest.Total != 2 || len(rest.Images) != 1 || rest.Images[0].ID != two.ID || len(rest.Channels)+len(rest.Workloads)+len(rest.Instances) != 0 {
		t.Errorf("the second page is %+v", rest)
	}
	// A mistyped name must not look like one that hits nothing.
	w.refused(404, "GET", "/api/v1/advisories/CVE-1/affected", w.root, "")
	w.refused(400, "GET", path+"?limit=many", w.root, "")
	w.refused(403, "GET", path, node, "")
	w.refused(403, "GET", path, grant.Token, "")
	ok(t, w.Seal(ctx))
	sealed := decode[client.Affected](t, w.send("GET", path, w.root, nil).body)
	if len(sealed.Images) != 2 || len(sealed.Workloads) != 1 || sealed.Workloads[0].Owner != "team" {
		t.Errorf("while sealed: %+v", sealed)
	}
}

// TestDiff: two images of one package differ in nothing but what their configs say.
func TestDiff(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	must(w.UploadFeed(ctx, "Debian", zlibFlaw(t)))(t)
	plain := debian(t, "one")
	cfg := must(plain.ConfigFile())(t).DeepCopy()
	cfg.Config.User = "0"
	a := must(w.AddImage(ctx, "a", bytes.NewReader(archive(t, plain))))(t)
	b := must(w.AddImage(ctx, "b", bytes.NewReader(archive(t, must(mutate.ConfigFile(plain, cfg))(t)))))(t)
	d := must(w.DiffImages(ctx, a.ID, b.ID))(t)
	if d.From != a.ID || d.To != b.ID || len(d.Packages)+len(d.New)+len(d.Gone)+len(d.FactsGone) != 0 || len(d.FactsNew) != 1 {
		t.Errorf("they differ by %+v", d)
	}
	if !slices.ContainsFunc(d.Settings, func(s client.SettingDiff) bool { return s.From == "1000" && s.To == "0" }) {
		t.Errorf("settings %+v", d.Settings)
	}
	same := must(w.DiffImages(ctx, a.ID, a.ID))(t)
	if len(same.Packages)+len(same.New)+len(same.Gone)+len(same.FactsNew)+len(same.FactsGone)+len(same.Settings) != 0 {
		t.Errorf("an image differs from itself by %+v", same)
	}
	unknown := "sha256:" + strings.Repeat("0", 64)
	w.refused(404, "GET", "/api/v1/images/"+a.ID+"/diff/"+unknown, w.root, "")
	w.refused(404, "GET", "/api/v1/images/"+unknown+"/diff/"+a.ID, w.root, "")
	w.refused(400, "GET", "/api/v1/images/"+a.ID+"/diff/latest", w.root, "")
}
