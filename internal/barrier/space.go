// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package barrier

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store"
)

const (
	maxPath  = 1024     // bytes of a whole path
	maxValue = 32 << 20 // bytes of one value
)

// space is the part of the tree below prefix ("" or ending in "/").
type space struct {
	b      *Barrier
	prefix string
}

var _ Space = space{}

// Space is the whole tree.
func (b *Barrier) Space() Space { return space{b: b} }

func (s space) Sub(dir string) Space {
	return space{b: s.b, prefix: s.prefix + strings.Trim(dir, "/") + "/"}
}

func (s space) Now() time.Time { return s.b.store.Now() }

// View answers from memory alone where everything asked for is there and nothing
// was committed meanwhile; else in a transaction.
func (s space) View(ctx context.Context, fn func(Reader) error) error {
	k, err := s.b.unlocked()
	if err != nil {
		return err
	}
	gen := s.b.cache.generation()
	if s.b.cache != nil {
		v := &view{space: s, keys: k, gen: gen}
		err := fn(v)
		if !v.missed && s.b.cache.generation() == gen {
			return err
		}
	}
	return s.b.store.View(ctx, func(tx store.Tx) error {
		return fn(&view{space: s, keys: k, tx: tx, gen: gen})
	})
}

func (s space) Update(ctx context.Context, fn func(Writer) error) error {
	if _, err := s.b.unlocked(); err != nil {
		return err
	}
	return s.b.store.Update(ctx, func(tx store.Tx) error { return fn(s.In(tx)) })
}

func (s space) In(tx store.Tx) Writer {
	w := &writer{view: view{space: s, tx: tx, writing: true}}
	if w.keys, w.err = s.b.unlocked(); w.err != nil {
		return w
	}
	tx.AfterCommit(func() { s.b.cache.changed(w.touched) })
	return w
}

func (s space) Expired(ctx context.Context, now time.Time, limit int) ([]Entry, error) {
	k, err := s.b.unlocked()
	if err != nil {
		return nil, err
	}
	zone, err := k.mac("zone", []byte(zoneOf(s.prefix)))
	if err != nil {
		return nil, err
	}
	var due []Entry
	err = s.b.store.View(ctx, func(tx store.Tx) error {
		v := view{space: s, keys: k, tx: tx}
		due = due[:0]
		rows, err := tx.Query(ctx, "SELECT key, body, expires, grp FROM barrier_entry WHERE zone = ? AND expires > 0 AND expires <= ? ORDER BY expires", zone, store.Millis(now))
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		for len(due) < limit && rows.Next() {
			var key []byte
			var r row
			if err := rows.Scan(&key, &r.body, &r.expires, &r.group); err != nil {
				return err
			}
			e, err := v.openRow(ctx, key, &r)
			if err != nil {
				return err
			}
			if strings.HasPrefix(e.Path, s.prefix) {
				due = append(due, v.relative(e))
			}
		}
		return rows.Err()
	})
	return due, err
}

// zoneOf is the first segment of a path.
func zoneOf(path string) string {
	zone, _, _ := strings.Cut(path, "/")
	return zone
}

// view reads within a transaction, or from memory alone where tx is nil.
type view struct {
	space   space
	keys    *keys
	tx      store.Tx
	gen     uint64
	missed  bool
	writing bool
	err     error // sealed since: every call answers it
}

// errNotCached ends a read from memory; View then reads in a transaction.
var errNotCached = errors.New("not in memory")

func (v *view) full(path string) (string, error) {
	if v.err != nil {
		return "", v.err
	}
	whole := v.space.prefix + path
	if path == "" || strings.HasPrefix(path, "/") || strings.HasSuffix(path, "/") || strings.Contains(path, "//") {
		return "", fault.New(fault.Invalid, "the path is empty or has an empty part")
	}
	if len(whole) > maxPath {
		return "", fault.New(fault.TooLarge, "the path has %d bytes; the limit is %d", len(whole), maxPath)
	}
	return whole, nil
}

func (v *view) Get(ctx context.Context, path string) (*Entry, error) {
	key, r, err := v.find(ctx, path)
	if err != nil || r == nil {
		return nil, err
	}
	e, err := v.openRow(ctx, key, r)
	if err != nil {
		return nil, err
	}
	e = v.relative(e)
	return &e, nil
}

