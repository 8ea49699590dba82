// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package attesttest gives tests real workloads: a small static program, run as
// a plain process or in a podman container, and a podman service to ask.
package attesttest

import (
	"archive/tar"
	"bufio"
	"bytes"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for something that must happen.
const patience = 30 * time.Second

// built keeps programs compiled before: linking takes seconds.
var built sync.Map // folder -> []byte

// Build compiles the Go program in a folder into a static binary of the test's own.
func Build(t *testing.T, folder string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), filepath.Base(folder))
	if program, ok := built.Load(folder); ok {
		if err := os.WriteFile(out, program.([]byte), 0o755); err != nil {
			t.Fatal(err)
		}
		return out
	}
	build := exec.Command("go", "build", "-o", out, ".")
	build.Dir = folder
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", folder, err, text)
	}
	program, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	built.Store(folder, program)
	return out
}

// Probe compiles the workload of the tests; see testdata/probe.
func Probe(t *testing.T) string {
	t.Helper()
	// By import path, for a test runs in its package's folder: -trimpath hides where files are.
	folder, err := exec.Command("go", "list", "-f", "{{.Dir}}", "github.com/goldkeep/goldkeep/internal/attest/testdata/probe").Output()
	if err != nil {
		t.Fatalf("go list probe: %v", err)
	}
	return Build(t, strings.TrimSpace(string(folder)))
}

// Process is a running workload.
type Process struct {
	Cmd  *exec.Cmd
	In   io.WriteCloser
	out  *bufio.Reader
	errs *bytes.Buffer
}

// Start runs a command and waits for nothing. It is killed when the test ends.
func Start(t *testing.T, cmd *exec.Cmd) *Process {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &Process{Cmd: cmd, In: in, out: bufio.NewReader(out), errs: &bytes.Buffer{}}
	cmd.Stderr = p.errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // gone already is fine
		_ = cmd.Wait()
	})
	return p
}

// Line returns the next line of output.
func (p *Process) Line(t *testing.T) string {
	t.Helper()
	got := make(chan string, 1)
	go func() {
		line, err := p.out.ReadString('\n')
		if err != nil {
			line = "end of output: " + err.Error()
		}
		got <- strings.TrimSuffix(line, "\n")
	}()
	select {
	case line := <-got:
		return line
	case <-time.After(patience):
		t.Fatalf("no output; errors: %s", p.errs)
		return ""
	}
}

// Until reads lines until one starts with prefix, and returns that one.
func (p *Process) Until(t *testing.T, prefix string) string {
	t.Helper()
	for {
		line := p.Line(t)
		if strings.HasPrefix(line, prefix) {
			return line
		}
		if strings.HasPrefix(line, "end of output") {
			t.Fatalf("%q never came; %s; errors: %s", prefix, line, p.errs)
		}
	}
}

// Ask writes a line and returns the answer.
func (p *Process) Ask(t *testing.T, line string) string {
	t.Helper()
	if _, err := io.WriteString(p.In, line+"\n"); err != nil {
		t.Fatal(err)
	}
	return p.Line(t)
}

// Socket listens on a unix socket anybody may connect to.
func Socket(t *testing.T) (path string, accept func() *net.UnixConn) {
	t.Helper()
	path = filepath.Join(Folder(t), "s.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return path, func() *net.UnixConn {
		t.Helper()
		if err := l.(*net.UnixListener).SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn.(*net.UnixConn)
	}
}

// Folder is a temporary folder with a short path that everybody may enter.
func Folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "gk")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Podman is a running podman service.
type Podman struct {
	Socket string
	cmd    *exec.Cmd
}

// NewPodman starts a podman service.
func NewPodman(t *testing.T) *Podman {
	t.Helper()
	if _, err := exec.LookPath("podman"); err != nil || os.Getuid() != 0 {
		t.Fatal("this test needs podman and root: apt-get install podman runc, and run it as root")
	}
	p := &Podman{Socket: filepath.Join(Folder(t), "podman.sock")}
	p.cmd = exec.Command("podman", "--runtime", "runc", "system", "service", "--time=0", "unix://"+p.Socket)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	deadline := time.Now().Add(patience)
	for {
		conn, err := net.Dial("unix", p.Socket)
		if err == nil {
			_ = conn.Close()
			return p
		}
		if time.Now().After(deadline) {
			t.Fatalf("podman service: %v", err)
		}
		runtime.Gosched()
	}
}

// Stop ends the service; containers stay.
func (p *Podman) Stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // gone already is fine
	_ = p.cmd.Wait()
}

// Image makes an image from one program and returns its config digest without
// "sha256:". salt makes it differ from others of the same program.
func Image(t *testing.T, program, name, salt string) string {
	t.Helper()
	text, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for path, content := range map[string][]byte{"probe": text, "salt": []byte(salt)} {
		if err := w.WriteHeader(&tar.Header{Name: path, Mode: 0o755, Size: int64(len(content)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(file, archive.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	id := strings.TrimPrefix(Run(t, "podman", "import", "-q", "-c", `ENTRYPOINT ["/probe"]`, file, name), "sha256:")
	t.Cleanup(func() { _ = exec.Command("podman", "rmi", "-f", id).Run() })
	return id
}

// Container prepares a container of an image; Start runs it in the foreground.
// It is removed when the test ends.
func Container(t *testing.T, options []string, image string, args ...string) (cmd *exec.Cmd, name string) {
	t.Helper()
	name = "gk-" + strings.ToLower(filepath.Base(t.TempDir())) + "-" + filepath.Base(Folder(t))
	all := []string{
		"--runtime", "runc", "run", "-i", "--rm", "--name", name, "--network", "none",
		"--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000",
	}
	all = append(append(append(all, options...), image), args...)
	t.Cleanup(func() { _ = exec.Command("podman", "--runtime", "runc", "rm", "-f", "-t", "0", name).Run() })
	return exec.Command("podman", all...), name
}

// Run runs a command and returns what it printed.
func Run(t *testing.T, name string, args ...string) string {
	t.Helper()
	var errs bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, errs.String())
	}
	return strings.TrimSpace(string(out))
}
