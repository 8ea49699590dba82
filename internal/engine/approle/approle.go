// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package approle lets programs log in with two halves: a role ID that says who
// they are, and a secret ID that proves it, handed over by somebody else.
//
// A secret ID is kept under its hash, never as itself; its accessor names it
// without being it.
package approle

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// Engine serves one mount.
type Engine struct {
	engine.Method
	lockout engine.Lockout
}

// New returns the kind of engine whose tokens are made by tokens.
func New(tokens engine.Tokens) engine.Kind {
	return func(m engine.Mount, space barrier.Space) engine.Engine {
		e := &Engine{lockout: engine.NewLockout(space.Sub("lockout"), m.Config.UserLockout)}
		e.Method = engine.Method{
			Mount: m, Space: space, Tokens: tokens, Logins: []string{"login"}, Folder: "role", Kept: rolePath,
			Router: engine.Routes(append(append([]engine.Route{
				{Path: "login", Ops: engine.Ops{Write: e.login}, Takes: "role_id secret_id", Help: "Log in with both halves."},
				{Path: "role", Ops: engine.Ops{List: e.list}, Help: "The roles."},
				{
					Path: "role/{name}", Ops: engine.Ops{Read: e.show, Write: e.put, Delete: e.remove}, Help: "Who may log in, and to what.",
					Takes: "role_id bind_secret_id:bool secret_id_bound_cidrs:list secret_id_num_uses:int secret_id_ttl:duration local_secret_ids:bool bound_cidr_list:list" + engine.TokenFields,
				},
				{Path: "role/{name}/role-id", Ops: engine.Ops{Read: e.showID, Write: e.setID}, Takes: "role_id", Help: "The first half."},
				{Path: "tidy/secret-id", Ops: engine.Ops{Write: e.tidy}, Help: "Remove secret IDs whose time has passed."},
			}, e.secretRoutes()...), e.fieldRoutes()...)),
		}
		return e
	}
}

// role is who may log in, and what token that gives.
type role struct {
	Name        string           `json:"name"`
	UUID        string           `json:"uuid"` // names its secret IDs; a role made again has none of the old
	ID          string           `json:"id"`
	BindSecret  bool             `json:"bindSecret"`
	SecretCIDRs []string         `json:"secretCIDRs,omitempty"`
	SecretUses  int              `json:"secretUses,omitempty"` // of new secret IDs; 0: no limit
	SecretTTL   time.Duration    `json:"secretTTL,omitempty"`  // of new secret IDs; 0: no limit
	Local       bool             `json:"local,omitempty"`
	Token       engine.TokenRole `json:"token"`
}

func rolePath(name string) string { return "role/" + strings.ToLower(name) }
func idPath(id string) string     { return "id/" + id }

func (e *Engine) role(ctx context.Context, name string) (*role, error) {
	return engine.Look[role](ctx, e.Space, rolePath(name))
}

func load(ctx context.Context, r barrier.Reader, name string) (*role, error) {
	return engine.Found[role](ctx, r, rolePath(name))
}

func (r *role) save(ctx context.Context, w barrier.Writer) error {
	return w.Put(ctx, barrier.Entry{Path: rolePath(r.Name), Value: engine.Stored(r)})
}

// newID is a random name in the form of a UUID (RFC 9562, version 4).
func newID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails: see crypto/rand
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func (e *Engine) list(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	return e.Names(ctx, "role")
}

func (e *Engine) show(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	r, err := e.role(ctx, v["name"])
	if err != nil || r == nil {
		return nil, err
	}
	return &engine.Response{Data: r.shown()}, nil
}

func (r *role) shown() map[string]any {
	data := map[string]any{
		"bind_secret_id": r.BindSecret, "local_secret_ids": r.Local, "secret_id_num_uses": r.SecretUses, "secret_id_ttl": int64(r.SecretTTL / time.Second),
	}
	data["secret_id_bound_cidrs"] = nil
	if len(r.SecretCIDRs) > 0 {
		data["secret_id_bound_cidrs"] = r.SecretCIDRs
	}
	r.Token.Show(data)
	return data
}

