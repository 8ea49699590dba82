// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/agent"
	"github.com/goldkeep/goldkeep/internal/attest/attesttest"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// ask starts a workload that asks what the test tells it to ask.
func ask(t *testing.T, probe, socket string) *attesttest.Process {
	t.Helper()
	waitFor(t, socket)
	p := attesttest.Start(t, exec.Command(probe, "ask", socket))
	p.Until(t, "ready")
	return p
}

// waitFor waits until the agent listens.
func waitFor(t *testing.T, socket string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			_ = conn.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

type identity struct {
	Instance, Workload, Environment, SpiffeID, Certificate, PrivateKey, Bundle, Token, Directory, State, Reason, Detail, Kind string
	Revision                                                                                                                  int64
}

func get(t *testing.T, p *attesttest.Process, line string, status string) identity {
	t.Helper()
	answer := p.Ask(t, line)
	got, body, _ := strings.Cut(answer, " ")
	if got != status {
		t.Fatalf("%s: %s", line, answer)
	}
	var id identity
	if err := json.Unmarshal([]byte(body), &id); err != nil {
		t.Fatalf("%s: %v in %s", line, err, body)
	}
	return id
}

// watchUntil polls the agent until a state comes.
func watchUntil(t *testing.T, p *attesttest.Process, from int64, state string) identity {
	t.Helper()
	for range 20 {
		w := get(t, p, "GET /v1/watch?timeout=5s&revision="+itoa(from), "200")
		if w.State == state {
			return w
		}
		from = w.Revision
	}
	t.Fatalf("state %s never came", state)
	return identity{}
}

func itoa(n int64) string {
	text, _ := json.Marshal(n)
	return string(text)
}

func TestLifeOfAPlainProcess(t *testing.T) {
	f := newFake(t)
	f.wants = append(f.wants, client.WorkloadSecret{KV: "db", File: "tls/", Mount: "secret"})
	f.secrets["db"] = map[string]any{"user": "app"}
	h := startAgent(t, f, nil)
	p := ask(t, attesttest.Probe(t), h.socket)
	id := get(t, p, "GET /v1/identity", "200")
	if id.Workload != "payments" || id.Token != "token-i-1" || !strings.Contains(id.PrivateKey, "PRIVATE KEY") || id.State != "active" {
		t.Errorf("identity %+v", id)
	}
	file := filepath.Join(id.Directory, "stripe.json")
	checkFile(t, file, `{"key":"sk-1"}`)
	checkFile(t, filepath.Join(id.Directory, "tls/user"), "app")
	var st unix.Statfs_t
	if err := unix.Statfs(id.Directory, &st); err != nil || st.Type != unix.TMPFS_MAGIC {
		t.Errorf("the files are not on a tmpfs: %v", err)
	}

	// The workload plants links where the agent will write.
	target := t.TempDir()
	if err := os.RemoveAll(filepath.Join(id.Directory, "tls")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, filepath.Join(id.Directory, "tls")); err != nil {
		t.Fatal(err)
	}
	f.putSecret("db", map[string]any{"user": "evil"})
	w := get(t, p, "GET /v1/watch?timeout=20s&revision="+itoa(id.Revision), "200")
	if entries, err := os.ReadDir(target); err != nil || len(entries) != 0 {
		t.Errorf("the agent followed a link: %v %v", entries, err)
	}
	if err := os.Remove(filepath.Join(id.Directory, "tls")); err != nil {
		t.Fatal(err)
	}

	f.putSecret("payments/stripe", map[string]any{"key": "sk-2"})
	for i := 0; ; i++ {
		w = get(t, p, "GET /v1/watch?timeout=20s&revision="+itoa(w.Revision), "200")
		if text, _ := os.ReadFile(file); strings.Contains(string(text), "sk-2") {
			break
		}
		if i == 10 {
			t.Fatal("the changed secret never came")
		}
	}
	checkFile(t, file, `{"key":"sk-2"}`)

	f.do(func() { f.set("i-1", "warned", "too old soon") })
	w = watchUntil(t, p, w.Revision, "warned")
	checkFile(t, file, `{"key":"sk-2"}`)

	f.do(func() { f.set("i-1", "revoked", "CVE-2026-1") })
	w = watchUntil(t, p, w.Revision, "revoked")
	if w.Reason != "CVE-2026-1" {
		t.Errorf("reason %q", w.Reason)
	}
	if _, err := os.Stat(id.Directory); !os.IsNotExist(err) {
		t.Errorf("files after a revocation: %v", err)
	}

	again := get(t, p, "GET /v1/identity", "200") // the rule was put right
	if again.Instance == id.Instance {
		t.Error("the revoked identity came back")
	}
	checkFile(t, filepath.Join(again.Directory, "stripe.json"), `{"key":"sk-2"}`)
	if err := p.Cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	f.until("the server is told of the end", func() bool { return len(f.left) == 1 && f.left[0] == again.Instance })
	if _, err := os.Stat(again.Directory); !os.IsNotExist(err) {
		t.Errorf("files after the end: %v", err)
	}
}

func checkFile(t *testing.T, path, want string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != want || info.Mode().Perm() != 0o400 {
		t.Errorf("%s holds %s with mode %v", path, text, info.Mode())
	}
}

func TestFilesBelongToTheWorkload(t *testing.T) {
	f := newFake(t)
	h := startAgent(t, f, nil)
	probe := attesttest.Probe(t)
	open := filepath.Join(attesttest.Folder(t), "probe")
	attesttest.Run(t, "install", "-m", "0755", probe, open)
	waitFor(t, h.socket)
	cmd := exec.Command(open, "ask", h.socket)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 4711, Gid: 4712}}
	p := attesttest.Start(t, cmd)
	p.Until(t, "ready")
	id := get(t, p, "GET /v1/identity", "200")
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(id.Directory, "stripe.json"), &st); err != nil || st.Uid != 4711 || st.Gid != 4712 {
		t.Errorf("owner %d:%d, %v", st.Uid, st.Gid, err)
	}
	if got := p.Ask(t, "FILE "+id.Directory+"/stripe.json"); !strings.Contains(got, "sk-1") {
		t.Errorf("the workload cannot read its file: %s", got)
	}
}

