// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"context"

	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/entity"
)

func (e *Engine) aliasRoutes() []engine.Route {
	return []engine.Route{
		{Path: "entity-alias", Help: "Make or change what an auth mount calls an entity.", Takes: "id name canonical_id entity_id mount_accessor custom_metadata:map", Ops: engine.Ops{Write: e.putAlias}},
		{Path: "entity-alias/id", Help: "The aliases of entities.", Ops: engine.Ops{List: e.listAliases}},
		{Path: "entity-alias/id/{id}", Help: "An alias of an entity.", Takes: "name canonical_id entity_id mount_accessor custom_metadata:map", Ops: engine.Ops{Read: e.readAlias, Write: e.putAlias, Delete: e.deleteAlias}},
		{Path: "group-alias", Help: "Make or change what an auth mount calls an external group.", Takes: "id name canonical_id mount_accessor", Ops: engine.Ops{Write: e.putGroupAlias}},
		{Path: "group-alias/id", Help: "The aliases of groups.", Ops: engine.Ops{List: e.listGroupAliases}},
		{Path: "group-alias/id/{id}", Help: "An alias of a group.", Takes: "name canonical_id mount_accessor", Ops: engine.Ops{Read: e.readGroupAlias, Write: e.putGroupAlias, Delete: e.deleteGroupAlias}},
	}
}

// aliasing reads what an alias shall be like; its mount is there.
func (e *Engine) aliasing(ctx context.Context, req *engine.Request, v engine.Vars) (entity.Aliasing, error) {
	f := engine.Read(req)
	want := entity.Aliasing{ID: f.Text("id"), Owner: f.Text("canonical_id"), Mount: f.Text("mount_accessor"), Name: f.Text("name")}
	if v["id"] != "" {
		want.ID = v["id"]
	}
	if want.Owner == "" {
		want.Owner = f.Text("entity_id") // the old name
	}
	custom, err := pairs(f, "custom_metadata")
	if err == nil {
		err = f.Err()
	}
	if err != nil {
		return want, err
	}
	want.Custom = custom
	return want, e.checkMount(ctx, want.Mount)
}

func (e *Engine) putAlias(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	want, err := e.aliasing(ctx, req, v)
	if err != nil {
		return nil, err
	}
	a, owner, changed, err := e.o.Entities.PutAlias(ctx, want)
	if err != nil || !changed {
		return nil, err
	}
	return &engine.Response{Data: map[string]any{"id": a.ID, "canonical_id": owner}}, nil
}

func (e *Engine) readAlias(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	who, err := e.o.Entities.Find(ctx, entity.Key{AliasID: v["id"]})
	if err != nil || who == nil {
		return nil, err
	}
	mounts, err := e.mountsByAccessor(ctx)
	if err != nil {
		return nil, err
	}
	for i := range who.Entity.Aliases {
		if a := &who.Entity.Aliases[i]; a.ID == v["id"] {
			return answer(showAlias(a, who.Entity.ID, mounts))
		}
	}
	return nil, nil
}

func (e *Engine) deleteAlias(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	return nil, e.o.Entities.DeleteAlias(ctx, v["id"])
}

func (e *Engine) listAliases(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	all, err := e.o.Entities.Entities(ctx)
	if err != nil {
		return nil, err
	}
	mounts, err := e.mountsByAccessor(ctx)
	if err != nil {
		return nil, err
	}
	var keys []string
	info := map[string]any{}
	for _, x := range all {
		for i := range x.Aliases {
			a := &x.Aliases[i]
			keys = append(keys, a.ID)
			info[a.ID] = aliasInfo(a, x.ID, mounts)
		}
	}
	return list(req, keys, info)
}

func aliasInfo(a *entity.Alias, owner string, mounts map[string]engine.Mount) map[string]any {
	about := map[string]any{"name": a.Name, "canonical_id": owner, "mount_accessor": a.Mount, "custom_metadata": custom(a), "local": false}
	if m, ok := mounts[a.Mount]; ok {
		about["mount_type"], about["mount_path"] = m.Kind, m.Path
	}
	return about
}

func (e *Engine) putGroupAlias(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	want, err := e.aliasing(ctx, req, v)
	if err != nil {
		return nil, err
	}
	a, owner, err := e.o.Groups.PutGroupAlias(ctx, want)
	if err != nil {
		return nil, err
	}
	return &engine.Response{Data: map[string]any{"id": a.ID, "canonical_id": owner}}, nil
}

func (e *Engine) readGroupAlias(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	g, err := e.o.Groups.Group(ctx, entity.Key{AliasID: v["id"]})
	if err != nil || g == nil || g.Alias == nil {
		return nil, err
	}
	mounts, err := e.mountsByAccessor(ctx)
	if err != nil {
		return nil, err
	}
	return answer(showAlias(g.Alias, g.ID, mounts))
}

func (e *Engine) deleteGroupAlias(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	return nil, e.o.Groups.DeleteGroupAlias(ctx, v["id"])
}

func (e *Engine) listGroupAliases(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	all, err := e.o.Groups.Groups(ctx)
	if err != nil {
		return nil, err
	}
	mounts, err := e.mountsByAccessor(ctx)
	if err != nil {
		return nil, err
	}
	var keys []string
	info := map[string]any{}
	for _, g := range all {
		if g.Alias != nil {
			keys = append(keys, g.Alias.ID)
			info[g.Alias.ID] = aliasInfo(g.Alias, g.ID, mounts)
		}
	}
	return list(req, keys, info)
}
