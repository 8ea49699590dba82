// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/internal/store"
)

type word string

type base struct {
	Name  string   `json:"name"`
	Words []string `json:"words,omitempty"`
}

type row struct {
	base
	Kind   word              `json:"kind"`
	Count  int               `json:"count"`
	Small  int8              `json:"small,omitempty"`
	Wide   uint64            `json:"wide,omitempty"`
	Share  float64           `json:"share"`
	Yes    bool              `json:"yes"`
	Maybe  *bool             `json:"maybe,omitempty"`
	At     time.Time         `json:"at,omitzero"`
	Labels map[string]string `json:"labels,omitempty"`
	By     map[word][]int    `json:"by,omitempty"`
	Bytes  []byte            `json:"bytes,omitempty"`
	Raw    json.RawMessage   `json:"raw,omitempty"`
	Any    any               `json:"any,omitempty"`
	Rows   []row             `json:"rows,omitempty"`
	Next   *row              `json:"next,omitempty"`
	Pair   [2]int            `json:"pair"`
	Apart  struct {
		Name string `json:"name"`
	} `json:"apart"`
	Skipped string `json:"-"`
	Plain   string
}

func rows() []row {
	yes := true
	full := row{
		base: base{Name: "n <b@c> & \"d\" \\ \t\n\u2028 ü 漢 𝄞 \x00", Words: []string{"", "a", "a", strings.Repeat("long ", 40)}},
		Kind: "k", Count: math.MinInt64, Small: -128, Wide: math.MaxUint64, Share: 1.5e-300, Yes: true, Maybe: &yes,
		At: time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC), Labels: map[string]string{"a<": "b", "": ""}, By: map[word][]int{"x": {1, 2}, "y": nil},
		Bytes: []byte("bytes"), Raw: json.RawMessage(`{"a":[1,{"b":null}]}`), Any: "anything", Pair: [2]int{1, 2}, Plain: "invalid \xff",
	}
	nested := full
	nested.Rows, nested.Next = []row{full, {}}, &row{base: base{Name: "next"}}
	return []row{{}, full, nested, {base: base{Words: []string{}}, Labels: map[string]string{}, Rows: []row{}}}
}

var exported = cmp.AllowUnexported(row{})

func TestRowsAreReadAsEncodingJSONReadsThem(t *testing.T) {
	for i, r := range rows() {
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var want, got, quick row
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		if !store.Quick(text, &quick) {
			t.Errorf("row %d is not read the quick way: %s", i, text)
		}
		packed, err := store.Pack(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Unpack(packed, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, exported); diff != "" {
			t.Errorf("row %d (-encoding/json +unpacked):\n%s", i, diff)
		}
		if diff := cmp.Diff(want, quick, exported); diff != "" {
			t.Errorf("row %d (-encoding/json +quick):\n%s", i, diff)
		}
	}
}

func TestADamagedRowIsAnError(t *testing.T) {
	packed, err := store.Pack(rows()[1])
	if err != nil {
		t.Fatal(err)
	}
	packed[len(packed)/2] ^= 1
	if err := store.Unpack(packed, &row{}); err == nil {
		t.Error("a damaged row was read")
	}
	other, err := store.Pack("text")
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Unpack(other, &row{}); err == nil {
		t.Error("a row of another kind was read")
	}
}

// FuzzQuick: whatever is read the quick way encoding/json reads too, as the same.
func FuzzQuick(f *testing.F) {
	for _, r := range rows() {
		text, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	for _, text := range []string{
		`{"name":"a","name":"b"}`, `{"NAME":"a"}`, `{"name":"\ud834\udd1e"}`, `{"count":01}`, `{"count":1.0}`, `{"share":1e999}`, `{"share":-0.0e+5}`,
		`{"rows":[{"rows":[{}]}]}`, `{"apart":{"name":"x"}}`, `{"at":"2026-01-01"}`, `{"at":null}`, `null`, ` {}`, `{}x`, `{"words":null,"maybe":null}`, `{"small":300}`,
		`{"by":{"x":[1],"x":[2,3]}}`, `{"name":"\u00zz"}`, `{"name":"\x"}`, `{"pair":[1,2,3]}`, `{"any":{"a":[1]}}`, `{"raw": [1] }`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var quick, want row
		if !store.Quick(text, &quick) {
			return
		}
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatalf("read the quick way, and encoding/json says %v: %q", err, text)
		}
		if !reflect.DeepEqual(want, quick) && cmp.Diff(want, quick, exported) != "" {
			t.Errorf("%q (-encoding/json +quick):\n%s", text, cmp.Diff(want, quick, exported))
		}
	})
}
