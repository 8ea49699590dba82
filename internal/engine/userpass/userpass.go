// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package userpass lets people log in with a name and a password.
package userpass

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// Engine serves one mount.
type Engine struct {
	engine.Method
	lockout engine.Lockout
	turns   chan struct{} // bounds the passwords being compared: each costs much
}

// compared is how many passwords are compared at once.
const compared = 4

// New returns the kind of engine whose tokens are made by tokens.
func New(tokens engine.Tokens) engine.Kind {
	return func(m engine.Mount, space barrier.Space) engine.Engine {
		e := &Engine{lockout: engine.NewLockout(space.Sub("lockout"), m.Config.UserLockout), turns: make(chan struct{}, compared)}
		e.Method = engine.Method{
			Mount: m, Space: space, Tokens: tokens, Logins: []string{"login/*"}, Folder: "users", Kept: path,
			Router: engine.Routes([]engine.Route{
				{Path: "login/{name}", Ops: engine.Ops{Write: e.login}, Takes: "password", Help: "Log in with a password."},
				{Path: "users", Ops: engine.Ops{List: e.list}, Help: "The users."},
				{Path: "users/{name}", Ops: engine.Ops{Read: e.show, Write: e.put, Delete: e.remove}, Takes: "password password_hash" + engine.TokenFields, Help: "A user."},
				{Path: "users/{name}/password", Ops: engine.Ops{Write: e.setPassword}, Takes: "password password_hash", Help: "A user's password."},
				{Path: "users/{name}/policies", Ops: engine.Ops{Write: e.setPolicies}, Takes: "token_policies:list policies:list", Help: "A user's policies."},
			}),
		}
		return e
	}
}

// user is one account.
type user struct {
	Hash []byte           `json:"hash"` // bcrypt
	Role engine.TokenRole `json:"role"`
}

func path(name string) string { return "user/" + strings.ToLower(name) }

func load(ctx context.Context, r barrier.Reader, name string) (*user, error) {
	return engine.Found[user](ctx, r, path(name))
}

func (e *Engine) list(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	return e.Names(ctx, "user")
}

func (e *Engine) show(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	u, err := engine.Look[user](ctx, e.Space, path(v["name"]))
	if err != nil || u == nil {
		return nil, err
	}
	data := map[string]any{}
	u.Role.Show(data)
	return &engine.Response{Data: data}, nil
}

// put makes a user or changes one; a new one needs a password.
func (e *Engine) put(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	hash, err := e.hash(ctx, f)
	if err != nil {
		return nil, err
	}
	return nil, e.edit(ctx, v["name"], true, func(u *user) error {
		if hash == nil && u.Hash == nil {
			return fault.New(fault.Invalid, "missing password")
		}
		if hash != nil {
			u.Hash = hash
		}
		return u.Role.Update(f)
	})
}

func (e *Engine) edit(ctx context.Context, name string, create bool, change func(*user) error) error {
	return e.Space.Update(ctx, func(w barrier.Writer) error {
		u, err := load(ctx, w, name)
		if err != nil {
			return err
		}
		if u == nil && !create {
			return fault.New(fault.Invalid, "username does not exist")
		}
		if u == nil {
			u = &user{}
		}
		if err := change(u); err != nil {
			return err
		}
		return w.Put(ctx, barrier.Entry{Path: path(name), Value: engine.Stored(u)})
	})
}

// maxPassword is the longest password bcrypt tells apart, in bytes.
const maxPassword = 72

// The costs of a bcrypt hash from outside: a lower one is guessed too soon, a higher
// one keeps a turn for so long that nobody else gets in.
const minCost, maxCost = 10, 14

// hash is the bcrypt hash of the password a request brings, or the one it brings
// itself; nil where it brings neither.
func (e *Engine) hash(ctx context.Context, f *engine.Fields) ([]byte, error) {
	password, given := f.Text("password"), f.Text("password_hash")
	switch {
	case f.Err() != nil:
		return nil, f.Err()
	case password != "" && given != "":
		return nil, fault.New(fault.Invalid, "give password or password_hash, not both")
	case len(password) > maxPassword:
		return nil, fault.New(fault.Invalid, "a password has at most %d bytes", maxPassword)
	case given != "":
		cost, err := bcrypt.Cost([]byte(given))
		if err != nil {
			return nil, fault.New(fault.Invalid, "password_hash is no bcrypt hash")
		}
		if cost < minCost || cost > maxCost {
			return nil, fault.New(fault.Invalid, "password_hash has the bcrypt cost %d; it must be from %d to %d", cost, minCost, maxCost)
		}
		return []byte(given), nil
	case password == "":
		return nil, nil
	}
	done, err := e.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
	if err != nil {
		return nil, fmt.Errorf("hash password: %w", err)
	}
	return hash, nil
}

