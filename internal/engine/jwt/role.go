// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package jwt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// The types of roles, and where the browser comes back to.
const (
	typeJWT, typeOIDC      = "jwt", "oidc"
	modeClient, modeDirect = "client", "direct"
)

// role says which tokens let in, and to what.
type role struct {
	Name         string            `json:"name"`
	Type         string            `json:"type"`
	Audiences    []string          `json:"audiences,omitempty"`
	Subject      string            `json:"subject,omitempty"`
	ClaimsType   string            `json:"claimsType"`         // "string" or "glob"
	Claims       json.RawMessage   `json:"claims,omitempty"`   // an object, as it was sent
	Mappings     map[string]string `json:"mappings,omitempty"` // claim to metadata field
	UserClaim    string            `json:"userClaim"`
	UserPointer  bool              `json:"userPointer,omitempty"` // UserClaim is a JSON pointer
	GroupsClaim  string            `json:"groupsClaim,omitempty"`
	Redirects    []string          `json:"redirects,omitempty"`
	Scopes       []string          `json:"scopes,omitempty"`
	Mode         string            `json:"mode"`
	PollInterval int               `json:"pollInterval,omitempty"` // seconds
	MaxAge       time.Duration     `json:"maxAge,omitempty"`       // since the person last proved to be there
	ExpiryLeeway time.Duration     `json:"expiryLeeway,omitempty"` // negative: none; 0: the default
	NotBefore    time.Duration     `json:"notBeforeLeeway,omitempty"`
	SkewLeeway   time.Duration     `json:"skewLeeway,omitempty"`
	Token        engine.TokenRole  `json:"token"`
}

const roleFields = "role_type user_claim user_claim_json_pointer:bool bound_audiences:list bound_subject bound_claims:map bound_claims_type" +
	" claim_mappings:map groups_claim expiration_leeway:duration not_before_leeway:duration clock_skew_leeway:duration allowed_redirect_uris:list" +
	" oidc_scopes:list callback_mode poll_interval:int max_age:duration verbose_oidc_logging:bool oauth2_metadata:list" + engine.TokenFields

func rolePath(name string) string { return "role/" + strings.ToLower(name) }

func (e *Engine) listRoles(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	return e.Names(ctx, "role")
}

func (e *Engine) removeRole(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	return nil, e.Remove(ctx, rolePath(v["name"]))
}

