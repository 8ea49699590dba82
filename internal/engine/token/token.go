// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package token serves auth/token/: tokens made, looked at, renewed and revoked.
package token

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/policy"
)

// Tokens is what this engine asks of package auth.
type Tokens interface {
	Create(ctx context.Context, n auth.NewToken) (*auth.Granted, error)
	Info(ctx context.Context, token string) (*auth.Info, error)
	InfoByAccessor(ctx context.Context, accessor string) (*auth.Info, error)
	Renew(ctx context.Context, token string, asked auth.Renewal) (*auth.Granted, error)
	RenewAccessor(ctx context.Context, accessor string, asked auth.Renewal) (*auth.Granted, error)
	Accessors(ctx context.Context) ([]string, error)
	Revoker
}

// Revoker takes tokens back, with all that was made with them.
type Revoker interface {
	Revoke(ctx context.Context, token string) error
	RevokeAccessor(ctx context.Context, accessor string) error
	RevokeOrphan(ctx context.Context, token string) error
	Tidy(ctx context.Context, limit int) (int, error)
}

// Policies knows which policies there are.
type Policies interface {
	Get(ctx context.Context, name string) (string, error)
}

// Options are the parts the engine is made of. All are needed.
type Options struct {
	Tokens   Tokens
	Policies Policies
	Mounts   Mounts
	Space    barrier.Space // of its own: the roles
}

// Engine serves "auth/token/".
type Engine struct {
	tokens   Tokens
	policies Policies
	mounts   Mounts
	space    barrier.Space
	routes   *engine.Router
}

// Mounts finds the auth method that gave a token.
type Mounts interface {
	Named(ctx context.Context, uuid string) (*engine.Slot, error)
}

// New makes the engine.
func New(o Options) *Engine {
	e := &Engine{tokens: o.Tokens, policies: o.Policies, mounts: o.Mounts, space: o.Space}
	e.routes = engine.Routes(append(e.roleRoutes(), []engine.Route{
		{Path: "create", Help: "Make a token, a child of the one that asks.", Takes: fields, Ops: engine.Ops{Write: e.create}},
		{Path: "create-orphan", Help: "Make a token without a parent.", Takes: fields, Ops: engine.Ops{Write: e.createOrphan}},
		{Path: "lookup-self", Help: "What is known of the token that asks.", Ops: engine.Ops{Read: e.lookupSelf, Write: e.lookupSelf}},
		{Path: "lookup", Help: "What is known of a token.", Takes: "token", Ops: engine.Ops{Read: e.lookupSelf, Write: e.lookup}},
		{Path: "lookup-accessor", Help: "What is known of a token, by its accessor.", Takes: "accessor", Ops: engine.Ops{Write: e.lookupAccessor}},
		{Path: "renew-self", Help: "Lengthen the life of the token that asks.", Takes: "increment:duration token", Ops: engine.Ops{Write: e.renewSelf}},
		{Path: "renew", Help: "Lengthen the life of a token.", Takes: "token increment:duration", Ops: engine.Ops{Write: e.renew}},
		{Path: "renew-accessor", Help: "Lengthen the life of a token, by its accessor.", Takes: "accessor increment:duration", Ops: engine.Ops{Write: e.renewAccessor}},
		{Path: "revoke-self", Help: "End the token that asks.", Ops: engine.Ops{Write: e.revokeSelf}},
		{Path: "revoke", Help: "End a token and all made with it.", Takes: "token", Ops: engine.Ops{Write: e.revoke}},
		{Path: "revoke-accessor", Help: "End a token, by its accessor.", Takes: "accessor", Ops: engine.Ops{Write: e.revokeAccessor}},
		{Path: "revoke-orphan", Help: "End a token alone; those made with it live on.", Takes: "token", Ops: engine.Ops{Write: e.revokeOrphan}},
		{Path: "accessors", Help: "The accessors of all tokens.", Ops: engine.Ops{List: e.accessors}},
		{Path: "tidy", Help: "Clear away tokens that have ended.", Ops: engine.Ops{Write: e.tidy}},
	}...))
	return e
}

// fields are what can be said of a token that is to be made, for Route.Takes.
const fields = "id policies:list meta:map ttl:duration lease:duration explicit_max_ttl:duration period:duration num_uses:int renewable:bool" +
	" display_name type no_parent:bool no_default_policy:bool entity_alias"

