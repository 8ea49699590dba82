// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// signing is a registry with an image for two platforms, and a folder to work in.
type signing struct {
	t    *testing.T
	ref  string
	repo string
	arms []string // digests of the images in the index
	dir  string
	env  []string
}

func newSigning(t *testing.T) *signing {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true)))
	t.Cleanup(server.Close)
	s := &signing{t: t, repo: strings.TrimPrefix(server.URL, "http://") + "/team/shop", dir: t.TempDir()}
	s.ref = s.repo + ":1"
	var index v1.ImageIndex = empty.Index
	for _, arch := range []string{"amd64", "arm64"} {
		img := must(mutate.AppendLayers(empty.Image, layerOf(t, map[string][]byte{"app": []byte(arch)})))(t)
		cfg := must(img.ConfigFile())(t).DeepCopy()
		cfg.OS, cfg.Architecture, cfg.Config.User = "linux", arch, "1000"
		img = must(mutate.ConfigFile(img, cfg))(t)
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
		s.arms = append(s.arms, must(img.Digest())(t).String())
	}
	if err := remote.WriteIndex(must(name.NewTag(s.ref))(t), index); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *signing) file(name string) string { return filepath.Join(s.dir, name) }

// run is a command that must end with a code, and say a text.
func (s *signing) run(code int, says string, args ...string) string {
	s.t.Helper()
	r := cli(s.t, s.env, "", args...)
	if r.code != code || !strings.Contains(r.out+r.errors, says) {
		s.t.Errorf("goldkeep %v: exit code %d, want %d and %q\n%s%s", args, r.code, code, says, r.out, r.errors)
	}
	return r.out
}

// cosign runs the stock command; see hack/cosign.
func (s *signing) cosign(verifies bool, args ...string) {
	s.t.Helper()
	path := filepath.Join(must(os.UserCacheDir())(s.t), "goldkeep", "cosign-v3.1.3")
	if _, err := os.Stat(path); err != nil {
		s.t.Fatalf("%v; build it with: hack/cosign/build", err)
	}
	cmd := exec.Command(path, append(args, "--insecure-ignore-tlog", s.ref)...)
	cmd.Env, cmd.Dir = []string{"HOME=" + s.dir}, s.dir
	if out, err := cmd.CombinedOutput(); (err == nil) != verifies {
		s.t.Errorf("cosign %v: %v\n%s", args, err, out)
	}
}

