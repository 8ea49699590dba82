// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package factor asks for more than one proof at a login (login MFA): it serves
// identity/mfa/ and sys/mfa/, and stands between the auth methods and the tokens.
//
// A login that an enforcement speaks of gets no token: what it would have become is
// kept, sealed, under a request id that is told instead, until the proofs are
// brought, once, or five minutes have passed. Where anything is missing, not
// offered or not known, there is no token.
package factor

import (
	"context"
	"slices"

	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/entity"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// Tokens is what this engine asks of package auth.
type Tokens interface {
	Create(ctx context.Context, n auth.NewToken) (*auth.Granted, error)
	// Know finds or makes the entity of who logs in, and returns its id.
	Know(ctx context.Context, n auth.NewToken) (string, error)
}

// Directory is what this engine asks of package entity.
type Directory interface {
	Resolve(ctx context.Context, id string) (*entity.Identity, error)
	Find(ctx context.Context, k entity.Key) (*entity.Identity, error)
	Group(ctx context.Context, k entity.Key) (*entity.Group, error)
}

// Mounts knows the auth mounts people log in at.
type Mounts interface {
	List(ctx context.Context) ([]engine.Mount, error)
}

// Options are the parts the engine is made of. All are needed.
type Options struct {
	Tokens    Tokens
	Directory Directory
	Space     barrier.Space // of its own
}

// Engine keeps methods, enforcements, people's second factors and held logins. It is
// the engine.Logins of a namespace, and the part of identity/ below "mfa/".
type Engine struct {
	// Mounts is set before use: the mounts are made with this engine in hand.
	Mounts Mounts
	o      Options
}

// New makes the engine.
func New(o Options) *Engine { return &Engine{o: o} }

// Special implements identity.Part.
func (e *Engine) Special() engine.Special {
	return engine.Special{
		Routes: slices.Concat(e.methodRoutes(), e.secretRoutes(), e.enforcementRoutes()),
		Pure:   []string{"mfa/*"},
	}
}

// Exists implements identity.Part: every write is an update.
func (*Engine) Exists(context.Context, string) (bool, error) { return true, nil }

// door is the part of sys/ where held logins bring their proofs.
type door struct{ e *Engine }

// Door implements engine.Logins.
func (e *Engine) Door() engine.Door { return door{e} }

// Special implements sys.Part.
func (d door) Special() engine.Special {
	return engine.Special{Open: []string{"mfa/validate"}, Routes: []engine.Route{
		{Path: "mfa/validate", Help: "Bring the proofs a login was asked for.", Takes: "mfa_request_id mfa_payload:map", Ops: engine.Ops{Write: d.e.validate}},
	}}
}

// warning goes with the answer to a login that is held, in the words clients know.
const warning = "A login request was issued that is subject to MFA validation. Please make sure to validate the login by sending another request to mfa/validate endpoint."

// Create implements engine.Tokens: a login becomes a token, or is held.
func (e *Engine) Create(ctx context.Context, n auth.NewToken) (*auth.Granted, error) {
	all, err := e.enforcements(ctx)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return e.o.Tokens.Create(ctx, n)
	}
	if n.Parent != nil {
		return nil, fault.New(fault.Internal, "a login has a parent")
	}
	who, err := e.behind(ctx, n)
	if err != nil {
		return nil, err
	}
	kind, err := e.kindOf(ctx, n.Mount)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(x *enforcement) bool { return !x.meets(n.Mount, kind, who) })
	if len(all) == 0 {
		return e.o.Tokens.Create(ctx, n)
	}
	return e.hold(ctx, n, who, all)
}

// behind is who logs in; nil where the method does not say.
func (e *Engine) behind(ctx context.Context, n auth.NewToken) (*entity.Identity, error) {
	id, err := e.o.Tokens.Know(ctx, n)
	if err != nil || id == "" {
		return nil, err
	}
	return e.o.Directory.Resolve(ctx, id)
}

// kindOf is the type of the auth mount with an accessor: "userpass".
func (e *Engine) kindOf(ctx context.Context, accessor string) (string, error) {
	all, err := e.Mounts.List(ctx)
	for _, m := range all {
		if m.Auth() && m.Accessor == accessor {
			return m.Kind, err
		}
	}
	if err == nil {
		err = fault.New(fault.Denied, "the auth method has been disabled")
	}
	return "", err
}

func orEmpty(texts []string) []string {
	if texts == nil {
		return []string{}
	}
	return texts
}
