// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package snapshot_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/snapshot"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/store/storetest"
)

// seal is a server's seal: a key.
type seal string

func (s seal) MAC(purpose string, data []byte) ([]byte, error) {
	h := hmac.New(sha256.New, []byte(string(s)+purpose))
	h.Write(data)
	return h.Sum(nil), nil
}

var steps = map[string][]string{
	"thing":  {"CREATE TABLE thing (k BLOB PRIMARY KEY, n BIGINT NOT NULL, t TEXT, b BLOB); CREATE INDEX thing_n ON thing (n)", "CREATE TABLE more (a BIGINT PRIMARY KEY)"},
	"server": {"CREATE TABLE server_anchor (node TEXT PRIMARY KEY, body TEXT NOT NULL)"},
}

func run(t *testing.T, st store.Store, query string, args ...any) {
	t.Helper()
	err := st.Update(t.Context(), func(tx store.Tx) error { _, err := tx.Exec(t.Context(), query, args...); return err })
	if err != nil {
		t.Fatal(err)
	}
}

func count(t *testing.T, st store.Store) (n int) {
	t.Helper()
	err := st.View(t.Context(), func(tx store.Tx) error { return tx.QueryRow(t.Context(), "SELECT COUNT(*) FROM thing").Scan(&n) })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func migrate(t *testing.T, st store.Store) {
	t.Helper()
	for room, s := range steps {
		if err := st.Migrate(t.Context(), room, s); err != nil {
			t.Fatal(err)
		}
	}
}

func fill(t *testing.T, st store.Store) {
	t.Helper()
	migrate(t, st)
	for i := range 120 {
		run(t, st, "INSERT INTO thing (k, n, t, b) VALUES (?, ?, ?, ?)", []byte{byte(i), 0}, int64(i)-60, strings.Repeat("ä\n", i), bytes.Repeat([]byte{0, 255}, i))
	}
	run(t, st, "INSERT INTO thing (k, n, t, b) VALUES (?, ?, NULL, NULL)", []byte("nothing"), int64(math.MinInt64))
	run(t, st, `INSERT INTO server_anchor (node, body) VALUES ('a', '{"seq":7,"hash":"h","node":"a"}')`)
}

func save(t *testing.T, st store.Store) []byte {
	t.Helper()
	f, meta, err := snapshot.Save(t.Context(), st.(snapshot.Source), snapshot.About{Version: "1.0.0", Node: "a", Cluster: "c", Seal: seal("ours"), Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if len(meta.Audit) != 1 || meta.Audit[0].Seq != 7 {
		t.Errorf("anchors: %+v", meta.Audit)
	}
	text, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func open(t *testing.T, text []byte) *snapshot.Snapshot {
	t.Helper()
	s, err := snapshot.Open(bytes.NewReader(text), t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestThereAndBack: what was changed, added and removed since is as it was, in
// the same store and in an empty one of either variant.
func TestThereAndBack(t *testing.T) {
	var all [][]byte
	storetest.Each(t, func(t *testing.T, st store.Store) {
		fill(t, st)
		text := save(t, st)
		all = append(all, text)
		run(t, st, "DELETE FROM thing WHERE n < 0")
		run(t, st, "UPDATE thing SET t = 'changed'")
		run(t, st, "CREATE TABLE stranger (a BIGINT)")
		run(t, st, `UPDATE server_anchor SET body = '{"seq":9}'`)
		s := open(t, text)
		if err := s.Load(t.Context(), st.(snapshot.Source), steps); err != nil {
			t.Fatal(err)
		}
		if n := count(t, st); n != 121 {
			t.Errorf("%d rows", n)
		}
		var body string
		err := st.View(t.Context(), func(tx store.Tx) error {
			return tx.QueryRow(t.Context(), "SELECT body FROM server_anchor").Scan(&body)
		})
		if err != nil || !strings.Contains(body, "9") {
			t.Errorf("the anchor went back: %s %v", body, err)
		}
		run(t, st, `UPDATE server_anchor SET body = '{"seq":7,"hash":"h","node":"a"}'`)
		again := open(t, save(t, st))
		for i, want := range s.Meta.Tables {
			if got := again.Meta.Tables[i]; got.Sum != want.Sum || got.Rows != want.Rows {
				t.Errorf("%s: %+v, was %+v", want.Name, got, want)
			}
		}
	})
	storetest.Each(t, func(t *testing.T, st store.Store) {
		for _, text := range all { // also that of the other variant
			migrate(t, st)
			if err := open(t, text).Load(t.Context(), st.(snapshot.Source), steps); err != nil {
				t.Fatal(err)
			}
			if n := count(t, st); n != 121 {
				t.Errorf("%d rows", n)
			}
		}
	})
}

// TestOlderSnapshot: one of an older program is taken and migrated afterwards;
// one of a newer is refused.
func TestOlderSnapshot(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		fill(t, st)
		s := open(t, save(t, st))
		newer := map[string][]string{"server": steps["server"], "thing": append(steps["thing"][:2:2], "ALTER TABLE thing ADD COLUMN later BIGINT NOT NULL DEFAULT 3")}
		for room, list := range newer {
			if err := st.Migrate(t.Context(), room, list); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Load(t.Context(), st.(snapshot.Source), newer); err != nil {
			t.Fatal(err)
		}
		for room, list := range newer {
			if err := st.Migrate(t.Context(), room, list); err != nil {
				t.Fatal(err)
			}
		}
		var later int
		err := st.View(t.Context(), func(tx store.Tx) error {
			return tx.QueryRow(t.Context(), "SELECT MAX(later) FROM thing").Scan(&later)
		})
		if err != nil || later != 3 {
			t.Errorf("later = %d, %v", later, err)
		}
		older := map[string][]string{"server": steps["server"], "thing": steps["thing"][:1]}
		if err := s.Load(t.Context(), st.(snapshot.Source), older); !fault.Is(err, fault.Conflict) {
			t.Errorf("a snapshot of a newer program: %v", err)
		}
	})
}

// TestFailedLoadChangesNothing: whatever goes wrong on the way.
func TestFailedLoadChangesNothing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		fill(t, st)
		s := open(t, save(t, st))
		run(t, st, "DELETE FROM thing WHERE n < 0")
		left := count(t, st)
		broken := map[string][]string{"server": steps["server"], "thing": {"CREATE TABLE other (a BIGINT)", steps["thing"][1]}}
		if err := s.Load(t.Context(), st.(snapshot.Source), broken); err == nil {
			t.Fatal("loaded into tables that are not there")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Load(ctx, st.(snapshot.Source), steps); err == nil {
			t.Fatal("loaded though it was cancelled")
		}
		if n := count(t, st); n != left {
			t.Errorf("%d rows, want the %d that were there", n, left)
		}
	})
}

// TestChangedSnapshot: wherever one byte is changed or cut off, it is not taken.
func TestChangedSnapshot(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		fill(t, st)
		text := save(t, st)
		s := open(t, text)
		if ours, err := s.MadeBy(seal("ours")); err != nil || !ours {
			t.Errorf("not ours: %v", err)
		}
		if ours, err := s.MadeBy(seal("another")); err != nil || ours {
			t.Errorf("a snapshot of another server passes as ours: %v", err)
		}
		dir := t.TempDir()
		for at := 0; at < len(text); at += max(1, len(text)/300) {
			for _, bad := range [][]byte{append(append(bytes.Clone(text[:at]), text[at]^0x10), text[at+1:]...), text[:at]} {
				got, err := snapshot.Open(bytes.NewReader(bad), dir, nil)
				if err != nil {
					continue
				}
				if !bytes.Equal(unzip(t, bad), unzip(t, text)) { // the same can be compressed in more than one way
					t.Errorf("byte %d changed, and it passes", at)
				}
				_ = got.Close()
			}
		}
	})
}

func unzip(t *testing.T, text []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

func TestNoRoom(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		fill(t, st)
		for i := range 12 {
			run(t, st, "INSERT INTO thing (k, n, b) VALUES (?, 1, ?)", []byte{byte(i), 1, 1}, make([]byte, 1<<20))
		}
		full := errors.New("full")
		_, _, err := snapshot.Save(t.Context(), st.(snapshot.Source), snapshot.About{Seal: seal("x"), Dir: t.TempDir(), Room: func() error { return full }})
		if err == nil {
			t.Error("saved without room")
		}
	})
}

// FuzzOpen: no snapshot makes it fail in another way than by an error.
func FuzzOpen(f *testing.F) {
	f.Add([]byte("\x1f\x8b"))
	f.Add([]byte("no snapshot"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := snapshot.Open(bytes.NewReader(text), t.TempDir(), nil)
		if err == nil {
			_ = s.Close()
		}
	})
}
