// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/goldkeep/goldkeep/client"
)

// stage is where the story plays.
type stage struct {
	binary    string
	dir, work string
	out       io.Writer
	client    *client.Client
	env       []string
	digests   map[string]string // of the apps, by build
	podman    *podman           // nil: plain processes
	logs      map[string]*lines // of what runs, by name
	cleanups  []func() error
}

func (s *stage) path(parts ...string) string {
	return filepath.Join(append([]string{s.dir}, parts...)...)
}

func (s *stage) title(text string) { fmt.Fprintf(s.out, "\n\x1b[1m%s\x1b[0m\n", text) }

func (s *stage) say(text ...string) { fmt.Fprintln(s.out, "\n  "+strings.Join(text, "\n  ")) }

// close ends what was started, last first, and removes what was written.
func (s *stage) close() error {
	var errs []error
	for i := len(s.cleanups) - 1; i >= 0; i-- {
		errs = append(errs, s.cleanups[i]())
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}

func random(n int) string { return strings.ToLower(rand.Text())[:n] }

// goldkeep runs a command and shows it with its output.
func (s *stage) goldkeep(ctx context.Context, args ...string) error {
	return s.goldkeepIn(ctx, "", args...)
}

func (s *stage) goldkeepIn(ctx context.Context, stdin string, args ...string) error {
	code, err := s.show(ctx, stdin, args...)
	if err == nil && code != 0 {
		err = fmt.Errorf("goldkeep %s ended with %d", args[0], code)
	}
	return err
}

// fails runs a command that must end with a code.
func (s *stage) fails(ctx context.Context, want int, args ...string) error {
	code, err := s.show(ctx, "", args...)
	if err == nil && code != want {
		err = fmt.Errorf("goldkeep %s ended with %d, not %d", args[0], code, want)
	}
	if err == nil {
		fmt.Fprintf(s.out, "    (exit code %d)\n", want)
	}
	return err
}

func (s *stage) show(ctx context.Context, stdin string, args ...string) (code int, err error) {
	fmt.Fprintf(s.out, "\n  $ goldkeep %s\n", strings.ReplaceAll(strings.Join(args, " "), s.dir+"/", ""))
	cmd := exec.CommandContext(ctx, s.binary, args...)
	cmd.Env = append(os.Environ(), s.env...)
	cmd.Stdin = strings.NewReader(stdin)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	for line := range strings.Lines(strings.ReplaceAll(out.String(), s.dir+"/", "")) {
		fmt.Fprint(s.out, "    ", line)
	}
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		return ended.ExitCode(), nil
	}
	return 0, err
}

// buildApps builds the demo's workload three times, with three versions of a
// module of which two have known flaws.
func (s *stage) buildApps(ctx context.Context) error {
	s.say("Building one small service three times, with golang.org/x/text v0.38.0, v0.3.7 and v0.43.0 ...")
	for _, build := range []string{"clean", "vulnerable", "patched"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-C", "demo/app", "-trimpath", "-ldflags=-s -w", "-buildvcs=false",
			"-modfile="+build+".mod", "-o", s.path("bin", build, "orders"), ".")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=mod")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build the %s app: %w\n%s", build, err, out)
		}
	}
	s.digests = map[string]string{}
	return nil
}

// writeFeed lays the advisories of folders out as OSV's public bucket does.
func (s *stage) writeFeed(folders ...string) error {
	if err := os.MkdirAll(s.path("osv", "Go"), 0o755); err != nil {
		return err
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, folder := range folders {
		files, err := filepath.Glob(filepath.Join("demo", folder, "*.json"))
		if err != nil {
			return err
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				return err
			}
			w, err := z.Create(filepath.Base(f))
			if err != nil {
				return err
			}
			if _, err := w.Write(text); err != nil {
				return err
			}
		}
	}
	if err := z.Close(); err != nil {
		return err
	}
	return os.WriteFile(s.path("osv", "Go", "all.zip"), b.Bytes(), 0o644)
}

