// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package advisory_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store/sqlite"
)

// bucket writes the layout of the OSV bucket.
func bucket(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"Debian", "Go", "PyPI"} {
		write(t, filepath.Join(dir, name, "all.zip"), feed(t, recorded(t, name)))
	}
	for _, name := range []string{"kev.json", "epss.csv"} {
		raw, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), raw)
	}
	return dir
}

func write(t *testing.T, name string, raw []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, raw, 0o644); err != nil {
		t.Fatal(err)
	}
}

func states(r advisory.SyncReport) string {
	var out []string
	for _, c := range r.Changes {
		state := "new"
		if c.Unchanged {
			state = "same"
		}
		out = append(out, c.Feed+" "+state)
	}
	return strings.Join(out, ", ")
}

func TestSyncFromFolder(t *testing.T) {
	dir, idx := bucket(t), newIndex(t, sqlite.Options{})
	var told []string
	o := advisory.SyncOptions{OnChange: func(_ context.Context, c advisory.Change) error {
		told = append(told, c.Feed)
		return nil
	}}
	first, err := idx.Sync(t.Context(), dir, o)
	if err != nil || states(first) != "Debian new, Go new, PyPI new, kev new, epss new" || len(told) != 5 {
		t.Fatalf("first: %s, %v, told %v", states(first), err, told)
	}
	write(t, filepath.Join(dir, "Go", "all.zip"), feed(t, map[string]string{"GO-2020-0003": recorded(t, "Go")["GO-2020-0003"]}))
	if _, err := idx.Sync(t.Context(), dir, o); !fault.Is(err, fault.Invalid) || fault.HintOf(err) == "" {
		t.Errorf("one record of thirty is left, which is taken for news: %v", err)
	}
	o.AllowShrink = true
	second, err := idx.Sync(t.Context(), dir, o)
	if err != nil || states(second) != "Debian same, Go new, PyPI same, kev same, epss same" {
		t.Errorf("second: %s, %v", states(second), err)
	}
	if second.Changes[1].Removed == 0 || len(second.Changes[0].Keys) > 0 {
		t.Errorf("second: %+v", second)
	}
}

func TestSyncFromFolderWithTheBucketInside(t *testing.T) {
	dir, idx := t.TempDir(), newIndex(t, sqlite.Options{})
	write(t, filepath.Join(dir, "osv", "Go", "all.zip"), feed(t, recorded(t, "Go")))
	write(t, filepath.Join(dir, "cve-severity.json"), []byte(`{"CVE-2022-27664":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"}]}`))
	r, err := idx.Sync(t.Context(), dir, advisory.SyncOptions{})
	if err != nil || states(r) != "Go new, cvss new" {
		t.Errorf("%s, %v", states(r), err)
	}
	if keysOf(r.Changes[1]) != "Go/golang.org/x/net Go/stdlib" && keysOf(r.Changes[1]) != "Go/golang.org/x/net" {
		t.Errorf("keys = %s", keysOf(r.Changes[1]))
	}
}

func TestSyncSaysWhichFeedFailed(t *testing.T) {
	dir, idx := bucket(t), newIndex(t, sqlite.Options{})
	write(t, filepath.Join(dir, "Go", "all.zip"), []byte("no zip"))
	r, err := idx.Sync(t.Context(), dir, advisory.SyncOptions{})
	if !fault.Is(err, fault.Invalid) || len(r.Failed) != 1 || r.Failed[0].Feed != "Go" || len(r.Changes) != 4 {
		t.Errorf("report = %+v, %v", r, err)
	}
	if _, err := idx.Sync(t.Context(), t.TempDir(), advisory.SyncOptions{}); !fault.Is(err, fault.Invalid) || fault.HintOf(err) == "" {
		t.Errorf("empty folder: %v", err)
	}
}

func TestKeysStayWhenTheListenerFails(t *testing.T) {
	dir, idx := bucket(t), newIndex(t, sqlite.Options{})
	fail := advisory.SyncOptions{Ecosystems: []string{"Go"}, OnChange: func(context.Context, advisory.Change) error { return errors.New("no") }}
	if _, err := idx.Sync(t.Context(), dir, fail); err == nil {
		t.Fatal("the listener's error is lost")
	}
	var keys int
	ok := advisory.SyncOptions{Ecosystems: []string{"Go"}, OnChange: func(_ context.Context, c advisory.Change) error {
		keys += len(c.Keys)
		return nil
	}}
	for range 2 {
		if _, err := idx.Sync(t.Context(), dir, ok); err != nil {
			t.Fatal(err)
		}
	}
	if want := len(goKeys(t)); keys != want {
		t.Errorf("%d keys told after the failure, want %d, once", keys, want)
	}
}

func goKeys(t *testing.T) map[advisory.Key]bool {
	keys := map[advisory.Key]bool{}
	for _, text := range recorded(t, "Go") {
		r, err := advisory.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range r.Keys() {
			keys[k] = true
		}
	}
	return keys
}

func TestSyncFromURLFetchesOnlyWhatChanged(t *testing.T) {
	dir, idx := bucket(t), newIndex(t, sqlite.Options{})
	sent := map[string]int{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, err := os.ReadFile(filepath.Join(dir, filepath.Clean("/"+r.URL.Path)))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		tag := `"` + string(rune('a'+len(raw)%26)) + `"`
		w.Header().Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		sent[r.URL.Path]++
		_, _ = w.Write(raw)
	}))
	defer srv.Close()
	o := advisory.SyncOptions{Ecosystems: []string{"Debian", "Go", "PyPI"}}
	for range 2 {
		if _, err := idx.Sync(t.Context(), srv.URL+"/", o); err != nil {
			t.Fatal(err)
		}
	}
	for path, n := range sent {
		if n != 1 {
			t.Errorf("%s was sent %d times", path, n)
		}
	}
	if len(sent) != 5 {
		t.Errorf("sent %v", sent)
	}
	if s, err := idx.Snapshot(t.Context()); err != nil || len(s.Feeds) != 5 {
		t.Errorf("snapshot %+v, %v", s, err)
	}
	o.Ecosystems = []string{"Nothing"}
	if r, err := idx.Sync(t.Context(), srv.URL, o); !fault.Is(err, fault.NotFound) || len(r.Failed) != 1 {
		t.Errorf("missing feed: %+v, %v", r, err)
	}
}

func TestSyncErrorsHideCredentials(t *testing.T) {
	idx := newIndex(t, sqlite.Options{})
	_, err := idx.Sync(t.Context(), "http://user:hunter2@127.0.0.1:1/osv", advisory.SyncOptions{Ecosystems: []string{"Go"}})
	if !fault.Is(err, fault.Unavailable) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error = %v", err)
	}
}
