// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/manifest"
	"github.com/goldkeep/goldkeep/internal/notify"
	"github.com/goldkeep/goldkeep/internal/plan"
)

func (e *Engine) listEnvironments(ctx context.Context, _ *call) (any, error) {
	return listOf(e.o.Catalog.Environments(ctx))
}

func (e *Engine) showEnvironment(ctx context.Context, c *call) (any, error) {
	return e.o.Catalog.Environment(ctx, c.vars["name"])
}

func (e *Engine) listGoldens(ctx context.Context, _ *call) (any, error) {
	return listOf(e.o.Catalog.Goldens(ctx))
}

func (e *Engine) listWorkloads(ctx context.Context, _ *call) (any, error) {
	return listOf(e.o.Workloads.List(ctx))
}

func (e *Engine) showWorkload(ctx context.Context, c *call) (any, error) {
	return e.o.Workloads.Get(ctx, c.vars["name"])
}

func (e *Engine) plan(ctx context.Context, c *call) (any, error) {
	return e.change(ctx, c, e.o.Planner.Plan)
}

func (e *Engine) apply(ctx context.Context, c *call) (any, error) {
	return e.change(ctx, c, e.o.Planner.Apply)
}

func (e *Engine) change(ctx context.Context, c *call, do func(context.Context, []manifest.Document, bool) ([]plan.Change, error)) (any, error) {
	in, err := decode[client.PlanRequest](c)
	if err != nil {
		return nil, err
	}
	var docs []manifest.Document
	var errs manifest.Errors
	for _, d := range in.Documents {
		parsed, err := manifest.Parse(d.File, []byte(d.Text))
		docs = append(docs, parsed...)
		errs = append(errs, errorsOf(err)...)
	}
	if err := errs.Err(); err != nil {
		return nil, err
	}
	if len(docs) == 0 {
		return nil, fault.New(fault.Invalid, "there is no document to apply").WithHint("name files or folders with -f")
	}
	changes, err := do(notify.Because(ctx, "apply"), docs, in.Prune)
	if err != nil {
		return nil, err
	}
	out := client.Plan{Changes: []client.Change{}}
	for _, ch := range changes {
		out.Changes = append(out.Changes, client.Change{
			Kind: ch.Kind, Name: ch.Name, Action: string(ch.Action), Fields: ch.Fields, Warning: ch.Warning, File: ch.File, Line: ch.Line,
		})
	}
	return out, nil
}
