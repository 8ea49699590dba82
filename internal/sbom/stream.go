// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package sbom

import (
	"encoding/json"
	"errors"
	"io"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// maxDepth bounds how deep values may lie in one another.
const maxDepth = 64

// stream reads JSON token by token, so that a document costs no more memory than
// what is kept of it. The first error stays.
type stream struct {
	dec   *json.Decoder
	depth int
	err   error
}

func newStream(r io.Reader) *stream { return &stream{dec: json.NewDecoder(r)} }

func (s *stream) token() json.Token {
	if s.err != nil {
		return nil
	}
	t, err := s.dec.Token()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		s.err = fault.New(fault.Invalid, "read bill of materials: it is no JSON: %w", err)
		return nil
	}
	switch t {
	case json.Delim('{'), json.Delim('['):
		if s.depth++; s.depth > maxDepth {
			s.err = fault.New(fault.Invalid, "read bill of materials: values lie more than %d deep in one another", maxDepth)
		}
	case json.Delim('}'), json.Delim(']'):
		s.depth--
	}
	return t
}

// object calls fn for each key; fn takes the value. Another value is passed over.
func (s *stream) object(fn func(key string)) { s.either(fn, nil) }

// array calls fn for each value, which fn takes. Another value is passed over.
func (s *stream) array(fn func()) { s.either(nil, fn) }

// either takes an object or an array, whichever it is.
func (s *stream) either(field func(key string), element func()) {
	t := s.token()
	switch {
	case t == json.Delim('{') && field != nil:
		for s.err == nil && s.dec.More() {
			key, _ := s.token().(string) // a key is a string
			if s.err == nil {
				field(key)
			}
		}
		s.token()
	case t == json.Delim('[') && element != nil:
		for s.err == nil && s.dec.More() {
			element()
		}
		s.token()
	default:
		s.passOver(t)
	}
}

// text takes a string; another value is "".
func (s *stream) text() string {
	t := s.token()
	if text, ok := t.(string); ok {
		return text
	}
	s.passOver(t)
	return ""
}

// skip passes over a value.
func (s *stream) skip() { s.passOver(s.token()) }

// passOver passes over the rest of the value that began with t.
func (s *stream) passOver(t json.Token) {
	if t != json.Delim('{') && t != json.Delim('[') {
		return
	}
	for open := 1; open > 0 && s.err == nil; {
		switch s.token() {
		case json.Delim('{'), json.Delim('['):
			open++
		case json.Delim('}'), json.Delim(']'):
			open--
		}
	}
}
