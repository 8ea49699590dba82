// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/json"
	"regexp"
	"strconv"
	"time"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/attest"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/identity"
)

// listInstances lists the instances; an agent sees those of its node.
func (e *Engine) listInstances(ctx context.Context, c *call) (any, error) {
	limit, err := c.number("limit", identity.MaxList)
	if err != nil {
		return nil, err
	}
	after, err := c.number("after", 0)
	if err != nil {
		return nil, err
	}
	return listOf(e.o.Identity.List(ctx, identity.Query{
		Ended: c.param("all") == "true", Node: nodeOf(c.Subject), After: int64(after), Limit: limit,
	}))
}

// showInstance shows an instance; another node's is not found.
func (e *Engine) showInstance(ctx context.Context, c *call) (any, error) {
	in, err := e.o.Identity.Get(ctx, c.vars["id"])
	if err != nil {
		return nil, err
	}
	if node := nodeOf(c.Subject); node != "" && node != in.Node {
		return nil, fault.New(fault.NotFound, "there is no instance %q on node %s", in.ID, node)
	}
	return in, nil
}

func (e *Engine) admit(ctx context.Context, c *call) (any, error) {
	in, err := decode[client.AdmitRequest](c)
	if err != nil {
		return nil, err
	}
	if err := forNode(c.Subject, in.Node); err != nil {
		return nil, err
	}
	var ev attest.Evidence
	if err := json.Unmarshal(in.Evidence, &ev); err != nil {
		return nil, fault.New(fault.Invalid, "the evidence is not understood: %v", err)
	}
	ev.Node = in.Node // what the token says, not what the evidence says
	grant, err := e.o.Identity.Admit(ctx, ev, []byte(in.CSR))
	if err != nil {
		return nil, err
	}
	return wireGrant(grant), nil
}

func (e *Engine) renew(ctx context.Context, c *call) (any, error) {
	in, err := decode[client.RenewRequest](c)
	if err != nil {
		return nil, err
	}
	if err := forNode(c.Subject, in.Node); err != nil {
		return nil, err
	}
	grant, err := e.o.Identity.Renew(ctx, c.vars["id"], in.Node, []byte(in.CSR))
	if err != nil {
		return nil, err
	}
	e.saw(ctx, grant.Instance, in.Sight)
	return wireGrant(grant), nil
}

func (e *Engine) leave(ctx context.Context, c *call) (any, error) {
	if err := forNode(c.Subject, c.param("node")); err != nil {
		return nil, err
	}
	return nil, e.o.Identity.Leave(ctx, c.vars["id"], c.param("node"))
}

// maxWatch bounds how long a watch may wait.
const maxWatch = time.Minute

func (e *Engine) watch(ctx context.Context, c *call) (any, error) {
	node := c.vars["node"]
	if err := forNode(c.Subject, node); err != nil {
		return nil, err
	}
	since, err := strconv.ParseInt("0"+c.param("since"), 10, 64)
	if err != nil {
		return nil, fault.New(fault.Invalid, "since must be a whole number")
	}
	secrets, err := strconv.ParseInt("0"+c.param("secretsSince"), 10, 64)
	if err != nil {
		return nil, fault.New(fault.Invalid, "secretsSince must be a whole number")
	}
	timeout := maxWatch / 2
	if text := c.param("timeout"); text != "" {
		if timeout, err = time.ParseDuration(text); err != nil || timeout < 0 || timeout > maxWatch {
			return nil, fault.New(fault.Invalid, "timeout must be a duration of at most %s", maxWatch)
		}
	}
	change, err := e.o.Identity.Watch(ctx, node, since, secrets, timeout)
	if err != nil {
		return nil, err
	}
	return struct {
		Revision        int64               `json:"revision"`
		SecretsRevision int64               `json:"secretsRevision"`
		Instances       []identity.Instance `json:"instances"`
	}{change.Revision, change.SecretsRevision, change.Instances}, nil
}

var nodeName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$`)

func (e *Engine) enrol(ctx context.Context, c *call) (any, error) {
	node := c.vars["node"]
	if !nodeName.MatchString(node) {
		return nil, fault.New(fault.Invalid, "a node's name has lower-case letters, digits, '-' and '.', and at most 63 of them")
	}
	if c.Subject == nil || nodeOf(c.Subject) != "" {
		return nil, fault.New(fault.Denied, "permission denied: a node cannot enrol another")
	}
	granted, err := e.o.EnrolNode(ctx, node)
	if err != nil {
		return nil, err
	}
	return handed{client.NodeToken{Node: node, Token: granted.Token}, granted}, nil
}

// wireGrant is a grant as agents get it.
func wireGrant(g *identity.Grant) any {
	secrets := []client.WorkloadSecret{}
	for _, s := range g.Workload.Secrets {
		secrets = append(secrets, client.WorkloadSecret(s))
	}
	return struct {
		client.Grant
		Instance identity.Instance `json:"instance"`
	}{client.Grant{
		Token: g.Token, Certificate: string(g.Certificate), Bundle: string(g.Bundle), Secrets: secrets,
		TTL: int(g.TTL / time.Second), OnChange: client.OnChange(g.Workload.OnChange),
	}, g.Instance}
}
