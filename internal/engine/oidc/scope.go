// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/entity"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// scope is a name a client asks for, with the claims it brings.
type scope struct {
	Template    string `json:"template,omitempty"`
	Description string `json:"description,omitempty"`
}

// assignment names those a client may learn of.
type assignment struct {
	Entities []string `json:"entities,omitempty"`
	Groups   []string `json:"groups,omitempty"`
}

const (
	openID   = "openid"    // the scope every login asks for
	allowAll = "allow_all" // the assignment of everybody; it cannot be changed
)

func scopePath(name string) string      { return "scope/" + hex.EncodeToString([]byte(name)) }
func assignmentPath(name string) string { return "assignment/" + hex.EncodeToString([]byte(name)) }

func (e *Engine) scopeRoutes() []engine.Route {
	return []engine.Route{
		{Path: "oidc/scope", Help: "The scopes clients can ask for.", Ops: engine.Ops{List: e.names("scope")}},
		{Path: "oidc/scope/{name}", Help: "A scope, and the claims it brings.", Takes: "template description", Ops: engine.Ops{Read: e.readScope, Write: e.putScope, Delete: e.deleteScope}},
		{Path: "oidc/assignment", Help: "The assignments of people to clients.", Ops: engine.Ops{List: e.names("assignment", allowAll)}},
		{Path: "oidc/assignment/{name}", Help: "Who may log in to the clients that name this assignment.", Takes: "entity_ids:list group_ids:list", Ops: engine.Ops{Read: e.readAssignment, Write: e.putAssignment, Delete: e.deleteAssignment}},
	}
}

// checkName bounds the name of what is kept for OpenID Connect.
func checkName(name string) error {
	if len(name) > 256 {
		return fault.New(fault.Invalid, "a name has at most 256 bytes")
	}
	return nil
}

func (e *Engine) readScope(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	s, err := engine.Look[scope](ctx, e.o.Space, scopePath(v["name"]))
	if err != nil || s == nil {
		return nil, err
	}
	return &engine.Response{Data: map[string]any{"template": s.Template, "description": s.Description}}, nil
}

func (e *Engine) putScope(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	if v["name"] == openID {
		return nil, fault.New(fault.Invalid, "the %q scope name is reserved", openID)
	}
	if err := checkName(v["name"]); err != nil {
		return nil, err
	}
	return nil, e.o.Space.Update(ctx, func(w barrier.Writer) error {
		s, err := engine.Found[scope](ctx, w, scopePath(v["name"]))
		if err != nil {
			return err
		}
		if s == nil {
			s = &scope{}
		}
		if err := s.take(f); err != nil {
			return err
		}
		return w.Put(ctx, barrier.Entry{Path: scopePath(v["name"]), Value: engine.Stored(s)})
	})
}

// take changes a scope where the request says something.
func (s *scope) take(f *engine.Fields) error {
	if f.Has("description") {
		s.Description = f.Text("description")
	}
	if f.Has("template") {
		s.Template = f.Text("template")
		if raw, err := base64.StdEncoding.DecodeString(s.Template); err == nil {
			s.Template = string(raw)
		}
	}
	if f.Err() != nil {
		return f.Err()
	}
	if len(s.Template) > maxTemplate || len(s.Description) > maxTemplate {
		return fault.New(fault.TooLarge, "the template or the description is too large")
	}
	_, err := s.claims(&entity.Identity{Entity: &entity.Entity{}}, time.Time{})
	return err
}

func (s *scope) claims(who *entity.Identity, now time.Time) (claimSet, error) {
	return claims(s.Template, who, now)
}

// deleteScope refuses what a provider still offers.
func (e *Engine) deleteScope(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	return nil, e.o.Space.Update(ctx, func(w barrier.Writer) error {
		users, err := using(ctx, w, "provider", func(p *provider) bool { return slices.Contains(p.Scopes, v["name"]) })
		if err != nil {
			return err
		}
		if len(users) > 0 {
			return fault.New(fault.Invalid, "unable to delete scope %q because it is currently referenced by these providers: %s", v["name"], strings.Join(users, ", "))
		}
		return w.Delete(ctx, scopePath(v["name"]))
	})
}

// using names what in a folder satisfies a condition, sorted.
func using[T any](ctx context.Context, r barrier.Reader, folder string, uses func(*T) bool) (names []string, err error) {
	keys, err := r.List(ctx, folder)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		one, err := engine.Found[T](ctx, r, folder+"/"+key)
		if err != nil {
			return nil, err
		}
		name, err := hex.DecodeString(key)
		if err != nil {
			return nil, err
		}
		if one != nil && uses(one) {
			names = append(names, string(name))
		}
	}
	slices.Sort(names)
	return names, nil
}

// foundAssignment reads an assignment; that of everybody is always there.
func foundAssignment(ctx context.Context, r barrier.Reader, name string) (*assignment, error) {
	if name == allowAll {
		return &assignment{Entities: []string{"*"}, Groups: []string{"*"}}, nil
	}
	return engine.Found[assignment](ctx, r, assignmentPath(name))
}

// takesIn reports whether somebody is meant by an assignment.
func (a *assignment) takesIn(who *entity.Identity) bool {
	if slices.Contains(a.Entities, "*") || slices.Contains(a.Entities, who.Entity.ID) {
		return true
	}
	return slices.ContainsFunc(who.Groups, func(g *entity.Group) bool { return slices.Contains(a.Groups, g.ID) })
}

func (e *Engine) readAssignment(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	var a *assignment
	err := e.o.Space.View(ctx, func(r barrier.Reader) (err error) {
		a, err = foundAssignment(ctx, r, v["name"])
		return err
	})
	if err != nil || a == nil {
		return nil, err
	}
	return &engine.Response{Data: map[string]any{"entity_ids": orEmpty(a.Entities), "group_ids": orEmpty(a.Groups)}}, nil
}

func (e *Engine) putAssignment(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	if v["name"] == allowAll {
		return nil, fault.New(fault.Invalid, "modification of assignment %q not allowed", allowAll)
	}
	if err := checkName(v["name"]); err != nil {
		return nil, err
	}
	entities, groups := f.List("entity_ids"), f.List("group_ids")
	if f.Err() != nil {
		return nil, f.Err()
	}
	return nil, e.o.Space.Update(ctx, func(w barrier.Writer) error {
		a, err := engine.Found[assignment](ctx, w, assignmentPath(v["name"]))
		if err != nil {
			return err
		}
		if a == nil {
			a = &assignment{}
		}
		if f.Has("entity_ids") {
			a.Entities = entities
		}
		if f.Has("group_ids") {
			a.Groups = groups
		}
		return w.Put(ctx, barrier.Entry{Path: assignmentPath(v["name"]), Value: engine.Stored(a)})
	})
}

// deleteAssignment refuses what a client still names.
func (e *Engine) deleteAssignment(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	if v["name"] == allowAll {
		return nil, fault.New(fault.Invalid, "deletion of assignment %q not allowed", allowAll)
	}
	return nil, e.o.Space.Update(ctx, func(w barrier.Writer) error {
		users, err := using(ctx, w, "client", func(c *client) bool { return slices.Contains(c.Assignments, v["name"]) })
		if err != nil {
			return err
		}
		if len(users) > 0 {
			return fault.New(fault.Invalid, "unable to delete assignment %q because it is currently referenced by these clients: %s", v["name"], strings.Join(users, ", "))
		}
		return w.Delete(ctx, assignmentPath(v["name"]))
	})
}
