// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package jwt

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// claims is what a verified token says. Numbers are json.Number.
type claims map[string]any

// who is somebody a provider vouches for.
type who struct {
	Name   string            `json:"name"`
	Groups []string          `json:"groups,omitempty"`
	Meta   map[string]string `json:"meta"`
}

// maxGroups bounds how many groups one person is said to be in.
const maxGroups = 1000

// at finds a claim by its name or, where that begins with a slash, by a JSON
// pointer (RFC 6901); nil where there is none.
func (c claims) at(name string) any {
	if !strings.HasPrefix(name, "/") {
		return c[name]
	}
	var at any = map[string]any(c)
	for part := range strings.SplitSeq(name[1:], "/") {
		part = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
		switch in := at.(type) {
		case map[string]any:
			at = in[part]
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(in) {
				return nil
			}
			at = in[i]
		default:
			return nil
		}
	}
	return at
}

// text is a claim that must be a text.
func (c claims) text(name string) string {
	text, _ := c[name].(string)
	return text
}

// list is a claim that may be one text or several.
func (c claims) list(name string) (texts []string) {
	values, _ := listOf(c[name])
	for _, v := range values {
		if text, ok := v.(string); ok {
			texts = append(texts, text)
		}
	}
	return texts
}

// moment is a claim that must be a time (RFC 7519, NumericDate); zero where it is
// missing.
func (c claims) moment(name string) (time.Time, error) {
	value, there := c[name]
	if !there || value == nil {
		return time.Time{}, nil
	}
	number, ok := value.(json.Number)
	if !ok {
		return time.Time{}, fault.New(fault.Invalid, "claim %q is no time", name)
	}
	at, err := number.Float64()
	if err != nil || at < 0 || at > 1<<40 {
		return time.Time{}, fault.New(fault.Invalid, "claim %q is no time", name)
	}
	return time.Unix(int64(at), 0), nil
}

// listOf is a text, a number, a yes or no, or a list of them, as a list.
func listOf(value any) ([]any, bool) {
	switch v := value.(type) {
	case []any:
		return v, true
	case string, bool, json.Number:
		return []any{v}, true
	}
	return nil, false
}

// The leeways where a role names none.
const (
	defaultLeeway = 150 * time.Second // between claims of which one is missing
	defaultSkew   = 60 * time.Second  // between the provider's clock and ours
)

func leeway(set, fallback time.Duration) time.Duration {
	switch {
	case set < 0:
		return 0
	case set == 0:
		return fallback
	}
	return set
}

// accept holds a token's claims against a role: issuer, audience, subject, times,
// and whatever else is bound.
func (r *role) accept(c claims, p *provider, now time.Time) error {
	if want := p.issuer(); want != "" && c.text("iss") != want {
		return fault.New(fault.Invalid, "invalid issuer (iss) claim")
	}
	if r.Subject != "" && c.text("sub") != r.Subject {
		return fault.New(fault.Invalid, "invalid subject (sub) claim")
	}
	audience := c.list("aud")
	switch {
	case len(r.Audiences) == 0 && c["aud"] != nil:
		return fault.New(fault.Invalid, "audience claim found in JWT but no audiences bound to the role")
	case len(r.Audiences) > 0 && !overlap(r.Audiences, audience):
		return fault.New(fault.Invalid, "invalid audience (aud) claim: audience claim does not match any expected audience")
	}
	if err := r.inTime(c, now); err != nil {
		return err
	}
	return r.checkBound(c)
}

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}