// update takes over the fields a request brings.
func (r *role) update(f *engine.Fields) (err error) {
	r.BindSecret = f.Bool("bind_secret_id", r.BindSecret)
	r.SecretUses = f.Int("secret_id_num_uses", r.SecretUses)
	if f.Has("secret_id_ttl") {
		r.SecretTTL = f.Duration("secret_id_ttl")
	}
	for _, name := range []string{"bound_cidr_list", "secret_id_bound_cidrs"} { // the first is its old name
		if !f.Has(name) {
			continue
		}
		if r.SecretCIDRs, err = engine.CIDRs(f.List(name)); err != nil {
			return err
		}
	}
	if err := r.Token.Update(f); err != nil {
		return err
	}
	switch {
	case r.SecretUses < 0:
		return fault.New(fault.Invalid, "secret_id_num_uses cannot be negative")
	case !r.BindSecret && len(r.SecretCIDRs) == 0 && len(r.Token.CIDRs) == 0:
		return fault.New(fault.Invalid, "at least one constraint should be enabled on the role").WithHint("set bind_secret_id or token_bound_cidrs")
	}
	return nil
}

func (e *Engine) put(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	chosen, local := f.Text("role_id"), f.Bool("local_secret_ids", false)
	return nil, e.Space.Update(ctx, func(w barrier.Writer) error {
		r, err := load(ctx, w, v["name"])
		if err != nil {
			return err
		}
		if r != nil && f.Has("local_secret_ids") && local != r.Local {
			return fault.New(fault.Invalid, "local_secret_ids can only be modified during role creation")
		}
		if r == nil {
			r = &role{Name: strings.ToLower(v["name"]), UUID: newID(), BindSecret: true, Local: local}
		}
		if err := r.update(f); err != nil {
			return err
		}
		if chosen == "" && r.ID == "" {
			chosen = newID()
		}
		if chosen != "" {
			if err := r.rename(ctx, w, chosen); err != nil {
				return err
			}
		}
		return r.save(ctx, w)
	})
}

// rename gives the role another role ID, which no other role may have.
func (r *role) rename(ctx context.Context, w barrier.Writer, id string) error {
	if len(id) > maxID || strings.Contains(id, "/") {
		return fault.New(fault.Invalid, "a role_id has at most %d bytes and no slash", maxID)
	}
	taken, err := w.Get(ctx, idPath(id))
	if err != nil {
		return err
	}
	if taken != nil && string(taken.Value) != r.Name {
		return fault.New(fault.Invalid, "role_id already in use")
	}
	if r.ID != "" && r.ID != id {
		if err := w.Delete(ctx, idPath(r.ID)); err != nil {
			return err
		}
	}
	r.ID = id
	return w.Put(ctx, barrier.Entry{Path: idPath(id), Value: []byte(r.Name)})
}

// maxID bounds IDs that callers choose, in bytes.
const maxID = 512

func (e *Engine) remove(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	return nil, e.Space.Update(ctx, func(w barrier.Writer) error {
		r, err := load(ctx, w, v["name"])
		if err != nil || r == nil {
			return err
		}
		for _, tree := range []string{secretsOf(r), accessorsOf(r)} {
			if err := w.DeleteTree(ctx, tree); err != nil {
				return err
			}
		}
		if err := w.Delete(ctx, idPath(r.ID)); err != nil {
			return err
		}
		return w.Delete(ctx, rolePath(r.Name))
	})
}

func (e *Engine) showID(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	r, err := e.role(ctx, v["name"])
	if err != nil || r == nil {
		return nil, err
	}
	return &engine.Response{Data: map[string]string{"role_id": r.ID}}, nil
}

