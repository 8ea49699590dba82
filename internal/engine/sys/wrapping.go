// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package sys

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/policy"
)

func (e *Engine) wrappingRoutes() []engine.Route {
	return []engine.Route{
		{Path: "wrapping/wrap", Help: "Keeps the fields sent, for whoever brings the token in the answer.", Takes: "*", Ops: engine.Ops{Write: e.wrap}},
		{Path: "wrapping/unwrap", Help: "The answer that was wrapped, once.", Takes: "token", Ops: engine.Ops{Write: e.unwrap}},
		{Path: "wrapping/lookup", Help: "What is known of a wrapping token.", Takes: "token", Ops: engine.Ops{Write: e.lookupWrapped, Read: e.lookupWrapped}},
		{Path: "wrapping/rewrap", Help: "A new token for a wrapped answer.", Takes: "token", Ops: engine.Ops{Write: e.rewrap}},
	}
}

// wrap answers what it was sent; the gate wraps it, as it would any answer.
func (e *Engine) wrap(_ context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	if req.WrapTTL <= 0 {
		return nil, fault.New(fault.Invalid, "endpoint requires response wrapping to be used").WithHint("send the header X-Vault-Wrap-TTL")
	}
	return &engine.Response{Data: json.RawMessage(engine.AppendObject(nil, req.Data))}, nil
}

// wrappingToken is the one in the body, or else the request's own.
func wrappingToken(req *engine.Request) (string, error) {
	f := engine.Read(req)
	token := f.Text("token")
	if token == "" {
		token = req.Token
	}
	if token == "" && f.Err() == nil {
		return "", missing("token")
	}
	return token, f.Err()
}

func (e *Engine) unwrap(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	token, err := wrappingToken(req)
	if err != nil {
		return nil, err
	}
	stored, err := e.o.Realm.Home(token).Wrapping.Take(ctx, token)
	if err != nil {
		return nil, err
	}
	return &engine.Response{Wrapped: stored}, nil
}

func (e *Engine) lookupWrapped(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	token, err := wrappingToken(req)
	if err != nil {
		return nil, err
	}
	w, err := e.o.Realm.Home(token).Wrapping.Lookup(ctx, token)
	if err != nil {
		return nil, err
	}
	return &engine.Response{Data: map[string]any{
		"creation_ttl": seconds(w.TTL), "creation_time": w.Created.UTC().Format(time.RFC3339Nano), "creation_path": w.Path,
	}}, nil
}

func (e *Engine) rewrap(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	token, err := wrappingToken(req)
	if err != nil {
		return nil, err
	}
	w, err := e.o.Realm.Home(token).Wrapping.Rewrap(ctx, token)
	if err != nil {
		return nil, err
	}
	return &engine.Response{Wrap: w}, nil
}

func (e *Engine) capabilityRoutes() []engine.Route {
	return []engine.Route{
		{Path: "capabilities", Help: "What a token may do on paths.", Takes: "token path:list paths:list", Ops: engine.Ops{Write: e.capabilities}},
		{Path: "capabilities-self", Help: "What the caller may do on paths.", Takes: "token path:list paths:list", Ops: engine.Ops{Write: e.capabilitiesSelf}},
		{Path: "capabilities-accessor", Help: "What the token of an accessor may do on paths.", Takes: "accessor path:list paths:list", Ops: engine.Ops{Write: e.capabilitiesAccessor}},
		{Path: "internal/ui/resultant-acl", Help: "What the caller may do, for the web console.", Ops: engine.Ops{Read: e.resultantACL}},
	}
}

func (e *Engine) capabilitiesSelf(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	return e.capable(req, req.Rights)
}

func (e *Engine) capabilities(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	token := f.Text("token")
	if f.Err() != nil || token == "" {
		return nil, fault.New(fault.Invalid, "no token found")
	}
	_, set, err := e.o.Realm.Holder(ctx, token)
	if fault.Is(err, fault.Denied) || fault.Is(err, fault.NotFound) {
		return nil, fault.New(fault.Invalid, "invalid token")
	}
	if err != nil {
		return nil, err
	}
	return e.capable(req, set)
}

func (e *Engine) capabilitiesAccessor(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	accessor := f.Text("accessor")
	if f.Err() != nil || accessor == "" {
		return nil, missing("accessor")
	}
	info, err := e.o.Tokens.InfoByAccessor(ctx, accessor)
	if fault.Is(err, fault.Denied) || fault.Is(err, fault.NotFound) {
		return nil, fault.New(fault.Invalid, "invalid accessor")
	}
	if err != nil {
		return nil, err
	}
	set, err := e.o.Policies.Set(ctx, info.All(), info.Identity)
	if err != nil {
		return nil, err
	}
	return e.capable(req, set)
}

// capable answers what policies allow on the paths asked for.
func (e *Engine) capable(req *engine.Request, set policy.Set) (*engine.Response, error) {
	f := engine.Read(req)
	paths := f.List("paths")
	if len(paths) == 0 {
		paths = f.List("path")
	}
	if f.Err() != nil {
		return nil, f.Err()
	}
	if len(paths) == 0 {
		return nil, fault.New(fault.Invalid, "paths must be supplied")
	}
	data := map[string][]policy.Capability{}
	for _, path := range paths {
		data[path] = set.Capabilities(strings.TrimPrefix(path, "/"))
	}
	if len(paths) == 1 {
		data["capabilities"] = data[paths[0]]
	}
	return &engine.Response{Data: data, Flat: true}, nil
}

// resultantACL tells callers what all their policies say together.
func (e *Engine) resultantACL(_ context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	if req.Subject.Root {
		return &engine.Response{Data: map[string]any{"root": true}}, nil
	}
	exact, glob := req.Rights.Grants()
	return &engine.Response{Data: map[string]any{"root": false, "exact_paths": exact, "glob_paths": glob}}, nil
}
