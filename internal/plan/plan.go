// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package plan compares what people wrote with what the server holds, says what
// would change, and makes it so: plan and apply.
package plan

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/catalog"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/manifest"
	"github.com/goldkeep/goldkeep/internal/notify"
	"github.com/goldkeep/goldkeep/internal/policy"
	"github.com/goldkeep/goldkeep/internal/provenance"
	"github.com/goldkeep/goldkeep/internal/verdict"
	"github.com/goldkeep/goldkeep/internal/workload"
)

// Action is what would be done to a resource.
type Action string

// The actions.
const (
	Create    Action = "create"
	Update    Action = "update"
	Delete    Action = "delete"
	Unchanged Action = "unchanged"
)

// Change is one resource of a plan.
type Change struct {
	Kind    string
	Name    string
	Action  Action
	Fields  []string // what an update changes
	Warning string
	File    string
	Line    int
}

// Policies keeps named access policies.
type Policies interface {
	Get(ctx context.Context, name string) (string, error)
	PutOwned(ctx context.Context, name, text string, about auth.About) error
	About(ctx context.Context, name string) (auth.About, error)
	Delete(ctx context.Context, name string) error
	List(ctx context.Context) ([]string, error)
}

// Notifications keeps whom to tell of what.
type Notifications interface {
	List(ctx context.Context) ([]notify.Notification, error)
	Put(ctx context.Context, n notify.Notification) error
	Delete(ctx context.Context, name string) error
}

// Loop is told what changed, so that what stands on it is judged again.
type Loop interface {
	Reconcile(ctx context.Context, ids []image.Digest) error
	ReconcileAll(ctx context.Context, environment string) error
	ReconcileWorkload(ctx context.Context, workload string) error
}

// Planner plans and applies.
type Planner struct {
	Catalog       *catalog.Catalog
	Workloads     *workload.Book
	Policies      Policies
	Notifications Notifications
	Loop          Loop
}

// wanted is everything the documents declare, parsed and checked.
type wanted struct {
	docs          []manifest.Document
	environments  map[string]*verdict.Environment
	goldens       map[string]*catalog.Golden
	workloads     map[string]*workload.Workload
	policies      map[string]access
	signers       map[string]*provenance.Signer
	notifications map[string]*notify.Notification
	at            map[string]manifest.Document // by "Kind/name"
	leftovers     []Change                     // with prune: what nobody wants
	gone          map[string]bool              // those of them that go, by "Kind/name"
	errs          manifest.Errors
}

// the order things are applied in: what is referred to comes first.
var kinds = []string{"Policy", "Signer", "Environment", "GoldenImage", "Workload", "Notification"}

// Plan says what documents would change. With prune, what is not in them would
// be deleted, but never what is protected. All errors of all documents are
// returned together, each with file and line.
func (p *Planner) Plan(ctx context.Context, docs []manifest.Document, prune bool) ([]Change, error) {
	changes, _, err := p.plan(ctx, docs, prune)
	return changes, err
}

// Apply does what Plan says, kind by kind, then has everything concerned judged
// again. An error leaves what was done before it done; applying again goes on.
func (p *Planner) Apply(ctx context.Context, docs []manifest.Document, prune bool) ([]Change, error) {
	changes, want, err := p.plan(ctx, docs, prune)
	if err != nil {
		return nil, err
	}
	var moved []image.Digest
	for _, c := range changes {
		if c.Action == Unchanged {
			continue
		}
		digests, err := p.do(ctx, c, want)
		if err != nil {
			return nil, fmt.Errorf("%s %s %s: %w", c.Action, c.Kind, c.Name, err)
		}
		moved = append(moved, digests...)
	}
	return changes, p.settle(ctx, changes, moved)
}

// settle has what stands on the changes judged again, once all are made.
func (p *Planner) settle(ctx context.Context, changes []Change, moved []image.Digest) error {
	errs := []error{p.Loop.Reconcile(ctx, moved)}
	for _, c := range changes {
		switch {
		case c.Action == Unchanged || c.Action == Create && c.Kind == "Workload":
		case c.Kind == "Environment":
			errs = append(errs, p.Loop.ReconcileAll(ctx, c.Name))
		case c.Kind == "Workload":
			errs = append(errs, p.Loop.ReconcileWorkload(ctx, c.Name))
		}
	}
	return errors.Join(errs...)
}

