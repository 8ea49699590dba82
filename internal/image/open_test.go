// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package image_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
)

// TestOpenEverySource opens one image from every place it can live: each time it
// must be the same image.
func TestOpenEverySource(t *testing.T) {
	img := sample(t, "amd64")
	dir, saved := layoutOf(t, nil, img), savedOf(t, img)
	archive := archiveOf(t, dir)
	host := serveRegistry(t, img)
	socket := serveEngine(t, saved)
	tests := map[string]struct {
		ref  string
		opts image.Options
	}{
		"folder":            {ref: dir},
		"folder by prefix":  {ref: "oci:" + dir},
		"OCI archive":       {ref: archive},
		"by prefix":         {ref: "archive:" + archive},
		"gzip'd archive":    {ref: gzipped(t, archive)},
		"docker save":       {ref: saved},
		"gzip'd save":       {ref: gzipped(t, saved)},
		"registry":          {ref: host + "/app:1", opts: image.Options{Insecure: true}},
		"registry, prefix":  {ref: "registry:" + host + "/app:1", opts: image.Options{Insecure: true}},
		"podman":            {ref: "podman:example.test/app:1", opts: image.Options{PodmanSocket: socket}},
		"docker":            {ref: "docker:example.test/app:1", opts: image.Options{DockerSocket: socket}},
		"platform is asked": {ref: archive, opts: image.Options{Platform: "linux/amd64"}},
	}
	want := must[v1.Hash](t)(img.ConfigName()).String()
	manifest := image.Digest(must[v1.Hash](t)(img.Digest()).String())
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := image.Open(t.Context(), tt.ref, tt.opts)
			if err != nil {
				t.Fatal(err)
			}
			defer got.Close()
			if string(got.ID) != want || got.Name != tt.ref || got.Kind != image.KindImage || got.Platform != "linux/amd64" {
				t.Errorf("got %s %q %s %s; want %s", got.ID, got.Name, got.Kind, got.Platform, want)
			}
			if len(got.Manifests) > 0 && !slices.Contains(got.Manifests, manifest) {
				t.Errorf("manifests %v; want %s", got.Manifests, manifest)
			}
			if len(got.Layers) != 2 || got.Layers[0].CreatedBy != "step lower" || got.Layers[1].CreatedBy != "step upper" {
				t.Errorf("layers: %+v", got.Layers)
			}
			if errs := readAll(t, got); errs != nil {
				t.Error(errs)
			}
		})
	}
}

func TestConfigIsRead(t *testing.T) {
	got, err := image.Open(t.Context(), layoutOf(t, nil, sample(t, "amd64")), image.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	want := image.Config{
		User: "1000", Env: []string{"A=b"}, Entrypoint: []string{"/app"}, WorkingDir: "/srv", Ports: []string{"8080/tcp"}, Volumes: []string{},
		History: []image.History{{CreatedBy: "step lower"}, {CreatedBy: "ENV A=b", EmptyLayer: true}, {CreatedBy: "step upper"}},
	}
	if diff := cmp.Diff(want, got.Config); diff != "" {
		t.Error(diff)
	}
	a, b := got.Layers[0].DiffID, got.Layers[1].DiffID
	if want := image.DigestOf([]byte(string(a) + " " + string(b))); got.ChainID != want {
		t.Errorf("chain id %s; want %s", got.ChainID, want)
	}
	if got.Labels["l"] != "v" || got.Created.Year() != 2026 {
		t.Errorf("labels %v, created %v", got.Labels, got.Created)
	}
}

func TestPlatforms(t *testing.T) {
	amd, arm := sample(t, "amd64"), sample(t, "arm64")
	index := indexOf(t, "amd64", "arm64")
	dir := layoutOf(t, index)
	for _, tt := range []struct {
		platform string
		want     v1.Image
	}{{"linux/amd64", amd}, {"linux/arm64", arm}, {"linux/arm64/v8", arm}} {
		img, err := image.Open(t.Context(), dir, image.Options{Platform: tt.platform})
		if err != nil {
			t.Fatal(err)
		}
		if want := must[v1.Hash](t)(tt.want.ConfigName()).String(); string(img.ID) != want {
			t.Errorf("%s: got %s; want %s", tt.platform, img.ID, want)
		}
		manifests := []image.Digest{
			image.Digest(must[v1.Hash](t)(tt.want.Digest()).String()), image.Digest(must[v1.Hash](t)(index.Digest()).String()),
		}
		if diff := cmp.Diff(manifests, img.Manifests); diff != "" {
			t.Error(diff)
		}
		_ = img.Close()
	}
	_, err := image.Open(t.Context(), dir, image.Options{Platform: "linux/s390x"})
	if !fault.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "linux/arm64") {
		t.Errorf("got %v; want the platforms there are", err)
	}
	_, err = image.Open(t.Context(), layoutOf(t, nil, arm), image.Options{Platform: "linux/amd64"})
	if !fault.Is(err, fault.NotFound) {
		t.Errorf("got %v; want the other platform refused", err)
	}
}

