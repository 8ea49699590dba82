// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package kv

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// appendMetadata writes what is told about one version:
// {"created_time":...,"custom_metadata":...,"deletion_time":...,"destroyed":...,"version":...}.
func appendMetadata(b []byte, rec *record, v *version) []byte {
	b = append(b, `{"created_time":`...)
	b = appendTime(b, v.created)
	b = append(b, `,"custom_metadata":`...)
	b = appendCustom(b, rec.custom)
	b = append(b, `,"deletion_time":`...)
	b = appendTime(b, v.deleted)
	b = append(b, `,"destroyed":`...)
	b = strconv.AppendBool(b, v.destroyed)
	b = append(b, `,"version":`...)
	b = strconv.AppendInt(b, int64(v.n), 10)
	return append(b, '}')
}

func appendTime(b []byte, t time.Time) []byte {
	b = append(b, '"')
	if !t.IsZero() {
		b = t.UTC().AppendFormat(b, time.RFC3339Nano)
	}
	return append(b, '"')
}

func appendCustom(b []byte, custom map[string]string) []byte {
	if custom == nil {
		return append(b, "null"...)
	}
	b = append(b, '{')
	for i, k := range slices.Sorted(maps.Keys(custom)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(engine.AppendText(b, k), ':')
		b = engine.AppendText(b, custom[k])
	}
	return append(b, '}')
}

// maxPatchDepth bounds the recursion of merge and subkeys, each of which reads the rest again.
const maxPatchDepth = 100

// merge applies a JSON merge patch (RFC 7396) without touching what the patch
// does not name.
func merge(target, patch json.RawMessage, depth int) (json.RawMessage, error) {
	if depth > maxPatchDepth {
		return nil, fault.New(fault.Invalid, "the patch is nested over %d deep", maxPatchDepth)
	}
	changes, ok := object(patch)
	if !ok {
		return patch, nil
	}
	fields, ok := object(target)
	if !ok {
		fields = map[string]json.RawMessage{}
	}
	for name, change := range changes {
		if bytes.Equal(bytes.TrimSpace(change), []byte("null")) {
			delete(fields, name)
			continue
		}
		merged, err := merge(fields[name], change, depth+1)
		if err != nil {
			return nil, err
		}
		fields[name] = merged
	}
	return engine.AppendObject(nil, fields), nil
}

// subkeys replaces every leaf by null; at depth (0: no limit) objects too.
func subkeys(data json.RawMessage, depth, level int) json.RawMessage {
	fields, ok := object(data)
	if !ok || len(fields) == 0 || level > maxPatchDepth || depth > 0 && level >= depth {
		return json.RawMessage("null")
	}
	for name, value := range fields {
		fields[name] = subkeys(value, depth, level+1)
	}
	return engine.AppendObject(nil, fields)
}

func object(raw json.RawMessage) (map[string]json.RawMessage, bool) {
	trimmed := bytes.TrimSpace(raw)
	if len(trimmed) == 0 || trimmed[0] != '{' {
		return nil, false
	}
	var fields map[string]json.RawMessage
	return fields, json.Unmarshal(trimmed, &fields) == nil
}
