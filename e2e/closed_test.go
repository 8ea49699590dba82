// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

const hidden = "value-nobody-may-see-unrecorded"

// TestNoAuditNoAnswer: while the audit log cannot be written no secret is
// answered, no change is made, and health says so; then all is well again.
func TestNoAuditNoAnswer(t *testing.T) {
	for name, breakIt := range map[string]func(t *testing.T, s *server, log string) (mend func()){
		"folder gone": func(t *testing.T, s *server, log string) func() {
			rename(t, filepath.Dir(log), filepath.Dir(log)+".away")
			if err := os.WriteFile(filepath.Dir(log), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			return func() {
				if err := os.Remove(filepath.Dir(log)); err != nil {
					t.Fatal(err)
				}
				rename(t, filepath.Dir(log)+".away", filepath.Dir(log))
			}
		},
		"file cut short": func(t *testing.T, s *server, log string) func() {
			whole := must(os.ReadFile(log))(t)
			if err := os.Truncate(log, int64(len(whole)-10)); err != nil {
				t.Fatal(err)
			}
			return func() {
				f := must(os.OpenFile(log, os.O_WRONLY, 0))(t)
				if _, err := f.WriteAt(whole, 0); err != nil {
					t.Fatal(err)
				}
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
			}
		},
		"disk full": func(t *testing.T, s *server, log string) func() {
			rest := filepath.Join(filepath.Dir(log), "rest")
			f := must(os.Create(rest))(t)
			block := make([]byte, 4096)
			for {
				if _, err := f.Write(block); err != nil {
					break
				}
			}
			_ = f.Close() // full is what we want
			return func() {
				if err := os.Remove(rest); err != nil {
					t.Fatal(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, func(s *server, c config) {
				dir := s.path("audit")
				if err := os.Mkdir(dir, 0o700); err != nil {
					t.Fatal(err)
				}
				if name == "disk full" {
					mountSmall(t, dir)
				}
				c["audit"] = map[string]any{"file": filepath.Join(dir, "audit.log"), "minFree": 1}
			})
			withoutAudit(t, s, breakIt)
		})
	}
}

func withoutAudit(t *testing.T, s *server, breakIt func(*testing.T, *server, string) func()) {
	log := s.path("audit", "audit.log")
	read := "/v1/secret/data/a"
	s.do("POST", read, map[string]any{"data": map[string]string{"v": hidden}}, nil)
	victim := s.token(map[string]any{"policies": []string{"default"}})
	mend := breakIt(t, s, log)
	status, body := 0, ""
	eventually(t, "the server refuses", func() bool { // a disk may have some room left
		status, body = s.ask(s.root, "GET", read, "")
		return status >= 500
	})
	if !strings.Contains(body, "audit") {
		t.Errorf("%d %s", status, body)
	}
	for _, ask := range []struct{ method, path, body string }{
		{"GET", read, ""},
		{"POST", read, `{"data":{"v":"changed while unrecorded"}}`},
		{"GET", "/v1/secret/metadata/a", ""},
		{"LIST", "/v1/secret/metadata", ""},
		{"POST", "/v1/auth/token/create", `{}`},
		{"GET", "/v1/auth/token/lookup-self", ""},
		{"GET", "/v1/sys/mounts", ""},
		{"GET", "/api/v1/workloads", ""},
		{"POST", "/api/v1/nodes/web9", `{}`},
	} {
		status, body := s.ask(s.root, ask.method, ask.path, ask.body)
		if status < 500 || strings.Contains(body, hidden) || strings.Contains(body, "client_token") || strings.Contains(body, "gks.") {
			t.Errorf("%s %s is answered without a record: %d %s", ask.method, ask.path, status, body)
		}
	}
	if status, body := s.ask("", "GET", "/readyz", ""); status != 503 || !strings.Contains(body, "audit") {
		t.Errorf("readyz: %d %s", status, body)
	}
	if status, _ := s.ask("", "GET", "/healthz", ""); status != 200 {
		t.Errorf("healthz: %d", status)
	}
	if _, text := s.ask("", "GET", "/metrics", ""); !strings.Contains(text, "goldkeep_audit_failing 1") {
		t.Error("the metric does not say that the audit fails")
	}
	mend()
	eventually(t, "the server answers again", func() bool {
		status, body = s.ask(s.root, "GET", read, "")
		return status == 200
	})
	if !strings.Contains(body, hidden) {
		t.Errorf("the secret changed without a record: %s", body)
	}
	if status, _ := s.ask(victim, "GET", "/v1/auth/token/lookup-self", ""); status != 200 {
		t.Errorf("the token is answered with %d", status)
	}
	eventually(t, "readyz is well", func() bool { status, _ := s.ask("", "GET", "/readyz", ""); return status == 200 })
	if got := cli(t, nil, "", "audit", "verify", log); got.code != 0 {
		t.Errorf("audit verify: %s%s", got.out, got.errors)
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// mountSmall mounts a file system of 128 KiB.
func mountSmall(t *testing.T, dir string) {
	t.Helper()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=128k,mode=0700"); err != nil {
		t.Fatalf("this test mounts a file system, run it as root: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
}

// TestSealed: with key shares the server starts sealed; then there are no
// secrets, but what is known of images can still be read.
func TestSealed(t *testing.T) {
	s := newServer(t, func(s *server, c config) { delete(c, "keyFile") })
	r := cli(t, s.environ(), "", "operator", "init", "--shares", "3", "--threshold", "2", "-o", "json")
	var made struct {
		Keys []string `json:"keys"`
		Root string   `json:"root_token"`
	}
	if err := json.Unmarshal([]byte(r.out), &made); err != nil || len(made.Keys) != 3 || made.Root == "" {
		t.Fatalf("operator init: %v\n%s%s", err, r.out, r.errors)
	}
	s.root = made.Root
	s.connect()
	s.unseal(made.Keys[0], made.Keys[2])
	s.do("POST", "/v1/sys/mounts/team", map[string]any{"type": "kv", "options": map[string]string{"version": "2"}}, nil)
	s.do("POST", "/v1/team/data/a", map[string]any{"data": map[string]string{"v": hidden}}, nil)
	s.cli("image", "add", programs(t).patched, "--name", "app:1")
	revoked := s.token(map[string]any{"policies": []string{"default"}})
	s.do("POST", "/v1/auth/token/revoke", map[string]string{"token": revoked}, nil)
	for _, how := range []string{"sealed by a person", "restarted"} {
		t.Run(how, func(t *testing.T) {
			if how == "restarted" {
				s.kill()
				s.start()
			} else {
				s.cli("operator", "seal")
			}
			s.whileSealed(t, revoked)
			s.unseal(made.Keys[1], made.Keys[0])
			if status, body := s.ask(s.root, "GET", "/v1/team/data/a", ""); status != 200 || !strings.Contains(body, hidden) {
				t.Errorf("after unsealing: %d %s", status, body)
			}
		})
	}
}

func (s *server) unseal(keys ...string) {
	s.t.Helper()
	for i, key := range keys {
		got := must(s.Unseal(s.t.Context(), key))(s.t)
		if got.Sealed != (i < len(keys)-1) {
			s.t.Fatalf("after %d shares: sealed is %v", i+1, got.Sealed)
		}
	}
}

func (s *server) whileSealed(t *testing.T, revoked string) {
	for _, ask := range []struct{ method, path, body string }{
		{"GET", "/v1/team/data/a", ""},
		{"GET", "/v1/auth/token/lookup-self", ""},
		{"GET", "/v1/sys/mounts", ""},
		{"POST", "/v1/auth/token/create", "{}"},
		{"POST", "/api/v1/nodes/web1", "{}"},
	} {
		status, body := s.ask(s.root, ask.method, ask.path, ask.body)
		if status != 503 || strings.Contains(body, hidden) {
			t.Errorf("%s %s while sealed: %d %s", ask.method, ask.path, status, body)
		}
	}
	if status, body := s.ask("", "GET", "/readyz", ""); status != 503 || !strings.Contains(body, "sealed") {
		t.Errorf("readyz: %d %s", status, body)
	}
	for path, want := range map[string]int{"/api/v1/images": 200, "/api/v1/environments": 200, "/api/v1/instances": 200} {
		if status, body := s.ask(s.root, "GET", path, ""); status != want || path == "/api/v1/images" && !strings.Contains(body, "app:1") {
			t.Errorf("%s while sealed: %d %s", path, status, body)
		}
		if status, body := s.ask("gks.wrong", "GET", path, ""); status != 403 && status != 503 || strings.Contains(body, "app:1") {
			t.Errorf("%s while sealed with a wrong token: %d %s", path, status, body)
		}
	}
	if status, body := s.ask(revoked, "GET", "/api/v1/images", ""); status == 200 {
		t.Errorf("a revoked token reads evidence while sealed: %s", body)
	}
	if got := cli(t, s.environ(), "", "kv", "get", "team/a"); got.code != 5 || !strings.Contains(got.errors, "unseal") {
		t.Errorf("kv get: exit code %d\n%s", got.code, got.errors)
	}
	if got := cli(t, s.environ(), "", "image", "list"); got.code != 0 || !strings.Contains(got.out, "app:1") {
		t.Errorf("image list: exit code %d\n%s%s", got.code, got.out, got.errors)
	}
	if got := cli(t, s.environ(), "", "operator", "status"); got.code != 5 {
		t.Errorf("operator status: exit code %d", got.code)
	}
}

// builds are the workload of testdata, with a flawed module and without.
type builds struct{ flawed, patched string }

var (
	buildOnce sync.Once
	built     = map[string][]byte{}
	buildErr  error
)

// programs builds the workload, once, and gives the test its own copies.
func programs(t testing.TB) builds {
	t.Helper()
	buildOnce.Do(func() {
		for _, name := range []string{"flawed", "patched"} {
			if built[name], buildErr = buildProgram(name); buildErr != nil {
				return
			}
		}
	})
	if buildErr != nil {
		t.Fatal(buildErr)
	}
	dir := folder(t)
	for name, program := range built {
		if err := os.WriteFile(filepath.Join(dir, name), program, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return builds{filepath.Join(dir, "flawed"), filepath.Join(dir, "patched")}
}

// folder is a short-lived folder everybody may enter.
func folder(t testing.TB) string {
	t.Helper()
	dir := must(os.MkdirTemp("", "gk"))(t)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func buildProgram(name string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "gkbuild")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	cmd := exec.Command("go", "build", "-C", "testdata/workload", "-trimpath", "-ldflags=-s -w", "-buildvcs=false", "-modfile="+name+".mod", "-o", filepath.Join(dir, name), ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=mod")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the %s workload: %w\n%s", name, err, out)
	}
	return os.ReadFile(filepath.Join(dir, name))
}
