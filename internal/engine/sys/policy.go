// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package sys

import (
	"context"
	"encoding/base64"
	"errors"

	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/policy"
)

func (e *Engine) policyRoutes() []engine.Route {
	one := func(field string) engine.Ops {
		return engine.Ops{Read: e.readPolicy(field), Write: e.writePolicy, Delete: e.deletePolicy}
	}
	return []engine.Route{
		{Path: "policies/acl", Help: "The policies there are.", Ops: engine.Ops{List: e.listPolicies}},
		{Path: "policies/acl/{name}", Help: "A policy: which paths its holders may use, and how.", Takes: "policy rules", Ops: one("policy")},
		{Path: "policy", Help: "The policies there are, under the old name.", Ops: engine.Ops{List: e.listLegacy, Read: e.listLegacy}},
		{Path: "policy/{name}", Help: "A policy, under the old name.", Takes: "policy rules", Ops: one("rules")},
	}
}

func (e *Engine) listPolicies(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	names, err := e.o.Policies.List(ctx)
	if err != nil {
		return nil, err
	}
	return &engine.Response{Data: engine.Keys{Keys: names}}, nil
}

func (e *Engine) listLegacy(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	names, err := e.o.Policies.List(ctx)
	if err != nil {
		return nil, err
	}
	return &engine.Response{Data: map[string][]string{"keys": names, "policies": names}, Flat: true}, nil
}

// readPolicy answers a policy's text in the field the path's age calls for.
func (e *Engine) readPolicy(field string) engine.Handler {
	return func(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
		name := policy.NormalName(v["name"])
		text, err := e.o.Policies.Get(ctx, name)
		if fault.Is(err, fault.NotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return &engine.Response{Data: map[string]string{"name": name, field: text}, Flat: field == "rules"}, nil
	}
}

func (e *Engine) writePolicy(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	text, warnings := f.Text("policy"), []string(nil)
	if text == "" {
		if text = f.Text("rules"); text != "" { // the old name
			warnings = append(warnings, "'rules' is deprecated, please use 'policy' instead")
		}
	}
	if f.Err() != nil {
		return nil, f.Err()
	}
	if text == "" {
		return nil, fault.New(fault.Invalid, "'policy' parameter not supplied or empty")
	}
	if decoded, err := base64.StdEncoding.DecodeString(text); err == nil {
		text = string(decoded)
	}
	name := policy.NormalName(v["name"])
	if err := e.o.Policies.Put(ctx, name, text); err != nil {
		return nil, badPolicy(err)
	}
	if name != v["name"] {
		warnings = append(warnings, "policy name was converted to "+name)
	}
	if len(warnings) == 0 {
		return nil, nil
	}
	return &engine.Response{Warnings: warnings}, nil
}

// badPolicy tells what is wrong with a text in the words clients know.
func badPolicy(err error) error {
	var bad *policy.SyntaxError
	if errors.As(err, &bad) {
		return fault.New(fault.Invalid, "failed to parse policy: %s", bad.Wire()).WithHint("%v", bad)
	}
	return err
}

func (e *Engine) deletePolicy(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	return nil, e.o.Policies.Delete(ctx, policy.NormalName(v["name"]))
}
