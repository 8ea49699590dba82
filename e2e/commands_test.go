// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	vault "github.com/hashicorp/vault/api"

	"github.com/goldkeep/goldkeep/client"
)

// dev is a running "goldkeep server --dev".
func dev(t *testing.T, env ...string) (*process, string) {
	t.Helper()
	addr := freeAddr(t)
	cmd := exec.Command(goldkeep, "server", "--dev", "--dev-listen-address", addr)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, env...)
	p := start(t, cmd)
	t.Cleanup(func() { p.stop(t) }) // so that it takes its folder away
	eventually(t, "the dev server is there", func() bool { return strings.Contains(p.out.String(), "Root Token:") })
	return p, "http://" + addr
}

// TestDevWithVaultsOwnClient: a program written for Vault works unchanged.
func TestDevWithVaultsOwnClient(t *testing.T) {
	before := must(filepath.Glob("/dev/shm/goldkeep-dev-*"))(t)
	p, addr := dev(t, "VAULT_DEV_ROOT_TOKEN_ID=root")
	if said := p.out.String(); !strings.Contains(said, "Root Token: root\n") || !strings.Contains(said, "export GOLDKEEP_ADDR="+addr) {
		t.Errorf("it says:\n%s", said)
	}
	c := must(vault.NewClient(&vault.Config{Address: addr}))(t)
	c.SetToken("root")
	ctx := t.Context()
	kv := c.KVv2("secret")
	if _, err := kv.Put(ctx, "app/db", map[string]any{"password": "p1"}); err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(ctx, "app/db", map[string]any{"password": "p2"}, vault.WithCheckAndSet(1)); err != nil {
		t.Error(err)
	}
	if _, err := kv.Put(ctx, "app/db", map[string]any{"password": "p3"}, vault.WithCheckAndSet(1)); err == nil {
		t.Error("a write that comes too late is taken")
	}
	if got, err := kv.Get(ctx, "app/db"); err != nil || got.Data["password"] != "p2" || got.VersionMetadata.Version != 2 {
		t.Errorf("get: %v %v", got, err)
	}
	if got, err := kv.GetVersion(ctx, "app/db", 1); err != nil || got.Data["password"] != "p1" {
		t.Errorf("get version 1: %v %v", got, err)
	}
	if got, err := c.Logical().List("secret/metadata/app"); err != nil || len(got.Data["keys"].([]any)) != 1 {
		t.Errorf("list: %v %v", got, err)
	}
	c.SetWrappingLookupFunc(func(string, string) string { return "1m" })
	wrapped := must(c.Logical().Read("secret/data/app/db"))(t)
	c.SetWrappingLookupFunc(nil)
	if wrapped.WrapInfo == nil || wrapped.Data != nil {
		t.Fatalf("not wrapped: %v", wrapped)
	}
	if got, err := c.Logical().Unwrap(wrapped.WrapInfo.Token); err != nil || got.Data["data"].(map[string]any)["password"] != "p2" {
		t.Errorf("unwrap: %v %v", got, err)
	}
	if _, err := c.Logical().Unwrap(wrapped.WrapInfo.Token); err == nil {
		t.Error("a wrapped answer can be had twice")
	}
	if err := kv.Delete(ctx, "app/db"); err != nil {
		t.Error(err)
	}
	if got, err := kv.Get(ctx, "app/db"); err == nil && got.Data != nil {
		t.Errorf("after delete: %v", got)
	}
	if health, err := c.Sys().Health(); err != nil || health.Sealed || !health.Initialized {
		t.Errorf("health: %v %v", health, err)
	}
	if code := p.stop(t); code != 0 {
		t.Errorf("it ended with %d:\n%s", code, p.out.String())
	}
	if after := must(filepath.Glob("/dev/shm/goldkeep-dev-*"))(t); len(after) > len(before) {
		t.Errorf("it leaves %v", after)
	}
}