func (e *Engine) setID(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	id := f.Text("role_id")
	if f.Err() == nil && id == "" {
		return nil, fault.New(fault.Invalid, "missing role_id")
	}
	if f.Err() != nil {
		return nil, f.Err()
	}
	return nil, e.edit(ctx, v["name"], func(w barrier.Writer, r *role) error { return r.rename(ctx, w, id) })
}

// edit changes a role that is there.
func (e *Engine) edit(ctx context.Context, name string, change func(barrier.Writer, *role) error) error {
	return e.Space.Update(ctx, func(w barrier.Writer) error {
		r, err := load(ctx, w, name)
		if err != nil {
			return err
		}
		if r == nil {
			return fault.New(fault.NotFound, "role %q does not exist", name)
		}
		if err := change(w, r); err != nil {
			return err
		}
		return r.save(ctx, w)
	})
}

// field is a view of a single field.
type field struct {
	name  string
	blank json.RawMessage // sets it back to its default
	empty bool            // a write may leave it out
}

// fields are the views, by their paths.
var fields = map[string]field{
	"policies": {"token_policies", json.RawMessage("[]"), false}, "period": {"token_period", json.RawMessage("0"), false},
	"bind-secret-id": {"bind_secret_id", json.RawMessage("true"), false}, "secret-id-ttl": {"secret_id_ttl", json.RawMessage("0"), false},
	"secret-id-num-uses": {"secret_id_num_uses", json.RawMessage("0"), false}, "secret-id-bound-cidrs": {"secret_id_bound_cidrs", json.RawMessage("[]"), true},
	"token-ttl": {"token_ttl", json.RawMessage("0"), false}, "token-max-ttl": {"token_max_ttl", json.RawMessage("0"), false},
	"token-num-uses": {"token_num_uses", json.RawMessage("0"), false}, "token-bound-cidrs": {"token_bound_cidrs", json.RawMessage("[]"), true},
}

func (e *Engine) fieldRoutes() []engine.Route {
	routes := []engine.Route{{
		Path: "role/{name}/local-secret-ids", Ops: engine.Ops{Read: e.showField("local_secret_ids")}, Help: "The field local_secret_ids alone.",
	}}
	for path, field := range fields {
		routes = append(routes, engine.Route{
			Path: "role/{name}/" + path, Takes: field.name + " policies:list period:duration", Help: "The field " + field.name + " alone.",
			Ops: engine.Ops{Read: e.showField(field.name), Write: e.setField(field), Delete: e.resetField(field)},
		})
	}
	return routes
}

// showField shows one field, also by its old name where it was set by that.
func (e *Engine) showField(name string) engine.Handler {
	return func(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
		r, err := e.role(ctx, v["name"])
		if err != nil || r == nil {
			return nil, err
		}
		shown := r.shown()
		data := map[string]any{name: shown[name]}
		old := strings.TrimPrefix(name, "token_")
		if value, there := shown[old]; there {
			data[old] = value
		}
		return &engine.Response{Data: data}, nil
	}
}

func (e *Engine) setField(field field) engine.Handler {
	return func(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
		f := engine.Read(req)
		if old := strings.TrimPrefix(field.name, "token_"); !field.empty && !f.Has(field.name) && !f.Has(old) {
			if field.name == "token_period" { // as clients know it
				return nil, fault.New(fault.Invalid, "missing %s", old)
			}
			return nil, fault.New(fault.Invalid, "missing %s", field.name)
		}
		return nil, e.edit(ctx, v["name"], func(_ barrier.Writer, r *role) error { return r.update(f) })
	}
}

// resetField sets a field back to its default; a role that is not there is fine.
func (e *Engine) resetField(field field) engine.Handler {
	return func(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
		f := engine.Read(&engine.Request{Data: map[string]json.RawMessage{field.name: field.blank}})
		err := e.edit(ctx, v["name"], func(_ barrier.Writer, r *role) error { return r.update(f) })
		if fault.Is(err, fault.NotFound) {
			err = nil
		}
		return nil, err
	}
}
