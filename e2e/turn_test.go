// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"
)

// TestTurnKilled turns the seal from key shares to a service and back, and kills the
// server while it does: it is then sealed the old way or the new way, and whole.
func TestTurnKilled(t *testing.T) {
	service := map[string]any{"type": "url", "options": map[string]string{"url": "base64key://c21HYmp6NDFmMWw3bTdmc0VZR1lUbFZ5cXZLQ3BVZFk="}}
	var base config
	s := newServer(t, func(_ *server, c config) { delete(c, "keyFile"); base = c })
	made := must(s.Init(t.Context(), 3, 2))(t)
	s.root = made.RootToken
	for _, share := range made.KeysB64[:2] {
		must(s.Unseal(t.Context(), share))(t)
	}
	s.connect()
	s.do("POST", "/v1/sys/mounts/secret", map[string]any{"type": "kv"}, nil)
	s.do("POST", "/v1/secret/a", map[string]string{"k": "kept"}, nil)
	configure := func(seal, old any) {
		t.Helper()
		delete(base, "seal")
		delete(base, "oldSeal")
		if seal != nil {
			base["seal"] = seal
		}
		if old != nil {
			base["oldSeal"] = old
		}
		if err := os.WriteFile(s.path("server.yaml"), must(json.Marshal(base))(t), 0o600); err != nil {
			t.Fatal(err)
		}
		s.kill()
		s.start()
	}
	for round := range 8 {
		toService := round%2 == 0
		if toService {
			configure(service, nil)
		} else {
			configure(nil, service)
		}
		if status := must(s.SealStatus(t.Context()))(t); !status.Migration || !status.Sealed {
			t.Fatalf("round %d: %+v", round, status)
		}
		must(s.Migrate(t.Context(), made.KeysB64[0]))(t)
		answered := make(chan error, 1)
		go func() { _, err := s.Migrate(t.Context(), made.KeysB64[1]); answered <- err }()
		<-time.After(time.Duration(rand.IntN(15)) * time.Millisecond)
		s.kill()
		acknowledged := <-answered == nil
		s.start()
		status := must(s.SealStatus(t.Context()))(t)
		t.Logf("round %d: acknowledged %v, still to be turned %v", round, acknowledged, status.Migration)
		if status.Migration {
			if acknowledged {
				t.Errorf("round %d: what was answered did not happen", round)
			}
			r := cli(t, s.environ(), strings.Join(made.KeysB64[:2], "\n"), "operator", "unseal", "--migrate")
			if r.code != 0 {
				t.Fatalf("round %d: %s%s", round, r.out, r.errors)
			}
		} else if !toService {
			for _, share := range made.KeysB64[1:] {
				must(s.Unseal(t.Context(), share))(t)
			}
		}
		var got struct {
			Data map[string]string `json:"data"`
		}
		s.do("GET", "/v1/secret/a", nil, &got)
		if got.Data["k"] != "kept" {
			t.Errorf("round %d: %v", round, got)
		}
	}
}
