// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/internal/fault"
)

func TestRender(t *testing.T) {
	data := map[string]json.RawMessage{"api-key": json.RawMessage(`"a\"b$c\nd"`), "port": json.RawMessage(`5432`)}
	tests := map[string]struct {
		secret Secret
		value  Value
		files  map[string]string
		kind   fault.Kind
	}{
		"json file": {
			secret: Secret{File: "a.json"}, value: Value{File: "a.json", Format: "json", Value: `{"api-key":"a\"b$c\nd","port":5432}`},
			files: map[string]string{"a.json": `{"api-key":"a\"b$c\nd","port":5432}`},
		},
		"dotenv": {
			secret: Secret{File: "e", Format: "dotenv"},
			value:  Value{File: "e", Format: "dotenv", Value: "API_KEY=\"a\\\"b\\$c\\nd\"\nPORT=\"5432\"\n"},
			files:  map[string]string{"e": "API_KEY=\"a\\\"b\\$c\\nd\"\nPORT=\"5432\"\n"},
		},
		"field as variable": {
			secret: Secret{Env: "PORT", Field: "port"}, value: Value{Env: "PORT", Format: "json", Value: "5432"},
		},
		"all as variables": {
			secret: Secret{}, value: Value{Format: "json", Values: map[string]string{"API_KEY": "a\"b$c\nd", "PORT": "5432"}},
		},
		"a file each": {
			secret: Secret{File: "d/"}, value: Value{File: "d/", Format: "json", Values: map[string]string{}},
			files: map[string]string{"d/api-key": "a\"b$c\nd", "d/port": "5432"},
		},
		"raw of many": {secret: Secret{File: "x", Format: "raw"}, kind: fault.Invalid},
		"no field":    {secret: Secret{File: "x", Field: "y"}, kind: fault.NotFound},
		"no format":   {secret: Secret{File: "x", Format: "y"}, kind: fault.Invalid},
		"climbing":    {secret: Secret{File: "../x"}, kind: fault.Invalid},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			value, files, err := render(tc.secret, data)
			if tc.kind != 0 {
				if !fault.Is(err, tc.kind) {
					t.Errorf("err = %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got map[string]string
			for name, content := range files {
				if got == nil {
					got = map[string]string{}
				}
				got[name] = string(content)
			}
			if diff := cmp.Diff(tc.value, value) + cmp.Diff(tc.files, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func FuzzRender(f *testing.F) {
	f.Add("a/b", "json", `{"k":"v"}`)
	f.Add("../x", "raw", `{"../k":"v"}`)
	f.Add("d/", "dotenv", `{"..":1,"":2,"a/b":3}`)
	f.Fuzz(func(t *testing.T, file, format, text string) {
		var data map[string]json.RawMessage
		if json.Unmarshal([]byte(text), &data) != nil {
			return
		}
		_, files, err := render(Secret{File: file, Format: format}, data)
		for name := range files {
			if err == nil && (!filepath.IsLocal(name) || filepath.Clean(name) != name) {
				t.Errorf("file name %q", name)
			}
		}
	})
}
