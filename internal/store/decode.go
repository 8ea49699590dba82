// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strconv"
	"unicode/utf8"
)

// Rows are JSON that json.Marshal wrote, and a fleet's are read by the thousand. What
// follows reads just that: no white space, keys as they are written, in any order.
// Whatever else it meets it leaves to encoding/json, which has the last word.

// decode fills v, a pointer to a zero value, from JSON.
func decode(text []byte, v any) error {
	to := reflect.ValueOf(v)
	if to.Kind() == reflect.Pointer && !to.IsNil() && to.Elem().IsZero() {
		q := quick{text: text}
		if readerOf(to.Type().Elem())(&q, to.Elem()) && q.at == len(text) {
			return nil
		}
		to.Elem().SetZero()
	}
	return json.Unmarshal(text, v)
}

// quick is JSON being read.
type quick struct {
	text  []byte
	at    int
	depth int
	seen  [256]string // short strings that were read lately: most come again
}

// maxDepth bounds lists in lists; encoding/json goes on where this ends.
const maxDepth = 100

// next takes a byte, if it is the next one.
func (q *quick) next(b byte) bool {
	if q.at < len(q.text) && q.text[q.at] == b {
		q.at++
		return true
	}
	return false
}

// word takes a word, if it is the next one.
func (q *quick) word(w string) bool {
	if len(q.text)-q.at >= len(w) && string(q.text[q.at:q.at+len(w)]) == w {
		q.at += len(w)
		return true
	}
	return false
}

// str reads a string.
func (q *quick) str() (string, bool) {
	if !q.next('"') {
		return "", false
	}
	start, ascii := q.at, true
	for ; q.at < len(q.text); q.at++ {
		switch b := q.text[q.at]; {
		case b == '"':
			raw := q.text[start:q.at]
			q.at++
			return q.kept(raw), ascii || utf8.Valid(raw)
		case b == '\\':
			return q.escaped(start)
		case b < ' ':
			return "", false
		case b >= utf8.RuneSelf:
			ascii = false
		}
	}
	return "", false
}

// kept is a string of its own; equal ones are often the same.
func (q *quick) kept(raw []byte) string {
	n := len(raw)
	if n == 0 {
		return ""
	}
	if n > 48 {
		return string(raw)
	}
	slot := &q.seen[byte(n*31)^raw[0]^raw[n-1]*5^raw[n/2]*17]
	if *slot != string(raw) {
		*slot = string(raw)
	}
	return *slot
}

// escaped reads the rest of a string in which something is escaped.
func (q *quick) escaped(start int) (string, bool) {
	out := append(make([]byte, 0, 2*(q.at-start)+32), q.text[start:q.at]...)
	for q.at < len(q.text) {
		b := q.text[q.at]
		q.at++
		switch {
		case b == '"':
			return string(out), utf8.Valid(out)
		case b < ' ':
			return "", false
		case b != '\\':
			out = append(out, b)
			continue
		}
		r, ok := q.escape()
		if !ok {
			return "", false
		}
		out = utf8.AppendRune(out, r)
	}
	return "", false
}

// escape reads what follows a backslash.
func (q *quick) escape() (rune, bool) {
	if q.at >= len(q.text) {
		return 0, false
	}
	b := q.text[q.at]
	q.at++
	if b != 'u' {
		at := bytes.IndexByte([]byte(`"\/bfnrt`), b)
		if at < 0 {
			return 0, false
		}
		return rune("\"\\/\b\f\n\r\t"[at]), true
	}
	if len(q.text)-q.at < 4 {
		return 0, false
	}
	n, err := strconv.ParseUint(string(q.text[q.at:q.at+4]), 16, 16)
	q.at += 4
	return rune(n), err == nil && utf8.ValidRune(rune(n)) // halves of a pair are rare
}

// number reads a number as JSON writes it.
func (q *quick) number() (string, bool) {
	start := q.at
	q.next('-')
	if !q.next('0') && !q.digits() {
		return "", false
	}
	if q.next('.') && !q.digits() {
		return "", false
	}
	if q.next('e') || q.next('E') {
		if !q.next('-') {
			q.next('+')
		}
		if !q.digits() {
			return "", false
		}
	}
	return string(q.text[start:q.at]), true
}

func (q *quick) digits() bool {
	start := q.at
	for q.at < len(q.text) && q.text[q.at] >= '0' && q.text[q.at] <= '9' {
		q.at++
	}
	return q.at > start
}

// raw finds the end of a value and returns its text.
func (q *quick) raw() ([]byte, bool) {
	d := json.NewDecoder(bytes.NewReader(q.text[q.at:]))
	var text json.RawMessage
	if d.Decode(&text) != nil {
		return nil, false
	}
	q.at += int(d.InputOffset())
	return text, true
}
