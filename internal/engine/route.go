// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
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
	Read, List, Write, Patch, Delete Handler
}

func (o Ops) handler(op policy.Capability) Handler {
	switch op {
	case policy.Read:
		return o.Read
	case policy.List:
		return o.List
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
type Route struct {
	Path string
	Ops  Ops
}

// Router finds the handler of a request: the first route that matches.
type Router struct {
	exact    map[string]Ops
	patterns []pattern
}

type pattern struct {
	segments []string
	ops      Ops
}

// Routes makes a router. Paths without a placeholder come before all others.
func Routes(routes []Route) *Router {
	r := &Router{exact: map[string]Ops{}}
	for _, route := range routes {
		if strings.Contains(route.Path, "{") {
			r.patterns = append(r.patterns, pattern{strings.Split(route.Path, "/"), route.Ops})
		} else {
			r.exact[route.Path] = route.Ops
		}
	}
	return r
}

// Handle passes a request to its handler. An unknown path is fault.NotFound, a
// verb the path does not offer fault.Unsupported.
func (r *Router) Handle(ctx context.Context, req *Request) (*Response, error) {
	ops, vars, ok := r.find(req.Path)
	if !ok && req.Op == policy.List {
		ops, vars, ok = r.find(strings.TrimSuffix(req.Path, "/"))
	}
	if !ok {
		return nil, fault.New(fault.NotFound, "unsupported path")
	}
	handle := ops.handler(req.Op)
	if handle == nil {
		return nil, fault.New(fault.Unsupported, "unsupported operation")
	}
	return handle(ctx, req, vars)
}

func (r *Router) find(path string) (Ops, Vars, bool) {
	if ops, ok := r.exact[path]; ok {
		return ops, nil, true
	}
	for i := range r.patterns {
		if vars, ok := match(r.patterns[i].segments, path); ok {
			return r.patterns[i].ops, vars, true
		}
	}
	return Ops{}, nil, false
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
