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
	"syscall"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/attest/attesttest"
)

// TestRunTellsAndEndsTheProgram: "goldkeep run" gives variables, signals a change
// and ends the program when its identity is taken back.
func TestRunTellsAndEndsTheProgram(t *testing.T) {
	s, p := newWorld(t, "{vulnerabilities: {maxSeverity: low, unscored: deny, unfixed: allow}}", nil)
	a := newAgent(t, s, "web1", "none")
	cmd := exec.Command(goldkeep, "run", "--socket", a.socket, "--wait", "20s", "--", p.flawed, "env")
	cmd.Env = []string{"PATH=/bin", "MINE=stays"}
	run := start(t, cmd)
	says := func(text string) {
		t.Helper()
		eventually(t, "the program says "+text, func() bool { return strings.Contains(run.out.String(), text) })
	}
	says("ready")
	for _, want := range []string{"STRIPE_KEY=sk_planted_first", "MINE=stays"} {
		if !strings.Contains(run.out.String(), want+"\n") {
			t.Errorf("there is no %s in:\n%s", want, run.out.String())
		}
	}
	s.putKey("sk_planted_second")
	says("signal hangup")
	s.feed(true)
	says("signal terminated")
	run.exit(t)
	refused := exec.Command(goldkeep, "run", "--socket", a.socket, "--", p.flawed, "env")
	out, err := refused.CombinedOutput()
	if err == nil || refused.ProcessState.ExitCode() != 3 || !strings.Contains(string(out), "GO-2026-5970") || strings.Contains(string(out), "STRIPE_KEY") {
		t.Errorf("a refused program: %v\n%s", err, out)
	}
	searchAgent(t, a)
}

// TestAgentKilled: files an agent could not take away are gone at its next
// start, and the workload gets them again.
func TestAgentKilled(t *testing.T) {
	s, p := newWorld(t, graceful, nil)
	a := newAgent(t, s, "web1", "none")
	w := a.run(p.patched) // not gold
	if why := w.refused(); !strings.Contains(why.Detail, "no workload runs this image") {
		t.Errorf("the refusal says %q", why.Detail)
	}
	w = a.run(p.flawed)
	w.admitted()
	if len(a.left()) == 0 {
		t.Fatal("there is no file")
	}
	a.kill()
	orphan := a.left()
	if len(orphan) == 0 {
		t.Fatal("the test proves nothing: the files went with the agent")
	}
	w.kill()
	a.start()
	if left := a.left(); len(left) != 0 {
		t.Errorf("left behind by the killed agent: %v", left)
	}
	w = a.run(p.flawed)
	id := w.admitted()
	if got := w.say("FILE " + filepath.Join(id.Directory, "stripe.json")); !strings.Contains(got, "sk_planted_first") {
		t.Errorf("it reads %s", got)
	}
}

// TestServerGone: when the server cannot be reached until the identity has
// expired the files go; when it is back the workload gets them again. The time to
// live counts while the server is down.
func TestServerGone(t *testing.T) {
	s, p := newWorld(t, graceful, func(_ *server, c config) { c["identityTTL"] = "10s" })
	a := newAgent(t, s, "web1", "none")
	w := a.run(p.flawed)
	id := w.admitted()
	file := filepath.Join(id.Directory, "stripe.json")
	<-time.After(6 * time.Second) // over half of its life, so that it was renewed once
	s.kill()
	if got := w.say("FILE " + file); !strings.Contains(got, "sk_planted_first") {
		t.Errorf("a server that is just gone takes nothing away: %s", got)
	}
	gone := time.Now()
	eventually(t, "the files go without a server", func() bool { return strings.Contains(w.say("FILE "+file), "no such file") })
	if after := time.Since(gone); after > 40*time.Second {
		t.Errorf("they went after %s; the identity lives 10 s", after)
	}
	s.start()
	if status, _ := s.ask(id.Token, "GET", "/v1/secret/data/pay/stripe", ""); status != 403 {
		t.Errorf("a token that expired while the server was down is answered with %d", status)
	}
	again := w.admitted()
	if again.Token == id.Token || again.Instance == id.Instance {
		t.Error("it is the same identity")
	}
}

// TestRuleChange: rules that change take away and give back.
func TestRuleChange(t *testing.T) {
	s, p := newWorld(t, "{expression: {rule: \"true\", message: \"never\"}}", nil)
	a := newAgent(t, s, "web1", "none")
	w := a.run(p.flawed)
	id := w.admitted()
	declare(t, s, house(digest(t, p.flawed), "{expression: {rule: \"false\", message: \"not on a Friday\"}}"))
	eventually(t, "it is revoked", func() bool { return s.instance(id.Instance).State == "revoked" })
	if in := s.instance(id.Instance); !strings.Contains(in.Reason, "not on a Friday") {
		t.Errorf("the reason is %q", in.Reason)
	}
	eventually(t, "the files are gone", func() bool { return len(a.left()) == 0 })
	declare(t, s, house(digest(t, p.flawed), graceful))
	again := w.admitted()
	if again.Instance == id.Instance {
		t.Error("a revoked instance came back to life")
	}
}

