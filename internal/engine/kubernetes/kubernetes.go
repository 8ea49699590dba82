// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package kubernetes lets pods log in with the token of their service account: the
// cluster's API server says whose it is (TokenReview, authentication.k8s.io/v1).
package kubernetes

import (
	"context"
	"strings"

	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// PodDir is where a pod finds its own token and the cluster's authority.
const PodDir = "/var/run/secrets/kubernetes.io/serviceaccount"

// asked is how many questions a mount has open at the API server: whoever can
// reach us can make us ask.
const asked = 16

// Engine serves one mount.
type Engine struct {
	engine.Method
	podDir string
	turns  chan struct{}
	last   clients
}

// New returns the kind of engine whose tokens are made by tokens. podDir is where
// this server finds its own token and authority if it runs in a pod: PodDir.
func New(tokens engine.Tokens, podDir string) engine.Kind {
	return func(m engine.Mount, space barrier.Space) engine.Engine {
		e := &Engine{podDir: podDir, turns: make(chan struct{}, asked)}
		e.Method = engine.Method{
			Mount: m, Space: space, Tokens: tokens, Logins: []string{"login"}, Folder: "role", Kept: rolePath,
			Router: engine.Routes([]engine.Route{
				{Path: "login", Ops: engine.Ops{Write: e.login}, Takes: "role jwt", Help: "Log in with a service account's token."},
				{Path: "config", Ops: engine.Ops{Read: e.showConfig, Write: e.putConfig}, Takes: configFields, Help: "The cluster whose tokens are believed."},
				{Path: "role", Ops: engine.Ops{List: e.listRoles}, Help: "The roles."},
				{Path: "role/{name}", Ops: engine.Ops{Read: e.showRole, Write: e.putRole, Delete: e.removeRole}, Takes: roleFields, Help: "Which service accounts log in, and to what."},
			}),
		}
		return e
	}
}

func denied(why string) error { return fault.New(fault.Denied, "permission denied: %s", why) }

// login lets a service account in. What its token says is only a reason to refuse
// early: the API server's word counts.
func (e *Engine) login(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	name, token := f.Text("role"), f.Text("jwt")
	switch {
	case f.Err() != nil:
		return nil, f.Err()
	case name == "":
		return nil, fault.New(fault.Invalid, "missing role")
	case token == "":
		return nil, fault.New(fault.Invalid, "missing jwt")
	}
	r, err := engine.Look[role](ctx, e.Space, rolePath(name))
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, fault.New(fault.Invalid, "invalid role name %q", strings.ToLower(name))
	}
	if !engine.InCIDRs(r.Token.CIDRs, req.Remote) {
		return nil, fault.New(fault.Denied, "permission denied")
	}
	cluster, err := e.cluster(ctx)
	if err != nil {
		return nil, err
	}
	says, err := cluster.config.read(token, r, req.Now)
	if err != nil {
		return nil, err
	}
	done, err := e.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	account, err := cluster.review(ctx, token, says, r.Audience)
	if err == nil {
		err = cluster.place(ctx, r, account, token)
	}
	if err != nil {
		return nil, err
	}
	return e.grant(ctx, r, account)
}

// turn waits for a place among those who ask the API server.
func (e *Engine) turn(ctx context.Context) (done func(), err error) {
	select {
	case e.turns <- struct{}{}:
		return func() { <-e.turns }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (e *Engine) grant(ctx context.Context, r *role, a *account) (*engine.Response, error) {
	n := r.Token.Token(e.Mount)
	n.Display = e.Display(a.Namespace + "-" + a.Name)
	known := map[string]string{
		"service_account_uid": a.UID, "service_account_name": a.Name, "service_account_namespace": a.Namespace,
		"service_account_secret_name": a.Secret,
	}
	n.Alias = &auth.Alias{Name: a.UID, Meta: known}
	if r.Alias == aliasByName {
		n.Alias.Name = a.Namespace + "/" + a.Name
	}
	n.Meta = map[string]string{"role": r.Name}
	for k, v := range known {
		n.Meta[k] = v
	}
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
