// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package barrier

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store"
)

// writer changes entries within a transaction.
//
// A folder is a row too (its path ends in "/"), so that List need not read what
// is deeper. It appears with the first entry below it and goes with the last.
type writer struct {
	view
	touched [][]byte // keys to be forgotten by the cache after the commit
}

func (w *writer) Put(ctx context.Context, e Entry) error {
	_, err := w.set(ctx, e, w.upsert)
	return err
}

func (w *writer) Add(ctx context.Context, e Entry) (bool, error) {
	return w.set(ctx, e, w.insert)
}

// set writes an entry in one of two ways, and the folders that a new one needs.
func (w *writer) set(ctx context.Context, e Entry, write func(context.Context, written) (bool, error)) (created bool, err error) {
	whole, err := w.full(e.Path)
	if err != nil {
		return false, err
	}
	if len(e.Value) > maxValue {
		return false, fault.New(fault.TooLarge, "the value has %d bytes; the limit is %d", len(e.Value), maxValue)
	}
	e.Path = whole
	if e.Group != "" {
		e.Group = w.space.prefix + e.Group
	}
	r, err := w.seal(e)
	if err != nil {
		return false, err
	}
	if created, err = write(ctx, r); err != nil || !created {
		return false, err
	}
	for dir := parent(whole); dir != ""; dir = parent(dir) {
		if r, err = w.seal(Entry{Path: dir + "/"}); err != nil {
			return false, err
		}
		made, err := w.insert(ctx, r)
		if err != nil {
			return false, err
		}
		if !made {
			break // the folders above exist too
		}
	}
	return true, nil
}

// written is an entry as the table has it.
type written struct {
	key, dir, zone, grp, body []byte
	expires                   int64
}

// seal makes the row of an entry. The cache forgets the one there was.
func (w *writer) seal(e Entry) (r written, err error) {
	if r.key, r.dir, r.zone, err = w.place(e.Path); err != nil {
		return written{}, err
	}
	if e.Group != "" {
		if r.grp, err = w.keys.mac("group", []byte(e.Group)); err != nil {
			return written{}, err
		}
	}
	r.expires = store.Millis(e.Expires)
	if r.body, err = w.keys.seal("entry", encodeEntry(e), bound(r.key, r.expires, r.grp)); err != nil {
		return written{}, err
	}
	w.touched = append(w.touched, r.key)
	return r, nil
}

// upsert writes a row and reports whether it is new.
func (w *writer) upsert(ctx context.Context, r written) (created bool, err error) {
	n, err := w.tx.Exec(ctx, "UPDATE barrier_entry SET body = ?, expires = ?, grp = ? WHERE key = ?", r.body, r.expires, r.grp, r.key)
	if err != nil {
		return false, fmt.Errorf("write entry: %w", err)
	}
	if n > 0 {
		return false, nil
	}
	return w.insert(ctx, r)
}

// insert writes a row where there is none.
func (w *writer) insert(ctx context.Context, r written) (created bool, err error) {
	n, err := w.tx.Exec(ctx, "INSERT INTO barrier_entry (key, dir, zone, grp, expires, body) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING",
		r.key, r.dir, r.zone, r.grp, r.expires, r.body)
	if err != nil {
		return false, fmt.Errorf("write entry: %w", err)
	}
	return n > 0, nil
}

// place computes the blinded names of a path.
func (w *writer) place(path string) (key, dir, zone []byte, err error) {
	if key, err = w.keys.mac("path", []byte(path)); err != nil {
		return nil, nil, nil, err
	}
	if dir, err = w.keys.mac("dir", []byte(parent(strings.TrimSuffix(path, "/")))); err != nil {
		return nil, nil, nil, err
	}
	zone, err = w.keys.mac("zone", []byte(zoneOf(path)))
	return key, dir, zone, err
}

func parent(path string) string {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return ""
	}
	return path[:i]
}

func (w *writer) Delete(ctx context.Context, path string) error {
	whole, err := w.full(path)
	if err != nil {
		return err
	}
	return w.remove(ctx, whole)
}

// remove deletes a row, then the folders it leaves empty.
func (w *writer) remove(ctx context.Context, whole string) error {
	for path := whole; ; {
		key, dirKey, _, err := w.place(path)
		if err != nil {
			return err
		}
		w.touched = append(w.touched, key)
		n, err := w.tx.Exec(ctx, "DELETE FROM barrier_entry WHERE key = ?", key)
		if err != nil {
			return fmt.Errorf("delete entry: %w", err)
		}
		dir := parent(strings.TrimSuffix(path, "/"))
		if n == 0 || dir == "" {
			return nil
		}
		var left int
		if err := w.tx.QueryRow(ctx, "SELECT COUNT(*) FROM (SELECT 1 FROM barrier_entry WHERE dir = ? LIMIT 1) AS t", dirKey).Scan(&left); err != nil {
			return fmt.Errorf("look for entries: %w", err)
		}
		if left > 0 {
			return nil
		}
		path = dir + "/"
	}
}

func (w *writer) DeleteTree(ctx context.Context, dir string) error {
	if w.err != nil {
		return w.err
	}
	return w.removeTree(ctx, strings.Trim(w.space.prefix+dir, "/"))
}

func (w *writer) removeTree(ctx context.Context, whole string) error {
	var below []string
	err := w.children(ctx, whole, func(path string) error {
		below = append(below, path)
		return nil
	})
	if err != nil {
		return err
	}
	for _, path := range below {
		if folder, ok := strings.CutSuffix(path, "/"); ok {
			err = w.removeTree(ctx, folder)
		} else {
			err = w.remove(ctx, path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bound is what a sealed body is bound to: moved to another key, or with another
// expiry or group beside it, it does not open.
func bound(key []byte, expires int64, grp []byte) []byte {
	b := make([]byte, 0, len(key)+8+len(grp))
	b = append(b, key...)
	b = binary.BigEndian.AppendUint64(b, uint64(expires))
	return append(b, grp...)
}

// encodeEntry writes the path, the group and the value, each but the last with
// its length in front.
func encodeEntry(e Entry) []byte {
	b := make([]byte, 0, len(e.Path)+len(e.Group)+len(e.Value)+6)
	b = binary.AppendUvarint(b, uint64(len(e.Path)))
	b = append(b, e.Path...)
	b = binary.AppendUvarint(b, uint64(len(e.Group)))
	b = append(b, e.Group...)
	return append(b, e.Value...)
}

func decodeEntry(b []byte, expires int64) (Entry, error) {
	path, b, ok := cutSized(b)
	if !ok {
		return Entry{}, fault.New(fault.Invalid, "an entry is damaged")
	}
	group, b, ok := cutSized(b)
	if !ok {
		return Entry{}, fault.New(fault.Invalid, "an entry is damaged")
	}
	return Entry{Path: string(path), Group: string(group), Value: b, Expires: store.Time(expires)}, nil
}

func cutSized(b []byte) (part, rest []byte, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return nil, nil, false
	}
	return b[size : size+int(n)], b[size+int(n):], true
}
