// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"archive/zip"
	"bytes"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

// TestWhatAnAgentSawTellsWhatIsReachable: a renewal brings it, for an instance of
// the agent's node only; nonsense is left out, and the renewal works all the same.
func TestWhatAnAgentSawTellsWhatIsReachable(t *testing.T) {
	w := newWorld(t)
	var zipped bytes.Buffer
	z := zip.NewWriter(&zipped)
	must(io.WriteString(must(z.Create("DSA-1.json"))(t), `{"id":"DSA-1","modified":"2026-01-01T00:00:00Z","published":"2026-01-01T00:00:00Z",
		"affected":[{"package":{"ecosystem":"Debian:12","name":"zlib"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"}]}]}]}`))(t)
	ok(t, z.Close())
	if a := w.send("PUT", "/api/v1/advisories/Debian", w.root, &zipped); a.status != 200 {
		t.Fatalf("feed: %d %s", a.status, a.body)
	}
	img, node, grant := admitted(t, w)
	foreign := must(w.EnrolNode(t.Context(), "web-2"))(t).Token
	renew := func(token, name string, sight *client.Sight) error {
		_, err := w.WithToken(token).Renew(t.Context(), grant.Instance.ID, client.RenewRequest{Node: name, CSR: request(t), Sight: sight})
		return err
	}
	reach := func() string {
		t.Helper()
		shown := must(w.Image(t.Context(), img.ID))(t)
		ev := decode[verdict.Evidence](t, shown.Evidence)
		if len(ev.Findings) != 1 {
			t.Fatalf("findings %+v", ev.Findings)
		}
		return string(ev.Findings[0].Reach)
	}
	good := &client.Sight{Listening: []client.Socket{{Port: "8080/tcp", Path: "/usr/bin/app"}}, Executed: []string{"/usr/bin/app"}}
	if err := renew(foreign, "web-1", good); err == nil {
		t.Error("another node's token renews an instance")
	}
	if err := renew(foreign, "web-2", good); err == nil {
		t.Error("another node renews an instance")
	}
	many := &client.Sight{}
	for i := range 2000 {
		many.Executed = append(many.Executed, "/f"+strconv.Itoa(i))
	}
	for _, lie := range []*client.Sight{
		many,
		{Listening: []client.Socket{{Port: "99999999/tcp"}}},
		{Listening: []client.Socket{{Port: "80/tcp", Path: "../x"}}},
		{Listening: good.Listening, Executed: []string{"/a\nb"}},
		{Listening: good.Listening, Executed: []string{"/" + strings.Repeat("x", 600)}},
	} {
		if err := renew(node, "web-1", lie); err != nil {
			t.Errorf("a renewal fails for what was seen: %v", err)
		}
	}
	if got := reach(); got != "" {
		t.Errorf("reach is %q before anybody saw it listen", got)
	}
	ok(t, renew(node, "web-1", good))
	if got := reach(); got != "listening" {
		t.Errorf("reach is %q after an agent saw it listen", got)
	}
}
