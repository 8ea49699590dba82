// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goldkeep/goldkeep/internal/store/storetest"
)

// twoServers are two servers of one database; a was first.
func twoServers(t *testing.T) (a, b *server) {
	t.Helper()
	dsn := storetest.PostgresDSN(t)
	a = newServer(t, func(s *server, c config) {
		s.env, c["node"], c["identityTTL"] = []string{"GOLDKEEP_DATABASE_URL=" + dsn}, "a", "20s"
	})
	b = newServer(t, func(s *server, c config) {
		s.env, c["node"], c["identityTTL"] = []string{"GOLDKEEP_DATABASE_URL=" + dsn}, "b", "20s"
		c["keyFile"] = a.path("key")
	})
	if b.root != "" {
		t.Error("the second server made a root token of its own")
	}
	b.root = a.root
	b.connect()
	return a, b
}

// TestTwoServersAreOne: what one does the other knows at once.
func TestTwoServersAreOne(t *testing.T) {
	a, b := twoServers(t)
	read := func(s *server, token string) int {
		status, _ := s.ask(token, "GET", "/v1/secret/data/shared", "")
		return status
	}
	for i := range 25 {
		a.do("POST", "/v1/secret/data/shared", map[string]any{"data": map[string]int{"n": i}}, nil)
		if _, body := b.ask(b.root, "GET", "/v1/secret/data/shared", ""); !strings.Contains(body, fmt.Sprintf(`"data":{"n":%d}`, i)) {
			t.Fatalf("b has not got write %d: %s", i, body)
		}
		a.do("PUT", "/v1/sys/policies/acl/p", map[string]string{"policy": `path "secret/data/shared" { capabilities = ["read"] }`}, nil)
		token := a.token(map[string]any{"policies": []string{"p"}})
		if got := read(b, token); got != 200 {
			t.Fatalf("round %d: b answers a's token with %d", i, got)
		}
		a.do("PUT", "/v1/sys/policies/acl/p", map[string]string{"policy": `path "secret/data/other" { capabilities = ["read"] }`}, nil)
		if got := read(b, token); got != 403 {
			t.Fatalf("round %d: b follows a policy that was replaced: %d", i, got)
		}
		a.do("PUT", "/v1/sys/policies/acl/p", map[string]string{"policy": `path "secret/data/shared" { capabilities = ["read"] }`}, nil)
		if got := read(b, token); got != 200 {
			t.Fatalf("round %d: b does not follow the policy: %d", i, got)
		}
		a.do("POST", "/v1/auth/token/revoke", map[string]string{"token": token}, nil)
		if got := read(b, token); got != 403 {
			t.Fatalf("round %d: b accepts a token revoked on a: %d", i, got)
		}
	}
	a.do("POST", "/v1/sys/mounts/late", map[string]any{"type": "kv", "options": map[string]string{"version": "2"}}, nil)
	b.do("POST", "/v1/late/data/x", map[string]any{"data": map[string]string{"k": "v"}}, nil)
	b.do("DELETE", "/v1/sys/mounts/late", nil, nil)
	if status, body := a.ask(a.root, "GET", "/v1/late/data/x", ""); status != 404 && status != 403 {
		t.Errorf("a answers on a mount that is gone: %d %s", status, body)
	}
}

// TestLoopOfOneServerReachesAgentsOfTheOther: an agent speaks to b; the news
// comes to a.
func TestLoopOfOneServerReachesAgentsOfTheOther(t *testing.T) {
	a, b := twoServers(t)
	a.feed(false)
	p := programs(t)
	a.cli("image", "add", p.flawed, "--name", "app:flawed")
	a.putKey("sk_planted_first")
	declare(t, a, house(digest(t, p.flawed), graceful))
	agent := newAgent(t, b, "web1", "none")
	w := agent.run(p.flawed)
	id := w.admitted()
	file := filepath.Join(id.Directory, "stripe.json")
	a.putKey("sk_planted_second")
	eventually(t, "a secret written to a reaches the agent of b", func() bool {
		return strings.Contains(w.say("FILE "+file), "sk_planted_second")
	})
	a.feed(true)
	eventually(t, "it is revoked", func() bool { return b.instance(id.Instance).State == "revoked" })
	for _, s := range []*server{a, b} {
		eventually(t, "the token is refused", func() bool {
			status, _ := s.ask(id.Token, "GET", "/v1/secret/data/pay/stripe", "")
			return status == 403
		})
	}
	eventually(t, "the file is gone", func() bool { return strings.Contains(w.say("FILE "+file), "no such file") })
	a.kill() // the other carries on alone
	if status, _ := b.ask(b.root, "GET", "/v1/secret/data/pay/stripe", ""); status != 200 {
		t.Errorf("b alone: %d", status)
	}
}

// TestFirstStartOfTwoAtOnce: of two new servers of one database that start at the
// same moment, one makes the keys; the other joins, or says what is missing.
func TestFirstStartOfTwoAtOnce(t *testing.T) {
	for _, shared := range []bool{true, false} {
		t.Run(fmt.Sprintf("shared key %v", shared), func(t *testing.T) {
			dsn := storetest.PostgresDSN(t)
			dir := t.TempDir()
			var both []*process
			for i := range 2 {
				key := filepath.Join(dir, fmt.Sprintf("key%d", i))
				if shared {
					if err := os.WriteFile(key, []byte(strings.Repeat("k", 32)), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				cmd := exec.Command(goldkeep, "server", "--data", filepath.Join(dir, fmt.Sprint(i)), "--listen", "127.0.0.1:0", "--key-file", key)
				cmd.Env = append(os.Environ(), "GOLDKEEP_DATABASE_URL="+dsn)
				both = append(both, start(t, cmd))
			}
			listening := 0
			for i, p := range both {
				eventually(t, "it listens or ends", func() bool {
					select {
					case <-p.ended:
						return true
					default:
						return strings.Contains(p.out.String(), "goldkeep is listening")
					}
				})
				said := p.out.String()
				switch {
				case strings.Contains(said, "goldkeep is listening"):
					listening++
				case shared || !strings.Contains(said, "hint:") || strings.Contains(said, "goroutine"):
					t.Errorf("server %d says:\n%s", i, said)
				default:
					t.Logf("server %d says:\n%s", i, said)
				}
			}
			roots := must(filepath.Glob(filepath.Join(dir, "*", "root-token*")))(t)
			if want := 1 + oneIf(shared); listening != want || len(roots) != 1 {
				t.Errorf("%d listen, want %d; root tokens: %v", listening, want, roots)
			}
		})
	}
}