func TestRefusalTellsWhyAndWhatToDo(t *testing.T) {
	f := newFake(t)
	f.refuse = true
	p := ask(t, attesttest.Probe(t), startAgent(t, f, nil).socket)
	text := get(t, p, "GET /v1/identity", "403").Detail
	for _, want := range []string{"payments may not run in prod", "CVE-2026-1 is above 6.9", "payments-team", "libssl3 3.0.15 -> 3.0.17"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in %q", want, text)
		}
	}
	if got := p.Ask(t, "GET /v1/secrets"); !strings.HasPrefix(got, "403") {
		t.Error(got)
	}
	f.do(func() { f.refuse = false })
	get(t, p, "GET /v1/identity?wait=20", "200")
}

func TestUnseenProgramIsUploadedOnce(t *testing.T) {
	f := newFake(t)
	f.wanted = true
	h := startAgent(t, f, nil)
	probe := attesttest.Probe(t)
	p := ask(t, probe, h.socket)
	get(t, p, "GET /v1/identity", "200")
	sum, _, _ := strings.Cut(attesttest.Run(t, "sha256sum", probe), " ")
	f.do(func() {
		if len(f.uploads) != 1 || f.uploads[sum] != 1 {
			t.Errorf("uploads %v, want %s once", f.uploads, sum)
		}
		if f.evidence[0].Executable != "sha256:"+sum {
			t.Errorf("evidence %+v", f.evidence[0])
		}
	})
}

func TestRenewal(t *testing.T) {
	f := newFake(t)
	f.ttl = 2
	p := ask(t, attesttest.Probe(t), startAgent(t, f, nil).socket)
	id := get(t, p, "GET /v1/identity", "200")
	get(t, p, "GET /v1/watch?timeout=20s&revision="+itoa(id.Revision), "200")
	now := get(t, p, "GET /v1/identity", "200")
	if now.Certificate == id.Certificate || now.PrivateKey == id.PrivateKey || now.Token != id.Token || now.Instance != id.Instance {
		t.Errorf("after renewal: %+v", now)
	}
}

// TestWhatAWorkloadDoesIsToldOnce: at the first renewal, and not again unless it
// changes.
func TestWhatAWorkloadDoesIsToldOnce(t *testing.T) {
	f := newFake(t)
	f.ttl = 2
	p := ask(t, attesttest.Probe(t), startAgent(t, f, nil).socket)
	get(t, p, "GET /v1/identity", "200")
	f.until("three renewals", func() bool { return len(f.sights) >= 3 })
	f.do(func() {
		want := []*client.Sight{{Executed: []string{"/probe"}}, nil, nil}
		if diff := cmp.Diff(want, f.sights[:3]); diff != "" {
			t.Error(diff)
		}
	})
}

func TestNoContactUntilTheEnd(t *testing.T) {
	f := newFake(t)
	f.ttl = 2
	p := ask(t, attesttest.Probe(t), startAgent(t, f, nil).socket)
	id := get(t, p, "GET /v1/identity", "200")
	f.do(func() { f.down = true })
	watchUntil(t, p, id.Revision, "expired")
	if _, err := os.Stat(id.Directory); !os.IsNotExist(err) {
		t.Errorf("files after the end: %v", err)
	}
	if got := p.Ask(t, "GET /v1/secrets"); strings.HasPrefix(got, "200") || strings.Contains(got, "sk-1") {
		t.Errorf("secrets after the end: %s", got)
	}
}

func TestTokenRefused(t *testing.T) {
	f := newFake(t)
	f.ttl = 2
	p := ask(t, attesttest.Probe(t), startAgent(t, f, nil).socket)
	id := get(t, p, "GET /v1/identity", "200")
	f.do(func() { f.deny = true })
	watchUntil(t, p, id.Revision, "revoked")
	if _, err := os.Stat(id.Directory); !os.IsNotExist(err) {
		t.Errorf("files after the end: %v", err)
	}
}

