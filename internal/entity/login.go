// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package entity

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store"
)

// Login is what an auth method found out about somebody.
type Login struct {
	Mount  string            // accessor of the auth mount
	Name   string            // what the method calls them
	Meta   map[string]string // what it knows of them
	Groups []string          // what the method says they are in; matched with the aliases of external groups
}

// Limits of what one login may bring.
const (
	maxName   = 512  // bytes of a name of an alias, entity or group
	maxGroups = 1000 // groups of one login
)

// Login finds the entity behind a login, or makes it, as part of a transaction;
// what the method says of its groups takes effect. A disabled entity is
// fault.Denied.
func (d *Directory) Login(ctx context.Context, tx store.Tx, l Login) (*Entity, error) {
	if l.Mount == "" || l.Name == "" || len(l.Name) > maxName || len(l.Groups) > maxGroups {
		return nil, fault.New(fault.Invalid, "the login's name or groups are missing or too large")
	}
	w, now := d.space.In(tx), d.space.Now()
	e, err := behind(ctx, w, l, now)
	if err != nil {
		return nil, err
	}
	if e.Disabled {
		return nil, fault.New(fault.Denied, "permission denied")
	}
	return e, refresh(ctx, w, e, l, now)
}

// behind is the entity with an alias; a new one where nobody has it yet.
func behind(ctx context.Context, w barrier.Writer, l Login, now time.Time) (*Entity, error) {
	id, err := get(ctx, w, aliasName(l.Mount, l.Name))
	if err != nil {
		return nil, err
	}
	if id != "" {
		e, err := loadEntity(ctx, w, id)
		if err != nil || e != nil {
			return e, err
		}
	}
	e := &Entity{ID: newID(), Name: madeName("entity"), Created: now, Updated: now}
	e.Aliases = []Alias{{ID: newID(), Mount: l.Mount, Name: l.Name, Meta: l.Meta, Created: now, Updated: now}}
	return e, insertEntity(ctx, w, e)
}

// insertEntity writes an entity with everything that leads to it.
func insertEntity(ctx context.Context, w barrier.Writer, e *Entity) error {
	for i := range e.Aliases {
		if err := lead(ctx, w, e.ID, &e.Aliases[i]); err != nil {
			return err
		}
	}
	if err := put(ctx, w, entityName(e.Name), e.ID); err != nil {
		return err
	}
	return saveEntity(ctx, w, e)
}

// lead writes what leads from an alias to its entity.
func lead(ctx context.Context, w barrier.Writer, id string, a *Alias) error {
	if err := put(ctx, w, aliasPath(a.ID), id); err != nil {
		return err
	}
	return put(ctx, w, aliasName(a.Mount, a.Name), id)
}

// refresh takes over what a login says anew. Where that is nothing, nothing is
// written: most logins are repeated ones.
func refresh(ctx context.Context, w barrier.Writer, e *Entity, l Login, now time.Time) error {
	changed := false
	for i := range e.Aliases {
		a := &e.Aliases[i]
		if a.Mount == l.Mount && folded(a.Name) == folded(l.Name) && !maps.Equal(a.Meta, l.Meta) {
			a.Meta, a.Updated, changed = l.Meta, now, true
		}
	}
	moved, err := regroup(ctx, w, e, l, now)
	if err != nil || !changed && !moved {
		return err
	}
	return saveEntity(ctx, w, e)
}

// regroup makes an entity's membership in the external groups of a mount what
// the login says, and reports whether the entity changed.
func regroup(ctx context.Context, w barrier.Writer, e *Entity, l Login, now time.Time) (bool, error) {
	wanted, err := named(ctx, w, l)
	if err != nil {
		return false, err
	}
	before := e.Groups
	for _, id := range slices.Concat(before, wanted) {
		g, err := loadGroup(ctx, w, id)
		if err != nil {
			return false, err
		}
		if g == nil || g.Kind != External || g.Alias == nil || g.Alias.Mount != l.Mount {
			continue
		}
		in := slices.Contains(wanted, id)
		if in == slices.Contains(e.Groups, id) {
			continue
		}
		if in {
			e.Groups, g.Entities = with(e.Groups, id), with(g.Entities, e.ID)
		} else {
			e.Groups, g.Entities = without(e.Groups, id), without(g.Entities, e.ID)
		}
		g.Updated = now
		if err := saveGroup(ctx, w, g); err != nil {
			return false, err
		}
	}
	return !slices.Equal(before, e.Groups), nil
}

// named are the ids of the external groups a login names.
func named(ctx context.Context, r barrier.Reader, l Login) (ids []string, err error) {
	for _, name := range l.Groups {
		id, err := get(ctx, r, galiasName(l.Mount, name))
		if err != nil {
			return nil, err
		}
		if id != "" {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// with adds to a sorted list what is not in it; without removes. Neither changes
// the list given.
func with(list []string, s string) []string {
	at, found := slices.BinarySearch(list, s)
	if found {
		return list
	}
	return slices.Insert(slices.Clone(list), at, s)
}

func without(list []string, s string) []string {
	at, found := slices.BinarySearch(list, s)
	if !found {
		return list
	}
	return slices.Delete(slices.Clone(list), at, at+1)
}
