// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"context"
	"time"

	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/entity"
	"github.com/goldkeep/goldkeep/internal/fault"
)

func (e *Engine) groupRoutes() []engine.Route {
	byID := func(v engine.Vars) entity.Key { return entity.Key{ID: v["id"]} }
	byName := func(v engine.Vars) entity.Key { return entity.Key{Name: v["name"]} }
	return []engine.Route{
		{Path: "group", Help: "Make or change a group.", Takes: "id name type metadata:map policies:list member_entity_ids:list member_group_ids:list", Ops: engine.Ops{Write: e.putGroup}},
		{Path: "group/id", Help: "The ids of all groups.", Ops: engine.Ops{List: e.listGroups(false)}},
		{Path: "group/id/{id}", Help: "A group, by its id.", Takes: "name type metadata:map policies:list member_entity_ids:list member_group_ids:list", Ops: engine.Ops{Read: e.readGroup(byID), Write: e.putGroup, Delete: e.deleteGroup(byID)}},
		{Path: "group/name", Help: "The names of all groups.", Ops: engine.Ops{List: e.listGroups(true)}},
		{Path: "group/name/{name...}", Help: "A group, by its name.", Takes: "id type metadata:map policies:list member_entity_ids:list member_group_ids:list", Ops: engine.Ops{Read: e.readGroup(byName), Write: e.putGroup, Delete: e.deleteGroup(byName)}},
		{Path: "lookup/group", Help: "Find a group.", Takes: "id name alias_id alias_name alias_mount_accessor", Ops: engine.Ops{Write: e.lookupGroup}},
	}
}

// putGroup makes a group or changes one; that of the path comes before that of the
// body.
func (e *Engine) putGroup(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	k := entity.Key{ID: f.Text("id"), Name: f.Text("name")}
	if v["id"] != "" {
		k.ID = v["id"]
	}
	if v["name"] != "" {
		k.Name = v["name"]
	}
	want := entity.Group{Kind: f.Text("type"), Policies: f.List("policies"), Entities: f.List("member_entity_ids"), Groups: f.List("member_group_ids")}
	var err error
	if want.Meta, err = pairs(f, "metadata"); err == nil {
		err = f.Err()
	}
	if err != nil {
		return nil, err
	}
	g, created, err := e.o.Groups.PutGroup(ctx, k, func(g *entity.Group) error { return take(g, &want, f) })
	if err != nil || !created {
		return nil, err
	}
	return &engine.Response{Data: map[string]any{"id": g.ID, "name": g.Name}}, nil
}

// take changes a group where the request says something.
func take(g, want *entity.Group, f *engine.Fields) error {
	if want.Kind != "" {
		if g.Kind != "" && g.Kind != want.Kind {
			return fault.New(fault.Invalid, "group type cannot be changed")
		}
		g.Kind = want.Kind
	}
	if f.Has("policies") {
		g.Policies = want.Policies
	}
	if want.Meta != nil {
		g.Meta = want.Meta
	}
	if f.Has("member_entity_ids") {
		if g.Kind == entity.External {
			return fault.New(fault.Invalid, "member entities can't be set manually for external groups")
		}
		g.Entities = want.Entities
	}
	if f.Has("member_group_ids") {
		if g.Kind == entity.External {
			return fault.New(fault.Invalid, "member groups can't be set for external groups")
		}
		g.Groups = want.Groups
	}
	return nil
}

func (e *Engine) readGroup(key func(engine.Vars) entity.Key) engine.Handler {
	return func(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
		return e.showGroup(ctx, key(v))
	}
}

func (e *Engine) deleteGroup(key func(engine.Vars) entity.Key) engine.Handler {
	return func(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
		return nil, e.o.Groups.DeleteGroup(ctx, key(v))
	}
}

// lookupGroup answers 204 where there is none.
func (e *Engine) lookupGroup(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	k, err := lookupKey(req)
	if err != nil {
		return nil, err
	}
	return e.showGroup(ctx, k)
}

// shownGroup is a group as it is answered. A group without members or policies
// says null there, as clients compare it with what they sent.
type shownGroup struct {
	Alias    any               `json:"alias"`
	Created  time.Time         `json:"creation_time"`
	ID       string            `json:"id"`
	Updated  time.Time         `json:"last_update_time"`
	Entities []string          `json:"member_entity_ids"`
	Groups   []string          `json:"member_group_ids"`
	Meta     map[string]string `json:"metadata"`
	Index    int               `json:"modify_index"`
	Name     string            `json:"name"`
	Space    string            `json:"namespace_id"`
	Parents  []string          `json:"parent_group_ids"`
	Policies []string          `json:"policies"`
	Kind     string            `json:"type"`
}

func orNull(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	return list
}

func (e *Engine) showGroup(ctx context.Context, k entity.Key) (*engine.Response, error) {
	g, err := e.o.Groups.Group(ctx, k)
	if err != nil || g == nil {
		return nil, err
	}
	mounts, err := e.mountsByAccessor(ctx)
	if err != nil {
		return nil, err
	}
	shown := shownGroup{
		Alias: struct{}{}, Created: g.Created, ID: g.ID, Updated: g.Updated, Entities: orNull(g.Entities), Groups: orNull(g.Groups), Meta: g.Meta,
		Index: max(g.Changes, 1), Name: g.Name, Space: e.namespace(), Parents: g.Parents, Policies: orNull(g.Policies), Kind: g.Kind,
	}
	if g.Alias != nil {
		shown.Alias = e.showAlias(g.Alias, g.ID, mounts)
	}
	return answer(shown)
}

// listGroups lists ids with what is known of each, or names alone.
func (e *Engine) listGroups(byName bool) engine.Handler {
	return lister(e, e.o.Groups.Groups, func(l *listing, g *entity.Group) {
		if byName {
			l.keys = append(l.keys, g.Name)
			return
		}
		about := map[string]any{"name": g.Name, "num_member_entities": len(g.Entities), "num_parent_groups": len(g.Parents)}
		if g.Alias != nil {
			about["alias"] = aliasInfo(g.Alias, g.ID, l.mounts)
		}
		l.add(g.ID, about)
	})
}
