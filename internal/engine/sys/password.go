// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package sys

import (
	"context"
	"crypto/rand"
	"encoding/base64"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/policy"
)

func (e *Engine) passwordRoutes() []engine.Route {
	return []engine.Route{
		{Path: "policies/password", Help: "The rules by which passwords are made.", Ops: engine.Ops{List: e.listPasswords}},
		{
			Path: "policies/password/{name}", Help: "One set of rules, in HCL: a length, and charsets with how many of each.", Takes: "policy",
			Ops: engine.Ops{Read: e.readPassword, Write: e.writePassword, Delete: e.deletePassword},
		},
		{Path: "policies/password/{name}/generate", Help: "A new password by these rules.", Ops: engine.Ops{Read: e.generatePassword}},
	}
}

const passwordDir = "password"

var errNoPassword = fault.New(fault.NotFound, "1 error occurred:\n\t* policy does not exist\n\n")

func (e *Engine) listPasswords(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	var names []string
	err := e.o.Space.View(ctx, func(r barrier.Reader) (err error) {
		names, err = r.List(ctx, passwordDir)
		return err
	})
	return engine.Listing(names, err)
}

// passwordText is the text of a password policy; "" where there is none.
func (e *Engine) passwordText(ctx context.Context, name string) (text string, err error) {
	err = e.o.Space.View(ctx, func(r barrier.Reader) error {
		found, err := r.Get(ctx, passwordDir+"/"+name)
		if err == nil && found != nil {
			text = string(found.Value)
		}
		return err
	})
	return text, err
}

func (e *Engine) readPassword(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	text, err := e.passwordText(ctx, v["name"])
	if err == nil && text == "" {
		err = errNoPassword
	}
	if err != nil {
		return nil, err
	}
	return &engine.Response{Data: map[string]string{"policy": text}}, nil
}

func (e *Engine) writePassword(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	text := f.Text("policy")
	if f.Err() != nil {
		return nil, f.Err()
	}
	if text == "" {
		return nil, fault.New(fault.Invalid, "1 error occurred:\n\t* missing policy\n\n")
	}
	if decoded, err := base64.StdEncoding.DecodeString(text); err == nil {
		text = string(decoded)
	}
	if _, err := policy.ParsePassword(text); err != nil {
		return nil, fault.New(fault.KindOf(err), "1 error occurred:\n\t* %w\n\n", err) // as clients know it
	}
	return nil, e.o.Space.Update(ctx, func(w barrier.Writer) error {
		return w.Put(ctx, barrier.Entry{Path: passwordDir + "/" + v["name"], Value: []byte(text)})
	})
}

func (e *Engine) deletePassword(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	return nil, e.o.Space.Update(ctx, func(w barrier.Writer) error { return w.Delete(ctx, passwordDir+"/"+v["name"]) })
}

func (e *Engine) generatePassword(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	password, err := e.Password(ctx, v["name"])
	if err == nil && password == "" {
		err = errNoPassword
	}
	if err != nil {
		return nil, err
	}
	return &engine.Response{Data: map[string]string{"password": password}}, nil
}

// Password makes a password by the policy of that name; "" where there is none.
func (e *Engine) Password(ctx context.Context, name string) (string, error) {
	text, err := e.passwordText(ctx, name)
	if err != nil || text == "" {
		return "", err
	}
	p, err := policy.ParsePassword(text)
	if err != nil {
		return "", err
	}
	return p.Generate(rand.Reader)
}
