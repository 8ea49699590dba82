// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/entity"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// issuerConfig is oidc/config.
type issuerConfig struct {
	Issuer string `json:"issuer"`
}

const configPath = "config"

func (e *Engine) tokenRoutes() []engine.Route {
	return []engine.Route{
		{Path: "oidc/config", Help: "Who the issuer of identity tokens is.", Takes: "issuer", Ops: engine.Ops{Read: e.readConfig, Write: e.putConfig}},
		{Path: "oidc/token/{name}", Help: "A signed identity token of whoever asks.", Ops: engine.Ops{Read: e.sign}},
		{Path: "oidc/introspect", Help: "Is an identity token good?", Takes: "token client_id", Ops: engine.Ops{Write: e.introspect}},
		{Path: "oidc/.well-known/openid-configuration", Help: "What others need to check identity tokens.", Ops: engine.Ops{Read: e.discovery}},
		{Path: "oidc/.well-known/keys", Help: "The public keys identity tokens are checked with.", Ops: engine.Ops{Read: e.jwks}},
	}
}

func (e *Engine) config(ctx context.Context) (issuerConfig, error) {
	c, err := engine.Look[issuerConfig](ctx, e.o.Space, configPath)
	if err != nil || c == nil {
		return issuerConfig{}, err
	}
	return *c, nil
}

// effective is the issuer as tokens name it.
func (e *Engine) effective(c issuerConfig) string {
	if c.Issuer == "" {
		c.Issuer = e.o.Address()
	}
	return c.Issuer + "/v1/identity/oidc"
}

// plainIssuer reports whether an issuer is empty, or a scheme and a host.
func plainIssuer(issuer string) bool {
	u, err := url.Parse(issuer)
	return issuer == "" || err == nil && *u == url.URL{Scheme: u.Scheme, Host: u.Host} && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
}

func errIssuer() error {
	return fault.New(fault.Invalid, "invalid issuer, which must include only a scheme, host, and optional port (e.g. https://example.com:8200)")
}

func (e *Engine) readConfig(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	c, err := e.config(ctx)
	if err != nil {
		return nil, err
	}
	r := &engine.Response{Data: c}
	if c.Issuer == "" {
		r.Warnings = []string{`"issuer" is empty. The issuer claim in generated tokens will not be network reachable.`}
	}
	return r, nil
}

func (e *Engine) putConfig(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	c := issuerConfig{Issuer: f.Text("issuer")}
	if f.Err() != nil || !f.Has("issuer") {
		return nil, f.Err()
	}
	if !plainIssuer(c.Issuer) {
		return nil, errIssuer()
	}
	err := e.o.Space.Update(ctx, func(w barrier.Writer) error {
		return w.Put(ctx, barrier.Entry{Path: configPath, Value: engine.Stored(c)})
	})
	if err != nil || c.Issuer == "" {
		return nil, err
	}
	return &engine.Response{Warnings: []string{`If "issuer" is set explicitly, all tokens must be validated against that address.`}}, nil
}

// sign makes an identity token of whoever asks.
func (e *Engine) sign(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	r, err := engine.Look[tokenRole](ctx, e.o.Space, oidcRolePath(v["name"]))
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, fault.New(fault.Invalid, "role %q not found", v["name"])
	}
	k, err := engine.Look[signingKey](ctx, e.o.Space, keyPath(r.Key))
	switch {
	case err != nil:
		return nil, err
	case k == nil:
		return nil, fault.New(fault.Invalid, "key %q not found", r.Key)
	case !slices.Contains(k.Clients, "*") && !slices.Contains(k.Clients, r.Client):
		return nil, fault.New(fault.Invalid, "the key %q does not list the client ID of the role %q as an allowed client ID", r.Key, v["name"])
	case req.Subject.Identity == nil:
		return nil, fault.New(fault.Invalid, "no entity associated with the request's token").WithHint("log in by an auth method")
	}
	if k, err = e.turnDue(ctx, k, req.Now); err != nil {
		return nil, err
	}
	ttl := min(r.TTL, k.Verify)
	body, err := e.body(ctx, req, r, ttl)
	if err != nil {
		return nil, err
	}
	token, err := signed(k, body)
	if err != nil {
		return nil, err
	}
	return &engine.Response{Data: map[string]any{"token": token, "client_id": r.Client, "ttl": int64(ttl / time.Second)}}, nil
}

