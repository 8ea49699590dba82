// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package attest_test

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/internal/attest"
	"github.com/goldkeep/goldkeep/internal/attest/attesttest"
	"github.com/goldkeep/goldkeep/internal/attest/unix"
	"github.com/goldkeep/goldkeep/internal/fault"
)

func TestPeerLivesAndEnds(t *testing.T) {
	socket, accept := attesttest.Socket(t)
	p := attesttest.Start(t, exec.Command(attesttest.Probe(t), "hold", socket))
	peer, err := attest.PeerOf(accept())
	if err != nil {
		t.Fatal(err)
	}
	defer closePeer(t, peer)
	if peer.PID != p.Cmd.Process.Pid || peer.UID != uint32(os.Getuid()) || peer.StartTime == 0 {
		t.Errorf("peer = %+v, want pid %d", peer, p.Cmd.Process.Pid)
	}
	if err := peer.Alive(); err != nil {
		t.Fatal(err)
	}
	clone, err := peer.Clone()
	if err != nil {
		t.Fatal(err)
	}
	defer closePeer(t, clone)
	select {
	case <-peer.Done():
		t.Fatal("done while it runs")
	default:
	}
	if err := p.Cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, one := range []*attest.Peer{peer, clone} {
		select {
		case <-one.Done():
		case <-time.After(10 * time.Second):
			t.Fatal("the end was not seen")
		}
		if err := one.Alive(); !fault.Is(err, fault.Refused) {
			t.Errorf("alive after its end: %v", err)
		}
		if _, err := one.Cgroups(); !fault.Is(err, fault.Refused) {
			t.Errorf("control groups of a dead process: %v", err)
		}
	}
}

func TestCloseEndsDone(t *testing.T) {
	socket, accept := attesttest.Socket(t)
	attesttest.Start(t, exec.Command(attesttest.Probe(t), "hold", socket))
	peer, err := attest.PeerOf(accept())
	if err != nil {
		t.Fatal(err)
	}
	done := peer.Done()
	closePeer(t, peer)
	<-done
}

func TestDeadPeerIsRefused(t *testing.T) {
	socket, accept := attesttest.Socket(t)
	p := attesttest.Start(t, exec.Command(attesttest.Probe(t), "die", socket))
	if err := p.Cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := attest.PeerOf(accept()); !fault.Is(err, fault.Refused) {
		t.Errorf("err = %v, want refused", err)
	}
}

// TestConnectionHandedOn: whoever connected answers for the connection. A child
// that got it is not taken for its parent once the parent is gone.
func TestConnectionHandedOn(t *testing.T) {
	socket, accept := attesttest.Socket(t)
	p := attesttest.Start(t, exec.Command(attesttest.Probe(t), "hand", socket))
	p.Until(t, "child ")
	conn := accept()
	peer, err := attest.PeerOf(conn)
	if err != nil {
		t.Fatal(err)
	}
	closePeer(t, peer)
	if peer.PID != p.Cmd.Process.Pid {
		t.Errorf("pid %d, want the parent's %d", peer.PID, p.Cmd.Process.Pid)
	}
	p.Until(t, "ready") // the child
	if err := p.Cmd.Process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Cmd.Process.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := attest.PeerOf(conn); !fault.Is(err, fault.Refused) {
		t.Errorf("the child speaks for its dead parent: %v", err)
	}
}

// TestPidUsedAgain replays the attack on pid-based attestation: the peer connects
// and ends, and another process gets its pid before the agent looks.
func TestPidUsedAgain(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("this test needs root: it makes a process with a chosen pid")
	}
	probe := attesttest.Probe(t)
	socket, accept := attesttest.Socket(t)
	first := attesttest.Start(t, exec.Command(probe, "hold", socket))
	first.Until(t, "ready")
	conn := accept()
	early, err := attest.PeerOf(conn)
	if err != nil {
		t.Fatal(err)
	}
	defer closePeer(t, early)
	pid := first.Cmd.Process.Pid
	if err := first.Cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Cmd.Process.Wait(); err != nil {
		t.Fatal(err)
	}
	victim := startWithPID(t, probe, pid)
	if _, err := os.Stat("/proc/" + strconv.Itoa(pid) + "/exe"); err != nil {
		t.Fatalf("the victim does not run: %v", err)
	}
	if victim.Cmd.Process.Pid != pid {
		t.Fatalf("victim has pid %d, want %d", victim.Cmd.Process.Pid, pid)
	}
	a := attestor()
	if e, peer, err := a.Attest(t.Context(), conn); !fault.Is(err, fault.Refused) {
		t.Errorf("attested the victim: %+v %v %v", e, peer, err)
	}
	if e, err := a.Examine(t.Context(), early); !fault.Is(err, fault.Refused) {
		t.Errorf("examined the victim: %+v %v", e, err)
	}
	// Start times count in hundredths of a second; a note is about one long past.
	if _, err := attest.Find(pid, early.StartTime-1); !fault.Is(err, fault.Refused) {
		t.Errorf("an old note was believed: %v", err)
	}
}

