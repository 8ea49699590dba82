// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package entity

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// Limits of what people write.
const (
	maxPairs    = 64      // of metadata
	maxKey      = 128     // bytes
	maxValue    = 512     // bytes
	maxMembers  = 100_000 // of a group, of each kind
	maxPolicies = 1000
)

// PutEntity changes the entity a key leads to, or makes it. Both id and name may
// be given: then the name is the new one. change may run more than once and sets
// Name, Meta, Policies and Disabled. created says which it was.
func (d *Directory) PutEntity(ctx context.Context, k Key, change func(*Entity)) (e *Entity, created bool, err error) {
	err = d.space.Update(ctx, func(w barrier.Writer) (err error) {
		if e, err = findEntity(ctx, w, k); err != nil {
			return err
		}
		now := d.space.Now()
		if created = e == nil; created {
			if k.ID != "" {
				return fault.New(fault.Invalid, "entity not found from id")
			}
			e = &Entity{ID: newID(), Created: now}
		}
		before := e.Name
		if k.Name != "" {
			e.Name = k.Name
		}
		change(e)
		if e.Name == "" {
			e.Name = madeName("entity")
		}
		e.Updated = now
		if e.Policies, err = cleanPolicies(e.Policies); err != nil {
			return err
		}
		if err := checkMeta(e.Meta); err != nil {
			return err
		}
		if err := rename(ctx, w, entityName, naming{e.ID, before, e.Name, "entity"}); err != nil {
			return err
		}
		return saveEntity(ctx, w, e)
	})
	return e, created, err
}

// naming is a record that gets a name.
type naming struct{ id, before, name, kind string }

// rename makes a name lead to a record. One that is somebody else's is
// fault.Invalid.
func rename(ctx context.Context, w barrier.Writer, path func(string) string, n naming) error {
	if len(n.name) > maxName || strings.ContainsFunc(n.name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fault.New(fault.Invalid, "the name of a %s must have at most %d bytes and no control characters", n.kind, maxName)
	}
	id, err := get(ctx, w, path(n.name))
	if err != nil || id == n.id {
		return err
	}
	if id != "" {
		return fault.New(fault.Invalid, "%s name is already in use", n.kind)
	}
	if n.before != "" {
		if err := w.Delete(ctx, path(n.before)); err != nil {
			return err
		}
	}
	return put(ctx, w, path(n.name), n.id)
}

// cleanPolicies lowers and sorts names. Nobody is root by name alone.
func cleanPolicies(names []string) ([]string, error) {
	var out []string
	for _, n := range names {
		if n = strings.ToLower(strings.TrimSpace(n)); n != "" {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	out = slices.Compact(out)
	switch {
	case slices.Contains(out, "root"):
		return nil, fault.New(fault.Invalid, "policies cannot contain root")
	case len(out) > maxPolicies:
		return nil, fault.New(fault.TooLarge, "more than %d policies", maxPolicies)
	}
	return out, nil
}

func checkMeta(meta map[string]string) error {
	if len(meta) > maxPairs {
		return fault.New(fault.Invalid, "metadata can have at most %d keys", maxPairs)
	}
	for k, v := range meta {
		if k == "" || len(k) > maxKey || len(v) > maxValue {
			return fault.New(fault.Invalid, "a metadata key must have 1 to %d bytes and a value at most %d", maxKey, maxValue)
		}
	}
	return nil
}

// DeleteEntity removes entities with their aliases and memberships. From then on
// their tokens are refused. Removing nothing is fine.
func (d *Directory) DeleteEntity(ctx context.Context, keys ...Key) error {
	return d.space.Update(ctx, func(w barrier.Writer) error {
		for _, k := range keys {
			e, err := findEntity(ctx, w, k)
			if err != nil {
				return err
			}
			if e == nil {
				continue
			}
			if err := removeEntity(ctx, w, e, d.space.Now()); err != nil {
				return err
			}
		}
		return nil
	})
}

func removeEntity(ctx context.Context, w barrier.Writer, e *Entity, now time.Time) error {
	for _, id := range e.Groups {
		g, err := loadGroup(ctx, w, id)
		if err != nil {
			return err
		}
		if g == nil {
			continue
		}
		g.Entities, g.Updated = without(g.Entities, e.ID), now
		if err := saveGroup(ctx, w, g); err != nil {
			return err
		}
	}
	for i := range e.Aliases {
		if err := unindex(ctx, w, &e.Aliases[i]); err != nil {
			return err
		}
	}
	for _, path := range append(prefixed(e.Merged), entityName(e.Name), entityPath(e.ID)) {
		if err := w.Delete(ctx, path); err != nil {
			return err
		}
	}
	return nil
}

func prefixed(merged []string) (paths []string) {
	for _, id := range merged {
		paths = append(paths, mergedPath(id))
	}
	return paths
}

func unindex(ctx context.Context, w barrier.Writer, a *Alias) error {
	if err := w.Delete(ctx, aliasPath(a.ID)); err != nil {
		return err
	}
	return w.Delete(ctx, aliasName(a.Mount, a.Name))
}