// turn waits for a place among those who compare passwords.
func (e *Engine) turn(ctx context.Context) (done func(), err error) {
	select {
	case e.turns <- struct{}{}:
		return func() { <-e.turns }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (e *Engine) setPassword(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	hash, err := e.hash(ctx, engine.Read(req))
	if err == nil && hash == nil {
		err = fault.New(fault.Invalid, "missing password")
	}
	if err != nil {
		return nil, err
	}
	return nil, e.edit(ctx, v["name"], false, func(u *user) error {
		u.Hash = hash
		return nil
	})
}

func (e *Engine) setPolicies(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	return nil, e.edit(ctx, v["name"], false, func(u *user) error {
		return u.Role.UpdatePolicies(f)
	})
}

func (e *Engine) remove(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	if err := e.Remove(ctx, path(v["name"])); err != nil {
		return nil, err
	}
	return nil, e.lockout.Succeeded(ctx, strings.ToLower(v["name"]))
}

// nobody is compared with where there is no such user, so that the time it takes
// does not tell.
var nobody = []byte("$2a$10$7EqJtq98hPqEX7fNZaFWoOhi5BWX4Z1Z3M3nmU8y8RZ6lZ0e2W0yS")

func errLogin() error { return fault.New(fault.Invalid, "invalid username or password") }

func (e *Engine) login(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	password, name := f.Text("password"), strings.ToLower(v["name"])
	switch {
	case f.Err() != nil:
		return nil, f.Err()
	case password == "":
		return nil, fault.New(fault.Invalid, "missing password")
	}
	u, err := engine.Look[user](ctx, e.Space, path(name))
	if err != nil {
		return nil, err
	}
	if err := e.compare(ctx, u, name, password); err != nil {
		return nil, err
	}
	if !engine.InCIDRs(u.Role.CIDRs, req.Remote) {
		return nil, fault.New(fault.Denied, "permission denied")
	}
	if err := e.lockout.Succeeded(ctx, name); err != nil {
		return nil, err
	}
	n := u.Role.Token(e.Mount)
	n.Display, n.Meta = e.Display(name), map[string]string{"username": name}
	n.Path += "/" + name
	n.Alias = &auth.Alias{Name: name}
	return e.Login(ctx, n)
}

// Renew implements engine.Renewer: the user must still be there, with the policies
// of the login.
func (e *Engine) Renew(ctx context.Context, _ *engine.Request, was *auth.Info) (auth.Terms, error) {
	u, err := engine.Look[user](ctx, e.Space, path(was.Meta["username"]))
	if err != nil {
		return auth.Terms{}, err
	}
	if u == nil {
		return auth.Terms{}, fault.New(fault.Invalid, "the user of the login is gone")
	}
	return u.Role.Renews(e.Mount, was)
}

// compare is errLogin where the password is not the user's, and counts that. It
// takes as long where there is no user, and locks nobody as well: neither tells who
// there is. It is counted before the next one's turn, so that many guesses at once
// are few.
func (e *Engine) compare(ctx context.Context, u *user, name, password string) error {
	done, err := e.turn(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := e.lockout.Check(ctx, name); err != nil {
		return err
	}
	hash := nobody
	if u != nil {
		hash = u.Hash
	}
	if bcrypt.CompareHashAndPassword(hash, []byte(password)) == nil && u != nil && len(password) <= maxPassword {
		return nil
	}
	if err := e.lockout.Failed(ctx, name); err != nil {
		return err
	}
	return errLogin()
}

var _ engine.Locker = (*Engine)(nil)

// Locked implements engine.Locker.
func (e *Engine) Locked(ctx context.Context) ([]string, error) { return e.lockout.Locked(ctx) }

// Unlock implements engine.Locker.
func (e *Engine) Unlock(ctx context.Context, account string) error {
	return e.lockout.Unlock(ctx, account)
}
