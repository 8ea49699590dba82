// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/entity"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/lease"
	"github.com/goldkeep/goldkeep/internal/policy"
)

// Realm is what one namespace has of its own: everything. Each part knows only its own
// sealed space, so nothing of one namespace can be named in another. The root namespace
// is a realm like any other.
type Realm struct {
	ID     string // what its tokens end in; "": the root
	UUID   string // what its spaces are called by; "": the root
	Path   string // "", "team/", "team/blue/"
	Parent *Realm // nil: the root

	Mounts   *Mounts
	Tokens   *auth.Tokens
	Policies *auth.Policies
	Entities *entity.Directory
	Leases   *lease.Ledger
	Wrapping *Wrapping
	Logins   Logins
	Spaces   map[string]barrier.Space // all it keeps things in, by their names
}

// Logins stands between the auth methods of a namespace and its tokens: a login becomes
// a token, or is held until it has brought more proof. It is engine/factor.
type Logins interface {
	Tokens
	// Prove turns a held login into its token, once; codes are by the ids or names of
	// methods. fault.Invalid: there is no such login; fault.Denied: a code is missing or
	// wrong.
	Prove(ctx context.Context, requestID string, codes map[string][]string) (*auth.Granted, error)
	// Door is the part of sys/ that codes are brought to.
	Door() Door
}

// Door serves some paths of sys/.
type Door interface{ Special() Special }

// name is the last part of the path.
func (r *Realm) name() string { return strings.TrimPrefix(r.Path, r.Parent.Path) }

// Home is the namespace a token says that it is of: this one or one above it.
func (r *Realm) Home(token string) *Realm {
	id := token[strings.LastIndexByte(token, '.')+1:]
	for r.Parent != nil && r.ID != id {
		r = r.Parent
	}
	return r
}

// Above finds this namespace or one above it by its id; nil where it is none of them.
func (r *Realm) Above(id string) *Realm {
	for r != nil && r.ID != id {
		r = r.Parent
	}
	return r
}

// Below is a path of this namespace as one above it names it: "blue/secret/".
func (r *Realm) Below(above *Realm, path string) string {
	return strings.TrimPrefix(r.Path, above.Path) + path
}

// Holder is what is known of a token that can be used here, and what it may do here.
// Any other is fault.Denied.
func (r *Realm) Holder(ctx context.Context, token string) (*auth.Info, policy.Set, error) {
	home := r.Home(token)
	info, err := home.Tokens.Info(ctx, token)
	if err == nil && info.Refused() {
		err = fault.New(fault.Denied, "permission denied")
	}
	if err != nil {
		return nil, policy.Set{}, err
	}
	set, err := home.Policies.Set(ctx, info.All(), info.Identity)
	return info, set.Within(r.Below(home, "")), err
}

// Find walks from this namespace to the one a path leads to, and returns what is left
// of the path.
func (r *Realm) Find(ctx context.Context, path string) (*Realm, string, error) {
	for {
		inner, rest, err := r.Mounts.inner(ctx, path)
		if err != nil || inner == nil {
			return r, path, err
		}
		r, path = inner, rest
	}
}

// Enter finds the namespace that a header names, below this one: all of it, or it is
// fault.NotFound.
func (r *Realm) Enter(ctx context.Context, name string) (*Realm, error) {
	name = slashed(name)
	if name == "" || name == "root/" && r.Parent == nil {
		return r, nil
	}
	found, rest, err := r.Find(ctx, name)
	if err == nil && rest != "" {
		err = fault.New(fault.NotFound, "there is no such namespace").WithHint("see which there are: LIST sys/namespaces")
	}
	return found, err
}

// Walk calls fn for each namespace below this one: with the one it is in, what its table
// of mounts says, and itself. Those below it follow where fn says so.
func (r *Realm) Walk(ctx context.Context, fn func(in *Realm, m Mount, below *Realm) (deeper bool, err error)) error {
	t, err := r.Mounts.current(ctx)
	if err != nil {
		return err
	}
	for _, path := range slices.Sorted(maps.Keys(t.realms)) {
		found := t.realms[path]
		deeper, err := fn(r, found.mount, found.realm)
		if err == nil && deeper {
			err = found.realm.Walk(ctx, fn)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Closed reports whether this namespace is to be deleted, whether or not the one above
// knows it yet.
func (r *Realm) Closed(ctx context.Context) (bool, error) {
	t, err := r.Mounts.current(ctx)
	return err == nil && t.closed, err
}

// TaintChild notes that a namespace right below this one is to be deleted: from then on
// nobody reaches it. It reports whether there is one. One that has others below is
// fault.Invalid.
func (r *Realm) TaintChild(ctx context.Context, name string) (bool, error) {
	t, err := r.Mounts.current(ctx)
	if err != nil {
		return false, err
	}
	child := t.realms[slashed(name)].realm
	if child == nil {
		return false, nil
	}
	return true, r.Taint(ctx, child)
}

// Taint is TaintChild for one that was found before, and for no other of its name.
func (r *Realm) Taint(ctx context.Context, child *Realm) error {
	// First its own table is closed, so that no other is made below meanwhile.
	if err := child.Mounts.close(ctx, child.Path); err != nil {
		return err
	}
	return r.Mounts.taint(ctx, child.UUID)
}
