// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package transit encrypts, signs and hashes for others with keys that never
// leave it: encryption as a service, as clients of Vault and OpenBao know it.
//
// A ciphertext is "vault:v<version>:" and base64 of nonce, ciphertext and tag, as
// theirs is, so that keys imported from there open what was encrypted there.
package transit

import (
	"context"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// Engine holds the keys of one mount.
type Engine struct {
	space  barrier.Space
	router *engine.Router
}

var _ engine.Engine = (*Engine)(nil)

// New makes the engine of a mount.
func New(_ engine.Mount, space barrier.Space) engine.Engine {
	e := &Engine{space: space}
	var routes []engine.Route
	for _, list := range [][]engine.Route{e.keyRoutes(), e.cryptRoutes(), e.signRoutes(), e.moveRoutes(), settingRoutes(e)} {
		routes = append(routes, list...)
	}
	e.router = engine.Routes(routes)
	return e
}

// Handle implements engine.Engine.
func (e *Engine) Handle(ctx context.Context, req *engine.Request) (*engine.Response, error) {
	return e.router.Handle(ctx, req)
}

// Special implements engine.Engine.
func (e *Engine) Special() engine.Special {
	return engine.Special{Routes: e.router.All(), Still: []string{
		"encrypt/*", "decrypt/*", "rewrap/*", "sign/*", "verify/*", "hmac/*", "datakey/*", "random", "random/*", "hash", "hash/*",
	}}
}

// Exists tells a first encryption, which may make the key, from later ones.
func (e *Engine) Exists(ctx context.Context, path string) (bool, error) {
	op, name, _ := strings.Cut(path, "/")
	if op != "encrypt" && op != "keys" || name == "" || strings.Contains(name, "/") {
		return true, nil
	}
	k, err := e.find(ctx, name)
	return k != nil, err
}

// maxName bounds a key's name, in bytes.
const maxName = 255

func checkName(name string) error {
	if len(name) > maxName {
		return fault.New(fault.Invalid, "the key's name is over %d bytes", maxName)
	}
	return nil
}

// find returns a key as it is now, or nil: a rotation that is due is made first.
func (e *Engine) find(ctx context.Context, name string) (*key, error) {
	var k *key
	err := e.space.View(ctx, func(r barrier.Reader) (err error) {
		k, err = load(ctx, r, name)
		return err
	})
	if err != nil || k == nil || !k.rotationDue(e.space.Now()) {
		return k, err
	}
	err = e.change(ctx, name, "key not found", func(fresh *key) error {
		k = fresh
		if !fresh.rotationDue(e.space.Now()) { // somebody else has done it
			return nil
		}
		return fresh.rotate(e.space.Now())
	})
	return k, err
}

// use is find for work with a key: one that is not there, or put away, is an error.
// by says in the error what the key was wanted for.
func (e *Engine) use(ctx context.Context, name, by string) (*key, error) {
	k, err := e.find(ctx, name)
	switch {
	case err != nil:
		return nil, err
	case k == nil:
		return nil, fault.New(fault.Invalid, "%s key not found", by)
	case k.SoftDeleted:
		return nil, fault.New(fault.Invalid, "the key is soft-deleted").WithHint("restore it with keys/%s/soft-delete-restore", name)
	}
	return k, nil
}

// change edits a key in one transaction; absent is said where there is none.
func (e *Engine) change(ctx context.Context, name, absent string, edit func(*key) error) error {
	return e.space.Update(ctx, func(w barrier.Writer) error {
		k, err := load(ctx, w, name)
		if err != nil {
			return err
		}
		if k == nil {
			return fault.New(fault.Invalid, "%s", absent)
		}
		if err := edit(k); err != nil {
			return err
		}
		return k.save(ctx, w)
	})
}

// rotationDue reports whether a key rotates by itself and its time has come.
func (k *key) rotationDue(now time.Time) bool {
	newest := k.Versions[k.Latest]
	return k.AutoRotate > 0 && !k.SoftDeleted && newest != nil && !now.Before(newest.Created.Add(k.AutoRotate)) && k.mayRotate()
}
