// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/entity"
)

// Limits of authorization codes.
const (
	codeLife     = 5 * time.Minute
	codeChars    = 32
	sweptCodes   = 20   // how many old ones go when a new one is kept
	maxParameter = 4096 // bytes of what a client sends
)

// grant is what a client gets for an authorization code. It is kept under the
// code's hash, until the code is used or codeLife has passed.
type grant struct {
	Provider  string    `json:"provider"`
	Client    string    `json:"client"`
	Entity    string    `json:"entity"`
	Redirect  string    `json:"redirect"`
	Nonce     string    `json:"nonce,omitempty"`
	Scopes    []string  `json:"scopes,omitempty"`
	Challenge string    `json:"challenge,omitempty"` // of PKCE
	Method    string    `json:"method,omitempty"`
	LoggedIn  time.Time `json:"logged_in"` // zero: nobody asked
}

func codePath(code string) string {
	sum := sha256.Sum256([]byte(code))
	return "code/" + hex.EncodeToString(sum[:])
}

// refusal is an error answer of OAuth 2.0 and OpenID Connect.
type refusal struct {
	Status      int    `json:"-"`
	Code        string `json:"error"`
	Description string `json:"error_description"`
}

func refuse(code, description string) *refusal {
	status := http.StatusBadRequest
	switch code {
	case "invalid_client", "invalid_token":
		status = http.StatusUnauthorized
	case "server_error":
		status = http.StatusInternalServerError
	}
	return &refusal{Status: status, Code: code, Description: description}
}

// asking is an authentication request (OpenID Connect Core 1.0, 3.1.2.1).
type asking struct {
	clientID, scope, redirect, kind, state, nonce string
	request, requestURI, challenge, method        string
	maxAge                                        int
	aged                                          bool // max_age was sent
}

func (a *asking) read(f *engine.Fields) error {
	for name, to := range map[string]*string{
		"client_id": &a.clientID, "scope": &a.scope, "redirect_uri": &a.redirect, "response_type": &a.kind, "state": &a.state, "nonce": &a.nonce,
		"request": &a.request, "request_uri": &a.requestURI, "code_challenge": &a.challenge, "code_challenge_method": &a.method,
	} {
		*to = f.Text(name)
	}
	a.aged, a.maxAge = f.Has("max_age"), f.Int("max_age", 0)
	if a.method == "" {
		a.method = "plain"
	}
	return f.Err()
}

// authorize makes a code for a client, about whoever asks.
func (e *Engine) authorize(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	var a asking
	if err := a.read(engine.Read(req)); err != nil {
		return nil, err
	}
	g, no, err := e.judge(ctx, req, v["name"], &a)
	if err != nil {
		return nil, err
	}
	if no != nil {
		return &engine.Response{Status: no.Status, Bare: true, Data: map[string]string{"error": no.Code, "error_description": no.Description, "state": a.state}}, nil
	}
	code, err := e.keepGrant(ctx, g, req.Now)
	if err != nil {
		return nil, err
	}
	return &engine.Response{Bare: true, Data: map[string]string{"code": code, "state": a.state}}, nil
}

// judge says what a request may be given, or why it is refused. What it reads is of
// one point in time.
func (e *Engine) judge(ctx context.Context, req *engine.Request, name string, a *asking) (g *grant, no *refusal, err error) {
	who := req.Subject.Identity
	err = e.o.Space.View(ctx, func(r barrier.Reader) error {
		g, no = nil, nil
		p, err := foundProvider(ctx, r, name)
		if err != nil {
			return err
		}
		c, err := foundClient(ctx, r, a.clientID)
		if err != nil {
			return err
		}
		if no = a.wrong(p, c); no != nil {
			return nil
		}
		if no, err = assigned(ctx, r, c, who); no != nil || err != nil {
			return err
		}
		if no = a.pkce(c); no != nil {
			return nil
		}
		g = &grant{
			Provider: p.Name, Client: c.ID, Entity: who.Entity.ID, Redirect: a.redirect, Nonce: a.nonce, Challenge: a.challenge, Method: a.method,
			Scopes: a.scopes(p),
		}
		return nil
	})
	if err != nil || no != nil || !a.aged {
		return g, no, err
	}
	no, err = e.age(ctx, req, a, g)
	return g, no, err
}

