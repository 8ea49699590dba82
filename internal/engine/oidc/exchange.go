// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/entity"
)

// redeeming is a token request (RFC 6749, 4.1.3).
type redeeming struct {
	clientID, secret, code, kind, redirect, verifier string
}

// read takes the client's name and secret from a Basic authorization, where there
// is one, else from the fields.
func (x *redeeming) read(req *engine.Request) error {
	f := engine.Read(req)
	for name, to := range map[string]*string{
		"client_id": &x.clientID, "client_secret": &x.secret, "code": &x.code, "grant_type": &x.kind, "redirect_uri": &x.redirect, "code_verifier": &x.verifier,
	} {
		*to = f.Text(name)
	}
	if req.Basic != nil {
		x.clientID, x.secret = req.Basic.Name, req.Basic.Secret
	}
	return f.Err()
}

// exchange gives a client the tokens its code stands for.
func (e *Engine) exchange(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	var x redeeming
	if err := x.read(req); err != nil {
		return nil, err
	}
	data, no, err := e.redeem(ctx, req, v["name"], &x)
	if err != nil {
		return nil, err
	}
	resp := &engine.Response{Data: data, Bare: true, Header: map[string]string{"Cache-Control": "no-store", "Pragma": "no-cache"}}
	if no != nil {
		resp.Data, resp.Status = no, no.Status
		if no.Code == "invalid_client" {
			resp.Header["WWW-Authenticate"] = "Basic"
		}
	}
	return resp, nil
}

// party is who a token request comes from, and by what its tokens are signed.
type party struct {
	provider *provider
	client   *client
	key      *signingKey
}

func (e *Engine) redeem(ctx context.Context, req *engine.Request, name string, x *redeeming) (map[string]any, *refusal, error) {
	by, no, err := e.known(ctx, name, x)
	if no != nil || err != nil {
		return nil, no, err
	}
	if no = x.wrong(); no != nil {
		return nil, no, nil
	}
	g, err := e.takeGrant(ctx, x.code, req.Now)
	if err != nil {
		return nil, nil, err
	}
	if no = x.against(g, by); no != nil {
		return nil, no, nil
	}
	who, err := e.o.Entities.Find(ctx, entity.Key{ID: g.Entity})
	if err != nil {
		return nil, nil, err
	}
	if no, err = e.stillAssigned(ctx, by.client, who); no != nil || err != nil {
		return nil, no, err
	}
	return e.hand(ctx, req, by, g, who)
}

// known authenticates the client. Whether there is no such client or its secret is
// wrong is not told.
func (e *Engine) known(ctx context.Context, name string, x *redeeming) (by party, no *refusal, err error) {
	err = e.o.Space.View(ctx, func(r barrier.Reader) (err error) {
		if by.provider, err = foundProvider(ctx, r, name); err != nil {
			return err
		}
		if by.client, err = foundClient(ctx, r, x.clientID); err != nil || by.client == nil {
			return err
		}
		by.key, err = engine.Found[signingKey](ctx, r, keyPath(by.client.Key))
		return err
	})
	if err != nil {
		return by, nil, err
	}
	switch c := by.client; {
	case by.provider == nil:
		no = refuse("invalid_request", "provider not found")
	case x.clientID == "":
		no = refuse("invalid_request", "client_id parameter is required")
	case c == nil || c.Kind == confidential && !same(x.secret, c.Secret):
		no = refuse("invalid_client", "client failed to authenticate")
	case !by.provider.admits(c.ID):
		no = refuse("invalid_client", "client is not authorized to use the provider")
	case by.key == nil:
		no = refuse("server_error", "client key not found")
	case !slices.Contains(by.key.Clients, "*") && !slices.Contains(by.key.Clients, c.ID):
		no = refuse("invalid_client", "client is not authorized to use the key")
	}
	return by, no, nil
}

// same compares secrets in a time that does not depend on them.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return a != "" && subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

func (x *redeeming) wrong() *refusal {
	switch {
	case x.kind == "":
		return refuse("invalid_request", "grant_type parameter is required")
	case x.kind != "authorization_code":
		return refuse("unsupported_grant_type", "unsupported grant_type value")
	case x.code == "":
		return refuse("invalid_request", "code parameter is required")
	}
	return nil
}