// inTime checks when the token is valid. At least one time must be there; what is
// missing follows from the others.
func (r *role) inTime(c claims, now time.Time) error {
	var times [3]time.Time
	for i, name := range []string{"iat", "nbf", "exp"} {
		at, err := c.moment(name)
		if err != nil {
			return err
		}
		times[i] = at
	}
	issued, from, until := times[0], times[1], times[2]
	if issued.IsZero() && from.IsZero() && until.IsZero() {
		return fault.New(fault.Invalid, "no issued at (iat), not before (nbf), or expiration time (exp) claims in token")
	}
	if until.IsZero() {
		latest := issued
		if from.After(latest) {
			latest = from
		}
		until = latest.Add(leeway(r.ExpiryLeeway, defaultLeeway))
	}
	if from.IsZero() {
		from = issued
		if issued.IsZero() {
			from = until.Add(-leeway(r.NotBefore, defaultLeeway))
		}
	}
	skew := leeway(r.SkewLeeway, defaultSkew)
	switch {
	case now.Add(-skew).After(until):
		return fault.New(fault.Invalid, "invalid expiration time (exp) claim: token is expired")
	case now.Add(skew).Before(from):
		return fault.New(fault.Invalid, "invalid not before (nbf) claim: token not yet valid")
	case now.Add(skew).Before(issued):
		return fault.New(fault.Invalid, "invalid issued at (iat) claim: token issued in the future")
	}
	return nil
}

// checkBound checks the claims that the role wants to have certain values: one of
// the wanted must be among those that are there.
func (r *role) checkBound(c claims) error {
	for name, value := range r.bound() {
		have, ok := listOf(c.at(name))
		if !ok {
			return fault.New(fault.Invalid, "error validating claims: claim %q is missing", name)
		}
		wanted, _ := listOf(value)
		if !slices.ContainsFunc(wanted, func(w any) bool {
			return slices.ContainsFunc(have, func(h any) bool { return r.matches(w, h) })
		}) {
			return fault.New(fault.Invalid, "error validating claims: claim %q does not match any associated bound claim values", name)
		}
	}
	return nil
}

func (r *role) matches(wanted, have any) bool {
	if pattern, ok := wanted.(string); ok && r.ClaimsType == "glob" {
		text, ok := have.(string)
		return ok && engine.Glob(pattern, text)
	}
	switch have.(type) { // what else there is cannot be compared
	case string, bool, json.Number:
		return wanted == have
	}
	return false
}

// identify says who it is that a token speaks of.
func (r *role) identify(c claims) (*who, error) {
	var name any = c[r.UserClaim]
	if r.UserPointer {
		name = c.at(r.UserClaim)
	}
	if name == nil {
		return nil, fault.New(fault.Invalid, "claim %q not found in token", r.UserClaim)
	}
	text, ok := name.(string)
	if !ok || text == "" {
		return nil, fault.New(fault.Invalid, "claim %q could not be converted to string", r.UserClaim)
	}
	w := &who{Name: text, Meta: map[string]string{}}
	for source, target := range r.Mappings {
		value := c.at(source)
		if value == nil {
			continue
		}
		text, ok := value.(string)
		if !ok {
			return nil, fault.New(fault.Invalid, "error converting claim '%s' to string", source)
		}
		w.Meta[target] = text
	}
	w.Meta["role"] = r.Name
	var err error
	w.Groups, err = r.groups(c)
	return w, err
}

func (r *role) groups(c claims) (groups []string, err error) {
	if r.GroupsClaim == "" {
		return nil, nil
	}
	raw := c.at(r.GroupsClaim)
	if raw == nil {
		return nil, fault.New(fault.Invalid, "failed to fetch groups: %q claim not found in token", r.GroupsClaim)
	}
	list, ok := listOf(raw)
	if !ok {
		return nil, fault.New(fault.Invalid, "%q claim could not be converted to string list", r.GroupsClaim)
	}
	if len(list) > maxGroups {
		return nil, fault.New(fault.TooLarge, "%q claim names over %d groups", r.GroupsClaim, maxGroups)
	}
	for _, one := range list {
		text, ok := one.(string)
		if !ok {
			return nil, fault.New(fault.Invalid, "a value in the groups claim %q is no text", r.GroupsClaim)
		}
		if text != "" {
			groups = append(groups, text)
		}
	}
	return groups, nil
}
