// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"time"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/audit"
	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/gate"
	"github.com/goldkeep/goldkeep/internal/policy"
)

// policyOperations explain decisions to those allowed to know.
func (e *Engine) policyOperations() []operation {
	return []operation{
		{
			method: "POST", path: "/api/v1/policies/explain", summary: "Say what would be decided about a request, by which rule of which policy, and whose that is",
			do: e.explainPolicy, in: client.PolicyQuestion{}, out: client.PolicyExplanation{},
		},
		{
			method: "POST", path: "/api/v1/policies/lint", summary: "Find rules that will not do what they look like",
			do: e.lintPolicy, in: client.PolicyText{}, out: items[client.PolicyComplaint]{},
		},
		{
			method: "POST", path: "/api/v1/policies/simulate", summary: "Try a changed policy on the requests in this node's audit log",
			do: e.simulatePolicy, in: client.PolicyChange{}, out: client.PolicySimulation{},
		},
	}
}

func (e *Engine) explainPolicy(ctx context.Context, c *call) (any, error) {
	in, err := decode[client.PolicyQuestion](c)
	if err != nil {
		return nil, err
	}
	if in.Workload != "" {
		if _, err := e.o.Workloads.Get(ctx, in.Workload); err != nil {
			return nil, err
		}
		in.Policies = []string{policy.DefaultName, auth.ComputedPrefix + in.Workload}
	}
	why, err := e.o.Explainer.Explain(ctx, gate.Question{
		Token: in.Token, Accessor: in.Accessor, Policies: in.Policies, Op: policy.Capability(in.Capability), Path: in.Path,
		Fields: in.Fields, WrapTTL: time.Duration(in.WrapTTL) * time.Second,
	})
	if err != nil {
		return nil, err
	}
	out := client.PolicyExplanation{
		Allowed: why.Decision.Allowed, Reason: why.Decision.Reason, Missing: why.Missing, Holder: why.Holder, Accessor: why.Accessor,
		Policies: why.Held, Absent: why.Absent, Mount: why.Mount, Path: why.Query.Path, Capability: string(why.Query.Need),
		Sudo: why.Query.Sudo, Rule: why.Decision.Rule, Rules: []client.PolicyRule{},
	}
	for _, m := range why.Matches {
		about, err := e.aboutPolicy(ctx, m.Policy)
		if err != nil {
			return nil, err
		}
		rule := client.PolicyRule{Policy: m.Policy, Line: m.Line, Path: m.Path, Decides: m.Decides, Owner: about.Owner, Contact: about.Contact}
		for _, c := range m.Capabilities {
			rule.Capabilities = append(rule.Capabilities, string(c))
		}
		out.Rules = append(out.Rules, rule)
	}
	if !out.Allowed {
		out.Perhaps, err = e.perhaps(ctx, why)
	}
	return out, err
}

// aboutPolicy says whose a policy is; of a computed one, whose the workload is.
func (e *Engine) aboutPolicy(ctx context.Context, name string) (auth.About, error) {
	if workload, ok := auth.ComputedFor(name); ok {
		w, err := e.o.Workloads.Get(ctx, workload)
		if fault.Is(err, fault.NotFound) {
			return auth.About{}, nil
		}
		if err != nil {
			return auth.About{}, err
		}
		return auth.About{Owner: w.Owner, Contact: w.Contact}, nil
	}
	return e.o.Explainer.Policies.About(ctx, name)
}

// perhaps are mistakes in the holder's policies that may be why a request is denied.
func (e *Engine) perhaps(ctx context.Context, why *gate.Explanation) ([]client.PolicyComplaint, error) {
	policies, err := e.o.Explainer.Policies.Parsed(ctx, why.Held, nil)
	if err != nil {
		return nil, err
	}
	found, err := e.o.Explainer.Lint(ctx, policies...)
	if err != nil {
		return nil, err
	}
	var all []client.PolicyComplaint
	for _, c := range found {
		if !c.Warning && len(all) < 10 {
			all = append(all, client.PolicyComplaint(c))
		}
	}
	return all, nil
}

func (e *Engine) lintPolicy(ctx context.Context, c *call) (any, error) {
	in, err := decode[client.PolicyText](c)
	if err != nil {
		return nil, err
	}
	policies, err := e.toLint(ctx, *in)
	if err != nil {
		return nil, err
	}
	found, err := e.o.Explainer.Lint(ctx, policies...)
	if err != nil {
		return nil, err
	}
	all := items[client.PolicyComplaint]{Items: []client.PolicyComplaint{}}
	for _, c := range found {
		all.Items = append(all.Items, client.PolicyComplaint(c))
	}
	return all, nil
}

func (e *Engine) toLint(ctx context.Context, in client.PolicyText) ([]*policy.Policy, error) {
	switch {
	case in.Rules != "":
		p, err := policy.Parse(in.Policy, in.Rules)
		return []*policy.Policy{p}, err
	case in.Policy != "":
		found, err := e.o.Explainer.Policies.Parsed(ctx, []string{in.Policy}, nil)
		if err == nil && len(found) == 0 {
			err = fault.New(fault.NotFound, "no policy named %q", in.Policy)
		}
		return found, err
	}
	names, err := e.o.Planner.Policies.List(ctx)
	if err != nil {
		return nil, err
	}
	return e.o.Explainer.Policies.Parsed(ctx, names, nil)
}

func (e *Engine) simulatePolicy(ctx context.Context, c *call) (any, error) {
	in, err := decode[client.PolicyChange](c)
	if err != nil {
		return nil, err
	}
	if in.Policy == "" {
		return nil, fault.New(fault.Invalid, "say which policy would change, with \"policy\"")
	}
	changed, err := policy.Parse(in.Policy, in.Rules)
	if err != nil {
		return nil, err
	}
	out := client.PolicySimulation{Policy: changed.Name, Changes: []client.PolicyReplayed{}}
	sim := e.o.Explainer.Simulate(changed, e.o.OpenRecord)
	err = e.o.EachRecord(ctx, func(rec audit.Record) error {
		if rec.Time.Before(in.Since) {
			return nil
		}
		if out.Since.IsZero() {
			out.Since = rec.Time
		}
		return sim.Add(ctx, rec)
	})
	if err != nil {
		return nil, err
	}
	out.Requests, out.Unknown = sim.Requests, sim.Unknown
	for _, r := range sim.Changes() {
		out.Changes = append(out.Changes, client.PolicyReplayed{
			Path: r.Path, Capability: string(r.Op), Allowed: r.After.Allowed, Reason: r.After.Reason, Rule: r.After.Rule,
			Holder: r.Holder, Policies: r.Held, Times: r.Times, Last: r.Last, Unsure: r.Unsure,
		})
	}
	return out, nil
}
