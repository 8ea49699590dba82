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
	"github.com/goldkeep/goldkeep/internal/engine/inspect"
	"github.com/goldkeep/goldkeep/internal/engine/jwt"
	"github.com/goldkeep/goldkeep/internal/engine/kubernetes"
	"github.com/goldkeep/goldkeep/internal/engine/kv"
	"github.com/goldkeep/goldkeep/internal/engine/namespace"
	"github.com/goldkeep/goldkeep/internal/engine/seal"
	"github.com/goldkeep/goldkeep/internal/engine/sys"
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
	"github.com/goldkeep/goldkeep/internal/realm"
	"github.com/goldkeep/goldkeep/internal/scan"
	"github.com/goldkeep/goldkeep/internal/snapshot"
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
	house     *realm.House // all namespaces; what is above is the root's
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
	flights     listener.Flights
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

// openSecrets opens the secrets side: the namespaces, and the gate before them.
func (s *Server) openSecrets(ctx context.Context) error {
	if err := auth.Migrate(ctx, s.store); err != nil {
		return err
	}
	s.quotas = quota.New(s.barrier.Space().Sub("quota"), s.store.Exclusive())
	s.house = realm.New(realm.Options{
		Store: s.store, Space: s.barrier.Space(), Keys: s.barrier, Leases: s.leases, Kinds: s.kinds, Address: s.address, Fix: s.fix, Log: s.log,
		Lifetime: engine.Lifetimes{Default: time.Duration(s.config.LeaseTTL.Default), Max: time.Duration(s.config.LeaseTTL.Max)},
	})
	root := s.house.Root
	s.entities, s.tokens, s.policies, s.wrapping, s.mounts = root.Entities, root.Tokens, root.Policies, root.Wrapping, root.Mounts
	s.policies.Resolver = s.workloadPolicy
	s.gate = gate.New(gate.Options{
		Barrier: s.barrier, Mounts: s.mounts, Tokens: s.tokens, Policies: s.policies, Leases: s.leases, Root: root,
		Wrapping: s.wrapping, Quotas: s.quotas, Audit: s.audit, Room: s.room, Now: s.store.Now, Logger: s.log,
	})
	return nil
}

// kinds are the engines and auth methods that can be mounted in a namespace.
func (s *Server) kinds(r *engine.Realm) map[string]engine.Kind {
	return map[string]engine.Kind{
		"kv": s.watched(kv.New), "transit": transit.New, "totp": totp.New,
		"auth/approle": approle.New(r.Logins), "auth/userpass": userpass.New(r.Logins),
		"auth/jwt": jwt.New(r.Logins), "auth/oidc": jwt.New(r.Logins), "auth/kubernetes": kubernetes.New(r.Logins, kubernetes.PodDir), "auth/cert": cert.New(r.Logins),
	}
}

// fix mounts sys/ in a namespace. What is the server's own is in the root alone.
func (s *Server) fix(r *engine.Realm) {
	o := sys.Options{
		Parts:  []sys.Part{namespace.New(namespace.Options{Realm: r, Deleted: func() { s.house.Deleted() }}), r.Logins.Door()},
		Tokens: r.Tokens, Policies: r.Policies, Leases: r.Leases, Mounts: r.Mounts, Realm: r,
		Quotas: s.quotas, Space: r.Spaces["sys"], Metrics: s.metricsText, State: s.state,
		Version: Version, Built: sys.Built, Storage: s.storageName(), Unmounted: r.Entities.Unmounted, Audit: auditDevices{s}, Snapshots: s.snapshots,
	}
	if r.Parent != nil {
		r.Mounts.Fix("sys/", "system", "system endpoints used for control, policy and debugging", sys.New(o))
		return
	}
	s.keys = seal.New(seal.Options{
		Barrier: s.barrier, Keys: s.barrier, LegacyRekey: s.config.Legacy.Rekey, LegacyRoot: s.config.Legacy.GenerateRoot, Tokens: r.Tokens,
		Space: r.Spaces["sys"], Version: Version, Built: sys.Built, Storage: s.storageName(), Failing: s.failing, FailingDevices: s.couriers.Failing, Room: s.room, OnSeal: s.sealed,
	})
	o.Parts = append(o.Parts, s.keys, inspect.New(inspect.Options{Flights: func() any { return s.flights.Now() }, Profiles: s.config.Profiles}))
	s.sys = sys.New(o)
	r.Mounts.Fix("sys/", "system", "system endpoints used for control, policy and debugging", s.sys)
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
		Explainer: &gate.Explainer{Mounts: s.mounts, Root: s.house.Root, Policies: s.policies, Tokens: s.tokens, Entities: s.entities},
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
