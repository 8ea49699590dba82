// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package entity

import (
	"context"
	"slices"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// Merging says which entities shall become one.
type Merging struct {
	To   string   // id of the one that stays
	From []string // ids of those that go; their tokens become To's
	Keep []string // ids of aliases to keep where both have one at the same mount
}

// Merge makes entities one: aliases and memberships of all, policies and metadata
// of the one that stays.
func (d *Directory) Merge(ctx context.Context, m Merging) error {
	from := tidy(m.From)
	switch {
	case slices.Contains(from, m.To):
		return fault.New(fault.Invalid, "to_entity_id should not be present in from_entity_ids")
	case len(from) > 1 && len(m.Keep) > 0:
		return fault.New(fault.Invalid, "aliases conflicts cannot be resolved with multiple from entity ids - merge one entity at a time")
	case len(from) > maxPolicies:
		return fault.New(fault.TooLarge, "more than %d entities to merge", maxPolicies)
	}
	return d.space.Update(ctx, func(w barrier.Writer) error {
		to, err := loadEntity(ctx, w, m.To)
		if err != nil {
			return err
		}
		if to == nil {
			return fault.New(fault.Invalid, "entity id to merge to is invalid")
		}
		for _, id := range from {
			e, err := loadEntity(ctx, w, id)
			if err != nil {
				return err
			}
			if e == nil || e.ID != id {
				return fault.New(fault.Invalid, "entity id to merge from is invalid")
			}
			if err := d.absorb(ctx, w, to, e, m.Keep); err != nil {
				return err
			}
		}
		to.Updated = d.space.Now()
		return saveEntity(ctx, w, to)
	})
}

// absorb makes one entity a part of another, which the caller saves.
func (d *Directory) absorb(ctx context.Context, w barrier.Writer, to, e *Entity, keep []string) error {
	aliases, kept := e.Aliases, e.Groups
	if err := removeEntity(ctx, w, e, d.space.Now()); err != nil {
		return err
	}
	for _, a := range aliases {
		if err := (adoption{to, e.ID, keep}).of(ctx, w, a); err != nil {
			return err
		}
	}
	for _, id := range kept {
		g, err := loadGroup(ctx, w, id)
		if err != nil {
			return err
		}
		if g == nil {
			continue
		}
		g.Entities, to.Groups = with(g.Entities, to.ID), with(to.Groups, id)
		if err := saveGroup(ctx, w, g); err != nil {
			return err
		}
	}
	gone := append(slices.Clone(e.Merged), e.ID)
	for _, id := range gone {
		if err := put(ctx, w, mergedPath(id), to.ID); err != nil {
			return err
		}
	}
	to.Merged = append(to.Merged, gone...)
	return nil
}

// adoption gives an entity the aliases another one had.
type adoption struct {
	to   *Entity
	from string
	keep []string
}

func (d adoption) of(ctx context.Context, w barrier.Writer, a Alias) error {
	to, keep := d.to, d.keep
	if own := to.at(a.Mount); own != nil {
		switch {
		case slices.Contains(keep, own.ID):
			return nil
		case !slices.Contains(keep, a.ID):
			return fault.New(fault.Invalid, "toEntity and at least one fromEntity have aliases with the same mount accessor %s: %s and %s", a.Mount, own.ID, a.ID).
				WithHint("name the one to keep in conflicting_alias_ids_to_keep")
		}
		if err := unindex(ctx, w, own); err != nil {
			return err
		}
		gone := own.ID
		to.Aliases = slices.DeleteFunc(to.Aliases, func(o Alias) bool { return o.ID == gone })
	}
	a.MergedFrom = append(slices.Clone(a.MergedFrom), d.from)
	to.Aliases = append(to.Aliases, a)
	return lead(ctx, w, to.ID, &a)
}
