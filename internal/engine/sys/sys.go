// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package sys serves sys/: the server's own settings, its seal, its policies,
// mounts, leases and wrapped answers.
package sys

import (
	"context"
	"time"

	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/entity"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/lease"
	"github.com/goldkeep/goldkeep/internal/policy"
)

// Barrier is what sys asks of package barrier.
type Barrier interface {
	Status(ctx context.Context) (barrier.Status, error)
	Init(ctx context.Context, o barrier.InitOptions) (barrier.InitResult, error)
	Unwrap(ctx context.Context) error
	SubmitShare(ctx context.Context, share []byte) (barrier.Status, error)
	ResetShares()
	Seal()
	Sealed() bool
}

// Tokens is what sys asks of package auth about tokens.
type Tokens interface {
	Create(ctx context.Context, n auth.NewToken) (*auth.Granted, error)
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

// Options are the parts sys is made of. All are needed but those that may be nil.
type Options struct {
	Barrier  Barrier
	Keys     Keys
	Tokens   Tokens
	Policies Policies
	Leases   Leases
	Mounts   *engine.Mounts
	Wrapping *engine.Wrapping
	Quotas   *engine.Quotas
	Space    barrier.Space   // for sys alone
	Version  string          // strict SemVer
	Built    string          // RFC 3339
	Storage  string          // "sqlite", "postgresql"
	Failing  func() []string // parts that do not work, such as "audit"; nil: none known
	OnSeal   func()          // told after sealing; nil: nobody

	Unmounted func(ctx context.Context, accessor string) error // told of each auth mount that is gone
	Metrics   func() ([]byte, error)                           // in Prometheus' text format; nil: there are none
	State     func() map[string]any                            // settings for config/state/sanitized; nil: none
	Audit     engine.AuditDevices
	// Snapshots copies the server and brings it back.
	Snapshots Snapshots
	// FailingDevices names the audit devices that do not take records; nil: none.
	FailingDevices func() []string

	// Whoever reaches the server can begin and stop what these paths do, without a
	// token. Both are off in OpenBao too.
	LegacyRekey bool // sys/rekey
	LegacyRoot  bool // sys/generate-root
}

// Engine serves "sys/".
type Engine struct {
	o      Options
	rekey  rekey
	root   rootAttempt
	routes *engine.Router
}

// New makes the engine.
func New(o Options) *Engine {
	e := &Engine{o: o}
	var routes []engine.Route
	for _, part := range [][]engine.Route{
		e.sealRoutes(), e.mountRoutes(), e.policyRoutes(), e.leaseRoutes(), e.wrappingRoutes(), e.configRoutes(), e.passwordRoutes(), e.quotaRoutes(), e.infoRoutes(),
		e.rotateRoutes(), e.rekeyRoutes(), e.rootRoutes(), e.capabilityRoutes(), e.auditRoutes(), e.snapshotRoutes(), engine.Tools("tools/"),
	} {
		routes = append(routes, part...)
	}
	e.routes = engine.Routes(routes)
	return e
}

// Special implements engine.Engine.
func (e *Engine) Special() engine.Special {
	open := []string{
		"init", "seal-status", "unseal", "health", "leader",
		"wrapping/unwrap", "wrapping/lookup", "internal/ui/mounts", "internal/ui/mounts/*",
	}
	if e.o.LegacyRekey {
		open = append(open, "rekey/*", "rekey-recovery-key/*")
	}
	if e.o.LegacyRoot {
		open = append(open, "generate-root/*")
	}
	return engine.Special{
		Open:   open,
		Routes: e.routes.All(),
		Sealed: []string{"init", "seal-status", "unseal", "health", "leader"},
		Pure: []string{
			"init", "seal-status", "health", "leader", "mounts", "mounts/*", "auth", "auth/*",
			"internal/ui/mounts", "internal/ui/mounts/*", "internal/specs/openapi", "metrics", "host-info", "ha-status", "key-status", "rotate/*", "rekey/*", "generate-root/*", "generate-root-token/*",
			"quotas/*", "config/*", "plugins/*", "locked-users", "remount/*", "policy", "policy/*", "policies/*", "leases/lookup/*", "version-history/", "internal/ui/resultant-acl",
		},
		Streaming: []string{"storage/raft/snapshot", "storage/raft/snapshot-force"},
		Sudo: []string{
			"seal", "step-down", "remount", "auth/*", "audit", "audit/*", "raw/*", "rotate", "rotate/*", "generate-root-token/*",
			"leases/lookup/*", "leases/revoke-prefix/*", "leases/revoke-force/*", "revoke-prefix/*", "revoke-force/*",
			"config/cors", "config/auditing/*", "config/ui/headers", "config/ui/headers/*", "plugins/catalog/*", "storage/raft/snapshot-force",
		},
	}
}

// Exists implements engine.Engine: every write is an update.
func (*Engine) Exists(context.Context, string) (bool, error) { return true, nil }

// Handle implements engine.Engine.
func (e *Engine) Handle(ctx context.Context, req *engine.Request) (*engine.Response, error) {
	return e.routes.Handle(ctx, req)
}

// missing is the error for a field that is needed.
func missing(name string) error { return fault.New(fault.Invalid, "missing %s", name) }
