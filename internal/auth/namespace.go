// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"context"
	"strings"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/policy"
)

// Patron is a token of a namespace above, by which a token was made: what it made is
// accepted only while it is itself. A parent is in the same namespace and is found in
// the same space; a patron is asked for.
type Patron struct {
	Namespace string `json:"namespace,omitempty"` // its id; "": the root
	Accessor  string `json:"accessor"`
}

// suffix is what tokens of a namespace end in: it says where to look them up.
func (t *Tokens) suffix() string {
	if t.o.Namespace == "" {
		return ""
	}
	return "." + t.o.Namespace
}

// ours reports whether a token can be of this namespace.
func (t *Tokens) ours(token string) bool { return strings.HasSuffix(token, t.suffix()) }

// bound is what a batch token is sealed for, so that no other namespace opens it.
func (t *Tokens) bound() []byte {
	if t.o.Namespace == "" {
		return nil
	}
	return []byte(t.o.Namespace)
}

// checkNamespace refuses, outside the root namespace, what belongs to it.
func (t *Tokens) checkNamespace(rec *record) error {
	if t.o.Namespace != "" && rec.root() {
		return fault.New(fault.Invalid, "root tokens may not be created in a namespace other than the root").
			WithHint("write a policy that allows what is needed in this namespace, and give the token that")
	}
	return nil
}

// patronLives reports whether the token by which a record came into its namespace is
// still accepted in its own.
func (t *Tokens) patronLives(ctx context.Context, rec *record) (bool, error) {
	if rec == nil || rec.Patron == nil {
		return true, nil
	}
	if t.o.Patron == nil {
		return false, nil
	}
	return t.o.Patron(ctx, *rec.Patron)
}

// Accepted reports whether the token of an accessor is accepted now. It takes no use
// of it; one whose last use this is counts, as it may be asking.
func (t *Tokens) Accepted(ctx context.Context, accessor string) (bool, error) {
	info, err := t.InfoByAccessor(ctx, accessor)
	if fault.Is(err, fault.Invalid) || fault.Is(err, fault.Denied) {
		return false, nil
	}
	return err == nil && !info.Refused(), err
}

// Confine makes these the policies of a namespace other than the root: "root" and
// "node" are names like any other there, without a text and not to be written.
func (p *Policies) Confine() { p.confined = true }

// rootOnly are the policies that other namespaces do not have.
func rootOnly(name string) bool { return name == policy.RootName || name == policy.NodeName }
