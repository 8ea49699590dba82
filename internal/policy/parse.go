// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// Limits of one policy. Text past them is fault.TooLarge or fault.Invalid.
const (
	MaxText  = 1 << 20 // bytes
	MaxRules = 10_000  // paths
	maxPath  = 1024    // bytes of one path
	maxNames = 1000    // parameters of one rule, and values of one parameter
)

// Parse reads a policy in HCL or JSON. It is strict: an unknown key, a "*" that
// is not at the end or a value of the wrong type is fault.Invalid with the line,
// because a rule that silently does not match is a hole or an outage.
func Parse(name, text string) (*Policy, error) {
	if len(text) > MaxText {
		return nil, fault.New(fault.TooLarge, "policy %q is larger than 1 MiB", name)
	}
	p := &Policy{Name: NormalName(name), Text: text}
	top, err := readSyntax([]byte(text))
	if err == nil {
		err = p.readTop(top)
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "read policy %q: %w", name, err)
	}
	return p, nil
}

func (p *Policy) readTop(top node) error {
	for _, f := range top.fields {
		switch f.name {
		case "name":
			if f.val.kind != text {
				return lineError(f.line, "name must be a string")
			}
		case "path":
			if err := p.readPaths(f.val); err != nil {
				return err
			}
		default:
			return knownError(f.line, fmt.Sprintf("1 error occurred:\n\t* invalid key %q on line %d\n\n", f.name, f.line), "unknown key %q: a policy holds path blocks", f.name)
		}
	}
	return nil
}

// readPaths reads the value of "path": an object from path to rule, or in JSON
// also a list of those.
func (p *Policy) readPaths(n node) error {
	switch n.kind {
	case list:
		for _, item := range n.items {
			if item.kind != object {
				return lineError(item.line, "path must name a block")
			}
			if err := p.readPaths(item); err != nil {
				return err
			}
		}
		return nil
	case object:
	default:
		return lineError(n.line, `path must name a block: path "secret/*" { ... }`)
	}
	for _, f := range n.fields {
		if len(p.Rules) >= MaxRules {
			return lineError(f.line, "more than %d paths", MaxRules)
		}
		r, err := readRule(f)
		if err != nil {
			return err
		}
		p.Rules = append(p.Rules, r)
	}
	return nil
}

func readRule(f field) (Rule, error) {
	r := Rule{Path: strings.TrimPrefix(f.name, "/"), Line: f.line}
	if err := checkPattern(r.Path, f.line); err != nil {
		return r, err
	}
	t, err := readTemplate(r.Path, f.line)
	if err != nil {
		return r, err
	}
	r.Templates = t.names
	if f.val.kind != object {
		return r, lineError(f.line, "path %q must have a block in braces", f.name)
	}
	seen := map[string]bool{}
	for _, key := range f.val.fields {
		if seen[key.name] {
			return r, lineError(key.line, "%s is given twice for path %q", key.name, r.Path)
		}
		seen[key.name] = true
		if err := r.readKey(key); err != nil {
			return r, err
		}
	}
	if r.MaxWrap > 0 && r.MinWrap > r.MaxWrap {
		return r, lineError(f.line, "min_wrapping_ttl is above max_wrapping_ttl")
	}
	return r, nil
}

// checkPattern refuses paths that could never match what their author meant.
func checkPattern(path string, line int) error {
	if len(path) > maxPath {
		return lineError(line, "a path is longer than %d bytes", maxPath)
	}
	if i := strings.IndexByte(path, '*'); i >= 0 && i != len(path)-1 {
		return lineError(line, `path %q: "*" is only allowed at the end; for one segment write "+"`, path)
	}
	if strings.HasSuffix(path, "+*") {
		return lineError(line, `path %q: "+*" is not allowed; write "+" or "*"`, path)
	}
	return nil
}

func (r *Rule) readKey(key field) (err error) {
	switch key.name {
	case "capabilities":
		return r.readCapabilities(key)
	case "policy":
		return r.readLegacy(key)
	case "allowed_parameters":
		r.Allowed, err = readParameters(key)
	case "denied_parameters":
		r.Denied, err = readParameters(key)
	case "required_parameters":
		r.Required, err = readNames(key)
	case "min_wrapping_ttl":
		r.MinWrap, err = readDuration(key)
	case "max_wrapping_ttl":
		r.MaxWrap, err = readDuration(key)
	case "comment":
	default:
		known := fmt.Sprintf("1 error occurred:\n\t* path %q: invalid key %q on line %d\n\n", r.Path, key.name, key.line)
		err = knownError(key.line, known, "unknown key %q in path %q", key.name, r.Path)
	}
	return err
}

