// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/goldkeep/goldkeep/client"
)

// TestWhatAnAdvisoryHits asks with the command line, in both of its forms.
func TestWhatAnAdvisoryHits(t *testing.T) {
	s, p := newWorld(t, graceful, nil)
	flawed, patched := digest(t, p.flawed), digest(t, p.patched)
	if r := cli(t, s.environ(), "", "advisory", "affected", "GO-2026-5970"); r.code != 1 || !strings.Contains(r.errors, "no advisory") {
		t.Errorf("before the news: exit code %d\n%s%s", r.code, r.out, r.errors)
	}
	s.feed(true)
	for _, id := range []string{"GO-2026-5970", "CVE-2026-56852"} {
		var hit client.Affected
		eventually(t, id+" is found", func() bool {
			text := s.cli("advisory", "affected", id, "-o", "json")
			hit = client.Affected{}
			if err := json.Unmarshal([]byte(text), &hit); err != nil {
				t.Fatalf("%v in:\n%s", err, text)
			}
			return hit.Total > 0
		})
		if hit.Total != 1 || len(hit.Images) != 1 || hit.Images[0].ID != flawed || len(hit.Flaws) != 1 || hit.Flaws[0].Package != "golang.org/x/text" ||
			len(hit.Channels) != 1 || hit.Channels[0].Golden != "app" || len(hit.Workloads) != 1 || hit.Workloads[0].Owner != "team" {
			t.Errorf("%s hits %+v", id, hit)
		}
	}
	text := s.cli("advisory", "affected", "GO-2026-5970")
	for _, want := range []string{"golang.org/x/text", "app gold", "app:flawed", "team", "1 image, 1 workload, 0 running instances"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	if strings.Contains(text, patched) {
		t.Errorf("the patched one is hit:\n%s", text)
	}
	if text := s.cli("image", "diff", flawed, patched); !strings.Contains(text, "~ package") || !strings.Contains(text, "- finding") {
		t.Errorf("image diff:\n%s", text)
	}
	var d client.ImageDiff
	if err := json.Unmarshal([]byte(s.cli("image", "diff", flawed, patched, "-o", "json")), &d); err != nil || d.From != flawed || d.To != patched || len(d.Gone) == 0 || len(d.New) != 0 {
		t.Errorf("image diff: %v %+v", err, d)
	}
	if got := cli(t, s.environ(), "", "image", "diff", flawed, "sha256:"+strings.Repeat("0", 64)); got.code != 1 || !strings.Contains(got.errors, "never seen") {
		t.Errorf("an unknown image: %d %s", got.code, got.errors)
	}
}

// fleetOf brings images with one package each in a layer of their own, and the first
// few into channels.
func fleetOf(t *testing.T, s *server, images int) (ids []string) {
	t.Helper()
	declared := "apiVersion: goldkeep.dev/v1\nkind: Environment\nmetadata: {name: prod, owner: o}\nspec: {admit: [{vulnerabilities: {maxSeverity: low, unscored: deny, unfixed: deny}}]}\n"
	for i := range images {
		status := fmt.Sprintf("Package: lib%[1]d\nStatus: install ok installed\nVersion: 1.0\nSource: own%[1]d\nArchitecture: amd64\n\n", i)
		layer := layerOf(t, map[string][]byte{"etc/os-release": []byte("ID=debian\nVERSION_ID=\"12\"\n"), "var/lib/dpkg/status": []byte(status)})
		img := must(mutate.AppendLayers(empty.Image, layer))(t)
		cfg := must(img.ConfigFile())(t).DeepCopy()
		cfg.OS, cfg.Architecture = "linux", "amd64"
		var out bytes.Buffer
		if err := tarball.Write(must(name.NewTag("example.com/app:1"))(t), must(mutate.ConfigFile(img, cfg))(t), &out); err != nil {
			t.Fatal(err)
		}
		added := must(s.AddImage(t.Context(), fmt.Sprint("app:", i), &out))(t)
		ids = append(ids, added.ID)
		if i < 10 {
			declared += fmt.Sprintf("---\napiVersion: goldkeep.dev/v1\nkind: GoldenImage\nmetadata: {name: app-%d, owner: o}\nspec: {channels: {gold: %q}}\n", i, added.ID)
		}
	}
	declare(t, s, declared)
	return ids
}

// flaws is a feed with an advisory on the package of every image; all are known as
// CVE-2026-ROUND too.
func flaws(t *testing.T, images, round int) []byte {
	t.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for i := range images {
		id := fmt.Sprintf("DSA-%d-%d", round, i)
		if _, err := fmt.Fprintf(must(z.Create(id+".json"))(t), `{"id":%q,"aliases":["CVE-2026-%d"],"modified":"2026-01-01T00:00:00Z","published":"2026-01-01T00:00:00Z",
			"affected":[{"package":{"ecosystem":"Debian:12","name":"own%d"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"}]}]}]}`, id, round, i); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestKilledWhileTheFleetIsMatched kills the server at any instant after a feed came
// that changes every image. Once it is back, each image has what the feed says and
// nothing of the one before, in its evidence, its verdict and the index of flaws.
func TestKilledWhileTheFleetIsMatched(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, 3))
	s := newServer(t, nil)
	const images, rounds = 60, 8
	ids := fleetOf(t, s, images)
	total := func(round int) int {
		hit, err := s.Affected(t.Context(), fmt.Sprint("CVE-2026-", round))
		if client.KindOf(err) == "not_found" { // no advisory of that name: not yet, or not any more
			return 0
		}
		return must(hit, err)(t).Total
	}
	early := 0
	for round := 1; round <= rounds; round++ {
		feed := flaws(t, images, round)
		var sending sync.WaitGroup
		sending.Go(func() { _, _ = s.UploadFeed(t.Context(), "Debian", bytes.NewReader(feed)) }) // it may be cut off
		<-time.After(time.Duration(dice.IntN(120)) * time.Millisecond)
		s.kill()
		sending.Wait()
		s.start()
		if total(round) < images {
			early++
		}
		must(s.UploadFeed(t.Context(), "Debian", bytes.NewReader(feed)))(t) // had it come whole, this changes nothing
		eventually(t, fmt.Sprintf("all is matched in round %d", round), func() bool { return total(round) == images && total(round-1) == 0 })
		for i, id := range ids {
			img := must(s.Image(t.Context(), id))(t)
			old, now := fmt.Sprintf("DSA-%d-%d", round-1, i), fmt.Sprintf("DSA-%d-%d", round, i)
			if text := string(img.Evidence); !strings.Contains(text, now) || strings.Contains(text, old) {
				t.Fatalf("round %d, image %d has:\n%s", round, i, text)
			}
			if i < 10 && (len(img.Verdicts) != 1 || img.Verdicts[0].Admit.Answer != "no" || !strings.Contains(fmt.Sprint(img.Verdicts[0].Admit.Reasons), now)) {
				t.Errorf("round %d, image %d is judged %+v", round, i, img.Verdicts)
			}
		}
	}
	t.Logf("in %d of %d rounds the kill came before the end of the work", early, rounds)
}

// TestBillsAndBasesAsPeopleSeeThem: feeds come as an artifact, a bill is found by an
// advisory, an image shows its base.
func TestBillsAndBasesAsPeopleSeeThem(t *testing.T) {
	_, addr := dev(t, "VAULT_DEV_ROOT_TOKEN_ID=root")
	s := newSigning(t)
	s.env = []string{"GOLDKEEP_ADDR=" + addr, "GOLDKEEP_TOKEN=root"}
	var zipped bytes.Buffer
	z := zip.NewWriter(&zipped)
	_ = must(must(z.Create("GO-1.json"))(t).Write([]byte(`{"id":"GO-1","modified":"2026-01-01T00:00:00Z","affected":[{"package":{"ecosystem":"Go","name":"example.com/x"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}]}]}`)))(t)
	if err := errors.Join(z.Close(), os.MkdirAll(s.file("feeds/Go"), 0o755)); err != nil {
		t.Fatal(err)
	}
	s.write("feeds/Go/all.zip", zipped.String())
	s.run(0, "Go/all.zip", "advisory", "pack", s.file("feeds"), "--out", s.file("feeds.oci.tar"))
	s.run(0, "Go", "advisory", "sync", "--from", s.file("feeds.oci.tar"), "--server")
	s.run(0, "unchanged", "advisory", "sync", "--from", s.file("feeds.oci.tar"), "--server")
	s.run(1, "there is no such folder or file", "advisory", "sync", "--from", "fedes", "--server")

	bill := s.write("erp.cdx.json", `{"bomFormat":"CycloneDX","specVersion":"1.6","components":[{"type":"library","name":"example.com/x","version":"v1.0.0","purl":"pkg:golang/example.com/x@v1.0.0"}]}`)
	s.run(0, "said to be of", "image", "add", bill, "--name", "vendor/erp", "--of", s.arms[0])
	s.run(0, "vendor/erp@"+s.arms[0], "advisory", "affected", "GO-1")
	s.run(1, "--of is for a bill", "image", "add", s.repo+"@"+s.arms[0], "--of", s.arms[0])

	base := must(remote.Image(must(name.NewDigest(s.repo + "@" + s.arms[0]))(t)))(t)
	onTop := must(mutate.AppendLayers(base, layerOf(t, map[string][]byte{"shop": []byte("x")})))(t)
	if err := remote.Write(must(name.NewTag(s.repo+":top"))(t), onTop); err != nil {
		t.Fatal(err)
	}
	s.run(0, "known", "image", "add", s.repo+"@"+s.arms[0])
	s.run(0, "by its layers", "image", "add", s.repo+":top")
}
