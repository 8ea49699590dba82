// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/hashicorp/hcl/hcl/ast"
	"github.com/hashicorp/hcl/hcl/parser"
	"github.com/hashicorp/hcl/hcl/scanner"
	hclstrconv "github.com/hashicorp/hcl/hcl/strconv"
	"github.com/hashicorp/hcl/hcl/token"
)

// maxDepth is how deep brackets may nest. The HCL parser calls itself for each
// level, so the depth is counted before it runs.
const maxDepth = 16

// kind is what a node of the text is.
type kind int

const (
	text kind = iota
	number
	boolean
	null
	list
	object
)

// node is a piece of a policy's text, the same for HCL and JSON.
type node struct {
	kind   kind
	line   int
	text   string // of text, number and boolean
	items  []node // of list
	fields []field
}

// field is one key of an object. HCL's `path "x" {` is a field path with an
// object that has one field x.
type field struct {
	name string
	line int
	val  node
}

// SyntaxError is what is wrong with a text, and where.
type SyntaxError struct {
	Line int // 0: not known
	Text string
	wire string
}

// Error implements error.
func (e *SyntaxError) Error() string {
	if e.Line <= 0 {
		return e.Text
	}
	return fmt.Sprintf("line %d: %s", e.Line, e.Text)
}

// Wire is the error in the words that clients of /v1 know, where there are such.
func (e *SyntaxError) Wire() string {
	if e.wire == "" {
		return e.Error()
	}
	return e.wire
}

// lineError is an error at a line of the text.
func lineError(line int, format string, args ...any) error {
	return &SyntaxError{Line: line, Text: fmt.Errorf(format, args...).Error()}
}

// knownError is a lineError that /v1 tells in other words.
func knownError(line int, wire, format string, args ...any) error {
	return &SyntaxError{Line: line, Text: fmt.Sprintf(format, args...), wire: wire}
}

// readSyntax reads a text as JSON where it starts with "{", as HCL otherwise.
func readSyntax(src []byte) (node, error) {
	if rest := bytes.TrimSpace(src); len(rest) > 0 && rest[0] == '{' {
		return readJSON(src)
	}
	return readHCL(src)
}

func readHCL(src []byte) (n node, err error) {
	if err := checkDepth(src); err != nil {
		return node{}, err
	}
	// The parser is a library fed with text from outside: a fault of it must cost
	// one answer, not the server.
	defer func() {
		if recover() != nil {
			err = errors.New("not valid HCL")
		}
	}()
	f, err := parser.ParseDontErrorOnDuplicateKeys(src)
	if err != nil {
		return node{}, knownError(0, err.Error(), "not valid HCL: %v", err)
	}
	top, ok := f.Node.(*ast.ObjectList)
	if !ok {
		return node{}, errors.New("not valid HCL")
	}
	return fromList(top, 1)
}

// checkDepth counts nesting on tokens, so that brackets in strings and comments
// do not matter.
func checkDepth(src []byte) error {
	s := scanner.New(src)
	var bad error
	s.Error = func(pos token.Pos, msg string) {
		if bad == nil {
			bad = lineError(pos.Line, "not valid HCL: %s", msg)
		}
	}
	depth := 0
	for bad == nil {
		t := s.Scan()
		switch t.Type {
		case token.EOF:
			return bad
		case token.ILLEGAL:
			return lineError(t.Pos.Line, "not valid HCL: unexpected character")
		case token.LBRACE, token.LBRACK:
			if depth++; depth > maxDepth {
				return lineError(t.Pos.Line, "brackets nest deeper than %d", maxDepth)
			}
		case token.RBRACE, token.RBRACK:
			depth--
		}
	}
	return bad
}

func fromList(l *ast.ObjectList, line int) (node, error) {
	n := node{kind: object, line: line}
	for _, item := range l.Items {
		val, err := fromAST(item.Val)
		if err != nil {
			return node{}, err
		}
		if len(item.Keys) == 0 {
			return node{}, lineError(line, "a block has no name")
		}
		f := field{val: val}
		for i := len(item.Keys) - 1; i >= 0; i-- {
			tok := item.Keys[i].Token
			name, err := keyText(tok)
			if err != nil {
				return node{}, err
			}
			f = field{name: name, line: tok.Pos.Line, val: f.val}
			if i > 0 {
				f.val = node{kind: object, line: tok.Pos.Line, fields: []field{f}}
			}
		}
		n.fields = append(n.fields, f)
	}
	return n, nil
}

