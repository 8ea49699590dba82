// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/client"
)

// TestKilledWhileNewsIsActedOn kills the server at any instant between the
// arrival of an advisory and the last revocation that follows from it. After the
// restart every instance concerned is revoked, its token refused, the record whole.
func TestKilledWhileNewsIsActedOn(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, 2))
	early := 0
	for round := range 6 {
		s, p := newWorld(t, "{"+strict+"}", nil)
		program := digest(t, p.flawed)
		node := must(s.EnrolNode(t.Context(), "web1"))(t).Token
		csr := must(request())(t)
		tokens := map[string]string{} // instance -> token
		for i := range 25 {
			text := must(json.Marshal(client.AdmitRequest{
				Node: "web1", CSR: csr, Evidence: json.RawMessage(fmt.Sprintf(`{"kind":"process","executable":%q,"pid":%d,"startTime":1}`, program, 100+i)),
			}))(t)
			status, body := s.ask(node, "POST", "/api/v1/instances", string(text))
			var grant client.Grant
			if err := json.Unmarshal([]byte(body), &grant); err != nil || status != 200 {
				t.Fatalf("admit: %d %s", status, body)
			}
			tokens[grant.Instance.ID] = grant.Token
		}
		news := must(os.Open(s.writeFeed(true)))(t)
		var sending sync.WaitGroup
		sending.Go(func() { _, _ = s.UploadFeed(t.Context(), "Go/all.zip", news) }) // it may be cut off
		<-time.After(time.Duration(dice.IntN(120)) * time.Millisecond)
		s.kill()
		sending.Wait()
		_ = news.Close()
		s.start()
		if s.revoked() < len(tokens) {
			early++
		}
		s.feed(true) // people send it again; what was acted on already stays so
		eventually(t, fmt.Sprintf("all are revoked in round %d", round), func() bool { return s.revoked() == len(tokens) })
		eventually(t, "all tokens are refused", func() bool {
			for _, token := range tokens {
				if status, _ := s.ask(token, "GET", "/v1/auth/token/lookup-self", ""); status != 403 {
					return false
				}
			}
			return true
		})
		if n := s.ends(); n < len(tokens) {
			t.Errorf("round %d: %d of %d revocations are recorded", round, n, len(tokens))
		}
		if got := cli(t, s.environ(), "", "audit", "verify", s.path("data", "audit.log")); got.code != 0 {
			t.Errorf("audit verify: %s%s", got.out, got.errors)
		}
		s.stop(t)
	}
	t.Logf("in %d of 6 rounds the kill came before the end of the work", early)
}

// ends counts the instances whose revocation the audit log tells.
func (s *server) ends() int {
	s.t.Helper()
	told := map[string]bool{}
	for after := uint64(0); ; {
		page := must(s.Audit(s.t.Context(), after, 500))(s.t)
		for _, r := range page {
			if after = r.Seq; r.Op == "instance.revoked" {
				told[r.Name] = true
			}
		}
		if len(page) < 500 { // asking is recorded too: there is always one more
			return len(told)
		}
	}
}

// revoked counts the instances that have been revoked.
func (s *server) revoked() (n int) {
	s.t.Helper()
	for _, in := range must(s.Instances(s.t.Context(), true))(s.t) {
		if in.State == "revoked" {
			n++
		}
	}
	return n
}
