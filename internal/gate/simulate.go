// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/audit"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/entity"
	"github.com/goldkeep/goldkeep/internal/policy"
)

// Simulation puts requests from the audit log before policies as they are, and as
// one of them would be.
type Simulation struct {
	x       *Explainer
	open    func(audit.Record) (json.RawMessage, error)
	changed *policy.Policy
	asked   map[string]*Replayed
	sets    map[string]both
	begun   map[string]bool // requests whose second record is still to come

	Requests int // recorded requests that were decided about again
	Unknown  int // records that do not say what is needed: of an older version, or that do not open
}

type both struct{ before, after policy.Set }

// Replayed is one kind of request: the same was asked with the same rights,
// perhaps many times.
type Replayed struct {
	Op     policy.Capability `json:"op"`
	Path   string            `json:"path"`
	Holder string            `json:"holder"` // the last one's display name
	Held   []string          `json:"policies"`
	Times  int               `json:"times"`
	Last   time.Time         `json:"last"`
	Before policy.Decision   `json:"-"`
	After  policy.Decision   `json:"-"`
	Unsure bool              `json:"unsure,omitempty"` // depends on values of parameters, or on whether a write was the first: that is not recorded
}

// maxReplayed bounds the different requests that are told apart.
const maxReplayed = 100_000

// Simulate begins a simulation: changed replaces, or adds, the policy of its name.
// open reads what a record keeps sealed.
func (x *Explainer) Simulate(changed *policy.Policy, open func(audit.Record) (json.RawMessage, error)) *Simulation {
	return &Simulation{x: x, open: open, changed: changed, asked: map[string]*Replayed{}, sets: map[string]both{}, begun: map[string]bool{}}
}

// recorded is what detail writes.
type recorded struct {
	Path    string                     `json:"path"`
	Held    []string                   `json:"held"`
	Entity  string                     `json:"entity"`
	Of      string                     `json:"token_namespace"` // "": the root
	WrapTTL int64                      `json:"wrap_ttl"`
	Fields  map[string]json.RawMessage `json:"fields"`
}

// Add takes one record of the audit log. Of requests that left two the first counts.
func (s *Simulation) Add(ctx context.Context, rec audit.Record) error {
	switch {
	case rec.Kind == "request":
		s.begun[rec.ID] = true
	case rec.Kind != "response":
		return nil
	case s.begun[rec.ID]:
		delete(s.begun, rec.ID)
		return nil
	}
	if rec.Actor == "" {
		return nil // nobody's rights were asked for
	}
	text, err := s.open(rec)
	var d recorded
	if err != nil || json.Unmarshal(text, &d) != nil || len(d.Held) == 0 || d.Of != "" { // the policies of another namespace are others
		s.Unknown++
		return nil
	}
	s.Requests++
	return s.replay(ctx, rec, d)
}

func (s *Simulation) replay(ctx context.Context, rec audit.Record, d recorded) error {
	fields := map[string]json.RawMessage{}
	for name := range d.Fields {
		fields[name] = json.RawMessage("null") // the value is not known
	}
	key := fmt.Sprint(rec.Op, "\x00", d.Path, "\x00", d.Held, d.Entity, d.WrapTTL, len(fields), sortedNames(fields))
	r := s.asked[key]
	if r == nil {
		if len(s.asked) >= maxReplayed {
			s.Unknown++
			return nil
		}
		r = &Replayed{Op: policy.Capability(rec.Op), Path: d.Path, Held: d.Held}
		sets, err := s.rights(ctx, d)
		if err != nil {
			return err
		}
		q := policy.Query{Path: d.Path, Need: r.Op, Fields: fields, WrapTTL: time.Duration(d.WrapTTL) * time.Second}
		slot, below, _, err := s.x.find(ctx, d.Path)
		if err != nil {
			return sealedOr(err)
		}
		q.Sudo = slot != nil && engine.MatchPath(slot.Special.Sudo, below)
		r.Before, r.After = sets.before.Decide(q), sets.after.Decide(q)
		r.Unsure = r.Before.Reason == policy.ReasonParameter || r.After.Reason == policy.ReasonParameter
		if q.Need == policy.Update { // the gate found no need to know whether it was a create
			q.Need = policy.Create
			r.Unsure = r.Unsure || sets.after.Decide(q).Allowed != r.After.Allowed
		}
		s.asked[key] = r
	}
	r.Times++
	if rec.Time.After(r.Last) {
		r.Last, r.Holder = rec.Time, rec.Name
	}
	return nil
}

// rights compiles the policies a request was made with, as they are and changed.
func (s *Simulation) rights(ctx context.Context, d recorded) (both, error) {
	key := strings.Join(d.Held, ",") + "\x00" + d.Entity
	if known, ok := s.sets[key]; ok {
		return known, nil
	}
	var who *entity.Identity
	var err error
	if d.Entity != "" {
		if who, err = s.x.Entities.Resolve(ctx, d.Entity); err != nil {
			return both{}, sealedOr(err)
		}
	}
	now, err := s.x.Policies.Parsed(ctx, d.Held, who)
	if err != nil {
		return both{}, sealedOr(err)
	}
	changed := slices.DeleteFunc(slices.Clone(now), func(p *policy.Policy) bool { return p.Name == s.changed.Name })
	if slices.Contains(d.Held, s.changed.Name) {
		changed = append(changed, s.changed.Fill(who.Value))
	}
	sets := both{before: policy.NewSet(now...), after: policy.NewSet(changed...)}
	s.sets[key] = sets
	return sets, nil
}

func sortedNames(fields map[string]json.RawMessage) []string {
	var names []string
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Changes are the kinds of requests that are decided otherwise, those that would
// be refused first, then by how often they came.
func (s *Simulation) Changes() []*Replayed {
	var all []*Replayed
	for _, r := range s.asked {
		if r.Before.Allowed != r.After.Allowed {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b *Replayed) int {
		switch {
		case a.After.Allowed != b.After.Allowed && b.After.Allowed:
			return -1
		case a.After.Allowed != b.After.Allowed:
			return 1
		case a.Times != b.Times:
			return b.Times - a.Times
		}
		return strings.Compare(a.Path+string(a.Op), b.Path+string(b.Op))
	})
	return all
}
