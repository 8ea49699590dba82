// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package unix_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/goldkeep/goldkeep/internal/attest"
	"github.com/goldkeep/goldkeep/internal/attest/attesttest"
	"github.com/goldkeep/goldkeep/internal/attest/unix"
	"github.com/goldkeep/goldkeep/internal/fault"
)

func TestMeasureFile(t *testing.T) {
	dir := t.TempDir()
	script := write(t, dir, "script", "#!/bin/sh\n")
	broken := write(t, dir, "broken", "\x7fELF\x02\x01\x01 and then nothing")
	tests := map[string]struct {
		path             string
		dynamic, refused bool
	}{
		"static":  {path: attesttest.Probe(t)},
		"dynamic": {path: "/bin/sleep", dynamic: true},
		"script":  {path: script, refused: true},
		"broken":  {path: broken, refused: true},
		"device":  {path: "/dev/zero", refused: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			f, err := os.Open(tc.path)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = f.Close() }()
			got, err := unix.MeasureFile(t.Context(), f)
			if tc.refused {
				if !fault.Is(err, fault.Refused) {
					t.Errorf("err = %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			sum, _, _ := strings.Cut(attesttest.Run(t, "sha256sum", tc.path), " ")
			if got.Digest != "sha256:"+sum || got.Dynamic != tc.dynamic || got.Name != filepath.Base(tc.path) {
				t.Errorf("got %+v, want %s", got, sum)
			}
		})
	}
}

// TestReplacedFile: the program that runs counts, not the file that now has its
// name.
func TestReplacedFile(t *testing.T) {
	probe := attesttest.Probe(t)
	socket, accept := attesttest.Socket(t)
	p := attesttest.Start(t, exec.Command(probe, "hold", socket))
	p.Until(t, "ready")
	sum, _, _ := strings.Cut(attesttest.Run(t, "sha256sum", probe), " ")
	if err := os.Remove(probe); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Dir(probe), filepath.Base(probe), "an approved program")
	peer, err := attest.PeerOf(accept())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = peer.Close() }()
	got, err := unix.Processes{}.Measure(t.Context(), peer)
	if err != nil {
		t.Fatal(err)
	}
	if got.Digest != "sha256:"+sum {
		t.Errorf("digest %s, want that of the running program %s", got.Digest, sum)
	}
}

func TestDebuggedProcessIsRefused(t *testing.T) {
	socket, accept := attesttest.Socket(t)
	p := attesttest.Start(t, exec.Command(attesttest.Probe(t), "hold", socket))
	p.Until(t, "ready")
	peer, err := attest.PeerOf(accept())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = peer.Close() }()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := syscall.PtraceAttach(p.Cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	_, err = unix.Processes{}.Measure(t.Context(), peer)
	if !fault.Is(err, fault.Refused) || !strings.Contains(err.Error(), "debugger") {
		t.Errorf("err = %v", err)
	}
	if err := p.Cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}
