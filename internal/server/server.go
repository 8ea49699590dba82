// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package server is wiring only: it joins the rooms into one running server and
// picks their variants. New reads from top to bottom as the order of the house.
package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/api"
	"github.com/goldkeep/goldkeep/internal/audit"
	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/ca"
	"github.com/goldkeep/goldkeep/internal/catalog"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/engine/approle"
	"github.com/goldkeep/goldkeep/internal/engine/cert"
	"github.com/goldkeep/goldkeep/internal/engine/cubbyhole"
	people "github.com/goldkeep/goldkeep/internal/engine/identity"
	"github.com/goldkeep/goldkeep/internal/engine/jwt"
	"github.com/goldkeep/goldkeep/internal/engine/kubernetes"
	"github.com/goldkeep/goldkeep/internal/engine/kv"
	"github.com/goldkeep/goldkeep/internal/engine/oidc"
	"github.com/goldkeep/goldkeep/internal/engine/seal"
	"github.com/goldkeep/goldkeep/internal/engine/sys"
	tokens "github.com/goldkeep/goldkeep/internal/engine/token"
	"github.com/goldkeep/goldkeep/internal/engine/totp"
	"github.com/goldkeep/goldkeep/internal/engine/transit"
	"github.com/goldkeep/goldkeep/internal/engine/userpass"
	"github.com/goldkeep/goldkeep/internal/entity"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/gate"
	"github.com/goldkeep/goldkeep/internal/identity"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/kms"
	"github.com/goldkeep/goldkeep/internal/lease"
	"github.com/goldkeep/goldkeep/internal/listener"
	"github.com/goldkeep/goldkeep/internal/notify"
	"github.com/goldkeep/goldkeep/internal/plan"
	"github.com/goldkeep/goldkeep/internal/provenance"
	"github.com/goldkeep/goldkeep/internal/quota"
	"github.com/goldkeep/goldkeep/internal/scan"
	"github.com/goldkeep/goldkeep/internal/snapshot"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/store/postgres"
	"github.com/goldkeep/goldkeep/internal/store/sqlite"
	"github.com/goldkeep/goldkeep/internal/verdict"
	"github.com/goldkeep/goldkeep/internal/vex"
	"github.com/goldkeep/goldkeep/internal/workload"
)

// Version is the program's version: strict SemVer. What clients of /v1 are told is
// engine.APIVersion.
const Version = "0.1.0"

// Server is everything joined, ready to Run.
type Server struct {
	config Config
	log    *slog.Logger

	store     *recorder
	snapshots *snapshots
	barrier   *barrier.Barrier
	audit     *audit.File
	tokens    *auth.Tokens
	entities  *entity.Directory
	policies  *auth.Policies
	leases    *lease.Ledger
	wrapping  *engine.Wrapping
	mounts    *engine.Mounts
	sys       *sys.Engine
	keys      *seal.Engine
	quotas    *quota.Limiter
	catalog   *catalog.Catalog
	advisory  *advisory.Index
	vendors   *vex.Book
	workloads *workload.Book
	identity  *identity.Service
	notify    *notify.Service
	gate      *gate.Gate
	api       *api.Engine
	metrics   *metrics
	couriers  *audit.Couriers

	kms         kms.Service            // nil: the root key is not sealed elsewhere
	sealTrouble atomic.Pointer[string] // why the seal's service could not be used; nil: nothing is known
	turning     atomic.Bool            // the seal waits to be turned into another kind
	foundAnchor kept                   // what the store knew of the audit log at the start

	listener    net.Listener
	certificate *listener.Certificate
	caMu        sync.Mutex
	authority   *ca.Authority // of workloads; nil until first used after unsealing
	closers     []io.Closer   // closed in reverse
}

// New opens the store and joins the rooms. The server is sealed, unless a key
// file unseals it. Close it when Run is not called.
func New(ctx context.Context, c Config, log *slog.Logger) (*Server, error) {
	c = c.withDefaults()
	if err := c.check(); err != nil {
		return nil, err
	}
	noCoreDumps()
	s := &Server{config: c, log: log}
	for _, step := range []func(context.Context) error{
		s.openGround, s.openImages, s.openSecrets, s.openIdentity, s.openNotify, s.openDoors, s.unsealAtStart,
	} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

// noCoreDumps keeps keys out of core files.
func noCoreDumps() { _ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}) }