// startWithPID starts a process with a chosen pid. Other processes of the machine
// are started at the same time, so it takes some tries.
func startWithPID(t *testing.T, program string, pid int) *attesttest.Process {
	t.Helper()
	for range 200 {
		if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(pid-1)), 0); err != nil {
			t.Fatalf("choose a pid: %v (the kernel needs CONFIG_CHECKPOINT_RESTORE)", err)
		}
		p := attesttest.Start(t, exec.Command(program, "sleep"))
		if p.Cmd.Process.Pid == pid {
			p.Until(t, "ready")
			return p
		}
		_ = p.Cmd.Process.Kill()
	}
	t.Fatalf("pid %d was never free", pid)
	return nil
}

func TestPlainProcess(t *testing.T) {
	probe := attesttest.Probe(t)
	socket, accept := attesttest.Socket(t)
	p := attesttest.Start(t, exec.Command(probe, "hold", socket))
	e, peer, err := attestor().Attest(t.Context(), accept())
	if err != nil {
		t.Fatal(err)
	}
	defer closePeer(t, peer)
	sum, _, _ := strings.Cut(attesttest.Run(t, "sha256sum", probe), " ")
	want := &attest.Evidence{
		Kind: "process", Executable: "sha256:" + sum, Program: "probe", Node: "node-1", CgroupPath: e.CgroupPath,
		PID: p.Cmd.Process.Pid, StartTime: peer.StartTime, UID: uint32(os.Getuid()), GID: uint32(os.Getgid()),
	}
	if diff := cmp.Diff(want, e); diff != "" {
		t.Error(diff)
	}
	anchor, err := attestor().Anchor(e, peer)
	if err != nil {
		t.Fatal(err)
	}
	closePeer(t, anchor)
}

func TestOtherMountNamespaceIsNoPlainProcess(t *testing.T) {
	socket, accept := attesttest.Socket(t)
	cmd := exec.Command(attesttest.Probe(t), "hold", socket)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	attesttest.Start(t, cmd)
	_, _, err := attestor().Attest(t.Context(), accept())
	if !fault.Is(err, fault.Refused) || !strings.Contains(err.Error(), "container of a runtime this agent does not know") {
		t.Errorf("err = %v", err)
	}
}

func TestParseCgroups(t *testing.T) {
	tests := map[string]struct {
		text string
		want attest.Cgroups
		bad  bool
	}{
		"unified": {text: "0::/a/b\n", want: attest.Cgroups{Unified: "/a/b", Legacy: map[string]string{}}},
		"hybrid": {
			text: "9:name=systemd:/x\n4:memory:/a\n0::/a\n",
			want: attest.Cgroups{Unified: "/a", Legacy: map[string]string{"9:name=systemd": "/x", "4:memory": "/a"}},
		},
		"colon in name": {text: "0::/a:b\n", want: attest.Cgroups{Unified: "/a:b", Legacy: map[string]string{}}},
		"nothing":       {text: "", bad: true},
		"outside":       {text: "0::/../x\n", bad: true},
		"relative":      {text: "0::x\n", bad: true},
		"not clean":     {text: "0::/a//b\n", bad: true},
		"short":         {text: "0:/a\n", bad: true},
		"removed group": {text: "0::/a (deleted)\n", want: attest.Cgroups{Unified: "/a (deleted)", Legacy: map[string]string{}}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := attest.ParseCgroups(tc.text)
			if (err != nil) != tc.bad {
				t.Fatalf("err = %v", err)
			}
			if diff := cmp.Diff(tc.want, got); !tc.bad && diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWithin(t *testing.T) {
	const victim = "/libpod_parent/libpod-aaaa"
	tests := map[string]struct {
		text            string
		within, touches bool
	}{
		"itself":                  {"0::" + victim, true, true},
		"below":                   {"0::" + victim + "/init", true, true},
		"longer name":             {"0::" + victim + "b", false, false},
		"name inside a path":      {"0::/evil" + victim, false, false},
		"only the last name":      {"0::/libpod-aaaa", false, false},
		"hybrid, unified decides": {"3:cpu:/elsewhere\n0::" + victim, true, true},
		"hybrid, one v1 lies":     {"9:name=systemd:" + victim + "\n3:cpu:/x\n0::/x", false, true},
		"v1, all agree":           {"9:name=systemd:" + victim + "\n3:cpu:" + victim + "\n0::/", true, true},
		"v1, one differs":         {"9:name=systemd:" + victim + "\n3:cpu:/x\n0::/", false, true},
		"top":                     {"0::/", false, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			groups, err := attest.ParseCgroups(tc.text)
			if err != nil {
				t.Fatal(err)
			}
			if groups.Within(victim) != tc.within || groups.Touches(victim) != tc.touches {
				t.Errorf("within %v, touches %v", groups.Within(victim), groups.Touches(victim))
			}
			if groups.Within("") || groups.Within("/") || groups.Touches("/") {
				t.Error("a container without a control group of its own owns everything")
			}
		})
	}
}

func FuzzParseCgroups(f *testing.F) {
	f.Add("0::/a/b\n")
	f.Add("9:name=systemd:/x\n4:memory:/a\n0::/a\n")
	f.Add("0::/../x")
	f.Fuzz(func(t *testing.T, text string) {
		groups, err := attest.ParseCgroups(text)
		if err == nil && groups.Within("/") {
			t.Error("within the top")
		}
	})
}

func attestor() *attest.Attestor {
	return &attest.Attestor{Process: unix.Processes{}, Node: "node-1"}
}

func closePeer(t *testing.T, p *attest.Peer) {
	t.Helper()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}
