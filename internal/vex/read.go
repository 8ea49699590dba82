// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package vex

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// Parse reads a document in any of the formats. The error of a bad one is
// fault.Invalid or fault.TooLarge, names the line or the path ("statements[3].status")
// and means that nothing of it was read: a document is taken whole or not at all.
func Parse(data []byte) (*Document, error) {
	if len(data) > MaxDocument {
		return nil, fault.New(fault.TooLarge, "the document has %d bytes; the limit is %d", len(data), MaxDocument)
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !utf8.Valid(data) {
		return nil, fault.New(fault.Invalid, "the document is not UTF-8")
	}
	var head struct {
		Context   any             `json:"@context"`
		BOMFormat string          `json:"bomFormat"`
		Document  json.RawMessage `json:"document"`
	}
	if err := decode(data, &head); err != nil {
		return nil, err
	}
	context, _ := head.Context.(string)
	switch {
	case strings.HasPrefix(context, "https://openvex.dev/ns"):
		return readOpenVEX(data)
	case head.BOMFormat == "CycloneDX":
		return readCycloneDX(data)
	case len(head.Document) > 0:
		return readCSAF(data)
	}
	return nil, fault.New(fault.Invalid, "this is neither OpenVEX, nor CycloneDX, nor CSAF").
		WithHint("OpenVEX begins with \"@context\": \"https://openvex.dev/ns/v0.2.0\", CycloneDX with \"bomFormat\": \"CycloneDX\"")
}

// decode reads JSON and says on which line it is broken.
func decode(data []byte, v any) error {
	err := json.Unmarshal(data, v)
	if err == nil {
		return nil
	}
	var offset int64
	what := err.Error()
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &kind):
		offset = kind.Offset
		what = fmt.Sprintf("%s is a %s", kind.Field, kind.Value)
	}
	line := 1 + bytes.Count(data[:min(max(offset, 0), int64(len(data)))], []byte("\n"))
	return fault.New(fault.Invalid, "line %d of the document is not understood: %.300s", line, what)
}

// reader gathers statements, within the limits.
type reader struct {
	doc      *Document
	products int
}

func wrong(at, format string, args ...any) error {
	return fault.New(fault.Invalid, "%s: %s", at, fmt.Sprintf(format, args...))
}

// add checks a statement and takes it.
func (r *reader) add(s Statement) error {
	switch {
	case len(r.doc.Statements) >= maxStatements:
		return fault.New(fault.TooLarge, "the document has more than %d statements", maxStatements)
	case len(s.Names) == 0 || s.Names[0] == "":
		return wrong(s.At, "the flaw has no name")
	case len(s.Names) > maxNames:
		return wrong(s.At, "the flaw has more than %d names", maxNames)
	case s.Justification != "" && !Justified(s.Justification):
		return wrong(s.At, "the justification is %.80q; it must be one of %s", s.Justification, strings.Join(Justifications, ", "))
	}
	for _, name := range append([]string{s.ID}, s.Names...) {
		if err := checkName(s.At, name); err != nil {
			return err
		}
	}
	for _, text := range []string{s.Text, s.Action, s.Own.Author, s.Own.Imported} {
		if len(text) > maxText {
			return wrong(s.At, "a text has %d bytes; the limit is %d", len(text), maxText)
		}
	}
	for _, p := range s.Products {
		r.products += 1 + len(p.Packages)
		for _, name := range append([]string{p.ID}, p.Packages...) {
			if err := checkName(s.At+".products", name); err != nil {
				return err
			}
		}
	}
	if r.products > maxProducts {
		return fault.New(fault.TooLarge, "the document names more than %d products", maxProducts)
	}
	r.doc.Statements = append(r.doc.Statements, s)
	return nil
}

func checkName(at, name string) error {
	if len(name) > maxName {
		return wrong(at, "a name has %d bytes; the limit is %d", len(name), maxName)
	}
	if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return wrong(at, "a name has signs nobody can see: %.80q", name)
	}
	return nil
}

// newest is the latest of some times as written; an error names what is no time.
func newest(at string, texts ...string) (time.Time, error) {
	var latest time.Time
	for _, text := range texts {
		if text == "" {
			continue
		}
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return latest, wrong(at, "%.80q is no time (RFC 3339)", text)
		}
		if t.After(latest) {
			latest = t.UTC()
		}
	}
	return latest, nil
}

// joined puts texts together that say different things.
func joined(texts ...string) string {
	var out []string
	for _, t := range texts {
		if t = strings.TrimSpace(t); t != "" {
			out = append(out, t)
		}
	}
	return strings.Join(out, "\n\n")
}