// signed is a token with these claims, signed by a key.
func signed(k *signingKey, body claimSet) (token string, err error) {
	text, err := json.Marshal(body)
	if err != nil {
		return "", fault.New(fault.Internal, "sign identity token: %w", err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(k.Algorithm), Key: k.Current}, nil)
	if err != nil {
		return "", fault.New(fault.Internal, "sign identity token: %w", err)
	}
	made, err := signer.Sign(text)
	if err == nil {
		token, err = made.CompactSerialize()
	}
	if err != nil {
		return "", fault.New(fault.Internal, "sign identity token: %w", err)
	}
	return token, nil
}

// body is what is signed.
func (e *Engine) body(ctx context.Context, req *engine.Request, r *tokenRole, ttl time.Duration) (claimSet, error) {
	c, err := e.config(ctx)
	if err != nil {
		return nil, err
	}
	all, err := claims(r.Template, req.Subject.Identity, req.Now)
	if err != nil {
		return nil, err
	}
	for name, value := range map[string]any{
		"iss": e.effective(c), "sub": req.Subject.Identity.Entity.ID, "aud": r.Client, "namespace": "root",
		"iat": req.Now.Unix(), "exp": req.Now.Add(ttl).Unix(),
	} {
		if all[name], err = json.Marshal(value); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// maxToken bounds a token that is looked at, in bytes.
const maxToken = 64 << 10

// introspect says whether an identity token is good: {"active": true}, or why not.
func (e *Engine) introspect(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	token, client := f.Text("token"), f.Text("client_id")
	if f.Err() != nil {
		return nil, f.Err()
	}
	why, err := e.wrong(ctx, req, token, client)
	if err != nil {
		return nil, err
	}
	data := map[string]any{"active": why == ""}
	if why != "" {
		data["error"] = why
	}
	return &engine.Response{Data: data, Bare: true}, nil
}

// wrong says what is wrong with a token; "": nothing.
func (e *Engine) wrong(ctx context.Context, req *engine.Request, token, client string) (string, error) {
	if len(token) > maxToken {
		return "malformed token", nil
	}
	var known []jose.SignatureAlgorithm
	for _, a := range algorithms {
		known = append(known, jose.SignatureAlgorithm(a))
	}
	signed, err := jose.ParseSignedCompact(token, known)
	if err != nil || len(signed.Signatures) != 1 {
		return "malformed token", nil
	}
	set, err := e.published(ctx, req.Now)
	if err != nil {
		return "", err
	}
	var body []byte
	for _, key := range set.Key(signed.Signatures[0].Header.KeyID) {
		if key.Algorithm == signed.Signatures[0].Header.Algorithm {
			body, _ = signed.Verify(key)
		}
	}
	var said struct {
		Issuer   string `json:"iss"`
		Subject  string `json:"sub"`
		Audience string `json:"aud"`
		Expires  int64  `json:"exp"`
	}
	if body == nil || json.Unmarshal(body, &said) != nil {
		return "unable to validate the token signature", nil
	}
	c, err := e.config(ctx)
	switch {
	case err != nil:
		return "", err
	case said.Issuer != e.effective(c):
		return "the token is of another issuer", nil
	case req.Now.Unix() >= said.Expires:
		return "the token has expired", nil
	case client != "" && client != said.Audience:
		return "the token is for another client", nil
	}
	who, err := e.o.Entities.Find(ctx, entity.Key{ID: said.Subject})
	if err == nil && (who == nil || who.Entity.Disabled) {
		return "entity was not found or is disabled", nil
	}
	return "", err
}

// discovery is the document of OpenID Connect Discovery 1.0.
func (e *Engine) discovery(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	c, err := e.config(ctx)
	if err != nil {
		return nil, err
	}
	return cached(map[string]any{
		"issuer": e.effective(c), "jwks_uri": e.effective(c) + "/.well-known/keys",
		"id_token_signing_alg_values_supported": algorithms, "response_types_supported": []string{"id_token"},
		"subject_types_supported": []string{"public"},
	}, "max-age=3600")
}

func (e *Engine) jwks(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	set, err := e.published(ctx, req.Now)
	if err != nil {
		return nil, err
	}
	return cached(set, "max-age=60")
}

// cached answers a document itself, with how long others may keep it.
func cached(data any, control string) (*engine.Response, error) {
	text, err := json.Marshal(data)
	return &engine.Response{Raw: text, Header: map[string]string{"Content-Type": "application/json", "Cache-Control": control}}, err
}
