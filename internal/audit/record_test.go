// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"
)

// same holds encode to package json, but for the hash at the end.
func same(t *testing.T, rec Record) {
	t.Helper()
	line, hash := encode(rec, rec.Prev)
	want, err := json.Marshal(bare{Record: rec})
	if err != nil {
		t.Fatal(err)
	}
	if want := string(want[:len(want)-1]) + hashOpen + hash + hashEnd; string(line) != want {
		t.Errorf("%s\nwant %s", line, want)
	}
	back, err := decode(line[:len(line)-1])
	if err != nil || back.Hash != hash {
		t.Errorf("does not read back: %+v, %v", back, err)
	}
}

// TestEncodeKnowsEveryField: a field added to Record must be added to encode.
func TestEncodeKnowsEveryField(t *testing.T) {
	same(t, Record{})
	rec := Record{Seq: 7, Time: time.Unix(1, 500).UTC(), Sealed: []byte{1, 2}}
	v := reflect.ValueOf(&rec).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.String {
			f.SetString(fmt.Sprintf("%d <&> \"\\\u2028", i))
		}
	}
	same(t, rec)
}

// FuzzEncode: whatever texts stand in a record, its line is that of package json.
func FuzzEncode(f *testing.F) {
	f.Add("secret/", "plain", uint64(1), []byte("sealed"))
	f.Add("\xff\x00", "\u2028<script>", uint64(0), []byte{})
	f.Fuzz(func(t *testing.T, mount, name string, seq uint64, sealed []byte) {
		same(t, Record{Seq: seq, Time: time.Unix(int64(seq%1e9), 0).UTC(), ID: mount, Mount: mount, Name: name, Reason: name, Sealed: sealed, Prev: "0af1"})
	})
}
