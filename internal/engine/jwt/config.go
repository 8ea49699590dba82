// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package jwt

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/fetch"
)

// config says whose tokens are believed. Exactly one of DiscoveryURL, JWKSURL and
// Keys is set.
type config struct {
	DiscoveryURL  string          `json:"discoveryURL,omitempty"`
	DiscoveryCA   string          `json:"discoveryCA,omitempty"` // PEM; "": the system's
	ClientID      string          `json:"clientID,omitempty"`
	ClientSecret  string          `json:"clientSecret,omitempty"` // never shown
	ResponseMode  string          `json:"responseMode,omitempty"` // "", "query" or "form_post"
	ResponseTypes []string        `json:"responseTypes,omitempty"`
	JWKSURL       string          `json:"jwksURL,omitempty"`
	JWKSCA        string          `json:"jwksCA,omitempty"`
	Keys          []string        `json:"keys,omitempty"` // PEM
	Algs          []string        `json:"algs,omitempty"` // none: all that can be used
	Issuer        string          `json:"issuer,omitempty"`
	DefaultRole   string          `json:"defaultRole,omitempty"`
	Special       json.RawMessage `json:"special,omitempty"` // provider_config, as it was sent
	NamespaceIn   bool            `json:"namespaceIn"`
}

const configFields = "oidc_discovery_url oidc_discovery_ca_pem oidc_client_id oidc_client_secret oidc_response_mode oidc_response_types:list" +
	" jwks_url jwks_ca_pem jwt_validation_pubkeys:list jwt_supported_algs:list bound_issuer default_role provider_config:map" +
	" namespace_in_state:bool skip_jwks_validation:bool"

const (
	wellKnown = ".well-known/openid-configuration"
	formPost  = "form_post"
)

func readConfig(f *engine.Fields) (c *config, warnings []string, err error) {
	c = &config{
		DiscoveryURL: f.Text("oidc_discovery_url"), DiscoveryCA: f.Text("oidc_discovery_ca_pem"),
		ClientID: f.Text("oidc_client_id"), ClientSecret: f.Text("oidc_client_secret"),
		ResponseMode: f.Text("oidc_response_mode"), ResponseTypes: f.List("oidc_response_types"),
		JWKSURL: f.Text("jwks_url"), JWKSCA: f.Text("jwks_ca_pem"), Keys: keyList(f), Algs: f.List("jwt_supported_algs"),
		Issuer: f.Text("bound_issuer"), DefaultRole: strings.ToLower(f.Text("default_role")), NamespaceIn: f.Bool("namespace_in_state", true),
	}
	if f.Has("provider_config") {
		if err := checkSpecial(f); err != nil {
			return nil, nil, err
		}
		c.Special = f.Raw("provider_config")
	}
	if f.Err() != nil {
		return nil, nil, f.Err()
	}
	if base, cut := strings.CutSuffix(c.DiscoveryURL, wellKnown); cut {
		c.DiscoveryURL = base
		warnings = append(warnings, "oidc_discovery_url was taken without its "+wellKnown)
	}
	warnings = append(warnings, inClear(c)...)
	return c, warnings, c.check()
}

// keyList is the list of keys, which one text may hold as well: PEM has no commas.
func keyList(f *engine.Fields) (keys []string) {
	for _, text := range f.List("jwt_validation_pubkeys") {
		if text = strings.TrimSpace(text); text != "" {
			keys = append(keys, text)
		}
	}
	return keys
}

// checkSpecial refuses what a provider_config asks for and this server does not do.
func checkSpecial(f *engine.Fields) error {
	kind := f.Object("provider_config").Text("provider")
	if f.Err() == nil && kind != "" && kind != "azure" {
		return fault.New(fault.Invalid, "invalid provider_config: provider %q is not offered", kind).
			WithHint("groups and claims are read from the token and the provider's userinfo; leave provider_config out")
	}
	return f.Err()
}

// inClear warns of URLs on which anybody on the way can put keys of their own.
func inClear(c *config) (warnings []string) {
	for _, text := range []string{c.DiscoveryURL, c.JWKSURL} {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "http" {
			continue
		}
		if ip := net.ParseIP(u.Hostname()); u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
			warnings = append(warnings, "the provider is asked without TLS: anybody on the way can forge logins")
		}
	}
	return warnings
}

