// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// program is the whole program, built as it is shipped, with a home of its own and
// an advisory database in it.
type program struct {
	path, home string
	env        []string
}

func newProgram(b *testing.B) program {
	b.Helper()
	p := program{home: b.TempDir()}
	p.path = filepath.Join(p.home, "goldkeep")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", p.path, "../cmd/goldkeep")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	from := madeUpFeed(b)
	if data := os.Getenv("GOLDKEEP_DATA"); data != "" {
		from = data
	}
	p.run(b, 0, "advisory", "sync", "--from", from)
	return p
}

// usage is what a process took.
type usage struct{ ms, cpuMs, rssMiB float64 }

// run runs one command to its end, which must come with an exit code.
func (p program) run(b *testing.B, code int, args ...string) usage {
	b.Helper()
	return measured(b, code, exec.Command(p.path, args...), append([]string{"HOME=" + p.home, "PATH=" + os.Getenv("PATH")}, p.env...))
}

func measured(b *testing.B, code int, cmd *exec.Cmd, env []string) usage {
	b.Helper()
	var said bytes.Buffer
	cmd.Env, cmd.Stderr = env, &said
	start := time.Now()
	err := cmd.Run()
	took := time.Since(start)
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) || cmd.ProcessState.ExitCode() != code {
		b.Fatalf("%v: %v, want exit code %d\n%s", cmd.Args, err, code, said.String())
	}
	used := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return usage{
		ms:     took.Seconds() * 1000,
		cpuMs:  (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds() * 1000,
		rssMiB: float64(used.Maxrss) / 1024,
	}
}

// reportUsage gives the medians of several runs.
func reportUsage(b *testing.B, prefix string, runs []usage) {
	var ms, cpu, rss []float64
	for _, u := range runs {
		ms, cpu, rss = append(ms, u.ms), append(cpu, u.cpuMs), append(rss, u.rssMiB)
	}
	b.ReportMetric(median(ms), prefix+"ms")
	b.ReportMetric(median(cpu), prefix+"cpu-ms")
	b.ReportMetric(median(rss), prefix+"MiB")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkProcess is the whole process of "goldkeep check": cold, with all layers
// known (aim: under 200 ms), and by a server that knows the image (aim: under
// 50 ms). With SCALIBR set to osv-scalibr's own command it runs beside it.
func BenchmarkProcess(b *testing.B) {
	p := newProgram(b)
	for _, sample := range samples(b) {
		code := refusedOrNot(b, p, sample.ref)
		b.Run(sample.name+"/cold", func(b *testing.B) {
			var runs, peer []usage
			scalibr, saved := os.Getenv("SCALIBR"), ""
			if scalibr != "" {
				saved = dockerSaved(b, sample.ref)
			}
			for range rounds {
				runs = append(runs, p.run(b, code, "check", sample.ref, "--no-cache"))
				if scalibr != "" {
					peer = append(peer, scalibrRun(b, scalibr, saved))
				}
			}
			reportUsage(b, "", runs)
			if len(peer) > 0 {
				reportUsage(b, "scalibr-", peer)
			}
		})
		b.Run(sample.name+"/known", func(b *testing.B) {
			var runs []usage
			for range 3 * rounds {
				runs = append(runs, p.run(b, code, "check", sample.ref))
			}
			reportUsage(b, "", runs)
		})
	}
	b.Run("server", func(b *testing.B) {
		remote := p.withServer(b)
		for _, sample := range samples(b) {
			code := refusedOrNot(b, remote, sample.ref, "--server", "--env", "prod")
			b.Run(sample.name, func(b *testing.B) {
				var runs []usage
				for range 3 * rounds {
					runs = append(runs, remote.run(b, code, "check", sample.ref, "--server", "--env", "prod"))
				}
				reportUsage(b, "", runs)
			})
		}
	})
}

// refusedOrNot is the exit code a check of an image ends with: 0 or 3.
func refusedOrNot(b *testing.B, p program, ref string, args ...string) int {
	b.Helper()
	cmd := exec.Command(p.path, append([]string{"check", ref}, args...)...)
	cmd.Env = append([]string{"HOME=" + p.home}, p.env...)
	out, err := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code == 0 || code == 3 {
		return code
	}
	b.Fatalf("check %s: %v\n%s", ref, err, out)
	return 1
}

// scalibrRun is the same work by osv-scalibr's own command, as its README has it:
// packages and their layers, no advisories.
func scalibrRun(b *testing.B, scalibr, saved string) usage {
	b.Helper()
	dir := b.TempDir()
	cmd := exec.Command(scalibr, "--image-tarball="+saved, "--result="+filepath.Join(dir, "result.textproto"), "--plugins=os,python,go,javascript")
	return measured(b, 0, cmd, append(os.Environ(), "TMPDIR="+dir))
}

// withServer is the program beside a server of its own, on SQLite with TLS.
func (p program) withServer(b *testing.B) program {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	data := filepath.Join(p.home, "data")
	cmd := exec.Command(p.path, "server", "--data", data, "--key-file", filepath.Join(p.home, "key"), "--listen", addr)
	cmd.Env = []string{"HOME=" + p.home}
	log, err := cmd.StderrPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_, _ = io.Copy(io.Discard, log)
		_ = cmd.Wait()
	})
	waitFor(b, log, "listening")
	go func() { _, _ = io.Copy(io.Discard, log) }()
	token, err := os.ReadFile(filepath.Join(data, "root-token"))
	if err != nil {
		b.Fatal(err)
	}
	p.env = []string{"GOLDKEEP_ADDR=https://" + addr, "GOLDKEEP_CACERT=" + filepath.Join(data, "tls", "ca.pem"), "GOLDKEEP_TOKEN=" + strings.TrimSpace(string(token))}
	rules := filepath.Join(p.home, "prod.yaml")
	text := "apiVersion: goldkeep.dev/v1\nkind: Environment\nmetadata: {name: prod, owner: o}\nspec:\n  admit: [{vulnerabilities: {maxSeverity: medium, unscored: deny}}]\n"
	if err := os.WriteFile(rules, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	p.run(b, 0, "apply", "--yes", "-f", rules)
	from := madeUpFeed(b)
	if dir := os.Getenv("GOLDKEEP_DATA"); dir != "" {
		from = filepath.Join(dir, "osv")
	}
	p.run(b, 0, "advisory", "sync", "--from", from, "--server")
	return p
}

