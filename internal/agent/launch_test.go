// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/agent"
	"github.com/goldkeep/goldkeep/internal/attest/attesttest"
)

// launchHouse is an agent with a goldkeep it believes, and a program to run.
type launchHouse struct {
	house
	f               *fakeServer
	goldkeep, probe string
	sum             string
}

func newLaunchHouse(t *testing.T) launchHouse {
	t.Helper()
	dir := attesttest.Folder(t)
	l := launchHouse{f: newFake(t), goldkeep: filepath.Join(dir, "goldkeep"), probe: filepath.Join(dir, "probe")}
	attesttest.Run(t, "install", "-m", "0755", attesttest.Build(t, "testdata/goldkeep"), l.goldkeep)
	attesttest.Run(t, "install", "-m", "0755", attesttest.Probe(t), l.probe)
	l.sum, _, _ = strings.Cut(attesttest.Run(t, "sha256sum", l.probe), " ")
	l.f.wants = []client.WorkloadSecret{{KV: "payments/stripe", Mount: "secret", Field: "key", Env: "STRIPE_KEY"}}
	l.house = startAgent(t, l.f, func(o *agent.Options) { o.Launcher = l.goldkeep })
	waitFor(t, l.socket)
	return l
}

func (l launchHouse) run(t *testing.T, change func(*exec.Cmd), args ...string) *attesttest.Process {
	t.Helper()
	cmd := exec.Command(l.goldkeep, append([]string{l.socket}, args...)...)
	if change != nil {
		change(cmd)
	}
	return attesttest.Start(t, cmd)
}

func exitCode(t *testing.T, p *attesttest.Process) int {
	t.Helper()
	var exit *exec.ExitError
	err := p.Cmd.Wait()
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return p.Cmd.ProcessState.ExitCode()
}

func TestLaunch(t *testing.T) {
	l := newLaunchHouse(t)
	p := l.run(t, nil, l.probe, "environ")
	if got := p.Until(t, "STRIPE_KEY="); got != "STRIPE_KEY=sk-1" {
		t.Error(got)
	}
	p.Until(t, "ready")
	l.f.do(func() {
		got := l.f.evidence[0]
		if got.Executable != "sha256:"+l.sum || got.Program != "probe" || got.Kind != "process" || got.PID != p.Cmd.Process.Pid {
			t.Errorf("evidence %+v, want the program's digest %s", got, l.sum)
		}
	})
	// A change is signalled as the workload wants it, signals are passed on, and
	// a revocation stops the child; its exit code is ours.
	l.f.putSecret("payments/stripe", map[string]any{"key": "sk-2"})
	if got := p.Until(t, "signal"); got != "signal user defined signal 1" {
		t.Error(got)
	}
	if err := p.Cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if got := p.Until(t, "signal"); got != "signal hangup" {
		t.Error(got)
	}
	l.f.do(func() { l.f.set("i-1", "revoked", "CVE-2026-1") })
	if got := p.Until(t, "signal"); got != "signal terminated" {
		t.Error(got)
	}
	if code := exitCode(t, p); code != 7 {
		t.Errorf("exit code %d, want the child's", code)
	}
}

func TestLaunchAsAnotherUser(t *testing.T) {
	l := newLaunchHouse(t)
	p := l.run(t, func(cmd *exec.Cmd) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 4711, Gid: 4711}}
	}, l.probe, "environ")
	p.Until(t, "STRIPE_KEY=sk-1")
	p.Until(t, "ready")
	// The launcher's memory and environment are closed to its own user.
	peek := exec.Command("cat", "/proc/"+itoa(int64(p.Cmd.Process.Pid))+"/environ")
	peek.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 4711, Gid: 4711}}
	if out, err := peek.Output(); err == nil {
		t.Errorf("the same user can read the launcher: %q", out)
	}
}

func TestStubbornChildIsKilled(t *testing.T) {
	l := newLaunchHouse(t)
	p := l.run(t, nil, l.probe, "environ", "ignores SIGTERM")
	p.Until(t, "ready")
	l.f.do(func() { l.f.set("i-1", "revoked", "CVE-2026-1") })
	if code := exitCode(t, p); code != 128+int(syscall.SIGKILL) {
		t.Errorf("exit code %d", code)
	}
}

func TestOnRevokeSignalOnly(t *testing.T) {
	l := newLaunchHouse(t)
	p := l.run(t, func(cmd *exec.Cmd) { cmd.Env = append(os.Environ(), "ON_REVOKE=signal") }, l.probe, "environ")
	p.Until(t, "ready")
	l.f.do(func() { l.f.set("i-1", "revoked", "CVE-2026-1") })
	if got := p.Until(t, "signal"); got != "signal user defined signal 1" {
		t.Error(got)
	}
	if err := p.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := exitCode(t, p); code != 7 {
		t.Errorf("exit code %d", code)
	}
}

// TestKilledLauncherTakesTheChildAlong: nobody else could take its secrets back.
func TestKilledLauncherTakesTheChildAlong(t *testing.T) {
	l := newLaunchHouse(t)
	p := l.run(t, nil, l.probe, "environ")
	p.Until(t, "ready")
	if err := p.Cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	l.f.until("the server is told", func() bool { return len(l.f.left) == 1 })
	if got := p.Until(t, "end of"); got == "" { // the child held the other end of the pipe
		t.Error("the child lives on")
	}
}

// TestAgentStartedAnew: the program goes on under the next agent.
func TestAgentStartedAnew(t *testing.T) {
	l := newLaunchHouse(t)
	p := l.run(t, nil, l.probe, "environ")
	p.Until(t, "ready")
	l.stop()
	startAgent(t, l.f, func(o *agent.Options) { o.Launcher, o.Socket, o.Files = l.goldkeep, l.socket, l.files })
	l.f.until("the second agent asks", func() bool { return len(l.f.evidence) == 2 && len(l.f.states) == 2 })
	l.f.do(func() {
		if l.f.evidence[1].Executable != "sha256:"+l.sum {
			t.Errorf("evidence %+v", l.f.evidence[1])
		}
	})
	if err := p.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := exitCode(t, p); code != 7 {
		t.Errorf("exit code %d", code)
	}
}

func TestLaunchRefused(t *testing.T) {
	l := newLaunchHouse(t)
	script := filepath.Join(filepath.Dir(l.probe), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho $STRIPE_KEY\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got := l.run(t, nil, script).Line(t); !strings.Contains(got, "no ELF executable") {
		t.Error(got)
	}
	if got := l.run(t, nil, "/no/such/program").Line(t); !strings.Contains(got, "find program") {
		t.Error(got)
	}
	l.f.do(func() { l.f.refuse = true })
	got := l.run(t, nil, l.probe, "environ")
	if line := got.Line(t); !strings.Contains(line, "payments may not run in prod") {
		t.Error(line)
	}

	// A launcher that is not the agent's goldkeep may say what it likes.
	fake := filepath.Join(filepath.Dir(l.probe), "fake")
	text, err := os.ReadFile(l.goldkeep)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(fake, append(text, 0), 0o755); err != nil {
		t.Fatal(err)
	}
	l.f.do(func() { l.f.refuse = false })
	l.goldkeep = fake
	if line := l.run(t, nil, l.probe, "environ").Line(t); !strings.Contains(line, "only `goldkeep run`") {
		t.Error(line)
	}
	l.f.do(func() {
		for _, e := range l.f.evidence {
			if e.Executable != "sha256:"+l.sum {
				t.Errorf("the server was asked about %s", e.Executable)
			}
		}
	})
}
