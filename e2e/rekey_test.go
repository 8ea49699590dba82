// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"crypto/tls"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/goldkeep/goldkeep/client"
)

// cutter is a way to a server on which the answer to one step is lost: the server
// did what was asked, and nobody heard of it.
type cutter struct {
	to   *httputil.ReverseProxy
	mu   sync.Mutex
	step string // the end of the path
	left int    // how many of its answers still come through
}

func (c *cutter) cut(step string, after int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.step, c.left = step, after
}

func (c *cutter) lost(path string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.step == "" || !strings.HasSuffix(path, c.step) {
		return false
	}
	c.left--
	return c.left < 0
}

func (c *cutter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || !c.lost(r.URL.Path) {
		c.to.ServeHTTP(w, r)
		return
	}
	c.to.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

// TestRekeyLosesNothing loses the answer that hands out new shares, and the one that
// says that they are in force, and kills the server after each: there are always
// shares in somebody's hands that unseal.
func TestRekeyLosesNothing(t *testing.T) {
	s := newServer(t, func(_ *server, c config) { delete(c, "keyFile") })
	made := must(s.Init(t.Context(), 3, 2))(t)
	s.root = made.RootToken
	shares := made.KeysB64
	unseal := func(shares []string) {
		t.Helper()
		var status *client.SealStatus
		for _, share := range shares[:2] {
			status = must(s.Unseal(t.Context(), share))(t)
		}
		if status.Sealed {
			t.Fatal("the shares do not unseal")
		}
	}
	unseal(shares)
	c := &cutter{to: httputil.NewSingleHostReverseProxy(must(url.Parse(s.url))(t))}
	c.to.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // a test's own server
	way := httptest.NewServer(c)
	defer way.Close()

	for _, step := range []struct {
		name, lost string
		after      int
		inForce    string
		code       int
	}{
		{"the first old share", "root/update", 0, "old", 1},
		{"the new shares", "root/update", 1, "old", 1},
		{"the first new share came back", "root/verify", 0, "old", 1},
		{"the new shares are in force", "root/verify", 1, "new", 1},
		{"nothing", "", 0, "new", 0},
	} {
		c.cut(step.lost, step.after)
		r := cli(t, []string{"GOLDKEEP_ADDR=" + way.URL, "GOLDKEEP_TOKEN=" + s.root}, strings.Join(shares[:2], "\n"),
			"operator", "rekey", "--shares", "3", "--threshold", "2", "-o", "json")
		c.cut("", 0)
		if (r.code == 0) != (step.code == 0) {
			t.Fatalf("%s lost: exit code %d\n%s", step.name, r.code, r.errors)
		}
		s.kill()
		s.start()
		if step.inForce == "new" {
			if err := json.Unmarshal([]byte(r.out), &shares); err != nil || len(shares) != 3 {
				t.Fatalf("%s lost: %q, %v", step.name, r.out, err)
			}
		}
		unseal(shares)
	}
}