func (e *Engine) showRole(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	r, err := engine.Look[role](ctx, e.Space, rolePath(v["name"]))
	if err != nil || r == nil {
		return nil, err
	}
	data := map[string]any{
		"role_type": r.Type, "expiration_leeway": seconds(r.ExpiryLeeway), "not_before_leeway": seconds(r.NotBefore),
		"clock_skew_leeway": seconds(r.SkewLeeway), "bound_audiences": r.Audiences, "bound_subject": r.Subject,
		"bound_claims_type": r.ClaimsType, "bound_claims": r.Claims, "claim_mappings": r.Mappings, "user_claim": r.UserClaim,
		"user_claim_json_pointer": r.UserPointer, "groups_claim": r.GroupsClaim, "allowed_redirect_uris": r.Redirects,
		"oidc_scopes": r.Scopes, "callback_mode": r.Mode, "max_age": seconds(r.MaxAge), "verbose_oidc_logging": false, "oauth2_metadata": nil,
	}
	if r.PollInterval > 0 {
		data["poll_interval"] = r.PollInterval
	}
	r.Token.Show(data)
	return &engine.Response{Data: data}, nil
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

func (e *Engine) putRole(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	for _, name := range []string{"oauth2_metadata", "token_policies_template_claims"} {
		if text := string(f.Raw(name)); f.Has(name) && text != "false" && text != "[]" && text != `""` {
			return nil, fault.New(fault.Invalid, "%s is not offered", name).WithHint("map claims to metadata with claim_mappings, and use it in policy templates")
		}
	}
	err := e.Space.Update(ctx, func(w barrier.Writer) error {
		r, err := engine.Found[role](ctx, w, rolePath(v["name"]))
		if err != nil {
			return err
		}
		if r == nil {
			r = &role{Name: strings.ToLower(v["name"])}
		}
		if err := r.update(f); err != nil {
			return err
		}
		return w.Put(ctx, barrier.Entry{Path: rolePath(r.Name), Value: engine.Stored(r)})
	})
	if err == nil && f.Bool("verbose_oidc_logging", false) {
		return &engine.Response{Warnings: []string{"verbose_oidc_logging does nothing here: tokens and claims are never logged"}}, nil
	}
	return nil, err
}

// update takes over the fields a request brings. Type, claims type and mode are
// their defaults where it brings none, as clients know it.
func (r *role) update(f *engine.Fields) error {
	r.Type, r.ClaimsType, r.Mode = or(f.Text("role_type"), typeOIDC), or(f.Text("bound_claims_type"), "string"), or(f.Text("callback_mode"), modeClient)
	for name, to := range map[string]*[]string{
		"bound_audiences": &r.Audiences, "allowed_redirect_uris": &r.Redirects, "oidc_scopes": &r.Scopes,
	} {
		if f.Has(name) {
			*to = f.List(name)
		}
	}
	for name, to := range map[string]*string{"bound_subject": &r.Subject, "user_claim": &r.UserClaim, "groups_claim": &r.GroupsClaim} {
		if f.Has(name) {
			*to = f.Text(name)
		}
	}
	for name, to := range map[string]*time.Duration{
		"expiration_leeway": &r.ExpiryLeeway, "not_before_leeway": &r.NotBefore, "clock_skew_leeway": &r.SkewLeeway,
	} {
		if !f.Has(name) {
			continue
		}
		if text := strings.TrimSpace(f.Text(name)); strings.HasPrefix(text, "-") {
			*to = -time.Second // no leeway at all
		} else {
			*to = f.Duration(name)
		}
	}
	if f.Has("max_age") {
		r.MaxAge = f.Duration("max_age")
	}
	r.UserPointer = f.Bool("user_claim_json_pointer", r.UserPointer)
	r.PollInterval = f.Int("poll_interval", r.PollInterval)
	if f.Has("claim_mappings") {
		r.Mappings = f.Pairs("claim_mappings")
	}
	if f.Has("bound_claims") {
		r.Claims = f.Inner("bound_claims")
	}
	if err := r.Token.Update(f); err != nil {
		return err
	}
	return r.check()
}

func or(text, fallback string) string {
	if text == "" {
		return fallback
	}
	return text
}

func (r *role) check() error {
	switch {
	case r.Type != typeJWT && r.Type != typeOIDC:
		return fault.New(fault.Invalid, "invalid 'role_type': %s", r.Type)
	case r.ClaimsType != "string" && r.ClaimsType != "glob":
		return fault.New(fault.Invalid, "invalid 'bound_claims_type': %s", r.ClaimsType)
	case r.Mode != modeClient && r.Mode != modeDirect:
		return fault.New(fault.Invalid, "invalid 'callback_mode': %s", r.Mode).WithHint("\"client\" and \"direct\" are offered")
	case r.UserClaim == "":
		return fault.New(fault.Invalid, "a user claim must be defined on the role")
	case r.PollInterval < 0:
		return fault.New(fault.Invalid, "poll_interval cannot be negative")
	case r.Type == typeOIDC && len(r.Redirects) == 0:
		return fault.New(fault.Invalid, "'allowed_redirect_uris' must be set if 'role_type' is 'oidc' or unspecified.")
	case r.Type == typeJWT && len(r.Audiences) == 0 && len(r.Token.CIDRs) == 0 && r.Subject == "" && len(r.bound()) == 0:
		return fault.New(fault.Invalid, "must have at least one bound constraint when creating/updating a role")
	}
	for _, text := range r.Redirects {
		if u, err := url.Parse(text); err != nil || u.Scheme == "" || u.Fragment != "" || u.User != nil {
			return fault.New(fault.Invalid, "allowed_redirect_uris: %s is no complete URL", strconv.Quote(text))
		}
	}
	return r.checkClaims()
}

// bound are the claims that must be there, with their numbers as they were written.
func (r *role) bound() (claims map[string]any) {
	if len(r.Claims) > 0 {
		_ = decode(r.Claims, &claims) // checkClaims has seen it
	}
	return claims
}

func (r *role) checkClaims() error {
	var claims map[string]any
	if len(r.Claims) > 0 && decode(r.Claims, &claims) != nil {
		return fault.New(fault.Invalid, "bound_claims must be an object")
	}
	for name, value := range claims {
		wanted, ok := listOf(value)
		if !ok || len(wanted) == 0 {
			return fault.New(fault.Invalid, "bound_claims: %q must be a text, a number, true, false or a list of them", name)
		}
		for _, one := range wanted {
			if _, text := one.(string); r.ClaimsType == "glob" && !text {
				return fault.New(fault.Invalid, "bound_claims: %q is not a text, which bound_claims_type \"glob\" needs", name)
			}
		}
	}
	targets := map[string]bool{}
	for _, target := range r.Mappings {
		if target == "role" {
			return fault.New(fault.Invalid, "metadata key %q is reserved and may not be a mapping destination", target)
		}
		if targets[target] {
			return fault.New(fault.Invalid, "multiple keys are mapped to metadata key %q", target)
		}
		targets[target] = true
	}
	return nil
}

// decode reads one JSON value with its numbers as they were written.
func decode(raw json.RawMessage, to any) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(to); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("there is more than one value")
	}
	return nil
}