// TestRevocationOvertakesTheGrant: the news comes before the answer it is about.
func TestRevocationOvertakesTheGrant(t *testing.T) {
	f := newFake(t)
	f.early = true
	h := startAgent(t, f, nil)
	p := ask(t, attesttest.Probe(t), h.socket)
	answer := p.Ask(t, "GET /v1/secrets")
	if !strings.HasPrefix(answer, "403") || !strings.Contains(answer, "bad luck") {
		t.Error(answer)
	}
	if entries, err := os.ReadDir(filepath.Join(h.files, "i-1")); err == nil {
		t.Errorf("files: %v", entries)
	}
}

func TestSecretsThatCannotBeHad(t *testing.T) {
	for name, want := range map[string]client.WorkloadSecret{
		"not there":  {KV: "nothing", Mount: "secret", File: "a"},
		"climbing":   {KV: "payments/stripe", Mount: "secret", File: "../../a"},
		"absolute":   {KV: "payments/stripe", Mount: "secret", File: "/etc/passwd"},
		"no field":   {KV: "payments/stripe", Mount: "secret", File: "a", Field: "nope"},
		"bad format": {KV: "payments/stripe", Mount: "secret", File: "a", Format: "xml"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.wants = []client.WorkloadSecret{want}
			h := startAgent(t, f, nil)
			p := ask(t, attesttest.Probe(t), h.socket)
			id := get(t, p, "GET /v1/identity", "200")
			if id.Reason == "" || id.Directory != "" {
				t.Errorf("identity %+v", id)
			}
			if got := get(t, p, "GET /v1/secrets", "503"); got.Detail == "" {
				t.Error("no explanation")
			}
		})
	}
}

func TestLeftoversOfAKilledAgent(t *testing.T) {
	f := newFake(t)
	h := startAgent(t, f, nil)
	waitFor(t, h.socket)
	h.stop()
	old := filepath.Join(h.files, "i-77")
	if err := os.MkdirAll(old, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(old, "stripe.json"), filepath.Join(h.files, ".state", "i-77")} {
		if err := os.WriteFile(path, []byte(`{"pid":1,"startTime":1}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	startAgent(t, f, func(o *agent.Options) { o.Files = h.files })
	for _, path := range []string{old, filepath.Join(h.files, ".state", "i-77")} {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s is still there: %v", path, err)
		}
	}
}

func TestStopTakesFilesAway(t *testing.T) {
	f := newFake(t)
	h := startAgent(t, f, nil)
	p := ask(t, attesttest.Probe(t), h.socket)
	id := get(t, p, "GET /v1/identity", "200")
	h.stop()
	if _, err := os.Stat(id.Directory); !os.IsNotExist(err) {
		t.Errorf("files after the agent: %v", err)
	}
	f.until("the server is told", func() bool { return len(f.left) == 1 })
}

func TestSecondAgentIsRefused(t *testing.T) {
	f := newFake(t)
	h := startAgent(t, f, nil)
	waitFor(t, h.socket)
	c, err := client.New(client.Config{Addr: f.http.URL, Token: "t", HTTP: f.http.Client()})
	if err != nil {
		t.Fatal(err)
	}
	a, err := agent.New(agent.Options{
		Socket: h.socket, Files: t.TempDir(), InsecureDisk: true, Node: "n", Server: agent.NewRemote(c, "n"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Run(t.Context()); !fault.Is(err, fault.Conflict) {
		t.Errorf("err = %v", err)
	}
}

func TestConnectionsOfOneWorkloadAreLimited(t *testing.T) {
	f := newFake(t)
	h := startAgent(t, f, func(o *agent.Options) { o.MaxPeers = 8 })
	probe := attesttest.Probe(t)
	waitFor(t, h.socket)
	for range 2 {
		conn, err := net.Dial("unix", h.socket)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
	}
	p := attesttest.Start(t, exec.Command(probe, "ask", h.socket))
	p.Until(t, "ready")
	if got := p.Ask(t, "GET /v1/identity"); !strings.HasPrefix(got, "503") {
		t.Error(got)
	}
}

func TestOddRequests(t *testing.T) {
	p := ask(t, attesttest.Probe(t), startAgent(t, newFake(t), nil).socket)
	for line, status := range map[string]string{
		"GET /":                                "404",
		"DELETE /v1/identity":                  "404",
		"GET /v1/identity?wait=x":              "400",
		"GET /v1/watch?revision=x":             "400",
		"POST /v1/launch nonsense":             "400",
		`POST /v1/launch {"fd":0}`:             "403",
		"POST /v1/launch " + big(5000):         "400",
		"GET /v1/secrets?x=" + big(40000):      "431",
		"GET /v1/watch?timeout=0s&revision=99": "200",
	} {
		if got := p.Ask(t, line); !strings.HasPrefix(got, status) {
			t.Errorf("%.40s: %.200s, want %s", line, got, status)
		}
	}
}

func big(n int) string { return strings.Repeat("x", n) }
