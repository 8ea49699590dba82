// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package advisory_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store/sqlite"
)

// serve serves a folder as the public bucket is served, with a fault for one path.
func serve(t *testing.T, dir, path string, broken http.HandlerFunc) *httptest.Server {
	t.Helper()
	files := http.FileServer(http.Dir(dir))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if broken != nil && r.URL.Path == path {
			broken(w, r)
			return
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	return srv
}

// TestServersThatFail: each fault costs its own feed only, what is held stays, and
// the next good answer is taken.
func TestServersThatFail(t *testing.T) {
	dir := bucket(t)
	whole, err := os.ReadFile(filepath.Join(dir, "Go", "all.zip"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		reason string
	}{
		"an error": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusInternalServerError) }, "answered 500"},
		"denied":   {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) }, "answered 403"},
		"cut short": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(len(whole)))
			_, _ = w.Write(whole[:len(whole)/2])
		}, "unexpected EOF"},
		"a truncated zip": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(whole[:len(whole)-100]) }, "not a valid zip file"},
		"a page of HTML":  {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>login</html>")) }, "not a valid zip file"},
		"an empty feed":   {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(feed(t, nil)) }, "the feed is empty"},
		"hardly anything left": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(feed(t, map[string]string{"GO-2020-0003": recorded(t, "Go")["GO-2020-0003"]}))
		}, "are held: what is held was kept"},
		"a redirect loop": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }, "pointed elsewhere more than"},
		"a trickle": {func(w http.ResponseWriter, r *http.Request) {
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			for i := 0; i < 2000; i++ {
				select {
				case <-r.Context().Done():
					return
				case <-tick.C:
					_, _ = w.Write(whole[i : i+1])
					w.(http.Flusher).Flush()
				}
			}
		}, "it sends less than"},
	} {
		t.Run(name, func(t *testing.T) {
			idx := newIndex(t, sqlite.Options{})
			o := advisory.SyncOptions{Ecosystems: []string{"Go", "PyPI"}, Stall: time.Second}
			if _, err := idx.Sync(t.Context(), dir, o); err != nil {
				t.Fatal(err)
			}
			before := snapshotOf(t, idx)
			srv := serve(t, dir, "/Go/all.zip", c.answer)
			report, err := idx.Sync(t.Context(), srv.URL, o)
			if err == nil || len(report.Failed) != 1 || report.Failed[0].Feed != "Go" || !strings.Contains(report.Failed[0].Reason, c.reason) {
				t.Errorf("report %+v, %v", report, err)
			}
			if len(report.Changes) != 3 {
				t.Errorf("the other feeds were not taken: %s", states(report))
			}
			if after := snapshotOf(t, idx); after != before {
				t.Errorf("what was held has changed: %s, %s", before, after)
			}
			srv.Config.Handler = http.FileServer(http.Dir(dir))
			if report, err := idx.Sync(t.Context(), srv.URL, o); err != nil || len(report.Failed) > 0 {
				t.Errorf("a good answer after it: %+v, %v", report, err)
			}
		})
	}
}

func snapshotOf(t *testing.T, idx *advisory.Index) string {
	t.Helper()
	s, err := idx.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s.ID
}

// TestLastModified: a server without tags is asked by date.
func TestLastModified(t *testing.T) {
	dir, idx := bucket(t), newIndex(t, sqlite.Options{})
	sent, asked := 0, 0
	srv := serve(t, dir, "/Go/all.zip", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-Modified-Since") != "" {
			asked++
		}
		rec := httptest.NewRecorder()
		http.FileServer(http.Dir(dir)).ServeHTTP(rec, r)
		if rec.Code == http.StatusOK {
			sent++
		}
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes())
	})
	for range 3 {
		if _, err := idx.Sync(t.Context(), srv.URL, advisory.SyncOptions{Ecosystems: []string{"Go"}}); err != nil {
			t.Fatal(err)
		}
	}
	if sent != 1 || asked != 2 {
		t.Errorf("sent %d times, asked by date %d times", sent, asked)
	}
}

// A server behind TLS must not lead to one without.
func TestNoRedirectToPlainHTTP(t *testing.T) {
	dir, idx := bucket(t), newIndex(t, sqlite.Options{})
	plain := serve(t, dir, "", nil)
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, plain.URL+r.URL.Path, http.StatusFound)
	}))
	defer secure.Close()
	client := secure.Client()
	client.CheckRedirect = advisory.CheckRedirect
	_, err := idx.Sync(t.Context(), secure.URL, advisory.SyncOptions{Ecosystems: []string{"Go"}, Client: client})
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(fmt.Sprint(err), "not protected") {
		t.Error(err)
	}
}
