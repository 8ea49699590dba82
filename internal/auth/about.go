// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/entity"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/policy"
)

// About says whom to ask about a policy; the zero value where nobody has said.
type About struct {
	Owner   string `json:"owner,omitempty"`
	Contact string `json:"contact,omitempty"`
}

func aboutPath(name string) string { return "about/" + policyPath(name) }

// ComputedFor returns the workload a computed policy is for.
func ComputedFor(name string) (workload string, ok bool) {
	return strings.CutPrefix(name, ComputedPrefix)
}

// PutOwned is Put, and says whose the policy is. A later Put keeps that.
func (p *Policies) PutOwned(ctx context.Context, name, text string, about About) error {
	name = policy.NormalName(name)
	if err := checkPolicy(name, text); err != nil {
		return err
	}
	value, err := json.Marshal(about)
	if err != nil {
		return fault.New(fault.Internal, "encode owner of policy: %w", err)
	}
	return p.change(ctx, func(w barrier.Writer) error {
		if err := w.Put(ctx, barrier.Entry{Path: aboutPath(name), Value: value}); err != nil {
			return err
		}
		return w.Put(ctx, barrier.Entry{Path: policyPath(name), Value: []byte(text)})
	})
}

// About returns whose a policy is.
func (p *Policies) About(ctx context.Context, name string) (about About, err error) {
	err = p.space.View(ctx, func(r barrier.Reader) error {
		e, err := r.Get(ctx, aboutPath(policy.NormalName(name)))
		if err != nil || e == nil {
			return err
		}
		return json.Unmarshal(e.Value, &about)
	})
	return about, err
}

// Parsed returns the named policies, for who is behind the subject, as Set
// compiles them; names without a policy are left out. For nobody (nil) templates
// stay as they were written.
func (p *Policies) Parsed(ctx context.Context, names []string, who *entity.Identity) ([]*policy.Policy, error) {
	var all []*policy.Policy
	for _, name := range names {
		if policy.NormalName(name) == policy.RootName && !p.confined {
			all = append(all, &policy.Policy{Name: policy.RootName})
			continue
		}
		text, err := p.Get(ctx, name)
		if fault.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		one, err := policy.Parse(name, text)
		if err != nil {
			return nil, err
		}
		if who != nil {
			one = one.Fill(who.Value)
		}
		all = append(all, one)
	}
	return all, nil
}
