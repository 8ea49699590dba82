// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/catalog"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/store/storetest"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

// learnStack knows an image of some layers, built at an hour.
func learnStack(t *testing.T, c *catalog.Catalog, name string, hour int, layers ...string) {
	t.Helper()
	img := &image.Image{ID: digest(name)}
	chain := ""
	for i, l := range layers {
		img.Layers = append(img.Layers, image.Layer{DiffID: digest(l)})
		if i == 0 {
			chain = string(digest(l))
			continue
		}
		sum := sha256.Sum256([]byte(chain + " " + string(digest(l))))
		chain = "sha256:" + hex.EncodeToString(sum[:])
	}
	ev := verdict.Evidence{Image: verdict.Image{ID: string(digest(name)), Name: name, ChainID: chain, Created: born.Add(time.Duration(hour) * time.Hour)}}
	ok(t, c.Learn(t.Context(), img, ev))
}

var born = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

func golden(t *testing.T, c *catalog.Catalog, name, standing string) {
	t.Helper()
	must(c.PutGolden(t.Context(), catalog.Golden{
		Name: name, Owner: name + "-team", Contact: "#" + name, Channels: map[string]image.Digest{"gold": digest(standing)},
	}))(t)
}

func TestLayersTellWhatAnImageIsBuiltOn(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		c, ctx := open(t, st), t.Context()
		learnStack(t, c, "debian", 1, "d")
		learnStack(t, c, "python", 2, "d", "p")
		learnStack(t, c, "somebody's", 3, "d", "p", "x")
		learnStack(t, c, "app", 4, "d", "p", "x", "a")
		learnStack(t, c, "other", 5, "o", "p")
		base := func(name string) verdict.Base { return find(t, c, digest(name)).Evidence.Image.BaseImage }
		if got := base("app"); got.ID != string(digest("somebody's")) || got.By != "layers" || !got.Created.Equal(born.Add(3*time.Hour)) {
			t.Errorf("base %+v, want the longest of the known", got)
		}
		if got := base("other"); got.ID != "" {
			t.Errorf("an image of other layers has the base %+v", got)
		}
		golden(t, c, "debian", "debian")
		golden(t, c, "python", "python")
		if got := base("app"); got.Golden != "python" || got.Channel != "gold" || got.Contact != "#python" || got.Newest != "" {
			t.Errorf("base %+v, want the golden one", got)
		}
		learnStack(t, c, "python 2", 6, "d", "p2")
		golden(t, c, "python", "python 2")
		if got := base("app"); got.Golden != "python" || got.ID != string(digest("python")) || got.Newest != string(digest("python 2")) {
			t.Errorf("base %+v, want what stood in gold once, and what does now", got)
		}
		want := []verdict.Origin{
			{Layers: 1, Golden: "debian", Channel: "gold", Image: string(digest("debian")), Owner: "debian-team", Contact: "#debian"},
			{Layers: 2, Golden: "python", Channel: "gold", Image: string(digest("python")), Past: true, Newest: string(digest("python 2")), Owner: "python-team", Contact: "#python"},
		}
		if diff := cmp.Diff(want, must(c.Origins(ctx, digest("app")))(t)); diff != "" {
			t.Errorf("origins (-want +got):\n%s", diff)
		}
	})
}

// TestTheOwnerOfTheLayerIsCalled: a flaw in the base is the base's team's to mend.
func TestTheOwnerOfTheLayerIsCalled(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		c, ctx := open(t, st), t.Context()
		feed(t, st, "Debian", map[string]string{"DSA-1": flaw("DSA-1", "Debian:12", "bash", "1.1")})
		feed(t, st, "Go", map[string]string{"GO-1": flaw("GO-1", "Go", "example.com/x", "1.1.0")})
		learnStack(t, c, "base", 1, "sys")
		learnStack(t, c, "base 2", 2, "sys 2")
		golden(t, c, "debian", "base")
		golden(t, c, "debian", "base 2")
		learnLayered(t, c, "clean", "sys", "mid")
		learnLayered(t, c, "app", "sys", "mid", "example.com/x")
		golden(t, c, "pay", "app")
		env := environment(t, strings.Replace(prod, "{age: {max: 1h30m}}", "{vulnerabilities: {maxCVSS: 5}}", 1))
		reason := func(name string) verdict.Reason {
			v := must(c.Judge(ctx, find(t, c, digest(name)), env, st.Now()))(t)
			return v.Admit.Reasons[0]
		}
		if r := reason("clean"); r.Owner != "debian-team (#debian)" || !strings.Contains(r.Remedy, "debian gold is "+string(digest("base 2"))) {
			t.Errorf("reason %+v", r)
		}
		if r := reason("app"); r.Owner != "pay-team (#pay)" {
			t.Errorf("flaws of several: %+v", r)
		}
	})
}

func TestAffectedNamesWhatIsHit(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		c, ctx := open(t, st), t.Context()
		keys := feed(t, st, "Go", map[string]string{"GO-1": flaw("GO-1", "Go", "example.com/x", "1.1.0")})
		for _, name := range []string{"a", "b", "c"} {
			learnLayered(t, c, name, "sys", "mid", "example.com/x")
		}
		learnLayered(t, c, "fine", "sys", "mid", "example.com/y")
		golden(t, c, "pay", "b")
		ok(t, c.PutEnvironment(ctx, environment(t, prod), false))
		for _, name := range []string{"GO-1", "CVE-GO-1"} {
			hit := must(c.Affected(ctx, name, "", 2))(t)
			if hit.Total != 3 || len(hit.Images) != 2 || hit.Images[0].ID != digest("a") || hit.Images[1].Name != "b" {
				t.Errorf("%s hits %+v", name, hit)
			}
			if len(hit.Flaws) != 1 || hit.Flaws[0].Package != "example.com/x" || !cmp.Equal(hit.Flaws[0].Versions, []string{"1.0.0"}) {
				t.Errorf("flaws %+v", hit.Flaws)
			}
			want := []catalog.Standing{{Golden: "pay", Channel: "gold", Owner: "pay-team", Contact: "#pay", Image: digest("b")}}
			if diff := cmp.Diff(want, hit.Channels); diff != "" {
				t.Errorf("channels (-want +got):\n%s", diff)
			}
			if rest := must(c.Affected(ctx, name, digest("b"), 2))(t); len(rest.Images) != 1 || rest.Images[0].ID != digest("c") {
				t.Errorf("the rest %+v", rest.Images)
			}
		}
		feed(t, st, "Go", map[string]string{"GO-2": flaw("GO-2", "Go", "example.com/z", "1.1.0")})
		must(c.Refresh(ctx, append(keys, advisory.NewKey("Go", "example.com/z"))))(t)
		if hit := must(c.Affected(ctx, "GO-1", "", 10))(t); hit.Total != 0 || len(hit.Flaws) != 0 {
			t.Errorf("withdrawn, yet %+v", hit)
		}
	})
}
