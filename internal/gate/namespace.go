// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"context"
	"strings"

	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// part is what a request meets of one namespace.
type part struct {
	realm    *engine.Realm // nil: there are no namespaces
	path     string        // "" for the root, else "team/"
	mounts   *engine.Mounts
	tokens   Tokens
	policies Policies
	leases   Leases
	wrapping *engine.Wrapping
}

func (g *Gate) part(r *engine.Realm) *part {
	if r.Parent == nil {
		return g.root
	}
	return &part{realm: r, path: r.Path, mounts: r.Mounts, tokens: r.Tokens, policies: r.Policies, leases: r.Leases, wrapping: r.Wrapping}
}

// offered are the paths of sys/ that there are in every namespace. All others, those to
// come too, are the root's alone.
var offered = []string{
	"sys/mounts", "sys/mounts/*", "sys/auth", "sys/auth/*", "sys/remount", "sys/remount/*",
	"sys/policy", "sys/policy/*", "sys/policies/*", "sys/namespaces", "sys/namespaces/*",
	"sys/leases", "sys/leases/*", "sys/renew", "sys/renew/*", "sys/revoke", "sys/revoke/*", "sys/revoke-prefix/*", "sys/revoke-force/*",
	"sys/wrapping/*", "sys/capabilities", "sys/capabilities-self", "sys/capabilities-accessor", "sys/tools/*",
	"sys/internal/ui/mounts", "sys/internal/ui/mounts/*", "sys/internal/ui/resultant-acl", "sys/internal/specs/openapi",
	"sys/locked-users", "sys/locked-users/*", "sys/plugins/catalog", "sys/plugins/catalog/*",
}

// rootOnly are paths elsewhere that there are in the root namespace alone, so far.
var rootOnly = []string{"identity/oidc/*", "identity/mfa/*"}

// ownPaths are about the token that asks, wherever it asks: they are answered by the
// token's own namespace.
var ownPaths = []string{"auth/token/lookup-self", "auth/token/renew-self", "auth/token/revoke-self", "cubbyhole/*"}

func (w *walk) asksOfItself() bool {
	return engine.MatchPath(ownPaths, w.Path) || w.Path == "auth/token/lookup" && w.Data["token"] == nil
}

// full is the path with the namespace before it.
func (w *walk) full() string { return w.in.path + w.Path }

// foreign reports whether the token is of a namespace above the one it is used in.
func (w *walk) foreign() bool { return w.home.path != w.in.path }

// enter goes into the namespace that the header names.
func (g *Gate) enter(ctx context.Context, w *walk) error {
	name := strings.Trim(w.Namespace, "/")
	if name == "" || name == "root" {
		return nil
	}
	if err := checkPath(name); err != nil {
		return err
	}
	if g.o.Root == nil {
		return fault.New(fault.NotFound, "there is no such namespace")
	}
	realm, err := g.o.Root.Enter(ctx, name)
	if err != nil {
		return sealedOr(err)
	}
	w.in = g.part(realm)
	return nil
}

// find looks for the engine of a path, also in the namespaces the path begins with.
func (g *Gate) find(ctx context.Context, w *walk) (err error) {
	for {
		w.slot, w.below, err = w.in.mounts.Resolve(ctx, w.Path)
		if err == nil && w.slot == nil && w.op == engine.Help { // a mount's name without its slash
			w.slot, w.below, err = w.in.mounts.Resolve(ctx, w.Path+"/")
		}
		if err != nil || w.slot != nil || w.in.realm == nil {
			return sealedOr(err)
		}
		realm, rest, err := w.in.realm.Find(ctx, w.Path)
		if err != nil || realm == w.in.realm {
			return sealedOr(err)
		}
		inner := *w.Request
		inner.Path = rest
		w.Request, w.in = &inner, g.part(realm)
	}
}

// belong finds out, in a namespace, of which one the token is. It is there no more than
// a claim: the tokens of that one are asked by identify.
func (g *Gate) belong(ctx context.Context, w *walk) error {
	w.home = g.root
	if w.in == g.root {
		return nil
	}
	if strings.HasPrefix(w.Path, "sys/") && !engine.MatchPath(offered, w.Path) || engine.MatchPath(rootOnly, w.Path) {
		return fault.New(fault.Invalid, "operation only available in root namespace")
	}
	if home := w.in.realm.Home(w.Token); home == w.in.realm {
		w.home = w.in
	} else {
		w.home = g.part(home)
	}
	if w.foreign() && w.asksOfItself() {
		w.in = w.home
		return g.find(ctx, w)
	}
	return nil
}

// shown is the subject as the engines of the request's namespace may see it: of a token
// from above they learn who it is, not the names it has there.
func (w *walk) shown() *auth.Subject {
	if w.subject == nil || !w.foreign() {
		return w.subject
	}
	s := *w.subject
	s.Policies, s.Identity, s.Instance = nil, nil, ""
	s.Foreign = &auth.Patron{Namespace: w.home.realm.ID, Accessor: s.Accessor}
	return &s
}
