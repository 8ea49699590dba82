// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package jwt

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/fetch"
)

// failed is a login that came to nothing, in the words clients look for.
func failed(format string, args ...any) error {
	return fault.New(fault.Invalid, "Vault login failed. "+format, args...)
}

// authURL begins a login: the answer is where the person's browser has to go. It
// is empty where the browser may not be sent back to where the caller wants.
func (e *Engine) authURL(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	fl := &flow{Redirect: f.Text("redirect_uri"), ClientNonce: f.Text("client_nonce"), From: req.Remote, Nonce: "n_" + rand.Text(), Verifier: oauth2.GenerateVerifier()}
	asked := f.Text("role")
	if f.Err() != nil {
		return nil, f.Err()
	}
	p, err := e.provider(ctx)
	if err != nil {
		return nil, err
	}
	if !p.config.flow() {
		return nil, fault.New(fault.Invalid, "OIDC login is not configured for this mount")
	}
	r, err := e.named(ctx, asked, p.config)
	if err != nil {
		return nil, err
	}
	fl.Role, fl.Direct = r.Name, r.Mode == modeDirect
	switch {
	case fl.Redirect == "":
		return nil, fault.New(fault.Invalid, "missing redirect_uri")
	case fl.Direct && fl.ClientNonce == "":
		return nil, fault.New(fault.Invalid, "missing client_nonce")
	case len(fl.Redirect) > maxField || len(fl.ClientNonce) > maxField:
		return nil, fault.New(fault.TooLarge, "redirect_uri and client_nonce have at most %d bytes", maxField)
	case r.Type != typeOIDC || !engine.RedirectAllowed(fl.Redirect, r.Redirects):
		return &engine.Response{Data: map[string]any{"auth_url": ""}}, nil
	}
	d, err := p.discovered(ctx, req.Now)
	if err != nil {
		return nil, err
	}
	state, err := e.begin(ctx, fl, req.Remote, req.Now)
	if err != nil {
		return nil, err
	}
	options := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(fl.Verifier), oauth2.SetAuthURLParam("nonce", fl.Nonce)}
	if r.MaxAge > 0 {
		options = append(options, oauth2.SetAuthURLParam("max_age", strconv.FormatInt(seconds(r.MaxAge), 10)))
	}
	if p.config.ResponseMode == formPost {
		options = append(options, oauth2.SetAuthURLParam("response_mode", formPost))
	}
	data := map[string]any{"auth_url": p.oauth(d, r, fl.Redirect).AuthCodeURL(state, options...)}
	if fl.Direct {
		data["state"], data["poll_interval"] = state, strconv.Itoa(cmp.Or(r.PollInterval, 5))
	}
	return &engine.Response{Data: data}, nil
}

// oauth is the provider as the OAuth library knows it.
func (p *provider) oauth(d *discovery, r *role, redirect string) *oauth2.Config {
	style := oauth2.AuthStyleInHeader
	if len(d.AuthMethods) > 0 && !slices.Contains(d.AuthMethods, "client_secret_basic") {
		style = oauth2.AuthStyleInParams
	}
	return &oauth2.Config{
		ClientID: p.config.ClientID, ClientSecret: p.config.ClientSecret, RedirectURL: redirect, Scopes: append([]string{"openid"}, r.Scopes...),
		Endpoint: oauth2.Endpoint{AuthURL: d.Authorize, TokenURL: d.Exchange, AuthStyle: style},
	}
}

// posted takes what a provider sends by form_post. The login goes on when the
// browser, or the program that waits for it, comes with the state once more.
func (e *Engine) posted(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	p, err := e.provider(ctx)
	if err != nil {
		return nil, err
	}
	if p.config.ResponseMode != formPost {
		return nil, fault.New(fault.Unsupported, "unsupported operation").WithHint("set oidc_response_mode to form_post")
	}
	f := engine.Read(req)
	state, code := f.Text("state"), f.Text("code")
	if f.Err() != nil {
		return nil, f.Err()
	}
	var shown string
	fl, err := e.edit(ctx, state, req.Now, func(fl *flow) (bool, error) {
		if fl.Used || fl.Code != "" || code == "" || len(code) > maxField {
			return false, errState()
		}
		fl.Code, shown = code, fl.ask(code)
		return false, nil
	})
	switch {
	case fault.Is(err, fault.Invalid):
		return page(http.StatusBadRequest, "Login failed", err.Error()), nil
	case err != nil:
		return nil, err
	case fl.Direct:
		return confirmPage(fl, state, viaPost, shown), nil
	}
	return page(http.StatusOK, "Almost done", "Go back to the program that asked you to log in."), nil
}

// viaPost stands for a code that a form_post has brought.
const viaPost = "no_code"

