// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package sys

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

func (e *Engine) leaseRoutes() []engine.Route {
	return []engine.Route{
		{Path: "leases/lookup", Help: "A lease by its id.", Takes: "lease_id", Ops: engine.Ops{Write: e.lookupLease, List: e.listLeases}},
		{Path: "leases/lookup/{prefix...}", Help: "The leases below a path.", Ops: engine.Ops{List: e.listLeases}},
		{Path: "leases/renew", Help: "Prolongs a lease.", Takes: "lease_id increment:duration", Ops: engine.Ops{Write: e.renewLease}},
		{Path: "leases/renew/{url_lease_id...}", Help: "Prolongs a lease.", Takes: "lease_id increment:duration", Ops: engine.Ops{Write: e.renewLease}},
		{Path: "leases/revoke", Help: "Takes back what a lease is for.", Takes: "lease_id sync:boolean", Ops: engine.Ops{Write: e.revokeLease}},
		{Path: "leases/revoke/{url_lease_id...}", Help: "Takes back what a lease is for.", Takes: "lease_id sync:boolean", Ops: engine.Ops{Write: e.revokeLease}},
		{Path: "leases/revoke-prefix/{prefix...}", Help: "Takes back everything below a path.", Takes: "sync:boolean", Ops: engine.Ops{Write: e.revokePrefix}},
		{Path: "leases/revoke-force/{prefix...}", Help: "Forgets everything below a path, also what cannot be taken back.", Ops: engine.Ops{Write: e.revokeForce}},
		{Path: "leases/count", Help: "How many leases there are.", Takes: "type include_child_namespaces:boolean limit:integer", Ops: engine.Ops{Read: e.countLeases}},
		{Path: "leases", Help: "The leases that cannot be taken back, and why.", Takes: "type limit:integer include_child_namespaces:boolean", Ops: engine.Ops{Read: e.failingLeases}},
		{Path: "leases/tidy", Help: "Looks for leases that are due; the server does so all the time.", Ops: engine.Ops{Write: e.tidyLeases}},
		// The old names.
		{Path: "renew", Help: "Prolongs a lease.", Takes: "lease_id increment:duration", Ops: engine.Ops{Write: e.renewLease}},
		{Path: "renew/{url_lease_id...}", Help: "Prolongs a lease.", Takes: "lease_id increment:duration", Ops: engine.Ops{Write: e.renewLease}},
		{Path: "revoke", Help: "Takes back what a lease is for.", Takes: "lease_id sync:boolean", Ops: engine.Ops{Write: e.revokeLease}},
		{Path: "revoke/{url_lease_id...}", Help: "Takes back what a lease is for.", Takes: "lease_id sync:boolean", Ops: engine.Ops{Write: e.revokeLease}},
		{Path: "revoke-prefix/{prefix...}", Help: "Takes back everything below a path.", Takes: "sync:boolean", Ops: engine.Ops{Write: e.revokePrefix}},
		{Path: "revoke-force/{prefix...}", Help: "Forgets everything below a path, also what cannot be taken back.", Ops: engine.Ops{Write: e.revokeForce}},
	}
}

// leaseID is the id in the path, which wins, or in the body.
func leaseID(req *engine.Request, v engine.Vars) (string, error) {
	if id := v["url_lease_id"]; id != "" {
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
	if fault.Is(err, fault.Invalid) || fault.Is(err, fault.NotFound) {
		return nil, fault.New(fault.Invalid, "invalid lease")
	}
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
	resp := &engine.Response{Secret: secret, Renewed: true}
	if secret.TTL < increment {
		resp.Warnings = []string{fmt.Sprintf("TTL of %q exceeded the effective max_ttl of %q; TTL value is capped accordingly", increment, secret.TTL)}
	}
	return resp, nil
}

// failingLeases are those that are to be undone and could not be so far.
func (e *Engine) failingLeases(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	kind, limit := f.Text("type"), f.Int("limit", 1000)
	if f.Err() != nil {
		return nil, f.Err()
	}
	if kind != "irrevocable" {
		return nil, nil
	}
	failing, err := e.o.Leases.Failing(ctx, limit)
	if err != nil {
		return nil, err
	}
	list, counts := []map[string]string{}, map[string]int{}
	for _, l := range failing {
		mount := l.ID
		if slot, _, err := e.o.Mounts.Resolve(ctx, l.ID); err == nil && slot != nil {
			mount = slot.Mount.Path
		}
		counts[mount]++
		list = append(list, map[string]string{"lease_id": l.ID, "error": l.LastError})
	}
	data := map[string]any{"lease_count": len(list), "leases": list}
	if len(list) > 0 {
		data["counts"] = counts
	}
	return &engine.Response{Data: data}, nil
}

func (e *Engine) tidyLeases(context.Context, *engine.Request, engine.Vars) (*engine.Response, error) {
	e.o.Leases.Wake()
	return &engine.Response{Status: 202, Warnings: []string{"Tidy operation successfully started. Any information from the operation will be printed to Vault's server logs."}}, nil
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

func (e *Engine) countLeases(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	kind := f.Text("type")
	if f.Err() != nil {
		return nil, f.Err()
	}
	n, err := e.o.Leases.Count(ctx)
	if err != nil {
		return nil, err
	}
	if kind == "irrevocable" {
		return &engine.Response{Data: map[string]any{"lease_count": n.Failing, "counts": map[string]int{}}}, nil
	}
	return &engine.Response{Data: map[string]any{
		"lease_count": n.Active, "counts": map[string]int{"active": n.Active, "pending": n.Pending, "revoking": n.Revoking, "failing": n.Failing},
	}}, nil
}
