// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

//go:build byhand

// Clients whose building takes too long for each run of the tests:
//
//	hack/clients/build byhand && go test -tags byhand ./e2e/clients -run 'Sops|ConsulTemplate'
package clients_test

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
)

// versions of the programs that "hack/clients/build byhand" makes.
const (
	templateTool = "consul-template-v0.41.1"
	sopsTool     = "sops-v3.13.3"
)

// TestSops keeps a file sealed with a transit key.
func TestSops(t *testing.T) {
	s := startDev(t)
	s.ask(t, "POST", "sys/mounts/sops", map[string]any{"type": "transit"})
	s.ask(t, "POST", "sops/keys/one", map[string]any{"type": "rsa-4096"})
	s.ask(t, "POST", "sops/keys/two", nil)
	w := newWorkshop(t, s, "root")
	sops := tool(t, sopsTool)
	w.write("plain.yaml", "password: hunter2\n")
	key := s.url + "/v1/sops/keys/one"
	w.write("sealed.yaml", w.run(sops, "encrypt", "--hc-vault-transit", key, "plain.yaml"))
	if strings.Contains(w.read("sealed.yaml"), "hunter2") {
		t.Fatal("the file is not sealed")
	}
	if got := w.run(sops, "decrypt", "sealed.yaml"); got != "password: hunter2\n" {
		t.Errorf("it opens to %q", got)
	}
	w.run(sops, "rotate", "-i", "--add-hc-vault-transit", s.url+"/v1/sops/keys/two", "--rm-hc-vault-transit", key, "sealed.yaml")
	if got := w.run(sops, "decrypt", "sealed.yaml"); got != "password: hunter2\n" {
		t.Errorf("with another key it opens to %q", got)
	}
}

// TestConsulTemplate writes files from secrets, writes them anew when they
// change, and keeps its token alive meanwhile.
func TestConsulTemplate(t *testing.T) {
	s := startDev(t)
	s.ask(t, "POST", "sys/mounts/one", map[string]any{"type": "kv"})
	s.ask(t, "POST", "one/a", map[string]any{"password": "first", "ttl": "1s"})
	s.ask(t, "POST", "secret/data/b", map[string]any{"data": map[string]any{"x": "1"}})
	s.ask(t, "PUT", "sys/policies/acl/reader", map[string]any{"policy": `path "one/*" { capabilities = ["read"] } path "secret/*" { capabilities = ["read", "list"] }`})
	made := s.ask(t, "POST", "auth/token/create", map[string]any{"policies": []string{"reader"}, "ttl": "3s", "explicit_max_ttl": "10m"})
	token := made["auth"].(map[string]any)["client_token"].(string)
	w := newWorkshop(t, s, token)
	w.write("in.tpl", `{{ with secret "one/a" }}{{ .Data.password }}{{ end }} {{ with secret "secret/data/b" }}{{ .Data.data.x }} {{ .Data.metadata.version }}{{ end }} {{ range secrets "secret/metadata/" }}{{ . }}{{ end }}`)
	w.write("config.hcl", `vault { default_lease_duration = "2s" }
template { source = "in.tpl" destination = "out" }`)

	cmd := exec.Command(tool(t, templateTool), "-config", "config.hcl")
	cmd.Dir, cmd.Env = w.dir, w.env
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("consul-template said:\n%s", said.String())
		}
	})
	w.comes("out", "first 1 1 b")
	s.ask(t, "POST", "one/a", map[string]any{"password": "second", "ttl": "1s"})
	w.comes("out", "second 1 1 b")
	s.renewed(t, token)
}