// TestCommandsSpeakToTheServer: how the command line finds the server and tells
// what came of it.
func TestCommandsSpeakToTheServer(t *testing.T) {
	_, addr := dev(t, "VAULT_DEV_ROOT_TOKEN_ID=root")
	ours, vaults := []string{"GOLDKEEP_ADDR=" + addr, "GOLDKEEP_TOKEN=root"}, []string{"VAULT_ADDR=" + addr, "VAULT_TOKEN=root"}
	home := t.TempDir()
	withHome := []string{"GOLDKEEP_ADDR=" + addr, "HOME=" + home}
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const head = "apiVersion: goldkeep.dev/v1\nkind: "
	ownerless := file("ownerless.yaml", head+"Environment\nmetadata: {name: prod}\nspec:\n  admit: [{vulnerabilities: {}}]\n")
	broken := file("broken.yaml", head+"Environment\nmetadata: {name: prod, owner: o}\nspec:\n  admit: [{vulnerabilities: {}}]\n  admitt: []\n")
	dangling := file("dangling.yaml", head+"Workload\nmetadata: {name: app, owner: o}\nspec:\n  environment: nowhere\n  image: {golden: nothing, channel: gold}\n")
	good := file("good.yaml", house("sha256:"+strings.Repeat("1", 64), graceful))
	for _, step := range []struct {
		env    []string
		stdin  string
		args   string
		code   int
		out    []string
		errors []string
	}{
		{ours, "s3cret", "kv put secret/a password=-", 0, nil, nil},
		{vaults, "", "kv get secret/a", 0, []string{"password  s3cret"}, nil},
		{vaults, "", "kv get secret/a -o json", 0, []string{`"password": "s3cret"`}, nil},
		{ours, "", "kv get secret/nothing", 1, nil, []string{"error:"}},
		{[]string{"GOLDKEEP_ADDR=" + addr}, "", "kv get secret/a", 4, nil, []string{"hint: log in"}},
		{[]string{"GOLDKEEP_ADDR=" + addr, "GOLDKEEP_TOKEN=wrong"}, "", "kv get secret/a", 4, nil, []string{"permission denied"}},
		{[]string{"GOLDKEEP_ADDR=http://127.0.0.1:1"}, "", "status", 5, nil, []string{"127.0.0.1:1"}},
		{append([]string{"VAULT_ADDR=http://127.0.0.1:1", "VAULT_TOKEN=x"}, ours...), "", "kv get secret/a", 0, []string{"s3cret"}, nil},
		{withHome, "root\n", "login", 0, nil, nil},
		{withHome, "", "kv get secret/a", 0, []string{"s3cret"}, nil},
		{ours, "", "plan -f " + ownerless, 1, nil, []string{"ownerless.yaml:3", "owner"}},
		{ours, "", "plan -f " + broken, 1, nil, []string{"broken.yaml:6", "admitt"}},
		{ours, "", "apply --yes -f " + broken, 1, nil, []string{"broken.yaml:6"}},
		{ours, "", "apply --yes -f " + dangling, 1, nil, []string{"dangling.yaml:", "nowhere", "nothing"}},
		{ours, "", "plan -f " + good, 0, []string{"Environment", "prod"}, nil},
		{ours, "", "environment list", 0, nil, nil},
		{ours, "", "apply --yes -f " + good, 0, nil, nil},
		{ours, "", "environment list", 0, []string{"prod"}, nil},
		{ours, "", "workload list -o json", 0, []string{`"name": "app"`}, nil},
		{ours, "", "verdict sha256:" + strings.Repeat("1", 64) + " --env prod", 3, []string{"has never been scanned here"}, nil},
		{ours, "", "nonsense", 2, nil, []string{"no command"}},
		{ours, "", "kv get", 2, nil, []string{"--help"}},
		{ours, "", "operator status", 0, []string{"initialized"}, nil},
		{ours, "", "status -o json", 0, []string{"{"}, nil},
	} {
		got := cli(t, step.env, step.stdin, strings.Fields(step.args)...)
		if got.code != step.code {
			t.Errorf("goldkeep %s: exit code %d, want %d\n%s%s", step.args, got.code, step.code, got.out, got.errors)
		}
		for _, want := range step.out {
			if !strings.Contains(got.out, want) {
				t.Errorf("goldkeep %s: no %q in:\n%s%s", step.args, want, got.out, got.errors)
			}
		}
		for _, want := range step.errors {
			if !strings.Contains(got.errors, want) {
				t.Errorf("goldkeep %s: no %q in:\n%s", step.args, want, got.errors)
			}
		}
		if strings.Contains(step.args, "-o json") && !json.Valid([]byte(got.out)) {
			t.Errorf("goldkeep %s: not JSON:\n%s", step.args, got.out)
		}
		if strings.Contains(got.errors, "goroutine") {
			t.Errorf("goldkeep %s:\n%s", step.args, got.errors)
		}
	}
	c := must(client.New(client.Config{Addr: addr, Token: "root"}))(t)
	if _, err := c.Environment(t.Context(), "prod"); err != nil {
		t.Error(err)
	}
}