// openGround opens what everything stands on: store, barrier, audit, leases.
func (s *Server) openGround(ctx context.Context) (err error) {
	if err := os.MkdirAll(s.config.Data, 0o700); err != nil {
		return fault.New(fault.Invalid, "make data folder: %w", err).WithHint("name one that is yours: goldkeep server --data DIR")
	}
	opened, err := s.openStore(ctx)
	if err != nil {
		return err
	}
	s.store = &recorder{Source: opened, steps: map[string][]string{}}
	s.snapshots = &snapshots{s: s, done: make(chan struct{})}
	s.closers = append(s.closers, s.store)
	if s.barrier, err = barrier.Open(ctx, s.store); err != nil {
		return err
	}
	if err := s.openSeal(); err != nil {
		return err
	}
	s.audit, err = audit.Open(audit.Options{
		Path: s.config.Audit.File, Node: s.config.Node, Now: s.store.Now, MinFree: s.config.Audit.MinFree,
	})
	if err != nil {
		return err
	}
	s.closers = append(s.closers, s.audit, closer(func() error { return s.endLog(context.WithoutCancel(ctx)) }))
	s.couriers = s.newCouriers()
	s.leases = lease.New(lease.Options{Space: s.barrier.Space().Sub("lease"), Log: s.log})
	return s.checkAnchor(ctx)
}

func (s *Server) openStore(ctx context.Context) (snapshot.Source, error) {
	if s.config.Database != "" {
		return postgres.Open(ctx, s.config.Database)
	}
	return sqlite.Open(ctx, filepath.Join(s.config.Data, "goldkeep.db"), sqlite.Options{})
}

// openImages opens the image side: advisories and the catalog.
func (s *Server) openImages(ctx context.Context) (err error) {
	s.advisory = advisory.New(s.store)
	if err := s.advisory.Migrate(ctx); err != nil {
		return err
	}
	if s.vendors, err = vex.Open(ctx, s.store); err != nil {
		return err
	}
	if s.catalog, err = catalog.New(ctx, s.store); err != nil {
		return err
	}
	s.catalog.Believe(s.vendors)
	return nil
}

// openSecrets opens the secrets side: tokens, policies, engines, the gate.
func (s *Server) openSecrets(ctx context.Context) error {
	if err := auth.Migrate(ctx, s.store); err != nil {
		return err
	}
	space := s.barrier.Space()
	drawers := space.Sub("cubbyhole")
	s.entities = entity.New(space.Sub("identity"))
	s.tokens = auth.NewTokens(auth.TokensOptions{
		Store: s.store, Space: space.Sub("token"), Keys: s.barrier,
		DefaultTTL: time.Duration(s.config.LeaseTTL.Default), MaxTTL: time.Duration(s.config.LeaseTTL.Max), Entities: s.entities,
		OnRevoke: []auth.OnRevoke{s.leases.OnRevoke, func(ctx context.Context, tx store.Tx, accessor string) error {
			return cubbyhole.Drop(ctx, drawers.In(tx), accessor)
		}},
	})
	s.policies = auth.NewPolicies(space.Sub("policy"))
	s.policies.Exclusive, s.policies.Resolver = s.store.Exclusive(), s.workloadPolicy
	s.wrapping = engine.NewWrapping(space.Sub("wrapping"))
	s.mounts = engine.NewMounts(space.Sub("mount"), map[string]engine.Kind{
		"kv": s.watched(kv.New), "transit": transit.New, "totp": totp.New,
		"auth/approle": approle.New(s.tokens), "auth/userpass": userpass.New(s.tokens),
		"auth/jwt": jwt.New(s.tokens), "auth/oidc": jwt.New(s.tokens), "auth/kubernetes": kubernetes.New(s.tokens, kubernetes.PodDir), "auth/cert": cert.New(s.tokens),
	}, s.store.Exclusive())
	s.quotas = quota.New(space.Sub("quota"), s.store.Exclusive())
	s.mounts.System = engine.Lifetimes{Default: time.Duration(s.config.LeaseTTL.Default), Max: time.Duration(s.config.LeaseTTL.Max)}
	s.mounts.Fix("identity/", "identity", "identity store", people.New(people.Options{Entities: s.entities, Groups: s.entities, Mounts: s.mounts, Parts: []people.Part{
		oidc.New(oidc.Options{Entities: s.entities, Tokens: s.tokens, Address: s.address, Space: space.Sub("identity-oidc")}),
	}}))
	s.mounts.Fix("cubbyhole/", "cubbyhole", "per-token private secret storage", cubbyhole.New(drawers))
	s.mounts.Fix("auth/token/", "token", "token based credentials", tokens.New(tokens.Options{
		Tokens: s.tokens, Policies: s.policies, Mounts: s.mounts, Space: space.Sub("token-role"),
	}))
	s.keys = seal.New(seal.Options{
		Barrier: s.barrier, Keys: s.barrier, LegacyRekey: s.config.Legacy.Rekey, LegacyRoot: s.config.Legacy.GenerateRoot, Tokens: s.tokens,
		Space: space.Sub("sys"), Version: Version, Built: sys.Built, Storage: s.storageName(), Failing: s.failing, FailingDevices: s.couriers.Failing, OnSeal: s.sealed,
	})
	s.sys = sys.New(sys.Options{
		Parts: []sys.Part{s.keys}, Tokens: s.tokens, Policies: s.policies, Leases: s.leases, Mounts: s.mounts, Wrapping: s.wrapping,
		Quotas: s.quotas, Space: space.Sub("sys"), Metrics: s.metricsText, State: s.state,
		Version: Version, Built: sys.Built, Storage: s.storageName(), Unmounted: s.entities.Unmounted, Audit: auditDevices{s}, Snapshots: s.snapshots,
	})
	s.mounts.Fix("sys/", "system", "system endpoints used for control, policy and debugging", s.sys)
	s.gate = gate.New(gate.Options{
		Barrier: s.barrier, Mounts: s.mounts, Tokens: s.tokens, Policies: s.policies, Leases: s.leases,
		Wrapping: s.wrapping, Quotas: s.quotas, Audit: s.audit, Room: s.room, Now: s.store.Now, Logger: s.log,
	})
	return nil
}