func TestArtifact(t *testing.T) {
	program := append([]byte("\x7fELF"), make([]byte, 1021)...)
	path := filepath.Join(t.TempDir(), "tool")
	if err := os.WriteFile(path, program, 0o700); err != nil {
		t.Fatal(err)
	}
	img, err := image.Open(t.Context(), path, image.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	sum := sha256.Sum256(program)
	if img.Kind != image.KindArtifact || img.ID != image.Digest("sha256:"+hex.EncodeToString(sum[:])) {
		t.Errorf("got %s %s", img.Kind, img.ID)
	}
	if errs := readAll(t, img); errs != nil {
		t.Error(errs)
	}
	if err := os.WriteFile(path, append([]byte("\x7fELF"), make([]byte, 1020)...), 0o700); err != nil {
		t.Fatal(err)
	}
	if errs := readAll(t, img); errs == nil {
		t.Error("the file was changed, and nobody noticed")
	}
}

func TestHelpfulErrors(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(text, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	host := serveRegistry(t, sample(t, "amd64"))
	tests := map[string]struct {
		ref  string
		kind fault.Kind
		hint string
	}{
		"no such file":      {"./missing.tar", fault.NotFound, "registry reference"},
		"not a reference":   {"Not A Reference", fault.Invalid, "podman:"},
		"empty folder":      {dir, fault.Invalid, "OCI image layout"},
		"text file":         {text, fault.Invalid, "tried"},
		"no socket":         {"podman:app", fault.Unavailable, "start it"},
		"no such tag":       {host + "/app:none", fault.NotFound, "podman:"},
		"forced, missing":   {"archive:nothing", fault.NotFound, ""},
		"no registry there": {"127.0.0.1:1/app:1", fault.Unavailable, "TLS"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := image.Open(t.Context(), tt.ref, image.Options{Insecure: true, PodmanSocket: filepath.Join(dir, "none")})
			if !fault.Is(err, tt.kind) || !strings.Contains(fault.HintOf(err), tt.hint) {
				t.Errorf("got %v (%v), hint %q", err, fault.KindOf(err), fault.HintOf(err))
			}
		})
	}
}

// TestLayersAreFetchedOnce holds that neither opening an image nor checking its
// DiffIDs costs another pass over a layer.
func TestLayersAreFetchedOnce(t *testing.T) {
	host := serveRegistry(t, sample(t, "amd64"))
	var mu sync.Mutex
	fetched := map[string]int{}
	counting := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		if r.In.Method == http.MethodGet && strings.Contains(r.In.URL.Path, "/blobs/") {
			mu.Lock()
			fetched[path.Base(r.In.URL.Path)]++
			mu.Unlock()
		}
		r.SetURL(&url.URL{Scheme: "http", Host: host})
	}})
	t.Cleanup(counting.Close)
	count := func(d image.Digest) int {
		mu.Lock()
		defer mu.Unlock()
		return fetched[string(d)]
	}
	img, err := image.Open(t.Context(), strings.TrimPrefix(counting.URL, "http://")+"/app:1", image.Options{Insecure: true})
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	for _, layer := range img.Layers {
		if count(layer.Digest) != 0 {
			t.Errorf("opening the image fetched layer %s", layer.Digest)
		}
	}
	if err := errors.Join(readAll(t, img)...); err != nil {
		t.Fatal(err)
	}
	for _, layer := range img.Layers {
		if n := count(layer.Digest); n != 1 {
			t.Errorf("layer %s was fetched %d times", layer.Digest, n)
		}
	}
}

func serveRegistry(t testing.TB, img v1.Image) string {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(discardLogger())))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	ref := must[name.Reference](t)(name.ParseReference(host+"/app:1", name.Insecure))
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
	return host
}

// serveEngine answers like podman's and docker's REST socket.
func serveEngine(t testing.TB, saved string) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	listener := must[net.Listener](t)(net.Listen("unix", socket))
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/images/example.test/app:1/get" {
			http.NotFound(w, r)
			return
		}
		f, err := os.Open(saved)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer f.Close()
		_, _ = io.Copy(w, f)
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return socket
}