// callback ends a login: with the code the browser brought, the provider says who
// it is. A state opens this once, whatever comes of it.
func (e *Engine) callback(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	state, code, clientNonce := f.Text("state"), f.Text("code"), f.Text("client_nonce")
	said, confirmation := f.Text("error"), f.Text("confirmation")
	if f.Err() != nil {
		return nil, f.Err()
	}
	p, err := e.provider(ctx)
	if err != nil {
		return nil, err
	}
	fl, err := e.look(ctx, state, req.Now)
	if err != nil {
		return nil, err
	}
	if fl.Direct && confirmation == "" && said == "" && !fl.Used {
		return e.confirm(ctx, state, code, req.Now)
	}
	if code == "" || code == viaPost {
		code = fl.Code
	}
	fl, err = e.edit(ctx, state, req.Now, func(fl *flow) (bool, error) {
		if fl.Used {
			return false, errState()
		}
		if fl.Direct && said == "" && !fl.confirms(confirmation, code) {
			return false, failed("The login was not confirmed on the page that was shown for it.")
		}
		fl.Used = true
		return !fl.Direct, nil
	})
	if err != nil {
		return nil, err
	}
	if !fl.Direct && subtle.ConstantTimeCompare([]byte(fl.ClientNonce), []byte(clientNonce)) != 1 && fl.ClientNonce != "" {
		return nil, fault.New(fault.Invalid, "invalid client_nonce")
	}
	var r *role
	var w *who
	if err = refusal(said); err == nil {
		r, w, err = e.exchange(ctx, req, p, fl, code)
	}
	if fl.Direct {
		return e.direct(ctx, state, w, req.Now, err)
	}
	if err != nil {
		return nil, err
	}
	return e.grant(ctx, req, r, w)
}

// confirm shows the page that asks the person, for a code their browser brought.
// Without a code there is none: a form_post showed its own, to its browser alone.
func (e *Engine) confirm(ctx context.Context, state, code string, now time.Time) (*engine.Response, error) {
	if code == "" || code == viaPost || len(code) > maxField {
		return nil, failed("No code or id_token received.")
	}
	var shown string
	fl, err := e.edit(ctx, state, now, func(fl *flow) (bool, error) {
		if fl.Used {
			return false, errState()
		}
		shown = fl.ask(code)
		return false, nil
	})
	if err != nil {
		return nil, err
	}
	return confirmPage(fl, state, code, shown), nil
}

// direct keeps how a login ended for the program that polls for it, and tells the
// person.
func (e *Engine) direct(ctx context.Context, state string, w *who, now time.Time, failure error) (*engine.Response, error) {
	if failure != nil && !fault.Is(failure, fault.Invalid) && !fault.Is(failure, fault.Denied) {
		return nil, failure
	}
	_, err := e.edit(ctx, state, now, func(fl *flow) (bool, error) {
		fl.Who = w
		if failure != nil {
			fl.Who, fl.Failed = nil, failure.Error()
		}
		return false, nil
	})
	switch {
	case err != nil:
		return nil, err
	case failure != nil:
		return page(http.StatusBadRequest, "Login failed", failure.Error()), nil
	}
	return page(http.StatusOK, "Signed in", "Go back to the program that asked you to log in. This page can be closed."), nil
}

// poll hands a direct login to the program that began it, once.
func (e *Engine) poll(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	state, clientNonce := f.Text("state"), f.Text("client_nonce")
	if f.Err() != nil {
		return nil, f.Err()
	}
	fl, err := e.look(ctx, state, req.Now)
	switch {
	case err != nil:
		return nil, err
	case !fl.Direct:
		return nil, errState()
	case subtle.ConstantTimeCompare([]byte(fl.ClientNonce), []byte(clientNonce)) != 1:
		return nil, fault.New(fault.Invalid, "invalid client_nonce")
	case fl.Who == nil && fl.Failed == "":
		return nil, fault.New(fault.Invalid, "authorization_pending")
	}
	fl, err = e.edit(ctx, state, req.Now, func(*flow) (bool, error) { return true, nil })
	if err != nil {
		return nil, err
	}
	if fl.Who == nil {
		return nil, fault.New(fault.Invalid, "%s", fl.Failed)
	}
	r, err := e.named(ctx, fl.Role, &config{})
	if err != nil {
		return nil, err
	}
	return e.grant(ctx, req, r, fl.Who)
}

// plain are the error codes of OAuth (RFC 6749, section 4.1.2.1) and of its kin.
var plain = regexp.MustCompile(`^[a-z_]{1,40}$`)