func (r *Rule) readCapabilities(key field) error {
	names, err := readTexts(key)
	if err != nil {
		return err
	}
	for _, name := range names {
		c := Capability(name)
		if c.bit() == 0 {
			return knownError(key.line, fmt.Sprintf("path %q: invalid capability %q", r.Path, name), "path %q: unknown capability %q; there are create, read, update, patch, delete, list, scan, sudo and deny", r.Path, name)
		}
		r.add(c)
	}
	return nil
}

func (r *Rule) add(caps ...Capability) {
	for _, c := range caps {
		if !slices.Contains(r.Capabilities, c) {
			r.Capabilities = append(r.Capabilities, c)
		}
	}
}

// readLegacy reads the oldest form, policy = "write". A path ending in "*" was
// not needed then for a prefix, but all clients in use send it.
func (r *Rule) readLegacy(key field) error {
	switch key.val.text {
	case "deny":
		r.add(Deny)
	case "read":
		r.add(Read, List)
	case "write":
		r.add(Create, Read, Update, Delete, List)
	case "sudo":
		r.add(Create, Read, Update, Delete, List, Sudo)
	default:
		return lineError(key.line, `path %q: policy must be "deny", "read", "write" or "sudo"; better, write capabilities = [...]`, r.Path)
	}
	return nil
}

func readTexts(key field) ([]string, error) {
	if key.val.kind != list || len(key.val.items) > maxNames {
		return nil, lineError(key.line, `%s must be a list of at most %d strings: ["...", "..."]`, key.name, maxNames)
	}
	var out []string
	for _, item := range key.val.items {
		if item.kind != text {
			return nil, lineError(item.line, "%s must be a list of strings", key.name)
		}
		out = append(out, item.text)
	}
	return out, nil
}

func readNames(key field) ([]string, error) {
	names, err := readTexts(key)
	for i := range names {
		names[i] = strings.ToLower(names[i])
	}
	return names, err
}

// readParameters reads an object from parameter to list of values.
func readParameters(key field) (map[string][]string, error) {
	blocks := []node{key.val}
	if key.val.kind == list { // JSON written by tools: [{"a": []}]
		blocks = key.val.items
	}
	out := map[string][]string{}
	for _, block := range blocks {
		if block.kind != object {
			return nil, lineError(key.line, `%s must be a block: { "name" = ["value"] }`, key.name)
		}
		for _, f := range block.fields {
			values, err := readValues(f)
			if err != nil {
				return nil, err
			}
			if len(out) >= maxNames {
				return nil, lineError(f.line, "%s has more than %d names", key.name, maxNames)
			}
			out[strings.ToLower(f.name)] = values
		}
	}
	return out, nil
}

func readValues(f field) ([]string, error) {
	if f.val.kind != list || len(f.val.items) > maxNames {
		return nil, lineError(f.line, "parameter %q must have a list of at most %d values; [] means any", f.name, maxNames)
	}
	values := make([]string, 0, len(f.val.items))
	for _, item := range f.val.items {
		if item.kind != text && item.kind != number && item.kind != boolean {
			return nil, lineError(item.line, "parameter %q: values are strings, numbers, true or false", f.name)
		}
		values = append(values, item.text)
	}
	return values, nil
}

// readDuration reads seconds (90, "90") or "1h30m" or "5d".
func readDuration(key field) (time.Duration, error) {
	s := key.val.text
	var d time.Duration
	var err error
	if n, isInt := strconv.ParseInt(s, 10, 32); isInt == nil {
		d = time.Duration(n) * time.Second
	} else if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err = strconv.ParseInt(days, 10, 16)
		d = time.Duration(n) * 24 * time.Hour
	} else {
		d, err = time.ParseDuration(s)
	}
	if key.val.kind != text && key.val.kind != number || err != nil || d < 0 {
		return 0, lineError(key.line, `%s must be seconds or a duration such as "1h30m"`, key.name)
	}
	return d, nil
}
