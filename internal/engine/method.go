// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/barrier"
)

// Tokens makes the tokens of those who log in.
type Tokens interface {
	Create(ctx context.Context, n auth.NewToken) (*auth.Granted, error)
}

// Method is what every auth method stands on; methods embed it. Below one folder
// of its paths it keeps who may log in: roles, users, certificates.
type Method struct {
	Mount  Mount
	Space  barrier.Space
	Tokens Tokens
	Router *Router
	Logins []string                 // the paths that need no token
	Acting []string                 // reads that change something: not in Special.Pure
	Folder string                   // the path below which a write makes or changes one thing: "role"
	Kept   func(name string) string // where in the space that thing is
}

// Handle implements Engine.
func (m *Method) Handle(ctx context.Context, req *Request) (*Response, error) {
	return m.Router.Handle(ctx, req)
}

// Special implements Engine.
func (m *Method) Special() Special {
	pure := []string{"*"}
	if len(m.Acting) > 0 {
		pure = []string{"config", m.Folder, m.Folder + "/*"}
	}
	return Special{Open: m.Logins, Pure: pure, Routes: m.Router.All()}
}

// Exists implements Engine.
func (m *Method) Exists(ctx context.Context, path string) (bool, error) {
	name, ok := strings.CutPrefix(path, m.Folder+"/")
	if !ok || name == "" || strings.Contains(name, "/") {
		return true, nil
	}
	there := false
	err := m.Space.View(ctx, func(r barrier.Reader) error {
		found, err := r.Get(ctx, m.Kept(name))
		there = found != nil
		return err
	})
	return there, err
}

// Names answers a list of what is below a folder of the space.
func (m *Method) Names(ctx context.Context, folder string) (*Response, error) {
	var names []string
	err := m.Space.View(ctx, func(r barrier.Reader) (err error) {
		names, err = r.List(ctx, folder)
		return err
	})
	return Listing(names, err)
}

// Remove deletes one entry; removing nothing is fine.
func (m *Method) Remove(ctx context.Context, path string) error {
	return m.Space.Update(ctx, func(w barrier.Writer) error { return w.Delete(ctx, path) })
}

// Sweep deletes entries whose time has passed, as Space.Expired found them; what was
// written anew since then stays.
func Sweep(ctx context.Context, w barrier.Writer, old []barrier.Entry, now time.Time) error {
	for _, entry := range old {
		found, err := w.Get(ctx, entry.Path)
		if err == nil && found != nil && !found.Expires.IsZero() && !now.Before(found.Expires) {
			err = w.Delete(ctx, entry.Path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Display is how a token of somebody who logged in here is called: "userpass-alice".
func (m *Method) Display(name string) string {
	display := strings.TrimSuffix(strings.TrimPrefix(m.Mount.Path, "auth/"), "/")
	if name == "" {
		return display
	}
	return display + "-" + name
}

// Login makes the token of somebody who has proved who they are.
func (m *Method) Login(ctx context.Context, n auth.NewToken) (*Response, error) {
	granted, err := m.Tokens.Create(ctx, n)
	if err != nil {
		return nil, err
	}
	return &Response{Auth: granted, Warnings: granted.Warnings}, nil
}

// Found reads what was kept with Stored; nil where there is nothing.
func Found[T any](ctx context.Context, r barrier.Reader, path string) (*T, error) {
	entry, err := r.Get(ctx, path)
	if err != nil || entry == nil {
		return nil, err
	}
	found := new(T)
	if err := json.Unmarshal(entry.Value, found); err != nil {
		return nil, fmt.Errorf("decode %T: %w", found, err)
	}
	return found, nil
}

// Look is Found as a look of its own.
func Look[T any](ctx context.Context, space barrier.Space, path string) (found *T, err error) {
	err = space.View(ctx, func(r barrier.Reader) (err error) {
		found, err = Found[T](ctx, r, path)
		return err
	})
	return found, err
}
