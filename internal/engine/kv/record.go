// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package kv

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// record is all that is kept of one key. Its newest version's data stands in
// the record itself, as does its history while that is small, so that the usual
// read and write is one entry; what is larger has entries of its own, found by
// the record's random id.
type record struct {
	id       string
	created  time.Time
	updated  time.Time
	current  int
	settings // the key's own
	custom   map[string]string
	versions []version // ascending

	metaVersion int // how often the metadata was written
}

// version is one version of a key.
type version struct {
	n         int
	created   time.Time
	deleted   time.Time // zero: not; may lie in the future
	destroyed bool
	inline    bool            // data stands here, not in an entry of its own
	data      json.RawMessage // byte-exact as it was sent
}

// What is kept in the record itself, in bytes: the newest version's data, and of
// older ones as much as makes no read or write slower than entries of their own.
const (
	maxInline  = 32 << 10
	maxHistory = 8 << 10
)

func keyAt(path string) string { return "k/" + path }

func versionAt(id string, n int) string { return "v/" + id + "/" + strconv.Itoa(n) }

func (v *version) gone(now time.Time) bool {
	return v.destroyed || !v.deleted.IsZero() && !v.deleted.After(now)
}

// find returns a version, the current one for 0, or nil.
func (r *record) find(n int) *version {
	if n == 0 {
		n = r.current
	}
	for i := len(r.versions) - 1; i >= 0; i-- {
		if r.versions[i].n == n {
			return &r.versions[i]
		}
	}
	return nil
}

func (r *record) oldest() int {
	if len(r.versions) == 0 || r.versions[0].n == 1 {
		return 0
	}
	return r.versions[0].n
}

// load reads a key's record, or nil where there is none.
func load(ctx context.Context, rd barrier.Reader, path string) (*record, error) {
	e, err := rd.Get(ctx, keyAt(path))
	if err != nil || e == nil {
		return nil, err
	}
	return decode(e.Value)
}

// content is a version's data, from wherever it is kept.
func (r *record) content(ctx context.Context, rd barrier.Reader, v *version) (json.RawMessage, error) {
	if v.inline {
		return v.data, nil
	}
	e, err := rd.Get(ctx, versionAt(r.id, v.n))
	if err != nil || e == nil {
		return nil, err
	}
	return e.Value, nil
}

// save writes a key's record.
func (r *record) save(ctx context.Context, w barrier.Writer, path string) error {
	return w.Put(ctx, barrier.Entry{Path: keyAt(path), Value: r.encode()})
}

// add makes v the newest version and drops those above the limit.
func (r *record) add(ctx context.Context, w barrier.Writer, v version, limit int) error {
	v.inline = true
	r.versions = append(r.versions, v)
	r.current = v.n
	for len(r.versions) > limit {
		if err := r.erase(ctx, w, &r.versions[0]); err != nil {
			return err
		}
		r.versions = slices.Delete(r.versions, 0, 1)
	}
	return r.spill(ctx, w)
}

// spill moves data that is too much for the record to entries of its own.
func (r *record) spill(ctx context.Context, w barrier.Writer) error {
	room := maxInline
	for i := len(r.versions) - 1; i >= 0; i-- {
		v := &r.versions[i]
		if !v.inline {
			continue
		}
		if room -= len(v.data); room >= 0 {
			if v.n == r.current {
				room = min(room, maxHistory)
			}
			continue
		}
		room = 0
		if err := w.Put(ctx, barrier.Entry{Path: versionAt(r.id, v.n), Value: v.data}); err != nil {
			return err
		}
		v.inline, v.data = false, nil
	}
	return nil
}

// erase removes a version's data for good.
func (r *record) erase(ctx context.Context, w barrier.Writer, v *version) error {
	inline := v.inline
	v.inline, v.data = false, nil
	if inline {
		return nil
	}
	return w.Delete(ctx, versionAt(r.id, v.n))
}

// The record's form in the store: a format byte, then each field in order,
// numbers as varints and texts with their length before them.
const (
	recordFormat = 2
	oldFormat    = 1 // without metaVersion and MetaCASRequired at its end
)

func (r *record) encode() []byte {
	b := make([]byte, 0, 128+40*len(r.versions)+len(r.id))
	b = append(b, recordFormat)
	b = appendText(b, r.id)
	b = binary.AppendVarint(b, nanos(r.created))
	b = binary.AppendVarint(b, nanos(r.updated))
	b = binary.AppendVarint(b, int64(r.current))
	b = binary.AppendVarint(b, int64(r.MaxVersions))
	b = appendBool(b, r.CASRequired)
	b = binary.AppendVarint(b, int64(r.DeleteAfter))
	b = binary.AppendVarint(b, int64(len(r.custom)))
	for k, v := range r.custom {
		b = appendText(appendText(b, k), v)
	}
	b = binary.AppendVarint(b, int64(len(r.versions)))
	for _, v := range r.versions {
		b = binary.AppendVarint(b, int64(v.n))
		b = binary.AppendVarint(b, nanos(v.created))
		b = binary.AppendVarint(b, nanos(v.deleted))
		b = appendBool(b, v.destroyed)
		b = appendBool(b, v.inline)
		b = appendText(b, string(v.data))
	}
	b = binary.AppendVarint(b, int64(r.metaVersion))
	return appendBool(b, r.MetaCASRequired)
}

func decode(b []byte) (*record, error) {
	d := decoder{rest: b}
	if len(b) == 0 || b[0] != recordFormat && b[0] != oldFormat {
		return nil, fault.New(fault.Internal, "read key: unknown format")
	}
	d.rest = b[1:]
	r := &record{id: string(d.text()), created: d.time(), updated: d.time(), current: d.int()}
	r.MaxVersions = d.int()
	r.CASRequired, r.DeleteAfter = d.bool(), time.Duration(d.varint())
	for range d.count() {
		if r.custom == nil {
			r.custom = map[string]string{}
		}
		k := string(d.text())
		r.custom[k] = string(d.text())
	}
	if n := d.count(); n > 0 {
		r.versions = make([]version, 0, n+1)
		for range n {
			r.versions = append(r.versions, version{
				n: d.int(), created: d.time(), deleted: d.time(),
				destroyed: d.bool(), inline: d.bool(), data: d.text(),
			})
		}
	}
	if b[0] != oldFormat {
		r.metaVersion, r.MetaCASRequired = d.int(), d.bool()
	}
	if d.bad || len(d.rest) != 0 {
		return nil, fault.New(fault.Internal, "read key: broken record")
	}
	return r, nil
}

// decoder takes fields off the front of a record; bad is set at the first that
// does not fit.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) varint() int64 {
	n, size := binary.Varint(d.rest)
	if size <= 0 {
		d.bad, d.rest = true, nil
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *decoder) int() int   { return int(d.varint()) }
func (d *decoder) bool() bool { return d.varint() != 0 }

// count is a number of things that follow, each at least one byte long.
func (d *decoder) count() int {
	n := d.varint()
	if n < 0 || n > int64(len(d.rest)) {
		d.bad, d.rest = true, nil
		return 0
	}
	return int(n)
}

func (d *decoder) text() []byte {
	n := d.count()
	t := d.rest[:n:n]
	d.rest = d.rest[n:]
	return t
}

func (d *decoder) time() time.Time {
	n := d.varint()
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendVarint(b, int64(len(s))), s...)
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return binary.AppendVarint(b, 1)
	}
	return binary.AppendVarint(b, 0)
}
