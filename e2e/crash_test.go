// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/store/storetest"
)

var (
	crashSeed   = flag.Uint64("crash.seed", 0, "seed of the crash test; 0: the time")
	crashRounds = flag.Int("crash.rounds", 20, "how often the server is killed")
)

// acked is what a server has answered with success: it must hold for ever.
type acked struct {
	mu       sync.Mutex
	secrets  map[string]int    // path -> number written last
	live     map[string]string // token -> where from
	revoked  map[string]string
	requests map[string]bool // request ids
	changes  int             // acknowledged changes that came without an id
}

func (a *acked) note(fn func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	fn()
}

// TestKilledAgainAndAgain kills the server at any instant while clients write
// and revoke. Whatever was acknowledged must be so after each restart.
func TestKilledAgainAndAgain(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { killAgainAndAgain(t, newServer(t, nil), *crashRounds) })
	t.Run("postgres", func(t *testing.T) {
		dsn := storetest.PostgresDSN(t)
		s := newServer(t, func(s *server, _ config) { s.env = []string{"GOLDKEEP_DATABASE_URL=" + dsn} })
		killAgainAndAgain(t, s, *crashRounds/4)
	})
}

func killAgainAndAgain(t *testing.T, s *server, rounds int) {
	seed := *crashSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d (go test ./e2e -run %s -crash.seed %d)", seed, t.Name(), seed)
	dice := rand.New(rand.NewPCG(seed, 1))
	program, node := admitted(t, s)
	a := &acked{secrets: map[string]int{}, live: map[string]string{}, revoked: map[string]string{}, requests: map[string]bool{}}
	for round := range rounds {
		stop := make(chan struct{})
		var work sync.WaitGroup
		for worker := range 3 {
			work.Go(func() { a.write(s, worker, round, stop) })
		}
		work.Go(func() { a.tokens(s, stop) })
		work.Go(func() { a.instances(s, program, node, stop) })
		<-time.After(time.Duration(50+dice.IntN(400)) * time.Millisecond)
		s.kill()
		close(stop)
		work.Wait()
		s.start()
		a.check(t, s, round)
		if t.Failed() {
			return
		}
	}
	t.Logf("%d writes, %d tokens revoked, %d live, %d other changes", len(a.requests), len(a.revoked), len(a.live), a.changes)
	if len(a.requests) < rounds || len(a.revoked) < rounds {
		t.Error("hardly anything was acknowledged: this proves nothing")
	}
	a.checkAudit(t, s)
}

// admitted declares a workload whose program the server admits, and a node.
func admitted(t *testing.T, s *server) (program, node string) {
	t.Helper()
	path := programs(t).patched
	s.cli("image", "add", path, "--name", "app:1")
	sum := sha256.Sum256(must(os.ReadFile(path))(t))
	program = "sha256:" + hex.EncodeToString(sum[:])
	declare(t, s, fmt.Sprintf(`apiVersion: goldkeep.dev/v1
kind: Environment
metadata: {name: prod, owner: o}
spec: {admit: [{hygiene: {shell: deny}}]}
---
apiVersion: goldkeep.dev/v1
kind: GoldenImage
metadata: {name: app, owner: o}
spec: {channels: {gold: %q}}
---
apiVersion: goldkeep.dev/v1
kind: Workload
metadata: {name: app, owner: o}
spec:
  environment: prod
  image: {golden: app, channel: gold}
  secrets: [{kv: app/key, file: key.json}]
`, program))
	return program, must(s.EnrolNode(t.Context(), "web1"))(t).Token
}

func declare(t testing.TB, s *server, text string) {
	t.Helper()
	if _, err := s.Apply(t.Context(), client.PlanRequest{Documents: []client.Document{{File: "declared.yaml", Text: text}}}); err != nil {
		t.Fatalf("%v\nthe server says:\n%s", err, s.out.String())
	}
}

// write writes secrets one after the other until the server is gone.
func (a *acked) write(s *server, worker, round int, stop chan struct{}) {
	for i := 0; ; i++ {
		path := fmt.Sprintf("w%d/s%d", worker, i%5)
		number := round*100000 + i
		status, body := s.quietly(s.root, "POST", "/v1/secret/data/"+path, fmt.Sprintf(`{"data":{"n":%d}}`, number))
		var got struct {
			ID string `json:"request_id"`
		}
		if status == 200 && json.Unmarshal([]byte(body), &got) == nil && got.ID != "" {
			a.note(func() { a.secrets[path], a.requests[got.ID] = number, true })
		}
		if over(stop) {
			return
		}
	}
}

// quietly is ask where no answer is expected too.
func (s *server) quietly(token, method, path, body string) (int, string) {
	return s.ask(token, method, path, body)
}

func over(stop chan struct{}) bool {
	select {
	case <-stop:
		return true
	default:
		return false
	}
}

// tokens makes tokens and revokes every other one.
func (a *acked) tokens(s *server, stop chan struct{}) {
	for i := 0; !over(stop); i++ {
		status, body := s.quietly(s.root, "POST", "/v1/auth/token/create", `{"policies":["default"],"ttl":"1h"}`)
		var made struct {
			Auth struct {
				Token string `json:"client_token"`
			} `json:"auth"`
		}
		if status != 200 || json.Unmarshal([]byte(body), &made) != nil {
			continue
		}
		if i%2 == 0 {
			a.note(func() { a.live[made.Auth.Token] = "made"; a.changes++ })
			continue
		}
		status, _ = s.quietly(s.root, "POST", "/v1/auth/token/revoke", `{"token":"`+made.Auth.Token+`"}`)
		if status == http.StatusNoContent {
			a.note(func() { a.revoked[made.Auth.Token] = "revoked"; a.changes += 2 })
		}
	}
}

