// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package image_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
)

const bundleType = image.BundleType + ".v0.3+json"

var attachedAt = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// registryWith starts a registry that holds an index and returns its reference.
func registryWith(t *testing.T, index v1.ImageIndex, referrers bool) string {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(discardLogger()), registry.WithReferrersSupport(referrers)))
	t.Cleanup(server.Close)
	ref := strings.TrimPrefix(server.URL, "http://") + "/team/shop:1"
	tag := must[name.Tag](t)(name.NewTag(ref))
	if err := remote.WriteIndex(tag, index); err != nil {
		t.Fatal(err)
	}
	return ref
}

func openShelf(t *testing.T, ref string) *image.Shelf {
	t.Helper()
	shelf := must[*image.Shelf](t)(image.OpenShelf(t.Context(), ref, image.Options{Insecure: true}))
	t.Cleanup(func() { _ = shelf.Close() })
	return shelf
}

// attachAll attaches one bundle to each subject.
func attachAll(t *testing.T, shelf *image.Shelf) {
	t.Helper()
	for i, s := range shelf.Subjects {
		r := image.Referrer{Type: bundleType, Body: fmt.Appendf(nil, `{"n":%d}`, i), Annotations: map[string]string{"dev.sigstore.bundle.content": "dsse-envelope"}}
		for range 2 { // a second time changes nothing
			if _, err := shelf.Attach(t.Context(), s, r, attachedAt); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func attached(t *testing.T, ref string) []image.Referrer {
	t.Helper()
	img := must[*image.Image](t)(image.Open(t.Context(), ref, image.Options{Insecure: true, Platform: "linux/arm64"}))
	defer img.Close()
	return must[[]image.Referrer](t)(img.Attached(t.Context()))
}

func bodies(found []image.Referrer) string {
	var all []string
	for _, r := range found {
		all = append(all, string(r.Body))
	}
	return strings.Join(all, " ")
}

// TestAttachAndReadBack attaches to an index and its images, reads it back through
// the image, and takes it away again: in a registry with the referrers API, in one
// without, in a layout folder.
func TestAttachAndReadBack(t *testing.T) {
	index := indexOf(t, "amd64", "arm64")
	for what, ref := range map[string]string{
		"registry":            registryWith(t, index, true),
		"registry, tags only": registryWith(t, index, false),
		"layout":              layoutOf(t, index),
	} {
		t.Run(what, func(t *testing.T) {
			if found := attached(t, ref); found == nil || len(found) != 0 {
				t.Errorf("before, attached is %v, want an empty list", found)
			}
			shelf := openShelf(t, ref)
			if len(shelf.Subjects) != 3 {
				t.Fatalf("subjects %v, want the index and two images", shelf.Subjects)
			}
			attachAll(t, shelf)
			found := attached(t, ref)
			if got := bodies(found); got != `{"n":2} {"n":0}` {
				t.Errorf("attached to the arm64 image and its index: %s", got)
			}
			if len(found) > 0 && (found[0].Type != bundleType || found[0].Annotations["dev.sigstore.bundle.content"] != "dsse-envelope" || found[0].Subject != shelf.Subjects[2].Digest) {
				t.Errorf("read back as %+v", found[0])
			}
			for _, r := range found {
				for range 2 {
					if err := shelf.Detach(t.Context(), r); err != nil {
						t.Fatal(err)
					}
				}
			}
			if left := attached(t, ref); len(left) != 0 {
				t.Errorf("after detaching there is %s", bodies(left))
			}
			if left := must[[]image.Referrer](t)(shelf.Attached(t.Context(), shelf.Subjects[1].Digest)); bodies(left) != `{"n":1}` {
				t.Errorf("the amd64 image has %s", bodies(left))
			}
		})
	}
}

func TestAnArchiveCarriesWhatItsLayoutHas(t *testing.T) {
	dir := layoutOf(t, nil, sample(t, "arm64"))
	attachAll(t, openShelf(t, dir))
	if got := bodies(attached(t, archiveOf(t, dir))); got != `{"n":0}` {
		t.Errorf("attached in the archive: %s", got)
	}
	if found := attached(t, savedOf(t, sample(t, "arm64"))); found != nil {
		t.Errorf("a docker-save archive can hold none, got %v", found)
	}
	if _, err := image.OpenShelf(t.Context(), archiveOf(t, dir), image.Options{}); !fault.Is(err, fault.Unsupported) {
		t.Errorf("opening an archive to attach to it: %v", err)
	}
}

// TestWhatIsAttachedIsNotBelieved: a referrer that names another subject, holds no
// bundle or is gone is left out; one whose bytes are not what it says, or too many,
// are an error.
func TestWhatIsAttachedIsNotBelieved(t *testing.T) {
	zeros := strings.Repeat("0", 64)
	for what, tt := range map[string]struct {
		spoil func(manifest string) string
		kind  fault.Kind
		count int
	}{
		"as it is": {func(m string) string { return m }, 0, 1},
		"other subject": {func(m string) string {
			i := strings.Index(m, `"subject":{"digest":"sha256:`) + 28
			return m[:i] + zeros + m[i+64:]
		}, 0, 0},
		"no subject":  {func(m string) string { return strings.Replace(m, `"subject"`, `"object"`, 1) }, 0, 0},
		"other layer": {func(m string) string { return strings.ReplaceAll(m, bundleType, "application/json") }, 0, 0},
		"layer not there": {func(m string) string {
			return strings.Replace(m, string(image.DigestOf([]byte(`{"n":0}`))), "sha256:"+zeros, 1)
		}, fault.Invalid, 0},
		"bad digest": {func(m string) string {
			return strings.Replace(m, string(image.DigestOf([]byte(`{"n":0}`))), "sha256:../../x", 1)
		}, fault.Invalid, 0},
		"no JSON": {func(string) string { return "[]" }, fault.Invalid, 0},
	} {
		t.Run(what, func(t *testing.T) {
			dir := layoutOf(t, nil, sample(t, "arm64"))
			attachAll(t, openShelf(t, dir))
			respell(t, dir, tt.spoil)
			img := must[*image.Image](t)(image.Open(t.Context(), dir, image.Options{}))
			defer img.Close()
			found, err := img.Attached(t.Context())
			if len(found) != tt.count || (err != nil) != (tt.kind != 0) || err != nil && !fault.Is(err, tt.kind) {
				t.Errorf("found %d, error %v", len(found), err)
			}
		})
	}
}

// respell changes the manifest of the only referrer in a layout.
func respell(t *testing.T, dir string, spoil func(string) string) {
	t.Helper()
	path := filepath.Join(dir, "index.json")
	index := must[[]byte](t)(os.ReadFile(path))
	var doc v1.IndexManifest
	if err := json.Unmarshal(index, &doc); err != nil {
		t.Fatal(err)
	}
	last := doc.Manifests[len(doc.Manifests)-1].Digest
	old := must[[]byte](t)(os.ReadFile(filepath.Join(dir, "blobs", "sha256", last.Hex)))
	changed := []byte(spoil(string(old)))
	digest := image.DigestOf(changed)
	index = bytes.ReplaceAll(index, []byte(last.String()), []byte(digest))
	for name, data := range map[string][]byte{path: index, filepath.Join(dir, "blobs", "sha256", digest.Hex()): changed} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTooManyReferrersAreAnError(t *testing.T) {
	dir := layoutOf(t, nil, sample(t, "arm64"))
	shelf := openShelf(t, dir)
	for i := range 65 {
		r := image.Referrer{Type: bundleType, Body: fmt.Append(nil, i)}
		if _, err := shelf.Attach(t.Context(), shelf.Subjects[0], r, attachedAt); err != nil {
			t.Fatal(err)
		}
	}
	img := must[*image.Image](t)(image.Open(t.Context(), dir, image.Options{}))
	defer img.Close()
	if _, err := img.Attached(t.Context()); !fault.Is(err, fault.TooLarge) {
		t.Errorf("65 bundles: %v", err)
	}
	if _, err := shelf.Attach(t.Context(), shelf.Subjects[0], image.Referrer{Type: bundleType, Body: make([]byte, 17<<20)}, attachedAt); !fault.Is(err, fault.TooLarge) {
		t.Errorf("a bundle of 17 MiB: %v", err)
	}
}

// TestManyAttachAtOnce: what several attach to one subject at the same time is all
// listed, where the list is a file or a tag that everybody rewrites.
func TestManyAttachAtOnce(t *testing.T) {
	for what, tt := range map[string]struct {
		ref     string
		writers int
	}{
		"registry, tags only": {racingRegistry(t, indexOf(t, "arm64")), 2},
		"layout":              {layoutOf(t, nil, sample(t, "arm64")), 12},
	} {
		t.Run(what, func(t *testing.T) {
			var writers sync.WaitGroup
			for i := range tt.writers {
				shelf := openShelf(t, tt.ref)
				writers.Go(func() {
					r := image.Referrer{Type: bundleType, Body: fmt.Appendf(nil, `{"n":%d}`, i)}
					if _, err := shelf.Attach(t.Context(), shelf.Subjects[0], r, attachedAt); err != nil {
						t.Error(err)
					}
				})
			}
			writers.Wait()
			if found := attached(t, tt.ref); len(found) != tt.writers {
				t.Errorf("of %d that were attached at once %d are listed: %s", tt.writers, len(found), bodies(found))
			}
		})
	}
}

// racingRegistry has no referrers API, and lets the first two who read the list of a
// subject's referrers go on only when both have read it.
func racingRegistry(t *testing.T, index v1.ImageIndex) string {
	t.Helper()
	inner := registry.New(registry.Logger(discardLogger()))
	var first, second sync.Once
	met := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner.ServeHTTP(w, r)
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/manifests/sha256-") {
			was := true
			first.Do(func() { was = false })
			if was {
				second.Do(func() { close(met) })
			}
			<-met
		}
	}))
	t.Cleanup(server.Close)
	ref := strings.TrimPrefix(server.URL, "http://") + "/team/shop:1"
	if err := remote.WriteIndex(must[name.Tag](t)(name.NewTag(ref)), index); err != nil {
		t.Fatal(err)
	}
	return ref
}

// TestAShelfOpensItsImages: each subject can be read as the image it is.
func TestAShelfOpensItsImages(t *testing.T) {
	index := indexOf(t, "amd64", "arm64")
	for what, ref := range map[string]string{"registry": registryWith(t, index, true), "layout": layoutOf(t, index)} {
		shelf := openShelf(t, ref)
		for i, arch := range []string{1: "linux/amd64", 2: "linux/arm64"} {
			if i == 0 {
				continue
			}
			img, err := shelf.Open(t.Context(), shelf.Subjects[i], image.Options{})
			if err != nil || img.Platform != arch || img.Manifests[0] != shelf.Subjects[i].Digest {
				t.Errorf("%s: %v is opened as %+v, %v", what, shelf.Subjects[i], img, err)
			}
		}
	}
}
