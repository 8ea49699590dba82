// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package podman_test

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/internal/attest"
	"github.com/goldkeep/goldkeep/internal/attest/attesttest"
	"github.com/goldkeep/goldkeep/internal/attest/podman"
	"github.com/goldkeep/goldkeep/internal/attest/unix"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// TestRealContainers runs the whole algorithm on real containers.
func TestRealContainers(t *testing.T) {
	probe := attesttest.Probe(t)
	service := attesttest.NewPodman(t)
	socket, accept := attesttest.Socket(t)
	const name = "localhost/gk-attest:1"
	id := attesttest.Image(t, probe, name, "first")
	cmd, container := attesttest.Container(t, []string{"-v", filepath.Dir(socket) + ":/s"}, name, "hold", "/s/s.sock")
	attesttest.Start(t, cmd)
	conn := accept()
	a := &attest.Attestor{Runtimes: []attest.Runtime{podman.New(service.Socket)}, Process: unix.Processes{}, Node: "n"}

	e, peer, err := a.Attest(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = peer.Close() }()
	wantID := attesttest.Run(t, "podman", "inspect", "-f", "{{.Id}}", container)
	if e.Kind != "podman" || e.Image != "sha256:"+id || e.Container != wantID || e.Executable != "" || e.Main != e.PID {
		t.Errorf("evidence %+v, want image %s of container %s", e, id, wantID)
	}
	layer := attesttest.Run(t, "podman", "image", "inspect", "-f", "{{index .RootFS.Layers 0}}", id)
	if e.ChainID != layer || len(e.Manifests) == 0 {
		t.Errorf("chain id %s of layer %s, manifests %v", e.ChainID, layer, e.Manifests)
	}

	t.Run("the name moves to another image", func(t *testing.T) {
		other := attesttest.Image(t, probe, name, "second")
		if other == id {
			t.Fatal("the two images do not differ")
		}
		again, err := a.Examine(t.Context(), peer)
		if err != nil {
			t.Fatal(err)
		}
		if again.Image != "sha256:"+id {
			t.Errorf("image %s, but the container runs %s", again.Image, id)
		}
	})
	t.Run("export", func(t *testing.T) {
		archive, err := a.Export(t.Context(), e, peer)
		if err != nil {
			t.Fatal(err)
		}
		if !holds(t, archive, "manifest.json") {
			t.Error("no docker archive")
		}
	})
	t.Run("anchor", func(t *testing.T) {
		anchor, err := a.Anchor(e, peer)
		if err != nil {
			t.Fatal(err)
		}
		if anchor.PID != e.Main {
			t.Errorf("anchored at %d", anchor.PID)
		}
		_ = anchor.Close()
		wrong := *e
		wrong.Main = 1
		if anchor, err := a.Anchor(&wrong, peer); !fault.Is(err, fault.Refused) {
			t.Errorf("anchored at a process outside: %v %v", anchor, err)
		}
	})
	t.Run("what it does", func(t *testing.T) { checkSight(t, a, id, accept, filepath.Dir(socket)) })
	t.Run("a container without a known runtime is no plain process", func(t *testing.T) {
		blind := &attest.Attestor{Process: unix.Processes{}, Node: "n"}
		if _, err := blind.Examine(t.Context(), peer); !fault.Is(err, fault.Refused) {
			t.Errorf("err = %v", err)
		}
	})
	t.Run("the service is down", func(t *testing.T) {
		service.Stop()
		if e, err := a.Examine(t.Context(), peer); !fault.Is(err, fault.Unavailable) || fault.HintOf(err) == "" {
			t.Errorf("evidence %+v, err = %v", e, err)
		}
	})
}

// checkSight looks at containers that listen: one that is what it seems, and one
// whose program is gone, at a path made to look like two lines.
func checkSight(t *testing.T, a *attest.Attestor, image string, accept func() *net.UnixConn, sockets string) {
	ports := []string{"tcp4 0.0.0.0:8080", "tcp4 127.0.0.1:9090", "udp4 0.0.0.0:53"}
	for _, c := range []struct {
		args []string
		want attest.Sight
	}{
		{[]string{"listen", "/s/s.sock"}, attest.Sight{
			Executed: []string{"/probe"}, Listening: []attest.Socket{{Port: "53/udp", Path: "/probe"}, {Port: "8080/tcp", Path: "/probe"}},
		}},
		{[]string{"elsewhere", "/tmp/x\n (deleted)", "/s/s.sock"}, attest.Sight{Listening: []attest.Socket{{Port: "53/udp"}, {Port: "8080/tcp"}}}},
		{[]string{"elsewhere", "/s/copy", "/s/s.sock"}, attest.Sight{Listening: []attest.Socket{{Port: "53/udp"}, {Port: "8080/tcp"}}}},
	} {
		cmd, _ := attesttest.Container(t, []string{"-v", sockets + ":/s", "--tmpfs", "/tmp:exec"}, image, append(c.args, ports...)...)
		p := attesttest.Start(t, cmd)
		p.Until(t, "ports")
		e, peer, err := a.Attest(t.Context(), accept())
		if err != nil {
			t.Fatal(err)
		}
		anchor, err := a.Anchor(e, peer)
		if err != nil {
			t.Fatal(err)
		}
		sight, err := attest.Look(t.Context(), e, anchor)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&c.want, sight); diff != "" {
			t.Errorf("%q: %s", c.args, diff)
		}
		_, _ = anchor.Close(), peer.Close()
		_ = p.In.Close()
	}
}

