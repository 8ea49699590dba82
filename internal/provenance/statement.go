// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package provenance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/url"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
)

// The statement types that are read; the first is written.
const (
	statementV1  = "https://in-toto.io/Statement/v1"
	statementV01 = "https://in-toto.io/Statement/v0.1"
)

// Statement is what is signed: something said (the predicate) of a subject.
type Statement struct {
	Type          string          `json:"_type"`
	Subject       []Subject       `json:"subject"`
	PredicateType string          `json:"predicateType"`
	Predicate     json.RawMessage `json:"predicate"`
}

// Subject names an artifact by its digests.
type Subject struct {
	Name   string            `json:"name,omitempty"`
	Digest map[string]string `json:"digest"`
}

// NewStatement says something of a manifest. The predicate is one JSON object.
func NewStatement(manifest image.Digest, predicateType string, predicate []byte) (*Statement, error) {
	if u, err := url.Parse(predicateType); err != nil || u.Scheme == "" {
		return nil, fault.New(fault.Invalid, "the predicate type %.200q is no URI", predicateType)
	}
	if _, err := object("predicate", predicate); err != nil {
		return nil, err
	}
	return &Statement{
		Type: statementV1, Subject: []Subject{{Digest: map[string]string{"sha256": manifest.Hex()}}},
		PredicateType: predicateType, Predicate: predicate,
	}, nil
}

// ParseStatement reads a statement, of at most 16 MiB. Field names count as they are written, and
// a field that stands twice is refused: two readers must not see two statements.
func ParseStatement(payload []byte) (*Statement, error) {
	if len(payload) > maxBundle {
		return nil, fault.New(fault.TooLarge, "read statement: %d bytes; at most %d are read", len(payload), maxBundle)
	}
	fields, err := object("statement", payload)
	if err != nil {
		return nil, err
	}
	s := &Statement{Predicate: fields["predicate"]}
	for name, into := range map[string]any{"_type": &s.Type, "predicateType": &s.PredicateType, "subject": &s.Subject} {
		if err := json.Unmarshal(fields[name], into); err != nil {
			return nil, fault.New(fault.Invalid, "read statement: its %s is missing or not understood", name)
		}
	}
	switch {
	case s.Type != statementV1 && s.Type != statementV01:
		return nil, fault.New(fault.Invalid, "read statement: its type %.100q is not known", s.Type)
	case s.PredicateType == "":
		return nil, fault.New(fault.Invalid, "read statement: it has no predicate type")
	case len(s.Subject) > maxSubjects:
		return nil, fault.New(fault.TooLarge, "read statement: %d subjects; at most %d are read", len(s.Subject), maxSubjects)
	}
	return s, nil
}

// about reports whether one of the subjects is the manifest.
func (s *Statement) about(manifest image.Digest) bool {
	for _, subject := range s.Subject {
		if manifest != "" && subject.Digest["sha256"] == manifest.Hex() {
			return true
		}
	}
	return false
}

// result is what a verification summary or a test result came to.
func (s *Statement) result() string {
	field := map[string]string{VerificationSummary: "verificationResult", TestResult: "result"}[s.PredicateType]
	if field == "" {
		return ""
	}
	var text string
	if fields, err := object("predicate", s.Predicate); err == nil && fields[field] != nil {
		_ = json.Unmarshal(fields[field], &text) // what is no text is no result
	}
	return text
}

// object reads one JSON object, by exact field names, none of them twice.
func object(what string, data []byte) (map[string]json.RawMessage, error) {
	bad := func(why string) error { return fault.New(fault.Invalid, "read %s: %s", what, why) }
	dec := json.NewDecoder(bytes.NewReader(data))
	if start, err := dec.Token(); err != nil || start != json.Delim('{') {
		return nil, bad("it is no JSON object")
	}
	fields := map[string]json.RawMessage{}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, bad("it is no JSON object: " + err.Error())
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, bad("it is no JSON object: " + err.Error())
		}
		if _, twice := fields[fmt.Sprint(name)]; twice {
			return nil, bad(fmt.Sprintf("the field %.100q stands in it twice", name))
		}
		fields[fmt.Sprint(name)] = value
	}
	if _, err := dec.Token(); err != nil {
		return nil, bad("it is cut short")
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, bad("there is text after it")
	}
	return fields, nil
}