// startServer starts a dev server on a free port.
func (s *stage) startServer(ctx context.Context) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		return err
	}
	token := "demo-" + random(20)
	s.env = []string{"GOLDKEEP_ADDR=http://" + addr, "GOLDKEEP_TOKEN=" + token, "VAULT_DEV_ROOT_TOKEN_ID=" + token}
	s.say("Starting the server (goldkeep server --dev) ...")
	if err := s.start(ctx, "server", s.binary, "server", "--dev", "--dev-listen-address", addr); err != nil {
		return err
	}
	if s.client, err = client.New(client.Config{Addr: "http://" + addr, Token: token}); err != nil {
		return err
	}
	return s.until(ctx, "the server answers", func() bool {
		_, err := s.client.Instances(ctx, false)
		return err == nil
	})
}

// startAgent enrols this machine and starts its agent.
func (s *stage) startAgent(ctx context.Context) error {
	s.say("This machine's agent: workloads come to its socket, and it asks the kernel who they are.")
	if err := s.goldkeep(ctx, "node", "enrol", "demo", "--out", s.path("node-token")); err != nil {
		return err
	}
	args := []string{
		"agent", "--node", "demo", "--node-token-file", s.path("node-token"),
		"--socket", s.path("run", "agent.sock"), "--files", s.path("files"), "--podman-socket", s.podman.socketOrNone(),
	}
	if memory() == "" && os.Geteuid() != 0 {
		args = append(args, "--insecure-disk") // nowhere in memory to put files
	}
	if err := s.start(ctx, "agent", s.binary, args...); err != nil {
		return err
	}
	return s.until(ctx, "the agent answers", func() bool {
		_, err := os.Stat(s.path("run", "agent.sock"))
		return err == nil
	})
}

// add brings a build to the server: as an image, or as the program itself.
func (s *stage) add(ctx context.Context, build string) error {
	ref := s.path("bin", build, "orders")
	if s.podman != nil {
		var err error
		if ref, err = s.podman.image(ctx, s, build); err != nil {
			return err
		}
	}
	if err := s.goldkeep(ctx, "image", "add", ref, "--name", "orders:"+build); err != nil {
		return err
	}
	images, err := s.client.Images(ctx)
	if err != nil {
		return err
	}
	for _, img := range images {
		if img.Name == "orders:"+build {
			s.digests[build] = img.ID
		}
	}
	if s.digests[build] == "" {
		return fmt.Errorf("the server does not know orders:%s", build)
	}
	return nil
}

// apply declares the rules, the golden images and the workloads.
func (s *stage) apply(ctx context.Context, orders, reports string) error {
	text := fmt.Sprintf(declared, orders)
	if reports != "" {
		text += fmt.Sprintf(declaredReports, reports)
	}
	file := s.path("prod.yaml")
	if _, err := os.Stat(file); err != nil {
		for line := range strings.Lines(text) {
			fmt.Fprint(s.out, "    | ", line)
		}
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return err
	}
	return s.goldkeep(ctx, "apply", "-f", file, "--yes")
}

const declared = `apiVersion: goldkeep.dev/v1
kind: Environment
metadata: {name: prod, owner: security@example.com}
spec:
  admit:
    - vulnerabilities: {maxSeverity: low, unscored: deny, unfixed: allow}
    - hygiene: {root: deny, shell: deny, packageManager: deny, embeddedSecrets: deny}
    - channel: gold
  retain:
    - vulnerabilities: {maxSeverity: low, unscored: deny, unfixed: allow, grace: {unscored: 3s}}
  onFail: revoke
---
apiVersion: goldkeep.dev/v1
kind: GoldenImage
metadata: {name: orders, owner: orders-team, contact: "#orders"}
spec: {channels: {gold: "%s"}}
---
apiVersion: goldkeep.dev/v1
kind: Workload
metadata: {name: orders, owner: orders-team}
spec:
  environment: prod
  image: {golden: orders, channel: gold}
  secrets:
    - {kv: payments/stripe, file: stripe.json}
`

