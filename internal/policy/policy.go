// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package policy decides whether a subject may do something to a path. It is
// pure: values in, a decision with its reason out. The language is the HCL (or
// JSON) that users of Vault and OpenBao write.
//
// Parse turns one text into a Policy, NewSet compiles the policies of a subject
// into a Set, and Set.Decide answers. The most specific path wins, not the union
// of all that match: an exact path first, then by the rules at pattern.before.
// "deny" beats every other capability of the same path, and the same path in
// several policies is merged into one rule. A path may hold templates such as
// "{{identity.entity.name}}"; Policy.Fill puts in who asks.
package policy

import (
	"strings"
	"time"
)

// Capability is one thing that can be done to a path.
type Capability string

// The capabilities, named as in the policy language.
const (
	Create Capability = "create"
	Read   Capability = "read"
	Update Capability = "update"
	Patch  Capability = "patch"
	Delete Capability = "delete"
	List   Capability = "list"
	Scan   Capability = "scan"
	Sudo   Capability = "sudo"
	Deny   Capability = "deny"
)

// capabilities is the order of the bits of a capSet, alphabetical as answers
// list them.
var capabilities = [...]Capability{Create, Delete, Deny, List, Patch, Read, Scan, Sudo, Update}

// Known reports whether c is one of the capabilities that can be asked for: all
// but deny.
func (c Capability) Known() bool { return c != Deny && c.bit() != 0 }

// capSet is a set of capabilities, one bit each.
type capSet uint16

// bit returns the set of just c, or 0 where there is no such capability.
func (c Capability) bit() capSet {
	for i, known := range capabilities {
		if c == known {
			return 1 << i
		}
	}
	return 0
}

// capsOf is the set of the given capabilities.
func capsOf(caps ...Capability) capSet {
	var s capSet
	for _, c := range caps {
		s |= c.bit()
	}
	return s
}

var denyBit = Deny.bit()

// Policy is one named, parsed policy. It is not changed once made.
type Policy struct {
	Name  string // lower case
	Text  string // as it was written
	Rules []Rule
}

// Rule is what one policy says about one path.
type Rule struct {
	Path             string // without leading slash; may hold "+" segments and end in "*"
	Line             int    // in the text, from 1; 0 where not known
	Capabilities     []Capability
	Allowed          map[string][]string // parameters that may be sent: lower-case name or "*" to values, none meaning any
	Denied           map[string][]string // parameters that may not be sent, likewise
	Required         []string            // parameters that must be sent
	MinWrap, MaxWrap time.Duration       // bounds of the wrapping TTL; 0: none
	Templates        []string            // what Path asks for, see Policy.Fill; none: it is meant as it is
}

// NormalName is how the name of a policy is stored and compared: in lower case.
func NormalName(name string) string { return strings.ToLower(strings.TrimSpace(name)) }
