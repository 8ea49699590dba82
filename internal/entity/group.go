// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package entity

import (
	"context"
	"slices"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// PutGroup changes the group a key leads to, or makes it. Both id and name may be
// given: then the name is the new one. change may run more than once and sets
// Name, Kind, Meta, Policies, Entities and Groups.
func (d *Directory) PutGroup(ctx context.Context, k Key, change func(*Group) error) (g *Group, created bool, err error) {
	err = d.space.Update(ctx, func(w barrier.Writer) (err error) {
		if g, err = findGroup(ctx, w, k); err != nil {
			return err
		}
		if created = g == nil; created {
			if k.ID != "" {
				return fault.New(fault.Invalid, "invalid group ID")
			}
			g = &Group{ID: newID(), Created: d.space.Now()}
		}
		before := *g
		if k.Name != "" {
			g.Name = k.Name
		}
		if err := change(g); err != nil {
			return err
		}
		return d.keepGroup(ctx, w, &before, g)
	})
	return g, created, err
}

// keepGroup checks a changed group and writes it with everything around it.
func (d *Directory) keepGroup(ctx context.Context, w barrier.Writer, before, g *Group) (err error) {
	if g.Kind == "" {
		g.Kind = Internal
	}
	if g.Name == "" {
		g.Name = madeName("group")
	}
	g.Entities, g.Groups = tidy(g.Entities), tidy(g.Groups)
	switch {
	case g.Kind != Internal && g.Kind != External:
		return fault.New(fault.Invalid, "invalid group type %q", g.Kind)
	case before.Kind != "" && before.Kind != g.Kind:
		return fault.New(fault.Invalid, "group type cannot be changed")
	case len(g.Entities) > maxMembers || len(g.Groups) > maxMembers:
		return fault.New(fault.TooLarge, "a group can have at most %d members of a kind", maxMembers)
	}
	if g.Policies, err = cleanPolicies(g.Policies); err != nil {
		return err
	}
	if err := checkMeta(g.Meta); err != nil {
		return err
	}
	if err := rename(ctx, w, groupName, naming{g.ID, before.Name, g.Name, "group"}); err != nil {
		return err
	}
	g.Updated = d.space.Now()
	if err := d.enlist(ctx, w, before, g); err != nil {
		return err
	}
	if err := d.nest(ctx, w, before, g); err != nil {
		return err
	}
	return saveGroup(ctx, w, g)
}

func tidy(ids []string) []string {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	return slices.Compact(ids)
}

// enlist tells entities that a group took them in or let them go.
func (d *Directory) enlist(ctx context.Context, w barrier.Writer, before, g *Group) error {
	for _, id := range tidy(slices.Concat(before.Entities, g.Entities)) {
		in := slices.Contains(g.Entities, id)
		if in == slices.Contains(before.Entities, id) {
			continue
		}
		e, err := loadEntity(ctx, w, id)
		if err != nil {
			return err
		}
		switch {
		case e == nil && in:
			return fault.New(fault.Invalid, "invalid entity ID %q", id)
		case e == nil:
			continue
		case in && e.ID != id: // merged since: the one it became is the member
			g.Entities = with(without(g.Entities, id), e.ID)
			e.Groups = with(e.Groups, g.ID)
		case in:
			e.Groups = with(e.Groups, g.ID)
		default:
			e.Groups = without(e.Groups, g.ID)
		}
		if err := saveEntity(ctx, w, e); err != nil {
			return err
		}
	}
	return nil
}

// nest tells groups that another took them in or let them go. One that this one
// is in, by whatever way, cannot become its member.
func (d *Directory) nest(ctx context.Context, w barrier.Writer, before, g *Group) error {
	over, err := above(ctx, w, append(slices.Clone(g.Parents), g.ID))
	if err != nil {
		return err
	}
	for _, id := range tidy(slices.Concat(before.Groups, g.Groups)) {
		in := slices.Contains(g.Groups, id)
		if in == slices.Contains(before.Groups, id) {
			continue
		}
		if in && (id == g.ID || slices.ContainsFunc(over, func(o *Group) bool { return o.ID == id })) {
			return fault.New(fault.Invalid, "cyclic relationship detected for member group ID %q", id)
		}
		member, err := loadGroup(ctx, w, id)
		if err != nil {
			return err
		}
		switch {
		case member == nil && in:
			return fault.New(fault.Invalid, "invalid group ID %q", id)
		case member == nil:
			continue
		case in:
			member.Parents = with(member.Parents, g.ID)
		default:
			member.Parents = without(member.Parents, g.ID)
		}
		if err := saveGroup(ctx, w, member); err != nil {
			return err
		}
	}
	return nil
}

// DeleteGroup removes a group with its alias; its members stay what they are.
// Removing nothing is fine.
func (d *Directory) DeleteGroup(ctx context.Context, k Key) error {
	return d.space.Update(ctx, func(w barrier.Writer) error {
		g, err := findGroup(ctx, w, k)
		if err != nil || g == nil {
			return err
		}
		empty := &Group{ID: g.ID}
		if err := d.enlist(ctx, w, g, empty); err != nil {
			return err
		}
		if err := d.nest(ctx, w, g, empty); err != nil {
			return err
		}
		for _, id := range g.Parents {
			parent, err := loadGroup(ctx, w, id)
			if err != nil {
				return err
			}
			if parent == nil {
				continue
			}
			parent.Groups = without(parent.Groups, g.ID)
			if err := saveGroup(ctx, w, parent); err != nil {
				return err
			}
		}
		if err := unindexGroup(ctx, w, g.Alias); err != nil {
			return err
		}
		if err := w.Delete(ctx, groupName(g.Name)); err != nil {
			return err
		}
		if err := w.Delete(ctx, memberPath(g.ID)); err != nil {
			return err
		}
		return w.Delete(ctx, groupPath(g.ID))
	})
}

func unindexGroup(ctx context.Context, w barrier.Writer, a *Alias) error {
	if a == nil {
		return nil
	}
	if err := w.Delete(ctx, galiasPath(a.ID)); err != nil {
		return err
	}
	return w.Delete(ctx, galiasName(a.Mount, a.Name))
}

// PutGroupAlias changes the alias of an external group, or makes it; without an
// owner it makes the group too. The caller has checked that there is such a mount.
func (d *Directory) PutGroupAlias(ctx context.Context, want Aliasing) (a *Alias, owner string, err error) {
	err = d.space.Update(ctx, func(w barrier.Writer) error {
		a, owner, err = d.putGroupAlias(ctx, w, want)
		return err
	})
	return a, owner, err
}

func (d *Directory) putGroupAlias(ctx context.Context, w barrier.Writer, want Aliasing) (*Alias, string, error) {
	now := d.space.Now()
	a := Alias{ID: newID(), Created: now}
	from, err := findGroup(ctx, w, Key{AliasID: want.ID})
	switch {
	case err != nil:
		return nil, "", err
	case want.ID != "" && from == nil:
		return nil, "", fault.New(fault.Invalid, "invalid group alias ID")
	case want.Name == "" || len(want.Name) > maxName:
		return nil, "", fault.New(fault.Invalid, "missing alias name")
	case want.Mount == "":
		return nil, "", fault.New(fault.Invalid, "missing mount_accessor")
	case from != nil:
		a = *from.Alias
	}
	to, err := d.aliasOwner(ctx, w, from, want.Owner)
	if err != nil {
		return nil, "", err
	}
	holder, err := findGroup(ctx, w, Key{Mount: want.Mount, Alias: want.Name})
	if err != nil {
		return nil, "", err
	}
	if holder != nil && (from == nil || holder.ID != from.ID) {
		return nil, "", fault.New(fault.Invalid, "combination of mount and group alias name is already in use")
	}
	a.Mount, a.Name, a.Updated = want.Mount, want.Name, now
	return &a, to.ID, d.giveAlias(ctx, w, from, to, &a)
}

// aliasOwner is the group that shall have an alias.
func (d *Directory) aliasOwner(ctx context.Context, w barrier.Writer, from *Group, owner string) (*Group, error) {
	if owner == "" && from != nil || from != nil && owner == from.ID {
		return from, nil
	}
	if owner == "" {
		now := d.space.Now()
		g := &Group{ID: newID(), Name: madeName("group"), Kind: External, Created: now, Updated: now}
		return g, put(ctx, w, groupName(g.Name), g.ID)
	}
	g, err := loadGroup(ctx, w, owner)
	switch {
	case err != nil:
		return nil, err
	case g == nil:
		return nil, fault.New(fault.Invalid, "invalid group ID given in 'canonical_id'")
	case g.Kind != External:
		return nil, fault.New(fault.Invalid, "alias can't be set on an internal group")
	}
	return g, nil
}

// giveAlias moves an alias to a group; one this had before is gone. Who came into a
// group by another alias than it has then, leaves it.
func (d *Directory) giveAlias(ctx context.Context, w barrier.Writer, from, to *Group, a *Alias) error {
	if from != nil {
		if err := unindexGroup(ctx, w, from.Alias); err != nil {
			return err
		}
	}
	if from != nil && from != to {
		if err := d.unalias(ctx, w, from); err != nil {
			return err
		}
	}
	if from != to {
		if err := unindexGroup(ctx, w, to.Alias); err != nil {
			return err
		}
	}
	if old := to.Alias; old != nil && galiasName(old.Mount, old.Name) != galiasName(a.Mount, a.Name) {
		if err := d.empty(ctx, w, to); err != nil {
			return err
		}
	}
	to.Alias, to.Updated = a, a.Updated
	if err := put(ctx, w, galiasPath(a.ID), to.ID); err != nil {
		return err
	}
	if err := put(ctx, w, galiasName(a.Mount, a.Name), to.ID); err != nil {
		return err
	}
	return saveGroup(ctx, w, to)
}

// empty lets all entities of an external group go: they came by logins that its
// alias named. The caller saves the group.
func (d *Directory) empty(ctx context.Context, w barrier.Writer, g *Group) error {
	before := *g
	g.Entities, g.Updated = nil, d.space.Now()
	return d.enlist(ctx, w, &before, g)
}

// unalias takes the alias of a group away, and with it all who came by it.
func (d *Directory) unalias(ctx context.Context, w barrier.Writer, g *Group) error {
	if err := d.empty(ctx, w, g); err != nil {
		return err
	}
	g.Alias = nil
	return saveGroup(ctx, w, g)
}

// Unmounted lets all entities of the external groups of an auth mount go that is no
// more: no login there says any more who is in them. mount is its accessor.
func (d *Directory) Unmounted(ctx context.Context, mount string) error {
	groups, err := d.Groups(ctx)
	if err != nil {
		return err
	}
	for _, g := range groups {
		if g.Alias == nil || g.Alias.Mount != mount || len(g.Entities) == 0 {
			continue
		}
		err := d.space.Update(ctx, func(w barrier.Writer) error {
			g, err := loadGroup(ctx, w, g.ID)
			if err != nil || g == nil || g.Alias == nil || g.Alias.Mount != mount {
				return err
			}
			if err := d.empty(ctx, w, g); err != nil {
				return err
			}
			return saveGroup(ctx, w, g)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// DeleteGroupAlias removes the alias of a group, and lets all go who came by it.
// Removing nothing is fine.
func (d *Directory) DeleteGroupAlias(ctx context.Context, id string) error {
	return d.space.Update(ctx, func(w barrier.Writer) error {
		g, err := findGroup(ctx, w, Key{AliasID: id})
		if err != nil || g == nil {
			return err
		}
		if err := unindexGroup(ctx, w, g.Alias); err != nil {
			return err
		}
		return d.unalias(ctx, w, g)
	})
}
