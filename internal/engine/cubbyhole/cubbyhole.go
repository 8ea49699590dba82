// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package cubbyhole is a drawer for each token: only the token itself reaches
// it, and it is gone with the token.
package cubbyhole

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/policy"
)

// Engine serves "cubbyhole/".
type Engine struct{ space barrier.Space }

// New keeps the drawers in a space.
func New(space barrier.Space) *Engine { return &Engine{space: space} }

// Special implements engine.Engine.
func (*Engine) Special() engine.Special {
	any := func(context.Context, *engine.Request, engine.Vars) (*engine.Response, error) { return nil, nil }
	return engine.Special{Pure: []string{"*"}, Routes: []engine.Route{{ // for help alone
		Path: "{path...}", Takes: "*", Help: "What the token keeps for itself; gone with it.",
		Ops: engine.Ops{Read: any, List: any, Scan: any, Write: any, Delete: any},
	}}}
}

// Exists implements engine.Engine: the drawer is not known here, so every write
// is an update.
func (*Engine) Exists(context.Context, string) (bool, error) { return true, nil }

// Drop empties a token's drawer. For the hook that runs when a token ends, in
// the same transaction.
func Drop(ctx context.Context, w barrier.Writer, accessor string) error {
	return w.DeleteTree(ctx, accessor)
}

const maxKey = 900

// Handle implements engine.Engine.
func (e *Engine) Handle(ctx context.Context, req *engine.Request) (*engine.Response, error) {
	if req.Subject != nil && req.Subject.Batch {
		return nil, fault.New(fault.Invalid, `cubbyhole operations are only supported by "service" type tokens`)
	}
	if req.Subject == nil || req.Subject.Accessor == "" {
		return nil, fault.New(fault.Invalid, "cubbyhole operations are only supported by \"service\" type tokens")
	}
	at := req.Subject.Accessor + "/" + req.Path
	switch req.Op {
	case policy.List:
		return e.list(ctx, strings.TrimSuffix(at, "/"), listed)
	case policy.Scan:
		return e.list(ctx, strings.TrimSuffix(at, "/"), engine.Below)
	}
	if req.Path == "" || strings.HasSuffix(req.Path, "/") || len(req.Path) > maxKey {
		return nil, fault.New(fault.Invalid, "a cubbyhole's key has 1 to %d bytes and no slash at its end", maxKey)
	}
	switch req.Op {
	case policy.Read:
		return e.read(ctx, at)
	case policy.Create, policy.Update:
		return nil, e.write(ctx, at, req.Data)
	case policy.Delete:
		return nil, e.space.Update(ctx, func(w barrier.Writer) error { return w.Delete(ctx, at) })
	default:
		return nil, fault.New(fault.Unsupported, "unsupported operation")
	}
}

func (e *Engine) read(ctx context.Context, at string) (*engine.Response, error) {
	var found *barrier.Entry
	err := e.space.View(ctx, func(r barrier.Reader) (err error) {
		found, err = r.Get(ctx, at)
		return err
	})
	if err != nil || found == nil {
		return nil, err
	}
	return &engine.Response{Data: json.RawMessage(found.Value)}, nil
}

func (e *Engine) write(ctx context.Context, at string, data map[string]json.RawMessage) error {
	if len(data) == 0 {
		return fault.New(fault.Invalid, "missing data fields")
	}
	value := engine.AppendObject(nil, data)
	return e.space.Update(ctx, func(w barrier.Writer) error {
		return w.Put(ctx, barrier.Entry{Path: at, Value: value})
	})
}

func listed(ctx context.Context, r barrier.Reader, dir string) ([]string, error) {
	return r.List(ctx, dir)
}

func (e *Engine) list(ctx context.Context, dir string, names func(context.Context, barrier.Reader, string) ([]string, error)) (*engine.Response, error) {
	var found []string
	err := e.space.View(ctx, func(r barrier.Reader) (err error) {
		found, err = names(ctx, r, dir)
		return err
	})
	return engine.Listing(found, err)
}
