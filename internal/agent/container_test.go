// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goldkeep/goldkeep/internal/agent"
	"github.com/goldkeep/goldkeep/internal/attest"
	"github.com/goldkeep/goldkeep/internal/attest/attesttest"
	"github.com/goldkeep/goldkeep/internal/attest/podman"
)

// TestContainers runs real containers against a real agent.
func TestContainers(t *testing.T) {
	probe := attesttest.Probe(t)
	service := attesttest.NewPodman(t)
	const name = "localhost/gk-agent:1"
	image := attesttest.Image(t, probe, name, "agent")
	f := newFake(t)
	f.wanted = true
	h := startAgent(t, f, func(o *agent.Options) { o.Runtimes = []attest.Runtime{podman.New(service.Socket)} })
	waitFor(t, h.socket)
	mount := "-v=" + filepath.Dir(h.socket) + ":/s:ro"

	t.Run("with a tmpfs", func(t *testing.T) {
		cmd, container := attesttest.Container(t, []string{mount, "--tmpfs", "/run/goldkeep"}, name, "ask", "/s/agent.sock")
		p := attesttest.Start(t, cmd)
		p.Until(t, "ready")
		id := get(t, p, "GET /v1/identity", "200")
		f.do(func() {
			if got := f.evidence[len(f.evidence)-1]; got.Image != "sha256:"+image || got.Kind != "podman" {
				t.Errorf("evidence %+v", got)
			}
			if len(f.uploads) != 1 {
				t.Errorf("uploads %v", f.uploads)
			}
		})
		if id.Directory != "/run/goldkeep/secrets" {
			t.Errorf("directory %q, reason %q", id.Directory, id.Reason)
		}
		if got := p.Ask(t, "FILE /run/goldkeep/secrets/stripe.json"); !strings.Contains(got, "sk-1") {
			t.Error(got)
		}
		note := filepath.Join(h.files, ".state", id.Instance)
		if _, err := os.Stat(note); err != nil {
			t.Error(err)
		}
		f.do(func() { f.set(id.Instance, "revoked", "too old") })
		watchUntil(t, p, id.Revision, "revoked")
		if got := p.Ask(t, "FILE /run/goldkeep/secrets/stripe.json"); !strings.Contains(got, "no such file") {
			t.Error(got)
		}
		again := get(t, p, "GET /v1/identity", "200")
		if got := p.Ask(t, "FILE /run/goldkeep/secrets/stripe.json"); !strings.Contains(got, "sk-1") {
			t.Error(got)
		}
		attesttest.Run(t, "podman", "--runtime", "runc", "rm", "-f", "-t", "0", container)
		f.until("the server is told of the end", func() bool { return len(f.left) == 1 && f.left[0] == again.Instance })
	})
	t.Run("without a tmpfs", func(t *testing.T) {
		cmd, _ := attesttest.Container(t, []string{mount}, name, "ask", "/s/agent.sock")
		p := attesttest.Start(t, cmd)
		p.Until(t, "ready")
		id := get(t, p, "GET /v1/identity", "200")
		if id.Directory != "" || !strings.Contains(id.Reason, "no tmpfs at /run/goldkeep") {
			t.Errorf("identity %+v", id)
		}
		if got := p.Ask(t, "GET /v1/secrets"); !strings.Contains(got, "sk-1") {
			t.Error(got)
		}
	})
	t.Run("the agent is killed", func(t *testing.T) {
		cmd, _ := attesttest.Container(t, []string{mount, "--tmpfs", "/run/goldkeep"}, name, "ask", "/s/agent.sock")
		p := attesttest.Start(t, cmd)
		p.Until(t, "ready")
		id := get(t, p, "GET /v1/identity", "200")
		// What a killed agent leaves behind is found by the next one.
		startAgent(t, f, func(o *agent.Options) { o.Files = h.files })
		if got := p.Ask(t, "FILE /run/goldkeep/secrets/stripe.json"); !strings.Contains(got, "no such file") {
			t.Errorf("files of %s: %s", id.Instance, got)
		}
	})
	t.Run("a container of no known runtime", func(t *testing.T) {
		blind := startAgent(t, f, nil)
		waitFor(t, blind.socket)
		cmd, _ := attesttest.Container(t, []string{"-v=" + filepath.Dir(blind.socket) + ":/s:ro"}, name, "ask", "/s/agent.sock")
		p := attesttest.Start(t, cmd)
		p.Until(t, "ready")
		if id := get(t, p, "GET /v1/identity", "403"); !strings.Contains(id.Detail, "runtime this agent does not know") {
			t.Errorf("answer %+v", id)
		}
	})
	t.Run("the runtime is down", func(t *testing.T) {
		service.Stop()
		p := attesttest.Start(t, exec.Command(probe, "ask", h.socket)) // not even plain processes: it might be one of its own
		p.Until(t, "ready")
		if id := get(t, p, "GET /v1/identity", "503"); !strings.Contains(id.Detail, "podman does not answer") {
			t.Errorf("answer %+v", id)
		}
	})
}
