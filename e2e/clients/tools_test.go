// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package clients_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// patience bounds every wait for what must come.
const patience = time.Minute

// vaultTool is the version that hack/clients/build makes.
const vaultTool = "vault-v1.14.1"

// ask sends a request as root, which must be answered with 2xx.
func (s *server) ask(t testing.TB, method, path string, body any) map[string]any {
	t.Helper()
	raw := must(json.Marshal(body))(t)
	req := must(http.NewRequestWithContext(t.Context(), method, s.url+"/v1/"+path, bytes.NewReader(raw)))(t)
	req.Header.Set("X-Vault-Token", "root")
	resp := must(http.DefaultClient.Do(req))(t)
	defer func() { _ = resp.Body.Close() }()
	text := must(io.ReadAll(resp.Body))(t)
	if resp.StatusCode/100 != 2 {
		t.Fatalf("%s %s: %d %s", method, path, resp.StatusCode, text)
	}
	var answer map[string]any
	if len(text) > 0 {
		if err := json.Unmarshal(text, &answer); err != nil {
			t.Fatal(err)
		}
	}
	return answer
}

// workshop is a folder where programs run against a server.
type workshop struct {
	t   *testing.T
	dir string
	env []string
}

func newWorkshop(t *testing.T, s *server, token string) *workshop {
	t.Helper()
	dir := t.TempDir()
	return &workshop{t, dir, []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "VAULT_ADDR=" + s.url, "VAULT_TOKEN=" + token, "COSIGN_PASSWORD=",
	}}
}

func (w *workshop) file(name string) string { return filepath.Join(w.dir, name) }

func (w *workshop) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(w.file(name), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *workshop) read(name string) string {
	w.t.Helper()
	return string(must(os.ReadFile(w.file(name)))(w.t))
}

// run runs a program, which must end well, and returns what it printed.
func (w *workshop) run(program string, args ...string) string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Env = w.dir, w.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("%s %v: %v\n%s", filepath.Base(program), args, err, out)
	}
	return string(out)
}

// TestCosign signs a blob with a transit key that never leaves the server.
func TestCosign(t *testing.T) {
	s := startDev(t)
	s.ask(t, "POST", "sys/mounts/transit", map[string]any{"type": "transit"})
	w := newWorkshop(t, s, "root")
	cosign := filepath.Join(must(os.UserCacheDir())(t), "goldkeep", "cosign-v3.1.3")
	if _, err := os.Stat(cosign); err != nil {
		t.Fatalf("%v; build it with: hack/cosign/build", err)
	}
	w.run(cosign, "generate-key-pair", "--kms", "hashivault://signer")
	w.write("blob", "hello")
	w.run(cosign, "sign-blob", "--yes", "--key", "hashivault://signer", "--use-signing-config=false", "--tlog-upload=false", "--bundle", "bundle.json", "blob")
	for _, key := range []string{"hashivault://signer", "cosign.pub"} {
		w.run(cosign, "verify-blob", "--key", key, "--insecure-ignore-tlog", "--bundle", "bundle.json", "blob")
	}
	s.ask(t, "POST", "transit/keys/signer/rotate", nil)
	w.run(cosign, "verify-blob", "--key", "hashivault://signer", "--insecure-ignore-tlog", "--bundle", "bundle.json", "blob")
}

// comes waits until a file says a text.
func (w *workshop) comes(name, want string) {
	w.t.Helper()
	got := ""
	eventually(w.t, func() bool {
		raw, err := os.ReadFile(w.file(name))
		got = string(raw)
		return err == nil && got == want
	}, func() string { return fmt.Sprintf("%s says %q, not %q", name, got, want) })
}

// renewed waits until somebody renewed a token.
func (s *server) renewed(t *testing.T, token string) {
	t.Helper()
	eventually(t, func() bool {
		got := s.ask(t, "POST", "auth/token/lookup", map[string]any{"token": token})
		return got["data"].(map[string]any)["last_renewal"] != nil
	}, func() string { return "the token is not renewed" })
}

func eventually(t *testing.T, is func() bool, otherwise func() string) {
	t.Helper()
	bound := time.NewTimer(patience)
	look := time.NewTicker(50 * time.Millisecond)
	defer bound.Stop()
	defer look.Stop()
	for !is() {
		select {
		case <-bound.C:
			t.Fatal(otherwise())
		case <-look.C:
		}
	}
}

// TestHvac runs what the Python library can do; see hack/clients/hvac.
func TestHvac(t *testing.T) {
	const python = "/usr/bin/python3"
	if out, err := exec.Command(python, "-c", "import hvac").CombinedOutput(); err != nil {
		t.Fatalf("%v %s; install it with: apt-get install python3-hvac", err, out)
	}
	s := startDev(t)
	w := newWorkshop(t, s, "root")
	w.run(python, must(filepath.Abs("../../hack/clients/hvac/surface_test.py"))(t))
}

// TestNode runs what the JavaScript library can do; see hack/clients/node.
func TestNode(t *testing.T) {
	folder := tool(t, "node")
	s := startDev(t)
	w := newWorkshop(t, s, "root")
	w.env = append(w.env, "NODE_PATH="+filepath.Join(folder, "node_modules"))
	w.run("node", must(filepath.Abs("../../hack/clients/node/surface.js"))(t))
}
