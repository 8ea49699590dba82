// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package approle

import (
	"context"
	"maps"
	"strings"

	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

func errLogin() error { return fault.New(fault.Invalid, "invalid role or secret ID") }

// login checks both halves and makes the token. A use of the secret ID is taken
// once all is checked, and before the token is made, durably: a refused login costs
// none, and whatever goes wrong afterwards, none is used twice.
func (e *Engine) login(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	id, secretID := f.Text("role_id"), f.Text("secret_id")
	switch {
	case f.Err() != nil:
		return nil, f.Err()
	case id == "":
		return nil, fault.New(fault.Invalid, "missing role_id")
	case len(id) > maxID || len(secretID) > maxID || strings.Contains(id, "/"):
		return nil, errLogin()
	}
	r, err := e.byID(ctx, id)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, errLogin()
	}
	if err := e.lockout.Check(ctx, r.UUID); err != nil {
		return nil, err
	}
	s := &secret{}
	if r.BindSecret {
		if s, err = e.prove(ctx, req, r, secretID); err != nil {
			return nil, err
		}
	}
	if err := e.allowed(ctx, req, r, s); err != nil {
		return nil, err
	}
	if s.Uses > 0 {
		if s, err = e.use(ctx, req, hashed(r, secretID), accessorsOf(r)); err != nil {
			return nil, err
		}
	}
	if err := e.lockout.Succeeded(ctx, r.UUID); err != nil {
		return nil, err
	}
	return e.Login(ctx, e.token(r, s, id))
}

// allowed checks from where a login comes, and the lockout once more: many may have
// guessed at once.
func (e *Engine) allowed(ctx context.Context, req *engine.Request, r *role, s *secret) error {
	if !engine.InCIDRs(r.SecretCIDRs, req.Remote) || !engine.InCIDRs(r.Token.CIDRs, req.Remote) || !engine.InCIDRs(s.TokenCIDRs, req.Remote) {
		return fault.New(fault.Invalid, "source address %q is not authorized by CIDR restrictions on the role", req.Remote)
	}
	return e.lockout.Check(ctx, r.UUID)
}

// token is what a login with a role ID and a secret ID is given.
func (e *Engine) token(r *role, s *secret, id string) auth.NewToken {
	n := r.Token.Token(e.Mount)
	n.Display = e.Display("")
	n.Meta = map[string]string{}
	maps.Copy(n.Meta, s.Meta)
	n.Meta["role_name"] = r.Name
	n.Alias = &auth.Alias{Name: id, Meta: map[string]string{"role_name": r.Name}}
	n.Private = map[string]string{"role": r.UUID}
	if len(s.TokenCIDRs) > 0 {
		n.CIDRs = s.TokenCIDRs
	}
	return n
}

// byID is the role with a role ID; nil where there is none.
func (e *Engine) byID(ctx context.Context, id string) (found *role, err error) {
	err = e.Space.View(ctx, func(r barrier.Reader) error {
		found = nil
		name, err := r.Get(ctx, idPath(id))
		if err != nil || name == nil {
			return err
		}
		found, err = load(ctx, r, string(name.Value))
		return err
	})
	return found, err
}

// prove finds the secret ID of a login. A wrong one is counted against the role.
func (e *Engine) prove(ctx context.Context, req *engine.Request, r *role, id string) (*secret, error) {
	if id == "" {
		return nil, fault.New(fault.Invalid, "missing secret_id")
	}
	path := hashed(r, id)
	var s *secret
	err := e.Space.View(ctx, func(b barrier.Reader) (err error) {
		s, err = loadSecret(ctx, b, path, req.Now)
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case s == nil:
		if err := e.lockout.Failed(ctx, r.UUID); err != nil {
			return nil, err
		}
		return nil, errLogin()
	case !engine.InCIDRs(s.CIDRs, req.Remote):
		return nil, fault.New(fault.Invalid, "source address %q is not authorized by CIDR restrictions on the secret ID", req.Remote)
	}
	return s, nil
}

// use takes one of the uses of a secret ID.
func (e *Engine) use(ctx context.Context, req *engine.Request, path, accessors string) (s *secret, err error) {
	err = e.Space.Update(ctx, func(w barrier.Writer) error {
		if s, err = loadSecret(ctx, w, path, req.Now); err != nil {
			return err
		}
		if s == nil { // its last use was taken meanwhile
			return errLogin()
		}
		if s.Uses--; s.Uses > 0 {
			s.Updated = req.Now
			return s.save(ctx, w, path)
		}
		if err := w.Delete(ctx, accessors+"/"+s.Accessor); err != nil {
			return err
		}
		return w.Delete(ctx, path)
	})
	return s, err
}

// Renew implements engine.Renewer: the role must still be there.
func (e *Engine) Renew(ctx context.Context, _ *engine.Request, was *auth.Info) (auth.Terms, error) {
	r, err := e.role(ctx, was.Meta["role_name"])
	if err == nil && (r == nil || was.Private["role"] != "" && was.Private["role"] != r.UUID) {
		err = fault.New(fault.Invalid, "the role of the login is gone")
	}
	if err != nil {
		return auth.Terms{}, err
	}
	return r.Token.Terms(e.Mount), nil
}
