// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package identity serves identity/: who is behind the tokens. Entities, their
// aliases at auth mounts, groups, and what leads from one to the other. Other
// variants serve parts of it (see Part).
package identity

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/entity"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// Entities is what this engine asks of package entity about entities.
type Entities interface {
	Find(ctx context.Context, k entity.Key) (*entity.Identity, error)
	Entities(ctx context.Context) ([]*entity.Entity, error)
	PutEntity(ctx context.Context, k entity.Key, change func(*entity.Entity)) (*entity.Entity, bool, error)
	DeleteEntity(ctx context.Context, keys ...entity.Key) error
	Merge(ctx context.Context, m entity.Merging) error
	PutAlias(ctx context.Context, want entity.Aliasing) (*entity.Alias, string, bool, error)
	DeleteAlias(ctx context.Context, id string) error
}

// Groups is what this engine asks of package entity about groups.
type Groups interface {
	Group(ctx context.Context, k entity.Key) (*entity.Group, error)
	Groups(ctx context.Context) ([]*entity.Group, error)
	PutGroup(ctx context.Context, k entity.Key, change func(*entity.Group) error) (*entity.Group, bool, error)
	DeleteGroup(ctx context.Context, k entity.Key) error
	PutGroupAlias(ctx context.Context, want entity.Aliasing) (*entity.Alias, string, error)
	DeleteGroupAlias(ctx context.Context, id string) error
}

// Mounts knows the auth mounts aliases belong to.
type Mounts interface {
	List(ctx context.Context) ([]engine.Mount, error)
}

// Part serves some of the paths of identity/: the routes it names, and the special
// treatment they need.
type Part interface {
	Special() engine.Special
	// Exists says whether a write to one of its paths would be an update.
	Exists(ctx context.Context, path string) (bool, error)
}

// Options are the parts the engine is made of. All are needed but Parts.
type Options struct {
	Entities Entities
	Groups   Groups
	Mounts   Mounts
	Parts    []Part // engine/oidc, ...
	ID       string // of the namespace; "": the root
}

// Engine serves "identity/".
type Engine struct {
	o       Options
	special engine.Special
	routes  *engine.Router
}

// New makes the engine.
func New(o Options) *Engine {
	e := &Engine{o: o}
	e.special = engine.Special{Pure: []string{"entity*", "group*"}, Routes: slices.Concat(e.entityRoutes(), e.aliasRoutes(), e.groupRoutes())}
	for _, part := range o.Parts {
		more := part.Special()
		e.special.Open = append(e.special.Open, more.Open...)
		e.special.Pure = append(e.special.Pure, more.Pure...)
		e.special.Sudo = append(e.special.Sudo, more.Sudo...)
		e.special.Routes = append(e.special.Routes, more.Routes...)
	}
	e.routes = engine.Routes(e.special.Routes)
	return e
}

// namespace is how the namespace is told.
func (e *Engine) namespace() string { return cmp.Or(e.o.ID, "root") }

// Special implements engine.Engine.
func (e *Engine) Special() engine.Special { return e.special }

// Exists implements engine.Engine: every write to people and groups is an update.
func (e *Engine) Exists(ctx context.Context, path string) (bool, error) {
	for _, part := range e.o.Parts {
		if there, err := part.Exists(ctx, path); err != nil || !there {
			return false, err
		}
	}
	return true, nil
}

// Handle implements engine.Engine.
func (e *Engine) Handle(ctx context.Context, req *engine.Request) (*engine.Response, error) {
	return e.routes.Handle(ctx, req)
}

// pairs reads metadata: an object, or "key=value" once or in a list, as command
// lines send it. nil where it was not sent.
func pairs(f *engine.Fields, name string) (map[string]string, error) {
	if !f.Has(name) {
		return nil, nil
	}
	if raw := strings.TrimSpace(string(f.Raw(name))); strings.HasPrefix(raw, "{") {
		m := f.Map(name)
		return m, f.Err()
	}
	out := map[string]string{}
	for _, text := range f.List(name) {
		k, v, ok := strings.Cut(text, "=")
		if !ok {
			return nil, fault.New(fault.Invalid, "failed to parse %s: want key=value", name)
		}
		out[strings.TrimSpace(k)] = strings.TrimSpace(v)
	}
	return out, f.Err()
}

