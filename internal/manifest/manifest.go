// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package manifest reads what people write: YAML documents with apiVersion,
// kind, metadata and spec. It knows the outer shape only; each room owns the
// spec of its own kinds and decodes it with Decode, which refuses unknown fields
// and names the file and line of every error.
//
// The YAML read is YAML 1.2 as go.yaml.in/yaml/v3 understands it, less merge
// keys ("<<"). A file is at most MaxBytes long, nested at most MaxDepth deep,
// and at most MaxNodes large once its aliases are followed.
package manifest

import (
	"strconv"

	"go.yaml.in/yaml/v3"
)

// APIVersion is the only version there is.
const APIVersion = "goldkeep.dev/v1"

// The limits of one file.
const (
	MaxBytes = 1 << 20 // bytes
	MaxDepth = 64      // lists and mappings inside each other
	MaxNodes = 100_000 // keys and values, counting those behind an alias each time it is used
)

// Document is one resource as written.
type Document struct {
	File     string // "" where it did not come from a file
	Line     int    // of its first line
	Kind     string
	Meta     Meta
	Spec     *yaml.Node // nil where there is none
	nameLine int
}

// Meta is a resource's metadata.
type Meta struct {
	Name    string            `yaml:"name" json:"name"`                 // lower-case letters, digits, '-' and '.', at most 63
	Owner   string            `yaml:"owner" json:"owner"`               // required: who decides
	Contact string            `yaml:"contact" json:"contact,omitempty"` // how to reach them
	Protect bool              `yaml:"protect" json:"protect,omitempty"` // never deleted by apply
	Labels  map[string]string `yaml:"labels" json:"labels,omitempty"`
}

// LineOf returns the line where a part of the spec is written, for errors found
// later (a dangling reference). The path holds field names and list indexes:
// LineOf("image", "golden"), LineOf("secrets", "0", "kv"). Where the path leads
// nowhere, it is the line of the last part that exists; without a path, the
// line of the resource's name.
func (d *Document) LineOf(path ...string) int {
	if len(path) == 0 || d.Spec == nil {
		return max(d.nameLine, d.Line)
	}
	node, line := resolve(d.Spec), d.Spec.Line
	for _, step := range path {
		key, value := child(node, step)
		if value == nil {
			break
		}
		node, line = resolve(value), key.Line
	}
	return line
}

// child returns the key node and the value node of one step; for a list item
// both are the item.
func child(node *yaml.Node, step string) (key, value *yaml.Node) {
	switch node.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == step {
				return node.Content[i], node.Content[i+1]
			}
		}
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(node.Content) {
			return node.Content[i], node.Content[i]
		}
	}
	return nil, nil
}

// resolve follows aliases to what they stand for.
func resolve(node *yaml.Node) *yaml.Node {
	for node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	return node
}
