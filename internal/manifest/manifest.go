// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package manifest reads what people write: YAML documents with apiVersion,
// kind, metadata and spec. It knows the outer shape only; each room owns the
// spec of its own kinds and decodes it with Decode, which refuses unknown fields
// and names the file and line of every error.
package manifest

import "go.yaml.in/yaml/v3"

// APIVersion is the only version there is.
const APIVersion = "goldkeep.dev/v1"

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
