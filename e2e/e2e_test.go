// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package e2e_test drives the real program: servers, agents, workloads and the
// command line, as people run them, and tries to break what Goldkeep promises.
package e2e_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/client"
)

// goldkeep is the program, built once for all tests. GOLDKEEP_E2E_BINARY names
// one that is built already.
var goldkeep string

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		fmt.Println("short run: the end-to-end tests are left to the full run")
		return
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if goldkeep = os.Getenv("GOLDKEEP_E2E_BINARY"); goldkeep != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "gke2e")
	if err == nil {
		err = os.Chmod(dir, 0o755) // workloads of other users run it too
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	goldkeep = filepath.Join(dir, "goldkeep")
	build := exec.Command("go", "build", "-o", goldkeep, "../cmd/goldkeep")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Printf("go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// patience bounds every wait for what must come.
const patience = 30 * time.Second

func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	bound := time.NewTimer(patience)
	look := time.NewTicker(20 * time.Millisecond)
	defer bound.Stop()
	defer look.Stop()
	for !is() {
		select {
		case <-bound.C:
			t.Fatalf("it never came that %s", what)
		case <-look.C:
		}
	}
}

// must(f())(t) is f's value; its error ends the test.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// text is what a program printed; it may be read while it is written.
type text struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (x *text) Write(p []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.b.Write(p)
}

func (x *text) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.b.String()
}

// process is a program that runs.
type process struct {
	cmd   *exec.Cmd
	out   text
	in    io.WriteCloser
	ended chan struct{}
}

// start runs a program until the test ends.
func start(t testing.TB, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.out, &p.out
	p.in = must(cmd.StdinPipe())(t)
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = cmd.Wait() // how it ended stands in its ProcessState
		close(p.ended)
	}()
	t.Cleanup(p.kill)
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
}

// stop ends it as an operator does, and returns its exit code.
func (p *process) stop(t testing.TB) int {
	t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	return p.exit(t)
}

func (p *process) exit(t testing.TB) int {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		t.Fatalf("it does not end; it said:\n%s", p.out.String())
	}
	return p.cmd.ProcessState.ExitCode()
}

// result is how a command ended.
type result struct {
	code        int
	out, errors string
}

// cli runs a command to its end. env overrides, with nothing of ours inherited
// that would reach a server.
func cli(t testing.TB, env []string, stdin string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, goldkeep, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, env...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		t.Fatalf("goldkeep %v: %v", args, err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// server is a running "goldkeep server".
type server struct {
	t      testing.TB
	dir    string // holds the data folder, the key file and the configuration
	env    []string
	prefix []string // a program in front, such as prlimit
	*process
	addr, url, root string
	http            *http.Client
	*client.Client
}

// config is written to the server's configuration file.
type config map[string]any

// newServer starts a server with a key file and TLS. edit may be nil.
func newServer(t testing.TB, edit func(*server, config)) *server {
	t.Helper()
	s := &server{t: t, dir: t.TempDir(), addr: freeAddr(t)}
	c := config{
		"listen": s.addr, "data": s.path("data"), "keyFile": s.path("key"), "node": "test",
		"audit": map[string]any{"minFree": 1}, "identityTTL": "1m",
	}
	if edit != nil {
		edit(s, c)
	}
	text := must(json.Marshal(c))(t) // JSON is YAML
	if err := os.WriteFile(s.path("server.yaml"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	return s
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func (s *server) path(parts ...string) string {
	return filepath.Join(append([]string{s.dir}, parts...)...)
}

func (s *server) ca() string { return s.path("data", "tls", "ca.pem") }

// start starts it and waits until it answers.
func (s *server) start() {
	s.t.Helper()
	args := append(append([]string{}, s.prefix...), goldkeep, "server", "--config", s.path("server.yaml"))
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir}, s.env...)
	s.process = start(s.t, cmd)
	s.url = "https://" + s.addr
	eventually(s.t, "the server listens", func() bool {
		select {
		case <-s.ended:
			s.t.Fatalf("the server ended:\n%s", s.out.String())
		default:
		}
		conn, err := net.Dial("tcp", s.addr)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil && strings.Contains(s.out.String(), "goldkeep is listening")
	})
	if token, err := os.ReadFile(s.path("data", "root-token")); err == nil {
		s.root = strings.TrimSpace(string(token))
	}
	s.connect()
}

func (s *server) connect() {
	pool := x509.NewCertPool()
	pem := must(os.ReadFile(s.ca()))(s.t)
	pool.AppendCertsFromPEM(pem)
	s.http = &http.Client{Timeout: 2 * patience, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool}, MaxIdleConnsPerHost: 8,
	}}
	s.Client = must(client.New(client.Config{Addr: s.url, Token: s.root, HTTP: s.http}))(s.t)
}

// environ is how the command line reaches the server.
func (s *server) environ() []string {
	return []string{"GOLDKEEP_ADDR=" + s.url, "GOLDKEEP_CACERT=" + s.ca(), "GOLDKEEP_TOKEN=" + s.root}
}

// cli runs a command as root of the server, which must work.
func (s *server) cli(args ...string) string {
	s.t.Helper()
	r := cli(s.t, s.environ(), "", args...)
	if r.code != 0 {
		s.t.Fatalf("goldkeep %v: exit code %d\n%s%s", args, r.code, r.out, r.errors)
	}
	return r.out
}

// ask sends a request and returns status and body; 0 where there was no answer.
func (s *server) ask(token, method, path, body string) (int, string) {
	s.t.Helper()
	req := must(newRequest(s, method, path, body))(s.t)
	req.Header.Set("X-Vault-Token", token)
	resp, err := s.http.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(got)
}

// newRequest is a request as root.
func newRequest(s *server, method, path, body string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err == nil {
		req.Header.Set("X-Vault-Token", s.root)
	}
	return req, err
}

// do is ask as root, which must be answered with 2xx; the answer goes into out.
func (s *server) do(method, path string, in, out any) {
	s.t.Helper()
	if err := s.Do(s.t.Context(), method, path, in, out); err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
}

// token makes a token with policies.
func (s *server) token(fields map[string]any) string {
	s.t.Helper()
	var made struct {
		Auth struct {
			Token string `json:"client_token"`
		} `json:"auth"`
	}
	s.do("POST", "/v1/auth/token/create", fields, &made)
	return made.Auth.Token
}
