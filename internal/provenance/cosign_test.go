// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package provenance_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/provenance"
)

// The stock cosign judges here. hack/cosign/build makes it.
const cosignVersion = "v3.1.3"

// signedAt is a time of signing; nothing depends on it.
var signedAt = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// cosign runs the stock command, away from the user's own files.
type cosign struct {
	t    *testing.T
	path string
	home string
}

func newCosign(t *testing.T) *cosign {
	t.Helper()
	if testing.Short() {
		t.Skip("cosign is for the long tests: go test without -short")
	}
	cache := must[string](t)(os.UserCacheDir())
	path := filepath.Join(cache, "goldkeep", "cosign-"+cosignVersion)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v; build it with: hack/cosign/build", err)
	}
	return &cosign{t, path, t.TempDir()}
}

func (c *cosign) run(args ...string) (string, error) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.path, args...)
	cmd.Dir = c.home
	cmd.Env = []string{"HOME=" + c.home, "COSIGN_PASSWORD=secret", "PATH=/nonexistent", "NO_PROXY=*"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (c *cosign) must(args ...string) {
	c.t.Helper()
	if out, err := c.run(args...); err != nil {
		c.t.Errorf("cosign %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func (c *cosign) mustNot(args ...string) {
	c.t.Helper()
	if out, err := c.run(args...); err == nil {
		c.t.Errorf("cosign %s: it verifies\n%s", strings.Join(args, " "), out)
	}
}

// keyFile writes a public key for cosign to read.
func (c *cosign) keyFile(key *provenance.Key) string {
	c.t.Helper()
	f := must[*os.File](c.t)(os.CreateTemp(c.home, "*.pub"))
	defer f.Close()
	must[int](c.t)(f.WriteString(key.Public().PEM()))
	return f.Name()
}

// pushed starts a registry, with or without the referrers API, that holds an index of
// two images.
func pushed(t *testing.T, referrers bool) string {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(referrers)))
	t.Cleanup(server.Close)
	ref := strings.TrimPrefix(server.URL, "http://") + "/team/shop:1"
	if err := remote.WriteIndex(must[name.Tag](t)(name.NewTag(ref)), sampleIndex(t)); err != nil {
		t.Fatal(err)
	}
	return ref
}

func sampleIndex(t *testing.T) v1.ImageIndex {
	t.Helper()
	var index v1.ImageIndex = empty.Index
	for _, arch := range []string{"amd64", "arm64"} {
		img := must[v1.Image](t)(random.Image(100, 1))
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	return index
}

func shelfOf(t *testing.T, ref string) *image.Shelf {
	t.Helper()
	shelf := must[*image.Shelf](t)(image.OpenShelf(t.Context(), ref, image.Options{Insecure: true}))
	t.Cleanup(func() { _ = shelf.Close() })
	return shelf
}

// saying says the same of every subject.
func saying(predicateType, predicate string) func(image.Subject) (*provenance.Statement, error) {
	return func(s image.Subject) (*provenance.Statement, error) {
		return provenance.NewStatement(s.Digest, predicateType, []byte(predicate))
	}
}

func attach(t *testing.T, shelf *image.Shelf, by provenance.Signing, predicateType, predicate string) {
	t.Helper()
	if _, err := (provenance.Saying{By: by, At: signedAt, Say: saying(predicateType, predicate)}).Attach(t.Context(), shelf); err != nil {
		t.Fatal(err)
	}
}

// verified is what our own reader says of the subjects, by type.
func verified(t *testing.T, shelf *image.Shelf, signers ...*provenance.Signer) []string {
	t.Helper()
	var all []string
	for _, s := range shelf.Subjects {
		found, odd := provenance.VerifyAll(must[[]image.Referrer](t)(shelf.Attached(t.Context(), s.Digest)), signers)
		if len(odd) > 0 {
			t.Errorf("odd: %v", odd)
		}
		for _, v := range found {
			all = append(all, v.Signer+" "+v.Type)
		}
	}
	return all
}

// TestCosignVerifiesOurs: what we attach to an index, and to its images, the stock
// cosign verifies, by key; with another key it does not.
func TestCosignVerifiesOurs(t *testing.T) {
	c := newCosign(t)
	for _, algorithm := range []provenance.Algorithm{provenance.ECDSA, provenance.Ed25519} {
		for _, referrers := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/api=%v", algorithm, referrers), func(t *testing.T) {
				ref := pushed(t, referrers)
				shelf := shelfOf(t, ref)
				release, other, facts := newKey(t, provenance.Release, algorithm), newKey(t, provenance.Release, algorithm), newKey(t, provenance.Attestation, algorithm)
				attach(t, shelf, release, provenance.Approval, "{}")
				attach(t, shelf, facts, provenance.CycloneDX, `{"bomFormat":"CycloneDX","specVersion":"1.6"}`)
				attach(t, shelf, facts, provenance.TestResult, `{"result":"FAILED"}`)
				for _, s := range []string{ref, shelf.Name + "@" + string(shelf.Subjects[2].Digest)} {
					c.must("verify", "--key", c.keyFile(release), "--insecure-ignore-tlog", s)
					c.mustNot("verify", "--key", c.keyFile(other), "--insecure-ignore-tlog", s)
					c.must("verify-attestation", "--key", c.keyFile(facts), "--insecure-ignore-tlog", "--type", "cyclonedx", s)
					c.must("verify-attestation", "--key", c.keyFile(facts), "--insecure-ignore-tlog", "--type", provenance.TestResult, s)
					c.mustNot("verify-attestation", "--key", c.keyFile(facts), "--insecure-ignore-tlog", "--type", "spdxjson", s)
				}
				if got := verified(t, shelf, signerOf("release", release), signerOf("other", other)); len(got) != 3 || got[0] != "release "+provenance.Approval {
					t.Errorf("our own reader finds %v", got)
				}
			})
		}
	}
}

