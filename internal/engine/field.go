// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// Fields reads the top-level fields of a request's body in the forms that
// clients are known to send: a number as a number or as text, a list as an
// array or as text with commas, a duration as seconds or as text. The first
// field that cannot be read is kept as the error; later reads go on.
type Fields struct {
	data map[string]json.RawMessage
	err  error
}

// Read starts reading a request's fields.
func Read(req *Request) *Fields { return &Fields{data: req.Data} }

// Err is the first problem met, of kind fault.Invalid.
func (f *Fields) Err() error { return f.err }

// Has reports whether a field is there and not null.
func (f *Fields) Has(name string) bool {
	raw, ok := f.data[name]
	return ok && string(raw) != "null"
}

// Raw is a field as it was sent, or nil.
func (f *Fields) Raw(name string) json.RawMessage { return f.data[name] }

// Text is a field as text. Numbers and booleans are taken as they were written.
func (f *Fields) Text(name string) string {
	if !f.Has(name) {
		return ""
	}
	s, ok := scalar(f.data[name])
	if !ok {
		f.fail(name, "text")
	}
	return s
}

// Int is a field as a whole number, or fallback where it is missing or empty.
func (f *Fields) Int(name string, fallback int) int {
	s := strings.TrimSpace(f.Text(name))
	if s == "" {
		return fallback
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		f.refuse(name, "int")
		return fallback
	}
	return n
}

// Bool is a field as yes or no, or fallback where it is missing or empty.
func (f *Fields) Bool(name string, fallback bool) bool {
	s := f.Text(name)
	if s == "" {
		return fallback
	}
	b, err := strconv.ParseBool(s)
	if err != nil {
		f.refuse(name, "bool")
		return fallback
	}
	return b
}

// Duration is a field as a duration, or 0 where it is missing or empty.
func (f *Fields) Duration(name string) time.Duration {
	text := f.Text(name)
	d, err := ParseDuration(text)
	if err != nil && f.err == nil {
		f.err = fault.New(fault.Invalid, "error converting input for field %q: %w", name, err)
	}
	return d
}

// refuse keeps an error in the words clients know, but for what was sent: it may be
// a secret in the wrong place.
func (f *Fields) refuse(name, want string) {
	if f.err == nil {
		f.err = fault.New(fault.Invalid, "Field validation failed: error converting input for field %q: cannot parse '' as %s: invalid syntax", name, want)
	}
}

// brief is enough of a text to see which was meant.
func brief(text string) string {
	if len(text) > 40 {
		return text[:40] + "..."
	}
	return text
}

// List is a field as a list of texts: an array, or one text with commas.
func (f *Fields) List(name string) []string {
	if !f.Has(name) {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(f.data[name]))
	if open, err := dec.Token(); err != nil || open != json.Delim('[') {
		return split(f.Text(name))
	}
	var list []string
	for dec.More() {
		var item json.RawMessage
		if len(list) == maxList || dec.Decode(&item) != nil {
			f.fail(name, fmt.Sprintf("a list of at most %d texts", maxList))
			return nil
		}
		s, ok := scalar(item)
		if !ok {
			f.fail(name, "a list of texts")
			return nil
		}
		list = append(list, s)
	}
	return list
}

// maxList bounds the items of a list of texts: each costs many times what it takes
// to write.
const maxList = 10_000

// Map is a field as a map of texts.
func (f *Fields) Map(name string) map[string]string {
	if !f.Has(name) {
		return nil
	}
	var items map[string]json.RawMessage
	if json.Unmarshal(f.data[name], &items) != nil {
		f.fail(name, "an object with texts")
		return nil
	}
	texts := make(map[string]string, len(items))
	for k, item := range items {
		s, ok := scalar(item)
		if !ok {
			f.fail(name, "an object with texts")
			return nil
		}
		texts[k] = s
	}
	return texts
}