// TestNodesAreApart: what node B's token says about node A is not believed.
func TestNodesAreApart(t *testing.T) {
	s, p := newWorld(t, graceful, nil)
	a := newAgent(t, s, "a", "none")
	w := a.run(p.flawed)
	id := w.admitted()
	b := must(s.EnrolNode(t.Context(), "b"))(t).Token
	csr := must(request())(t)
	admit := func(node string) string {
		return string(must(json.Marshal(client.AdmitRequest{
			Node: node, CSR: csr, Evidence: json.RawMessage(fmt.Sprintf(`{"kind":"process","node":%q,"executable":%q,"pid":77,"startTime":1}`, "a", digest(t, p.flawed))),
		}))(t))
	}
	for _, ask := range []struct{ method, path, body string }{
		{"POST", "/api/v1/instances", admit("a")},
		{"POST", "/api/v1/instances/" + id.Instance + "/renew", `{"node":"a","csr":` + string(must(json.Marshal(csr))(t)) + `}`},
		{"POST", "/api/v1/instances/" + id.Instance + "/renew", `{"node":"b","csr":` + string(must(json.Marshal(csr))(t)) + `}`},
		{"DELETE", "/api/v1/instances/" + id.Instance + "?node=a", ""},
		{"DELETE", "/api/v1/instances/" + id.Instance + "?node=b", ""},
		{"DELETE", "/api/v1/instances/" + id.Instance, ""},
		{"GET", "/api/v1/nodes/a/watch?since=0&timeout=1s", ""},
		{"POST", "/api/v1/nodes/a", "{}"},
		{"GET", "/v1/secret/data/pay/stripe", ""},
		{"POST", "/api/v1/apply", `{"documents":[]}`},
		{"GET", "/api/v1/audit", ""},
	} {
		if status, body := s.ask(b, ask.method, ask.path, ask.body); status != 403 && status != 404 && !strings.Contains(body, "the node is not named") {
			t.Errorf("node b may %s %s: %d %s", ask.method, ask.path, status, body)
		}
	}
	if in := s.instance(id.Instance); in.State != "active" {
		t.Errorf("node b has made it %s", in.State)
	}
	status, body := s.ask(b, "POST", "/api/v1/instances", admit("b"))
	var grant client.Grant
	if err := json.Unmarshal([]byte(body), &grant); status != 200 || err != nil || grant.Instance.Node != "b" {
		t.Errorf("for itself: %d %s", status, body)
	}
	// The workload's own token opens its secrets and nothing else.
	for _, path := range []string{"/api/v1/images", "/api/v1/instances", "/v1/sys/mounts", "/v1/secret/metadata/pay/stripe?list=true"} {
		if status, _ := s.ask(id.Token, "GET", path, ""); status != 403 {
			t.Errorf("a workload's token reads %s: %d", path, status)
		}
	}
}

// TestContainerPastItsAge: a container gets its file, keeps it until its image is
// too old, and loses it then. What it says about itself is not asked.
func TestContainerPastItsAge(t *testing.T) {
	podman := attesttest.NewPodman(t)
	s := newServer(t, nil)
	s.feed(false)
	s.putKey("sk_planted_first")
	p := programs(t)
	archive := filepath.Join(t.TempDir(), "app.tar")
	name := "localhost/gk-e2e:" + strings.ToLower(filepath.Base(folder(t)))
	context := t.TempDir()
	attesttest.Run(t, "cp", p.patched, filepath.Join(context, "workload"))
	if err := os.WriteFile(filepath.Join(context, "Containerfile"), []byte("FROM scratch\nCOPY workload /workload\nUSER 65532:65532\nENTRYPOINT [\"/workload\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	attesttest.Run(t, "podman", "build", "-q", "-t", name, context)
	built := time.Now()
	t.Cleanup(func() { _ = exec.Command("podman", "rmi", "-f", name).Run() })
	attesttest.Run(t, "podman", "save", "-q", "-o", archive, name)
	s.cli("image", "add", archive, "--name", "app:1")
	images := must(s.Images(t.Context()))(t)
	declare(t, s, house(images[0].ID, "{age: {max: 15s}}"))
	a := newAgent(t, s, "web1", podman.Socket)
	cmd, _ := attesttest.Container(t, []string{"--read-only", "--tmpfs", "/run/goldkeep:rw,mode=0755", "-v", a.dir + ":/run/agent:ro"}, name, "ask", "/run/agent/agent.sock")
	w := newWorkload(t, cmd)
	id := w.admitted()
	file := "/run/goldkeep/secrets/stripe.json"
	if got := w.say("FILE " + file); !strings.Contains(got, "sk_planted_first") {
		t.Errorf("it reads %s; %+v", got, id)
	}
	if in := s.instance(id.Instance); in.Kind != "podman" || in.UID != uid || in.Image != images[0].ID {
		t.Errorf("the instance: %+v", in)
	}
	eventually(t, "the file is gone", func() bool { return strings.Contains(w.say("FILE "+file), "no such file") })
	if after := time.Since(built); after < 15*time.Second {
		t.Errorf("it went after %s, before its time", after)
	}
	if in := s.instance(id.Instance); in.State != "revoked" || !strings.Contains(in.Reason, "old") {
		t.Errorf("the instance: %+v", in)
	}
	// A program of the host that looks the same is not the container.
	host := exec.Command(p.patched, "ask", a.socket)
	host.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	if why := newWorkload(t, host).refused(); why.Token != "" {
		t.Error("a plain process got what a container may have")
	}
}
