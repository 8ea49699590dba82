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
		{Path: "entity-alias/id", Help: "The aliases of entities.", Ops: engine.Ops{List: e.listAliases()}},
		{Path: "entity-alias/id/{id}", Help: "An alias of an entity.", Takes: "name canonical_id entity_id mount_accessor custom_metadata:map", Ops: engine.Ops{Read: e.readAlias, Write: e.putAlias, Delete: e.deleteAlias}},
		{Path: "group-alias", Help: "Make or change what an auth mount calls an external group.", Takes: "id name canonical_id mount_accessor", Ops: engine.Ops{Write: e.putGroupAlias}},
		{Path: "group-alias/id", Help: "The aliases of groups.", Ops: engine.Ops{List: e.listGroupAliases()}},
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
			return answer(e.showAlias(a, who.Entity.ID, mounts))
		}
	}
	return nil, nil
}

func (e *Engine) deleteAlias(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	return nil, e.o.Entities.DeleteAlias(ctx, v["id"])
}

func (e *Engine) listAliases() engine.Handler {
	return lister(e, e.o.Entities.Entities, func(l *listing, x *entity.Entity) {
		for i := range x.Aliases {
			l.add(x.Aliases[i].ID, aliasInfo(&x.Aliases[i], x.ID, l.mounts))
		}
	})
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
	return answer(e.showAlias(g.Alias, g.ID, mounts))
}

func (e *Engine) deleteGroupAlias(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	return nil, e.o.Groups.DeleteGroupAlias(ctx, v["id"])
}

func (e *Engine) listGroupAliases() engine.Handler {
	return lister(e, e.o.Groups.Groups, func(l *listing, g *entity.Group) {
		if g.Alias != nil {
			l.add(g.Alias.ID, aliasInfo(g.Alias, g.ID, l.mounts))
		}
	})
}

// listing is ids with what is known of each, and the mounts to tell it with.
type listing struct {
	keys   []string
	info   map[string]any
	mounts map[string]engine.Mount
}

func (l *listing) add(id string, about any) {
	l.keys = append(l.keys, id)
	l.info[id] = about
}

// lister answers with what add makes of everything there is.
func lister[T any](e *Engine, all func(context.Context) ([]T, error), add func(*listing, T)) engine.Handler {
	return func(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
		found, err := all(ctx)
		if err != nil {
			return nil, err
		}
		mounts, err := e.mountsByAccessor(ctx)
		if err != nil {
			return nil, err
		}
		l := &listing{info: map[string]any{}, mounts: mounts}
		for _, x := range found {
			add(l, x)
		}
		return list(l.keys, l.info)
	}
}
