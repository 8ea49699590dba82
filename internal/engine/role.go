// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/policy"
)

// TokenFields are the fields of TokenRole, for Route.Takes.
const TokenFields = " token_ttl:duration token_max_ttl:duration token_explicit_max_ttl:duration token_period:duration token_policies:list" +
	" token_bound_cidrs:list token_num_uses:int token_no_default_policy:bool token_type" +
	" ttl:duration max_ttl:duration period:duration policies:list bound_cidrs:list num_uses:int"

// TokenRole is what every role of an auth method says of the tokens it gives: the
// fields token_ttl, token_policies and so on. The zero value means: as the mount
// and the system do.
type TokenRole struct {
	Policies    []string      `json:"policies,omitempty"`
	TTL         time.Duration `json:"ttl,omitempty"`
	MaxTTL      time.Duration `json:"maxTTL,omitempty"`
	ExplicitMax time.Duration `json:"explicitMax,omitempty"`
	Period      time.Duration `json:"period,omitempty"`
	NumUses     int           `json:"numUses,omitempty"`
	NoDefault   bool          `json:"noDefault,omitempty"`
	Type        string        `json:"type,omitempty"`
	CIDRs       []string      `json:"cidrs,omitempty"`
	Old         []string      `json:"old,omitempty"` // fields that were set by their old names, and are shown by them too
}

// oldNames are the fields with older names, that clients still use.
var oldNames = map[string]string{
	"policies": "token_policies", "ttl": "token_ttl", "max_ttl": "token_max_ttl", "period": "token_period",
	"num_uses": "token_num_uses", "bound_cidrs": "token_bound_cidrs",
}

// Update takes over the fields a request brings, under their own names and the old
// ones (policies, ttl, max_ttl, period). What it leaves out stays.
func (r *TokenRole) Update(f *Fields) error {
	for _, name := range []string{"policies", "token_policies"} {
		if f.Has(name) {
			r.Policies = f.List(name)
		}
	}
	for _, d := range []struct {
		to    *time.Duration
		names []string
	}{
		{&r.TTL, []string{"ttl", "token_ttl"}},
		{&r.MaxTTL, []string{"max_ttl", "token_max_ttl"}},
		{&r.Period, []string{"period", "token_period"}},
		{&r.ExplicitMax, []string{"token_explicit_max_ttl"}},
	} {
		for _, name := range d.names {
			if f.Has(name) {
				*d.to = f.Duration(name)
			}
		}
	}
	for _, name := range []string{"num_uses", "token_num_uses"} {
		r.NumUses = f.Int(name, r.NumUses)
	}
	r.NoDefault = f.Bool("token_no_default_policy", r.NoDefault)
	if f.Has("token_type") {
		r.Type = f.Text("token_type")
	}
	for _, name := range []string{"bound_cidrs", "token_bound_cidrs"} {
		if f.Has(name) {
			r.CIDRs = f.List(name)
		}
	}
	for old, name := range oldNames {
		if f.Has(name) || f.Has(old) {
			r.Old = slices.DeleteFunc(r.Old, func(s string) bool { return s == old })
		}
		if f.Has(old) && !f.Has(name) {
			r.Old = append(r.Old, old)
		}
	}
	slices.Sort(r.Old)
	return r.check(f)
}

// UpdatePolicies is Update of the policies alone.
func (r *TokenRole) UpdatePolicies(f *Fields) error {
	part := map[string]json.RawMessage{}
	for _, name := range []string{"policies", "token_policies"} {
		if f.Has(name) {
			part[name] = f.Raw(name)
		}
	}
	return r.Update(&Fields{data: part})
}

func (r *TokenRole) check(f *Fields) (err error) {
	switch {
	case f.Err() != nil:
		return f.Err()
	case r.MaxTTL > 0 && r.TTL > r.MaxTTL:
		return fault.New(fault.Invalid, "'token_ttl' cannot be greater than 'token_max_ttl'")
	case r.NumUses < 0:
		return fault.New(fault.Invalid, "'token_num_uses' cannot be negative")
	case !tokenTypes[r.Type]:
		return fault.New(fault.Invalid, "invalid 'token_type' value %q", r.Type)
	case r.batch() && r.Period > 0:
		return fault.New(fault.Invalid, "'token_type' cannot be 'batch' or 'default_batch' when set to generate periodic tokens")
	case r.batch() && r.NumUses > 0:
		return fault.New(fault.Invalid, "'token_type' cannot be 'batch' or 'default_batch' when set to generate tokens with limited use count")
	}
	r.CIDRs, err = CIDRs(r.CIDRs)
	return err
}

