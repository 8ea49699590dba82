// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Set is what the policies of one subject say together, compiled. It is
// immutable and safe for use by many goroutines; the zero value allows nothing.
type Set struct {
	c      *compiled
	prefix string // see Within
}

type compiled struct {
	root     bool
	exact    map[string]*merged
	prefix   map[string]*pattern // by the text before "*"
	lengths  []int               // of those prefixes, longest first
	segments []*pattern          // those with "+", the most specific first
}

// merged is one path's rule, from all policies that name the path.
type merged struct {
	text             string
	caps             capSet
	allowed, denied  map[string][]string
	required         []string
	minWrap, maxWrap time.Duration
	policies         []string
}

// pattern is a path with "+" segments or a "*" at its end.
type pattern struct {
	merged
	parts  []string // between slashes, for those with "+"
	prefix bool     // ends in "*", cut off from the last part
	wild   int      // offset of the first "+" or of the "*"
	plus   int      // how many "+" segments
}

// NewSet compiles policies. A policy named "root" allows everything.
func NewSet(policies ...*Policy) Set {
	c := &compiled{exact: map[string]*merged{}, prefix: map[string]*pattern{}}
	plus := map[string]*pattern{}
	for _, p := range policies {
		if p == nil {
			continue
		}
		c.root = c.root || p.Name == RootName
		for i := range p.Rules {
			r := &p.Rules[i]
			if len(r.Templates) > 0 { // nobody has filled it in: it matches nothing
				continue
			}
			c.slot(r.Path, plus).merge(p.Name, r)
		}
	}
	for n := range c.prefix {
		if !slices.Contains(c.lengths, len(n)) {
			c.lengths = append(c.lengths, len(n))
		}
	}
	slices.Sort(c.lengths)
	slices.Reverse(c.lengths)
	c.segments = slices.SortedFunc(maps.Values(plus), func(a, b *pattern) int {
		if a.before(b) {
			return -1
		}
		return 1
	})
	return Set{c: c}
}

// slot returns the merged rule of a path, making it where it is new.
func (c *compiled) slot(path string, plus map[string]*pattern) *merged {
	head, glob := strings.CutSuffix(path, "*")
	wild := plusAt(head)
	switch {
	case wild < 0 && !glob:
		if c.exact[path] == nil {
			c.exact[path] = &merged{text: path}
		}
		return c.exact[path]
	case wild < 0:
		if c.prefix[head] == nil {
			c.prefix[head] = &pattern{merged: merged{text: path}, prefix: true, wild: len(head)}
		}
		return &c.prefix[head].merged
	}
	if plus[path] == nil {
		p := &pattern{merged: merged{text: path}, parts: strings.Split(head, "/"), prefix: glob, wild: wild}
		for _, part := range p.parts {
			if part == "+" {
				p.plus++
			}
		}
		plus[path] = p
	}
	return &plus[path].merged
}

// plusAt is the offset of the first segment that is just "+", or -1.
func plusAt(path string) int {
	for at := 0; ; {
		end := strings.IndexByte(path[at:], '/')
		if end < 0 {
			if path[at:] == "+" {
				return at
			}
			return -1
		}
		if path[at:at+end] == "+" {
			return at
		}
		at += end + 1
	}
}

// before reports whether p is more specific than q, by the documented order:
// the later first wildcard wins; then the one without "*"; then the one with
// fewer "+"; then the longer; then the greater text.
func (p *pattern) before(q *pattern) bool {
	switch {
	case p.wild != q.wild:
		return p.wild > q.wild
	case p.prefix != q.prefix:
		return q.prefix
	case p.plus != q.plus:
		return p.plus < q.plus
	case len(p.text) != len(q.text):
		return len(p.text) > len(q.text)
	}
	return p.text > q.text
}

// merge adds one policy's rule for the same path.
func (m *merged) merge(name string, r *Rule) {
	m.caps |= capsOf(r.Capabilities...)
	if m.caps&denyBit != 0 {
		m.caps = denyBit
	}
	m.allowed = mergeValues(m.allowed, r.Allowed)
	m.denied = mergeValues(m.denied, r.Denied)
	for _, n := range r.Required {
		if !slices.Contains(m.required, n) {
			m.required = append(m.required, n)
		}
	}
	if r.MinWrap > 0 && (m.minWrap == 0 || r.MinWrap < m.minWrap) {
		m.minWrap = r.MinWrap
	}
	m.maxWrap = max(m.maxWrap, r.MaxWrap)
	if !slices.Contains(m.policies, name) {
		m.policies = append(m.policies, name)
	}
}

// mergeValues joins two parameter lists; a name without values (any value) wins
// over the same name with some.
func mergeValues(have, more map[string][]string) map[string][]string {
	if len(more) == 0 {
		return have
	}
	if have == nil {
		have = map[string][]string{}
	}
	for name, values := range more {
		old, known := have[name]
		if known && (len(old) == 0 || len(values) == 0) {
			have[name] = nil
			continue
		}
		have[name] = append(slices.Clone(old), values...)
	}
	return have
}

// find returns the rule that decides about a path, or nil.
func (c *compiled) find(path string) *merged {
	if m := c.exact[path]; m != nil {
		return m
	}
	return c.findPattern(path)
}

// findList is find for lists, which are asked for with or without a slash at
// the end and may be written both ways in a policy.
func (c *compiled) findList(path string) *merged {
	bare, slashed := strings.CutSuffix(path, "/")
	if !slashed {
		path = bare + "/"
	}
	if m := c.exact[path]; m != nil {
		return m
	}
	if m := c.exact[bare]; m != nil {
		return m
	}
	if m := c.findPattern(path); m != nil {
		return m
	}
	return c.findPattern(bare)
}

func (c *compiled) findPattern(path string) *merged {
	var best *pattern
	for _, n := range c.lengths {
		if n <= len(path) {
			if best = c.prefix[path[:n]]; best != nil {
				break
			}
		}
	}
	for _, p := range c.segments {
		if best != nil && best.before(p) {
			break
		}
		if p.matches(path) {
			return &p.merged
		}
	}
	if best == nil {
		return nil
	}
	return &best.merged
}

// matches compares segment by segment, without allocating.
func (p *pattern) matches(path string) bool {
	last := len(p.parts) - 1
	for i, part := range p.parts {
		if i == last && p.prefix {
			return strings.HasPrefix(path, part)
		}
		seg, rest, more := strings.Cut(path, "/")
		if part != "+" && part != seg || more != (i < last) {
			return false
		}
		path = rest
	}
	return true
}
