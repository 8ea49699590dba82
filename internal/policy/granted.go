// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import "time"

// Granted is what a Set says of one path of its rules, as clients of Vault and
// OpenBao read it.
type Granted struct {
	Capabilities []Capability        `json:"capabilities"`
	MinWrap      int64               `json:"min_wrapping_ttl,omitempty"` // seconds
	MaxWrap      int64               `json:"max_wrapping_ttl,omitempty"`
	Allowed      map[string][]string `json:"allowed_parameters,omitempty"`
	Denied       map[string][]string `json:"denied_parameters,omitempty"`
	Required     []string            `json:"required_parameters,omitempty"`
}

// Grants lists all rules of a set by their paths: those that stand for themselves,
// and those for more, without their "*" ("+" segments stay).
func (s Set) Grants() (exact, glob map[string]Granted) {
	exact, glob = map[string]Granted{}, map[string]Granted{}
	if s.c == nil {
		return exact, glob
	}
	for path, m := range s.c.exact {
		exact[path] = m.granted()
	}
	for path, p := range s.c.prefix {
		glob[path] = p.granted()
	}
	for _, p := range s.c.segments {
		glob[p.text] = p.granted()
	}
	return s.inside(exact), s.inside(glob)
}

func (m *merged) granted() Granted {
	return Granted{m.caps.list(), int64(m.minWrap / time.Second), int64(m.maxWrap / time.Second), m.allowed, m.denied, m.required}
}

// list names the capabilities of a set; ["deny"] where nothing is allowed.
func (s capSet) list() (all []Capability) {
	if s == 0 || s&denyBit != 0 {
		return []Capability{Deny}
	}
	for i, c := range capabilities {
		if s&(1<<i) != 0 {
			all = append(all, c)
		}
	}
	return all
}
