// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package factor

import (
	"context"
	"encoding/hex"
	"slices"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/entity"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// enforcement says which logins need one of some methods.
type enforcement struct {
	ID        string   `json:"id"`
	Name      string   `json:"name"`
	Methods   []string `json:"methods"`             // ids
	Accessors []string `json:"accessors,omitempty"` // of auth mounts
	Types     []string `json:"types,omitempty"`     // of auth mounts
	Groups    []string `json:"groups,omitempty"`    // ids
	Entities  []string `json:"entities,omitempty"`  // ids
}

const enforcementDir = "enforcement"

func enforcementPath(name string) string {
	return enforcementDir + "/" + hex.EncodeToString([]byte(name))
}

func (e *Engine) enforcementRoutes() []engine.Route {
	return []engine.Route{
		{Path: "mfa/login-enforcement", Help: "Which logins need a second factor.", Ops: engine.Ops{List: e.listEnforcements}},
		{
			Path: "mfa/login-enforcement/{name}", Help: "Logins that need a second factor, and which.",
			Takes: "mfa_method_ids:list auth_method_accessors:list auth_method_types:list identity_group_ids:list identity_entity_ids:list",
			Ops:   engine.Ops{Read: e.readEnforcement, Write: e.putEnforcement, Delete: e.deleteEnforcement},
		},
	}
}

// enforcements are all there are, sorted by name.
func (e *Engine) enforcements(ctx context.Context) (all []*enforcement, err error) {
	err = e.o.Space.View(ctx, func(r barrier.Reader) (err error) {
		all, err = every[enforcement](ctx, r, enforcementDir)
		return err
	})
	slices.SortFunc(all, func(a, b *enforcement) int { return compare(a.Name, b.Name) })
	return all, err
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// every reads all there is in a folder.
func every[T any](ctx context.Context, r barrier.Reader, dir string) (all []*T, err error) {
	keys, err := r.List(ctx, dir)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		one, err := engine.Found[T](ctx, r, dir+"/"+key)
		if err != nil {
			return nil, err
		}
		if one != nil {
			all = append(all, one)
		}
	}
	return all, nil
}

// meets reports whether an enforcement speaks of a login.
func (x *enforcement) meets(accessor, kind string, who *entity.Identity) bool {
	if slices.Contains(x.Accessors, accessor) || slices.Contains(x.Types, kind) {
		return true
	}
	if who == nil {
		return false
	}
	return slices.Contains(x.Entities, who.Entity.ID) ||
		slices.ContainsFunc(who.Groups, func(g *entity.Group) bool { return slices.Contains(x.Groups, g.ID) })
}

func (x *enforcement) show() map[string]any {
	return map[string]any{
		"id": x.ID, "name": x.Name, "mfa_method_ids": orEmpty(x.Methods), "auth_method_accessors": orEmpty(x.Accessors), "auth_method_types": orEmpty(x.Types),
		"identity_group_ids": orEmpty(x.Groups), "identity_entity_ids": orEmpty(x.Entities), "namespace_id": "root", "namespace_path": "",
	}
}

func (e *Engine) readEnforcement(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	x, err := engine.Look[enforcement](ctx, e.o.Space, enforcementPath(v["name"]))
	if err != nil || x == nil {
		return nil, err
	}
	return &engine.Response{Data: x.show()}, nil
}

func (e *Engine) listEnforcements(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	all, err := e.enforcements(ctx)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	keys := engine.Keys{Info: map[string]any{}}
	for _, x := range all {
		keys.Keys = append(keys.Keys, x.Name)
		keys.Info[x.Name] = x.show()
	}
	return &engine.Response{Data: keys}, nil
}

func (e *Engine) deleteEnforcement(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	return nil, e.o.Space.Update(ctx, func(w barrier.Writer) error { return w.Delete(ctx, enforcementPath(v["name"])) })
}

// putEnforcement makes an enforcement, or changes of one what is sent.
func (e *Engine) putEnforcement(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	if len(v["name"]) > maxText {
		return nil, fault.New(fault.Invalid, "the name of an enforcement has at most %d bytes", maxText)
	}
	x, err := engine.Look[enforcement](ctx, e.o.Space, enforcementPath(v["name"]))
	if err != nil {
		return nil, err
	}
	if x == nil {
		x = &enforcement{ID: entity.Random(), Name: v["name"]}
	}
	if err := x.take(f); err != nil {
		return nil, err
	}
	if err := e.checkTargets(ctx, x); err != nil {
		return nil, err
	}
	return nil, e.o.Space.Update(ctx, func(w barrier.Writer) error {
		for _, id := range x.Methods {
			m, err := engine.Found[method](ctx, w, methodPath(id))
			if err != nil {
				return err
			}
			if m == nil {
				return fault.New(fault.Invalid, "one of the provided method ids doesn't exist")
			}
		}
		return w.Put(ctx, barrier.Entry{Path: enforcementPath(x.Name), Value: engine.Stored(x)})
	})
}

// take changes an enforcement where the request says something; the methods have to
// be said.
func (x *enforcement) take(f *engine.Fields) error {
	x.Methods = f.List("mfa_method_ids")
	for name, list := range map[string]*[]string{
		"auth_method_accessors": &x.Accessors, "auth_method_types": &x.Types, "identity_group_ids": &x.Groups, "identity_entity_ids": &x.Entities,
	} {
		if f.Has(name) {
			*list = f.List(name)
		}
	}
	switch {
	case f.Err() != nil:
		return f.Err()
	case len(x.Methods) == 0:
		return fault.New(fault.Invalid, "missing method ids")
	case len(x.Accessors)+len(x.Types)+len(x.Groups)+len(x.Entities) == 0:
		return fault.New(fault.Invalid, "One of auth_method_accessors, auth_method_types, identity_group_ids, identity_entity_ids must be specified")
	}
	return nil
}

// checkTargets refuses an enforcement that speaks of what is not there: nobody would
// notice that it asks nobody.
func (e *Engine) checkTargets(ctx context.Context, x *enforcement) error {
	mounts, err := e.Mounts.List(ctx)
	if err != nil {
		return err
	}
	some := func(fits func(engine.Mount) bool) bool {
		return slices.ContainsFunc(mounts, func(m engine.Mount) bool { return m.Auth() && fits(m) })
	}
	for _, accessor := range x.Accessors {
		if !some(func(m engine.Mount) bool { return m.Accessor == accessor }) {
			return fault.New(fault.Invalid, "one of the auth method accessors provided is invalid")
		}
	}
	for _, kind := range x.Types {
		if !some(func(m engine.Mount) bool { return m.Kind == kind }) {
			return fault.New(fault.Invalid, "one of the auth method types provided is invalid")
		}
	}
	for _, id := range x.Groups {
		g, err := e.o.Directory.Group(ctx, entity.Key{ID: id})
		if err == nil && g == nil {
			err = fault.New(fault.Invalid, "one of the provided group ids doesn't exist")
		}
		if err != nil {
			return err
		}
	}
	for _, id := range x.Entities {
		who, err := e.o.Directory.Find(ctx, entity.Key{ID: id})
		if err == nil && who == nil {
			err = fault.New(fault.Invalid, "one of the provided entity ids doesn't exist")
		}
		if err != nil {
			return err
		}
	}
	return nil
}
