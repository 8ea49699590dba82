// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package entity

import (
	"context"
	"strings"

	"github.com/goldkeep/goldkeep/internal/barrier"
)

// Key says which entity or group is meant: by its first field that is not empty.
type Key struct {
	ID      string
	Name    string
	AliasID string
	Mount   string // with Alias: its accessor
	Alias   string // name at Mount
}

// index is where a kind of record is found from.
type index struct {
	name, alias func(string) string
	factor      func(mount, name string) string
}

var (
	entities = index{entityName, aliasPath, aliasName}
	groups   = index{groupName, galiasPath, galiasName}
)

// id is the id a key leads to, or "".
func (x index) id(ctx context.Context, r barrier.Reader, k Key) (string, error) {
	switch {
	case k.ID != "":
		return k.ID, nil
	case k.Name != "":
		return get(ctx, r, x.name(k.Name))
	case k.AliasID != "":
		if !plainID(k.AliasID) {
			return "", nil
		}
		return get(ctx, r, x.alias(k.AliasID))
	case k.Alias != "" && plainID(k.Mount):
		return get(ctx, r, x.factor(k.Mount, k.Alias))
	}
	return "", nil
}

func findEntity(ctx context.Context, r barrier.Reader, k Key) (*Entity, error) {
	id, err := entities.id(ctx, r, k)
	if err != nil || id == "" {
		return nil, err
	}
	e, err := loadEntity(ctx, r, id)
	if e != nil && k.ID != "" && e.ID != k.ID { // merged: only tokens still go by that id
		return nil, err
	}
	return e, err
}

func findGroup(ctx context.Context, r barrier.Reader, k Key) (*Group, error) {
	id, err := groups.id(ctx, r, k)
	if err != nil || id == "" {
		return nil, err
	}
	return loadGroup(ctx, r, id)
}

// Find returns an entity and the groups it is in; nil where there is none.
func (d *Directory) Find(ctx context.Context, k Key) (who *Identity, err error) {
	err = d.space.View(ctx, func(r barrier.Reader) error {
		who = nil
		e, err := findEntity(ctx, r, k)
		if err != nil || e == nil {
			return err
		}
		who, err = resolve(ctx, r, e.ID)
		return err
	})
	return who, err
}

// Group returns a group; nil where there is none. It must not be changed.
func (d *Directory) Group(ctx context.Context, k Key) (g *Group, err error) {
	err = d.space.View(ctx, func(r barrier.Reader) (err error) {
		g, err = findGroup(ctx, r, k)
		return err
	})
	return g, err
}

// Entities returns all entities, sorted by id. They must not be changed.
func (d *Directory) Entities(ctx context.Context) ([]*Entity, error) {
	return all(ctx, d.space, entityDir, loadEntity)
}

// Groups returns all groups, sorted by id. They must not be changed.
func (d *Directory) Groups(ctx context.Context) ([]*Group, error) {
	return all(ctx, d.space, groupDir, loadGroup)
}

func all[T any](ctx context.Context, space barrier.Space, dir string, load func(context.Context, barrier.Reader, string) (*T, error)) ([]*T, error) {
	var list []*T
	err := space.View(ctx, func(r barrier.Reader) error {
		list = nil
		ids, err := r.List(ctx, dir)
		if err != nil {
			return err
		}
		for _, id := range ids {
			one, err := load(ctx, r, strings.TrimSuffix(id, "/"))
			if err != nil {
				return err
			}
			if one != nil {
				list = append(list, one)
			}
		}
		return nil
	})
	return list, err
}
