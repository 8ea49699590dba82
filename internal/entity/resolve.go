// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package entity

import (
	"context"
	"slices"
	"strings"

	"github.com/goldkeep/goldkeep/internal/barrier"
)

// Identity is an entity with all groups it is in, also by way of other groups.
// It is shared: nobody may change it. The groups come without their members.
type Identity struct {
	Entity   *Entity
	Groups   []*Group
	Policies []string // of the entity and its groups, sorted
}

// maxAbove bounds the groups one entity is in, by whatever way.
const maxAbove = 5000

// Resolve says who has an entity id (also that of one merged since); nil where
// there is nobody. Disabled entities are found: what that means is the caller's.
func (d *Directory) Resolve(ctx context.Context, id string) (*Identity, error) {
	var found *Identity
	err := d.space.View(ctx, func(r barrier.Reader) (err error) {
		found, err = resolve(ctx, r, id)
		return err
	})
	return found, err
}

func resolve(ctx context.Context, r barrier.Reader, id string) (*Identity, error) {
	e, err := loadEntity(ctx, r, id)
	if err != nil || e == nil {
		return nil, err
	}
	who := &Identity{Entity: e, Policies: e.Policies}
	if len(e.Groups) == 0 {
		return who, nil
	}
	if who.Groups, err = above(ctx, r, e.Groups); err != nil {
		return nil, err
	}
	policies := slices.Clone(e.Policies)
	for _, g := range who.Groups {
		policies = append(policies, g.Policies...)
	}
	slices.Sort(policies)
	who.Policies = slices.Compact(policies)
	return who, nil
}

// above are groups and all groups these are in, each once, however they may go
// in circles.
func above(ctx context.Context, r barrier.Reader, ids []string) ([]*Group, error) {
	var groups []*Group
	seen := map[string]bool{}
	for todo := slices.Clone(ids); len(todo) > 0 && len(seen) < maxAbove; todo = todo[1:] {
		id := todo[0]
		if seen[id] {
			continue
		}
		seen[id] = true
		g, err := loadHead(ctx, r, id)
		if err != nil {
			return nil, err
		}
		if g != nil {
			groups = append(groups, g)
			todo = append(todo, g.Parents...)
		}
	}
	return groups, nil
}

// Value is what a policy template names, without "identity.": "entity.id",
// "entity.name", "entity.metadata.KEY", "entity.aliases.ACCESSOR.id|name",
// "entity.aliases.ACCESSOR.metadata.KEY" (or custom_metadata), "groups.ids.ID.name",
// "groups.names.NAME.id", and of both metadata.KEY. ok is false where there is no
// such thing; a nil Identity has none.
func (who *Identity) Value(path string) (value string, ok bool) {
	if who == nil || who.Entity == nil {
		return "", false
	}
	kind, rest, _ := strings.Cut(path, ".")
	switch kind {
	case "entity":
		return who.entityValue(rest)
	case "groups":
		return who.groupValue(rest)
	}
	return "", false
}

func (who *Identity) entityValue(path string) (string, bool) {
	name, rest, _ := strings.Cut(path, ".")
	switch {
	case path == "id":
		return who.Entity.ID, true
	case path == "name":
		return who.Entity.Name, true
	case name == "metadata":
		return lookup(who.Entity.Meta, rest)
	case name != "aliases":
		return "", false
	}
	mount, field, _ := strings.Cut(rest, ".")
	for i := range who.Entity.Aliases {
		if a := &who.Entity.Aliases[i]; a.Mount == mount {
			return a.value(field)
		}
	}
	return "", false
}

func (a *Alias) value(field string) (string, bool) {
	name, key, _ := strings.Cut(field, ".")
	switch {
	case field == "id":
		return a.ID, true
	case field == "name":
		return a.Name, true
	case name == "metadata":
		return lookup(a.Meta, key)
	case name == "custom_metadata":
		return lookup(a.Custom, key)
	}
	return "", false
}

// groupValue reads "ids.ID.FIELD" and "names.NAME.FIELD". A name may hold dots, so
// the field is looked for behind each name there is.
func (who *Identity) groupValue(path string) (string, bool) {
	by, rest, _ := strings.Cut(path, ".")
	for _, g := range who.Groups {
		key := g.ID
		if by == "names" {
			key = g.Name
		} else if by != "ids" {
			return "", false
		}
		field, mine := strings.CutPrefix(rest, key+".")
		name, metaKey, _ := strings.Cut(field, ".")
		switch {
		case !mine:
		case field == "id":
			return g.ID, true
		case field == "name":
			return g.Name, true
		case name == "metadata":
			return lookup(g.Meta, metaKey)
		}
	}
	return "", false
}

func lookup(m map[string]string, key string) (string, bool) {
	v, ok := m[key]
	return v, ok
}
