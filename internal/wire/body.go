// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"unicode/utf8"

	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/policy"
)

// The limits of a request body, besides its size.
const (
	maxDepth  = 500    // of nested objects and arrays
	maxFields = 10_000 // at the top level
)

// errJSON is a body that is not what it must be.
func errJSON(format string, args ...any) error {
	return fault.New(fault.Invalid, "error parsing JSON").WithHint(format, args...)
}

// readFields reads a body's top-level fields. It is JSON whatever it is called,
// but for a form that does not look like JSON. Values are kept as they came.
func readFields(r *http.Request, body io.Reader, op policy.Capability) (map[string]json.RawMessage, error) {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if op == policy.Patch && kind != "application/merge-patch+json" {
		return nil, engine.WithStatus(
			fault.New(fault.Invalid, "PATCH requires Content-Type of application/merge-patch+json, provided %s", kind), http.StatusUnsupportedMediaType)
	}
	raw, err := readAll(body, r.ContentLength)
	if err != nil {
		return nil, err
	}
	raw = bytes.TrimSpace(raw)
	if kind == "application/x-www-form-urlencoded" && len(raw) > 0 && raw[0] != '{' && raw[0] != '[' {
		return formFields(raw)
	}
	return jsonFields(raw)
}

// readAll reads a body whose length may be known; a claimed length is believed
// only as far as it is cheap.
func readAll(body io.Reader, length int64) ([]byte, error) {
	var b bytes.Buffer
	if length > 0 {
		b.Grow(int(min(length, 64<<10)) + bytes.MinRead)
	}
	_, err := b.ReadFrom(body)
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, fault.New(fault.TooLarge, "the request body is over %d bytes", tooLarge.Limit)
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "the request body could not be read to its end")
	}
	return b.Bytes(), nil
}

func jsonFields(raw []byte) (map[string]json.RawMessage, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return map[string]json.RawMessage{}, nil
	}
	if raw[0] != '{' {
		return nil, errJSON("the request body must be a JSON object")
	}
	if !utf8.Valid(raw) {
		return nil, fault.New(fault.Invalid, "error parsing JSON: the request body is not UTF-8")
	}
	switch deepest, width := measure(raw); {
	case deepest > maxDepth:
		return nil, fault.New(fault.Invalid, "the request body is nested over %d deep", maxDepth)
	case width > maxFields:
		return nil, fault.New(fault.Invalid, "the request body has over %d fields", maxFields)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, errJSON("the request body is no JSON object")
	}
	return fields, nil
}

// tooDeep reports whether brackets nest over limit, before anybody recurses
// into them. Text that is no JSON may give any answer.
func tooDeep(raw []byte, limit int) bool {
	depth, _ := measure(raw)
	return depth > limit
}

// measure says how deep brackets nest, and how many fields the outermost ones hold,
// before anything is made of them.
func measure(raw []byte) (deepest, fields int) {
	depth, quoted := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
			deepest = max(deepest, depth)
		case c == '}' || c == ']':
			depth--
		case c == ',' && depth == 1:
			fields++
		}
	}
	return deepest, fields + 1
}

func formFields(raw []byte) (map[string]json.RawMessage, error) {
	values, err := url.ParseQuery(string(raw))
	if err != nil {
		return nil, fault.New(fault.Invalid, "the request body is no form")
	}
	if len(values) > maxFields {
		return nil, fault.New(fault.Invalid, "the request body has over %d fields", maxFields)
	}
	return queryFields(values), nil
}

// readQuery is the fields of a read: its query, without what only says how to read.
func readQuery(query map[string][]string) map[string]json.RawMessage {
	fields := queryFields(query)
	for _, name := range []string{"list", "scan", "help"} {
		delete(fields, name)
	}
	return fields
}

// queryFields turns a query's or a form's values into JSON strings.
func queryFields(values map[string][]string) map[string]json.RawMessage {
	if len(values) == 0 {
		return nil
	}
	fields := make(map[string]json.RawMessage, len(values))
	for name, list := range values {
		if len(list) == 0 {
			continue
		}
		var raw []byte
		if len(list) == 1 {
			raw, _ = json.Marshal(list[0]) // texts always marshal
		} else {
			raw, _ = json.Marshal(list)
		}
		fields[name] = raw
	}
	return fields
}
