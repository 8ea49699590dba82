// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"archive/tar"
	"bytes"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// TestCheckByTheServer: the server judges images it does not know yet, from what
// it lacks of them only, and says the same as a check without one.
func TestCheckByTheServer(t *testing.T) {
	_, addr := dev(t, "VAULT_DEV_ROOT_TOKEN_ID=root")
	through, sent := counting(t, addr)
	env := []string{"GOLDKEEP_ADDR=" + through, "GOLDKEEP_TOKEN=root"}
	rules := filepath.Join(t.TempDir(), "rules.yaml")
	text := "apiVersion: goldkeep.dev/v1\nkind: Environment\nmetadata: {name: test, owner: o}\nspec:\n  admit: [{hygiene: {shell: deny, root: allow}}]\n"
	if err := os.WriteFile(rules, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	big := make([]byte, 2<<20)
	_, _ = rand.Read(big)
	base := layerOf(t, map[string][]byte{
		"etc/os-release":      []byte("ID=debian\nVERSION_ID=\"12\"\n"),
		"var/lib/dpkg/status": []byte("Package: zlib1g\nStatus: install ok installed\nVersion: 1.0\nArchitecture: amd64\n\n"),
		"usr/share/big":       big,
	})
	first := layoutOf(t, base, layerOf(t, map[string][]byte{"app/one": []byte("1")}))
	second := layoutOf(t, base, layerOf(t, map[string][]byte{"bin/sh": append([]byte("\x7fELF"), make([]byte, 2000)...)}))

	for _, wrong := range [][]string{{"--server"}, {"--server", "--env", "test", "-f", rules}} {
		if r := cli(t, env, "", append([]string{"check", first}, wrong...)...); r.code != 2 {
			t.Errorf("%v: exit code %d\n%s", wrong, r.code, r.errors)
		}
	}
	if r := cli(t, env, "", "check", first, "--server", "--env", "test"); r.code != 1 || sent.Load() > 100_000 {
		t.Errorf("an environment there is not: exit code %d, %d bytes sent\n%s", r.code, sent.Load(), r.errors)
	}
	if r := cli(t, env, "", "apply", "--yes", "-f", rules); r.code != 0 {
		t.Fatal(r.errors)
	}
	if r := cli(t, env, "", "check", first, "--server", "--env", "test"); r.code != 0 || !strings.Contains(r.out, "zlib1g") && !strings.Contains(r.out, "1 component") {
		t.Errorf("an unknown image: exit code %d\n%s%s", r.code, r.out, r.errors)
	}
	if n := sent.Swap(0); n < int64(len(big)) {
		t.Errorf("%d bytes were sent; the base alone is larger", n)
	}
	alone := cli(t, nil, "", "check", second, "-f", rules, "-o", "json", "--no-cache")
	remote := cli(t, env, "", "check", second, "--server", "--env", "test", "-o", "json")
	if n := sent.Swap(0); n > 100_000 {
		t.Errorf("%d bytes were sent of an image whose base is known", n)
	}
	if alone.code != 3 || remote.code != 3 {
		t.Errorf("exit codes %d and %d; want 3\n%s%s", alone.code, remote.code, alone.errors, remote.errors)
	}
	if a, b := reasons(t, alone.out), reasons(t, remote.out); a != b || !strings.Contains(a, "shell") {
		t.Errorf("without a server:\n%s\nby the server:\n%s", a, b)
	}
	if r := cli(t, env, "", "check", second, "--server", "--env", "test"); r.code != 3 || sent.Load() > 1000 {
		t.Errorf("a known image: exit code %d, %d bytes sent", r.code, sent.Load())
	}
}

// counting is a proxy in front of a server that counts the bytes of bodies.
func counting(t *testing.T, addr string) (string, *atomic.Int64) {
	t.Helper()
	n := &atomic.Int64{}
	proxy := httputil.NewSingleHostReverseProxy(must(url.Parse(addr))(t))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.TeeReader(r.Body, counter{n}), r.Body}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	return srv.URL, n
}

type counter struct{ n *atomic.Int64 }

func (c counter) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}

func layerOf(t *testing.T, files map[string][]byte) v1.Layer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, data := range files {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755, Size: int64(len(data))}); err != nil {
			t.Fatal(err)
		}
		_ = must(w.Write(data))(t)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return must(tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil }))(t)
}

func layoutOf(t *testing.T, layers ...v1.Layer) string {
	t.Helper()
	img := must(mutate.AppendLayers(empty.Image, layers...))(t)
	cfg := must(img.ConfigFile())(t).DeepCopy()
	cfg.OS, cfg.Architecture = "linux", "amd64"
	img = must(mutate.ConfigFile(img, cfg))(t)
	dir := t.TempDir()
	if err := must(layout.Write(dir, empty.Index))(t).AppendImage(img); err != nil {
		t.Fatal(err)
	}
	return dir
}

// reasons are the reasons of admit in "check -o json".
func reasons(t *testing.T, text string) string {
	t.Helper()
	var out struct {
		Verdict struct {
			Admit json.RawMessage `json:"admit"`
		} `json:"verdict"`
	}
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	return string(out.Verdict.Admit)
}
