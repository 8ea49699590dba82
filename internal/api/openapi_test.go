// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/internal/api"
	"github.com/goldkeep/goldkeep/internal/server"
)

var update = flag.Bool("update", false, "write docs/openapi.json anew")

type object = map[string]any

func document(t *testing.T) (object, []byte) {
	t.Helper()
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	ok(t, enc.Encode(api.New(api.Options{Version: server.Version}).Document()))
	return decode[object](t, text.Bytes()), text.Bytes()
}

func TestTheDocumentIsTheOneInDocs(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "openapi.json")
	_, text := document(t)
	if *update {
		ok(t, os.WriteFile(path, text, 0o644))
	}
	if diff := cmp.Diff(string(must(os.ReadFile(path))(t)), string(text)); diff != "" {
		t.Errorf("docs/openapi.json is old; write it anew with: go test ./internal/api -run Document -update\n%s", diff)
	}
}

// TestTheDocumentIsValid checks what OpenAPI 3.1 asks for, as far as we use it.
func TestTheDocumentIsValid(t *testing.T) {
	doc, _ := document(t)
	if doc["openapi"] != "3.1.0" {
		t.Errorf("openapi is %v", doc["openapi"])
	}
	for _, field := range []string{"title", "version"} {
		if text, _ := doc["info"].(object)[field].(string); text == "" {
			t.Errorf("info.%s is missing", field)
		}
	}
	seen := map[string]bool{}
	for path, item := range doc["paths"].(object) {
		if !strings.HasPrefix(path, "/") {
			t.Errorf("path %s", path)
		}
		for method, op := range item.(object) {
			if !strings.Contains(" get put post delete ", " "+method+" ") {
				t.Errorf("%s: method %s", path, method)
			}
			checkOperation(t, method+" "+path, op.(object), seen)
		}
	}
	walk(t, doc, "#", func(at string, node object) {
		ref, isRef := node["$ref"].(string)
		if isRef && resolve(doc, ref) == nil {
			t.Errorf("%s: %s leads nowhere", at, ref)
		}
		if kind, isSchema := node["type"].(string); isSchema && strings.Contains(at, "schema") {
			checkSchema(t, at, kind, node)
		}
	})
}

func checkOperation(t *testing.T, at string, op object, seen map[string]bool) {
	t.Helper()
	id, _ := op["operationId"].(string)
	if id == "" || seen[id] || op["summary"] == "" {
		t.Errorf("%s: operationId %q is missing or not unique, or there is no summary", at, id)
	}
	seen[id] = true
	declared := map[string]bool{}
	for _, p := range op["parameters"].([]any) {
		param := p.(object)
		in, name := param["in"].(string), param["name"].(string)
		if declared[in+name] || param["schema"] == nil || in == "path" && param["required"] != true {
			t.Errorf("%s: parameter %v", at, param)
		}
		declared[in+name] = true
	}
	for _, m := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(at, -1) {
		if !declared["path"+m[1]] {
			t.Errorf("%s: path parameter %s is not declared", at, m[1])
		}
		delete(declared, "path"+m[1])
	}
	for key := range declared {
		if strings.HasPrefix(key, "path") {
			t.Errorf("%s: %s is not in the path", at, key)
		}
	}
	responses, _ := op["responses"].(object)
	if len(responses) < 2 || responses["default"] == nil {
		t.Errorf("%s: responses %v", at, responses)
	}
	for code, r := range responses {
		if r.(object)["description"] == "" || !regexp.MustCompile(`^([1-5]\d\d|default)$`).MatchString(code) {
			t.Errorf("%s: response %s %v", at, code, r)
		}
	}
}

func checkSchema(t *testing.T, at, kind string, schema object) {
	t.Helper()
	if !strings.Contains(" object array string boolean integer number apiKey ", " "+kind+" ") {
		t.Errorf("%s: type %s", at, kind)
	}
	if kind == "array" && schema["items"] == nil {
		t.Errorf("%s: an array without items", at)
	}
	properties, _ := schema["properties"].(object)
	required, _ := schema["required"].([]any)
	for _, name := range required {
		if properties[name.(string)] == nil {
			t.Errorf("%s: requires %s, which it does not have", at, name)
		}
	}
}

// walk calls fn for every object of the document.
func walk(t *testing.T, node any, at string, fn func(at string, node object)) {
	t.Helper()
	switch v := node.(type) {
	case object:
		fn(at, v)
		for key, value := range v {
			if value == nil {
				t.Errorf("%s/%s is null", at, key)
			}
			walk(t, value, at+"/"+key, fn)
		}
	case []any:
		for _, value := range v {
			walk(t, value, at, fn)
		}
	}
}

// resolve follows a JSON pointer in the document.
func resolve(doc object, ref string) any {
	var node any = doc
	for _, step := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
		inner, _ := node.(object)
		node = inner[step]
	}
	return node
}
