// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Digest is what one recipient is told of one change: bounded, however much
// happened. It is also the JSON a webhook gets.
type Digest struct {
	Version      int            `json:"version"` // of this format: 1
	Kind         string         `json:"kind"`    // "digest", or "test"
	ID           string         `json:"id"`      // the same at every attempt to deliver it
	Server       string         `json:"server"`
	Notification string         `json:"notification,omitempty"` // empty: told by an owner's contact
	Owners       []string       `json:"owners"`                 // whose things are concerned
	From         time.Time      `json:"from"`                   // when the first of it happened
	To           time.Time      `json:"to"`                     // and the last
	Causes       []string       `json:"causes,omitempty"`       // "feed Debian", "apply", ...
	Counts       map[Change]int `json:"counts"`
	Reasons      []Counted      `json:"reasons,omitempty"`  // the most frequent
	Remedies     []Counted      `json:"remedies,omitempty"` // the most frequent
	Items        []Item         `json:"items"`              // the worst first
	More         int            `json:"more,omitempty"`     // how many are not among them
}

// Counted is a text and for how many items it holds.
type Counted struct {
	Text  string `json:"text"`
	Count int    `json:"count"`
}

// Item is one thing concerned: an image in an environment, an instance, or a feed.
type Item struct {
	Change      Change    `json:"change"`
	Environment string    `json:"environment,omitempty"`
	Image       string    `json:"image,omitempty"`     // config digest
	ImageName   string    `json:"imageName,omitempty"` // what it was last called; anybody may have chosen it
	Golden      []string  `json:"golden,omitempty"`    // channels it stands in, "payments gold"; and golden images it is built on
	Workloads   []string  `json:"workloads,omitempty"`
	Instance    string    `json:"instance,omitempty"`
	Node        string    `json:"node,omitempty"`
	Feed        string    `json:"feed,omitempty"`
	Owners      []string  `json:"owners,omitempty"`
	Contacts    []string  `json:"contacts,omitempty"`
	Reasons     []string  `json:"reasons,omitempty"`
	Remedies    []string  `json:"remedies,omitempty"`
	Until       time.Time `json:"until,omitzero"` // a deadline
	At          time.Time `json:"at"`
}

// The limits of one digest.
const (
	maxItems   = 25
	maxNames   = 5    // golden images, workloads, owners, causes of one item or digest
	maxCounted = 5    // reasons and remedies
	maxTexts   = 2000 // different texts counted
)

// pile is a digest in the making.
type pile struct {
	digest   Digest
	contact  string // where it goes, if no Notification says so
	owners   map[string]int
	causes   map[string]int
	reasons  map[string]int
	remedies map[string]int
	total    int
}

func newPile() *pile {
	return &pile{
		digest: Digest{Version: 1, Kind: "digest", Counts: map[Change]int{}, Items: []Item{}},
		owners: map[string]int{}, causes: map[string]int{}, reasons: map[string]int{}, remedies: map[string]int{},
	}
}

// add puts one item on the pile.
func (p *pile) add(it Item, cause string) {
	d := &p.digest
	d.Counts[it.Change]++
	p.total++
	if d.From.IsZero() || it.At.Before(d.From) {
		d.From = it.At
	}
	if it.At.After(d.To) {
		d.To = it.At
	}
	for _, owner := range it.Owners {
		count(p.owners, owner)
	}
	count(p.causes, cause)
	for _, text := range it.Reasons {
		count(p.reasons, text)
	}
	for _, text := range it.Remedies {
		count(p.remedies, text)
	}
	p.place(it)
}

// count counts a text, of a bounded number of them.
func count(texts map[string]int, text string) {
	if _, known := texts[text]; text != "" && (known || len(texts) < maxTexts) {
		texts[text]++
	}
}

// place keeps the worst items, in order.
func (p *pile) place(it Item) {
	items := p.digest.Items
	at, _ := slices.BinarySearchFunc(items, it, func(a, b Item) int {
		return cmp.Or(cmp.Compare(rank(a.Change), rank(b.Change)), -1) // after its equals
	})
	if at >= maxItems {
		return
	}
	items = slices.Insert(items, at, it)
	p.digest.Items = items[:min(len(items), maxItems)]
}

func rank(c Change) int { return slices.Index(changes, c) }

// finish is the digest of what is on the pile.
func (p *pile) finish(id, server string) Digest {
	d := p.digest
	d.ID, d.Server, d.More = id, server, p.total-len(d.Items)
	d.Owners, d.Causes = texts(top(p.owners, maxNames)), texts(top(p.causes, maxNames))
	d.Reasons, d.Remedies = top(p.reasons, maxCounted), top(p.remedies, maxCounted)
	return d
}

// top returns the most frequent texts.
func top(counts map[string]int, most int) []Counted {
	var all []Counted
	for _, text := range slices.Sorted(maps.Keys(counts)) {
		all = append(all, Counted{text, counts[text]})
	}
	slices.SortStableFunc(all, func(a, b Counted) int { return cmp.Compare(b.Count, a.Count) })
	return all[:min(len(all), most)]
}

func texts(all []Counted) []string {
	out := []string{}
	for _, c := range all {
		out = append(out, c.Text)
	}
	return out
}