// batch reports whether the role may give batch tokens, which nothing is kept of.
func (r *TokenRole) batch() bool { return r.Type == "batch" || r.Type == "default-batch" }

var tokenTypes = map[string]bool{"": true, "default": true, "service": true, "batch": true, "default-service": true, "default-batch": true}

// Show adds the fields to an answer; every one of them is always there.
func (r *TokenRole) Show(out map[string]any) {
	kind := r.Type
	if kind == "" {
		kind = "default"
	}
	for name, d := range map[string]time.Duration{
		"token_ttl": r.TTL, "token_max_ttl": r.MaxTTL, "token_explicit_max_ttl": r.ExplicitMax, "token_period": r.Period,
	} {
		out[name] = int64(d / time.Second)
	}
	out["token_policies"], out["token_bound_cidrs"] = orEmpty(r.Policies), orEmpty(r.CIDRs)
	out["token_num_uses"], out["token_no_default_policy"], out["token_type"] = r.NumUses, r.NoDefault, kind
	for _, old := range r.Old {
		if value := out[oldNames[old]]; value != int64(0) && value != 0 {
			out[old] = value
		}
	}
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// Token is the token to be made at a login through a mount.
func (r *TokenRole) Token(m Mount) auth.NewToken {
	n := auth.NewToken{
		Policies: r.Policies, TTL: r.TTL, MaxTTL: r.MaxTTL, ExplicitMax: r.ExplicitMax, Period: r.Period, NumUses: r.NumUses,
		NoDefault: r.NoDefault, CIDRs: r.CIDRs, Path: m.Path + "login", Origin: m.UUID, Mount: m.Accessor,
	}
	if n.TTL == 0 {
		n.TTL = m.DefaultTTL()
	}
	if limit := m.MaxTTL(); n.MaxTTL == 0 || n.MaxTTL > limit {
		n.MaxTTL = limit
	}
	if r.Type == "batch" || (r.Type == "" || r.Type == "default" || r.Type == "default-batch") && strings.HasSuffix(m.Config.TokenType, "batch") {
		n.Type = "batch"
	}
	return n
}

// Terms are what a role gives a token that is renewed.
func (r *TokenRole) Terms(m Mount) auth.Terms {
	n := r.Token(m)
	return auth.Terms{TTL: n.TTL, MaxTTL: n.MaxTTL, Period: n.Period}
}

// Renews is Terms where the role must still give the policies that the token has.
func (r *TokenRole) Renews(m Mount, was *auth.Info) (auth.Terms, error) {
	var now []string
	for _, name := range r.Policies {
		now = append(now, strings.ToLower(strings.TrimSpace(name)))
	}
	if !r.NoDefault {
		now = append(now, policy.DefaultName)
	}
	slices.Sort(now)
	then := slices.Clone(was.Policies)
	slices.Sort(then)
	if !slices.Equal(slices.Compact(now), slices.Compact(then)) {
		return auth.Terms{}, fault.New(fault.Invalid, "policies have changed, not renewing")
	}
	return r.Terms(m), nil
}

// CIDRs checks address ranges and single addresses, and leaves them as they were
// written: who keeps them in a file compares them with what is read.
func CIDRs(texts []string) ([]string, error) {
	for _, text := range texts {
		if _, err := netip.ParsePrefix(text); err == nil {
			continue
		}
		if _, err := netip.ParseAddr(text); err != nil {
			return nil, fault.New(fault.Invalid, "%q is neither an address nor a range such as 10.0.0.0/8", text)
		}
	}
	return texts, nil
}

// Stored encodes what an engine keeps; it is always its own and cannot fail.
func Stored(v any) []byte {
	text, _ := json.Marshal(v)
	return text
}

// InCIDRs reports whether a peer's address is in one of some ranges; no ranges hold
// every address.
func InCIDRs(ranges []string, remote string) bool {
	if len(ranges) == 0 {
		return true
	}
	addr, err := netip.ParseAddr(remote)
	if err != nil {
		return false
	}
	for _, text := range ranges {
		if one, err := netip.ParseAddr(text); err == nil && one == addr.Unmap() {
			return true
		}
		if p, err := netip.ParsePrefix(text); err == nil && p.Contains(addr.Unmap()) {
			return true
		}
	}
	return false
}
