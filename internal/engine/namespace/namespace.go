// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package namespace serves sys/namespaces: the namespaces right below the one that is
// asked are made, shown, described and deleted. It is a part of engine/sys.
package namespace

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// Options are the parts the engine is made of. All are needed.
type Options struct {
	Realm   *engine.Realm // whose namespaces these are
	Deleted func()        // told when there is one to be cleared away
}

// Engine serves its part of "sys/".
type Engine struct{ o Options }

// New makes the engine.
func New(o Options) *Engine { return &Engine{o: o} }

// Special implements sys.Part.
func (e *Engine) Special() engine.Special {
	return engine.Special{
		Pure: []string{"namespaces", "namespaces/*"},
		Routes: []engine.Route{
			{Path: "namespaces", Help: "The namespaces right below this one.", Ops: engine.Ops{List: e.list, Scan: e.scan}},
			{
				Path: "namespaces/{name...}", Help: "A namespace: made, described, deleted with all that is in it.", Takes: "custom_metadata:map",
				Ops: engine.Ops{Read: e.read, Write: e.write, Patch: e.patch, Delete: e.remove},
			},
		},
	}
}

// shown is what is told of a namespace.
type shown struct {
	ID       string            `json:"id"`
	UUID     string            `json:"uuid"`
	Path     string            `json:"path"`
	Metadata map[string]string `json:"custom_metadata"`
	Tainted  bool              `json:"tainted"`
	Locked   bool              `json:"locked"`
}

func show(r *engine.Realm, m engine.Mount) shown {
	s := shown{ID: m.Namespace.ID, UUID: dashed(m.UUID), Path: r.Path + m.Path, Metadata: m.Namespace.Metadata, Tainted: m.Namespace.Going}
	if s.Metadata == nil {
		s.Metadata = map[string]string{}
	}
	return s
}

// dashed writes 32 hexadecimal digits as UUIDs are written.
func dashed(hex string) string {
	if len(hex) != 32 {
		return hex
	}
	return strings.Join([]string{hex[:8], hex[8:12], hex[12:16], hex[16:20], hex[20:]}, "-")
}

// listed is a list with what is told of each.
type listed struct {
	Keys []string         `json:"keys"`
	Info map[string]shown `json:"key_info"`
}

func (e *Engine) list(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	return e.answer(ctx, func(*engine.Realm) bool { return false })
}

func (e *Engine) scan(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	return e.answer(ctx, func(*engine.Realm) bool { return true })
}

func (e *Engine) answer(ctx context.Context, deeper func(*engine.Realm) bool) (*engine.Response, error) {
	l := listed{Keys: []string{}, Info: map[string]shown{}}
	err := e.o.Realm.Walk(ctx, func(in *engine.Realm, m engine.Mount, below *engine.Realm) (bool, error) {
		name := in.Below(e.o.Realm, m.Path)
		l.Keys = append(l.Keys, name)
		l.Info[name] = show(in, m)
		return deeper(below), nil
	})
	if err != nil || len(l.Keys) == 0 {
		return nil, err
	}
	return &engine.Response{Data: l}, nil
}

// named wants one name.
func named(v engine.Vars) (string, error) {
	name := strings.Trim(v["name"], "/")
	if strings.Contains(name, "/") {
		return "", fault.New(fault.Invalid, "name must not contain /").WithHint("ask within the namespace it is in: -namespace, or the header X-Vault-Namespace")
	}
	return name, nil
}

func (e *Engine) read(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	name, err := named(v)
	if err != nil {
		return nil, err
	}
	all, err := e.o.Realm.Mounts.Namespaces(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range all {
		if m.Path == name+"/" {
			return &engine.Response{Data: show(e.o.Realm, m)}, nil
		}
	}
	return nil, nil
}

// write makes a namespace, or says anew what people say of it.
func (e *Engine) write(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	said := f.Pairs("custom_metadata")
	if f.Err() != nil {
		return nil, f.Err()
	}
	return e.put(ctx, v, true, func(map[string]string) (map[string]string, error) { return said, nil })
}

// patch changes what is sent; null takes one away.
func (e *Engine) patch(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	var sent map[string]*string
	if raw := req.Data["custom_metadata"]; raw != nil && json.Unmarshal(raw, &sent) != nil {
		return nil, fault.New(fault.Invalid, "custom_metadata values must be strings")
	}
	resp, err := e.put(ctx, v, false, func(had map[string]string) (map[string]string, error) {
		now := maps.Clone(had)
		for name, text := range sent {
			switch {
			case text == nil:
				delete(now, name)
			case now == nil:
				now = map[string]string{name: *text}
			default:
				now[name] = *text
			}
		}
		return now, nil
	})
	if err == nil && resp == nil {
		err = fault.New(fault.NotFound, "requested namespace does not exist")
	}
	return resp, err
}

// Limits of what people say of a namespace.
const (
	maxSaid  = 64
	maxBytes = 8 << 10
)

func (e *Engine) put(ctx context.Context, v engine.Vars, makes bool, change func(map[string]string) (map[string]string, error)) (*engine.Response, error) {
	name, err := named(v)
	if err != nil {
		return nil, err
	}
	if err := checkName(name); err != nil {
		return nil, err
	}
	m, err := e.o.Realm.Mounts.PutNamespace(ctx, name, makes, func(had map[string]string) (map[string]string, error) {
		now, err := change(had)
		size := 0
		for k, text := range now {
			size += len(k) + len(text)
		}
		if err == nil && (len(now) > maxSaid || size > maxBytes) {
			err = fault.New(fault.TooLarge, "custom_metadata has at most %d entries and %d bytes", maxSaid, maxBytes)
		}
		return now, err
	})
	if err != nil || m == nil {
		return nil, err
	}
	return &engine.Response{Data: show(e.o.Realm, *m)}, nil
}

// remove notes that a namespace is to go. Nobody reaches it when this has answered; what
// was in it is cleared away afterwards.
func (e *Engine) remove(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	name, err := named(v)
	if err != nil {
		return nil, err
	}
	there, err := e.o.Realm.TaintChild(ctx, name)
	switch {
	case err != nil:
		return nil, err
	case !there:
		return &engine.Response{Warnings: []string{"requested namespace does not exist"}}, nil
	}
	e.o.Deleted()
	return &engine.Response{Data: map[string]string{"status": "in-progress"}}, nil
}

const maxName = 128 // bytes

// reserved are names no namespace can have, so that paths say what they mean.
var reserved = []string{"root", "sys", "audit", "auth", "cubbyhole", "identity", "api"}

func checkName(name string) error {
	odd := func(r rune) bool { return !unicode.IsPrint(r) || strings.ContainsRune(` *+\"`, r) }
	switch {
	case slices.Contains(reserved, name):
		return fault.New(fault.Invalid, "%q is a reserved path and cannot be used as a namespace name", name)
	case name == "" || len(name) > maxName || !utf8.ValidString(name) || strings.Contains(name, "..") || name == "." || strings.ContainsFunc(name, odd):
		return fault.New(fault.Invalid, "the name of a namespace has 1 to %d bytes, without spaces, quotes, \"*\", \"+\" and \"..\"", maxName)
	}
	return nil
}
