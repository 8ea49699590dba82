// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestServerThatCannotStart: what a newcomer gets wrong is one clear error with
// what to do, never a stack trace, never a password.
func TestServerThatCannotStart(t *testing.T) {
	s := newServer(t, nil)
	busy := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	defer func() { _ = busy.Close() }()
	dir := t.TempDir()
	file := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key := strings.Repeat("k", 32)
	closed := filepath.Join(file("file", "", 0o600), "data")
	for name, test := range map[string]struct {
		env        string
		args       []string
		code       int
		want, hint string
	}{
		"port in use":          {"", []string{"--listen", busy.Addr().String()}, 5, "address already in use", "--listen"},
		"dev port in use":      {"", []string{"--dev", "--dev-listen-address", busy.Addr().String()}, 5, "address already in use", "--listen"},
		"no address":           {"", []string{"--listen", "nonsense"}, 5, "missing port", "--listen"},
		"second server":        {"", []string{"--data", s.path("data")}, 1, "in use by another process", "own data folder"},
		"data is no folder":    {"", []string{"--data", closed}, 1, "not a directory", "--data"},
		"key of others":        {"", []string{"--key-file", file("open", key, 0o644)}, 1, "can be read by others", "chmod 600"},
		"short key":            {"", []string{"--key-file", file("short", "hi", 0o600)}, 1, "holds 2 bytes", "bring the right file back"},
		"key is a folder":      {"", []string{"--key-file", dir}, 1, "is not a file", ""},
		"key in no folder":     {"", []string{"--key-file", closed}, 1, "not a directory", "bring it back"},
		"unknown field":        {"", []string{"--config", file("c1.yaml", "\nlisten_addr: x\n", 0o600)}, 1, `line 2: there is no field "listen_addr"`, "docs/server.md"},
		"wrong value":          {"", []string{"--config", file("c2.yaml", "identityTTL: 5\n", 0o600)}, 1, "line 1: ", "docs/server.md"},
		"half of TLS":          {"", []string{"--config", file("c3.yaml", "tls: {cert: x}\n", 0o600)}, 1, "tls.cert and tls.key go together", ""},
		"no such certificate":  {"", []string{"--config", file("c4.yaml", "tls: {cert: /nope, key: /nope}\n", 0o600)}, 1, "load TLS certificate", "PEM"},
		"bad trust domain":     {"", []string{"--config", file("c5.yaml", "trustDomain: Shop\n", 0o600)}, 1, "trustDomain must be", ""},
		"bad log level":        {"", []string{"--config", file("c6.yaml", "log: {level: loud}\n", 0o600)}, 1, "log.level must be", ""},
		"audit in no folder":   {"", []string{"--config", file("c7.yaml", "audit: {file: /nope/audit}\n", 0o600)}, 5, "open audit log", "check the disk"},
		"no configuration":     {"", []string{"--config", "/nope"}, 1, "open configuration", ""},
		"flags at odds":        {"", []string{"--dev", "--data", dir}, 1, "do not go with it", "--dev-listen-address"},
		"dev flags alone":      {"", []string{"--dev-root-token-id", "x"}, 1, "go with --dev", ""},
		"database unreachable": {"postgres://u:hunter2@127.0.0.1:1/db", nil, 5, "connect to PostgreSQL at 127.0.0.1", "check that the server runs"},
		"database misspelt":    {"postgres://u:hunter2@@127.0.0.1:1x/db", nil, 1, "connection string is not understood", "PGPASSWORD"},
		"database and dev":     {"postgres://u:hunter2@127.0.0.1:1/db", []string{"--dev"}, 1, "dev mode keeps nothing", "unset it"},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"server"}, test.args...)
			line := strings.Join(args, " ")
			if !strings.Contains(line, "--data") && !strings.Contains(line, "--dev") {
				args = append(args, "--data", filepath.Join(t.TempDir(), "data"))
			}
			if !strings.Contains(line, "--listen") && !strings.Contains(line, "--dev") {
				args = append(args, "--listen", "127.0.0.1:0")
			}
			got := cli(t, []string{"GOLDKEEP_DATABASE_URL=" + test.env}, "", args...)
			if got.code != test.code || got.out != "" {
				t.Errorf("exit code %d, want %d; %s", got.code, test.code, got.out)
			}
			lines := strings.Split(strings.TrimSpace(got.errors), "\n")
			wantLines := 1
			if test.hint != "" {
				wantLines = 2
			}
			if !strings.Contains(lines[0], test.want) || len(lines) != wantLines || test.hint != "" && !strings.Contains(lines[len(lines)-1], test.hint) {
				t.Errorf("it says:\n%s", got.errors)
			}
			if strings.Contains(got.errors, "hunter2") {
				t.Error("the password is shown")
			}
		})
	}
}

// TestWrongKeyFile: a server whose key file is another one does not start, and
// the right one still works afterwards.
func TestWrongKeyFile(t *testing.T) {
	s := newServer(t, nil)
	if _, err := s.PutSecret(t.Context(), "secret", "a", map[string]any{"b": "c"}); err != nil {
		t.Fatal(err)
	}
	if code := s.stop(t); code != 0 {
		t.Fatalf("stopping ended with %d:\n%s", code, s.out.String())
	}
	wrong := s.path("wrong")
	if err := os.WriteFile(wrong, []byte(strings.Repeat("w", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	got := cli(t, nil, "", "server", "--config", s.path("server.yaml"), "--key-file", wrong)
	if got.code != 1 || !strings.Contains(got.errors, "the unseal key is wrong") || !strings.Contains(got.errors, "hint:") {
		t.Errorf("%d %s", got.code, got.errors)
	}
	got = cli(t, nil, "", "server", "--config", s.path("server.yaml"), "--key-file", s.path("gone"))
	if got.code != 1 || !strings.Contains(got.errors, "no such file") {
		t.Errorf("%d %s", got.code, got.errors)
	}
	if _, err := os.Stat(s.path("gone")); err == nil {
		t.Error("a new key was made for a server that has one")
	}
	s.start()
	if _, _, err := s.Secret(t.Context(), "secret", "a"); err != nil {
		t.Error(err)
	}
}

// TestFolderOfSomebodyElse: without rights on the data folder there is one error.
func TestFolderOfSomebodyElse(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("this test starts a server as another user: run it as root")
	}
	dir := must(os.MkdirTemp("", "gkdir"))(t)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	cmd := exec.Command("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", goldkeep, "server", "--data", dir, "--listen", "127.0.0.1:0")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/"}
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "permission denied") || !strings.Contains(string(out), "hint: ") || strings.Count(string(out), "\n") != 2 {
		t.Errorf("%v\n%s", err, out)
	}
}
