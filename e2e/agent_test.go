// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/client"
)

// agent is a running "goldkeep agent" of a server's node.
type agent struct {
	*process
	t                 *testing.T
	s                 *server
	dir, node, podman string
	socket, files     string
}

// newAgent enrols a node and starts its agent; podman is a socket or "none".
func newAgent(t *testing.T, s *server, node, podman string) *agent {
	t.Helper()
	dir := must(os.MkdirTemp("/dev/shm", "gkagent"))(t)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	a := &agent{t: t, s: s, dir: dir, node: node, podman: podman, socket: filepath.Join(dir, "agent.sock"), files: filepath.Join(dir, "files")}
	s.cli("node", "enrol", node, "--out", filepath.Join(dir, "node-token"))
	a.start()
	return a
}

func (a *agent) start() {
	a.t.Helper()
	cmd := exec.Command(goldkeep, "agent", "--node", a.node, "--node-token-file", filepath.Join(a.dir, "node-token"),
		"--socket", a.socket, "--files", a.files, "--podman-socket", a.podman)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + a.dir}, "GOLDKEEP_ADDR="+a.s.url, "GOLDKEEP_CACERT="+a.s.ca())
	a.process = start(a.t, cmd)
	eventually(a.t, "the agent listens", func() bool {
		select {
		case <-a.ended:
			a.t.Fatalf("the agent ended:\n%s", a.out.String())
		default:
		}
		conn, err := net.Dial("unix", a.socket)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

// left lists the files with secrets the agent has written.
func (a *agent) left() (paths []string) {
	a.t.Helper()
	err := filepath.WalkDir(a.files, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			paths = append(paths, path)
		}
		return nil // what has just gone is gone
	})
	if err != nil {
		a.t.Fatal(err)
	}
	return paths
}

// workload is a running workload of testdata that asks the agent when told.
type workload struct {
	*process
	t    *testing.T
	seen int
}

// uid is the user workloads run as.
const uid = 65532

// run starts a program as a plain workload of a user of its own.
func (a *agent) run(program string) *workload {
	a.t.Helper()
	cmd := exec.Command(program, "ask", a.socket)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	return newWorkload(a.t, cmd)
}

func newWorkload(t *testing.T, cmd *exec.Cmd) *workload {
	t.Helper()
	w := &workload{process: start(t, cmd), t: t}
	w.next()
	return w
}

// next waits for the next whole line.
func (w *workload) next() string {
	w.t.Helper()
	line := ""
	eventually(w.t, "the workload answers", func() bool {
		rest := w.out.String()[w.seen:]
		i := strings.IndexByte(rest, '\n')
		if i < 0 {
			return false
		}
		line, w.seen = rest[:i], w.seen+i+1
		return true
	})
	return line
}

func (w *workload) say(line string) string {
	w.t.Helper()
	if _, err := fmt.Fprintln(w.in, line); err != nil {
		w.t.Fatalf("the workload is gone: %v\n%s", err, w.out.String())
	}
	return w.next()
}

// identified is the agent's answer to a workload.
type identified struct {
	Instance, Token, Directory, State, Reason, Detail, SPIFFEID string
	Until                                                       time.Time
}

func (w *workload) identity() (status string, id identified) {
	w.t.Helper()
	status, body, _ := strings.Cut(w.say("GET /v1/identity"), " ")
	if i := strings.LastIndexByte(body, '}'); i >= 0 {
		if err := json.Unmarshal([]byte(body[:i+1]), &id); err != nil {
			w.t.Fatalf("%v in %s", err, body)
		}
	}
	return status, id
}

// admitted waits until the workload has its identity.
func (w *workload) admitted() (id identified) {
	w.t.Helper()
	status := ""
	eventually(w.t, "the workload is admitted", func() bool {
		status, id = w.identity()
		return status == "200" && (id.State == "active" || id.State == "warned")
	})
	return id
}

