// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package oidc serves identity/oidc/: signed identity tokens for others to check, and
// OpenID Connect providers through which people log in to other programs.
package oidc

import (
	"context"
	"slices"
	"strings"

	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/entity"
)

// Entities is what this engine asks of package entity.
type Entities interface {
	Find(ctx context.Context, k entity.Key) (*entity.Identity, error)
}

// Tokens makes the access tokens of the providers.
type Tokens interface {
	Create(ctx context.Context, n auth.NewToken) (*auth.Granted, error)
	// Info looks a token up; one that is not good is fault.Denied.
	Info(ctx context.Context, token string) (*auth.Info, error)
}

// Options are the parts the engine is made of. All but Address are needed.
type Options struct {
	Entities Entities
	Tokens   Tokens
	Space    barrier.Space // of its own
	Address  func() string // scheme and host of this server, as others reach it; nil: not known
}

// Engine is the part of "identity/" below "oidc/".
type Engine struct {
	o Options
}

// New makes the engine.
func New(o Options) *Engine {
	if o.Address == nil {
		o.Address = func() string { return "" }
	}
	return &Engine{o: o}
}

// Special implements identity.Part.
func (e *Engine) Special() engine.Special {
	return engine.Special{
		Routes: slices.Concat(e.keyRoutes(), e.tokenRoleRoutes(), e.tokenRoutes(), e.scopeRoutes(), e.clientRoutes(), e.providerRoutes()),
		Open:   []string{"oidc/.well-known/*", "oidc/provider/+/.well-known/*", "oidc/provider/+/token", "oidc/provider/+/userinfo"},
		Pure: []string{
			"oidc/.well-known/*", "oidc/config", "oidc/key*", "oidc/role*", "oidc/scope*", "oidc/assignment*", "oidc/client*",
			"oidc/provider/", "oidc/provider/+", "oidc/provider/+/.well-known/*", "oidc/provider/+/userinfo",
		},
	}
}

// Exists implements identity.Part: what has a name is made and then changed, all else
// is an update.
func (e *Engine) Exists(ctx context.Context, path string) (bool, error) {
	below, ours := strings.CutPrefix(path, "oidc/")
	kind, name, _ := strings.Cut(below, "/")
	where := map[string]func(string) string{
		"key": keyPath, "role": oidcRolePath, "scope": scopePath, "assignment": assignmentPath, "client": clientPath, "provider": providerPath,
	}[kind]
	if !ours || where == nil || strings.Contains(name, "/") || kind != "client" && name == defaultKey || name == allowAll {
		return true, nil
	}
	there := false
	err := e.o.Space.View(ctx, func(r barrier.Reader) error {
		found, err := r.Get(ctx, where(name))
		there = found != nil
		return err
	})
	return there, err
}

// list answers keys, sorted, with what is known of each.
func list(keys []string, info map[string]any) (*engine.Response, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	slices.Sort(keys)
	return &engine.Response{Data: engine.Keys{Keys: keys, Info: info}}, nil
}

func orEmpty(texts []string) []string {
	if texts == nil {
		return []string{}
	}
	return texts
}
