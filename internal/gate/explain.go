// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"context"
	"encoding/json"
	"time"

	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/entity"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/policy"
)

// Explainer tells what the gate would decide, and why, without asking an engine
// to do anything. It is for those allowed to know: its doors need rights of
// their own.
type Explainer struct {
	Mounts   *engine.Mounts
	Root     *engine.Realm // with the namespaces below; nil: there are none
	Policies interface {
		// Parsed returns the policies as they are compiled for a subject.
		Parsed(ctx context.Context, names []string, who *entity.Identity) ([]*policy.Policy, error)
		// About says whose a policy is.
		About(ctx context.Context, name string) (auth.About, error)
	}
	Tokens interface {
		// Info is what is known of a token; fault.Denied where it is not valid.
		Info(ctx context.Context, token string) (*auth.Info, error)
		// InfoByAccessor is Info by the name of the token.
		InfoByAccessor(ctx context.Context, accessor string) (*auth.Info, error)
	}
	Entities interface {
		// Resolve is an entity with its groups; nil where it is gone.
		Resolve(ctx context.Context, id string) (*entity.Identity, error)
	}
}

// Write is what Question.Op holds for a request that creates or updates: which of
// both, the engine says.
const Write policy.Capability = "write"

// Question is what shall be explained. One of Token, Accessor and Policies says
// whose rights are meant.
type Question struct {
	Token, Accessor string
	Policies        []string // names
	Op              policy.Capability
	Path            string // "secret/data/app"
	Fields          map[string]json.RawMessage
	WrapTTL         time.Duration
}

// Explanation is what the gate would decide about a request, and why.
type Explanation struct {
	Holder   string   // what the token is called; "" where only policies were named
	Accessor string   // of the token
	Held     []string // names of the policies, also those that are not there
	Absent   []string // those of them that are not there
	Mount    string   // the path below which an engine serves the request; "": none does
	Query    policy.Query
	Decision policy.Decision
	Matches  []policy.Match // all rules about the path, the ones that decided first
	Missing  string         // a sentence: what is missing where it is denied
}

// Explain answers a question. A token or accessor that is not valid is
// fault.NotFound, a bad path or capability fault.Invalid.
func (x *Explainer) Explain(ctx context.Context, ask Question) (*Explanation, error) {
	if err := checkPath(ask.Path); err != nil {
		return nil, err
	}
	out := &Explanation{Held: ask.Policies, Query: policy.Query{Path: ask.Path, Need: ask.Op, Fields: ask.Fields, WrapTTL: ask.WrapTTL}}
	who, err := x.holder(ctx, ask, out)
	if err != nil {
		return nil, err
	}
	if err := x.ask(ctx, &out.Query, out); err != nil {
		return nil, err
	}
	policies, err := x.Policies.Parsed(ctx, out.Held, who)
	if err != nil {
		return nil, err
	}
	out.Absent = absent(out.Held, policies)
	out.Decision, out.Matches = policy.Explain(out.Query, policies...)
	out.Missing = out.Decision.Missing(out.Query)
	return out, nil
}

func (x *Explainer) holder(ctx context.Context, ask Question, out *Explanation) (*entity.Identity, error) {
	var info *auth.Info
	var err error
	switch {
	case ask.Token != "":
		info, err = x.Tokens.Info(ctx, ask.Token)
	case ask.Accessor != "":
		info, err = x.Tokens.InfoByAccessor(ctx, ask.Accessor)
	case len(ask.Policies) == 0:
		return nil, fault.New(fault.Invalid, "say whose rights are meant: a token, an accessor, a workload or policies")
	default:
		return nil, nil
	}
	if err != nil {
		return nil, fault.New(fault.NotFound, "there is no such token, or it has ended").WithHint("a token that has ended may do nothing; see its end with: goldkeep audit show")
	}
	out.Holder, out.Accessor, out.Held = info.Display, info.Accessor, info.All()
	return info.Identity, nil
}

// ask completes a query as the gate does: what the path is, whether it needs sudo,
// and whether a write is a create.
func (x *Explainer) ask(ctx context.Context, q *policy.Query, out *Explanation) error {
	slot, below, in, err := x.find(ctx, q.Path)
	if err != nil {
		return sealedOr(err)
	}
	exists := true
	if slot != nil {
		out.Mount = in + slot.Mount.Path
		q.Sudo = engine.MatchPath(slot.Special.Sudo, below)
		if q.Need == Write {
			if exists, err = slot.Engine.Exists(ctx, below); err != nil {
				return sealedOr(err)
			}
		}
	}
	if q.Need == Write {
		q.Need = policy.Update
		if !exists {
			q.Need = policy.Create
		}
	}
	if !q.Need.Known() {
		return fault.New(fault.Invalid, "%q is nothing one can do with a path", q.Need).
			WithHint("it is one of: read, list, write, create, update, patch, delete, scan")
	}
	return nil
}

// find is the engine of a path, also within a namespace, whose path it returns too.
func (x *Explainer) find(ctx context.Context, path string) (slot *engine.Slot, below, in string, err error) {
	mounts := x.Mounts
	if x.Root != nil {
		realm, rest, err := x.Root.Find(ctx, path)
		if err != nil {
			return nil, "", "", err
		}
		mounts, path, in = realm.Mounts, rest, realm.Path
	}
	slot, below, err = mounts.Resolve(ctx, path)
	return slot, below, in, err
}

func absent(names []string, found []*policy.Policy) (missing []string) {
	there := map[string]bool{}
	for _, p := range found {
		there[p.Name] = true
	}
	for _, name := range names {
		if !there[policy.NormalName(name)] {
			missing = append(missing, name)
		}
	}
	return missing
}

// Lint tells what of policies does not do what it looks like, by the mounts of now.
func (x *Explainer) Lint(ctx context.Context, policies ...*policy.Policy) ([]policy.Complaint, error) {
	list, err := x.Mounts.List(ctx)
	if err != nil {
		return nil, sealedOr(err)
	}
	var mounts []policy.Mount
	for _, m := range list {
		slot, err := x.Mounts.Slot(ctx, m.Path)
		if err != nil {
			return nil, sealedOr(err)
		}
		if slot == nil {
			continue // unmounted meanwhile
		}
		mounts = append(mounts, policy.Mount{
			Path: m.Path, Kind: m.Kind, Version: m.Options["version"],
			Sudo: func(path string) bool { return engine.MatchPath(slot.Special.Sudo, path) },
		})
	}
	var all []policy.Complaint
	for _, p := range policies {
		all = append(all, policy.Lint(p, mounts)...)
	}
	return all, nil
}
