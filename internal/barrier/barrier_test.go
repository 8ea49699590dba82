// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package barrier_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/store/storetest"
)

var keyFile = bytes.Repeat([]byte{7}, 32)

func open(t testing.TB, s store.Store) *barrier.Barrier {
	t.Helper()
	ctx := context.Background()
	b, err := barrier.Open(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Init(ctx, barrier.InitOptions{KeyFile: keyFile}); err != nil && !fault.Is(err, fault.Conflict) {
		t.Fatal(err)
	}
	if err := b.UnsealWithFile(ctx, keyFile); err != nil {
		t.Fatal(err)
	}
	return b
}

func put(t testing.TB, s barrier.Space, entries ...barrier.Entry) {
	t.Helper()
	err := s.Update(context.Background(), func(w barrier.Writer) error {
		for _, e := range entries {
			if err := w.Put(context.Background(), e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func get(t testing.TB, s barrier.Space, path string) (value string, found bool) {
	t.Helper()
	err := s.View(context.Background(), func(r barrier.Reader) error {
		e, err := r.Get(context.Background(), path)
		if e != nil {
			value, found = string(e.Value), true
		} else {
			value, found = "", false
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return value, found
}

func list(t testing.TB, s barrier.Space, dir string) (names []string) {
	t.Helper()
	err := s.View(context.Background(), func(r barrier.Reader) (err error) {
		names, err = r.List(context.Background(), dir)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestTreeBehavesLikeAMap compares random changes with a plain map.
func TestTreeBehavesLikeAMap(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s store.Store) {
		ctx := t.Context()
		space := open(t, s).Space().Sub("kv/x")
		rng := rand.New(rand.NewPCG(1, 2))
		model := map[string]string{}
		for step := range 150 {
			path := strings.Join([]string{"a", "b", "c", "d"}[:1+rng.IntN(4)], "/") + fmt.Sprint(rng.IntN(3))
			value := fmt.Sprint(step)
			err := space.Update(ctx, func(w barrier.Writer) error {
				switch rng.IntN(6) {
				case 0, 1:
					model[path] = value
					return w.Put(ctx, barrier.Entry{Path: path, Value: []byte(value)})
				case 2, 3:
					_, there := model[path]
					if !there {
						model[path] = value
					}
					added, err := w.Add(ctx, barrier.Entry{Path: path, Value: []byte(value)})
					if err == nil && added == there {
						t.Errorf("step %d: added %s: %v", step, path, added)
					}
					return err
				case 4:
					delete(model, path)
					return w.Delete(ctx, path)
				default:
					dir := strings.Join([]string{"a", "b"}[:1+rng.IntN(2)], "/")
					for p := range model {
						if strings.HasPrefix(p, dir+"/") {
							delete(model, p)
						}
					}
					return w.DeleteTree(ctx, dir)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		for path, want := range model {
			if got, found := get(t, space, path); !found || got != want {
				t.Errorf("%s = %q, %v; want %q", path, got, found, want)
			}
		}
		for _, dir := range []string{"", "a", "a/b", "a/b/c", "none"} {
			if diff := cmp.Diff(listModel(model, dir), list(t, space, dir)); diff != "" {
				t.Errorf("list %q (-want +got):\n%s", dir, diff)
			}
		}
	})
}

func listModel(model map[string]string, dir string) []string {
	names := []string{}
	for path := range model {
		rest, ok := strings.CutPrefix(path, dir+"/")
		if dir == "" {
			rest, ok = path, true
		}
		if !ok {
			continue
		}
		if name, _, deeper := strings.Cut(rest, "/"); deeper {
			rest = name + "/"
		}
		if !slices.Contains(names, rest) {
			names = append(names, rest)
		}
	}
	slices.Sort(names)
	return names
}

// TestStolenFileShowsNothing is invariant 1: neither values nor names.
func TestStolenFileShowsNothing(t *testing.T) {
	dir := t.TempDir()
	s := storetest.SQLiteAt(t, filepath.Join(dir, "goldkeep.db"))
	space := open(t, s).Space()
	put(t, space.Sub("planted-mount"), barrier.Entry{
		Path: "planted-folder/planted-name", Value: []byte("planted-value"),
		Group: "planted-group", Expires: s.Now().Add(time.Hour),
	})
	search := func(when string) {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil || len(files) == 0 {
			t.Fatal("no files", err)
		}
		for _, f := range files {
			content, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if i := bytes.Index(content, []byte("planted")); i >= 0 {
				t.Errorf("%s: %s holds %q", when, filepath.Base(f), content[i:i+12])
			}
			if bytes.Contains(content, keyFile) {
				t.Errorf("%s: %s holds the key", when, filepath.Base(f))
			}
		}
	}
	search("open")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	search("closed")
}

// TestChangedRowsDoNotOpen moves and edits rows as a thief with write access would.
func TestChangedRowsDoNotOpen(t *testing.T) {
	for name, edit := range map[string]string{
		"a body moved to another name": "UPDATE barrier_entry SET body = (SELECT body FROM barrier_entry WHERE expires = 0 AND grp IS NULL ORDER BY length(body) DESC LIMIT 1) WHERE expires > 0",
		"a later expiry":               "UPDATE barrier_entry SET expires = expires + 1000000 WHERE expires > 0",
		"another group":                "UPDATE barrier_entry SET grp = NULL WHERE expires > 0",
		"a body cut short":             "UPDATE barrier_entry SET body = substr(body, 1, 20) WHERE expires > 0",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "goldkeep.db")
			s := storetest.SQLiteAt(t, path)
			put(t, open(t, s).Space(),
				barrier.Entry{Path: "token/a", Value: []byte("root"), Expires: s.Now().Add(time.Hour), Group: "g"},
				barrier.Entry{Path: "token/b", Value: []byte("nobody")})
			if err := s.Update(t.Context(), func(tx store.Tx) error {
				n, err := tx.Exec(t.Context(), edit)
				if n != 1 {
					t.Errorf("the edit changed %d rows", n)
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			again := open(t, storetest.SQLiteAt(t, path)).Space()
			err := again.View(t.Context(), func(r barrier.Reader) error {
				_, err := r.Get(t.Context(), "token/a")
				return err
			})
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("the changed row opened: %v", err)
			}
		})
	}
}

func TestSealedAnswersNothing(t *testing.T) {
	b := open(t, storetest.SQLite(t))
	put(t, b.Space(), barrier.Entry{Path: "x", Value: []byte("1")})
	b.Seal()
	err := b.Space().View(t.Context(), func(r barrier.Reader) error { t.Error("a sealed barrier ran a view"); return nil })
	if !fault.Is(err, fault.Sealed) {
		t.Errorf("view: %v", err)
	}
	if _, err := b.SealBytes("p", nil, nil); !fault.Is(err, fault.Sealed) {
		t.Errorf("seal bytes: %v", err)
	}
	if _, err := b.SubmitShare(t.Context(), make([]byte, 33)); !fault.Is(err, fault.Invalid) || fault.HintOf(err) == "" {
		t.Errorf("a share for a key file's server: %v", err)
	}
	if err := b.UnsealWithFile(t.Context(), bytes.Repeat([]byte{8}, 32)); !fault.Is(err, fault.Invalid) {
		t.Errorf("unseal with a wrong key: %v", err)
	}
	if err := b.UnsealWithFile(t.Context(), keyFile); err != nil {
		t.Fatal(err)
	}
	if got, _ := get(t, b.Space(), "x"); got != "1" {
		t.Errorf("x = %q after unsealing", got)
	}
}

// TestSealingUnderLoad seals while others write: a write either fails or can be
// read after unsealing; none may have been encrypted with forgotten keys.
func TestSealingUnderLoad(t *testing.T) {
	b := open(t, storetest.SQLite(t))
	ctx := t.Context()
	var wg sync.WaitGroup
	written := make([][]string, 4)
	for w := range written {
		wg.Go(func() {
			for i := range 200 {
				path := fmt.Sprintf("w%d/%d", w, i)
				err := b.Space().Update(ctx, func(w barrier.Writer) error {
					return w.Put(ctx, barrier.Entry{Path: path, Value: []byte(path)})
				})
				if err == nil {
					written[w] = append(written[w], path)
				} else if !fault.Is(err, fault.Sealed) {
					t.Errorf("write: %v", err)
				}
			}
		})
	}
	for range 20 {
		b.Seal()
		if err := b.UnsealWithFile(ctx, keyFile); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	for _, paths := range written {
		for _, path := range paths {
			if got, _ := get(t, b.Space(), path); got != path {
				t.Errorf("%s = %q", path, got)
			}
		}
	}
}

func TestShamir(t *testing.T) {
	ctx := t.Context()
	b, err := barrier.Open(ctx, storetest.SQLite(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []barrier.InitOptions{{}, {Shares: 2, Threshold: 3}, {Shares: 3, Threshold: 1}, {Shares: 256, Threshold: 2}, {KeyFile: []byte("short")}} {
		if _, err := b.Init(ctx, bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("init %+v: %v", bad, err)
		}
	}
	got, err := b.Init(ctx, barrier.InitOptions{Shares: 5, Threshold: 3})
	if err != nil || len(got.Shares) != 5 {
		t.Fatal(got, err)
	}
	if _, err := b.Init(ctx, barrier.InitOptions{Shares: 1, Threshold: 1}); !fault.Is(err, fault.Conflict) {
		t.Errorf("second init: %v", err)
	}
	submit := func(share []byte) (barrier.Status, error) { return b.SubmitShare(ctx, share) }
	if _, err := submit([]byte("nonsense")); !fault.Is(err, fault.Invalid) {
		t.Errorf("nonsense share: %v", err)
	}
	for range 5 { // one person alone, again and again
		if st, err := submit(got.Shares[0]); err != nil || !st.Sealed || st.Progress != 1 {
			t.Fatalf("the same share again: %+v, %v", st, err)
		}
	}
	wrong := slices.Clone(got.Shares[1])
	wrong[5] ^= 1
	_, _ = submit(wrong)
	if _, err := submit(got.Shares[2]); err == nil || !b.Sealed() {
		t.Errorf("a wrong share unsealed: %v", err)
	}
	for _, i := range []int{4, 1, 3} {
		if _, err := submit(got.Shares[i]); err != nil {
			t.Fatal(err)
		}
	}
	if b.Sealed() {
		t.Error("three right shares did not unseal")
	}
}

func TestExpiredAndGroups(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s store.Store) {
		ctx := t.Context()
		b := open(t, s)
		tokens, leases := b.Space().Sub("token"), b.Space().Sub("lease")
		now := s.Now().Truncate(time.Millisecond)
		put(t, tokens,
			barrier.Entry{Path: "late", Expires: now.Add(time.Hour)},
			barrier.Entry{Path: "second", Expires: now.Add(-time.Second), Group: "p"},
			barrier.Entry{Path: "first", Expires: now.Add(-time.Minute), Group: "p"},
			barrier.Entry{Path: "never", Group: "q"})
		put(t, leases, barrier.Entry{Path: "other", Expires: now.Add(-time.Minute), Group: "p"})
		due, err := tokens.Expired(ctx, now, 10)
		if err != nil || len(due) != 2 || due[0].Path != "first" || due[1].Path != "second" || due[0].Group != "p" {
			t.Errorf("expired = %+v, %v", due, err)
		}
		if due, err := tokens.Expired(ctx, now, 1); err != nil || len(due) != 1 {
			t.Errorf("expired, one at most = %+v, %v", due, err)
		}
		err = tokens.View(ctx, func(r barrier.Reader) error {
			in, err := r.InGroup(ctx, "p")
			if err == nil && len(in) != 2 {
				t.Errorf("group p of the tokens has %d entries, want 2", len(in))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// TestCacheNeverShowsTheOld: once an Update has returned, every later View sees it.
func TestCacheNeverShowsTheOld(t *testing.T) {
	b := open(t, storetest.SQLite(t))
	ctx := t.Context()
	space := b.Space()
	var wg sync.WaitGroup
	for w := range 4 {
		path := fmt.Sprint("k", w)
		stop := make(chan struct{})
		wg.Go(func() { // keeps the cache busy with this key
			for {
				select {
				case <-stop:
					return
				default:
					get(t, space, path)
				}
			}
		})
		wg.Go(func() {
			defer close(stop)
			for i := range 200 {
				put(t, space, barrier.Entry{Path: path, Value: fmt.Append(nil, i)})
				if got, _ := get(t, space, path); got != fmt.Sprint(i) {
					t.Errorf("%s = %s after writing %d", path, got, i)
				}
			}
			if err := space.Update(ctx, func(w barrier.Writer) error { return w.Delete(ctx, path) }); err != nil {
				t.Error(err)
			}
			if _, found := get(t, space, path); found {
				t.Errorf("%s is still there", path)
			}
		})
	}
	wg.Wait()
}

// TestTwoNodes: what one node writes, the other reads at once.
func TestTwoNodes(t *testing.T) {
	if testing.Short() {
		t.Log("short run: PostgreSQL is left to the full run")
		return
	}
	dsn := storetest.PostgresDSN(t)
	one, two := open(t, storetest.PostgresAt(t, dsn)), open(t, storetest.PostgresAt(t, dsn))
	for i := range 20 {
		put(t, one.Space(), barrier.Entry{Path: "x", Value: fmt.Append(nil, i)})
		if got, _ := get(t, two.Space(), "x"); got != fmt.Sprint(i) {
			t.Fatalf("node two read %q, want %d", got, i)
		}
	}
}

func TestBadPaths(t *testing.T) {
	b := open(t, storetest.SQLite(t))
	for _, path := range []string{"", "/a", "a/", "a//b", strings.Repeat("x", 1025)} {
		err := b.Space().Update(t.Context(), func(w barrier.Writer) error {
			return w.Put(t.Context(), barrier.Entry{Path: path})
		})
		if err == nil {
			t.Errorf("path %.20q was accepted", path)
		}
	}
}
