// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"time"

	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/ca"
	"github.com/goldkeep/goldkeep/internal/catalog"
	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/gate"
	"github.com/goldkeep/goldkeep/internal/identity"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/policy"
	"github.com/goldkeep/goldkeep/internal/scan"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/workload"
)

// The joints: small pieces that make one room's wish fit another's offer.

// instanceTokens are the tokens as package identity wants them.
type instanceTokens struct{ *auth.Tokens }

func (t instanceTokens) Issue(ctx context.Context, in identity.Instance, policyName string, ttl time.Duration) (string, string, error) {
	granted, err := t.Create(ctx, auth.NewToken{
		Policies: []string{policyName}, TTL: ttl, Period: ttl, Display: "workload-" + in.Workload,
		Path: "api/v1/instances", Instance: in.ID,
		Meta: map[string]string{"workload": in.Workload, "environment": in.Environment, "instance": in.ID, "node_name": in.Node},
	})
	if err != nil {
		return "", "", err
	}
	return granted.Token, granted.Accessor, nil
}

func (t instanceTokens) Extend(ctx context.Context, accessor string, ttl time.Duration) error {
	_, err := t.RenewAccessor(ctx, accessor, auth.Renewal{Increment: ttl})
	return err
}

// nodeLife is how long an agent's token lives without being renewed.
const nodeLife = 32 * 24 * time.Hour

func (s *Server) enrolNode(ctx context.Context, node string) (*auth.Granted, error) {
	return s.tokens.Create(ctx, auth.NewToken{
		Policies: []string{policy.NodeName}, Period: nodeLife, Display: "node-" + node, Path: "api/v1/nodes",
		Meta: map[string]string{"node": node}, NoDefault: true,
	})
}

// workloadPolicy computes the policy of a workload from its secrets.
func (s *Server) workloadPolicy(ctx context.Context, name string) (text string, ok bool, err error) {
	w, err := s.workloads.Get(ctx, name[len(auth.ComputedPrefix):])
	if fault.Is(err, fault.NotFound) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	return w.Policy(), true, nil
}

// workloadAuthority opens the CA of workloads, once after each unsealing.
func (s *Server) workloadAuthority(ctx context.Context) (*ca.Authority, error) {
	s.caMu.Lock()
	defer s.caMu.Unlock()
	if s.authority != nil && !s.barrier.Sealed() {
		return s.authority, nil
	}
	a, err := ca.Open(ctx, s.barrier.Space().Sub("ca"), s.config.TrustDomain)
	if err != nil {
		return nil, err
	}
	s.authority = a
	return a, nil
}

// sealed forgets what was opened with the keys.
func (s *Server) sealed() {
	s.mounts.Forget()
	s.quotas.Forget()
	s.caMu.Lock()
	defer s.caMu.Unlock()
	s.authority = nil
}

// record writes a decision of the loop to the audit log.
func (s *Server) record(ctx context.Context, e identity.Event) error {
	return s.gate.Record(ctx, gate.Event{
		Name: e.Name, Subject: e.Instance.ID, Answer: string(e.Instance.State), Reason: "the verdict on its image, or its end",
		Detail: map[string]any{
			"workload": e.Instance.Workload, "environment": e.Instance.Environment, "owner": e.Instance.Owner,
			"node": e.Instance.Node, "image": e.Instance.Image, "reason": e.Reason, "until": e.Instance.Until,
		},
	})
}

// watched makes the engines of a kind tell the identity room of every write, so
// that agents fetch changed secrets at once.
func (s *Server) watched(kind engine.Kind) engine.Kind {
	return func(m engine.Mount, space barrier.Space) engine.Engine {
		return watchedEngine{kind(m, space), func() { s.identity.SecretsChanged() }}
	}
}

type watchedEngine struct {
	engine.Engine
	changed func()
}

func (e watchedEngine) Handle(ctx context.Context, req *engine.Request) (*engine.Response, error) {
	resp, err := e.Engine.Handle(ctx, req)
	if err == nil && req.Op != policy.Read && req.Op != policy.List {
		e.changed()
	}
	return resp, err
}

// state is what may be shown of the settings.
func (s *Server) state() map[string]any {
	return map[string]any{"listeners": []any{map[string]any{
		"type": "tcp", "config": map[string]any{"address": s.config.Listen, "tls_disable": s.config.TLS.Off},
	}}}
}

// layerCache is the catalog as package scan wants it.
func (s *Server) layerCache(ctx context.Context) scan.Cache {
	return layerCache{
		get: func(d image.Digest) (*component.LayerReport, bool) { return s.catalog.Get(ctx, d) },
		put: func(r *component.LayerReport) {
			if err := s.catalog.Put(ctx, r.DiffID, r); err != nil {
				s.log.Warn("keep layer report", "error", err) // it will be read again
			}
		},
	}
}

type layerCache struct {
	get func(image.Digest) (*component.LayerReport, bool)
	put func(*component.LayerReport)
}

func (c layerCache) Get(d image.Digest) (*component.LayerReport, bool) { return c.get(d) }
func (c layerCache) Put(r *component.LayerReport)                      { c.put(r) }

// noteRuns tells the catalog what each workload runs, now and whenever it changes:
// triage may be for a workload.
func (s *Server) noteRuns(ctx context.Context) error {
	run := func(w workload.Workload) catalog.Run {
		return catalog.Run{Workload: w.Name, Environment: w.Environment, Golden: w.Image.Golden, Channel: w.Image.Channel}
	}
	s.workloads.OnChange = func(ctx context.Context, tx store.Tx, w workload.Workload) error {
		return s.catalog.PutRun(ctx, tx, run(w))
	}
	return s.catalog.FillRuns(ctx, func(ctx context.Context) (all []catalog.Run, err error) {
		declared, err := s.workloads.List(ctx)
		for _, w := range declared {
			all = append(all, run(w))
		}
		return all, err
	})
}
