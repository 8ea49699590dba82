// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"strings"
)

// Document is an OpenAPI 3.0 document of what mounts offer.
type Document struct {
	OpenAPI    string                    `json:"openapi"`
	Info       map[string]any            `json:"info"`
	Paths      map[string]map[string]any `json:"paths"`
	Components map[string]any            `json:"components"`
}

// NewDocument starts a document.
func NewDocument(title, version string) *Document {
	return &Document{
		OpenAPI: "3.0.2", Paths: map[string]map[string]any{}, Components: map[string]any{"schemas": map[string]any{}},
		Info: map[string]any{
			"title": title, "version": version, "description": "HTTP API that gives you full access to the secrets.",
			"license": map[string]string{"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
		},
	}
}

// Add puts routes of a mount into the document.
func (d *Document) Add(slot *Slot, routes []Route) {
	for _, r := range routes {
		path := "/" + slot.Mount.Path + strings.ReplaceAll(r.Path, "...}", "}")
		d.Paths[path] = r.document(slot)
	}
}

func (r Route) document(slot *Slot) map[string]any {
	item := map[string]any{"description": r.Help}
	if MatchPath(slot.Special.Sudo, r.Path) {
		item["x-vault-sudo"] = true
	}
	if MatchPath(slot.Special.Open, r.Path) {
		item["x-vault-unauthenticated"] = true
	}
	body, inPath := r.schemas()
	if len(inPath) > 0 {
		item["parameters"] = inPath
	}
	for _, o := range []struct {
		verb, does string
		handler    Handler
	}{
		{"get", "read", r.Ops.Read},
		{"get", "list", r.Ops.List},
		{"post", "write", r.Ops.Write},
		{"patch", "patch", r.Ops.Patch},
		{"delete", "delete", r.Ops.Delete},
	} {
		if o.handler == nil {
			continue
		}
		if _, both := item[o.verb]; both && o.does == "list" {
			continue
		}
		item[o.verb] = r.operation(slot, o.does, body)
	}
	return item
}

func (r Route) operation(slot *Slot, does string, body map[string]any) map[string]any {
	op := map[string]any{
		"summary": r.Help, "operationId": operationID(slot.Mount.Path, r.Path, does), "tags": []string{tag(slot)},
		"responses": map[string]any{"200": map[string]string{"description": "OK"}},
	}
	switch does {
	case "list":
		op["parameters"] = []any{map[string]any{
			"name": "list", "in": "query", "required": true, "schema": map[string]any{"type": "string", "enum": []string{"true"}},
		}}
	case "write", "patch":
		if body != nil {
			op["requestBody"] = map[string]any{"content": map[string]any{"application/json": map[string]any{"schema": body}}}
		}
	case "delete":
		op["responses"] = map[string]any{"204": map[string]string{"description": "empty body"}}
	}
	return op
}

// schemas are the schema of the body, nil where nothing is taken, and the parameters
// in the path.
func (r Route) schemas() (body map[string]any, inPath []any) {
	properties := map[string]any{}
	for _, f := range r.Fields() {
		if strings.Contains(r.Path, "{"+f.Name+"}") || strings.Contains(r.Path, "{"+f.Name+"...}") {
			inPath = append(inPath, map[string]any{"name": f.Name, "in": "path", "required": true, "schema": schema(f.Type)})
			continue
		}
		properties[f.Name] = schema(f.Type)
	}
	if len(properties) == 0 && r.Takes != "*" {
		return nil, inPath
	}
	return map[string]any{"type": "object", "properties": properties}, inPath
}

func schema(kind string) map[string]any {
	switch kind {
	case "duration":
		return map[string]any{"type": "string", "format": "duration"}
	case "list":
		return map[string]any{"type": "array", "items": map[string]string{"type": "string"}}
	case "map":
		return map[string]any{"type": "object"}
	case "any":
		return map[string]any{}
	}
	return map[string]any{"type": kind}
}

func tag(slot *Slot) string {
	switch {
	case slot.Mount.Auth():
		return "auth"
	case slot.Mount.Path == "sys/":
		return "system"
	}
	return "secrets"
}

// operationID is a name of its own for each operation: "kv-write-data-key".
func operationID(mount, path, does string) string {
	words := strings.FieldsFunc(mount+does+"/"+path, func(c rune) bool { return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9') })
	return strings.Join(words, "-")
}