func holds(t *testing.T, archive io.ReadCloser, name string) bool {
	t.Helper()
	defer func() { _ = archive.Close() }()
	r := tar.NewReader(archive)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return false
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Name == name {
			return true
		}
	}
}

var (
	idA = strings.Repeat("a", 64)
	idB = strings.Repeat("b", 64)
	img = strings.Repeat("1", 64)
)

// TestClaims asks a made-up service about process trees that are hard to build.
func TestClaims(t *testing.T) {
	pathA, pathB := "/libpod_parent/libpod-"+idA, "/libpod_parent/libpod-"+idB
	inner := pathA + "/nested/libpod-" + idB
	tests := map[string]struct {
		paths  map[string]string
		groups string
		want   string // container; "" none
		kind   fault.Kind
	}{
		"plain process":              {map[string]string{idA: pathA}, "0::/user", "", 0},
		"container":                  {map[string]string{idA: pathA, idB: pathB}, "0::" + pathB, idB, 0},
		"deeper inside":              {map[string]string{idA: pathA}, "0::" + pathA + "/x/y", idA, 0},
		"outermost wins":             {map[string]string{idA: pathA, idB: inner}, "0::" + inner, idA, 0},
		"fake name inside own group": {map[string]string{idA: pathA, idB: pathB}, "0::" + pathA + "/libpod-" + idB, idA, 0},
		"fake name at the top":       {map[string]string{idA: pathA, idB: pathB}, "9:name=systemd:/" + idB + "\n0::" + pathA, idA, 0},
		"joined another's group":     {map[string]string{idA: pathA, idB: pathB}, "9:name=systemd:" + pathB + "\n3:cpu:" + pathA + "\n0::" + pathA, "", fault.Refused},
		"v1 hierarchies disagree":    {map[string]string{idA: pathA}, "9:name=systemd:/x\n3:cpu:" + pathA + "\n0::/", "", fault.Refused},
		"no group of its own":        {map[string]string{idA: ""}, "0::/user", "", 0},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			groups, err := attest.ParseCgroups(tc.groups)
			if err != nil {
				t.Fatal(err)
			}
			got, err := podman.New(fakeService(t, tc.paths, img)).Find(t.Context(), groups)
			if tc.kind != 0 {
				if !fault.Is(err, tc.kind) {
					t.Errorf("got %+v, err = %v", got, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if (got == nil) != (tc.want == "") || got != nil && got.ID != tc.want {
				t.Errorf("got %+v, want %q", got, tc.want)
			}
		})
	}
}

func TestServiceTellsNonsense(t *testing.T) {
	groups := attest.Cgroups{Unified: "/g"}
	for name, tc := range map[string]struct {
		id, image string
		kind      fault.Kind
	}{
		"no image":  {idA, "", fault.Refused},
		"id a path": {"../../x", img, fault.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := podman.New(fakeService(t, map[string]string{tc.id: "/g"}, tc.image)).Find(t.Context(), groups)
			if !fault.Is(err, tc.kind) {
				t.Errorf("got %+v, err = %v", got, err)
			}
		})
	}
	if _, err := podman.New(filepath.Join(t.TempDir(), "none")).Find(t.Context(), groups); !fault.Is(err, fault.Unavailable) {
		t.Errorf("no service: %v", err)
	}
}

// fakeService answers like podman 4.3 for containers id -> control group.
func fakeService(t *testing.T, paths map[string]string, image string) string {
	t.Helper()
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		if err := json.NewEncoder(w).Encode(v); err != nil {
			t.Error(err)
		}
	}
	mux.HandleFunc("/v4.0.0/libpod/containers/json", func(w http.ResponseWriter, _ *http.Request) {
		var list []map[string]string
		for id := range paths {
			list = append(list, map[string]string{"Id": id})
		}
		answer(w, list)
	})
	mux.HandleFunc("/v4.0.0/libpod/containers/{id}/json", func(w http.ResponseWriter, r *http.Request) {
		id := r.PathValue("id")
		answer(w, map[string]any{"Id": id, "Image": image, "State": map[string]any{
			"Running": true, "Pid": 1, "CgroupPath": paths[id],
		}})
	})
	mux.HandleFunc("/v4.0.0/libpod/images/{id}/json", func(w http.ResponseWriter, r *http.Request) {
		answer(w, map[string]any{"Id": r.PathValue("id"), "RootFS": map[string]any{
			"Layers": []string{fmt.Sprintf("sha256:%064d", 1), fmt.Sprintf("sha256:%064d", 2)},
		}})
	})
	socket := filepath.Join(attesttest.Folder(t), "fake.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(mux)
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	return socket
}
