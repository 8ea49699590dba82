// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package realm makes what each namespace has of its own, and clears away those that
// were deleted.
//
// A namespace is a second set of the same parts over sealed spaces of its own: mounts,
// tokens, policies, entities, wrapped answers. No part is told of another namespace, so
// none can be led into one: who comes with a name, an id or a token of elsewhere finds
// nothing. Only package gate knows of several at once. The root's parts are where they
// have been since before there were namespaces.
package realm

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/engine/cubbyhole"
	"github.com/goldkeep/goldkeep/internal/engine/factor"
	people "github.com/goldkeep/goldkeep/internal/engine/identity"
	"github.com/goldkeep/goldkeep/internal/engine/oidc"
	"github.com/goldkeep/goldkeep/internal/engine/token"
	"github.com/goldkeep/goldkeep/internal/entity"
	"github.com/goldkeep/goldkeep/internal/lease"
	"github.com/goldkeep/goldkeep/internal/store"
)

// Options are the parts that namespaces are made of. All are needed but Log.
type Options struct {
	Store    store.Store
	Space    barrier.Space // the whole tree
	Keys     barrier.Keys
	Leases   *lease.Ledger // of all namespaces together
	Lifetime engine.Lifetimes
	// Kinds are the engines that can be mounted in a namespace.
	Kinds func(*engine.Realm) map[string]engine.Kind
	// Address is scheme and host of this server, as others reach it; nil: not known.
	Address func() string
	// Fix mounts what else is always there, in a namespace whose other parts are made.
	Fix func(*engine.Realm)
	Log *slog.Logger // nil: none
}

// House is all namespaces.
type House struct {
	Root *engine.Realm

	o    Options
	wake chan struct{}
}

// New makes the root namespace, and with it those below. It reads nothing yet.
func New(o Options) *House {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	h := &House{o: o, wake: make(chan struct{}, 1)}
	h.Root = h.build(&engine.Realm{})
	return h
}

// nestedIn stands before the names of the spaces that namespaces have, each below its
// UUID: the parts of one kind lie together, so that what is due in any of them is found
// by one question.
const nestedIn = "ns-"

// space is one of a namespace's spaces, by the name it has in the root.
func (h *House) space(r *engine.Realm) func(part string) barrier.Space {
	return func(part string) barrier.Space {
		s := h.o.Space.Sub(part)
		if r.Parent != nil {
			s = h.o.Space.Sub(nestedIn + part).Sub(r.UUID)
		}
		r.Spaces[part] = s
		return s
	}
}

// build fills in the parts of a namespace.
func (h *House) build(r *engine.Realm) *engine.Realm {
	r.Spaces = map[string]barrier.Space{}
	space := h.space(r)
	drawers := space("cubbyhole")
	r.Leases = h.o.Leases.Of(r.UUID)
	r.Entities = entity.New(space("identity"))
	r.Tokens = auth.NewTokens(auth.TokensOptions{
		Store: h.o.Store, Space: space("token"), Keys: h.o.Keys, DefaultTTL: h.o.Lifetime.Default, MaxTTL: h.o.Lifetime.Max,
		Entities: r.Entities, OnRevoke: []auth.OnRevoke{h.o.Leases.OnRevoke, func(ctx context.Context, tx store.Tx, accessor string) error {
			return cubbyhole.Drop(ctx, drawers.In(tx), accessor)
		}},
		Namespace: r.ID, Patron: patrons(r),
	})
	factors := factor.New(factor.Options{Tokens: r.Tokens, Directory: r.Entities, Space: space("identity-mfa")})
	r.Logins = factors
	r.Policies = auth.NewPolicies(space("policy"))
	r.Policies.Exclusive = h.o.Store.Exclusive()
	r.Wrapping = engine.NewWrapping(space("wrapping"))
	r.Mounts = engine.NewMounts(space("mount"), h.o.Kinds(r), h.o.Store.Exclusive())
	factors.Mounts = r.Mounts
	r.Mounts.System = h.o.Lifetime
	r.Mounts.Taken = func(id string) bool { return r.Above(id) != nil }
	r.Mounts.NestIn(func(kept engine.Mount) *engine.Realm {
		return h.build(&engine.Realm{ID: kept.Namespace.ID, UUID: kept.UUID, Path: r.Path + kept.Path, Parent: r})
	})
	if r.Parent != nil {
		r.Policies.Confine()
		r.Wrapping = engine.NewWrappingOf(space("wrapping"), r.ID)
	}
	space("sys")
	known := people.Options{Entities: r.Entities, Groups: r.Entities, Mounts: r.Mounts, ID: r.ID, Parts: []people.Part{factors}}
	if r.Parent == nil { // logging in to other programs is, so far, the root's
		known.Parts = append(known.Parts, oidc.New(oidc.Options{Entities: r.Entities, Tokens: r.Tokens, Address: h.o.Address, Space: space("identity-oidc")}))
	}
	r.Mounts.Fix("identity/", "identity", "identity store", people.New(known))
	r.Mounts.Fix("cubbyhole/", "cubbyhole", "per-token private secret storage", cubbyhole.New(drawers))
	r.Mounts.Fix("auth/token/", "token", "token based credentials", token.New(token.Options{
		Tokens: r.Tokens, Policies: r.Policies, Mounts: r.Mounts, Space: space("token-role"),
	}))
	h.o.Fix(r)
	return r
}

// patrons asks the namespaces above one for a token.
func patrons(r *engine.Realm) func(context.Context, auth.Patron) (bool, error) {
	return func(ctx context.Context, p auth.Patron) (bool, error) {
		above := r.Above(p.Namespace)
		if above == nil || above == r {
			return false, nil
		}
		return above.Tokens.Accepted(ctx, p.Accessor)
	}
}

// Deleted tells that there is a namespace to be cleared away.
func (h *House) Deleted() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// Known reports whether a token is accepted in its namespace, wherever that is. It takes
// no use of it.
func (h *House) Known(ctx context.Context, token string) (bool, error) {
	if _, err := h.Root.Tokens.Info(ctx, token); err == nil {
		return true, nil
	}
	id, known := token[strings.LastIndexByte(token, '.')+1:], false
	err := h.Root.Walk(ctx, func(_ *engine.Realm, m engine.Mount, r *engine.Realm) (bool, error) {
		if r.ID == id && !m.Namespace.Going {
			_, err := r.Tokens.Info(ctx, token)
			known = known || err == nil
		}
		return true, nil
	})
	return known, err
}

// beat is how often Run looks for what is to be done.
const beat = 5 * time.Second

// Run clears away deleted namespaces and what has expired in the others, until ctx ends.
// sealed says that nothing can be done now.
func (h *House) Run(ctx context.Context, sealed func() bool) error {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		if !sealed() {
			if err := h.Tend(ctx); err != nil && ctx.Err() == nil && !sealed() {
				h.o.Log.ErrorContext(ctx, "namespace work failed, will retry", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-h.wake:
		case <-tick.C:
		}
	}
}
