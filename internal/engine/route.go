// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/policy"
)

// Vars are the parts of a path that a route's placeholders matched.
type Vars map[string]string

// Handler answers one kind of request.
type Handler func(ctx context.Context, req *Request, v Vars) (*Response, error)

// Ops says what can be done to a path. Write serves create and update.
type Ops struct {
	Read, List, Scan, Write, Patch, Delete Handler
}

func (o Ops) handler(op policy.Capability) Handler {
	switch op {
	case policy.Read:
		return o.Read
	case policy.List:
		return o.List
	case policy.Scan:
		return o.Scan
	case policy.Create, policy.Update:
		return o.Write
	case policy.Patch:
		return o.Patch
	case policy.Delete:
		return o.Delete
	default:
		return nil
	}
}

// Route is a path below a mount, with what can be done to it. "{x}" in the
// path stands for one segment, "{x...}" at the end for all that is left.
//
// Takes names the fields a request may bring besides those in the path, with
// spaces between, each with its type where it is not text: "type ttl:duration
// config:map". "" says nothing about them, "*" takes any. What is told of a path
// by help and OpenAPI comes from here, and who sends another field is warned.
type Route struct {
	Path  string
	Ops   Ops
	Help  string // one sentence: what the path is for
	Takes string
}

// Router finds the handler of a request: the first route that matches.
type Router struct {
	all      []Route
	exact    map[string]*known
	patterns []pattern
}

// known is a route with the names of its fields.
type known struct {
	ops    Ops
	fields map[string]bool // nil: any
}

type pattern struct {
	segments []string
	known    *known
}

// Routes makes a router. Paths without a placeholder come before all others.
func Routes(routes []Route) *Router {
	r := &Router{all: routes, exact: map[string]*known{}}
	for _, route := range routes {
		k := &known{ops: route.Ops}
		if route.Takes != "" && route.Takes != "*" {
			k.fields = map[string]bool{}
			for _, f := range route.Fields() {
				k.fields[f.Name] = true
			}
		}
		if strings.Contains(route.Path, "{") {
			r.patterns = append(r.patterns, pattern{strings.Split(route.Path, "/"), k})
		} else {
			r.exact[route.Path] = k
		}
	}
	return r
}

// All are the routes, for Special.Routes.
func (r *Router) All() []Route { return r.all }

// Handle passes a request to its handler. An unknown path is fault.NotFound, a
// verb the path does not offer fault.Unsupported.
func (r *Router) Handle(ctx context.Context, req *Request) (*Response, error) {
	route, vars, ok := r.find(req.Path)
	if !ok && (req.Op == policy.List || req.Op == policy.Scan) {
		route, vars, ok = r.find(strings.TrimSuffix(req.Path, "/"))
	}
	if !ok {
		return nil, fault.New(fault.NotFound, "unsupported path")
	}
	handle := route.ops.handler(req.Op)
	if handle == nil {
		return nil, fault.New(fault.Unsupported, "unsupported operation")
	}
	resp, err := handle(ctx, req, vars)
	if resp != nil && len(req.Data) > 0 {
		resp.Warnings = append(resp.Warnings, route.warn(req, vars)...)
	}
	return resp, err
}

// warn says which of the fields that were sent had no effect.
func (k *known) warn(req *Request, vars Vars) (warnings []string) {
	var ignored, replaced []string
	for name := range req.Data {
		_, captured := vars[name]
		paging := (name == "after" || name == "limit") && (req.Op == policy.List || req.Op == policy.Scan)
		switch {
		case captured:
			replaced = append(replaced, name)
		case k.fields != nil && !k.fields[name] && !paging:
			ignored = append(ignored, name)
		}
	}
	slices.Sort(ignored)
	slices.Sort(replaced)
	if len(ignored) > 0 {
		warnings = append(warnings, fmt.Sprintf("Endpoint ignored these unrecognized parameters: %v", ignored))
	}
	if len(replaced) > 0 {
		warnings = append(warnings, fmt.Sprintf("Endpoint replaced the value of these parameters with the values captured from the endpoint's path: %v", replaced))
	}
	return warnings
}

func (r *Router) find(path string) (*known, Vars, bool) {
	if k, ok := r.exact[path]; ok {
		return k, nil, true
	}
	for i := range r.patterns {
		if vars, ok := match(r.patterns[i].segments, path); ok {
			return r.patterns[i].known, vars, true
		}
	}
	return nil, nil, false
}

// match compares a path with a pattern, segment by segment. A placeholder
// never stands for nothing.
func match(segments []string, path string) (Vars, bool) {
	var vars Vars
	for i, want := range segments {
		if name, ok := strings.CutSuffix(want, "...}"); ok {
			return vars.with(name[1:], path), path != ""
		}
		segment, rest, more := strings.Cut(path, "/")
		if more != (i < len(segments)-1) {
			return nil, false
		}
		switch {
		case want[0] == '{' && segment != "":
			vars = vars.with(want[1:len(want)-1], segment)
		case want != segment:
			return nil, false
		}
		path = rest
	}
	return vars, true
}

func (v Vars) with(name, value string) Vars {
	if v == nil {
		v = make(Vars, 1)
	}
	v[name] = value
	return v
}

// MatchPath reports whether a path is named by one of a Special's lists:
// "*" at the end matches any rest, "+" one segment.
func MatchPath(list []string, path string) bool {
	for _, p := range list {
		if matchSpecial(p, path) {
			return true
		}
	}
	return false
}

func matchSpecial(p, path string) bool {
	for {
		i := strings.IndexAny(p, "+*")
		if i < 0 {
			return p == path
		}
		if !strings.HasPrefix(path, p[:i]) {
			return false
		}
		if p[i] == '*' {
			return true
		}
		path = path[i:]
		end := strings.IndexByte(path, '/')
		if end < 0 {
			end = len(path)
		}
		if end == 0 {
			return false
		}
		p, path = p[i+1:], path[end:]
	}
}
