// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package entity

import (
	"context"
	"maps"
	"slices"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// Aliasing is what somebody wants an alias to be like.
type Aliasing struct {
	ID     string            // "": the one with this mount and name, or a new one
	Owner  string            // id of the entity, or of the group; "": as it is, or a new one
	Mount  string            // accessor of the auth mount; "": as it is
	Name   string            // "": as it is
	Custom map[string]string // nil: as it is
}

// errTaken is an entity that has an alias at the mount already.
func errTaken() error {
	return fault.New(fault.Invalid, "Alias already exists for requested entity and mount accessor")
}

// PutAlias changes an alias of an entity, or makes it; without an owner it makes
// the entity too. changed is false where it was all so already. The caller has
// checked that there is such a mount.
func (d *Directory) PutAlias(ctx context.Context, want Aliasing) (a *Alias, owner string, changed bool, err error) {
	if err := checkMeta(want.Custom); err != nil {
		return nil, "", false, err
	}
	err = d.space.Update(ctx, func(w barrier.Writer) error {
		e, err := findEntity(ctx, w, Key{AliasID: want.ID})
		if err == nil && want.ID == "" {
			e, err = findEntity(ctx, w, Key{Mount: want.Mount, Alias: want.Name})
		}
		switch {
		case err != nil:
			return err
		case e != nil:
			a, owner, changed, err = d.changeAlias(ctx, w, e, want)
		case want.ID != "":
			err = fault.New(fault.Invalid, "invalid alias ID provided")
		default:
			changed = true
			a, owner, err = d.newAlias(ctx, w, want)
		}
		return err
	})
	return a, owner, changed, err
}

func (d *Directory) newAlias(ctx context.Context, w barrier.Writer, want Aliasing) (*Alias, string, error) {
	now := d.space.Now()
	if want.Name == "" || len(want.Name) > maxName || want.Mount == "" {
		return nil, "", fault.New(fault.Invalid, "'id' or 'mount_accessor' and 'name' must be provided")
	}
	a := Alias{ID: newID(), Mount: want.Mount, Name: want.Name, Custom: want.Custom, Created: now, Updated: now}
	if want.Owner == "" {
		e := &Entity{ID: newID(), Name: madeName("entity"), Aliases: []Alias{a}, Created: now, Updated: now}
		return &a, e.ID, insertEntity(ctx, w, e)
	}
	e, err := loadEntity(ctx, w, want.Owner)
	if err != nil {
		return nil, "", err
	}
	if e == nil {
		return nil, "", fault.New(fault.Invalid, "invalid canonical ID")
	}
	if e.at(a.Mount) != nil {
		return nil, "", errTaken()
	}
	e.Aliases, e.Updated = append(e.Aliases, a), now
	if err := lead(ctx, w, e.ID, &a); err != nil {
		return nil, "", err
	}
	return &a, e.ID, saveEntity(ctx, w, e)
}

// at is the alias an entity has at a mount, or nil.
func (e *Entity) at(mount string) *Alias {
	for i := range e.Aliases {
		if e.Aliases[i].Mount == mount {
			return &e.Aliases[i]
		}
	}
	return nil
}

// changeAlias gives an alias of e another name, mount, owner or metadata.
func (d *Directory) changeAlias(ctx context.Context, w barrier.Writer, e *Entity, want Aliasing) (*Alias, string, bool, error) {
	at := slices.IndexFunc(e.Aliases, func(a Alias) bool {
		return a.ID == want.ID || want.ID == "" && a.Mount == want.Mount && folded(a.Name) == folded(want.Name)
	})
	if at < 0 {
		return nil, "", false, fault.New(fault.Invalid, "invalid alias ID provided")
	}
	old := e.Aliases[at]
	a := old
	a.Mount, a.Name = orOld(want.Mount, a.Mount), orOld(want.Name, a.Name)
	if want.Custom != nil {
		a.Custom = want.Custom
	}
	moves := want.Owner != "" && want.Owner != e.ID
	if !moves && a.Mount == old.Mount && a.Name == old.Name && maps.Equal(a.Custom, old.Custom) {
		return &old, e.ID, false, nil
	}
	e.Aliases = slices.Delete(e.Aliases, at, at+1)
	to := e
	if moves {
		var err error
		if to, err = loadEntity(ctx, w, want.Owner); err != nil {
			return nil, "", false, err
		}
		if to == nil {
			return nil, "", false, fault.New(fault.Invalid, "given 'canonical_id' is not associated with an entity")
		}
	}
	a.Updated = d.space.Now()
	return &a, to.ID, true, moving{&old, &a, e, to}.do(ctx, w)
}

// moving is an alias on its way from one entity, which no longer has it, to
// another or to the same.
type moving struct {
	old, alias *Alias
	from, to   *Entity
}

func (m moving) do(ctx context.Context, w barrier.Writer) error {
	if m.to.at(m.alias.Mount) != nil {
		return fault.New(fault.Invalid, "Alias cannot be updated as the given entity already has an alias for this mount")
	}
	if was, now := aliasName(m.old.Mount, m.old.Name), aliasName(m.alias.Mount, m.alias.Name); was != now {
		taken, err := get(ctx, w, now)
		if err != nil {
			return err
		}
		if taken != "" {
			return fault.New(fault.Invalid, "alias with combination of mount accessor and name already exists")
		}
	}
	if err := unindex(ctx, w, m.old); err != nil {
		return err
	}
	m.to.Aliases, m.to.Updated, m.from.Updated = append(m.to.Aliases, *m.alias), m.alias.Updated, m.alias.Updated
	if err := lead(ctx, w, m.to.ID, m.alias); err != nil {
		return err
	}
	if err := saveEntity(ctx, w, m.from); err != nil || m.from == m.to {
		return err
	}
	return saveEntity(ctx, w, m.to)
}

func orOld(s, old string) string {
	if s == "" {
		return old
	}
	return s
}

// DeleteAlias removes an alias; its entity stays. Removing nothing is fine.
func (d *Directory) DeleteAlias(ctx context.Context, id string) error {
	return d.space.Update(ctx, func(w barrier.Writer) error {
		e, err := findEntity(ctx, w, Key{AliasID: id})
		if err != nil || e == nil {
			return err
		}
		for i := range e.Aliases {
			if e.Aliases[i].ID == id {
				if err := unindex(ctx, w, &e.Aliases[i]); err != nil {
					return err
				}
			}
		}
		e.Aliases = slices.DeleteFunc(e.Aliases, func(a Alias) bool { return a.ID == id })
		e.Updated = d.space.Now()
		return saveEntity(ctx, w, e)
	})
}
