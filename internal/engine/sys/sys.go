// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package sys serves sys/: the server's own settings, its policies, mounts, leases
// and wrapped answers. Other variants serve parts of it (see Part).
package sys

import (
	"context"
	"slices"
	"time"

	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/entity"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/lease"
	"github.com/goldkeep/goldkeep/internal/policy"
	"github.com/goldkeep/goldkeep/internal/quota"
)

// Tokens is what sys asks of package auth about tokens.
type Tokens interface {
	Info(ctx context.Context, token string) (*auth.Info, error)
	InfoByAccessor(ctx context.Context, accessor string) (*auth.Info, error)
	RevokeOrigin(ctx context.Context, uuid string) (int, error)
}

// Policies is what sys asks of package auth about policies.
type Policies interface {
	Get(ctx context.Context, name string) (string, error)
	Put(ctx context.Context, name, text string) error
	List(ctx context.Context) ([]string, error)
	Delete(ctx context.Context, name string) error
	Set(ctx context.Context, names []string, who *entity.Identity) (policy.Set, error)
}

// Leases is what sys asks of package lease.
type Leases interface {
	Lookup(ctx context.Context, id string) (*lease.Lease, error)
	List(ctx context.Context, prefix string) ([]string, error)
	Renew(ctx context.Context, id string, increment time.Duration) (*lease.Lease, error)
	Revoke(ctx context.Context, id string, sync bool) error
	RevokePrefix(ctx context.Context, prefix string, sync bool) error
	RevokeForce(ctx context.Context, prefix string) error
	Count(ctx context.Context) (lease.Counts, error)
	LeaseCare
}

// LeaseCare is how leases are looked after.
type LeaseCare interface {
	Failing(ctx context.Context, limit int) ([]*lease.Lease, error)
	Wake()
}

// Part serves some of the paths of sys/: the routes it names, and the special
// treatment they need.
type Part interface {
	Special() engine.Special
}

// Built is the day of this version, in RFC 3339.
const Built = "2026-11-22T00:00:00Z"

// Options are the parts sys is made of. All are needed but those that may be nil.
type Options struct {
	Tokens   Tokens
	Policies Policies
	Leases   Leases
	Mounts   *engine.Mounts
	Realm    *engine.Realm // the namespace that this is of
	Quotas   *quota.Limiter
	Space    barrier.Space // for sys alone
	Version  string        // Goldkeep's own: strict SemVer
	Built    string        // RFC 3339
	Storage  string        // "sqlite", "postgresql"
	Parts    []Part        // engine/seal, ...

	Unmounted func(ctx context.Context, accessor string) error // told of each auth mount that is gone
	Metrics   func() ([]byte, error)                           // in Prometheus' text format; nil: there are none
	State     func() map[string]any                            // settings for config/state/sanitized; nil: none
	Audit     engine.AuditDevices
	// Snapshots copies the server and brings it back.
	Snapshots Snapshots
}

// Engine serves "sys/".
type Engine struct {
	o       Options
	special engine.Special
	routes  *engine.Router
}

// New makes the engine.
func New(o Options) *Engine {
	e := &Engine{o: o}
	e.special = e.own()
	for _, part := range o.Parts {
		more := part.Special()
		e.special.Open = append(e.special.Open, more.Open...)
		e.special.Sealed = append(e.special.Sealed, more.Sealed...)
		e.special.Pure = append(e.special.Pure, more.Pure...)
		e.special.Streaming = append(e.special.Streaming, more.Streaming...)
		e.special.Sudo = append(e.special.Sudo, more.Sudo...)
		e.special.Routes = append(e.special.Routes, more.Routes...)
	}
	e.routes = engine.Routes(e.special.Routes)
	e.special.Routes = e.routes.All()
	return e
}

// own is what sys serves itself.
func (e *Engine) own() engine.Special {
	return engine.Special{
		Open:   []string{"leader", "wrapping/unwrap", "wrapping/lookup", "internal/ui/mounts", "internal/ui/mounts/*"},
		Sealed: []string{"leader"},
		Pure: []string{
			"leader", "mounts", "mounts/*", "auth", "auth/*",
			"internal/ui/mounts", "internal/ui/mounts/*", "internal/specs/openapi", "metrics", "host-info", "ha-status",
			"quotas/*", "config/*", "plugins/*", "locked-users", "remount/*", "policy", "policy/*", "policies/*", "leases/lookup/*", "version-history/", "internal/ui/resultant-acl",
		},
		Streaming: []string{"storage/raft/snapshot", "storage/raft/snapshot-force"},
		Sudo: []string{
			"step-down", "remount", "auth/*", "audit", "audit/*", "raw/*",
			"leases/lookup/*", "leases/revoke-prefix/*", "leases/revoke-force/*", "revoke-prefix/*", "revoke-force/*",
			"config/cors", "config/auditing/*", "config/ui/headers", "config/ui/headers/*", "plugins/catalog/*", "storage/raft/snapshot-force",
		},
		Routes: slices.Concat(
			e.mountRoutes(), e.policyRoutes(), e.leaseRoutes(), e.wrappingRoutes(), e.configRoutes(), e.passwordRoutes(), e.quotaRoutes(), e.infoRoutes(),
			e.capabilityRoutes(), e.auditRoutes(), e.snapshotRoutes(), engine.Tools("tools/"),
		),
	}
}

// Special implements engine.Engine.
func (e *Engine) Special() engine.Special { return e.special }

// Exists implements engine.Engine: every write is an update.
func (*Engine) Exists(context.Context, string) (bool, error) { return true, nil }

// Handle implements engine.Engine.
func (e *Engine) Handle(ctx context.Context, req *engine.Request) (*engine.Response, error) {
	return e.routes.Handle(ctx, req)
}

// missing is the error for a field that is needed.
func missing(name string) error { return fault.New(fault.Invalid, "missing %s", name) }
