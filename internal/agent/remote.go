// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/attest"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// Remote is a Server reached through the public client, with a node's token.
type Remote struct {
	client *client.Client
	node   string
}

// NewRemote returns the server behind c. c's token is the node's.
func NewRemote(c *client.Client, node string) *Remote { return &Remote{client: c, node: node} }

// Admit implements Server.
func (r *Remote) Admit(ctx context.Context, ask Admission) (*Grant, error) {
	evidence, err := json.Marshal(ask.Evidence)
	if err != nil {
		return nil, fault.New(fault.Internal, "encode evidence: %w", err)
	}
	g, err := r.client.Admit(ctx, client.AdmitRequest{Node: ask.Node, Evidence: evidence, CSR: ask.CSR})
	if err != nil {
		return nil, asServerFault(err)
	}
	return asGrant(g), nil
}

// Renew implements Server.
func (r *Remote) Renew(ctx context.Context, id, csr string, sight *attest.Sight) (*Grant, error) {
	g, err := r.client.Renew(ctx, id, client.RenewRequest{Node: r.node, CSR: csr, Sight: asSight(sight)})
	if err != nil {
		return nil, asServerFault(err)
	}
	return asGrant(g), nil
}

// Leave implements Server.
func (r *Remote) Leave(ctx context.Context, id string) error {
	return asServerFault(r.client.Leave(ctx, r.node, id))
}

// Watch implements Server.
func (r *Remote) Watch(ctx context.Context, since, secrets int64, wait time.Duration) (*News, error) {
	change, err := r.client.Watch(ctx, r.node, since, secrets, wait)
	if err != nil {
		return nil, asServerFault(err)
	}
	news := &News{Revision: change.Revision, SecretsRevision: change.SecretsRevision}
	for _, i := range change.Instances {
		news.Instances = append(news.Instances, Status{ID: i.ID, State: i.State, Reason: i.Reason, Until: i.Until})
	}
	return news, nil
}

// Upload implements Server.
func (r *Remote) Upload(ctx context.Context, name string, content io.Reader) error {
	_, err := r.client.AddImage(ctx, name, content)
	return asServerFault(err)
}

// Read implements Server.
func (r *Remote) Read(ctx context.Context, token string, s Secret) (map[string]json.RawMessage, error) {
	fields, _, err := r.client.WithToken(token).Secret(ctx, s.Mount, s.Path)
	if err != nil {
		return nil, asServerFault(err)
	}
	return fields, nil
}

func asGrant(g *client.Grant) *Grant {
	grant := &Grant{
		Instance: Instance{
			ID: g.Instance.ID, Workload: g.Instance.Workload, Environment: g.Instance.Environment,
			State: g.Instance.State, Reason: g.Instance.Reason, Until: g.Instance.Until, Expires: g.Instance.Expires,
		},
		Token: g.Token, Certificate: g.Certificate, Bundle: g.Bundle, SpiffeID: g.Instance.SPIFFEID,
		TTL: int64(g.TTL), OnChange: OnChange{Signal: g.OnChange.Signal},
	}
	for _, s := range g.Secrets {
		mount := s.Mount
		if mount == "" {
			mount = "secret"
		}
		grant.Secrets = append(grant.Secrets, Secret{
			Name: s.KV, Kind: "kv", Mount: mount, Path: s.KV, Field: s.Field, File: s.File, Env: s.Env, Format: s.Format,
		})
	}
	return grant
}

// asServerFault gives the client's errors the kinds this side of the wire knows. What
// the server calls internal may well be over in a minute: it is tried again.
func asServerFault(err error) error {
	if err == nil {
		return nil
	}
	var e *client.Error
	if !errors.As(err, &e) {
		return fault.New(fault.Unavailable, "ask the server: %w", err)
	}
	kind := fault.KindNamed(e.Kind)
	if kind == fault.Refused {
		return asRefusal(e)
	}
	if kind == fault.Internal {
		kind = fault.Unavailable
	}
	return fault.New(kind, "%s", e.Error()).WithHint("%s", e.Hint)
}

func asRefusal(e *client.Error) *Refusal {
	r := &Refusal{Detail: e.Error(), Hint: e.Hint, Wanted: e.Wanted}
	if e.Verdict == nil {
		return r
	}
	for _, reason := range e.Verdict.Admit.Reasons {
		if reason.Answer == "yes" {
			continue // a warning refuses nothing
		}
		r.Reasons = append(r.Reasons, Reason{
			Rule: reason.Rule, Text: reason.Text, Evidence: reason.Evidence, Owner: reason.Owner, Remedy: reason.Remedy,
		})
	}
	return r
}

func asSight(s *attest.Sight) *client.Sight {
	if s == nil {
		return nil
	}
	out := &client.Sight{Executed: s.Executed, Partial: s.Partial}
	for _, socket := range s.Listening {
		out.Listening = append(out.Listening, client.Socket(socket))
	}
	return out
}
