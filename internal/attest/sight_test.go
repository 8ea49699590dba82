// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package attest_test

import (
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/internal/attest"
	"github.com/goldkeep/goldkeep/internal/attest/attesttest"
)

// looked starts a program that listens, and looks at it as a plain process.
func looked(t *testing.T, args ...string) (*attest.Sight, []string) {
	t.Helper()
	socket, accept := attesttest.Socket(t)
	p := attesttest.Start(t, exec.Command(attesttest.Probe(t), append([]string{"listen", socket}, args...)...))
	peer, err := attest.PeerOf(accept())
	if err != nil {
		t.Fatal(err)
	}
	defer closePeer(t, peer)
	ports := strings.Fields(strings.TrimPrefix(p.Until(t, "ports"), "ports"))
	sight, err := attest.Look(t.Context(), &attest.Evidence{Kind: attest.KindProcess, Program: "probe"}, peer)
	if err != nil {
		t.Fatal(err)
	}
	return sight, ports
}

func TestLookAtAPlainProcess(t *testing.T) {
	sight, ports := looked(t, "tcp4 0.0.0.0:0", "tcp 127.0.0.1:0", "tcp6 [::]:0", "udp4 0.0.0.0:0", "udp 127.0.0.1:0", "tcp6 [::1]:0")
	want := &attest.Sight{Executed: []string{"/probe"}}
	for _, i := range []int{0, 2, 3} { // the others are for the machine itself
		want.Listening = append(want.Listening, attest.Socket{Port: ports[i], Path: "/probe"})
	}
	slices.SortFunc(want.Listening, func(a, b attest.Socket) int { return strings.Compare(a.Port, b.Port) })
	if diff := cmp.Diff(want, sight); diff != "" {
		t.Error(diff)
	}
}

func TestManySocketsAreReportedInPart(t *testing.T) {
	var args []string
	for range attest.MaxSockets + 50 {
		args = append(args, "udp4 0.0.0.0:0")
	}
	sight, _ := looked(t, args...)
	if len(sight.Listening) != attest.MaxSockets || !sight.Partial {
		t.Errorf("%d sockets, partial: %t", len(sight.Listening), sight.Partial)
	}
}

func TestNobodyIsLookedAtAfterItsEnd(t *testing.T) {
	socket, accept := attesttest.Socket(t)
	p := attesttest.Start(t, exec.Command(attesttest.Probe(t), "listen", socket))
	peer, err := attest.PeerOf(accept())
	if err != nil {
		t.Fatal(err)
	}
	defer closePeer(t, peer)
	p.Until(t, "ports")
	_ = p.Cmd.Process.Kill()
	<-peer.Done()
	if sight, err := attest.Look(t.Context(), &attest.Evidence{Kind: attest.KindProcess, Program: "probe"}, peer); err == nil {
		t.Errorf("seen after its end: %+v", sight)
	}
}

func TestParseMap(t *testing.T) {
	for line, want := range map[string]string{
		"00400000-00500000 r-xp 00000000 fd:01 1234                       /usr/bin/app":                 "/usr/bin/app",
		"00400000-00500000 r--p 00000000 fd:01 1234                       /usr/bin/app":                 "",
		"00400000-00500000 r-xp 00000000 fd:01 1234                       /usr/bin/my app":              "/usr/bin/my app",
		"00400000-00500000 r-xp 00000000 fd:01 1234                       /usr/bin/app (deleted)":       "",
		"00400000-00500000 r-xp 00000000 fd:01 1234                       /usr/bin/a\\012/bin/sh":       "",
		"00400000-00500000 r-xp 00000000 fd:01 1234                       /usr/bin/../../etc/x":         "",
		"00400000-00500000 r-xp 00000000 fd:01 1234                       /" + strings.Repeat("x", 600): "",
		"00400000-00500000 r-xp 00000000 00:00 0                          [vdso]":                       "",
		"00400000-00500000 r-xp 00000000 00:00 0 ":                                                      "",
		"00400000-00500000 rwxp 00000000 00:01 99                         /memfd:x (deleted)":           "",
		"": "", "a b c": "",
	} {
		if got := attest.ParseMap(line); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

func TestParseSocket(t *testing.T) {
	const rest = " 00000000:00000000 00:00000000 00000000     0        0 4242 1 0000000000000000 100 0 0 10 0"
	for _, c := range []struct{ kind, line, want string }{
		{"tcp", "   0: 00000000:1F90 00000000:0000 0A" + rest, "8080/tcp"},
		{"tcp", "   0: 0100007F:1F90 00000000:0000 0A" + rest, ""},
		{"tcp", "   0: 3500007F:0035 00000000:0000 0A" + rest, ""}, // 127.0.0.53
		{"tcp", "   0: 0A00000A:1F90 0B00000A:D431 01" + rest, ""}, // a connection
		{"tcp", "   0: 00000000000000000000000000000000:01BB 00000000000000000000000000000000:0000 0A" + rest, "443/tcp"},
		{"tcp", "   0: 00000000000000000000000001000000:01BB 00000000000000000000000000000000:0000 0A" + rest, ""},
		{"tcp", "   0: 0000000000000000FFFF00000100007F:01BB 00000000000000000000000000000000:0000 0A" + rest, ""},
		{"udp", "   0: 00000000:0035 00000000:0000 07" + rest, "53/udp"},
		{"udp", "   0: 00000000:0035 08080808:0035 01" + rest, ""},
		{"tcp", "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode", ""},
		{"tcp", "", ""},
		{"tcp", "0: x:FFFFF x:0 0A" + rest, ""},
	} {
		port, number := attest.ParseSocket(c.kind, c.line)
		if port != c.want || (number == "4242") != (port != "") {
			t.Errorf("%s %q: %q %q, want %q", c.kind, c.line, port, number, c.want)
		}
	}
}

func FuzzParseSight(f *testing.F) {
	f.Add("00400000-00500000 r-xp 00000000 fd:01 1234 /usr/bin/app")
	f.Add("   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4242 1")
	f.Add("a r-x c d e /x\\012y\x00\xff")
	f.Fuzz(func(t *testing.T, line string) {
		if name := attest.ParseMap(line); name != "" && (!path.IsAbs(name) || path.Clean(name) != name || strings.ContainsAny(name, "\n\\\x00") || len(name) > 512) {
			t.Errorf("path %q", name)
		}
		for _, kind := range []string{"tcp", "udp"} {
			if port, _ := attest.ParseSocket(kind, line); port != "" && (!strings.HasSuffix(port, "/"+kind) || len(port) > 9) {
				t.Errorf("port %q", port)
			}
		}
	})
}
