// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/workload"
)

// gather makes digests of the news, once nothing has happened for the quiet time
// or the first of it has waited long enough. Where another server is faster it
// leaves the news to that one.
func (s *Service) gather(ctx context.Context) error {
	count, first, last, err := s.waiting(ctx)
	now := s.o.Now()
	longest := min(10*s.o.Quiet, longestWait)
	if err != nil || count == 0 || now.Sub(last) < s.o.Quiet && now.Sub(first) < longest {
		return err
	}
	r, err := s.ring(ctx)
	if err != nil {
		return err
	}
	seen, err := s.each(ctx, now, func(before standing, n news) error { return r.hear(ctx, before, n) })
	if err != nil {
		return err
	}
	deliveries, err := r.finish(ctx)
	if err != nil {
		return err
	}
	err = s.o.Store.Update(ctx, func(tx store.Tx) error {
		if err := take(ctx, tx, seen); err != nil {
			return err
		}
		for _, d := range deliveries {
			if err := enqueue(ctx, tx, d); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, errTaken) {
		return nil // the next beat looks again
	}
	return err
}

// ring is everybody who may have to be told, while news is gathered.
type ring struct {
	s         *Service
	targets   []Notification
	goldens   map[string]Golden
	workloads map[workload.Image][]workload.Workload
	byName    map[string]workload.Workload
	piles     map[string]*pile // by recipient
	names     map[image.Digest]string
}

// ring reads what people have declared.
func (s *Service) ring(ctx context.Context) (*ring, error) {
	r := &ring{
		s: s, goldens: map[string]Golden{}, workloads: map[workload.Image][]workload.Workload{},
		byName: map[string]workload.Workload{}, piles: map[string]*pile{}, names: map[image.Digest]string{},
	}
	var err error
	if r.targets, err = s.targets(ctx, false, "SELECT body, sealed FROM notify_target ORDER BY name"); err != nil {
		return nil, err
	}
	goldens, err := s.o.Catalog.Goldens(ctx)
	if err != nil {
		return nil, err
	}
	for _, g := range goldens {
		r.goldens[g.Name] = g
	}
	all, err := s.o.Workloads.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, w := range all {
		w.Secrets = nil
		r.byName[w.Name] = w
		r.workloads[w.Image] = append(r.workloads[w.Image], w)
	}
	return r, nil
}

// stake is why something is an owner's business.
type stake struct {
	owner, contact string
}

// hear puts one piece of news on the piles of all whose business it is.
func (r *ring) hear(ctx context.Context, before standing, n news) error {
	if n.Golden != "" {
		return r.hearMove(ctx, before, n)
	}
	change := changed(before, n.Standing)
	if change == "" {
		return nil
	}
	it := Item{
		Change: change, Environment: n.Environment, Image: string(n.Image), Instance: n.Instance, Node: n.Node, Feed: n.Feed,
		Until: n.Standing.Deadline, At: n.At,
	}
	for _, why := range n.Reasons {
		it.Reasons = append(it.Reasons, why.Text)
		if why.Remedy != "" && !slices.Contains(it.Remedies, why.Remedy) {
			it.Remedies = append(it.Remedies, why.Remedy)
		}
	}
	stakes, err := r.stakes(ctx, n, &it)
	if err != nil {
		return err
	}
	r.pass(it, stakes, n.Cause)
	return nil
}

// pass puts an item on the piles of all who have a stake in it.
func (r *ring) pass(it Item, stakes []stake, cause string) {
	for _, target := range r.targets {
		mine := slices.DeleteFunc(slices.Clone(stakes), func(st stake) bool { return !target.wants(it.Change, st.owner, it.Environment) })
		if len(mine) > 0 || it.Feed != "" && target.wants(it.Change, "", "") {
			r.pile("to "+target.Name, target.Name, "").add(it.of(mine), cause)
		}
	}
	for _, st := range stakes {
		if r.direct(st) {
			r.pile("by "+st.owner+" "+st.contact, "", st.contact).add(it.of([]stake{st}), cause)
		}
	}
}

// of is the item as the owners of some stakes see it.
func (it Item) of(mine []stake) Item {
	it.Owners, it.Contacts = nil, nil
	for _, st := range mine {
		it.Owners = appendNew(it.Owners, st.owner)
		it.Contacts = appendNew(it.Contacts, shownContact(st.contact))
	}
	return it
}

// appendNew adds a name that is not there yet, to a bounded list.
func appendNew(all []string, name string) []string {
	if name == "" || len(all) >= maxNames || slices.Contains(all, name) {
		return all
	}
	return append(all, name)
}

func (r *ring) pile(key, notification, contact string) *pile {
	p := r.piles[key]
	if p == nil {
		p = newPile()
		p.digest.Notification, p.contact = notification, contact
		r.piles[key] = p
	}
	return p
}

// stakes finds out whose business something is, and fills in where it stands.
func (r *ring) stakes(ctx context.Context, n news, it *Item) ([]stake, error) {
	if n.Feed != "" {
		return nil, nil
	}
	var all []stake
	add := func(owner, contact string) {
		if st := (stake{owner, contact}); owner != "" && !slices.Contains(all, st) {
			all = append(all, st)
		}
	}
	if n.Instance != "" {
		it.Workloads = []string{n.Workload}
		add(n.Owner, r.byName[n.Workload].Contact)
	}
	channels, err := r.s.o.Catalog.Channels(ctx, n.Image)
	if err != nil {
		return nil, fmt.Errorf("read channels: %w", err)
	}
	for _, ch := range channels {
		it.Golden = appendNew(it.Golden, ch.Golden+" "+ch.Name)
		add(ch.Owner, r.goldens[ch.Golden].Contact)
		for _, w := range r.workloads[workload.Image{Golden: ch.Golden, Channel: ch.Name}] {
			if w.Environment == n.Environment && n.Instance == "" {
				it.Workloads = appendNew(it.Workloads, w.Name)
				add(w.Owner, w.Contact)
			}
		}
	}
	return all, r.origins(ctx, n.Image, it, add)
}

// origins adds the owners of the golden images a part of an image comes from.
func (r *ring) origins(ctx context.Context, id image.Digest, it *Item, add func(owner, contact string)) error {
	if r.s.o.Origins == nil {
		return nil
	}
	names, err := r.s.o.Origins(ctx, id)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		r.s.o.Log.Warn("find where an image comes from", "image", id, "error", err) // the others are told all the same
	}
	for _, name := range names {
		if g, known := r.goldens[name]; known {
			it.Golden = appendNew(it.Golden, g.Name)
			add(g.Owner, g.Contact)
		}
	}
	return nil
}

// direct reports whether an owner is told by contact: nobody has said how else.
func (r *ring) direct(st stake) bool {
	if r.s.o.NoContacts || !r.s.reachable(st.contact) {
		return false
	}
	return !slices.ContainsFunc(r.targets, func(n Notification) bool { return slices.Contains(n.Owners, st.owner) })
}

// reachable reports whether a contact is a place we can send to.
func (s *Service) reachable(contact string) bool {
	if isAddress(contact) {
		return s.o.Mail.Host != ""
	}
	return strings.HasPrefix(contact, "https://") && badURL(contact, false) == ""
}

// byContact is the Notification a contact stands for.
func byContact(contact string) Notification {
	if isAddress(contact) {
		return Notification{Email: &Email{To: []string{contact}}}
	}
	w := &Webhook{URL: contact, Format: "json"}
	if u, err := url.Parse(contact); err == nil && u.Hostname() == "hooks.slack.com" {
		w.Format = "slack"
	}
	return Notification{Webhook: w}
}

// shownContact is a contact as may be shown: of a webhook, only where.
func shownContact(contact string) string {
	if strings.Contains(contact, "://") {
		return "webhook" + atHost(contact)
	}
	return plain(contact, maxText)
}

// finish makes digests of the piles, with what the images are called.
func (r *ring) finish(ctx context.Context) ([]Delivery, error) {
	var all []Delivery
	for _, key := range slices.Sorted(maps.Keys(r.piles)) {
		p := r.piles[key]
		d := p.finish(newID(), r.s.o.Server)
		for i := range d.Items {
			name, err := r.called(ctx, image.Digest(d.Items[i].Image))
			if err != nil {
				return nil, err
			}
			d.Items[i].ImageName = name
		}
		all = append(all, r.s.delivery(d, p.contact))
	}
	return all, nil
}

// called is what an image was last called.
func (r *ring) called(ctx context.Context, id image.Digest) (string, error) {
	if name, known := r.names[id]; known || id == "" {
		return name, nil
	}
	name, err := r.s.o.Catalog.Name(ctx, id)
	if err != nil {
		return "", err
	}
	r.names[id] = plain(name, maxText)
	return r.names[id], nil
}