// Pairs is a field as a map of texts: an object, or a list of texts like "key=value",
// which is all a command line can send.
func (f *Fields) Pairs(name string) map[string]string {
	if raw := strings.TrimSpace(string(f.data[name])); !f.Has(name) || strings.HasPrefix(raw, "{") {
		return f.Map(name)
	}
	pairs := map[string]string{}
	for _, text := range f.List(name) {
		key, value, found := strings.Cut(text, "=")
		if key = strings.TrimSpace(key); !found || key == "" {
			f.fail(name, `an object with texts, or a list like "key=value"`)
			return nil
		}
		pairs[key] = strings.TrimSpace(value)
	}
	return pairs
}

// Inner is a field as JSON: as it was sent or, where it is the text of a JSON object,
// that object.
func (f *Fields) Inner(name string) json.RawMessage {
	raw := f.data[name]
	var text string
	if json.Unmarshal(raw, &text) == nil && strings.HasPrefix(strings.TrimSpace(text), "{") && json.Valid([]byte(text)) {
		return json.RawMessage(text)
	}
	return raw
}

// Object is a field's own fields, empty where it is missing.
func (f *Fields) Object(name string) *Fields {
	inner := &Fields{}
	if f.Has(name) && json.Unmarshal(f.data[name], &inner.data) != nil {
		f.fail(name, "an object")
	}
	return inner
}

func (f *Fields) fail(name, want string) {
	if f.err == nil {
		f.err = fault.New(fault.Invalid, "field %q must be %s", name, want)
	}
}

// scalar is the text of a JSON string, number, boolean or null.
func scalar(raw json.RawMessage) (string, bool) {
	text := strings.TrimSpace(string(raw))
	switch {
	case text == "" || text[0] == '{' || text[0] == '[':
		return "", false
	case text == "null":
		return "", true
	case text[0] != '"':
		return text, true
	}
	var s string
	err := json.Unmarshal(raw, &s)
	return s, err == nil
}

func split(text string) []string {
	var list []string
	for _, s := range strings.Split(text, ",") {
		if s = strings.TrimSpace(s); s != "" {
			list = append(list, s)
		}
	}
	return list
}

// maxDuration keeps sums with the clock far from overflow.
const maxDuration = 100 * 365 * 24 * time.Hour

// ParseDuration reads seconds ("90"), Go's notation ("1h30m") or days ("5d").
// Empty is 0. Negative ones and those over a hundred years are errors.
func ParseDuration(text string) (time.Duration, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return 0, nil
	}
	d, err := parseDuration(text)
	switch {
	case err != nil:
		err = fault.New(fault.Invalid, "time: invalid duration %q", brief(text))
	case d < 0:
		err = fault.New(fault.Invalid, "cannot provide negative value '%d'", int64(d/time.Second))
	case d > maxDuration:
		err = fault.New(fault.Invalid, "time: invalid duration %q: over a hundred years", brief(text))
	default:
		return d, nil
	}
	return 0, err.(*fault.Error).WithHint(`want 90, "90s", "1h30m" or "5d"`)
}

func parseDuration(text string) (time.Duration, error) {
	unit := time.Second
	number := text
	if days, ok := strings.CutSuffix(text, "d"); ok {
		unit, number = 24*time.Hour, days
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return time.ParseDuration(text)
	}
	if n > int64(maxDuration/unit) {
		return maxDuration + 1, nil
	}
	return time.Duration(n) * unit, nil
}

// Bytes is a field as the bytes its base64 text stands for.
func (f *Fields) Bytes(name string) []byte {
	text := f.Text(name)
	if text == "" {
		return nil
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		f.fail(name, "base64")
	}
	return b
}

// Items is a field as a list of objects, each with fields of its own.
func (f *Fields) Items(name string) []*Fields {
	var items []map[string]json.RawMessage
	if f.Has(name) && json.Unmarshal(f.data[name], &items) != nil {
		f.fail(name, "a list of objects")
		return nil
	}
	list := make([]*Fields, len(items))
	for i, item := range items {
		list[i] = &Fields{data: item}
	}
	return list
}