// find returns a path's key and row; no row where there is none.
func (v *view) find(ctx context.Context, path string) (key []byte, r *row, err error) {
	whole, err := v.full(path)
	if err != nil {
		return nil, nil, err
	}
	if key, err = v.keys.mac("path", []byte(whole)); err != nil {
		return nil, nil, err
	}
	r, err = v.read(ctx, key)
	return key, r, err
}

// read returns the row of a key, or nil.
func (v *view) read(ctx context.Context, key []byte) (*row, error) {
	if !v.writing {
		if r, known := v.space.b.cache.get(key); known {
			return r, nil
		}
	}
	if v.tx == nil {
		v.missed = true
		return nil, errNotCached
	}
	r := &row{}
	err := v.tx.QueryRow(ctx, "SELECT body, expires, grp FROM barrier_entry WHERE key = ?", key).Scan(&r.body, &r.expires, &r.group)
	if errors.Is(err, store.ErrNoRows) {
		r, err = nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read entry: %w", err)
	}
	if !v.writing {
		v.space.b.cache.put(key, r, v.gen)
	}
	return r, nil
}

// openRow decrypts a row; the path in the entry is the whole one.
func (v *view) openRow(ctx context.Context, key []byte, r *row) (Entry, error) {
	plain, err := v.keys.open("entry", r.body, bound(key, r.expires, r.group))
	if errors.Is(err, errTerm) {
		if _, err = v.space.b.learn(ctx, v.keys); err == nil {
			plain, err = v.keys.open("entry", r.body, bound(key, r.expires, r.group))
		}
	}
	if err != nil {
		return Entry{}, fmt.Errorf("open entry: %w", err)
	}
	return decodeEntry(plain, r.expires)
}

func (v *view) relative(e Entry) Entry {
	e.Path = strings.TrimPrefix(e.Path, v.space.prefix)
	e.Group = strings.TrimPrefix(e.Group, v.space.prefix)
	return e
}

func (v *view) List(ctx context.Context, dir string) ([]string, error) {
	if v.err != nil {
		return nil, v.err
	}
	if v.tx == nil {
		v.missed = true
		return nil, errNotCached
	}
	whole := strings.Trim(v.space.prefix+dir, "/")
	names := []string{}
	err := v.children(ctx, whole, func(path string) error {
		names = append(names, strings.TrimPrefix(strings.TrimPrefix(path, whole), "/"))
		return nil
	})
	slices.Sort(names)
	return names, err
}

// children calls fn with the whole path of everything right below a folder;
// folders end in "/".
func (v *view) children(ctx context.Context, whole string, fn func(path string) error) error {
	dirKey, err := v.keys.mac("dir", []byte(whole))
	if err != nil {
		return err
	}
	return store.Each(ctx, v.tx, func(r store.Row) error {
		var key []byte
		var found row
		if err := r.Scan(&key, &found.body, &found.expires, &found.group); err != nil {
			return err
		}
		e, err := v.openRow(ctx, key, &found)
		if err != nil {
			return err
		}
		return fn(e.Path)
	}, "SELECT key, body, expires, grp FROM barrier_entry WHERE dir = ?", dirKey)
}

func (v *view) InGroup(ctx context.Context, group string) ([]Entry, error) {
	if v.err != nil {
		return nil, v.err
	}
	if v.tx == nil {
		v.missed = true
		return nil, errNotCached
	}
	grp, err := v.keys.mac("group", []byte(v.space.prefix+group))
	if err != nil {
		return nil, err
	}
	var found []Entry
	err = store.Each(ctx, v.tx, func(r store.Row) error {
		var key []byte
		var got row
		if err := r.Scan(&key, &got.body, &got.expires, &got.group); err != nil {
			return err
		}
		e, err := v.openRow(ctx, key, &got)
		if err != nil {
			return err
		}
		found = append(found, v.relative(e))
		return nil
	}, "SELECT key, body, expires, grp FROM barrier_entry WHERE grp = ?", grp)
	return found, err
}
