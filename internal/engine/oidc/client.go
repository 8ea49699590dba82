// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"slices"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// client is a program people log in to through a provider.
type client struct {
	Name        string        `json:"name"`
	ID          string        `json:"id"`
	Secret      string        `json:"secret,omitempty"` // "": a public client
	Kind        string        `json:"kind"`
	Redirects   []string      `json:"redirects,omitempty"`
	Assignments []string      `json:"assignments,omitempty"`
	Key         string        `json:"key"`
	TokenTTL    time.Duration `json:"token_ttl"`  // of ID tokens
	AccessTTL   time.Duration `json:"access_ttl"` // of access tokens
}

// The kinds of clients.
const (
	confidential = "confidential" // it can keep a secret
	public       = "public"       // it cannot, and proves itself by PKCE
)

const (
	clientIDChars = 32
	secretPrefix  = "hvo_secret_" // what tools that look for leaked secrets know
	secretChars   = 64
	clientTTL     = 24 * time.Hour
)

func clientPath(name string) string { return "client/" + hex.EncodeToString([]byte(name)) }
func clientIDPath(id string) string { return "client-id/" + hex.EncodeToString([]byte(id)) }

func (e *Engine) clientRoutes() []engine.Route {
	return []engine.Route{
		{Path: "oidc/client", Help: "The programs people can log in to.", Ops: engine.Ops{List: e.listClients}},
		{Path: "oidc/client/{name}", Help: "A program people can log in to.", Takes: "key redirect_uris:list assignments:list client_type id_token_ttl:duration access_token_ttl:duration", Ops: engine.Ops{Read: e.readClient, Write: e.putClient, Delete: e.deleteClient}},
	}
}

// about is what may be shown of a client to who lists them.
func (c *client) about() map[string]any {
	return map[string]any{
		"access_token_ttl": int64(c.AccessTTL / time.Second), "assignments": orEmpty(c.Assignments), "client_id": c.ID, "client_type": c.Kind,
		"id_token_ttl": int64(c.TokenTTL / time.Second), "key": c.Key, "redirect_uris": orEmpty(c.Redirects),
	}
}

func (e *Engine) readClient(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	c, err := engine.Look[client](ctx, e.o.Space, clientPath(v["name"]))
	if err != nil || c == nil {
		return nil, err
	}
	data := c.about()
	if c.Kind == confidential {
		data["client_secret"] = c.Secret
	}
	return &engine.Response{Data: data}, nil
}

func (e *Engine) listClients(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	info := map[string]any{}
	var names []string
	err := e.o.Space.View(ctx, func(r barrier.Reader) (err error) {
		clear(info)
		names, err = using(ctx, r, "client", func(c *client) bool { info[c.Name] = c.about(); return true })
		return err
	})
	if err != nil {
		return nil, err
	}
	return list(names, info)
}

func (e *Engine) putClient(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	if err := checkName(v["name"]); err != nil {
		return nil, err
	}
	f := engine.Read(req)
	fresh, err := freshClient(v["name"], f)
	if err != nil {
		return nil, err
	}
	if err := e.needKey(ctx, f.Text("key"), req.Now); err != nil {
		return nil, err
	}
	return nil, e.o.Space.Update(ctx, func(w barrier.Writer) error {
		c, err := engine.Found[client](ctx, w, clientPath(v["name"]))
		if err != nil {
			return err
		}
		if c == nil {
			made := fresh
			c = &made
		}
		if err := c.take(f); err != nil {
			return err
		}
		if err := c.check(ctx, w); err != nil {
			return err
		}
		if err := w.Put(ctx, barrier.Entry{Path: clientIDPath(c.ID), Value: engine.Stored(c.Name)}); err != nil {
			return err
		}
		return w.Put(ctx, barrier.Entry{Path: clientPath(c.Name), Value: engine.Stored(c)})
	})
}

