// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/json"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/client"
)

// object is a JSON object of the document.
type object = map[string]any

func (e *Engine) openAPI(context.Context, *call) (any, error) { return e.Document(), nil }

// Document is the OpenAPI 3.1 description of the API, made from the operations.
func (e *Engine) Document() map[string]any {
	d := &describer{schemas: object{}}
	paths := object{}
	for _, op := range e.operations() {
		at, _ := paths[op.path].(object)
		if at == nil {
			at = object{}
			paths[op.path] = at
		}
		at[strings.ToLower(op.method)] = d.operation(op)
	}
	d.schemas["Problem"] = d.schema(reflect.TypeFor[problemSchema]())
	return object{
		"openapi": "3.1.0",
		"info": object{
			"title": "Goldkeep", "version": e.o.Version,
			"description": "Images, verdicts, environments, workloads and instances. Secrets are under /v1, the HTTP API of Vault and OpenBao.",
			"license":     object{"name": "Apache-2.0", "identifier": "Apache-2.0"},
		},
		"paths": paths,
		"components": object{
			"schemas":         d.schemas,
			"securitySchemes": object{"token": object{"type": "apiKey", "in": "header", "name": "X-Vault-Token"}},
		},
		"security": []any{object{"token": []any{}}},
	}
}

// problemSchema describes what errors look like on the wire.
type problemSchema struct {
	Type    string          `json:"type"`
	Title   string          `json:"title"`
	Status  int             `json:"status"`
	Detail  string          `json:"detail"`
	Kind    string          `json:"kind"`
	Hint    string          `json:"hint,omitempty"`
	Errors  []string        `json:"errors,omitempty"`
	Wanted  bool            `json:"wanted,omitempty"`
	Verdict *client.Verdict `json:"verdict,omitempty"`
}

// describer collects the schemas of named types.
type describer struct{ schemas object }

var placeholder = regexp.MustCompile(`\{(\w+)\}`)

func (d *describer) operation(op operation) object {
	params := []any{}
	for _, m := range placeholder.FindAllStringSubmatch(op.path, -1) {
		params = append(params, object{"name": m[1], "in": "path", "required": true, "schema": object{"type": "string"}})
	}
	for _, name := range op.query {
		params = append(params, object{"name": name, "in": "query", "schema": object{"type": "string"}})
	}
	out := object{
		"summary": op.summary, "operationId": operationID(op), "parameters": params,
		"responses": d.responses(op),
	}
	if op.open {
		out["security"] = []any{}
	}
	switch {
	case op.stream:
		out["requestBody"] = object{"required": true, "content": object{"application/octet-stream": object{}}}
	case op.in != nil:
		out["requestBody"] = object{"required": true, "content": content(d.schema(reflect.TypeOf(op.in)))}
	}
	return out
}

func (d *describer) responses(op operation) object {
	all := object{"default": object{
		"description": "what went wrong, and what to do",
		"content":     object{"application/problem+json": object{"schema": object{"$ref": "#/components/schemas/Problem"}}},
	}}
	if op.out == nil {
		all["204"] = object{"description": "done"}
	} else {
		all["200"] = object{"description": "the answer", "content": content(d.schema(reflect.TypeOf(op.out)))}
	}
	return all
}

func content(schema any) object { return object{"application/json": object{"schema": schema}} }

// operationID is "get_images_digest" for GET /api/v1/images/{digest}.
func operationID(op operation) string {
	path := strings.NewReplacer("/api/v1/", "", "/", "_", "{", "", "}", "", "-", "_", ".", "_").Replace(op.path)
	return strings.ToLower(op.method) + "_" + path
}

var (
	timeType = reflect.TypeFor[time.Time]()
	rawType  = reflect.TypeFor[json.RawMessage]()
)

func (d *describer) schema(t reflect.Type) any {
	switch {
	case t == timeType:
		return object{"type": "string", "format": "date-time"}
	case t == rawType:
		return object{} // any JSON
	}
	switch t.Kind() {
	case reflect.Pointer:
		return d.schema(t.Elem())
	case reflect.Slice:
		return object{"type": "array", "items": d.schema(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": d.schema(t.Elem())}
	case reflect.Struct:
		return d.structure(t)
	case reflect.Interface:
		return object{} // any JSON
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.String:
		return object{"type": "string"}
	default:
		return object{"type": "integer"}
	}
}

// structure describes a struct; a named one of the client package once, by name.
func (d *describer) structure(t reflect.Type) any {
	named := strings.HasSuffix(t.PkgPath(), "/client") && t.Name() != ""
	ref := object{"$ref": "#/components/schemas/" + t.Name()}
	if _, known := d.schemas[t.Name()]; named && known {
		return ref
	}
	if named {
		d.schemas[t.Name()] = nil // being described: a type may hold itself
	}
	properties, required := object{}, []string{}
	for i := range t.NumField() {
		name, options, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		properties[name] = d.schema(t.Field(i).Type)
		if !strings.Contains(options, "omit") {
			required = append(required, name)
		}
	}
	described := object{"type": "object", "properties": properties, "required": required}
	if !named {
		return described
	}
	d.schemas[t.Name()] = described
	return ref
}