// waitFor reads what a program says until a word of it.
func waitFor(b *testing.B, from io.Reader, word string) {
	b.Helper()
	var said bytes.Buffer
	buf := make([]byte, 4096)
	for !strings.Contains(said.String(), word) {
		n, err := from.Read(buf)
		said.Write(buf[:n])
		if err != nil {
			b.Fatalf("it ended: %s", said.String())
		}
	}
}

// sample is an image to measure with.
type sample struct{ name, ref string }

// samples are three real images where GOLDKEEP_DATA has them, or one made up here.
func samples(b *testing.B) []sample {
	b.Helper()
	data := os.Getenv("GOLDKEEP_DATA")
	if data == "" {
		return []sample{{"made-up", madeUpImage(b)}}
	}
	var all []sample
	for _, name := range []string{"python-app", "bad-app", "go-app"} {
		all = append(all, sample{name, filepath.Join(data, "images", name+".oci.tar")})
	}
	return all
}

// dockerSaved writes an OCI archive or layout as "docker save" would, which is
// what osv-scalibr reads.
func dockerSaved(b *testing.B, ref string) string {
	b.Helper()
	dir := ref
	if info, err := os.Stat(ref); err == nil && !info.IsDir() {
		dir = b.TempDir()
		if out, err := exec.Command("tar", "-xf", ref, "-C", dir).CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		b.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		b.Fatal(err)
	}
	img, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		b.Fatal(err)
	}
	saved := filepath.Join(b.TempDir(), "saved.tar")
	tag, err := name.NewTag("example.test/sample:1")
	if err != nil {
		b.Fatal(err)
	}
	if err := tarball.WriteToFile(saved, tag, img); err != nil {
		b.Fatal(err)
	}
	return saved
}