func (s *signing) write(name, text string) string {
	s.t.Helper()
	if err := os.WriteFile(s.file(name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return s.file(name)
}

// signer is a document of the kind Signer for a public key.
func (s *signing) signer(called, public string) string {
	return "apiVersion: goldkeep.dev/v1\nkind: Signer\nmetadata: {name: " + called + ", owner: o}\nspec:\n  publicKey: |\n    " +
		strings.ReplaceAll(strings.TrimSpace(public), "\n", "\n    ") + "\n---\n"
}

const signedProd = "apiVersion: goldkeep.dev/v1\nkind: Environment\nmetadata: {name: prod, owner: o}\nspec: {admit: [{signedBy: release}]}\n"

// TestSigning walks from a key to an image that is admitted because it is signed, with
// and without a server, and lets cosign judge what was written.
func TestSigning(t *testing.T) {
	s := newSigning(t)
	s.run(0, "release.key.pub", "key", "create", s.file("release.key"))
	s.run(1, "never overwritten", "key", "create", s.file("release.key"))
	s.run(0, "attestation", "key", "create", s.file("ci.key"), "--purpose", "attestation", "--algorithm", "ed25519")
	rules := s.write("rules.yaml", s.signer("release", string(must(os.ReadFile(s.file("release.key.pub")))(t)))+signedProd)
	sbom := s.write("sbom.json", `{"bomFormat":"CycloneDX","specVersion":"1.6"}`)

	s.run(3, "no verified signature by release", "check", s.ref, "-f", rules)
	s.run(3, "no approval", "image", "verify", s.ref, "--key", s.file("release.key.pub"))
	s.run(4, "does not sign statements of the type", "image", "sign", s.ref, "--key", s.file("ci.key"))
	s.run(4, "does not sign statements of the type", "image", "attest", s.ref, "--key", s.file("release.key"), "--type", "sbom", "--predicate", sbom)
	s.run(0, "https://cyclonedx.org/bom", "image", "attest", s.ref, "--key", s.file("ci.key"), "--type", "sbom", "--predicate", sbom)
	s.run(3, "no approval", "image", "verify", s.ref, "--key", s.file("ci.key.pub"))
	s.cosign(false, "verify", "--key", "release.key.pub")
	s.run(0, s.arms[1], "image", "sign", s.ref, "--key", s.file("release.key"))
	s.run(0, "cosign verify --key", "image", "verify", s.ref, "--key", s.file("release.key.pub"))
	s.run(0, "cosign verify-attestation --type https://cyclonedx.org/bom", "image", "verify", s.ref, "--key", s.file("ci.key.pub"), "--type", "sbom")
	s.run(0, "", "check", s.ref, "-f", rules)
	s.cosign(true, "verify", "--key", "release.key.pub")
	s.cosign(true, "verify-attestation", "--key", "ci.key.pub", "--type", "cyclonedx")
}

// TestSigningInTheServer: keys in the server sign, each for its purpose; the server
// finds signatures and signs its verdict while it holds.
func TestSigningInTheServer(t *testing.T) {
	_, addr := dev(t, "VAULT_DEV_ROOT_TOKEN_ID=root")
	s := newSigning(t)
	s.env = []string{"GOLDKEEP_ADDR=" + addr, "GOLDKEEP_TOKEN=root"}
	s.run(0, "ecdsa-p256", "key", "create", "release", "--in-server")
	s.run(1, "there is a key release for that already", "key", "create", "release", "--in-server")
	s.run(1, "there is no environment", "key", "create", "verdicts", "--in-server", "--purpose", "verdict", "--env", "prod")
	public := s.run(0, "PUBLIC KEY", "key", "show", "release")
	if all := s.run(0, "release", "key", "list", "-o", "json") + s.run(0, "", "key", "show", "release", "-o", "json"); strings.Contains(all, "rivate") {
		t.Errorf("the private key is shown: %s", all)
	}
	s.run(0, "", "apply", "--yes", "-f", s.write("rules.yaml", s.signer("release", public)+signedProd))
	s.run(0, "prod", "key", "create", "verdicts", "--in-server", "--purpose", "verdict", "--env", "prod")
	s.write("prod.pub", s.run(0, "", "key", "show", "verdicts"))
	s.run(4, "signs the server's own verdicts only", "image", "sign", s.ref, "--key", "server:verdicts")

	s.run(0, "", "image", "add", s.ref)
	s.run(3, "signedBy", "verdict", s.arms[0], "--env", "prod")
	vsa := []string{"image", "attest", s.ref, "--type", "vsa", "--env", "prod"}
	verify := []string{"verify-attestation", "--key", "prod.pub", "--type", "https://slsa.dev/verification_summary/v1"}
	s.run(3, "is not admitted in prod", vsa...) // and the other image is brought first
	s.cosign(false, verify...)
	s.run(0, s.arms[1], "image", "sign", s.ref, "--key", "server:release")
	s.run(3, "signedBy", "verdict", s.arms[0], "--env", "prod") // nobody has looked again
	for _, d := range s.arms {
		s.run(0, "yes", "image", "verify", s.repo+"@"+d, "--in-server")
	}
	s.run(0, "", "verdict", s.arms[0], "--env", "prod")
	s.run(0, "verification_summary", vsa...)
	s.run(0, "verification_summary", vsa...)
	s.cosign(true, verify...)

	// The signer is no longer believed: the verdict turns, and the next look removes it.
	other := s.file("other.key")
	s.run(0, "", "key", "create", other)
	s.run(0, "", "apply", "--yes", "-f", s.write("rules.yaml", s.signer("release", string(must(os.ReadFile(other+".pub"))(t)))+signedProd))
	s.run(3, "is not admitted in prod", vsa...)
	s.cosign(false, verify...)
}

const openProd = "apiVersion: goldkeep.dev/v1\nkind: Environment\nmetadata: {name: prod, owner: o}\nspec: {admit: [{hygiene: {root: deny}}]}\n"

// TestVerdictOnWhatWasSavedThenPushed: CI sends what docker saved, then pushes; the
// manifest of the registry, or of a layout folder, is news to the server. One command
// signs the verdict all the same, also where the server cannot reach the registry.
func TestVerdictOnWhatWasSavedThenPushed(t *testing.T) {
	_, addr := dev(t, "VAULT_DEV_ROOT_TOKEN_ID=root")
	s := newSigning(t)
	s.env = []string{"GOLDKEEP_ADDR=" + addr, "GOLDKEEP_TOKEN=root"}
	s.run(0, "", "apply", "--yes", "-f", s.write("rules.yaml", openProd))
	s.run(0, "prod", "key", "create", "verdicts", "--in-server", "--purpose", "verdict", "--env", "prod")
	public := s.write("prod.pub", s.run(0, "", "key", "show", "verdicts"))

	img := must(remote.Image(must(name.NewDigest(s.repo + "@" + s.arms[0]))(t)))(t)
	saved := s.file("saved.tar")
	if err := tarball.WriteToFile(saved, must(name.NewTag("shop:1"))(t), img); err != nil {
		t.Fatal(err)
	}
	s.run(0, "known", "image", "add", saved)
	folder := s.file("layout")
	if err := must(layout.Write(folder, empty.Index))(t).AppendImage(img); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{s.repo + "@" + s.arms[0], folder} {
		s.run(0, "verification_summary", "image", "attest", ref, "--type", "vsa", "--env", "prod")
		s.run(0, "PASSED", "image", "verify", ref, "--key", public, "--type", "vsa")
	}
	s.run(0, s.arms[1], "image", "attest", s.ref, "--type", "vsa", "--env", "prod", "--insecure") // sent from here
	s.cosign(true, "verify-attestation", "--key", "prod.pub", "--type", "https://slsa.dev/verification_summary/v1")
}
