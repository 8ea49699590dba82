// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package sys

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/quota"
)

func (e *Engine) quotaRoutes() []engine.Route {
	return []engine.Route{
		{Path: "quotas/rate-limit", Help: "The limits of requests from one client address.", Ops: engine.Ops{List: e.listQuotas}},
		{
			Path: "quotas/rate-limit/{name}", Help: "A limit for everything, a mount or a path; the most precise one counts.",
			Takes: "type path rate:number interval:duration block_interval:duration role inheritable:boolean",
			Ops:   engine.Ops{Read: e.readQuota, Write: e.writeQuota, Delete: e.deleteQuota},
		},
		{
			Path: "quotas/config", Help: "What holds for all quotas.",
			Takes: "rate_limit_exempt_paths:list enable_rate_limit_audit_logging:boolean enable_rate_limit_response_headers:boolean",
			Ops:   engine.Ops{Read: e.readQuotaConfig, Write: e.writeQuotaConfig},
		},
	}
}

func (e *Engine) listQuotas(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	return engine.Listing(e.o.Quotas.Names(ctx))
}

// shownQuota is what is told of a quota, and nothing else: clients compare.
type shownQuota struct {
	Name     string      `json:"name"`
	Type     string      `json:"type"`
	Path     string      `json:"path"`
	Role     string      `json:"role"`
	Rate     json.Number `json:"rate"`
	Interval int64       `json:"interval"`
	Block    int64       `json:"block_interval"`
}

func (e *Engine) readQuota(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	q, err := e.o.Quotas.Get(ctx, v["name"])
	if err != nil || q == nil {
		return nil, err
	}
	return &engine.Response{Data: shownQuota{
		Name: q.Name, Type: "rate-limit", Path: q.Path, Rate: json.Number(strconv.FormatFloat(q.Rate, 'f', -1, 64)),
		Interval: seconds(q.Interval), Block: seconds(q.Block),
	}}, nil
}

func (e *Engine) writeQuota(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	q := quota.Rule{
		Name: v["name"], Path: strings.TrimPrefix(f.Text("path"), "/"), Interval: f.Duration("interval"), Block: f.Duration("block_interval"),
		Inherits: f.Bool("inheritable", false),
	}
	rate, role := f.Text("rate"), f.Text("role")
	if f.Err() != nil {
		return nil, f.Err()
	}
	var err error
	if q.Rate, err = ParseRate(rate); err != nil {
		return nil, err
	}
	if q.Interval == 0 {
		q.Interval = time.Second
	}
	if role != "" {
		return nil, fault.New(fault.Invalid, "quotas for a login role are not offered").WithHint("leave out role")
	}
	if err := e.checkQuotaPath(ctx, &q); err != nil {
		return nil, err
	}
	return nil, e.o.Quotas.Put(ctx, q)
}

// ParseRate reads a number of requests above 0, with or without a fraction.
func ParseRate(text string) (float64, error) {
	rate, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || !(rate > 0) || rate > 1e9 {
		return 0, fault.New(fault.Invalid, "'rate' is invalid").WithHint("it must be a number greater than 0")
	}
	return rate, nil
}

// checkQuotaPath wants a mount for the path, and writes a mount's own path with its
// slash.
func (e *Engine) checkQuotaPath(ctx context.Context, q *quota.Rule) error {
	if q.Path == "" {
		return nil
	}
	realm, path, err := e.o.Realm.Find(ctx, strings.TrimRight(strings.TrimSuffix(q.Path, "*"), "/")+"/")
	if err != nil {
		return err
	}
	if path == "" && realm.Parent != nil && !strings.HasSuffix(q.Path, "*") {
		q.Path, q.Space = realm.Path, true
		return nil
	}
	slot, below, err := realm.Mounts.Resolve(ctx, path)
	if err != nil {
		return err
	}
	if slot == nil && path != "" {
		return fault.New(fault.Invalid, "invalid mount path %q", strings.TrimSuffix(q.Path, "/")+"/")
	}
	if slot != nil && strings.Trim(below, "/") == "" && !strings.HasSuffix(q.Path, "*") {
		q.Path = realm.Path + slot.Mount.Path
	}
	return nil
}

func (e *Engine) deleteQuota(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	return nil, e.o.Quotas.Delete(ctx, v["name"])
}

func (e *Engine) readQuotaConfig(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	c, err := e.o.Quotas.Config(ctx)
	if err != nil {
		return nil, err
	}
	return &engine.Response{Data: map[string]any{
		"enable_rate_limit_audit_logging": c.Audit, "enable_rate_limit_response_headers": c.Headers, "rate_limit_exempt_paths": c.Exempt,
	}}, nil
}

func (e *Engine) writeQuotaConfig(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	c, err := e.o.Quotas.Config(ctx)
	if err != nil {
		return nil, err
	}
	c.Audit = f.Bool("enable_rate_limit_audit_logging", c.Audit)
	c.Headers = f.Bool("enable_rate_limit_response_headers", c.Headers)
	if f.Has("rate_limit_exempt_paths") {
		c.Exempt = f.List("rate_limit_exempt_paths")
	}
	if f.Err() != nil {
		return nil, f.Err()
	}
	return nil, e.o.Quotas.Configure(ctx, c)
}
