// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/entity"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// provider is an OpenID Connect provider: clients find it by its own address, and
// people log in to them with their tokens.
type provider struct {
	Name    string   `json:"name"`
	Issuer  string   `json:"issuer,omitempty"` // scheme and host; "": that of the server
	Clients []string `json:"clients,omitempty"`
	Scopes  []string `json:"scopes,omitempty"`
}

// defaultProvider and defaultKey are there from the start.
const (
	defaultProvider = "default"
	defaultKey      = "default"
)

func providerPath(name string) string { return "provider/" + hex.EncodeToString([]byte(name)) }

func (e *Engine) providerRoutes() []engine.Route {
	return []engine.Route{
		{Path: "oidc/provider", Help: "The OpenID Connect providers.", Takes: "allowed_client_id", Ops: engine.Ops{List: e.listProviders}},
		{Path: "oidc/provider/{name}", Help: "An OpenID Connect provider.", Takes: "issuer allowed_client_ids:list scopes_supported:list", Ops: engine.Ops{Read: e.readProvider, Write: e.putProvider, Delete: e.deleteProvider}},
		{Path: "oidc/provider/{name}/.well-known/openid-configuration", Help: "What clients need to know of a provider.", Ops: engine.Ops{Read: e.describe}},
		{Path: "oidc/provider/{name}/.well-known/keys", Help: "The public keys a provider's ID tokens are checked with.", Ops: engine.Ops{Read: e.providerKeys}},
		{
			Path: "oidc/provider/{name}/authorize", Help: "Let a client know who asks: gives a code the client can use once.",
			Takes: "client_id scope redirect_uri response_type state nonce max_age:int code_challenge code_challenge_method request request_uri display prompt ui_locales id_token_hint login_hint acr_values response_mode claims",
			Ops:   engine.Ops{Read: e.authorize, Write: e.authorize},
		},
		{Path: "oidc/provider/{name}/token", Help: "Exchange a code for an ID token and an access token.", Takes: "code grant_type redirect_uri client_id client_secret code_verifier", Ops: engine.Ops{Write: e.exchange}},
		{Path: "oidc/provider/{name}/userinfo", Help: "Who an access token is about.", Ops: engine.Ops{Read: e.userinfo, Write: e.userinfo}},
	}
}

// foundProvider reads a provider; the default one is always there.
func foundProvider(ctx context.Context, r barrier.Reader, name string) (*provider, error) {
	p, err := engine.Found[provider](ctx, r, providerPath(name))
	if err == nil && p == nil && name == defaultProvider {
		p = &provider{Name: defaultProvider, Clients: []string{"*"}}
	}
	return p, err
}

func (e *Engine) provider(ctx context.Context, name string) (p *provider, err error) {
	err = e.o.Space.View(ctx, func(r barrier.Reader) (err error) {
		p, err = foundProvider(ctx, r, name)
		return err
	})
	return p, err
}

// admits reports whether a client may use the provider.
func (p *provider) admits(clientID string) bool {
	return slices.Contains(p.Clients, "*") || slices.Contains(p.Clients, clientID)
}

// base is the address of the server as the provider's clients know it.
func (e *Engine) base(p *provider) string {
	if p.Issuer != "" {
		return p.Issuer
	}
	return e.o.Address()
}

func (e *Engine) issuer(p *provider) string {
	return e.base(p) + "/v1/identity/oidc/provider/" + p.Name
}

func (e *Engine) aboutProvider(p *provider) map[string]any {
	return map[string]any{"issuer": e.issuer(p), "allowed_client_ids": orEmpty(p.Clients), "scopes_supported": orEmpty(p.Scopes)}
}

func (e *Engine) readProvider(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	p, err := e.provider(ctx, v["name"])
	if err != nil || p == nil {
		return nil, err
	}
	return &engine.Response{Data: e.aboutProvider(p)}, nil
}

// listProviders lists all, or those one client may use.
func (e *Engine) listProviders(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	only := f.Text("allowed_client_id")
	if f.Err() != nil {
		return nil, f.Err()
	}
	info := map[string]any{}
	err := e.o.Space.View(ctx, func(r barrier.Reader) error {
		clear(info)
		note := func(p *provider) bool {
			if only == "" || p.admits(only) {
				info[p.Name] = e.aboutProvider(p)
			}
			return false
		}
		first, err := foundProvider(ctx, r, defaultProvider)
		if err != nil {
			return err
		}
		note(first)
		_, err = using(ctx, r, "provider", note)
		return err
	})
	if err != nil {
		return nil, err
	}
	return list(slices.Collect(maps.Keys(info)), info)
}