// TestCosignVerifiesOursInAFolder: the same for an OCI layout.
func TestCosignVerifiesOursInAFolder(t *testing.T) {
	c := newCosign(t)
	dir := t.TempDir()
	path := must[layout.Path](t)(layout.Write(dir, empty.Index))
	if err := path.AppendIndex(sampleIndex(t)); err != nil {
		t.Fatal(err)
	}
	release, other := newKey(t, provenance.Release, provenance.ECDSA), newKey(t, provenance.Release, provenance.ECDSA)
	attach(t, shelfOf(t, dir), release, provenance.Approval, "{}")
	c.must("verify", "--key", c.keyFile(release), "--insecure-ignore-tlog", "--local-image", dir)
	c.mustNot("verify", "--key", c.keyFile(other), "--insecure-ignore-tlog", "--local-image", dir)
}

// TestWeVerifyCosigns: what cosign signs and attests with a key is read by us, as an
// approval and as an attestation; and cosign's key file signs for us.
func TestWeVerifyCosigns(t *testing.T) {
	c := newCosign(t)
	ref := pushed(t, true)
	shelf := shelfOf(t, ref)
	c.must("generate-key-pair")
	public := string(must[[]byte](t)(os.ReadFile(filepath.Join(c.home, "cosign.pub"))))
	config := []string{"--key", "cosign.key", "--use-signing-config=false", "--tlog-upload=false", "--yes"}
	c.must(append(append([]string{"sign"}, config...), "--recursive", ref)...)
	predicate := filepath.Join(c.home, "predicate.json")
	if err := os.WriteFile(predicate, []byte(`{"a":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	c.must(append(append([]string{"attest"}, config...), "--type", "https://example.com/review/v1", "--predicate", predicate, ref)...)
	signer := &provenance.Signer{Name: "ci", PublicKey: public}
	got := strings.Join(verified(t, shelf, signer), ", ")
	if strings.Count(got, "ci "+provenance.Approval) != 3 || strings.Count(got, "ci https://example.com/review/v1") != 1 {
		t.Errorf("of cosign's we verify: %s", got)
	}
	text := must[[]byte](t)(os.ReadFile(filepath.Join(c.home, "cosign.key")))
	key := must[*provenance.Key](t)(provenance.ParseKey(text, func() ([]byte, error) { return []byte("secret"), nil }))
	if key.Purpose != provenance.Release || key.Public().PEM() != public {
		t.Errorf("cosign's key is read as %s", key.Purpose)
	}
	// And ours is read by cosign.
	ours := newKey(t, provenance.Release, provenance.ECDSA)
	if err := os.WriteFile(filepath.Join(c.home, "cosign.key"), must[[]byte](t)(ours.Marshal([]byte("secret"))), 0o600); err != nil {
		t.Fatal(err)
	}
	c.must(append(append([]string{"sign"}, config...), ref)...)
	c.must("verify", "--key", c.keyFile(ours), "--insecure-ignore-tlog", ref)
}

// TestWeVerifyCosignsRSA: keys that were made elsewhere, and signers in clouds, are often
// RSA. What cosign signs with one is read, and its key file signs for us, too.
func TestWeVerifyCosignsRSA(t *testing.T) {
	c := newCosign(t)
	ref := pushed(t, true)
	shelf := shelfOf(t, ref)
	private := must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048))
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must[[]byte](t)(x509.MarshalPKCS8PrivateKey(private))})
	if err := os.WriteFile(filepath.Join(c.home, "rsa.pem"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	c.must("import-key-pair", "--key", "rsa.pem", "--output-key-prefix", "rsa")
	c.must("sign", "--key", "rsa.key", "--use-signing-config=false", "--tlog-upload=false", "--yes", ref)
	signer := &provenance.Signer{Name: "ci", PublicKey: string(must[[]byte](t)(os.ReadFile(filepath.Join(c.home, "rsa.pub"))))}
	if got := verified(t, shelf, signer); len(got) != 1 || got[0] != "ci "+provenance.Approval {
		t.Errorf("of cosign's we verify: %v", got)
	}
	sealed := must[[]byte](t)(os.ReadFile(filepath.Join(c.home, "rsa.key")))
	key := must[*provenance.Key](t)(provenance.ParseKey(sealed, func() ([]byte, error) { return []byte("secret"), nil }))
	attach(t, shelf, key, provenance.Approval, "{}")
	c.must("verify", "--key", "rsa.pub", "--insecure-ignore-tlog", shelf.Name+"@"+string(shelf.Subjects[1].Digest))
}

// TestCosignTakesAnyStatementForAnApproval is the first danger of signing. It shows
// that it is real, with a key that signs anything, and that ours do not run into it.
func TestCosignTakesAnyStatementForAnApproval(t *testing.T) {
	c := newCosign(t)
	ref := pushed(t, true)
	shelf := shelfOf(t, ref)
	careless := newKey(t, provenance.Release, provenance.ECDSA)
	failed := `{"verificationResult":"FAILED"}`
	attach(t, shelf, provenance.Careless{Key: careless}, provenance.VerificationSummary, failed)
	c.must("verify", "--key", c.keyFile(careless), "--insecure-ignore-tlog", ref) // the danger
	if got := verified(t, shelf, signerOf("careless", careless)); len(got) == 0 || strings.Contains(strings.Join(got, " "), provenance.Approval) {
		t.Errorf("our own reader takes a verdict for an approval: %v", got)
	}

	release, facts, verdicts := newKey(t, provenance.Release, provenance.ECDSA), newKey(t, provenance.Attestation, provenance.ECDSA), newKey(t, provenance.Verdict, provenance.ECDSA)
	for _, key := range []*provenance.Key{release, verdicts} {
		if _, err := (provenance.Saying{By: key, At: signedAt, Say: saying(provenance.VerificationSummary, failed)}).Attach(t.Context(), shelf); err == nil {
			t.Errorf("a %s key signs that an image failed", key.Purpose)
		}
	}
	attach(t, shelf, facts, provenance.TestResult, `{"result":"FAILED"}`)
	attach(t, shelf, verdicts, provenance.VerificationSummary, `{"verificationResult":"PASSED"}`)
	c.mustNot("verify", "--key", c.keyFile(release), "--insecure-ignore-tlog", ref)
	attach(t, shelf, release, provenance.Approval, "{}")
	c.must("verify", "--key", c.keyFile(release), "--insecure-ignore-tlog", ref)
}

// TestOneLiveVerdict is the second danger: an old verdict beside a new one fails a
// policy for ever, or passes it after the image has failed.
func TestOneLiveVerdict(t *testing.T) {
	c := newCosign(t)
	for _, referrers := range []bool{true, false} {
		ref := pushed(t, referrers)
		shelf := shelfOf(t, ref)
		key := newKey(t, provenance.Verdict, provenance.ECDSA)
		policy := filepath.Join(c.home, "passed.cue")
		rule := "predicateType: \"" + provenance.VerificationSummary + "\"\npredicate: {verificationResult: \"PASSED\", policy: uri: \"https://keep.example.com/environments/prod\"}\n"
		if err := os.WriteFile(policy, []byte(rule), 0o600); err != nil {
			t.Fatal(err)
		}
		verify := []string{"verify-attestation", "--key", c.keyFile(key), "--insecure-ignore-tlog", "--type", provenance.VerificationSummary, "--policy", policy, ref}
		attach(t, shelf, provenance.Careless{Key: key}, provenance.VerificationSummary, `{"verificationResult":"FAILED"}`)
		passed := provenance.Summary{Verifier: "https://keep.example.com", Time: signedAt, Environment: "prod", Rules: "sha256:" + strings.Repeat("0", 64), ResourceName: shelf.Name}
		if _, err := (provenance.Saying{By: key, At: signedAt, Say: passed.On}).Attach(t.Context(), shelf); err != nil {
			t.Fatal(err)
		}
		c.mustNot(verify...) // the danger: the old one spoils it
		attach(t, shelf, newKey(t, provenance.Release, provenance.ECDSA), provenance.Approval, "{}")
		for range 2 {
			passed.Time = passed.Time.Add(time.Hour)
			if _, err := (provenance.Saying{By: key, At: passed.Time, Say: passed.On}).Replace(t.Context(), shelf, key.Public()); err != nil {
				t.Fatal(err)
			}
		}
		c.must(verify...)
		if got := verified(t, shelf, signerOf("prod", key)); len(got) != len(shelf.Subjects) {
			t.Errorf("there are %d verdicts on %d subjects", len(got), len(shelf.Subjects))
		}
		if err := provenance.Withdraw(t.Context(), shelf, key.Public()); err != nil {
			t.Fatal(err)
		}
		c.mustNot(verify...)
		if left := must[[]image.Referrer](t)(shelf.Attached(t.Context(), shelf.Subjects[0].Digest)); len(left) != 1 {
			t.Errorf("%d bundles are left; the approval must stay", len(left))
		}
	}
}
