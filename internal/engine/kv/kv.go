// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package kv keeps secrets that people put: version 2 with history, version 1
// without. What was put comes back byte for byte, numbers included.
//
// Both versions keep the same records, so a mount can be tuned from 1 to 2 and
// finds its secrets as version 1 of each key.
package kv

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/policy"
)

// New makes the engine of a mount: version 2 where its options say so, else 1.
func New(m engine.Mount, space barrier.Space) engine.Engine {
	if m.Options["version"] == "2" {
		return newV2(space)
	}
	return &v1{space: space, refresh: m.DefaultTTL()}
}

func newRecord(now time.Time) *record {
	id := make([]byte, 12)
	_, _ = rand.Read(id) // never fails: see crypto/rand
	return &record{id: hex.EncodeToString(id), created: now, updated: now}
}

// special says that no read or list below these mounts changes anything.
func special(routes []engine.Route) engine.Special {
	return engine.Special{Pure: []string{"*"}, Routes: routes}
}

// v1 keeps one value per key.
type v1 struct {
	space   barrier.Space
	refresh time.Duration
}

// Special implements engine.Engine.
func (*v1) Special() engine.Special {
	any := func(context.Context, *engine.Request, engine.Vars) (*engine.Response, error) { return nil, nil }
	return special([]engine.Route{{ // for help alone: Handle does not route
		Path: "{path...}", Takes: "*", Help: "A secret: the fields that were put, as they were put.",
		Ops: engine.Ops{Read: any, List: any, Scan: any, Write: any, Delete: any},
	}})
}

// Exists implements engine.Engine.
func (e *v1) Exists(ctx context.Context, path string) (bool, error) {
	return exists(ctx, e.space, path)
}

func exists(ctx context.Context, space barrier.Space, path string) (there bool, err error) {
	err = space.View(ctx, func(r barrier.Reader) error {
		rec, err := load(ctx, r, path)
		there = rec != nil
		return err
	})
	return there, err
}

// Handle implements engine.Engine.
func (e *v1) Handle(ctx context.Context, req *engine.Request) (*engine.Response, error) {
	if done, err := checkKey(req); done || err != nil {
		return nil, err
	}
	switch req.Op {
	case policy.Read:
		return e.read(ctx, req)
	case policy.List:
		return list(ctx, e.space, req.Path)
	case policy.Scan:
		return scan(ctx, e.space, req.Path)
	case policy.Create, policy.Update:
		return nil, e.write(ctx, req)
	case policy.Delete:
		return nil, e.space.Update(ctx, func(w barrier.Writer) error { return forget(ctx, w, req.Path) })
	default:
		return nil, fault.New(fault.Unsupported, "unsupported operation")
	}
}

func (e *v1) read(ctx context.Context, req *engine.Request) (*engine.Response, error) {
	var data json.RawMessage
	err := e.space.View(ctx, func(r barrier.Reader) error {
		rec, err := load(ctx, r, req.Path)
		if err != nil || rec == nil {
			return err
		}
		if v := rec.find(0); v != nil && !v.gone(req.Now) {
			data, err = rec.content(ctx, r, v)
		}
		return err
	})
	if err != nil || data == nil {
		return nil, err
	}
	return &engine.Response{Data: data, Duration: e.refreshHint(data)}, nil
}

// refreshHint is when to read again: what the secret itself says, or the
// mount's default.
func (e *v1) refreshHint(data json.RawMessage) time.Duration {
	var fields map[string]json.RawMessage
	if json.Unmarshal(data, &fields) == nil {
		f := engine.Read(&engine.Request{Data: fields})
		for _, name := range []string{"ttl", "lease"} {
			if d := f.Duration(name); f.Err() == nil && d > 0 {
				return d
			}
		}
	}
	return e.refresh
}

func (e *v1) write(ctx context.Context, req *engine.Request) error {
	if len(req.Data) == 0 {
		return fault.New(fault.Invalid, "missing data fields")
	}
	data := engine.AppendObject(nil, req.Data)
	return e.space.Update(ctx, func(w barrier.Writer) error {
		rec, err := load(ctx, w, req.Path)
		if err != nil {
			return err
		}
		if rec == nil {
			rec = newRecord(req.Now)
		}
		rec.updated = req.Now
		if err := rec.add(ctx, w, version{n: rec.current + 1, created: req.Now, data: data}, 1); err != nil {
			return err
		}
		return rec.save(ctx, w, req.Path)
	})
}

// list answers the names below a folder; nothing there is nil.
func list(ctx context.Context, space barrier.Space, dir string) (*engine.Response, error) {
	var names []string
	err := space.View(ctx, func(r barrier.Reader) (err error) {
		names, err = r.List(ctx, strings.TrimSuffix(keyAt(dir), "/"))
		return err
	})
	return engine.Listing(names, err)
}

// scan answers the names at any depth below a folder; nothing there is nil.
func scan(ctx context.Context, space barrier.Space, dir string) (*engine.Response, error) {
	var names []string
	err := space.View(ctx, func(r barrier.Reader) (err error) {
		names, err = engine.Below(ctx, r, strings.TrimSuffix(keyAt(dir), "/"))
		return err
	})
	return engine.Listing(names, err)
}

// forget removes a key with all its versions.
func forget(ctx context.Context, w barrier.Writer, path string) error {
	rec, err := load(ctx, w, path)
	if err != nil || rec == nil {
		return err
	}
	if err := w.DeleteTree(ctx, "v/"+rec.id); err != nil {
		return err
	}
	return w.Delete(ctx, keyAt(path))
}

// maxKey leaves room for the mount's own folder in the barrier's limit.
const maxKey = 900

// checkKey sorts out requests that name no key. done means that there is nothing
// to read or delete: a folder has no value of its own.
func checkKey(req *engine.Request) (done bool, err error) {
	folder := req.Path == "" || strings.HasSuffix(req.Path, "/")
	switch {
	case req.Op == policy.List || req.Op == policy.Scan:
		return false, nil
	case len(req.Path) > maxKey:
		return false, fault.New(fault.Invalid, "the key's name is over %d bytes", maxKey)
	case folder && (req.Op == policy.Read || req.Op == policy.Delete):
		return true, nil
	case folder:
		return false, fault.New(fault.Invalid, "cannot write to a path ending in '/'")
	}
	return false, nil
}
