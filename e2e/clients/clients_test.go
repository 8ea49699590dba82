// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package clients_test lets programs and libraries nobody here wrote work with
// Goldkeep in place of the server they were written for.
package clients_test

import (
	"flag"
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

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		fmt.Println("short run: the clients are left to the full run")
		return
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
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
	build := exec.Command("go", "build", "-o", goldkeep, "../../cmd/goldkeep")
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

// server is a running dev server whose root token is "root".
type server struct{ url string }

// startDev starts a Goldkeep of the test's own.
func startDev(t testing.TB) *server {
	t.Helper()
	addr := freeAddr(t)
	cmd := exec.Command(goldkeep, "server", "--dev", "--dev-root-token-id=root", "--dev-listen-address="+addr)
	return &server{startServer(t, cmd, addr)}
}

// startVault starts the reference server.
func startVault(t testing.TB, program string) string {
	t.Helper()
	addr := freeAddr(t)
	cmd := exec.Command(program, "server", "-dev", "-dev-root-token-id=root", "-dev-listen-address="+addr)
	return startServer(t, cmd, addr)
}

func startServer(t testing.TB, cmd *exec.Cmd, addr string) string {
	t.Helper()
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	url := "http://" + addr
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	bound := time.After(time.Minute)
	for {
		resp, err := http.Get(url + "/v1/sys/health?uninitcode=200&sealedcode=200")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return url
			}
		}
		select {
		case <-look.C:
		case <-bound:
			t.Fatalf("%s does not serve: %v", cmd.Path, err)
		}
	}
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