func fromAST(a ast.Node) (node, error) {
	switch v := a.(type) {
	case *ast.ObjectType:
		return fromList(v.List, v.Lbrace.Line)
	case *ast.ListType:
		n := node{kind: list, line: v.Lbrack.Line}
		for _, item := range v.List {
			val, err := fromAST(item)
			if err != nil {
				return node{}, err
			}
			n.items = append(n.items, val)
		}
		return n, nil
	case *ast.LiteralType:
		return fromLiteral(v.Token)
	}
	return node{}, errors.New("not valid HCL")
}

func fromLiteral(t token.Token) (node, error) {
	n := node{line: t.Pos.Line, text: t.Text}
	switch t.Type {
	case token.STRING:
		s, err := hclstrconv.Unquote(t.Text)
		if err != nil {
			return node{}, lineError(t.Pos.Line, "a string is not closed or has a wrong escape")
		}
		n.text = s
	case token.NUMBER, token.FLOAT:
		n.kind = number
	case token.BOOL:
		n.kind = boolean
	default:
		return node{}, lineError(t.Pos.Line, "only quoted strings, numbers, true and false are values here")
	}
	return n, nil
}

func keyText(t token.Token) (string, error) {
	if t.Type != token.STRING {
		return t.Text, nil
	}
	s, err := hclstrconv.Unquote(t.Text)
	if err != nil {
		return "", lineError(t.Pos.Line, "a name is not closed or has a wrong escape")
	}
	return s, nil
}

// readJSON reads token by token, because duplicate keys, which a map would
// drop, count here as they do in HCL.
func readJSON(src []byte) (node, error) {
	r := &jsonReader{src: src, dec: json.NewDecoder(bytes.NewReader(src))}
	r.dec.UseNumber()
	n, err := r.value(0)
	if err != nil {
		return node{}, err
	}
	if _, err := r.dec.Token(); !errors.Is(err, io.EOF) {
		return node{}, lineError(r.line(), "not valid JSON: there is more after the policy")
	}
	return n, nil
}

type jsonReader struct {
	src []byte
	dec *json.Decoder
	at  int // the offset up to which lines have been counted
	n   int // lines before at
}

// line is the line the decoder has come to.
func (r *jsonReader) line() int {
	to := int(r.dec.InputOffset())
	r.n += bytes.Count(r.src[r.at:to], []byte("\n"))
	r.at = to
	return r.n + 1
}

func (r *jsonReader) token() (json.Token, error) {
	t, err := r.dec.Token()
	if err != nil {
		return nil, lineError(r.line(), "not valid JSON: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	return t, nil
}

func (r *jsonReader) value(depth int) (node, error) {
	t, err := r.token()
	if err != nil {
		return node{}, err
	}
	n := node{line: r.line()}
	switch v := t.(type) {
	case string:
		n.text = v
	case json.Number:
		n.kind, n.text = number, v.String()
	case bool:
		n.kind, n.text = boolean, fmt.Sprint(v)
	case nil:
		n.kind = null
	case json.Delim:
		if depth >= maxDepth {
			return node{}, lineError(n.line, "brackets nest deeper than %d", maxDepth)
		}
		if v == '[' {
			return r.list(n, depth)
		}
		return r.object(n, depth)
	}
	return n, nil
}

func (r *jsonReader) list(n node, depth int) (node, error) {
	n.kind = list
	for r.dec.More() {
		item, err := r.value(depth + 1)
		if err != nil {
			return node{}, err
		}
		n.items = append(n.items, item)
	}
	_, err := r.token()
	return n, err
}

func (r *jsonReader) object(n node, depth int) (node, error) {
	n.kind = object
	for r.dec.More() {
		key, err := r.token()
		if err != nil {
			return node{}, err
		}
		name, ok := key.(string)
		if !ok {
			return node{}, lineError(r.line(), "not valid JSON: a key is not a string")
		}
		line := r.line()
		val, err := r.value(depth + 1)
		if err != nil {
			return node{}, err
		}
		n.fields = append(n.fields, field{name: name, line: line, val: val})
	}
	_, err := r.token()
	return n, err
}