// Special implements engine.Engine.
func (e *Engine) Special() engine.Special {
	return engine.Special{
		Routes: e.routes.All(),
		Sudo:   []string{"accessors", "accessors/", "create-orphan", "revoke-orphan"},
		Pure:   []string{"lookup-self", "lookup", "accessors/", "roles", "roles/*"},
	}
}

// Handle implements engine.Engine.
func (e *Engine) Handle(ctx context.Context, req *engine.Request) (*engine.Response, error) {
	return e.routes.Handle(ctx, req)
}

func (e *Engine) createOrphan(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	return e.make(ctx, req, true, true)
}

func (e *Engine) create(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	return e.make(ctx, req, false, sudo(req))
}

// sudo reports whether the caller has it on the path asked for.
func sudo(req *engine.Request) bool {
	return req.Subject.Root || slices.Contains(req.Rights.Capabilities(req.Mount+req.Path), policy.Sudo)
}

// asked reads what a token shall be like.
func asked(req *engine.Request) (auth.NewToken, error) {
	f := engine.Read(req)
	n := auth.NewToken{
		Parent: req.Subject, ID: f.Text("id"), Policies: f.List("policies"), Meta: f.Map("meta"),
		ExplicitMax: f.Duration("explicit_max_ttl"), Period: f.Duration("period"),
		NumUses: f.Int("num_uses", 0), Display: "token", Path: req.Mount + req.Path, Type: f.Text("type"),
		NoParent: f.Bool("no_parent", false), NoDefault: f.Bool("no_default_policy", false),
	}
	if name := strings.Trim(unprintable.ReplaceAllString(f.Text("display_name"), "-"), "-"); name != "" {
		n.Display = "token-" + name
	}
	ttl, err := lifetime(f.Text("ttl"))
	if err != nil {
		return n, err
	}
	if n.TTL = ttl; n.TTL == 0 {
		n.TTL = f.Duration("lease") // the old name
	}
	if f.Has("renewable") {
		renewable := f.Bool("renewable", true)
		n.Renewable = &renewable
	}
	switch {
	case f.Err() != nil:
		return n, f.Err()
	case strings.HasPrefix(n.ID, "s."):
		return n, fault.New(fault.Invalid, "custom token ID cannot have the 's.' prefix")
	case strings.Contains(n.ID, "."):
		return n, fault.New(fault.Invalid, "custom token ID cannot have a '.' in the value")
	}
	return n, fromAbove(req, &n)
}

// fromAbove makes a token of a namespace above the patron, not the parent, of what it
// makes here: its policies have no meaning in this namespace, so it needs sudo.
func fromAbove(req *engine.Request, n *auth.NewToken) error {
	if req.Subject.Foreign == nil {
		return nil
	}
	if !sudo(req) {
		return errSudo("directly generate a token in a child namespace")
	}
	n.Patron, n.Parent = req.Subject.Foreign, nil
	switch {
	case req.Subject.Batch:
		return fault.New(fault.Invalid, "batch tokens cannot create more tokens")
	case req.Subject.Limited:
		return fault.New(fault.Invalid, "a token with limited uses cannot create other tokens")
	}
	return nil
}

// lifetime reads a ttl, with the errors clients know.
func lifetime(text string) (time.Duration, error) {
	d, err := engine.ParseDuration(text)
	if err != nil && strings.HasPrefix(strings.TrimSpace(text), "-") {
		err = fault.New(fault.Invalid, "ttl must be positive")
	}
	return d, err
}

// unprintable is what a display name cannot hold.
var unprintable = regexp.MustCompile(`[^a-zA-Z0-9-]`)

func errSudo(what string) error {
	return fault.New(fault.Invalid, "root or sudo privileges required to %s", what)
}

func (e *Engine) make(ctx context.Context, req *engine.Request, orphan, sudo bool) (*engine.Response, error) {
	n, err := asked(req)
	if err != nil {
		return nil, err
	}
	n.NoParent, n.AnyPolicy = n.NoParent || orphan, sudo
	switch {
	case sudo:
	case n.ID != "":
		return nil, errSudo("specify token id")
	case n.NoParent:
		return nil, errSudo("create orphan token")
	case n.Period > 0:
		return nil, errSudo("create periodic token")
	}
	if f := engine.Read(req); f.Text("entity_alias") != "" {
		return nil, fault.New(fault.Invalid, "'entity_alias' is only allowed in combination with token role")
	}
	return e.grant(ctx, req, n)
}

