// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

const maxShape = 63

var (
	nameShape = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`) // at most maxShape bytes: counting in a pattern makes it large
	kindShape = regexp.MustCompile(`^[A-Z][A-Za-z0-9]*$`)              // the same
	lineOfErr = regexp.MustCompile(`^(?:yaml: )?line (\d+): `)
)

// Parse reads the documents of one file. The file name is used in messages only.
// It collects every error of the file: the returned error, where there is one,
// is of the kind Invalid and unwraps to Errors. Empty documents are left out.
func Parse(file string, text []byte) ([]Document, error) {
	p := &parser{file: file}
	docs := p.documents(text)
	p.twice(docs)
	if err := p.errs.Err(); err != nil {
		return nil, err
	}
	return docs, nil
}

type parser struct {
	file string
	errs Errors
}

func (p *parser) fail(line int, format string, args ...any) {
	p.errs = append(p.errs, Error{File: p.file, Line: line, Msg: fmt.Sprintf(format, args...)})
}

func (p *parser) documents(text []byte) []Document {
	if len(text) > MaxBytes {
		p.fail(0, "the file has %d bytes; at most %d are read: split it", len(text), MaxBytes)
		return nil
	}
	var docs []Document
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var root yaml.Node
		err := decoder.Decode(&root)
		if errors.Is(err, io.EOF) {
			return docs
		}
		if err != nil {
			line, msg := splitLine(err.Error())
			p.fail(line, "not valid YAML: %s", msg)
			return docs
		}
		if root.Kind != yaml.DocumentNode || len(root.Content) == 0 || isNull(root.Content[0]) {
			continue
		}
		body := root.Content[0]
		if err := checkSize(body); err != "" {
			p.fail(body.Line, "%s", err)
			continue
		}
		if doc, ok := p.document(body); ok {
			docs = append(docs, doc)
		}
	}
}

// document reads the outer shape of one document.
func (p *parser) document(body *yaml.Node) (Document, bool) {
	before := len(p.errs)
	if body.Kind != yaml.MappingNode {
		p.fail(body.Line, "a document is a mapping with apiVersion, kind, metadata and spec, not %s", describe(body))
		return Document{}, false
	}
	doc := Document{File: p.file, Line: body.Line}
	seen := map[string]int{}
	for i := 0; i+1 < len(body.Content); i += 2 {
		key, value := body.Content[i], resolve(body.Content[i+1])
		if at, twice := seen[key.Value]; twice {
			p.fail(key.Line, "field %q stands here twice: first in line %d", key.Value, at)
		}
		seen[key.Value] = key.Line
		switch key.Value {
		case "apiVersion":
			if value.Value != APIVersion {
				p.fail(value.Line, "apiVersion %q is not known: write apiVersion: %s", value.Value, APIVersion)
			}
		case "kind":
			doc.Kind = p.kind(value)
		case "metadata":
			doc.Meta, doc.nameLine = p.metadata(value)
		case "spec":
			if !isNull(value) {
				doc.Spec = value
			}
		default:
			p.fail(key.Line, "%s", UnknownField(key.Value, "a document", []string{"apiVersion", "kind", "metadata", "spec"}))
		}
	}
	for _, want := range []string{"apiVersion", "kind", "metadata"} {
		if seen[want] == 0 {
			p.fail(body.Line, "field %q is missing", want)
		}
	}
	return doc, len(p.errs) == before
}

func (p *parser) kind(value *yaml.Node) string {
	if value.Kind != yaml.ScalarNode || len(value.Value) > maxShape || !kindShape.MatchString(value.Value) {
		p.fail(value.Line, "kind must be a name such as Environment or Workload, not %s", describe(value))
		return ""
	}
	return value.Value
}

// metadata reads and checks the metadata; it also returns the line of the name.
func (p *parser) metadata(value *yaml.Node) (Meta, int) {
	var meta Meta
	errs := decodeNode(p.file, value, "metadata", &meta)
	p.errs = append(p.errs, errs...)
	if len(errs) > 0 {
		return meta, value.Line
	}
	line := func(field string) int {
		if key, _ := child(value, field); key != nil {
			return key.Line
		}
		return value.Line
	}
	switch {
	case meta.Name == "":
		p.fail(line("name"), "metadata.name is missing")
	case len(meta.Name) > maxShape || !nameShape.MatchString(meta.Name):
		p.fail(line("name"), "metadata.name %q is not a name: use at most 63 lower-case letters, digits, '-' and '.', with a letter or digit at both ends", cut(meta.Name))
	}
	if strings.TrimSpace(meta.Owner) == "" {
		p.fail(line("owner"), "metadata.owner is missing: name the person or team that decides about this resource")
	}
	p.plainText(line("owner"), "metadata.owner", meta.Owner)
	p.plainText(line("contact"), "metadata.contact", meta.Contact)
	for k, v := range meta.Labels {
		p.plainText(line("labels"), "a label", k+v)
	}
	return meta, line("name")
}

// plainText refuses text that would not print on one line of a terminal.
func (p *parser) plainText(line int, what, text string) {
	if len(text) > 253 {
		p.fail(line, "%s has %d bytes; at most 253 are allowed", what, len(text))
	}
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		p.fail(line, "%s holds characters that cannot be printed", what)
	}
}

// twice refuses two resources of one kind and name.
func (p *parser) twice(docs []Document) {
	first := map[string]Document{}
	for _, d := range docs {
		id := d.Kind + " " + d.Meta.Name
		if other, ok := first[id]; ok {
			at := Error{File: other.File, Line: other.LineOf(), Msg: "here"}
			p.errs = append(p.errs, d.Errorf(d.LineOf(), "%s is defined twice: first at %s", id, strings.TrimSuffix(at.Error(), ": here")))
			continue
		}
		first[id] = d
	}
}

// checkSize says what is wrong with the shape of a document: too deep, or too
// large once its aliases are followed (an alias bomb). "" is fine.
func checkSize(body *yaml.Node) string {
	left := MaxNodes
	var walk func(node *yaml.Node, depth int) string
	walk = func(node *yaml.Node, depth int) string {
		node = resolve(node)
		if left--; left < 0 {
			return fmt.Sprintf("the document is too large: more than %d keys and values (aliases counted each time)", MaxNodes)
		}
		if depth > MaxDepth {
			return fmt.Sprintf("the document is nested more than %d deep", MaxDepth)
		}
		for _, part := range node.Content {
			if err := walk(part, depth+1); err != "" {
				return err
			}
		}
		return ""
	}
	return walk(body, 1)
}

func isNull(node *yaml.Node) bool {
	return node.Kind == yaml.ScalarNode && node.Tag == "!!null"
}

// describe names a value in a message, without quoting long text.
func describe(node *yaml.Node) string {
	switch node.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	default:
		if isNull(node) {
			return "nothing"
		}
		return strconv.Quote(cut(node.Value))
	}
}

// cut shortens text for a message.
func cut(text string) string {
	if runes := []rune(text); len(runes) > 60 {
		return string(runes[:60]) + "..."
	}
	return text
}

// splitLine takes "line N: " off a message of the YAML library.
func splitLine(text string) (int, string) {
	m := lineOfErr.FindStringSubmatch(text)
	if m == nil {
		return 0, strings.TrimPrefix(text, "yaml: ")
	}
	line, err := strconv.Atoi(m[1])
	if err != nil {
		return 0, text
	}
	return line, strings.TrimPrefix(text, m[0])
}