// mountsByAccessor are the auth mounts there are.
func (e *Engine) mountsByAccessor(ctx context.Context) (map[string]engine.Mount, error) {
	all, err := e.o.Mounts.List(ctx)
	if err != nil {
		return nil, err
	}
	byAccessor := map[string]engine.Mount{}
	for _, m := range all {
		if m.Auth() {
			byAccessor[m.Accessor] = m
		}
	}
	return byAccessor, nil
}

// checkMount refuses an accessor no auth mount has. "" is not checked.
func (e *Engine) checkMount(ctx context.Context, accessor string) error {
	if accessor == "" {
		return nil
	}
	mounts, err := e.mountsByAccessor(ctx)
	if err != nil {
		return err
	}
	if _, ok := mounts[accessor]; !ok {
		return fault.New(fault.Invalid, "invalid mount accessor %q", accessor)
	}
	return nil
}

// shownAlias is an alias as it is answered.
type shownAlias struct {
	Owner    string            `json:"canonical_id"`
	Created  time.Time         `json:"creation_time"`
	Custom   map[string]string `json:"custom_metadata"`
	ID       string            `json:"id"`
	Updated  time.Time         `json:"last_update_time"`
	Local    bool              `json:"local"`
	Merged   []string          `json:"merged_from_canonical_ids"`
	Meta     map[string]string `json:"metadata"`
	Accessor string            `json:"mount_accessor"`
	Path     string            `json:"mount_path"`
	Kind     string            `json:"mount_type"`
	Name     string            `json:"name"`
	Space    string            `json:"namespace_id,omitempty"`
}

func (e *Engine) showAlias(a *entity.Alias, owner string, mounts map[string]engine.Mount) shownAlias {
	m := mounts[a.Mount]
	return shownAlias{
		Owner: owner, Created: a.Created, Custom: custom(a), ID: a.ID, Updated: a.Updated, Merged: a.MergedFrom, Meta: a.Meta,
		Accessor: a.Mount, Path: m.Path, Kind: m.Kind, Name: a.Name, Space: e.namespace(),
	}
}

// custom is what people wrote of an alias.
func custom(a *entity.Alias) map[string]string {
	if a.Custom == nil {
		return map[string]string{}
	}
	return a.Custom
}

// list answers keys, sorted, with what is known of each; the gate cuts it down to
// the part that was asked for.
func list(keys []string, info map[string]any) (*engine.Response, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	slices.Sort(keys)
	return &engine.Response{Data: engine.Keys{Keys: keys, Info: info}}, nil
}

func answer(data any) (*engine.Response, error) {
	raw, err := json.Marshal(data)
	return &engine.Response{Data: json.RawMessage(raw)}, err
}

func orEmpty(ids []string) []string {
	if ids == nil {
		return []string{}
	}
	return ids
}

// lookupKey reads what somebody is looked up by: one thing, or an alias' name with
// its mount.
func lookupKey(req *engine.Request) (entity.Key, error) {
	f := engine.Read(req)
	k := entity.Key{
		ID: f.Text("id"), Name: f.Text("name"), AliasID: f.Text("alias_id"), Alias: f.Text("alias_name"), Mount: f.Text("alias_mount_accessor"),
	}
	given := 0
	for _, text := range []string{k.ID, k.Name, k.AliasID, k.Alias + k.Mount} {
		if text != "" {
			given++
		}
	}
	switch {
	case f.Err() != nil:
		return k, f.Err()
	case given == 0:
		return k, fault.New(fault.Invalid, "query parameter not supplied").WithHint("give id, name, alias_id, or alias_name with alias_mount_accessor")
	case given > 1:
		return k, fault.New(fault.Invalid, "query parameter conflict; please supply distinct set of query parameters")
	case (k.Alias == "") != (k.Mount == ""):
		return k, fault.New(fault.Invalid, "both 'alias_name' and 'alias_mount_accessor' needs to be set")
	}
	return k, nil
}