// instances has the workload admitted and ends every other instance.
func (a *acked) instances(s *server, program, node string, stop chan struct{}) {
	csr, err := request()
	if err != nil {
		return
	}
	for i := 0; !over(stop); i++ {
		text, err := json.Marshal(client.AdmitRequest{
			Node: "web1", CSR: csr, Evidence: json.RawMessage(fmt.Sprintf(`{"kind":"process","executable":%q,"pid":%d,"startTime":1}`, program, 1000+i)),
		})
		if err != nil {
			return
		}
		status, body := s.quietly(node, "POST", "/api/v1/instances", string(text))
		var grant client.Grant
		if status != 200 || json.Unmarshal([]byte(body), &grant) != nil || grant.Token == "" {
			continue
		}
		if i%2 == 0 {
			a.note(func() { a.live[grant.Token] = "of instance " + grant.Instance.ID; a.changes++ })
			continue
		}
		status, _ = s.quietly(node, "DELETE", "/api/v1/instances/"+grant.Instance.ID+"?node=web1", "")
		if status == 200 || status == http.StatusNoContent {
			a.note(func() { a.revoked[grant.Token] = "of instance " + grant.Instance.ID; a.changes += 2 })
		}
	}
}

// request is a certificate request as agents make it.
func request() (string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		return "", err
	}
	der, err := x509.CreateCertificateRequest(crand.Reader, &x509.CertificateRequest{}, key)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), err
}

// check looks for everything that was acknowledged.
func (a *acked) check(t *testing.T, s *server, round int) {
	t.Helper()
	for path, number := range a.secrets {
		status, body := s.ask(s.root, "GET", "/v1/secret/data/"+path, "")
		var got struct {
			Data struct {
				Data struct {
					N int `json:"n"`
				} `json:"data"`
			} `json:"data"`
		}
		// A later write may have been done and not acknowledged.
		if status != 200 || json.Unmarshal([]byte(body), &got) != nil || got.Data.Data.N < number {
			t.Errorf("round %d: %s is %d, acknowledged was %d: %d %s", round, path, got.Data.Data.N, number, status, body)
		}
	}
	for token, which := range a.revoked {
		if status, body := s.ask(token, "GET", "/v1/auth/token/lookup-self", ""); status != 403 {
			t.Errorf("round %d: a revoked token (%s) is answered with %d %s", round, which, status, body)
		}
	}
	for token, which := range a.live {
		if status, body := s.ask(token, "GET", "/v1/auth/token/lookup-self", ""); status != 200 {
			t.Errorf("round %d: a live token (%s) is answered with %d %s", round, which, status, body)
		}
	}
}

// checkAudit verifies the log and finds every acknowledged request in it.
func (a *acked) checkAudit(t *testing.T, s *server) {
	t.Helper()
	log := s.path("data", "audit.log")
	if got := cli(t, nil, "", "audit", "verify", log); got.code != 0 {
		t.Errorf("audit verify: %s%s", got.out, got.errors)
	}
	if got := cli(t, s.environ(), "", "audit", "verify", log); got.code != 0 {
		t.Errorf("audit verify with the server's anchor: %s%s", got.out, got.errors)
	}
	recorded, changes := map[string]bool{}, 0
	lines := bufio.NewScanner(bytes.NewReader(must(os.ReadFile(log))(t)))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r client.AuditRecord
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Errorf("not a record: %s", lines.Text())
		}
		if r.Kind == "request" {
			recorded[r.ID] = true
			if r.Mount == "auth/token/" && r.Op == "update" || r.Mount == "api/" {
				changes++
			}
		}
	}
	for id := range a.requests {
		if !recorded[id] {
			t.Errorf("request %s was acknowledged and is not in the audit log", id)
		}
	}
	if changes < a.changes {
		t.Errorf("%d changes were acknowledged, and the audit log has %d", a.changes, changes)
	}
	if strings.Contains(s.out.String(), "records were removed") {
		t.Error("the server believes that its log was cut")
	}
}

// TestKilledAtFirstStart kills a new server while it sets itself up; the next
// start finishes what was begun, and its root token works.
func TestKilledAtFirstStart(t *testing.T) {
	for round := range 8 {
		dir := t.TempDir()
		at := time.Duration(round*15) * time.Millisecond
		args := []string{"server", "--data", dir + "/data", "--key-file", dir + "/key", "--listen", "127.0.0.1:0"}
		p := start(t, exec.Command(goldkeep, args...))
		<-time.After(at)
		p.kill()
		p = start(t, exec.Command(goldkeep, args...))
		eventually(t, "the server listens after a kill at "+at.String(), func() bool {
			return strings.Contains(p.out.String(), "goldkeep is listening")
		})
		_, addr, _ := strings.Cut(p.out.String(), "address=")
		addr, _, _ = strings.Cut(addr, " ")
		token := strings.TrimSpace(string(must(os.ReadFile(dir + "/data/root-token"))(t)))
		env := []string{"VAULT_ADDR=" + addr, "VAULT_CACERT=" + dir + "/data/tls/ca.pem", "VAULT_TOKEN=" + token}
		if got := cli(t, env, "v", "kv", "put", "secret/a", "k=-"); got.code != 0 {
			t.Errorf("killed after %s: %s%s\n%s", at, got.out, got.errors, p.out.String())
		}
		left := must(filepath.Glob(dir + "/data/*.new*"))(t)
		if len(left) > 1 { // a temporary file of the killed one may be left
			t.Errorf("left behind: %v", left)
		}
		p.kill()
	}
}