func (p *Planner) plan(ctx context.Context, docs []manifest.Document, prune bool) ([]Change, *wanted, error) {
	want := parse(docs)
	have, err := p.load(ctx)
	if err != nil {
		return nil, nil, err
	}
	if prune {
		want.prune(have)
	}
	want.checkReferences(have)
	if err := want.errs.Err(); err != nil {
		return nil, nil, err
	}
	var changes []Change
	for _, kind := range kinds {
		var names []string
		for name := range want.bodies(kind) {
			names = append(names, name)
		}
		sort.Strings(names)
		for _, name := range names {
			changes = append(changes, want.compare(kind, name, have))
		}
	}
	return append(changes, want.leftovers...), want, nil
}

// parse reads every document with the room that owns its kind.
func parse(docs []manifest.Document) *wanted {
	w := &wanted{
		docs: docs, environments: map[string]*verdict.Environment{}, goldens: map[string]*catalog.Golden{},
		workloads: map[string]*workload.Workload{}, policies: map[string]access{}, signers: map[string]*provenance.Signer{},
		notifications: map[string]*notify.Notification{}, at: map[string]manifest.Document{},
	}
	for _, doc := range docs {
		id := doc.Kind + "/" + doc.Meta.Name
		if first, twice := w.at[id]; twice {
			w.fail(doc, doc.Line, "%s %s is declared twice; first at %s:%d", doc.Kind, doc.Meta.Name, first.File, first.Line)
			continue
		}
		w.at[id] = doc
		w.parse(doc)
	}
	return w
}

func (w *wanted) parse(doc manifest.Document) {
	var err error
	switch doc.Kind {
	case "Environment":
		w.environments[doc.Meta.Name], err = verdict.ParseEnvironment(doc)
	case "GoldenImage":
		w.goldens[doc.Meta.Name], err = catalog.ParseGolden(doc)
	case "Workload":
		w.workloads[doc.Meta.Name], err = workload.Parse(doc)
	case "Policy":
		w.policies[doc.Meta.Name], err = parsePolicy(doc)
	case "Signer":
		w.signers[doc.Meta.Name], err = provenance.ParseSigner(doc)
	case "Notification":
		w.notifications[doc.Meta.Name], err = notify.Parse(doc)
	default:
		w.fail(doc, doc.Line, "kind %q is not known; the kinds are Environment, GoldenImage, Workload, Notification, Signer and Policy", doc.Kind)
	}
	if err == nil {
		return
	}
	var many manifest.Errors
	if errors.As(err, &many) {
		w.errs = append(w.errs, many...)
		return
	}
	w.fail(doc, doc.Line, "%v", err)
}

// access is a policy, and whose it is.
type access struct {
	Rules string `json:"rules"`
	auth.About
}

// parsePolicy reads the kind Policy: spec.rules is the policy's HCL or JSON.
func parsePolicy(doc manifest.Document) (access, error) {
	var spec struct {
		Rules string `yaml:"rules"`
	}
	if err := doc.Decode(&spec); err != nil {
		return access{}, err
	}
	if strings.TrimSpace(spec.Rules) == "" {
		return access{}, manifest.Errors{doc.Errorf(doc.LineOf("rules"), "a policy needs rules: | with the policy's text")}.Err()
	}
	if builtIn[doc.Meta.Name] {
		return access{}, manifest.Errors{doc.Errorf(doc.LineOf(), "the policy %s is built in and cannot be changed", doc.Meta.Name)}.Err()
	}
	if _, err := policy.Parse(doc.Meta.Name, spec.Rules); err != nil {
		return access{}, manifest.Errors{doc.Errorf(doc.LineOf("rules"), "%v", err)}.Err()
	}
	return access{Rules: spec.Rules, About: auth.About{Owner: doc.Meta.Owner, Contact: doc.Meta.Contact}}, nil
}

func (w *wanted) fail(doc manifest.Document, line int, format string, args ...any) {
	w.errs = append(w.errs, doc.Errorf(line, format, args...))
}

// bodies returns the canonical form of everything wanted of a kind, by name.
func (w *wanted) bodies(kind string) map[string]any {
	all := map[string]any{}
	switch kind {
	case "Policy":
		for name, text := range w.policies {
			all[name] = text
		}
	case "Environment":
		for name, env := range w.environments {
			all[name] = env
		}
	case "Signer":
		for name, s := range w.signers {
			all[name] = s
		}
	case "GoldenImage":
		for name, g := range w.goldens {
			all[name] = g
		}
	case "Workload":
		for name, wl := range w.workloads {
			all[name] = wl
		}
	case "Notification":
		for name, n := range w.notifications {
			all[name] = n
		}
	}
	return all
}

