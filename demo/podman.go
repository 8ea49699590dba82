// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// podman runs the workloads as containers.
type podman struct {
	global []string // "--runtime runc", where the default runtime does not work
	flags  []string // of run
	socket string
}

func (p *podman) socketOrNone() string {
	if p == nil {
		return "none"
	}
	return p.socket
}

// chooseRuntime takes podman where it works (as root: the agent must see into
// containers), and plain processes elsewhere.
func (s *stage) chooseRuntime(ctx context.Context) error {
	if os.Geteuid() != 0 {
		s.say("Not root: the workloads are plain processes, known by the SHA-256 of their program.")
		return nil
	}
	if _, err := exec.LookPath("podman"); err != nil {
		s.say("No podman here: the workloads are plain processes, known by the SHA-256 of their program.")
		return nil
	}
	ref, err := (&podman{}).image(ctx, s, "patched")
	if err != nil {
		return err
	}
	for _, p := range []*podman{
		{},
		{global: []string{"--runtime", "runc"}, flags: []string{"--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"}},
	} {
		if p.works(ctx, ref) {
			p.socket = s.path("podman.sock")
			s.podman = p
			s.say("podman works here: the workloads are containers, known by their image's digest.")
			return s.start(ctx, "podman", "podman", append(p.global, "system", "service", "--time=0", "unix://"+p.socket)...)
		}
	}
	s.say("podman does not work here: the workloads are plain processes, known by the SHA-256 of their program.")
	return nil
}

// works tries podman out with a container that ends at once.
func (p *podman) works(ctx context.Context, archive string) bool {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	load := exec.CommandContext(ctx, "podman", append(p.global, "load", "-q", "-i", archive)...)
	if load.Run() != nil {
		return false
	}
	args := append(append(p.global, "run", "--rm", "--network=none"), p.flags...)
	return exec.CommandContext(ctx, "podman", append(args, "localhost/goldkeep-demo/orders:patched", "--version")...).Run() == nil
}

// image makes an image of one file from a build, and loads it.
func (p *podman) image(ctx context.Context, s *stage, build string) (archive string, err error) {
	archive = s.path("bin", build+".tar")
	if _, err := os.Stat(archive); err == nil {
		return archive, nil
	}
	img, err := oneFile(s.path("bin", build, "orders"))
	if err != nil {
		return "", err
	}
	tag, err := name.NewTag("localhost/goldkeep-demo/orders:" + build)
	if err != nil {
		return "", err
	}
	if err := tarball.WriteToFile(archive, tag, img); err != nil {
		return "", err
	}
	s.cleanups = append(s.cleanups, func() error {
		_ = exec.Command("podman", "rmi", "-f", tag.String()).Run() // it may never have been loaded
		return nil
	})
	return archive, nil
}

// oneFile is an image FROM scratch that holds one program.
func oneFile(program string) (v1.Image, error) {
	content, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "orders", Mode: 0o755, Size: int64(len(content)), Typeflag: tar.TypeReg}); err != nil {
		return nil, err
	}
	if _, err := w.Write(content); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	if err != nil {
		return nil, err
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, err
	}
	return mutate.ConfigFile(img, config(img))
}

func config(img v1.Image) *v1.ConfigFile {
	c, err := img.ConfigFile()
	if err != nil {
		c = &v1.ConfigFile{}
	}
	c = c.DeepCopy()
	c.Architecture, c.OS = architecture(), "linux"
	c.Created = v1.Time{Time: time.Now()}
	c.Config = v1.Config{Entrypoint: []string{"/orders"}, User: "65532:65532", Env: []string{"PATH=/"}}
	return c
}

// architecture is this machine's, as images name it.
func architecture() string {
	out, err := exec.Command("go", "env", "GOARCH").Output()
	if err != nil {
		return "amd64"
	}
	return strings.TrimSpace(string(out))
}

// run starts a container of a build.
func (p *podman) run(ctx context.Context, s *stage, build, name string) error {
	archive := s.path("bin", build+".tar")
	load := exec.CommandContext(ctx, "podman", append(p.global, "load", "-q", "-i", archive)...)
	if out, err := load.CombinedOutput(); err != nil {
		return fmt.Errorf("podman load: %w\n%s", err, out)
	}
	container := "goldkeep-demo-" + name
	args := append(append([]string{}, p.global...), "run", "--rm", "--name", container, "--replace", "--network=none", "--read-only",
		"--tmpfs", "/run/goldkeep:rw,mode=0755", "-v", filepath.Join(s.dir, "run")+":/run/agent:ro",
		"-e", "GOLDKEEP_AGENT_SOCKET=/run/agent/agent.sock")
	args = append(append(args, p.flags...), "localhost/goldkeep-demo/orders:"+build)
	s.cleanups = append(s.cleanups, func() error {
		_ = exec.Command("podman", append(p.global, "rm", "-f", "-t", "1", container)...).Run() // it may have ended
		return nil
	})
	return s.start(ctx, name, "podman", args...)
}