// against compares a request with what its code was given for. The code is spent by
// then, whatever comes of it.
func (x *redeeming) against(g *grant, by party) *refusal {
	switch {
	case g == nil:
		return refuse("invalid_grant", "authorization grant is invalid or expired")
	case g.Client != by.client.ID:
		return refuse("invalid_grant", "authorization code was not issued to the client")
	case g.Provider != by.provider.Name:
		return refuse("invalid_grant", "authorization code was not issued by the provider")
	case x.redirect == "":
		return refuse("invalid_request", "redirect_uri parameter is required")
	case g.Redirect != x.redirect:
		return refuse("invalid_grant", "redirect_uri does not match the redirect_uri used in the authorization request")
	case g.Challenge == "" && x.verifier != "":
		return refuse("invalid_request", "unexpected code_verifier for token exchange")
	case g.Challenge != "" && x.verifier == "":
		return refuse("invalid_request", "expected code_verifier for token exchange")
	case g.Challenge != "" && !g.proved(x.verifier):
		return refuse("invalid_grant", "invalid code_verifier for token exchange")
	}
	return nil
}

// proved reports whether a verifier is that of the challenge (RFC 7636, 4.6).
func (g *grant) proved(verifier string) bool {
	if g.Method == "S256" {
		sum := sha256.Sum256([]byte(verifier))
		verifier = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	return same(verifier, g.Challenge)
}

// stillAssigned looks again: who a code is about may have gone since.
func (e *Engine) stillAssigned(ctx context.Context, c *client, who *entity.Identity) (no *refusal, err error) {
	if who == nil || who.Entity.Disabled {
		return refuse("invalid_request", "identity entity associated with request not found"), nil
	}
	err = e.o.Space.View(ctx, func(r barrier.Reader) (err error) {
		no, err = assigned(ctx, r, c, who)
		return err
	})
	if no != nil {
		no = refuse("invalid_request", no.Description)
	}
	return no, err
}

// hand makes the tokens.
func (e *Engine) hand(ctx context.Context, req *engine.Request, by party, g *grant, who *entity.Identity) (map[string]any, *refusal, error) {
	body, no, err := e.bodyOf(ctx, req, by, g, who)
	if no != nil || err != nil {
		return nil, no, err
	}
	if by.key, err = e.turnDue(ctx, by.key, req.Now); err != nil {
		return nil, nil, err
	}
	access, err := e.o.Tokens.Create(ctx, auth.NewToken{
		Type: "batch", TTL: max(by.client.AccessTTL, time.Second), EntityID: who.Entity.ID, Alone: true, NoDefault: true,
		Path: "oidc/provider/" + by.provider.Name + "/token", Meta: map[string]string{"oidc_token_type": "access token"},
		Private: map[string]string{accessProvider: by.provider.Name, accessClient: by.client.ID, accessScopes: strings.Join(g.Scopes, " ")},
	})
	if err != nil {
		return nil, nil, err
	}
	for name, value := range map[string]string{
		"at_hash": halfHash(by.key.Algorithm, access.Token), "c_hash": halfHash(by.key.Algorithm, codeOf(req)),
	} {
		body[name], _ = json.Marshal(value) // texts always marshal
	}
	token, err := signed(by.key, body)
	if err != nil {
		return nil, nil, err
	}
	return map[string]any{"token_type": "Bearer", "access_token": access.Token, "id_token": token, "expires_in": int64(access.TTL / time.Second)}, nil, nil
}

// codeOf is the code of a request, as it was sent.
func codeOf(req *engine.Request) string { return engine.Read(req).Text("code") }

// bodyOf are the claims of an ID token (OpenID Connect Core 1.0, section 2).
func (e *Engine) bodyOf(ctx context.Context, req *engine.Request, by party, g *grant, who *entity.Identity) (body claimSet, no *refusal, err error) {
	conflict := ""
	err = e.o.Space.View(ctx, func(r barrier.Reader) (err error) {
		body, conflict, err = claimsOf(ctx, r, g.Scopes, who, req.Now)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	if conflict != "" {
		return nil, refuse("invalid_request", "found scopes with conflicting top-level keys: "+conflict), nil
	}
	values := map[string]any{
		"iss": e.issuer(by.provider), "sub": who.Entity.ID, "aud": by.client.ID, "namespace": "root",
		"iat": req.Now.Unix(), "exp": req.Now.Add(min(by.client.TokenTTL, by.key.Verify)).Unix(),
	}
	if g.Nonce != "" {
		values["nonce"] = g.Nonce
	}
	if !g.LoggedIn.IsZero() {
		values["auth_time"] = g.LoggedIn.Unix()
	}
	for name, value := range values {
		if body[name], err = json.Marshal(value); err != nil {
			return nil, nil, err
		}
	}
	return body, nil, nil
}

// halfHash is the left half of the hash that goes with a signature's algorithm
// (OpenID Connect Core 1.0, 3.1.3.6).
func halfHash(algorithm, text string) string {
	var sum []byte
	switch {
	case strings.HasSuffix(algorithm, "256"):
		h := sha256.Sum256([]byte(text))
		sum = h[:]
	case strings.HasSuffix(algorithm, "384"):
		h := sha512.Sum384([]byte(text))
		sum = h[:]
	default:
		h := sha512.Sum512([]byte(text))
		sum = h[:]
	}
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}