// grant makes a token. What binds a patron binds what it makes, as with parents.
func (e *Engine) grant(ctx context.Context, req *engine.Request, n auth.NewToken) (*engine.Response, error) {
	if n.Patron != nil && !n.NoParent && len(n.CIDRs) == 0 {
		n.CIDRs = req.Subject.CIDRs
	}
	granted, err := e.tokens.Create(ctx, n)
	if err != nil {
		return nil, err
	}
	return &engine.Response{Auth: granted, Warnings: append(granted.Warnings, e.unknownPolicies(ctx, granted)...)}, nil
}

// unknownPolicies warns of policies that are not there (yet).
func (e *Engine) unknownPolicies(ctx context.Context, g *auth.Granted) (warnings []string) {
	for _, name := range g.Policies {
		if _, err := e.policies.Get(ctx, name); fault.Is(err, fault.NotFound) {
			warnings = append(warnings, "Policy \""+name+"\" does not exist")
		}
	}
	return warnings
}

func (e *Engine) lookupSelf(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	info, err := e.tokens.Info(ctx, req.Token)
	if err != nil {
		return nil, err
	}
	return show(info, req.Token), nil
}

func (e *Engine) lookup(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	token := f.Text("token")
	if f.Err() != nil {
		return nil, f.Err()
	}
	if token == "" {
		token = req.Token
	}
	info, err := e.tokens.Info(ctx, token)
	if fault.Is(err, fault.Denied) || fault.Is(err, fault.NotFound) || fault.Is(err, fault.Invalid) {
		return nil, fault.New(fault.Denied, "bad token")
	}
	if err != nil {
		return nil, err
	}
	return show(info, token), nil
}

func (e *Engine) lookupAccessor(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	accessor, err := named(req, "accessor")
	if err != nil {
		return nil, err
	}
	info, err := e.tokens.InfoByAccessor(ctx, accessor)
	if err != nil {
		return nil, badAccessor(err)
	}
	return show(info, ""), nil
}

// badAccessor is what callers are told of an accessor that names no token.
func badAccessor(err error) error {
	if fault.Is(err, fault.Denied) || fault.Is(err, fault.NotFound) {
		return fault.New(fault.Invalid, "invalid accessor")
	}
	return err
}

// missing is what callers are told to send.
var missing = map[string]string{"token": "token ID", "accessor": "accessor"}

func named(req *engine.Request, field string) (string, error) {
	f := engine.Read(req)
	name := f.Text(field)
	if f.Err() == nil && name == "" {
		return "", fault.New(fault.Invalid, "missing %s", missing[field])
	}
	return name, f.Err()
}

func (e *Engine) renewSelf(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	return e.renewToken(ctx, req, req.Token)
}

func (e *Engine) renew(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	token, err := named(req, "token")
	if err != nil {
		return nil, err
	}
	return e.renewToken(ctx, req, token)
}

func (e *Engine) renewToken(ctx context.Context, req *engine.Request, token string) (*engine.Response, error) {
	f := engine.Read(req)
	increment := f.Duration("increment")
	if f.Err() != nil {
		return nil, f.Err()
	}
	was, err := e.tokens.Info(ctx, token)
	if fault.Is(err, fault.Denied) {
		return nil, fault.New(fault.Invalid, "token not found")
	}
	if err != nil {
		return nil, err
	}
	terms, err := e.terms(ctx, req, was)
	if err != nil {
		return nil, err
	}
	granted, err := e.tokens.Renew(ctx, token, auth.Renewal{Increment: increment, Terms: terms})
	return renewed(granted, err)
}

// terms asks the auth method that gave a token whether the login is still good, and
// the role that a token was made by; nil where there is none to ask.
func (e *Engine) terms(ctx context.Context, req *engine.Request, was *auth.Info) (*auth.Terms, error) {
	switch {
	case !was.Renewable:
		return nil, nil
	case was.Origin == "" && was.Role != "":
		return e.roleTerms(ctx, was.Role)
	case was.Origin == "":
		return nil, nil
	}
	slot, err := e.mounts.Named(ctx, was.Origin)
	if err != nil {
		return nil, err
	}
	if slot == nil {
		return nil, fault.New(fault.Denied, "permission denied: the auth method of this token is gone")
	}
	method, ok := slot.Engine.(engine.Renewer)
	if !ok {
		return nil, nil
	}
	terms, err := method.Renew(ctx, req, was)
	return &terms, err
}

func (e *Engine) renewAccessor(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	accessor, err := named(req, "accessor")
	f := engine.Read(req)
	increment := f.Duration("increment")
	if err == nil {
		err = f.Err()
	}
	if err != nil {
		return nil, err
	}
	was, err := e.tokens.InfoByAccessor(ctx, accessor)
	if err != nil {
		return nil, badAccessor(err)
	}
	terms, err := e.terms(ctx, req, was)
	if err != nil {
		return nil, err
	}
	granted, err := e.tokens.RenewAccessor(ctx, accessor, auth.Renewal{Increment: increment, Terms: terms})
	return renewed(granted, badAccessor(err))
}