func (e *Engine) putProvider(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	if err := checkName(v["name"]); err != nil {
		return nil, err
	}
	f := engine.Read(req)
	var warnings []string
	err := e.o.Space.Update(ctx, func(w barrier.Writer) error {
		p, err := foundProvider(ctx, w, v["name"])
		if err != nil {
			return err
		}
		if p == nil {
			p = &provider{Name: v["name"]}
		}
		if warnings, err = p.take(f); err != nil {
			return err
		}
		conflict, err := p.checkScopes(ctx, w)
		if err != nil {
			return err
		}
		if conflict != "" {
			warnings = append(warnings, "Found scope templates with conflicting top-level keys: "+conflict+". This may result in an error if the scopes are requested in an OIDC Authentication Request.")
		}
		return w.Put(ctx, barrier.Entry{Path: providerPath(p.Name), Value: engine.Stored(p)})
	})
	if err != nil || len(warnings) == 0 {
		return nil, err
	}
	return &engine.Response{Warnings: warnings}, nil
}

// take changes a provider where the request says something.
func (p *provider) take(f *engine.Fields) (warnings []string, err error) {
	if f.Has("issuer") {
		p.Issuer = f.Text("issuer")
		if !plainIssuer(p.Issuer) {
			return nil, errIssuer()
		}
	}
	if p.Issuer != "" {
		warnings = append(warnings, `If "issuer" is set explicitly, all tokens must be validated against that address, including those issued by secondary clusters. Setting issuer to "" will restore the default behavior of using the cluster's api_addr as the issuer.`)
	}
	if f.Has("allowed_client_ids") {
		p.Clients = unique(f.List("allowed_client_ids"))
	}
	if f.Has("scopes_supported") {
		p.Scopes = unique(f.List("scopes_supported"))
	}
	return warnings, f.Err()
}

func unique(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

// checkScopes refuses scopes there are not, and says which two would set one claim.
func (p *provider) checkScopes(ctx context.Context, r barrier.Reader) (conflict string, err error) {
	nobody := &entity.Identity{Entity: &entity.Entity{}}
	_, conflict, err = claimsOf(ctx, r, p.Scopes, nobody, time.Time{})
	return conflict, err
}

// claimsOf are the claims of scopes for somebody. A scope that is not there is
// fault.Invalid. conflict says which two would set the same claim; "": none.
func claimsOf(ctx context.Context, r barrier.Reader, scopes []string, who *entity.Identity, now time.Time) (all claimSet, conflict string, err error) {
	all = claimSet{}
	from := map[string]string{}
	for _, name := range scopes {
		s, err := engine.Found[scope](ctx, r, scopePath(name))
		if err != nil {
			return nil, "", err
		}
		if s == nil {
			return nil, "", fault.New(fault.Invalid, "scope %q does not exist", name)
		}
		said, err := s.claims(who, now)
		if err != nil {
			return nil, "", err
		}
		for key, value := range said {
			if other, twice := from[key]; twice {
				conflict = fmt.Sprintf("conflict %q in scopes %q, %q", key, name, other)
			}
			from[key], all[key] = name, value
		}
	}
	return all, conflict, nil
}

func (e *Engine) deleteProvider(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	if v["name"] == defaultProvider {
		return nil, fault.New(fault.Invalid, "deletion of OIDC provider %q not allowed", defaultProvider)
	}
	return nil, e.o.Space.Update(ctx, func(w barrier.Writer) error { return w.Delete(ctx, providerPath(v["name"])) })
}

// describe is the document of OpenID Connect Discovery 1.0.
func (e *Engine) describe(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	p, err := e.provider(ctx, v["name"])
	if err != nil || p == nil {
		return nil, err
	}
	at := e.issuer(p)
	return cached(map[string]any{
		"issuer": at, "jwks_uri": at + "/.well-known/keys", "token_endpoint": at + "/token", "userinfo_endpoint": at + "/userinfo",
		"authorization_endpoint":      strings.Replace(at, "/v1/", "/ui/vault/", 1) + "/authorize",
		"request_parameter_supported": false, "request_uri_parameter_supported": false,
		"id_token_signing_alg_values_supported": algorithms, "response_types_supported": []string{"code"},
		"scopes_supported": append(slices.Clone(orEmpty(p.Scopes)), openID), "claims_supported": []string{}, "subject_types_supported": []string{"public"},
		"grant_types_supported":                 []string{"authorization_code"},
		"token_endpoint_auth_methods_supported": []string{"none", "client_secret_basic", "client_secret_post"},
		"code_challenge_methods_supported":      []string{"plain", "S256"},
	}, "max-age=3600")
}

// providerKeys are the public keys of the clients that may use a provider.
func (e *Engine) providerKeys(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	var p *provider
	err := e.o.Space.View(ctx, func(r barrier.Reader) (err error) {
		set.Keys = set.Keys[:0]
		if p, err = foundProvider(ctx, r, v["name"]); err != nil || p == nil {
			return err
		}
		used := map[string]bool{}
		if _, err := using(ctx, r, "client", func(c *client) bool { used[c.Key] = used[c.Key] || p.admits(c.ID); return false }); err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(used)) {
			k, err := engine.Found[signingKey](ctx, r, keyPath(name))
			if err != nil {
				return err
			}
			if k != nil && used[name] {
				set.Keys = append(set.Keys, k.public(req.Now)...)
			}
		}
		return nil
	})
	if err != nil || p == nil {
		return nil, err
	}
	return cached(set, "no-store")
}
