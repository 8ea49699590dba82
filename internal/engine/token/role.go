// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package token

import (
	"context"
	"encoding/hex"
	"path"
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

// role says what tokens made through it may be like.
type role struct {
	Name        string           `json:"name"`
	Allowed     []string         `json:"allowed,omitempty"` // policies; none: those of the parent
	AllowedGlob []string         `json:"allowed_glob,omitempty"`
	Denied      []string         `json:"denied,omitempty"`
	DeniedGlob  []string         `json:"denied_glob,omitempty"`
	Aliases     []string         `json:"aliases,omitempty"` // names entity_alias may have; may end in "*"
	Orphan      bool             `json:"orphan,omitempty"`
	Fixed       bool             `json:"fixed,omitempty"` // not renewable
	Suffix      string           `json:"suffix,omitempty"`
	Token       engine.TokenRole `json:"token"`
	OldPeriod   bool             `json:"old_period,omitempty"` // set by its old name, under which it is told then
	OldMax      bool             `json:"old_max,omitempty"`
}

func rolePath(name string) string { return "role/" + hex.EncodeToString([]byte(name)) }

func (e *Engine) roleRoutes() []engine.Route {
	return []engine.Route{
		{Path: "roles", Help: "The roles tokens can be made by.", Ops: engine.Ops{List: e.listRoles}},
		{Path: "roles/{name}", Help: "What tokens made by a role may be like.", Takes: "allowed_policies:list allowed_policies_glob:list disallowed_policies:list disallowed_policies_glob:list allowed_entity_aliases:list orphan:bool renewable:bool path_suffix explicit_max_ttl:duration period:duration bound_cidr_list:list" + engine.TokenFields, Ops: engine.Ops{Read: e.readRole, Write: e.putRole, Delete: e.deleteRole}},
		{Path: "create/{role}", Help: "Make a token by a role.", Takes: fields, Ops: engine.Ops{Write: e.createByRole}},
	}
}

// Exists implements engine.Engine: only roles are made and then changed.
func (e *Engine) Exists(ctx context.Context, p string) (bool, error) {
	name, ok := strings.CutPrefix(p, "roles/")
	if !ok || name == "" {
		return true, nil
	}
	r, err := engine.Look[role](ctx, e.space, rolePath(name))
	return r != nil, err
}

func (e *Engine) listRoles(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	var names []string
	err := e.space.View(ctx, func(r barrier.Reader) error {
		names = nil
		keys, err := r.List(ctx, "role")
		for _, key := range keys {
			name, err := hex.DecodeString(key)
			if err != nil {
				return err
			}
			names = append(names, string(name))
		}
		return err
	})
	if err != nil || len(names) == 0 {
		return nil, err
	}
	slices.Sort(names)
	return &engine.Response{Data: engine.Keys{Keys: names}}, nil
}

func (e *Engine) readRole(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	r, err := engine.Look[role](ctx, e.space, rolePath(v["name"]))
	if err != nil || r == nil {
		return nil, err
	}
	data := map[string]any{
		"name": r.Name, "orphan": r.Orphan, "renewable": !r.Fixed, "path_suffix": r.Suffix,
		"allowed_policies": some(r.Allowed), "allowed_policies_glob": some(r.AllowedGlob),
		"disallowed_policies": some(r.Denied), "disallowed_policies_glob": some(r.DeniedGlob), "allowed_entity_aliases": r.Aliases,
		"period": old(r.OldPeriod, r.Token.Period), "explicit_max_ttl": old(r.OldMax, r.Token.ExplicitMax),
	}
	r.Token.Show(data)
	if r.Token.Type == "" || r.Token.Type == "default" {
		data["token_type"] = "default-service"
	}
	return &engine.Response{Data: data}, nil
}

// old is a lifetime under its old name: 0 where the new one was used.
func old(set bool, d time.Duration) int64 {
	if !set {
		return 0
	}
	return int64(d / time.Second)
}

func some(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func (e *Engine) deleteRole(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	return nil, e.space.Update(ctx, func(w barrier.Writer) error { return w.Delete(ctx, rolePath(v["name"])) })
}

func (e *Engine) putRole(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	if len(v["name"]) > 256 {
		return nil, fault.New(fault.Invalid, "the name of a role has at most 256 bytes")
	}
	f := engine.Read(req)
	return nil, e.space.Update(ctx, func(w barrier.Writer) error {
		r, err := engine.Found[role](ctx, w, rolePath(v["name"]))
		if err != nil {
			return err
		}
		if r == nil {
			r = &role{Name: v["name"]}
		}
		if err := r.take(f); err != nil {
			return err
		}
		return w.Put(ctx, barrier.Entry{Path: rolePath(v["name"]), Value: engine.Stored(r)})
	})
}

// suffix is what path_suffix may be.
var suffix = regexp.MustCompile(`^\w[\w.-]*\w$`)

// take changes a role where the request says something.
func (r *role) take(f *engine.Fields) error {
	if f.Has("bound_cidrs") { // the old name
		r.Token.CIDRs = f.List("bound_cidrs")
	}
	for name, to := range map[string]*[]string{
		"allowed_policies": &r.Allowed, "disallowed_policies": &r.Denied,
		"allowed_policies_glob": &r.AllowedGlob, "disallowed_policies_glob": &r.DeniedGlob, "allowed_entity_aliases": &r.Aliases,
	} {
		if f.Has(name) {
			*to = lowered(f.List(name))
		}
	}
	r.Orphan, r.Fixed = f.Bool("orphan", r.Orphan), !f.Bool("renewable", !r.Fixed)
	if f.Has("path_suffix") {
		r.Suffix = f.Text("path_suffix")
	}
	r.OldPeriod = f.Has("period") || r.OldPeriod && !f.Has("token_period")
	r.OldMax = f.Has("explicit_max_ttl") || r.OldMax && !f.Has("token_explicit_max_ttl")
	if f.Has("explicit_max_ttl") {
		r.Token.ExplicitMax = f.Duration("explicit_max_ttl")
	}
	if err := r.Token.Update(f); err != nil {
		return err
	}
	switch {
	case r.Suffix != "" && (len(r.Suffix) > 256 || !suffix.MatchString(r.Suffix)):
		return fault.New(fault.Invalid, "given role path suffix contains invalid characters; must match \\w[\\w-.]+\\w")
	case r.Token.Type != "batch":
		return nil
	case !r.Orphan:
		return fault.New(fault.Invalid, "'token_type' cannot be 'batch' when role is set to generate non-orphan tokens")
	case !r.Fixed:
		return fault.New(fault.Invalid, "'token_type' cannot be 'batch' when role is set to generate renewable tokens")
	case r.Token.ExplicitMax > 0:
		return fault.New(fault.Invalid, "'token_type' cannot be 'batch' when role is set to generate tokens with an explicit max TTL")
	}
	return nil
}

// lowered are names as they are compared.
func lowered(names []string) (out []string) {
	for _, name := range names {
		if name = policy.NormalName(name); name != "" {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// createByRole makes a token within the bounds of a role. What the role allows
// comes before what the caller has.
func (e *Engine) createByRole(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	r, err := engine.Look[role](ctx, e.space, rolePath(v["role"]))
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, fault.New(fault.Invalid, "unknown role %s", v["role"])
	}
	n, err := asked(req)
	if err != nil {
		return nil, err
	}
	if n.AnyPolicy = sudo(req); n.ID != "" && !n.AnyPolicy {
		return nil, errSudo("specify token id")
	}
	n.Role = r.Name
	if err := r.bound(&n, req.Subject); err != nil {
		return nil, err
	}
	if err := r.alias(req, &n); err != nil {
		return nil, err
	}
	return e.grant(ctx, req, n)
}

// roleTerms are what a role says of its tokens now. Where it is gone they are not
// renewed.
func (e *Engine) roleTerms(ctx context.Context, name string) (*auth.Terms, error) {
	r, err := engine.Look[role](ctx, e.space, rolePath(name))
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, fault.New(fault.Invalid, "original token role %q could not be found, not renewing", name)
	}
	return &auth.Terms{MaxTTL: r.Token.MaxTTL, Period: r.Token.Period, ExplicitMax: r.Token.ExplicitMax}, nil
}

// bound makes what was asked for what the role says.
func (r *role) bound(n *auth.NewToken, parent *auth.Subject) error {
	n.NoParent, n.CIDRs = r.Orphan, r.Token.CIDRs
	n.NoDefault = n.NoDefault || r.Token.NoDefault
	n.Path = path.Join(n.Path, r.Suffix)
	if r.Fixed {
		no := false
		n.Renewable = &no
	}
	n.Period = r.Token.Period
	if limit := r.Token.ExplicitMax; limit > 0 && (n.ExplicitMax == 0 || n.ExplicitMax > limit) {
		n.ExplicitMax = limit
	}
	if limit := r.Token.NumUses; limit > 0 && (n.NumUses == 0 || n.NumUses > limit) {
		n.NumUses = limit
	}
	n.MaxTTL = r.Token.MaxTTL
	if n.TTL == 0 {
		n.TTL = r.Token.TTL
	}
	switch r.Token.Type {
	case "service", "batch":
		n.Type = r.Token.Type
	case "default-batch":
		if n.Type == "" || n.Type == "default" {
			n.Type = "batch"
		}
	}
	return r.policies(n, parent)
}

// policies are those asked for where the role allows them, or all the role has.
func (r *role) policies(n *auth.NewToken, parent *auth.Subject) error {
	wanted := lowered(n.Policies)
	if r.forbids(policy.DefaultName) {
		n.NoDefault = true
	}
	if len(r.Allowed)+len(r.AllowedGlob) > 0 {
		if len(wanted) == 0 {
			wanted = r.Allowed
		}
		for _, name := range wanted {
			if name != policy.DefaultName && !slices.Contains(r.Allowed, name) && !matches(r.AllowedGlob, name) {
				wanted = lowered(append(wanted, policy.DefaultName))
				return fault.New(fault.Invalid, "token policies (%q) must be subset of the role's allowed policies (%q) or glob policies (%q)", wanted, r.Allowed, r.AllowedGlob)
			}
		}
		// None at all would mean the parent's.
		if n.Policies, n.AnyPolicy = wanted, true; len(wanted) == 0 {
			n.Policies = []string{policy.DefaultName}
		}
	} else if len(wanted) == 0 {
		wanted = parent.Policies
	}
	for _, name := range wanted {
		if r.forbids(name) && (name != policy.DefaultName || slices.Contains(lowered(n.Policies), name)) {
			return fault.New(fault.Invalid, "token policy %q is disallowed by this role", name)
		}
	}
	return nil
}

func (r *role) forbids(name string) bool {
	return slices.Contains(r.Denied, name) || matches(r.DeniedGlob, name)
}

// matches compares with names that may begin or end in "*".
func matches(globs []string, name string) bool {
	return slices.ContainsFunc(globs, func(glob string) bool { return policy.Glob(glob, name) })
}

// alias makes the token that of another entity, where the role allows it.
func (r *role) alias(req *engine.Request, n *auth.NewToken) error {
	f := engine.Read(req)
	name := f.Text("entity_alias")
	switch {
	case f.Err() != nil || name == "":
		return f.Err()
	case !matches(r.Aliases, strings.ToLower(name)):
		return fault.New(fault.Invalid, "invalid 'entity_alias' value")
	}
	n.Alias, n.Mount = &auth.Alias{Name: name}, engine.FixedAccessor("auth/token/", "token")
	return nil
}