// refused waits until it has none.
func (w *workload) refused() (id identified) {
	w.t.Helper()
	eventually(w.t, "the workload is refused", func() bool {
		var status string
		status, id = w.identity()
		return status == "403"
	})
	return id
}

func digest(t testing.TB, program string) string {
	t.Helper()
	sum := sha256.Sum256(must(os.ReadFile(program))(t))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// rules are those of the tests: %s is what stands for the environment's retain.
const strict = "vulnerabilities: {maxSeverity: low, unscored: deny, unfixed: allow}"

func house(gold, retain string) string {
	return fmt.Sprintf(`apiVersion: goldkeep.dev/v1
kind: Environment
metadata: {name: prod, owner: security}
spec:
  admit: [{%s}, {channel: gold}]
  retain: [%s]
  onFail: revoke
---
apiVersion: goldkeep.dev/v1
kind: GoldenImage
metadata: {name: app, owner: team}
spec: {channels: {gold: %q}}
---
apiVersion: goldkeep.dev/v1
kind: Workload
metadata: {name: app, owner: team}
spec:
  environment: prod
  image: {golden: app, channel: gold}
  secrets:
    - {kv: pay/stripe, file: stripe.json}
    - {kv: pay/stripe, field: key, env: STRIPE_KEY}
`, strict, retain, gold)
}

const graceful = "{vulnerabilities: {maxSeverity: low, unscored: deny, unfixed: allow, grace: {unscored: 2s}}}"

// feed syncs the demo's advisories; with news also the new one.
func (s *server) feed(news bool) {
	s.t.Helper()
	s.cli("advisory", "sync", "--from", filepath.Dir(filepath.Dir(s.writeFeed(news))), "--server")
}

// writeFeed lays the advisories out as OSV's public bucket does.
func (s *server) writeFeed(news bool) (path string) {
	s.t.Helper()
	path = filepath.Join(s.t.TempDir(), "Go", "all.zip")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, pattern := range []string{"../demo/advisories/before/*.json", "../demo/advisories/new/*.json"}[:1+oneIf(news)] {
		for _, f := range must(filepath.Glob(pattern))(s.t) {
			w := must(z.Create(filepath.Base(f)))(s.t)
			if _, err := w.Write(must(os.ReadFile(f))(s.t)); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	if err := z.Close(); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		s.t.Fatal(err)
	}
	return path
}

func oneIf(b bool) int {
	if b {
		return 1
	}
	return 0
}

// world is a server that knows both builds, with a secret, and rules.
func newWorld(t *testing.T, retain string, edit func(*server, config)) (*server, builds) {
	t.Helper()
	s := newServer(t, edit)
	s.feed(false)
	p := programs(t)
	s.cli("image", "add", p.flawed, "--name", "app:flawed")
	s.cli("image", "add", p.patched, "--name", "app:patched")
	s.putKey("sk_planted_first")
	declare(t, s, house(digest(t, p.flawed), retain))
	return s, p
}

func (s *server) putKey(value string) {
	s.t.Helper()
	if _, err := s.PutSecret(s.t.Context(), "secret", "pay/stripe", map[string]any{"key": value}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) instance(id string) client.Instance {
	s.t.Helper()
	return *must(s.Instance(s.t.Context(), id))(s.t)
}

// recorded tells whether the audit log has an event whose detail holds a text.
func (s *server) recorded(event, text string) bool {
	s.t.Helper()
	for after := uint64(0); ; {
		page := must(s.Audit(s.t.Context(), after, 500))(s.t)
		for _, r := range page {
			if after = r.Seq; r.Op == event && strings.Contains(string(r.Detail), text) {
				return true
			}
		}
		if len(page) < 500 { // asking is recorded too: there is always one more
			return false
		}
	}
}

// TestStory plays the whole life of a workload with the real programs.
func TestStory(t *testing.T) {
	s, p := newWorld(t, graceful, nil)
	a := newAgent(t, s, "web1", "none")
	w := a.run(p.flawed)
	id := w.admitted()
	file := filepath.Join(id.Directory, "stripe.json")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o400 || info.Sys().(*syscall.Stat_t).Uid != uid {
		t.Errorf("the file: %v %v", info, err)
	}
	if got := w.say("FILE " + file); !strings.Contains(got, "sk_planted_first") {
		t.Errorf("the workload reads %s", got)
	}
	if status, body := s.ask(id.Token, "GET", "/v1/secret/data/pay/stripe", ""); status != 200 {
		t.Errorf("its token reads its secret: %d %s", status, body)
	}
	if status, _ := s.ask(id.Token, "GET", "/v1/secret/data/pay/other", ""); status != 403 {
		t.Errorf("its token reads another secret: %d", status)
	}

	s.putKey("sk_planted_second")
	eventually(t, "the file follows the secret", func() bool {
		return strings.Contains(w.say("FILE "+file), "sk_planted_second")
	})

	s.feed(true) // news
	eventually(t, "it is warned", func() bool { return s.instance(id.Instance).State == "warned" })
	in := s.instance(id.Instance)
	if in.Until.IsZero() || !strings.Contains(in.Reason, "GO-2026-5970") {
		t.Errorf("the warning says %q until %v", in.Reason, in.Until)
	}
	eventually(t, "it is revoked", func() bool { return s.instance(id.Instance).State == "revoked" })
	eventually(t, "the file is gone", func() bool { return strings.Contains(w.say("FILE "+file), "no such file") })
	if status, body := s.ask(id.Token, "GET", "/v1/secret/data/pay/stripe", ""); status != 403 {
		t.Errorf("its token after the revocation: %d %s", status, body)
	}
	if left := a.left(); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	eventually(t, "the refusal says why and what to do", func() bool {
		why := w.refused()
		return strings.Contains(why.Detail, "GO-2026-5970") && strings.Contains(why.Detail, "0.39.0")
	})
	if list := s.cli("instance", "list", "--all"); !strings.Contains(list, "revoked") || !strings.Contains(list, "GO-2026-5970") {
		t.Errorf("instance list:\n%s", list)
	}
	if !s.recorded("instance.revoked", "GO-2026-5970") {
		t.Error("the audit does not say why")
	}

	// A person who knows the program takes the flaw back, and with it the refusal.
	s.cli("finding", "triage", "GO-2026-5970", "--golden", "app", "--status", "not_affected", "--justification", "vulnerable_code_not_in_execute_path", "--reason", "never called", "--expires", "30d")
	again := w.admitted()
	if got := w.say("FILE " + filepath.Join(again.Directory, "stripe.json")); !strings.Contains(got, "sk_planted_second") {
		t.Errorf("after the triage the workload reads %s", got)
	}

	// The patched build becomes gold: it gets the secret, the old one loses it.
	declare(t, s, house(digest(t, p.patched), graceful))
	w2 := a.run(p.patched)
	id2 := w2.admitted()
	if status, _ := s.ask(id2.Token, "GET", "/v1/secret/data/pay/stripe", ""); status != 200 {
		t.Errorf("the patched one's token: %d", status)
	}
	// A workload that ends loses everything.
	w2.kill()
	eventually(t, "the instance of the ended process is gone", func() bool { return s.instance(id2.Instance).State == "gone" })
	if status, _ := s.ask(id2.Token, "GET", "/v1/secret/data/pay/stripe", ""); status != 403 {
		t.Errorf("the ended one's token: %d", status)
	}
	searchAgent(t, a)
}

// searchAgent looks for secrets in what the agent says and leaves behind.
func searchAgent(t *testing.T, a *agent) {
	t.Helper()
	said := a.out.String()
	for _, secret := range []string{"sk_planted", "gks.", "PRIVATE KEY"} {
		if strings.Contains(said, secret) {
			t.Errorf("the agent's log holds %q", secret)
		}
	}
	a.stop(t)
	if left := a.left(); len(left) != 0 {
		t.Errorf("an agent that was stopped leaves %v", left)
	}
	if strings.Contains(a.out.String(), "sk_planted") {
		t.Error("the agent's log holds the secret")
	}
}
