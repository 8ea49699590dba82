// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package clients_test

import (
	"bytes"
	"net/http"
	"os/exec"
	"strings"
	"testing"
)

// background starts a program that is stopped when the test ends.
func (w *workshop) background(program string, args ...string) {
	w.t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Env = w.dir, w.env
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
		if w.t.Failed() {
			w.t.Logf("%s %v said:\n%s", program, args, said.String())
		}
	})
}

// login makes an AppRole and leaves its two halves in files.
func (w *workshop) login(s *server) {
	w.t.Helper()
	s.ask(w.t, "PUT", "sys/policies/acl/reader", map[string]any{"policy": `path "secret/data/*" { capabilities = ["read"] }`})
	s.ask(w.t, "POST", "sys/auth/approle", map[string]any{"type": "approle"})
	s.ask(w.t, "POST", "auth/approle/role/app", map[string]any{"token_policies": "reader", "token_ttl": "4s", "token_max_ttl": "10m"})
	w.write("role", s.ask(w.t, "GET", "auth/approle/role/app/role-id", nil)["data"].(map[string]any)["role_id"].(string))
	w.write("secret", s.ask(w.t, "POST", "auth/approle/role/app/secret-id", nil)["data"].(map[string]any)["secret_id"].(string))
}

const autoAuth = `
auto_auth {
  method "approle" {
    config = { role_id_file_path = "role", secret_id_file_path = "secret", remove_secret_id_file_after_reading = false }
  }
  sink "file" { config = { path = "token" } }
}
cache {}
`

// reads waits until a listener that has a login of its own answers a request that
// has none with a text.
func (w *workshop) reads(url, want string) {
	w.t.Helper()
	var got string
	eventually(w.t, func() bool {
		req := must(http.NewRequestWithContext(w.t.Context(), "GET", url, nil))(w.t)
		req.Header.Set("X-Vault-Request", "true")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			got = err.Error()
			return false
		}
		defer func() { _ = resp.Body.Close() }()
		var body bytes.Buffer
		_, _ = body.ReadFrom(resp.Body) // cut short it does not hold the text
		got = body.String()
		return strings.Contains(got, want)
	}, func() string { return url + " says " + got })
}

// TestVaultAgent lets Vault's agent log in, write a file anew when its secret
// changes, keep its token alive, and serve requests with it.
func TestVaultAgent(t *testing.T) {
	s := startDev(t)
	s.ask(t, "POST", "secret/data/db", map[string]any{"data": map[string]any{"password": "first"}})
	w, addr := newWorkshop(t, s, ""), freeAddr(t)
	w.login(s)
	w.write("agent.hcl", autoAuth+`
api_proxy { use_auto_auth_token = true }
listener "tcp" {
  address     = "`+addr+`"
  tls_disable = true
}
template_config { static_secret_render_interval = "1s" }
template {
  destination = "out"
  contents    = "{{ with secret \"secret/data/db\" }}{{ .Data.data.password }} {{ .Data.metadata.version }}{{ end }}"
}`)
	w.background(tool(t, vaultTool), "agent", "-config=agent.hcl")
	w.comes("out", "first 1")
	s.ask(t, "POST", "secret/data/db", map[string]any{"data": map[string]any{"password": "second"}})
	w.comes("out", "second 2")
	w.reads("http://"+addr+"/v1/secret/data/db", `"password":"second"`)
	s.renewed(t, strings.TrimSpace(w.read("token")))
}

// TestVaultProxy lets Vault's proxy put its own login in the place of whatever
// token a request has.
func TestVaultProxy(t *testing.T) {
	s := startDev(t)
	s.ask(t, "POST", "secret/data/db", map[string]any{"data": map[string]any{"password": "first"}})
	w, addr := newWorkshop(t, s, ""), freeAddr(t)
	w.login(s)
	w.write("proxy.hcl", autoAuth+`
api_proxy { use_auto_auth_token = "force" }
listener "tcp" {
  address                = "`+addr+`"
  tls_disable            = true
  require_request_header = true
}`)
	w.background(tool(t, vaultTool), "proxy", "-config=proxy.hcl")
	w.reads("http://"+addr+"/v1/secret/data/db", `"password":"first"`)
	s.renewed(t, strings.TrimSpace(w.read("token")))
	w.env = append(w.env, "VAULT_ADDR=http://"+addr, "VAULT_TOKEN=none")
	if got := w.run(tool(t, vaultTool), "token", "lookup", "-format=json"); !strings.Contains(got, `"reader"`) {
		t.Errorf("the proxy's token: %s", got)
	}
}