const declaredReports = `---
apiVersion: goldkeep.dev/v1
kind: GoldenImage
metadata: {name: reports, owner: reports-team, contact: "#reports"}
spec: {channels: {gold: "%s"}}
---
apiVersion: goldkeep.dev/v1
kind: Workload
metadata: {name: reports, owner: reports-team}
spec:
  environment: prod
  image: {golden: reports, channel: gold}
  secrets:
    - {kv: payments/stripe, file: stripe.json}
`

// startApp runs a build as a workload: a container, or a plain process.
func (s *stage) startApp(ctx context.Context, build, name string) error {
	if s.podman != nil {
		fmt.Fprintf(s.out, "\n  $ podman run --read-only --tmpfs /run/goldkeep orders:%s\n", build)
		return s.podman.run(ctx, s, build, name)
	}
	fmt.Fprintf(s.out, "\n  $ ./bin/%s/orders\n", build)
	return s.start(ctx, name, s.path("bin", build, "orders"))
}

// start runs a program in the background until the story ends.
func (s *stage) start(ctx context.Context, name, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(append(os.Environ(), s.env...), "GOLDKEEP_AGENT_SOCKET="+s.path("run", "agent.sock"))
	log := &lines{changed: make(chan struct{}, 1)}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		return err
	}
	if s.logs == nil {
		s.logs = map[string]*lines{}
	}
	s.logs[name] = log
	s.cleanups = append(s.cleanups, func() error {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		_ = cmd.Wait()
		return nil
	})
	return nil
}

// patience bounds every wait of the story.
const patience = 30 * time.Second

// expect waits for a line of a workload's, and shows it.
func (s *stage) expect(ctx context.Context, name, text string) error {
	log := s.logs[name]
	found := ""
	err := s.until(ctx, fmt.Sprintf("%s says %q", name, text), func() bool {
		found = log.after(text)
		return found != ""
	})
	if err != nil {
		return fmt.Errorf("%w; it said:\n%s", err, log.text())
	}
	fmt.Fprintf(s.out, "\n  %s says: %s\n", name, strings.TrimPrefix(found, "orders: "))
	return nil
}

// await waits until an instance is in a state.
func (s *stage) await(ctx context.Context, state string) error {
	return s.until(ctx, "an instance is "+state, func() bool {
		all, err := s.client.Instances(ctx, false)
		for _, in := range all {
			if err == nil && in.State == state {
				return true
			}
		}
		return false
	})
}

func (s *stage) until(ctx context.Context, what string, is func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for !is() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("it never came that %s", what)
		case <-look.C:
		}
	}
	return nil
}

// verifyAudit finds the dev server's log and has it verified.
func (s *stage) verifyAudit(ctx context.Context) error {
	var rec struct {
		Items []json.RawMessage `json:"items"`
	}
	if err := s.client.Do(ctx, "GET", "/api/v1/audit?limit=1000", nil, &rec); err != nil {
		return err
	}
	logs, err := filepath.Glob(filepath.Join(memory(), "goldkeep-dev-*", "audit.log"))
	if err != nil || len(logs) == 0 {
		return errors.Join(err, errors.New("the audit log is not where it was expected"))
	}
	newest := logs[0]
	for _, l := range logs {
		a, errA := os.Stat(l)
		b, errB := os.Stat(newest)
		if errA == nil && errB == nil && a.ModTime().After(b.ModTime()) {
			newest = l
		}
	}
	return s.goldkeep(ctx, "audit", "verify", newest)
}

// lines collects what a program prints.
type lines struct {
	mu      sync.Mutex
	b       bytes.Buffer
	seen    int // up to here a match was shown
	changed chan struct{}
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// after returns the first whole line with the text that was not returned before.
func (l *lines) after(text string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.seen
	for line := range strings.Lines(l.b.String()[at:]) {
		at += len(line)
		if strings.Contains(line, text) && strings.HasSuffix(line, "\n") {
			l.seen = at
			return strings.TrimSpace(line)
		}
	}
	return ""
}