// refusal is the error for what the provider sent instead of a code; nil for nothing.
func refusal(said string) error {
	said = strings.ToLower(strings.TrimSpace(said))
	switch {
	case said == "":
		return nil
	case plain.MatchString(said):
		return failed("%s", said)
	}
	return failed("The provider refused.")
}

// exchange has the provider say who came back with a code.
func (e *Engine) exchange(ctx context.Context, req *engine.Request, p *provider, fl *flow, code string) (*role, *who, error) {
	if code == "" {
		return nil, nil, failed("No code or id_token received.")
	}
	r, err := e.named(ctx, fl.Role, &config{})
	if err != nil {
		return nil, nil, failed("Role could not be found")
	}
	d, err := p.discovered(ctx, req.Now)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, oauth2.HTTPClient, p.client), fetch.Time)
	defer cancel()
	tokens, err := p.oauth(d, r, fl.Redirect).Exchange(ctx, code, oauth2.VerifierOption(fl.Verifier))
	if err != nil {
		return nil, nil, exchangeError(err)
	}
	id, _ := tokens.Extra("id_token").(string)
	c, err := p.read(ctx, id, req.Now)
	if err == nil {
		err = r.acceptPerson(c, p, d, fl.Nonce, req.Now)
	}
	if err != nil {
		return nil, nil, prefixed("Token verification failed. ", err)
	}
	p.addUserInfo(ctx, d, tokens.AccessToken, c)
	if err := r.checkBound(c); err != nil {
		return nil, nil, prefixed("Vault login failed. ", err)
	}
	w, err := r.identify(c)
	if err != nil {
		return nil, nil, prefixed("Vault login failed. ", err)
	}
	return r, w, nil
}

// exchangeError tells the person what the provider called it, and no more of what
// it said.
func exchangeError(err error) error {
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) && plain.MatchString(refused.ErrorCode) {
		return failed("Error exchanging oidc code: %q.", refused.ErrorCode)
	}
	return failed("Error exchanging oidc code.")
}

// acceptPerson checks an ID token (OpenID Connect Core 1.0, section 3.1.3.7).
func (r *role) acceptPerson(c claims, p *provider, d *discovery, nonce string, now time.Time) error {
	audience := c.list("aud")
	issuers := []string{d.Issuer, p.config.Issuer}
	switch {
	case c.text("iss") == "" || !slices.Contains(issuers, c.text("iss")):
		return fault.New(fault.Invalid, "invalid issuer (iss) claim")
	case c.text("sub") == "":
		return fault.New(fault.Invalid, "subject (sub) claim is missing")
	case r.Subject != "" && c.text("sub") != r.Subject:
		return fault.New(fault.Invalid, "sub claim does not match bound subject")
	case !slices.Contains(audience, p.config.ClientID):
		return fault.New(fault.Invalid, "invalid audience (aud) claim: the token is for somebody else")
	case len(r.Audiences) > 0 && !overlap(r.Audiences, audience):
		return fault.New(fault.Invalid, "invalid audience (aud) claim")
	case (len(audience) > 1 || c["azp"] != nil) && c.text("azp") != p.config.ClientID:
		return fault.New(fault.Invalid, "invalid authorized party (azp) claim")
	case subtle.ConstantTimeCompare([]byte(c.text("nonce")), []byte(nonce)) != 1:
		return fault.New(fault.Invalid, "invalid nonce")
	case c["exp"] == nil || c["iat"] == nil:
		return fault.New(fault.Invalid, "the ID token has no times")
	}
	if err := r.inTime(c, now); err != nil {
		return err
	}
	if r.MaxAge == 0 {
		return nil
	}
	proved, err := c.moment("auth_time")
	if err != nil || proved.IsZero() || now.After(proved.Add(r.MaxAge+leeway(r.SkewLeeway, defaultSkew))) {
		return fault.New(fault.Invalid, "invalid auth_time claim: the person must log in at the provider again")
	}
	return nil
}

// protocol are claims that say how a token was made, not who somebody is: they
// are the ID token's alone.
var protocol = []string{"iss", "sub", "aud", "azp", "exp", "iat", "nbf", "nonce", "auth_time", "acr", "amr", "jti"}

// addUserInfo adds what the provider says beside the ID token. It speaks of the
// same person or is not looked at; where it cannot be had, what is missing in the
// claims refuses the login where it matters.
func (p *provider) addUserInfo(ctx context.Context, d *discovery, bearer string, c claims) {
	if d.UserInfo == "" || bearer == "" {
		return
	}
	var more claims
	if fetch.GetJSON(ctx, p.client, d.UserInfo, bearer, &more) != nil || more.text("sub") != c.text("sub") {
		return
	}
	for name, value := range more {
		if !slices.Contains(protocol, name) {
			c[name] = value
		}
	}
}