// wrong is what is wrong with a request whoever it comes from.
func (a *asking) wrong(p *provider, c *client) *refusal {
	switch {
	case p == nil:
		return refuse("invalid_request", "provider not found")
	case a.clientID == "":
		return refuse("invalid_client_id", "client_id parameter is required")
	case c == nil:
		return refuse("invalid_client_id", "client with client_id not found")
	case a.redirect == "":
		return refuse("invalid_request", "redirect_uri parameter is required")
	case !engine.RedirectAllowed(a.redirect, c.Redirects):
		return refuse("invalid_redirect_uri", "redirect_uri is not allowed for the client")
	case !p.admits(c.ID):
		return refuse("unauthorized_client", "client is not authorized to use the provider")
	case a.request != "":
		return refuse("request_not_supported", "request parameter is not supported")
	case a.requestURI != "":
		return refuse("request_uri_not_supported", "request_uri parameter is not supported")
	case !slices.Contains(strings.Fields(a.scope), openID):
		return refuse("invalid_request", "scope parameter must contain the \"openid\" value")
	case a.kind == "":
		return refuse("invalid_request", "response_type parameter is required")
	case a.kind != "code":
		return refuse("unsupported_response_type", "unsupported response_type value")
	case slices.ContainsFunc([]string{a.redirect, a.state, a.nonce, a.scope}, func(s string) bool { return len(s) > maxParameter }):
		return refuse("invalid_request", "a parameter is too long")
	}
	return nil
}

// assigned refuses those a client is not meant to know.
func assigned(ctx context.Context, r barrier.Reader, c *client, who *entity.Identity) (*refusal, error) {
	if who == nil || who.Entity == nil {
		return refuse("access_denied", "identity entity must be associated with the request"), nil
	}
	for _, name := range c.Assignments {
		a, err := foundAssignment(ctx, r, name)
		if err != nil {
			return nil, err
		}
		if a != nil && a.takesIn(who) {
			return nil, nil
		}
	}
	return refuse("access_denied", "identity entity not authorized by client assignment"), nil
}

// pkce checks the proof key (RFC 7636); public clients need one.
func (a *asking) pkce(c *client) *refusal {
	switch {
	case a.challenge == "" && c.Kind == public:
		return refuse("invalid_request", "PKCE is required for public clients")
	case a.challenge == "":
		return nil
	case a.method != "plain" && a.method != "S256":
		return refuse("invalid_request", "invalid code_challenge_method")
	case len(a.challenge) < 43 || len(a.challenge) > 128:
		return refuse("invalid_request", "invalid code_challenge")
	}
	return nil
}

// scopes are those asked for that the provider has, each once.
func (a *asking) scopes(p *provider) (scopes []string) {
	for _, name := range strings.Fields(a.scope) {
		if slices.Contains(p.Scopes, name) && !slices.Contains(scopes, name) {
			scopes = append(scopes, name)
		}
	}
	return scopes
}

// age refuses a login that is older than the client wants, and notes when it was.
func (e *Engine) age(ctx context.Context, req *engine.Request, a *asking, g *grant) (*refusal, error) {
	if a.maxAge < 1 {
		return refuse("invalid_request", "max_age must be greater than zero"), nil
	}
	info, err := e.o.Tokens.Info(ctx, req.Token)
	if err != nil {
		return nil, err
	}
	if a.maxAge < int(maxLogin/time.Second) && req.Now.After(info.Issued.Add(time.Duration(a.maxAge)*time.Second)) {
		return refuse("max_age_violation", "active re-authentication is required by max_age"), nil
	}
	g.LoggedIn = info.Issued
	return nil, nil
}

// maxLogin is longer than any login lasts: a max_age beyond asks for nothing.
const maxLogin = 100 * 365 * 24 * time.Hour

// keepGrant keeps a grant and returns the code it is given for.
func (e *Engine) keepGrant(ctx context.Context, g *grant, now time.Time) (code string, err error) {
	code = randomChars(codeChars)
	old, err := e.o.Space.Expired(ctx, now, sweptCodes)
	if err != nil {
		return "", err
	}
	return code, e.o.Space.Update(ctx, func(w barrier.Writer) error {
		if err := engine.Sweep(ctx, w, old, now); err != nil {
			return err
		}
		return w.Put(ctx, barrier.Entry{Path: codePath(code), Value: engine.Stored(g), Expires: now.Add(codeLife)})
	})
}

// takeGrant returns what a code was given for and spends it: of any number of
// callers at once, on any number of servers, one gets it. nil: nobody knows it.
func (e *Engine) takeGrant(ctx context.Context, code string, now time.Time) (g *grant, err error) {
	err = e.o.Space.Update(ctx, func(w barrier.Writer) error {
		g = nil
		entry, err := w.Get(ctx, codePath(code))
		if err != nil || entry == nil || !now.Before(entry.Expires) {
			return err
		}
		if g, err = engine.Found[grant](ctx, w, codePath(code)); err != nil {
			return err
		}
		return w.Delete(ctx, codePath(code))
	})
	return g, err
}
