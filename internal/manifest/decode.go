// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Decode reads the spec into spec, a pointer to a struct with yaml tags. It is
// strict: a field the struct does not have, a field written twice and a value of
// the wrong type are errors. All of them are collected: the error is of the kind
// Invalid and unwraps to Errors, each with file and line.
func (d *Document) Decode(spec any) error {
	if d.Spec == nil {
		return Errors{d.Errorf(d.LineOf(), "%s %s has no spec", d.Kind, d.Meta.Name)}.Err()
	}
	return decodeNode(d.File, d.Spec, "spec", spec).Err()
}

func decodeNode(file string, node *yaml.Node, what string, into any) Errors {
	c := &checker{file: file}
	if err := checkSize(node); err != "" {
		return Errors{{File: file, Line: node.Line, Msg: err}}
	}
	c.check(node, reflect.TypeOf(into).Elem(), what)
	if len(c.errs) > 0 {
		return c.errs
	}
	err := node.Decode(into)
	if err == nil {
		return nil
	}
	var wrong *yaml.TypeError
	if !errors.As(err, &wrong) {
		return Errors{{File: file, Line: node.Line, Msg: what + ": " + strings.TrimPrefix(err.Error(), "yaml: ")}}
	}
	for _, text := range wrong.Errors {
		line, msg := splitLine(text)
		c.errs = append(c.errs, Error{File: file, Line: line, Msg: what + ": " + plainer(msg)})
	}
	return c.errs
}

// checker finds fields a type does not have.
type checker struct {
	file string
	errs Errors
}

var unmarshaler = reflect.TypeFor[yaml.Unmarshaler]()

// check walks the node and the type side by side. What does not fit is left to
// the YAML library, which says so with the line.
func (c *checker) check(node *yaml.Node, typ reflect.Type, what string) {
	node = resolve(node)
	for typ.Kind() == reflect.Pointer && !typ.Implements(unmarshaler) {
		typ = typ.Elem()
	}
	if typ.Implements(unmarshaler) || reflect.PointerTo(typ).Implements(unmarshaler) || typ == reflect.TypeFor[yaml.Node]() {
		return
	}
	switch {
	case node.Kind == yaml.MappingNode && typ.Kind() == reflect.Struct:
		c.checkStruct(node, typ, what)
	case node.Kind == yaml.MappingNode && typ.Kind() == reflect.Map:
		c.unique(node)
		for i := 0; i+1 < len(node.Content); i += 2 {
			c.check(node.Content[i+1], typ.Elem(), what+"."+node.Content[i].Value)
		}
	case node.Kind == yaml.SequenceNode && typ.Kind() == reflect.Slice:
		for i, item := range node.Content {
			c.check(item, typ.Elem(), fmt.Sprintf("%s[%d]", what, i))
		}
	}
}

func (c *checker) checkStruct(node *yaml.Node, typ reflect.Type, what string) {
	fields, names := fieldsOf(typ)
	c.unique(node)
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		field, known := fields[key.Value]
		if !known {
			c.errs = append(c.errs, Error{File: c.file, Line: key.Line, Msg: UnknownField(key.Value, what, names)})
			continue
		}
		c.check(node.Content[i+1], field, what+"."+key.Value)
	}
}

// unique refuses a key written twice.
func (c *checker) unique(node *yaml.Node) {
	seen := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		if at, twice := seen[key.Value]; twice {
			c.errs = append(c.errs, Error{File: c.file, Line: key.Line, Msg: fmt.Sprintf("field %q stands here twice: first in line %d", cut(key.Value), at)})
		}
		seen[key.Value] = key.Line
	}
}

// fieldsOf returns a struct's fields by their YAML names, and the names in order.
func fieldsOf(typ reflect.Type) (map[string]reflect.Type, []string) {
	fields := map[string]reflect.Type{}
	var names []string
	for i := range typ.NumField() {
		f := typ.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if !f.IsExported() || name == "-" {
			continue
		}
		if strings.Contains(options, "inline") && f.Type.Kind() == reflect.Struct {
			inner, innerNames := fieldsOf(f.Type)
			for n, t := range inner {
				fields[n] = t
			}
			names = append(names, innerNames...)
			continue
		}
		if name == "" {
			name = strings.ToLower(f.Name)
		}
		fields[name] = f.Type
		names = append(names, name)
	}
	return fields, names
}

// UnknownField is the message for a field that is not one of known.
func UnknownField(field, what string, known []string) string {
	msg := fmt.Sprintf("unknown field %q in %s", cut(field), what)
	if near := nearest(field, known); near != "" {
		msg += fmt.Sprintf(": did you mean %q?", near)
	}
	return msg + "; known fields: " + strings.Join(known, ", ")
}

// nearest returns the known name at most two changes away from the one written.
func nearest(written string, known []string) string {
	best, least := "", 3
	for _, name := range known {
		if len(written) > 64 {
			return ""
		}
		if n := distance(strings.ToLower(written), strings.ToLower(name)); n < least && n < len(name)/2+1 {
			best, least = name, n
		}
	}
	return best
}

// distance counts the letters to add, drop or change to get from a to b
// (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := corner
			if a[i] != b[j] {
				change++
			}
			corner = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// plainer turns the YAML library's words for types into plain ones.
func plainer(msg string) string {
	return strings.NewReplacer(
		"cannot unmarshal !!seq into", "a list cannot be", "cannot unmarshal !!map into", "a mapping cannot be",
		"cannot unmarshal !!str", "the text", "cannot unmarshal !!int", "the number", "cannot unmarshal !!float", "the number",
		"cannot unmarshal !!bool", "the value", " into ", " cannot be ",
		"float64", "a number", "[]string", "a list of text", "int64", "a whole number", "int", "a whole number", "bool", "true or false", "string", "text",
	).Replace(msg)
}
