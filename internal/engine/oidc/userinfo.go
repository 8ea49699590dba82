// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/entity"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// What an access token keeps: the provider and the client it was given to, and what
// for.
const (
	accessProvider = "oidc_provider"
	accessClient   = "oidc_client"
	accessScopes   = "oidc_scopes"
)

// userinfo says who an access token is about (OpenID Connect Core 1.0, 5.3).
func (e *Engine) userinfo(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	who, client, scopes, err := e.bearer(ctx, req, v["name"])
	if fault.Is(err, fault.Denied) {
		return denied("permission denied"), nil
	}
	if err != nil {
		return nil, err
	}
	said, no, err := e.told(ctx, req, asker{v["name"], client, scopes}, who)
	if err != nil {
		return nil, err
	}
	if no != nil {
		status := no.Status
		if no.Code == "access_denied" { // here it is about the client
			status = http.StatusForbidden
		}
		return &engine.Response{Status: status, Bare: true, Data: no}, nil
	}
	if said["sub"], err = json.Marshal(who.Entity.ID); err != nil {
		return nil, err
	}
	return &engine.Response{Bare: true, Data: said}, nil
}

// asker is what an access token was given for.
type asker struct {
	provider, client string
	scopes           []string
}

// told are the claims an asker may know now: its provider, its client and the
// client's assignments may have changed since.
func (e *Engine) told(ctx context.Context, req *engine.Request, by asker, who *entity.Identity) (said claimSet, no *refusal, err error) {
	err = e.o.Space.View(ctx, func(r barrier.Reader) error {
		said, no = nil, nil
		p, err := foundProvider(ctx, r, by.provider)
		if err != nil {
			return err
		}
		c, err := foundClient(ctx, r, by.client)
		if err != nil {
			return err
		}
		if no = unwelcome(p, c); no != nil {
			return nil
		}
		if no, err = assigned(ctx, r, c, who); err != nil || no != nil {
			return err
		}
		still := slices.DeleteFunc(slices.Clone(by.scopes), func(name string) bool { return !slices.Contains(p.Scopes, name) })
		conflict := ""
		if said, conflict, err = claimsOf(ctx, r, still, who, req.Now); err == nil && conflict != "" {
			no = refuse("invalid_request", "found scopes with conflicting top-level keys: "+conflict)
		}
		return err
	})
	return said, no, err
}

func unwelcome(p *provider, c *client) *refusal {
	switch {
	case p == nil:
		return refuse("invalid_request", "provider not found")
	case c == nil:
		return refuse("access_denied", "client not found")
	case !p.admits(c.ID):
		return refuse("access_denied", "client is not authorized to use the provider")
	}
	return nil
}

func denied(why string) *engine.Response {
	return &engine.Response{
		Status: http.StatusUnauthorized, Bare: true, Data: refuse("invalid_token", why),
		Header: map[string]string{"WWW-Authenticate": `Bearer error="invalid_token",error_description="` + why + `"`},
	}
}

// bearer says whom an access token of a provider is about, which client has it and
// what for. Every other token is fault.Denied.
func (e *Engine) bearer(ctx context.Context, req *engine.Request, name string) (who *entity.Identity, client string, scopes []string, err error) {
	if req.Token == "" {
		return nil, "", nil, fault.New(fault.Denied, "permission denied")
	}
	info, err := e.o.Tokens.Info(ctx, req.Token)
	if err != nil {
		return nil, "", nil, err
	}
	if !info.Alone || info.Private[accessProvider] != name || info.Refused() || info.Identity == nil {
		return nil, "", nil, fault.New(fault.Denied, "permission denied")
	}
	return info.Identity, info.Private[accessClient], strings.Fields(info.Private[accessScopes]), nil
}
