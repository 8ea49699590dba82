// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/gate"
	"github.com/goldkeep/goldkeep/internal/policy"
)

// Inline authentication: one request brings a login in headers and is answered with
// the rights of that login. The token lives for this one request; an answer that
// needs a token to live on, with a lease or a token of its own, is refused.
const (
	inlinePath      = "X-Vault-Inline-Auth-Path"
	inlineOperation = "X-Vault-Inline-Auth-Operation"
	inlineNamespace = "X-Vault-Inline-Auth-Namespace"
	inlineParameter = "X-Vault-Inline-Auth-Parameter-"
)

// inline answers a request that brings its login along.
func (h *handler) inline(r *http.Request, req *gate.Request) (*gate.Response, error) {
	if req.Token != "" {
		return nil, fault.New(fault.Invalid, "a request brings a token or an inline login, not both")
	}
	login, err := inlineLogin(r, req.Remote)
	if err != nil {
		return nil, err
	}
	granted, err := h.gate.Handle(r.Context(), login)
	if err != nil {
		return nil, err
	}
	if granted.Answer == nil || granted.Answer.Auth == nil || granted.Answer.Auth.Token == "" {
		return nil, fault.New(fault.Invalid, "the inline login gave no token")
	}
	req.Token = granted.Answer.Auth.Token
	resp, err := h.gate.Handle(r.Context(), req)
	if ended := h.endInline(r.Context(), login, req.Token); ended != nil && err == nil {
		return nil, ended
	}
	if err == nil && resp.Answer != nil && (resp.Answer.Secret != nil || resp.Answer.Auth != nil) {
		return nil, fault.New(fault.Invalid, "an inline login cannot hold a lease or a token; log in, and use the token")
	}
	return resp, err
}

// endInline revokes the token of the login, and with it what it has been given.
func (h *handler) endInline(ctx context.Context, login *gate.Request, token string) error {
	_, err := h.gate.Handle(context.WithoutCancel(ctx), &gate.Request{Op: policy.Update, Path: "auth/token/revoke-self", Namespace: login.Namespace, Token: token, Remote: login.Remote})
	if fault.Is(err, fault.Denied) {
		return nil // batch tokens, and policies that forbid it: it ends by itself
	}
	return err
}

// inlineLogin reads the login from the headers.
func inlineLogin(r *http.Request, remote string) (*gate.Request, error) {
	ns := r.Header.Get("X-Vault-Namespace")
	if named := r.Header[inlineNamespace]; len(named) > 0 {
		ns = named[0]
	}
	login := &gate.Request{Op: policy.Update, Namespace: ns, Path: strings.Trim(r.Header.Get(inlinePath), "/"), Remote: remote, Data: map[string]json.RawMessage{}}
	if !engine.MatchPath([]string{"auth/*"}, login.Path) {
		return nil, fault.New(fault.Invalid, "%s must be the path of a login: auth/...", inlinePath)
	}
	switch strings.ToLower(r.Header.Get(inlineOperation)) {
	case "", "update", "create":
	case "read":
		login.Op = policy.Read
	default:
		return nil, fault.New(fault.Invalid, "%s must be update or read", inlineOperation)
	}
	for name, values := range r.Header {
		if !strings.HasPrefix(name, inlineParameter) {
			continue
		}
		field, value, err := inlineField(values[0])
		if err != nil {
			return nil, err
		}
		if _, twice := login.Data[field]; twice {
			return nil, fault.New(fault.Invalid, "an inline parameter is there twice")
		}
		login.Data[field] = value
	}
	return login, nil
}

// inlineField reads {"key": name, "value": any} in base64, with or without padding.
func inlineField(text string) (name string, value json.RawMessage, err error) {
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(text), "="))
	var pair struct {
		Key   string          `json:"key"`
		Value json.RawMessage `json:"value"`
	}
	if err != nil || tooDeep(raw, maxDepth) || json.Unmarshal(raw, &pair) != nil || pair.Key == "" || pair.Value == nil {
		return "", nil, fault.New(fault.Invalid, "an inline parameter must be base64 of {\"key\": ..., \"value\": ...}")
	}
	return pair.Key, pair.Value, nil
}