// freshClient is what becomes of a name that is not taken yet.
func freshClient(name string, f *engine.Fields) (client, error) {
	c := client{Name: name, ID: randomChars(clientIDChars), Kind: confidential, Key: defaultKey, TokenTTL: clientTTL, AccessTTL: clientTTL}
	if f.Has("key") {
		c.Key = f.Text("key")
	}
	if f.Has("client_type") {
		c.Kind = f.Text("client_type")
	}
	if c.Kind != confidential && c.Kind != public {
		return c, fault.New(fault.Invalid, "invalid client_type %q", c.Kind)
	}
	if c.Kind == confidential {
		c.Secret = secretPrefix + randomChars(secretChars)
	}
	return c, f.Err()
}

// take changes a client where the request says something.
func (c *client) take(f *engine.Fields) error {
	if f.Has("redirect_uris") {
		c.Redirects = f.List("redirect_uris")
	}
	if f.Has("assignments") {
		c.Assignments = f.List("assignments")
		slices.Sort(c.Assignments)
		c.Assignments = slices.Compact(c.Assignments)
	}
	if f.Has("id_token_ttl") {
		c.TokenTTL = f.Duration("id_token_ttl")
	}
	if f.Has("access_token_ttl") {
		c.AccessTTL = f.Duration("access_token_ttl")
	}
	switch {
	case f.Err() != nil:
		return f.Err()
	case f.Has("key") && f.Text("key") != c.Key:
		return fault.New(fault.Invalid, "key modification is not allowed")
	case f.Has("client_type") && f.Text("client_type") != c.Kind:
		return fault.New(fault.Invalid, "client_type modification is not allowed")
	case len(c.Redirects) > maxRedirects || slices.ContainsFunc(c.Redirects, func(u string) bool { return len(u) > maxParameter }):
		return fault.New(fault.TooLarge, "a client has at most %d redirect_uris of %d bytes", maxRedirects, maxParameter)
	}
	return nil
}

// maxRedirects bounds the addresses of one client.
const maxRedirects = 100

// check finds what a client names and what is not there.
func (c *client) check(ctx context.Context, r barrier.Reader) error {
	k, err := engine.Found[signingKey](ctx, r, keyPath(c.Key))
	if err != nil {
		return err
	}
	switch {
	case k == nil:
		return fault.New(fault.Invalid, "key %q does not exist", c.Key)
	case c.TokenTTL > k.Verify:
		return fault.New(fault.Invalid, "a client's id_token_ttl cannot be greater than the verification_ttl of the key it references")
	}
	for _, name := range c.Assignments {
		a, err := foundAssignment(ctx, r, name)
		if err != nil {
			return err
		}
		if a == nil {
			return fault.New(fault.Invalid, "assignment %q does not exist", name)
		}
	}
	return nil
}

func (e *Engine) deleteClient(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	return nil, e.o.Space.Update(ctx, func(w barrier.Writer) error {
		c, err := engine.Found[client](ctx, w, clientPath(v["name"]))
		if err != nil || c == nil {
			return err
		}
		if err := w.Delete(ctx, clientIDPath(c.ID)); err != nil {
			return err
		}
		return w.Delete(ctx, clientPath(c.Name))
	})
}

// foundClient reads a client by its id; nil where there is none.
func foundClient(ctx context.Context, r barrier.Reader, id string) (*client, error) {
	if id == "" || len(id) > 2*clientIDChars {
		return nil, nil
	}
	name, err := engine.Found[string](ctx, r, clientIDPath(id))
	if err != nil || name == nil {
		return nil, err
	}
	return engine.Found[client](ctx, r, clientPath(*name))
}

const letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// randomChars are n letters and digits nobody can guess, all equally likely.
func randomChars(n int) string {
	out, buf := make([]byte, 0, n), make([]byte, n)
	for len(out) < n {
		_, _ = rand.Read(buf) // never fails: see crypto/rand
		for _, b := range buf {
			if b < 248 && len(out) < n { // 248 = 4 * 62
				out = append(out, letters[b%62])
			}
		}
	}
	return string(out)
}
