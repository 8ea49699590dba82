// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"archive/zip"
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/server"
)

// TestFeedsAreFetched: the server takes its feeds by itself, shows what fails, asks
// for what has not changed by its tag only, and goes at once when it is told to.
func TestFeedsAreFetched(t *testing.T) {
	var asked, sent atomic.Int64
	var broken atomic.Bool
	broken.Store(true)
	feed := zipOf(t, "GO-1.json", `{"id":"GO-1","modified":"2026-01-01T00:00:00Z","affected":[{"package":{"ecosystem":"Go","name":"m"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}]}]}`)
	bucket := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/Go/all.zip":
			http.NotFound(w, r)
		case broken.Load():
			http.Error(w, "no", http.StatusServiceUnavailable)
		case r.Header.Get("If-None-Match") == `"1"`:
			asked.Add(1)
			w.WriteHeader(http.StatusNotModified)
		default:
			sent.Add(1)
			w.Header().Set("ETag", `"1"`)
			_, _ = w.Write(feed)
		}
	}))
	defer bucket.Close()
	w := newWorld(t, func(c *server.Config) {
		c.Feeds = server.Feeds{From: bucket.URL, Ecosystems: []string{"Go"}}
	})
	eventually(t, "the failure is shown", func() bool {
		f := feedOf(w)
		return f.Try != nil && f.Try.Failures == 1 && strings.Contains(f.Try.Error, "503") && f.Try.Next.After(f.Try.Tried)
	})
	if !strings.Contains(w.log.String(), "advisory feed not taken") {
		t.Error("the failure is not in the log")
	}
	broken.Store(false)
	for _, done := range []func() bool{
		func() bool { f := feedOf(w); return f.Records == 1 && f.Try.Failures == 0 && sent.Load() == 1 },
		func() bool { return asked.Load() == 1 && sent.Load() == 1 },
	} {
		if _, err := w.client.FetchFeeds(t.Context()); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the feed is taken", done)
	}
	found, err := w.client.Advisory(t.Context(), "GO-1")
	if err != nil || len(found) != 1 || found[0].Affected[0].Name != "m" {
		t.Errorf("advisory %+v, %v", found, err)
	}
}

func feedOf(w *world) client.Feed {
	held, err := w.client.Advisories(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range held.Feeds {
		if f.Name == "Go" {
			return f
		}
	}
	return client.Feed{}
}

func zipOf(t *testing.T, name, text string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	member, err := w.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := member.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestFeedSettings(t *testing.T) {
	for text, ok := range map[string]bool{
		"feeds: {from: /srv/feeds}":                                  true,
		"feeds: {from: https://x.test, every: 1h, ecosystems: [Go]}": true,
		"feeds: {every: 1h}":                                         false,
		"feeds: {from: /srv/feeds, every: 10s}":                      false,
		"feeds: {folder: /srv/feeds}":                                false,
	} {
		if _, err := server.ParseConfig("server.yaml", []byte(text)); (err == nil) != ok || err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestVendorsAreFetched: the server takes vendors' statements by itself, and only what
// each may speak of.
func TestVendorsAreFetched(t *testing.T) {
	statement := func(purl string) string {
		return `{"vulnerability":{"name":"CVE-1"},"products":[{"@id":"` + purl + `"}],"status":"not_affected","justification":"component_not_present"}`
	}
	place := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://v.example/1","author":"V","timestamp":"2026-01-01T00:00:00Z","version":1,"statements":[` +
			statement("pkg:deb/debian/zlib") + "," + statement("pkg:npm/left-pad") + `]}`))
	}))
	defer place.Close()
	w := newWorld(t, func(c *server.Config) {
		c.Vendors = []server.Vendor{{Name: "debian", From: place.URL, About: []string{"pkg:deb/debian"}}}
	})
	eventually(t, "the statements are there", func() bool {
		all, err := w.client.Vendors(t.Context())
		return err == nil && len(all) == 1 && all[0].Name == "debian" && all[0].Statements == 1 && all[0].Try != nil && all[0].Try.Error == ""
	})
	for _, bad := range []string{
		"vendors: [{name: debian, from: https://a.example}]", "vendors: [{from: https://a.example, about: [pkg:deb]}]",
		"vendors: [{name: debian, from: https://a.example, about: [debian]}]", "vendors: [{name: debian, from: https://a.example, about: [pkg:deb], every: 1s}]",
	} {
		if _, err := server.ParseConfig("c.yaml", []byte(bad)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
