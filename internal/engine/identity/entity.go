// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"context"
	"slices"
	"time"

	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/entity"
	"github.com/goldkeep/goldkeep/internal/fault"
)

func (e *Engine) entityRoutes() []engine.Route {
	byID := func(v engine.Vars) entity.Key { return entity.Key{ID: v["id"]} }
	byName := func(v engine.Vars) entity.Key { return entity.Key{Name: v["name"]} }
	return []engine.Route{
		{Path: "entity", Help: "Make or change an entity.", Takes: "id name metadata:map policies:list disabled:bool", Ops: engine.Ops{Write: e.putEntity}},
		{Path: "entity/id", Help: "The ids of all entities.", Ops: engine.Ops{List: e.listEntities(false)}},
		{Path: "entity/id/{id}", Help: "An entity, by its id.", Takes: "name metadata:map policies:list disabled:bool", Ops: engine.Ops{Read: e.readEntity(byID), Write: e.putEntity, Delete: e.deleteEntity(byID)}},
		{Path: "entity/name", Help: "The names of all entities.", Ops: engine.Ops{List: e.listEntities(true)}},
		{Path: "entity/name/{name...}", Help: "An entity, by its name.", Takes: "id metadata:map policies:list disabled:bool", Ops: engine.Ops{Read: e.readEntity(byName), Write: e.putEntity, Delete: e.deleteEntity(byName)}},
		{Path: "entity/batch-delete", Help: "Remove several entities.", Takes: "entity_ids:list", Ops: engine.Ops{Write: e.deleteEntities}},
		{Path: "entity/merge", Help: "Make several entities one.", Takes: "to_entity_id from_entity_ids:list conflicting_alias_ids_to_keep:list force:bool", Ops: engine.Ops{Write: e.merge}},
		{Path: "lookup/entity", Help: "Find an entity.", Takes: "id name alias_id alias_name alias_mount_accessor", Ops: engine.Ops{Write: e.lookupEntity}},
	}
}

// putEntity makes an entity or changes one; that of the path comes before that of
// the body.
func (e *Engine) putEntity(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	k := entity.Key{ID: f.Text("id"), Name: f.Text("name")}
	if v["id"] != "" {
		k.ID = v["id"]
	}
	if v["name"] != "" {
		k.Name = v["name"]
	}
	meta, err := pairs(f, "metadata")
	policies, disabled := f.List("policies"), f.Bool("disabled", false)
	if err == nil {
		err = f.Err()
	}
	if err != nil {
		return nil, err
	}
	made, created, err := e.o.Entities.PutEntity(ctx, k, func(x *entity.Entity) {
		if meta != nil {
			x.Meta = meta
		}
		if f.Has("policies") {
			x.Policies = policies
		}
		if f.Has("disabled") {
			x.Disabled = disabled
		}
	})
	if err != nil || !created {
		return nil, err
	}
	return &engine.Response{Data: map[string]any{"id": made.ID, "name": made.Name, "aliases": nil}}, nil
}

func (e *Engine) readEntity(key func(engine.Vars) entity.Key) engine.Handler {
	return func(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
		return e.showEntity(ctx, key(v))
	}
}

func (e *Engine) deleteEntity(key func(engine.Vars) entity.Key) engine.Handler {
	return func(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
		return nil, e.o.Entities.DeleteEntity(ctx, key(v))
	}
}

// deletedAtOnce is how many entities one transaction removes.
const deletedAtOnce = 100

func (e *Engine) deleteEntities(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	ids := f.List("entity_ids")
	if f.Err() == nil && len(ids) == 0 {
		return nil, fault.New(fault.Invalid, "missing entity ids to delete")
	}
	if f.Err() != nil {
		return nil, f.Err()
	}
	for some := range slices.Chunk(ids, deletedAtOnce) {
		var keys []entity.Key
		for _, id := range some {
			keys = append(keys, entity.Key{ID: id})
		}
		if err := e.o.Entities.DeleteEntity(ctx, keys...); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func (e *Engine) merge(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	m := entity.Merging{To: f.Text("to_entity_id"), From: f.List("from_entity_ids"), Keep: f.List("conflicting_alias_ids_to_keep")}
	switch {
	case f.Err() != nil:
		return nil, f.Err()
	case m.To == "":
		return nil, fault.New(fault.Invalid, "missing entity id to merge to")
	case len(m.From) == 0:
		return nil, fault.New(fault.Invalid, "missing entity ids to merge from")
	}
	return nil, e.o.Entities.Merge(ctx, m)
}

// lookupEntity answers 204 where there is nobody.
func (e *Engine) lookupEntity(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	k, err := lookupKey(req)
	if err != nil {
		return nil, err
	}
	return e.showEntity(ctx, k)
}

// shownEntity is an entity as it is answered.
type shownEntity struct {
	Aliases   []shownAlias      `json:"aliases"`
	Created   time.Time         `json:"creation_time"`
	Direct    []string          `json:"direct_group_ids"`
	Disabled  bool              `json:"disabled"`
	Groups    []string          `json:"group_ids"`
	ID        string            `json:"id"`
	Inherited []string          `json:"inherited_group_ids"`
	Updated   time.Time         `json:"last_update_time"`
	Merged    []string          `json:"merged_entity_ids"`
	Meta      map[string]string `json:"metadata"`
	Name      string            `json:"name"`
	Space     string            `json:"namespace_id"`
	Policies  []string          `json:"policies"`
}

func (e *Engine) showEntity(ctx context.Context, k entity.Key) (*engine.Response, error) {
	who, err := e.o.Entities.Find(ctx, k)
	if err != nil || who == nil {
		return nil, err
	}
	mounts, err := e.mountsByAccessor(ctx)
	if err != nil {
		return nil, err
	}
	x := who.Entity
	shown := shownEntity{
		Aliases: []shownAlias{}, Created: x.Created, Direct: orEmpty(x.Groups), Disabled: x.Disabled, Groups: []string{}, ID: x.ID,
		Inherited: []string{}, Updated: x.Updated, Merged: x.Merged, Meta: x.Meta, Name: x.Name, Space: e.namespace(), Policies: orEmpty(x.Policies),
	}
	for i := range x.Aliases {
		a := e.showAlias(&x.Aliases[i], x.ID, mounts)
		a.Space = "" // said of the entity
		shown.Aliases = append(shown.Aliases, a)
	}
	for _, g := range who.Groups {
		shown.Groups = append(shown.Groups, g.ID)
		if !slices.Contains(x.Groups, g.ID) {
			shown.Inherited = append(shown.Inherited, g.ID)
		}
	}
	return answer(shown)
}

// listEntities lists ids with what is known of each, or names alone.
func (e *Engine) listEntities(byName bool) engine.Handler {
	return lister(e, e.o.Entities.Entities, func(l *listing, x *entity.Entity) {
		if byName {
			l.keys = append(l.keys, x.Name)
			return
		}
		about := map[string]any{"name": x.Name}
		if len(x.Aliases) > 0 {
			about["aliases"] = briefAliases(x, l.mounts)
		}
		l.add(x.ID, about)
	})
}

func briefAliases(x *entity.Entity, mounts map[string]engine.Mount) (brief []map[string]any) {
	for i := range x.Aliases {
		a := &x.Aliases[i]
		about := map[string]any{"id": a.ID, "name": a.Name, "mount_accessor": a.Mount}
		if m, ok := mounts[a.Mount]; ok {
			about["mount_type"], about["mount_path"] = m.Kind, m.Path
		}
		brief = append(brief, about)
	}
	return brief
}
