// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"encoding/json"
	"strings"
	"time"
)

// Query is one question: may the holder of a Set do this?
type Query struct {
	Path    string                     // as requested, without leading slash: "secret/data/app"
	Need    Capability                 // what is wanted
	Sudo    bool                       // the path needs sudo on top
	Fields  map[string]json.RawMessage // what was sent, for rules on parameters
	WrapTTL time.Duration              // how long the answer shall be wrapped; 0: not at all
}

// Decision is the answer, with what it rests on.
type Decision struct {
	Allowed  bool
	Root     bool     // allowed because the subject has the policy "root"
	Rule     string   // the path of the rule that decided; "" where none matched
	Policies []string // which policies that rule comes from; read only
	Reason   string   // a fixed text, never a name or a value
}

// The reasons a Decision gives.
const (
	ReasonRoot      = "root policy"
	ReasonGranted   = "granted by rule"
	ReasonNoRule    = "no rule matches the path"
	ReasonDeny      = "rule denies the path"
	ReasonMissing   = "rule lacks the capability"
	ReasonSudo      = "rule lacks sudo"
	ReasonParameter = "a parameter is not allowed"
	ReasonRequired  = "a required parameter is missing"
	ReasonWrapping  = "the wrapping ttl is out of bounds"
)

// Decide answers a query. It neither allocates (but for comparing parameter
// values) nor depends on anything outside its arguments.
func (s Set) Decide(q Query) Decision {
	if s.c == nil {
		return Decision{Reason: ReasonNoRule}
	}
	if s.c.root {
		return Decision{Allowed: true, Root: true, Reason: ReasonRoot}
	}
	if s.prefix != "" {
		q.Path = s.prefix + q.Path
	}
	var m *merged
	if q.Need == List || q.Need == Scan {
		m = s.c.findList(q.Path)
	} else {
		m = s.c.find(q.Path)
	}
	if m == nil {
		return Decision{Reason: ReasonNoRule}
	}
	reason := m.judge(q)
	return Decision{Allowed: reason == ReasonGranted, Rule: m.text, Policies: m.policies, Reason: reason}
}

func (m *merged) judge(q Query) string {
	need := q.Need.bit()
	switch {
	case m.caps&denyBit != 0:
		return ReasonDeny
	case need == 0 || need == denyBit || m.caps&need == 0:
		return ReasonMissing
	case q.Sudo && m.caps&Sudo.bit() == 0:
		return ReasonSudo
	case m.maxWrap > 0 && (q.WrapTTL <= 0 || q.WrapTTL > m.maxWrap), m.minWrap > 0 && q.WrapTTL < m.minWrap:
		return ReasonWrapping
	}
	switch q.Need {
	case Read, Create, Update, Patch:
		return m.judgeFields(q.Fields)
	}
	return ReasonGranted
}

func (m *merged) judgeFields(fields map[string]json.RawMessage) string {
	for _, name := range m.required {
		if _, sent := fields[name]; !sent { // as engines read it: exactly
			return ReasonRequired
		}
	}
	if len(m.allowed) == 0 && len(m.denied) == 0 {
		return ReasonGranted
	}
	_, anyAllowed := m.allowed["*"]
	_, allDenied := m.denied["*"]
	for field, raw := range fields {
		if allDenied {
			return ReasonParameter
		}
		name := strings.ToLower(field)
		if values, ok := m.denied[name]; ok && (len(values) == 0 || matchesAny(raw, values, true)) {
			return ReasonParameter
		}
		if len(m.allowed) == 0 {
			continue
		}
		values, ok := m.allowed[name]
		if !ok && !anyAllowed || ok && len(values) > 0 && !matchesAny(raw, values, false) {
			return ReasonParameter
		}
	}
	return ReasonGranted
}

// matchesAny compares a sent value with the values of a rule. What is no plain
// string, integer or boolean cannot be compared and counts as unsure: a match
// for denied values, none for allowed ones. The kind is not compared, because
// engines take "5" for 5.
func matchesAny(raw json.RawMessage, values []string, unsure bool) bool {
	sent, ok := plainText(raw)
	if !ok {
		return unsure
	}
	for _, v := range values {
		if globMatches(v, sent) {
			return true
		}
	}
	return false
}

func plainText(raw json.RawMessage) (string, bool) {
	s := strings.TrimSpace(string(raw))
	switch {
	case s == "true" || s == "false":
		return s, true
	case strings.HasPrefix(s, `"`):
		var out string
		err := json.Unmarshal([]byte(s), &out)
		return out, err == nil
	}
	digits := strings.TrimPrefix(s, "-")
	return s, digits != "" && strings.Trim(digits, "0123456789") == ""
}

// Glob compares a text with one that may begin or end in "*".
func Glob(glob, s string) bool { return globMatches(glob, s) }

// globMatches compares with a value that may start or end in "*".
func globMatches(glob, s string) bool {
	tail, leading := strings.CutPrefix(glob, "*")
	if !leading {
		if head, trailing := strings.CutSuffix(glob, "*"); trailing {
			return strings.HasPrefix(s, head)
		}
		return s == glob
	}
	if middle, trailing := strings.CutSuffix(tail, "*"); trailing {
		return strings.Contains(s, middle)
	}
	return strings.HasSuffix(s, tail)
}

// Capabilities lists what may be done to a path, sorted; ["root"] for the root
// policy and ["deny"] where nothing is allowed. A path that ends in a slash is
// judged as a list.
func (s Set) Capabilities(path string) []Capability {
	if s.c == nil {
		return []Capability{Deny}
	}
	if s.c.root {
		return []Capability{RootName}
	}
	path = s.prefix + path
	var m *merged
	if strings.HasSuffix(path, "/") {
		m = s.c.findList(path)
	} else {
		m = s.c.find(path)
	}
	if m == nil {
		return []Capability{Deny}
	}
	return m.caps.list()
}

// Any reports whether anything at all is allowed at or below a folder such as
// "secret/": what the preflight of "kv" commands asks.
func (s Set) Any(dir string) bool {
	if s.c == nil {
		return false
	}
	if s.c.root {
		return true
	}
	dir = s.prefix + dir
	for path, m := range s.c.exact {
		if strings.HasPrefix(path, dir) && m.grants() {
			return true
		}
	}
	for prefix, p := range s.c.prefix {
		if (strings.HasPrefix(prefix, dir) || strings.HasPrefix(dir, prefix)) && p.grants() {
			return true
		}
	}
	for _, p := range s.c.segments {
		if p.grants() && p.mayReach(dir) {
			return true
		}
	}
	return false
}

func (m *merged) grants() bool { return m.caps != 0 && m.caps&denyBit == 0 }

// mayReach reports whether the pattern can match something below dir.
func (p *pattern) mayReach(dir string) bool {
	last := len(p.parts) - 1
	for i, part := range p.parts {
		if dir == "" {
			return true
		}
		seg, rest, _ := strings.Cut(dir, "/")
		if i == last && p.prefix {
			return strings.HasPrefix(seg, part) || strings.HasPrefix(dir, part)
		}
		if part != "+" && part != seg {
			return false
		}
		dir = rest
	}
	return dir == ""
}
