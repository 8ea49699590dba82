// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package jwt lets people and programs log in with what a provider of identities
// says of them: programs by a signed token (RFC 7519), people by OpenID Connect's
// authorization code flow with PKCE (RFC 7636) in their browser.
//
// Nothing in a token is believed before its signature: not the algorithm it names,
// which must be an asymmetric one that fits the key, and no key it brings along.
package jwt

import (
	"context"
	"crypto/sha256"
	"strings"
	"sync"

	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// Engine serves one mount.
type Engine struct {
	engine.Method
	flows  barrier.Space // logins under way in browsers
	starts throttle

	mu      sync.Mutex
	current *provider // of the configuration as it was last seen
	stamp   [sha256.Size]byte
}

// New returns the kind of engine whose tokens are made by tokens. It serves "jwt"
// and "oidc", which differ in their name alone.
func New(tokens engine.Tokens) engine.Kind {
	return func(m engine.Mount, space barrier.Space) engine.Engine {
		e := &Engine{flows: space.Sub("flow")}
		e.Method = engine.Method{
			Mount: m, Space: space, Tokens: tokens, Folder: "role", Kept: rolePath,
			Logins: []string{"login", "oidc/auth_url", "oidc/callback", "oidc/poll"}, Acting: []string{"oidc/callback"},
			Router: engine.Routes([]engine.Route{
				{Path: "config", Ops: engine.Ops{Read: e.showConfig, Write: e.putConfig}, Takes: configFields, Help: "Whose tokens are believed."},
				{Path: "role", Ops: engine.Ops{List: e.listRoles}, Help: "The roles."},
				{Path: "role/{name}", Ops: engine.Ops{Read: e.showRole, Write: e.putRole, Delete: e.removeRole}, Takes: roleFields, Help: "Which tokens let in, and to what."},
				{Path: "login", Ops: engine.Ops{Write: e.login}, Takes: "role jwt", Help: "Log in with a signed token."},
				{Path: "oidc/auth_url", Ops: engine.Ops{Write: e.authURL}, Takes: "role redirect_uri client_nonce", Help: "Where a browser has to go to log in."},
				{Path: "oidc/callback", Ops: engine.Ops{Read: e.callback, Write: e.posted}, Takes: "*", Help: "Where the browser comes back to."},
				{Path: "oidc/poll", Ops: engine.Ops{Write: e.poll}, Takes: "state client_nonce", Help: "The end of a login in direct mode."},
			}),
		}
		return e
	}
}

// provider is what the configuration describes, with what is known of it by now:
// it stays while the configuration does, whichever server changed it.
func (e *Engine) provider(ctx context.Context) (*provider, error) {
	c, err := engine.Look[config](ctx, e.Space, "config")
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, fault.New(fault.Invalid, "could not load configuration").WithHint("write %sconfig first", e.Mount.Path)
	}
	stamp := stampOf(c)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.current == nil || e.stamp != stamp {
		made, err := newProvider(c)
		if err != nil {
			return nil, err
		}
		e.current, e.stamp = made, stamp
	}
	return e.current, nil
}

// named finds the role of a login: the one asked for, or the default.
func (e *Engine) named(ctx context.Context, asked string, c *config) (*role, error) {
	if asked == "" {
		asked = c.DefaultRole
	}
	if asked == "" {
		return nil, fault.New(fault.Invalid, "missing role")
	}
	r, err := engine.Look[role](ctx, e.Space, rolePath(asked))
	if err == nil && r == nil {
		err = fault.New(fault.Invalid, "role %q could not be found", strings.ToLower(asked))
	}
	return r, err
}

// login lets a program in that brings a token of the provider.
func (e *Engine) login(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	token, asked := f.Text("jwt"), f.Text("role")
	if f.Err() != nil {
		return nil, f.Err()
	}
	p, err := e.provider(ctx)
	if err != nil {
		return nil, err
	}
	r, err := e.named(ctx, asked, p.config)
	if err != nil {
		return nil, err
	}
	switch {
	case r.Type == typeOIDC:
		return nil, fault.New(fault.Invalid, "role with oidc role_type is not allowed")
	case token == "":
		return nil, fault.New(fault.Invalid, "missing token")
	case !engine.InCIDRs(r.Token.CIDRs, req.Remote):
		return nil, fault.New(fault.Denied, "permission denied")
	}
	claims, err := p.read(ctx, token, req.Now)
	if err == nil {
		err = r.accept(claims, p, req.Now)
	}
	if err != nil {
		return nil, prefixed("error validating token: ", err)
	}
	who, err := r.identify(claims)
	if err != nil {
		return nil, err
	}
	return e.grant(ctx, req, r, who)
}

// prefixed puts a text before an error of the caller's; others stay as they are, and
// those that say already what was done.
func prefixed(text string, err error) error {
	if !fault.Is(err, fault.Invalid) || strings.HasPrefix(err.Error(), "error validating claims") {
		return err
	}
	return fault.New(fault.Invalid, "%s%w", text, err)
}

// grant makes the token of who has been identified.
func (e *Engine) grant(ctx context.Context, req *engine.Request, r *role, who *who) (*engine.Response, error) {
	if !engine.InCIDRs(r.Token.CIDRs, req.Remote) {
		return nil, fault.New(fault.Denied, "permission denied")
	}
	n := r.Token.Token(e.Mount)
	n.Display, n.Meta, n.Path = e.Display(who.Name), who.Meta, e.Mount.Path+req.Path
	n.Alias, n.Groups = &auth.Alias{Name: who.Name, Meta: who.Meta}, who.Groups
	return e.Login(ctx, n)
}

// Renew implements engine.Renewer: the role must still be there.
func (e *Engine) Renew(ctx context.Context, _ *engine.Request, was *auth.Info) (auth.Terms, error) {
	r, err := engine.Look[role](ctx, e.Space, rolePath(was.Meta["role"]))
	if err == nil && r == nil {
		err = fault.New(fault.Invalid, "the role of the login is gone")
	}
	if err != nil {
		return auth.Terms{}, err
	}
	return r.Token.Terms(e.Mount), nil
}
