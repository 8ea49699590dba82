// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package quota_test

import (
	"bytes"
	"path/filepath"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/quota"
	"github.com/goldkeep/goldkeep/internal/store/sqlite"
)

func space(t *testing.T) barrier.Space {
	t.Helper()
	ctx := t.Context()
	st, err := sqlite.Open(ctx, filepath.Join(t.TempDir(), "goldkeep.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	b, err := barrier.Open(ctx, st)
	if err != nil {
		t.Fatal(err)
	}
	key := bytes.Repeat([]byte{7}, 32)
	if _, err := b.Init(ctx, barrier.InitOptions{KeyFile: key}); err != nil {
		t.Fatal(err)
	}
	if err := b.UnsealWithFile(ctx, key); err != nil {
		t.Fatal(err)
	}
	return b.Space()
}

func TestQuotas(t *testing.T) {
	ctx := t.Context()
	s := space(t)
	q, other := quota.New(s, true), quota.New(s, false)
	now := time.Unix(1_000_000, 0)
	allowed := func(q *quota.Limiter, path, client string, tries int) (n int) {
		t.Helper()
		for range tries {
			err := q.Allow(ctx, quota.Asked{Mount: "secret/", Path: path, Client: client}, now)
			if err == nil {
				n++
			} else if !fault.Is(err, fault.Limited) {
				t.Fatal(err)
			}
		}
		return n
	}
	put := func(n quota.Rule) {
		t.Helper()
		n.Interval = 10 * time.Second
		if err := q.Put(ctx, n); err != nil {
			t.Fatal(err)
		}
	}
	if got := allowed(q, "secret/a", "1", 100); got != 100 {
		t.Errorf("without quotas %d of 100 pass", got)
	}
	put(quota.Rule{Name: "all", Rate: 2})
	put(quota.Rule{Name: "mount", Path: "secret/", Rate: 3})
	put(quota.Rule{Name: "below", Path: "secret/x/*", Rate: 4})
	put(quota.Rule{Name: "deep", Path: "secret/x/y*", Rate: 5.5})
	put(quota.Rule{Name: "path", Path: "secret/x/y", Rate: 1, Block: time.Minute})
	for path, want := range map[string]int{"other/a": 2, "secret/a": 3, "secret/x/a": 4, "secret/x/yz": 6, "secret/x/y": 1} {
		mount := "secret/"
		if path == "other/a" {
			mount = "other/"
		}
		n := 0
		for range 10 {
			if q.Allow(ctx, quota.Asked{Mount: mount, Path: path, Client: "1"}, now) == nil {
				n++
			}
		}
		if n != want {
			t.Errorf("%s: %d pass, want %d", path, n, want)
		}
	}
	if got := allowed(q, "secret/a", "2", 10); got != 3 {
		t.Errorf("another client: %d pass", got)
	}
	if got := allowed(q, "sys/health", "1", 10); got != 10 {
		t.Errorf("an exempt path: %d pass", got)
	}
	if got := allowed(other, "secret/a", "1", 10); got != 3 {
		t.Errorf("another server: %d pass", got)
	}
	now = now.Add(10 * time.Second)
	if a, b := allowed(q, "secret/a", "1", 10), allowed(q, "secret/x/y", "1", 10); a != 3 || b != 0 {
		t.Errorf("the next interval: %d pass; blocked: %d", a, b)
	}
	now = now.Add(time.Minute)
	if got := allowed(q, "secret/x/y", "1", 10); got != 1 {
		t.Errorf("after the block: %d pass", got)
	}
	if err := q.Put(ctx, quota.Rule{Name: "twin", Path: "secret/", Rate: 1, Interval: time.Second}); !fault.Is(err, fault.Invalid) {
		t.Errorf("a second quota for a path: %v", err)
	}
	if err := q.Delete(ctx, "mount"); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Minute)
	if a, b := allowed(q, "secret/a", "1", 10), allowed(other, "secret/a", "1", 10); a != 2 || b != 2 {
		t.Errorf("after the removal: %d and %d pass", a, b)
	}
	for _, bad := range []quota.Rule{{Rate: 1, Interval: time.Second}, {Name: "x", Interval: time.Second}, {Name: "x", Rate: 1}, {Name: "a/b", Rate: 1, Interval: time.Second}} {
		if err := q.Put(ctx, bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// TestClient: whoever has one address of a network of IPv6 has all of them.
func TestClient(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.7": "192.0.2.7", "::ffff:192.0.2.7": "192.0.2.7", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64",
		"2001:db8:1:2::1": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64", "unix": "unix", "": "",
	} {
		if got := quota.Client(remote); got != want {
			t.Errorf("%s is %s, not %s", remote, got, want)
		}
	}
}
