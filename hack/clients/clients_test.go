// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package clients_test lets the Go libraries for Vault and OpenBao work with
// Goldkeep. It is a module of its own to keep theirs out of ours.
package clients_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// goldkeep is the program, built once for all tests. GOLDKEEP_E2E_BINARY names
// one that is built already.
var goldkeep string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	for _, name := range []string{"VAULT_ADDR", "VAULT_TOKEN", "VAULT_NAMESPACE", "BAO_ADDR", "BAO_TOKEN", "BAO_NAMESPACE"} {
		_ = os.Unsetenv(name) // cannot fail
	}
	if goldkeep = os.Getenv("GOLDKEEP_E2E_BINARY"); goldkeep != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "gkclients")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	goldkeep = filepath.Join(dir, "goldkeep")
	build := exec.Command("go", "build", "-C", "../..", "-o", goldkeep, "./cmd/goldkeep")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Printf("go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
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

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// startDev starts a Goldkeep of the test's own, whose root token is "root".
func startDev(t testing.TB) string {
	t.Helper()
	l := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	addr := l.Addr().String()
	ok(t, l.Close())
	cmd := exec.Command(goldkeep, "server", "--dev", "--dev-root-token-id=root", "--dev-listen-address="+addr)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	ok(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("the server said:\n%s", said.String())
		}
	})
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	bound := time.After(time.Minute)
	for {
		resp, err := http.Get("http://" + addr + "/v1/sys/health")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return "http://" + addr
			}
		}
		select {
		case <-look.C:
		case <-bound:
			t.Fatalf("the server does not serve: %v", err)
		}
	}
}
