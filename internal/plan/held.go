// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"context"
	"sort"
	"strconv"
	"strings"

	"github.com/goldkeep/goldkeep/internal/policy"
)

// held is what the server holds now.
type held struct {
	bodies    map[string]map[string]any // by kind and name
	channels  map[string]map[string]bool
	protected map[string]bool     // by "Kind/name"
	refers    map[string][]string // what each refers to, both by "Kind/name"
}

func (p *Planner) load(ctx context.Context) (*held, error) {
	h := &held{
		bodies: map[string]map[string]any{}, channels: map[string]map[string]bool{}, protected: map[string]bool{}, refers: map[string][]string{},
	}
	for _, kind := range kinds {
		h.bodies[kind] = map[string]any{}
	}
	for _, load := range []func(context.Context, *held) error{p.loadPolicies, p.loadSigners, p.loadEnvironments, p.loadGoldens, p.loadWorkloads, p.loadNotifications} {
		if err := load(ctx, h); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// builtIn are policies that nobody can write.
var builtIn = map[string]bool{policy.RootName: true, policy.NodeName: true, policy.WrappingName: true}

func (p *Planner) loadPolicies(ctx context.Context, h *held) error {
	names, err := p.Policies.List(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		if builtIn[name] {
			continue
		}
		text, err := p.Policies.Get(ctx, name)
		if err != nil {
			return err
		}
		about, err := p.Policies.About(ctx, name)
		if err != nil {
			return err
		}
		h.bodies["Policy"][name] = access{Rules: text, About: about}
	}
	return nil
}

func (p *Planner) loadSigners(ctx context.Context, h *held) error {
	all, err := p.Catalog.Signers(ctx)
	for _, s := range all {
		h.bodies["Signer"][s.Name] = s
		h.protected["Signer/"+s.Name] = s.Protect
	}
	return err
}

func (p *Planner) loadEnvironments(ctx context.Context, h *held) error {
	envs, err := p.Catalog.Environments(ctx)
	if err != nil {
		return err
	}
	for _, env := range envs {
		h.bodies["Environment"][env.Name] = env
		h.refers["Environment/"+env.Name] = []string{"Environment/" + env.After}
		for _, signer := range env.Signers() {
			h.refers["Environment/"+env.Name] = append(h.refers["Environment/"+env.Name], "Signer/"+signer)
		}
		if h.protected["Environment/"+env.Name], err = p.Catalog.Protected(ctx, env.Name); err != nil {
			return err
		}
	}
	return nil
}

func (p *Planner) loadGoldens(ctx context.Context, h *held) error {
	goldens, err := p.Catalog.Goldens(ctx)
	if err != nil {
		return err
	}
	for _, g := range goldens {
		h.bodies["GoldenImage"][g.Name] = g
		h.protected["GoldenImage/"+g.Name] = g.Protect
		h.refers["GoldenImage/"+g.Name] = []string{"GoldenImage/" + g.From}
		h.channels[g.Name] = map[string]bool{}
		for channel := range g.Channels {
			h.channels[g.Name][channel] = true
		}
	}
	return nil
}

func (p *Planner) loadWorkloads(ctx context.Context, h *held) error {
	all, err := p.Workloads.List(ctx)
	if err != nil {
		return err
	}
	for _, w := range all {
		h.bodies["Workload"][w.Name] = w
		h.protected["Workload/"+w.Name] = w.Protect
		h.refers["Workload/"+w.Name] = []string{"Environment/" + w.Environment, "GoldenImage/" + w.Image.Golden}
	}
	return nil
}

func (p *Planner) loadNotifications(ctx context.Context, h *held) error {
	all, err := p.Notifications.List(ctx)
	if err != nil {
		return err
	}
	for _, n := range all {
		id := "Notification/" + n.Name
		h.bodies["Notification"][n.Name], h.protected[id] = n, n.Protect
		for _, env := range n.Environments {
			h.refers[id] = append(h.refers[id], "Environment/"+env)
		}
	}
	return nil
}

// plain is how a kind is called in a sentence.
var plain = map[string]string{"Environment": "environment", "GoldenImage": "golden image", "Signer": "signer"}

// checkReferences finds names that lead nowhere, in the documents or on the server.
func (w *wanted) checkReferences(have *held) {
	missing := func(kind, name string) string {
		_, here := w.at[kind+"/"+name]
		_, there := have.bodies[kind][name]
		switch {
		case name == "" || here || there && !w.gone[kind+"/"+name]:
			return ""
		case there:
			return "this needs " + kind + " " + name + ", which is in none of the files and would be pruned"
		}
		return "there is no " + plain[kind] + " " + name
	}
	for name, env := range w.environments {
		if env != nil {
			w.dangling("Environment", name, []string{"after"}, missing("Environment", env.After))
			for _, signer := range env.Signers() {
				w.dangling("Environment", name, []string{"admit"}, missing("Signer", signer))
			}
		}
	}
	for name, g := range w.goldens {
		if g != nil {
			w.dangling("GoldenImage", name, []string{"from"}, missing("GoldenImage", g.From))
		}
	}
	for name, n := range w.notifications {
		if n == nil {
			continue
		}
		for i, env := range n.Environments {
			w.dangling("Notification", name, []string{"environments", strconv.Itoa(i)}, missing("Environment", env))
		}
	}
	for name, wl := range w.workloads {
		if wl == nil {
			continue
		}
		w.dangling("Workload", name, []string{"environment"}, missing("Environment", wl.Environment))
		if gap := missing("GoldenImage", wl.Image.Golden); gap != "" || wl.Image.Golden == "" {
			w.dangling("Workload", name, []string{"image", "golden"}, gap)
		} else if known := w.channelsOf(wl.Image.Golden, have); wl.Image.Channel != "" && !known[wl.Image.Channel] {
			w.dangling("Workload", name, []string{"image", "channel"}, "golden image "+wl.Image.Golden+" has no channel "+wl.Image.Channel+orThese(known))
		}
	}
}

// channelsOf returns a golden image's channels: those of the documents win.
func (w *wanted) channelsOf(golden string, have *held) map[string]bool {
	g := w.goldens[golden]
	if g == nil {
		return have.channels[golden]
	}
	channels := map[string]bool{}
	for name := range g.Channels {
		channels[name] = true
	}
	return channels
}

func orThese(known map[string]bool) string {
	if len(known) == 0 {
		return "; it has none"
	}
	var names []string
	for name := range known {
		names = append(names, name)
	}
	sort.Strings(names)
	return "; it has " + strings.Join(names, ", ")
}

// dangling notes an error about a reference; "": there is none.
func (w *wanted) dangling(kind, name string, at []string, msg string) {
	if msg == "" {
		return
	}
	doc := w.at[kind+"/"+name]
	w.errs = append(w.errs, doc.Errorf(doc.LineOf(at...), "%s", msg))
}
