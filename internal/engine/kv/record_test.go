// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package kv

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func sample() *record {
	now := time.Date(2026, 11, 22, 8, 0, 0, 123, time.UTC)
	r := newRecord(now)
	r.current, r.custom = 3, map[string]string{"a": "b"}
	r.settings = settings{MaxVersions: 7, CASRequired: true, DeleteAfter: time.Hour}
	r.versions = []version{
		{n: 1, created: now, destroyed: true},
		{n: 2, created: now, deleted: now},
		{n: 3, created: now, inline: true, data: json.RawMessage(`{"k":1.10}`)},
	}
	return r
}

func TestRecordKeepsAll(t *testing.T) {
	want := sample()
	got, err := decode(want.encode())
	if err != nil {
		t.Fatal(err)
	}
	for i := range got.versions {
		if len(got.versions[i].data) == 0 {
			got.versions[i].data = nil
		}
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(record{}, version{})); diff != "" {
		t.Error(diff)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(sample().encode())
	f.Add([]byte{recordFormat})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decode(b)
		if err != nil {
			return
		}
		if _, err := decode(r.encode()); err != nil {
			t.Errorf("what was read cannot be written: %v", err)
		}
	})
}

// TestMerge has the examples of RFC 7396, appendix A, that have an object on top.
func TestMerge(t *testing.T) {
	for _, c := range [][3]string{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`{"e":null}`, `{"a":1}`, `{"a":1,"e":null}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
		{`{"n":9007199254740993}`, `{"d":1.10}`, `{"d":1.10,"n":9007199254740993}`},
	} {
		got, err := merge(json.RawMessage(c[0]), json.RawMessage(c[1]), 0)
		if err != nil || string(got) != c[2] {
			t.Errorf("%s + %s = %s, %v; want %s", c[0], c[1], got, err, c[2])
		}
	}
}

func TestSubkeys(t *testing.T) {
	data := json.RawMessage(`{"a":{"b":{"c":1}},"d":[{"e":2}],"f":"g","h":{}}`)
	for depth, want := range map[int]string{
		0: `{"a":{"b":{"c":null}},"d":null,"f":null,"h":null}`,
		1: `{"a":null,"d":null,"f":null,"h":null}`,
		2: `{"a":{"b":null},"d":null,"f":null,"h":null}`,
	} {
		if got := subkeys(data, depth, 0); string(got) != want {
			t.Errorf("depth %d: %s, want %s", depth, got, want)
		}
	}
}