func (c *config) check() error {
	sources := 0
	for _, set := range []bool{c.DiscoveryURL != "", c.JWKSURL != "", len(c.Keys) > 0} {
		if set {
			sources++
		}
	}
	switch {
	case sources != 1:
		return fault.New(fault.Invalid, "exactly one of 'jwt_validation_pubkeys', 'jwks_url' or 'oidc_discovery_url' must be set")
	case (c.ClientID == "") != (c.ClientSecret == ""):
		return fault.New(fault.Invalid, "both 'oidc_client_id' and 'oidc_client_secret' must be set for OIDC")
	case c.ClientID != "" && c.DiscoveryURL == "":
		return fault.New(fault.Invalid, "'oidc_discovery_url' must be set for OIDC")
	case c.ResponseMode != "" && c.ResponseMode != "query" && c.ResponseMode != formPost:
		return fault.New(fault.Invalid, "invalid response_mode: %q", c.ResponseMode)
	}
	for _, kind := range c.ResponseTypes {
		if kind != "code" {
			return fault.New(fault.Invalid, "invalid response_types: only \"code\" is offered").WithHint("the implicit flow hands tokens through the browser; use the code flow")
		}
	}
	for _, alg := range c.Algs {
		if !slices.Contains(asymmetric, signature(alg)) {
			return fault.New(fault.Invalid, "invalid jwt_supported_algs: unsupported signing algorithm %q", alg)
		}
	}
	for _, text := range []string{c.DiscoveryURL, c.JWKSURL} {
		if text == "" {
			continue
		}
		if err := fetch.CheckURL(text); err != nil {
			return err
		}
	}
	return nil
}

// flow reports whether people can log in with their browser.
func (c *config) flow() bool { return c.ClientID != "" }

func (e *Engine) putConfig(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	skip := f.Bool("skip_jwks_validation", false)
	c, warnings, err := readConfig(f)
	if err != nil {
		return nil, err
	}
	p, err := newProvider(c)
	if err != nil {
		return nil, err
	}
	if _, err := p.keysFor(ctx, "", req.Now); err != nil && (c.DiscoveryURL == "" || !errors.Is(err, errNoKeys)) {
		what := "error checking jwks URL"
		if c.DiscoveryURL != "" {
			what = "error checking oidc discovery URL"
		}
		if !skip {
			return nil, fault.New(fault.Invalid, "%s: %w", what, err)
		}
		warnings = append(warnings, what)
	}
	err = e.Space.Update(ctx, func(w barrier.Writer) error {
		return w.Put(ctx, barrier.Entry{Path: "config", Value: engine.Stored(c)})
	})
	if err == nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.current, e.stamp = p, stampOf(c)
	}
	if err != nil || len(warnings) == 0 {
		return nil, err
	}
	return &engine.Response{Warnings: warnings}, nil
}

// stampOf tells one configuration from another.
func stampOf(c *config) [sha256.Size]byte { return sha256.Sum256(engine.Stored(c)) }

func (e *Engine) showConfig(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	c, err := engine.Look[config](ctx, e.Space, "config")
	if err != nil || c == nil {
		return nil, err
	}
	resp := &engine.Response{}
	special := c.Special
	if special == nil {
		special = json.RawMessage("{}")
	}
	data := map[string]any{
		"oidc_discovery_url": c.DiscoveryURL, "oidc_discovery_ca_pem": c.DiscoveryCA, "oidc_client_id": c.ClientID,
		"oidc_response_mode": c.ResponseMode, "oidc_response_types": some(c.ResponseTypes), "jwks_url": c.JWKSURL, "jwks_ca_pem": c.JWKSCA,
		"jwt_validation_pubkeys": some(c.Keys), "jwt_supported_algs": some(c.Algs), "bound_issuer": c.Issuer, "default_role": c.DefaultRole,
		"provider_config": special, "namespace_in_state": c.NamespaceIn, "status": "valid",
	}
	p, err := e.provider(ctx)
	if err == nil {
		_, err = p.keysFor(ctx, "", req.Now)
	}
	if err != nil {
		data["status"] = "invalid"
		resp.Warnings = []string{"the provider's keys cannot be had now: " + fault.Public(err)}
	}
	resp.Data = data
	return resp, nil
}

func some(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