// openIdentity opens the identity side: workloads and their instances.
func (s *Server) openIdentity(ctx context.Context) (err error) {
	if s.workloads, err = workload.New(ctx, s.store, s.barrier); err != nil {
		return err
	}
	if err := s.noteRuns(ctx); err != nil {
		return err
	}
	s.identity, err = identity.New(ctx, identity.Options{
		Store: s.store, Catalog: s.catalog, Workloads: s.workloads, Authority: s.workloadAuthority, Tokens: instanceTokens{s.tokens},
		Record: s.changed, Sealed: s.barrier.Sealed, TTL: s.config.ttl(), Log: s.log,
	})
	return err
}

func (s *Server) scan(ctx context.Context, img *image.Image) (verdict.Evidence, error) {
	return scan.Scan(ctx, img, scan.Deps{
		Advisories: s.advisory, Layers: s.layerCache(ctx), Now: s.store.Now,
	})
}

// openDoors opens the API and the listener.
func (s *Server) openDoors(context.Context) (err error) {
	s.api = api.New(api.Options{
		Catalog: s.catalog, Workloads: s.workloads, Identity: s.identity, Notify: s.notify, Advisories: s.advisory, Vendors: s.vendors, Scan: s.scan,
		Planner:   &plan.Planner{Catalog: s.catalog, Workloads: s.workloads, Policies: s.policies, Notifications: s.notify, Loop: s.identity},
		EnrolNode: s.enrolNode, Records: s.auditRecords, EachRecord: s.eachRecord, OpenRecord: s.gate.Open, Anchor: s.audit.Head,
		Keys: provenance.NewKeyring(s.barrier.Space().Sub("signing")), Verifier: "goldkeep://" + s.config.TrustDomain,
		Explainer: &gate.Explainer{Mounts: s.mounts, Policies: s.policies, Tokens: s.tokens, Entities: s.entities},
		TempDir:   s.config.Data, Version: Version, Log: s.log,
	})
	s.mounts.Fix("api/", "api", "Goldkeep's own API", s.api)
	s.metrics = newMetrics(s)
	if s.listener, err = net.Listen("tcp", s.config.Listen); err != nil {
		return fault.New(fault.Unavailable, "listen: %w", err).WithHint("choose another address with --listen")
	}
	s.closers = append(s.closers, s.listener)
	s.certificate, err = listener.Load(s.config.TLS, filepath.Join(s.config.Data, "tls"), s.store.Now)
	return err
}

// Close releases everything, last opened first.
func (s *Server) Close() error {
	var errs []error
	for len(s.closers) > 0 {
		last := len(s.closers) - 1
		if err := s.closers[last].Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
		s.closers = s.closers[:last]
	}
	return errors.Join(errs...)
}

func (s *Server) storageName() string {
	if s.config.Database != "" {
		return "postgresql"
	}
	return "sqlite"
}

// minTTL bounds the life of identities from below.
const minTTL = 10 * time.Second

func (c Config) ttl() time.Duration { return time.Duration(c.IdentityTTL) }