func renewed(granted *auth.Granted, err error) (*engine.Response, error) {
	if err != nil {
		return nil, err
	}
	return &engine.Response{Auth: granted, Renewed: true, Warnings: granted.Warnings}, nil
}

func (e *Engine) revokeSelf(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	return nil, e.tokens.Revoke(ctx, req.Token)
}

func (e *Engine) revoke(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	token, err := named(req, "token")
	if err != nil {
		return nil, err
	}
	return nil, e.tokens.Revoke(ctx, token)
}

func (e *Engine) revokeOrphan(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	token, err := named(req, "token")
	if err != nil {
		return nil, err
	}
	if _, err := e.tokens.Info(ctx, token); fault.Is(err, fault.Denied) {
		return nil, fault.New(fault.Invalid, "token to revoke not found")
	}
	return nil, e.tokens.RevokeOrphan(ctx, token)
}

func (e *Engine) revokeAccessor(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	accessor, err := named(req, "accessor")
	if err != nil {
		return nil, err
	}
	err = badAccessor(e.tokens.RevokeAccessor(ctx, accessor))
	if fault.Is(err, fault.Invalid) {
		return &engine.Response{Warnings: []string{"No token found with this accessor"}}, nil
	}
	return nil, err
}

func (e *Engine) accessors(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	names, err := e.tokens.Accessors(ctx)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	return &engine.Response{Data: engine.Keys{Keys: names}}, nil
}

// tidyBatch is how many ended tokens one call clears away.
const tidyBatch = 10_000

func (e *Engine) tidy(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	if _, err := e.tokens.Tidy(ctx, tidyBatch); err != nil {
		return nil, err
	}
	return &engine.Response{Status: 202, Warnings: []string{"Tidy operation successfully started. Any information from the operation will be printed to Vault's server logs."}}, nil
}

// lookedUp is what is told about a token.
type lookedUp struct {
	Accessor    string            `json:"accessor"`
	CIDRs       []string          `json:"bound_cidrs,omitempty"`
	Created     int64             `json:"creation_time"`
	CreationTTL int64             `json:"creation_ttl"`
	Display     string            `json:"display_name"`
	EntityID    string            `json:"entity_id"`
	Expires     *time.Time        `json:"expire_time"`
	ExplicitMax int64             `json:"explicit_max_ttl"`
	ID          string            `json:"id"`
	FromEntity  []string          `json:"identity_policies,omitempty"`
	Issued      time.Time         `json:"issue_time"`
	LastRenewal *time.Time        `json:"last_renewal,omitempty"`
	LastUnix    int64             `json:"last_renewal_time,omitempty"`
	Meta        map[string]string `json:"meta"`
	NumUses     int               `json:"num_uses"`
	Orphan      bool              `json:"orphan"`
	Path        string            `json:"path"`
	Period      int64             `json:"period,omitempty"`
	Policies    []string          `json:"policies"`
	Renewable   bool              `json:"renewable"`
	Role        string            `json:"role,omitempty"`
	TTL         int64             `json:"ttl"`
	Type        string            `json:"type"`
}

func show(i *auth.Info, token string) *engine.Response {
	l := lookedUp{
		Accessor: i.Accessor, Created: i.Issued.Unix(), CreationTTL: seconds(i.CreationTTL), Display: i.Display,
		ExplicitMax: seconds(i.ExplicitMax), ID: token, Issued: i.Issued, Meta: i.Meta, NumUses: i.NumUses,
		Orphan: i.Orphan, Path: i.Path, Period: seconds(i.Period), Policies: i.Policies, Renewable: i.Renewable,
		TTL: seconds(i.TTL), Type: i.Type, CIDRs: i.CIDRs, EntityID: i.EntityID, Role: i.Role,
	}
	if i.Identity != nil && !i.Alone {
		l.FromEntity = i.Identity.Policies
	}
	if !i.Expires.IsZero() {
		l.Expires = &i.Expires
	}
	if !i.Renewed.IsZero() {
		l.LastRenewal, l.LastUnix = &i.Renewed, i.Renewed.Unix()
	}
	raw, _ := json.Marshal(l) // nothing in it can fail
	return &engine.Response{Data: json.RawMessage(raw)}
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }
