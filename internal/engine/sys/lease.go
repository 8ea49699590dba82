// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package sys

import (
	"context"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

func (e *Engine) leaseRoutes() []engine.Route {
	return []engine.Route{
		{Path: "leases/lookup", Ops: engine.Ops{Write: e.lookupLease, List: e.listLeases}},
		{Path: "leases/lookup/{prefix...}", Ops: engine.Ops{List: e.listLeases}},
		{Path: "leases/renew", Ops: engine.Ops{Write: e.renewLease}},
		{Path: "leases/renew/{id...}", Ops: engine.Ops{Write: e.renewLease}},
		{Path: "leases/revoke", Ops: engine.Ops{Write: e.revokeLease}},
		{Path: "leases/revoke/{id...}", Ops: engine.Ops{Write: e.revokeLease}},
		{Path: "leases/revoke-prefix/{prefix...}", Ops: engine.Ops{Write: e.revokePrefix}},
		{Path: "leases/revoke-force/{prefix...}", Ops: engine.Ops{Write: e.revokeForce}},
		{Path: "leases/count", Ops: engine.Ops{Read: e.countLeases}},
		// The old names.
		{Path: "renew", Ops: engine.Ops{Write: e.renewLease}},
		{Path: "renew/{id...}", Ops: engine.Ops{Write: e.renewLease}},
		{Path: "revoke", Ops: engine.Ops{Write: e.revokeLease}},
		{Path: "revoke/{id...}", Ops: engine.Ops{Write: e.revokeLease}},
		{Path: "revoke-prefix/{prefix...}", Ops: engine.Ops{Write: e.revokePrefix}},
		{Path: "revoke-force/{prefix...}", Ops: engine.Ops{Write: e.revokeForce}},
	}
}

// leaseID is the id in the path, which wins, or in the body.
func leaseID(req *engine.Request, v engine.Vars) (string, error) {
	if id := v["id"]; id != "" {
		return id, nil
	}
	f := engine.Read(req)
	id := f.Text("lease_id")
	if f.Err() == nil && id == "" {
		return "", fault.New(fault.Invalid, "lease_id must be specified")
	}
	return id, f.Err()
}

func (e *Engine) lookupLease(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	id, err := leaseID(req, v)
	if err != nil {
		return nil, err
	}
	l, err := e.o.Leases.Lookup(ctx, id)
	if err != nil {
		return nil, err
	}
	data := map[string]any{
		"id": l.ID, "issue_time": l.Issued, "expire_time": timeOrNull(l.Expires),
		"last_renewal": timeOrNull(l.Renewed), "renewable": l.Renewable, "ttl": seconds(max(0, l.Expires.Sub(req.Now))),
	}
	return &engine.Response{Data: data}, nil
}

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (e *Engine) listLeases(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	names, err := e.o.Leases.List(ctx, strings.TrimSuffix(v["prefix"], "/"))
	if err != nil || len(names) == 0 {
		return nil, err
	}
	return &engine.Response{Data: engine.Keys{Keys: names}}, nil
}

func (e *Engine) renewLease(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	increment := f.Duration("increment")
	if f.Err() != nil {
		return nil, f.Err()
	}
	id, err := leaseID(req, v)
	if err != nil {
		return nil, err
	}
	l, err := e.o.Leases.Renew(ctx, id, increment)
	if err != nil {
		return nil, err
	}
	secret := &engine.Secret{LeaseID: l.ID, TTL: l.Expires.Sub(req.Now).Round(time.Second), Renewable: l.Renewable}
	return &engine.Response{Secret: secret, Renewed: true}, nil
}

// revokeLease ends a lease. With sync false the answer does not wait for the
// target: that the lease is to be undone is durable, and it is retried until done.
func (e *Engine) revokeLease(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	id, err := leaseID(req, v)
	if err != nil {
		return nil, err
	}
	sync, err := wantsSync(req)
	if err != nil {
		return nil, err
	}
	return revoked(sync, e.o.Leases.Revoke(ctx, id, sync))
}

func wantsSync(req *engine.Request) (bool, error) {
	f := engine.Read(req)
	return f.Bool("sync", true), f.Err()
}

func revoked(sync bool, err error) (*engine.Response, error) {
	if err != nil || sync {
		return nil, err
	}
	return &engine.Response{Status: 202, Warnings: []string{"the revocation is under way and is retried until done"}}, nil
}

func (e *Engine) revokePrefix(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	sync, err := wantsSync(req)
	if err != nil {
		return nil, err
	}
	return revoked(sync, e.o.Leases.RevokePrefix(ctx, v["prefix"], sync))
}

func (e *Engine) revokeForce(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	return nil, e.o.Leases.RevokeForce(ctx, v["prefix"])
}

func (e *Engine) countLeases(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	n, err := e.o.Leases.Count(ctx)
	if err != nil {
		return nil, err
	}
	return &engine.Response{Data: map[string]any{
		"lease_count": n.Active, "counts": map[string]int{"active": n.Active, "pending": n.Pending, "revoking": n.Revoking, "failing": n.Failing},
	}}, nil
}
