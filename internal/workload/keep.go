// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/fleet"
	"github.com/goldkeep/goldkeep/internal/store"
)

// Book keeps the workloads. Which secrets a workload needs is sealed (it names
// secrets); the rest can be read while the server is sealed.
type Book struct {
	store store.Store
	keys  barrier.Keys

	// OnChange is told of every change in the transaction that makes it; of a
	// deleted workload there is only the name. nil: nobody wants to know.
	OnChange func(ctx context.Context, tx store.Tx, w Workload) error
}

var steps = []string{`
CREATE TABLE workload (
	name TEXT PRIMARY KEY, environment TEXT NOT NULL, golden TEXT NOT NULL, channel TEXT NOT NULL,
	body TEXT NOT NULL, sealed BLOB NOT NULL
);
CREATE INDEX workload_golden ON workload (golden, channel);
`}

// New prepares the room's table.
func New(ctx context.Context, st store.Store, keys barrier.Keys) (*Book, error) {
	if err := st.Migrate(ctx, "workload", steps); err != nil {
		return nil, err
	}
	return &Book{store: st, keys: keys}, nil
}

// Put creates or replaces a workload; fault.Sealed while sealed.
func (b *Book) Put(ctx context.Context, w Workload) error {
	secrets, err := json.Marshal(w.Secrets)
	if err != nil {
		return fmt.Errorf("encode secrets: %w", err)
	}
	open := w
	open.Secrets = nil
	body, err := json.Marshal(open)
	if err != nil {
		return fmt.Errorf("encode workload: %w", err)
	}
	// Bound to the rest of the row: whoever can write the database cannot give a
	// workload's secrets to another image.
	sealed, err := b.keys.SealBytes("workload", secrets, body)
	if err != nil {
		return err
	}
	return b.store.Update(ctx, func(tx store.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO workload (name, environment, golden, channel, body, sealed) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (name) DO UPDATE SET environment = excluded.environment, golden = excluded.golden, channel = excluded.channel,
				body = excluded.body, sealed = excluded.sealed`, w.Name, w.Environment, w.Image.Golden, w.Image.Channel, string(body), sealed)
		if err != nil || b.OnChange == nil {
			return err
		}
		return b.OnChange(ctx, tx, w)
	})
}

// Delete removes a workload.
func (b *Book) Delete(ctx context.Context, name string) error {
	return b.store.Update(ctx, func(tx store.Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM workload WHERE name = ?", name)
		if err != nil || b.OnChange == nil {
			return err
		}
		return b.OnChange(ctx, tx, Workload{Name: name})
	})
}

// List returns the workloads by name; without their secrets while sealed.
func (b *Book) List(ctx context.Context) ([]Workload, error) {
	return b.query(ctx, "SELECT body, sealed FROM workload ORDER BY name")
}

// Get returns one workload; fault.NotFound where there is none.
func (b *Book) Get(ctx context.Context, name string) (*Workload, error) {
	found, err := b.query(ctx, "SELECT body, sealed FROM workload WHERE name = ?", name)
	if err == nil && len(found) == 0 {
		err = fault.New(fault.NotFound, "there is no workload %q", name).WithHint("see them with: goldkeep workload list")
	}
	if err != nil {
		return nil, err
	}
	return &found[0], nil
}

// RunFrom returns the workloads that run from any of some lines, by name, without
// their secrets.
func (b *Book) RunFrom(ctx context.Context, lines []Image) ([]Workload, error) {
	wanted := map[Image]bool{}
	var names []string
	for _, l := range lines {
		wanted[l], names = true, append(names, l.Golden)
	}
	slices.Sort(names)
	all := []Workload{}
	err := b.store.View(ctx, func(tx store.Tx) error {
		all = all[:0]
		return fleet.InChunks(slices.Compact(names), func(marks string, args []any) error {
			return store.Each(ctx, tx, func(r store.Row) error {
				var body string
				if err := r.Scan(&body); err != nil {
					return err
				}
				var w Workload
				if err := json.Unmarshal([]byte(body), &w); err != nil {
					return fmt.Errorf("decode workload: %w", err)
				}
				if wanted[w.Image] {
					all = append(all, w)
				}
				return nil
			}, "SELECT body FROM workload WHERE golden IN ("+marks+")", args...)
		})
	})
	slices.SortFunc(all, func(a, b Workload) int { return strings.Compare(a.Name, b.Name) })
	return all, err
}

func (b *Book) query(ctx context.Context, query string, args ...any) ([]Workload, error) {
	var all []Workload
	err := b.store.View(ctx, func(tx store.Tx) error {
		all = []Workload{}
		return store.Each(ctx, tx, func(r store.Row) error {
			var body string
			var sealed []byte
			if err := r.Scan(&body, &sealed); err != nil {
				return err
			}
			w, err := b.open(body, sealed)
			all = append(all, w)
			return err
		}, query, args...)
	})
	return all, err
}

func (b *Book) open(body string, sealed []byte) (Workload, error) {
	var w Workload
	if err := json.Unmarshal([]byte(body), &w); err != nil {
		return w, fmt.Errorf("decode workload: %w", err)
	}
	secrets, err := b.keys.OpenBytes("workload", sealed, []byte(body))
	if fault.Is(err, fault.Sealed) {
		return w, nil
	}
	if err != nil {
		return w, fmt.Errorf("open workload %s: %w", w.Name, err)
	}
	if err := json.Unmarshal(secrets, &w.Secrets); err != nil {
		return w, fmt.Errorf("decode secrets: %w", err)
	}
	return w, nil
}

// Place is where a process runs, as the agent found out.
type Place struct {
	Node string
	UID  int
}

// Allows reports whether the workload may run at a place.
func (w Workload) Allows(p Place) bool {
	return (len(w.Nodes) == 0 || slices.Contains(w.Nodes, p.Node)) && (w.User == nil || *w.User == p.UID)
}

// Running finds the one workload that runs an image, given the golden channels
// the image stands in. None is fault.Refused; several are fault.Refused too, for
// guessing would hand one workload's secrets to another.
func (b *Book) Running(ctx context.Context, channels []Image, place Place) (*Workload, error) {
	var fit []Workload
	elsewhere := false
	for i, line := range channels {
		if slices.Contains(channels[:i], line) {
			continue
		}
		found, err := b.query(ctx, "SELECT body, sealed FROM workload WHERE golden = ? AND channel = ? ORDER BY name", line.Golden, line.Channel)
		if err != nil {
			return nil, err
		}
		for _, w := range found {
			if w.Allows(place) {
				fit = append(fit, w)
			} else {
				elsewhere = true
			}
		}
	}
	switch {
	case len(fit) == 1:
		return &fit[0], nil
	case len(fit) > 1:
		var names []string
		for _, w := range fit {
			names = append(names, w.Name)
		}
		return nil, fault.New(fault.Refused, "several workloads run this image here: %s", strings.Join(names, ", ")).
			WithHint("tell them apart with nodes: [...] or user: UID in their specs, or give each its own golden image")
	case elsewhere:
		return nil, fault.New(fault.Refused, "the workload of this image may not run on node %s as user %d", place.Node, place.UID).
			WithHint("look at nodes and user in its spec")
	}
	return nil, fault.New(fault.Refused, "no workload runs this image").
		WithHint("put its digest into a channel of a golden image, and name that channel in a Workload: goldkeep apply -f")
}
