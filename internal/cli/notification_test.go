// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/cli"
	"github.com/goldkeep/goldkeep/internal/term"
)

// TestADigestCanBeRead: people see lines, machines JSON; what others wrote stays in its line.
func TestADigestCanBeRead(t *testing.T) {
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	held := client.Delivery{ID: "d1", State: "sent", Target: "json webhook at chat.example.com", Attempts: 2, Answer: "200 OK", Created: at, Digest: &client.Digest{
		Owners: []string{"shop-team"}, From: at, To: at, Causes: []string{"apply"}, More: 7,
		Reasons: []client.DigestText{{Text: "the base image is another image now", Count: 8}}, Remedies: []client.DigestText{{Text: "rebuild", Count: 8}},
		Items: []client.DigestItem{
			{Change: "replaced", ImageName: "shop\nrefused  bank", Golden: []string{"shop gold"}, Workloads: []string{"shop"}, Owners: []string{"shop-team"}},
			{Change: "deadline", Image: "sha256:aa", Environment: "prod", Until: at},
		},
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path != "/api/v1/deliveries/d1" || json.NewEncoder(w).Encode(held) != nil {
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	show := func(args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		env := map[string]string{"GOLDKEEP_ADDR": server.URL, "GOLDKEEP_TOKEN": "t", "HOME": t.TempDir()}
		code := cli.Main(t.Context(), append([]string{"notification", "show", "d1"}, args...),
			term.IO{In: strings.NewReader(""), Out: &out, Err: &errs, Getenv: func(name string) string { return env[name] }}, cli.Doors{})
		if code != 0 {
			t.Fatalf("exit code %d: %s", code, &errs)
		}
		return out.String()
	}
	text := show()
	for _, want := range []string{
		"the owner's contact", "sent, attempts: 2", "200 OK", "told ", "in the course of ", "8x the base image is another image now", "8x rebuild",
		"golden image shop gold; workload shop; owner shop-team", "sha256:aa; in prod; until 2026-11-22 12:00", "and more",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in:\n%s", want, text)
		}
	}
	if strings.Contains(text, "{") || strings.Contains(text, "\nrefused") {
		t.Errorf("shown as:\n%s", text)
	}
	var back client.Delivery
	if err := json.Unmarshal([]byte(show("-o", "json")), &back); err != nil || back.Digest == nil || len(back.Digest.Items) != 2 {
		t.Errorf("as JSON: %+v, %v", back, err)
	}
}