// compare says what would happen to one resource.
func (w *wanted) compare(kind, name string, have *held) Change {
	doc := w.at[kind+"/"+name]
	c := Change{Kind: kind, Name: name, Action: Create, File: doc.File, Line: doc.Line}
	old, exists := have.bodies[kind][name]
	if !exists {
		return c
	}
	c.Fields = differences(old, w.bodies(kind)[name])
	c.Action = Update
	if len(c.Fields) == 0 && (kind != "Environment" || have.protected[kind+"/"+name] == doc.Meta.Protect) {
		c.Action = Unchanged
	}
	return c
}

// differences names the top-level fields in which two resources differ.
func differences(a, b any) []string {
	x, y := fieldsOf(a), fieldsOf(b)
	var names []string
	for name := range x {
		if string(x[name]) != string(y[name]) {
			names = append(names, name)
		}
	}
	for name := range y {
		if _, both := x[name]; !both {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names
}

func fieldsOf(v any) map[string]json.RawMessage {
	fields := map[string]json.RawMessage{}
	text, err := json.Marshal(v)
	if err == nil {
		_ = json.Unmarshal(text, &fields)
	}
	return fields
}

// prune finds the resources nobody wants any more, the last kind first: each is
// judged after those that may need it.
func (w *wanted) prune(have *held) {
	w.gone = map[string]bool{}
	for _, kind := range slices.Backward(kinds[1:]) { // policies may be others', made through /v1: they are left alone
		for _, name := range slices.Sorted(maps.Keys(have.bodies[kind])) {
			id := kind + "/" + name
			if _, kept := w.at[id]; kept {
				continue
			}
			c := Change{Kind: kind, Name: name, Action: Delete}
			if have.protected[id] {
				c.Action, c.Warning = Unchanged, "protected: set protect: false first to delete it"
			} else if by := w.neededBy(id, have); by != "" {
				c.Action, c.Warning = Unchanged, "kept: "+by+" stays and needs it"
				have.protected[id] = true
			} else {
				w.gone[id] = true
			}
			w.leftovers = append(w.leftovers, c)
		}
	}
}

// neededBy names a resource on the server that stays, though it is in no document,
// and refers to another.
func (w *wanted) neededBy(id string, have *held) string {
	for _, by := range slices.Sorted(maps.Keys(have.refers)) {
		if _, written := w.at[by]; !written && !w.gone[by] && have.protected[by] && slices.Contains(have.refers[by], id) {
			return strings.Replace(by, "/", " ", 1)
		}
	}
	return ""
}

// do makes one change. It returns the digests that must be judged again.
func (p *Planner) do(ctx context.Context, c Change, want *wanted) ([]image.Digest, error) {
	if c.Action == Delete {
		return p.remove(ctx, c)
	}
	switch c.Kind {
	case "Policy":
		return nil, p.Policies.PutOwned(ctx, c.Name, want.policies[c.Name].Rules, want.policies[c.Name].About)
	case "Environment":
		return nil, p.Catalog.PutEnvironment(ctx, *want.environments[c.Name], want.at["Environment/"+c.Name].Meta.Protect)
	case "Signer":
		environments, err := p.Catalog.PutSigner(ctx, want.signers[c.Name])
		return nil, errors.Join(err, p.judgeAgain(ctx, environments))
	case "GoldenImage":
		return p.Catalog.PutGolden(ctx, *want.goldens[c.Name])
	case "Notification":
		return nil, p.Notifications.Put(ctx, *want.notifications[c.Name])
	}
	return nil, p.Workloads.Put(ctx, *want.workloads[c.Name])
}

// judgeAgain has the environments judged again that a changed signer concerns.
func (p *Planner) judgeAgain(ctx context.Context, environments []string) error {
	var errs []error
	for _, name := range environments {
		errs = append(errs, p.Loop.ReconcileAll(ctx, name))
	}
	return errors.Join(errs...)
}

func (p *Planner) remove(ctx context.Context, c Change) ([]image.Digest, error) {
	switch c.Kind {
	case "Policy":
		return nil, p.Policies.Delete(ctx, c.Name)
	case "Environment":
		return nil, p.Catalog.DeleteEnvironment(ctx, c.Name)
	case "Signer":
		environments, err := p.Catalog.DeleteSigner(ctx, c.Name)
		return nil, errors.Join(err, p.judgeAgain(ctx, environments))
	case "GoldenImage":
		return p.Catalog.DeleteGolden(ctx, c.Name)
	case "Notification":
		return nil, p.Notifications.Delete(ctx, c.Name)
	}
	return nil, p.Workloads.Delete(ctx, c.Name)
}
