// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/entity"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/policy"
	"github.com/goldkeep/goldkeep/internal/store"
)

// Sizes of random names, in characters of 62: 43 hold 256 bits, 24 hold 142.
const (
	tokenChars    = 43
	accessorChars = 24
)

const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// randomText returns n characters of the alphabet, all equally likely.
func randomText(random io.Reader, n int) (string, error) {
	out := make([]byte, 0, n)
	buf := make([]byte, n)
	for len(out) < n {
		if _, err := io.ReadFull(random, buf); err != nil {
			return "", fmt.Errorf("read random bytes: %w", err)
		}
		for _, b := range buf {
			if b < 248 && len(out) < n { // 248 = 4 * 62
				out = append(out, alphabet[b%62])
			}
		}
	}
	return string(out), nil
}

func plainAccessor(s string) bool {
	return s != "" && len(s) <= 128 && strings.Trim(s, alphabet) == ""
}

// Create issues a token. What is asked for in vain (policies outside the
// parent's, a child of a use-limited token) is fault.Denied or fault.Invalid;
// lifetimes that are too long are cut, with a warning.
func (t *Tokens) Create(ctx context.Context, n NewToken) (*Granted, error) {
	if err := n.check(); err != nil {
		return nil, err
	}
	token := ""
	if n.Type != typeBatch {
		var err error
		if token, err = t.newID(n.ID); err != nil {
			return nil, err
		}
	}
	accessor, err := randomText(t.o.Random, accessorChars)
	if err != nil {
		return nil, err
	}
	var granted *Granted
	err = t.o.Store.Update(ctx, func(tx store.Tx) error {
		w := t.o.Space.In(tx)
		rec := n.record()
		rec.Accessor = accessor
		if err := methodThere(ctx, w, n.Origin); err != nil {
			return err
		}
		warnings, err := t.place(ctx, w, rec, n)
		if err != nil {
			return err
		}
		if err := t.login(ctx, tx, rec, n); err != nil {
			return err
		}
		granted, err = t.issue(ctx, tx, rec, token)
		if err == nil {
			granted.Warnings = warnings
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return granted, t.showIdentity(ctx, granted)
}

// methodThere refuses a login that ends after its method was disabled: no later
// revocation would find the token.
func methodThere(ctx context.Context, r barrier.Reader, origin string) error {
	if origin == "" {
		return nil
	}
	ended, err := r.Get(ctx, endedPath(origin))
	if err == nil && ended != nil {
		err = fault.New(fault.Denied, "the auth method has been disabled")
	}
	return err
}

// issue keeps a new record under its token, or makes it one itself where there is
// none.
func (t *Tokens) issue(ctx context.Context, tx store.Tx, rec *record, token string) (granted *Granted, err error) {
	if token == "" {
		if token, err = t.sealBatch(rec); err != nil {
			return nil, err
		}
		granted = rec.granted(rec.Issued)
		granted.Token, granted.Type, granted.Accessor = token, typeBatch, ""
		return granted, nil
	}
	if rec.key, err = t.keyOf(token); err != nil {
		return nil, err
	}
	if rec.NumUses == 0 && strings.HasPrefix(token, Prefix) {
		rec.Proof = proofOf(token)
	}
	if err := t.insert(ctx, tx, t.o.Space.In(tx), rec); err != nil {
		return nil, err
	}
	granted = rec.granted(rec.Issued)
	granted.Token = token
	return granted, nil
}

// login finds or makes the entity of who logs in.
func (t *Tokens) login(ctx context.Context, tx store.Tx, rec *record, n NewToken) error {
	if n.Alias == nil || t.o.Entities == nil {
		return nil
	}
	e, err := t.o.Entities.Login(ctx, tx, entity.Login{Mount: n.Mount, Name: n.Alias.Name, Meta: n.Alias.Meta, Groups: n.Groups})
	if err == nil {
		rec.EntityID = e.ID
	}
	return err
}

// Know finds or makes the entity of who logs in, without a token, and returns its id;
// "" where the method says of nobody.
func (t *Tokens) Know(ctx context.Context, n NewToken) (string, error) {
	rec := &record{}
	err := t.o.Store.Update(ctx, func(tx store.Tx) error { return t.login(ctx, tx, rec, n) })
	return rec.EntityID, err
}

// showIdentity adds to an answer what the token's entity and groups give.
func (t *Tokens) showIdentity(ctx context.Context, g *Granted) error {
	who, err := t.identity(ctx, g.EntityID)
	if err == nil && who != nil {
		g.Identity = slices.Clone(who.Policies)
	}
	return err
}

func (n *NewToken) check() error {
	size := 0
	for k, v := range n.Meta {
		size += len(k) + len(v)
	}
	switch {
	case n.TTL < 0 || n.ExplicitMax < 0 || n.Period < 0:
		return fault.New(fault.Invalid, "ttl, explicit_max_ttl and period must not be negative")
	case n.NumUses < 0:
		return fault.New(fault.Invalid, "number of uses cannot be negative")
	case n.Type != "" && n.Type != typeService && n.Type != "default" && n.Type != typeBatch:
		return fault.New(fault.Invalid, "invalid 'token_type' value").WithHint("ask for \"service\" or \"batch\"")
	case size > maxMeta || len(n.Policies) > maxPolicies || len(n.Display) > maxTokenLen:
		return fault.New(fault.TooLarge, "the token's metadata, policies or display name are too large")
	case n.Parent != nil && n.Parent.Batch:
		return fault.New(fault.Invalid, "batch tokens cannot create more tokens")
	}
	return n.checkBatch()
}

// newID returns the chosen id, or a random one.
func (t *Tokens) newID(id string) (string, error) {
	if id == "" {
		s, err := randomText(t.o.Random, tokenChars)
		return Prefix + s + t.suffix(), err
	}
	if strings.HasPrefix(id, Prefix) || isBatch(id) {
		return "", fault.New(fault.Invalid, "a chosen token id must not start with %q or %q", Prefix, BatchPrefix)
	}
	if len(id) > maxTokenLen || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fault.New(fault.Invalid, "a chosen token id must be printable ASCII without spaces")
	}
	return id + t.suffix(), nil
}

func (n *NewToken) record() *record {
	r := &record{
		Meta: n.Meta, Display: n.Display, Path: n.Path, Instance: n.Instance, NumUses: n.NumUses,
		Renewable: n.Renewable == nil || *n.Renewable, ExplicitMax: n.ExplicitMax, Period: n.Period, MaxTTL: n.MaxTTL, CIDRs: n.CIDRs, Origin: n.Origin,
		Private: n.Private, Role: n.Role, Patron: n.Patron, Alone: n.Alone,
	}
	if r.Display == "" {
		r.Display = "token"
	}
	if r.Path == "" {
		r.Path = "auth/token/create"
	}
	return r
}

// place fills in what depends on the parent and the clock.
func (t *Tokens) place(ctx context.Context, r barrier.Reader, rec *record, n NewToken) ([]string, error) {
	now := t.o.Space.Now()
	var parent *record
	if n.Parent != nil {
		var err error
		if parent, err = t.parent(ctx, r, n.Parent.Accessor, now); err != nil {
			return nil, err
		}
		if !n.NoParent {
			rec.Parent, rec.Depth, rec.EntityID = parent.key, parent.Depth+1, parent.EntityID
		}
		if !n.NoParent && len(rec.CIDRs) == 0 { // what binds the parent binds its children
			rec.CIDRs = parent.CIDRs
		}
		if rec.Depth > MaxDepth {
			return nil, fault.New(fault.Invalid, "this token would be generation %d of its tree; the limit is %d", rec.Depth, MaxDepth).
				WithHint("create an orphan token, or use a token nearer the root of the tree")
		}
	}
	if n.EntityID != "" {
		rec.EntityID = n.EntityID
	}
	policies, err := grantedPolicies(parent, n)
	if err != nil {
		return nil, err
	}
	rec.Policies = policies
	if err := t.checkNamespace(rec); err != nil {
		return nil, err
	}
	if parent != nil && !n.NoParent {
		rec.Patron = parent.Patron
	}
	if parent != nil && rec.root() && !parent.Expires.IsZero() && n.TTL == 0 && n.Period == 0 && n.ExplicitMax == 0 {
		return nil, fault.New(fault.Invalid, "a root token that expires cannot create one that does not").WithHint("give a ttl")
	}
	return t.setLifetime(rec, n.TTL, now), nil
}

// parent loads the parent inside the transaction: it may have been revoked
// since the request was let in.
func (t *Tokens) parent(ctx context.Context, r barrier.Reader, accessor string, now time.Time) (*record, error) {
	parent, err := loadAccessor(ctx, r, accessor)
	if err != nil {
		return nil, err
	}
	if parent != nil && (parent.NumUses > 0 || parent.Spent) {
		return nil, fault.New(fault.Invalid, "a token with limited uses cannot create other tokens")
	}
	ok, err := accepted(ctx, r, parent, now)
	if err == nil && !ok {
		err = errBadToken()
	}
	return parent, err
}

// setLifetime does the lifetime arithmetic of a new token.
func (t *Tokens) setLifetime(rec *record, asked time.Duration, now time.Time) (warnings []string) {
	rec.Issued = now
	if rec.root() && asked == 0 && rec.Period == 0 && rec.ExplicitMax == 0 {
		rec.Renewable = false
		return nil
	}
	ttl := asked
	switch {
	case rec.Period > 0:
		ttl = rec.Period
	case ttl == 0:
		ttl = t.o.DefaultTTL
	}
	if limit := t.limit(rec); rec.Period == 0 && ttl > limit {
		warnings = append(warnings, capped(ttl, limit))
		ttl = limit
	}
	if rec.ExplicitMax > 0 && ttl > rec.ExplicitMax {
		warnings = append(warnings, capped(ttl, rec.ExplicitMax))
		ttl = rec.ExplicitMax
	}
	rec.CreationTTL = ttl
	rec.Expires = now.Add(ttl)
	return warnings
}

// capped says, in the words clients know, that a lifetime was cut.
func capped(asked, limit time.Duration) string {
	return fmt.Sprintf("TTL of %q exceeded the effective max_ttl of %q; TTL value is capped accordingly", short(asked), short(limit))
}

// short is a duration without the zeros behind: "10h" and not "10h0m0s".
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// limit is the longest a token may live that has no period.
func (t *Tokens) limit(rec *record) time.Duration {
	if rec.MaxTTL > 0 && rec.MaxTTL < t.o.MaxTTL {
		return rec.MaxTTL
	}
	return t.o.MaxTTL
}

// grantedPolicies are the asked policies, where the parent may give them.
func grantedPolicies(parent *record, n NewToken) ([]string, error) {
	names := cleanPolicies(n.Policies)
	if len(names) == 0 && parent != nil {
		names = slices.Clone(parent.Policies)
		if n.NoDefault {
			names = slices.DeleteFunc(names, func(s string) bool { return s == policy.DefaultName })
		}
	}
	if slices.Contains(names, policy.RootName) && n.Origin != "" {
		return nil, fault.New(fault.Invalid, "auth methods cannot create root tokens")
	}
	if slices.Contains(names, policy.RootName) {
		if parent != nil && !parent.root() {
			return nil, fault.New(fault.Invalid, "child policies must be subset of parent").WithHint("only a root token can create root tokens")
		}
		return []string{policy.RootName}, nil
	}
	if parent != nil && slices.Contains(names, policy.WrappingName) {
		return nil, fault.New(fault.Invalid, "policy %q cannot be given to a token", policy.WrappingName)
	}
	if parent != nil && !parent.root() && !n.AnyPolicy {
		for _, name := range names {
			if name != policy.DefaultName && !slices.Contains(parent.Policies, name) {
				return nil, fault.New(fault.Invalid, "child policies must be subset of parent").
					WithHint("ask for policies of your own token, or use a token with sudo on auth/token/create")
			}
		}
	}
	if !n.NoDefault && !slices.Contains(names, policy.DefaultName) {
		names = append(names, policy.DefaultName)
		slices.Sort(names)
	}
	return names, nil
}

// cleanPolicies lowers, sorts and drops doubles and empty names.
func cleanPolicies(names []string) []string {
	var out []string
	for _, n := range names {
		if n = policy.NormalName(n); n != "" {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// insert writes a new record with everything that leads to it.
func (t *Tokens) insert(ctx context.Context, tx store.Tx, w barrier.Writer, rec *record) error {
	e, err := rec.entry()
	if err != nil {
		return err
	}
	for _, e := range []barrier.Entry{e, {Path: accessorPath(rec.Accessor), Value: []byte(rec.key)}} {
		added, err := w.Add(ctx, e)
		if err != nil {
			return err
		}
		if !added {
			return fault.New(fault.Invalid, "cannot create a token with a duplicate ID")
		}
	}
	if rec.Instance != "" {
		if err := w.Put(ctx, barrier.Entry{Path: instancePath(rec), Value: []byte(rec.key)}); err != nil {
			return err
		}
	}
	return t.writeProof(ctx, tx, rec)
}

func (t *Tokens) writeProof(ctx context.Context, tx store.Tx, rec *record) error {
	if rec.Proof == nil {
		return nil
	}
	_, err := tx.Exec(ctx, `INSERT INTO token_proof (hash, expires) VALUES (?, ?) ON CONFLICT (hash) DO UPDATE SET expires = excluded.expires`,
		rec.Proof, store.Millis(rec.Expires))
	return err
}

func (r *record) granted(now time.Time) *Granted {
	g := &Granted{
		Accessor: r.Accessor, Policies: r.Policies, Meta: r.Meta, Renewable: r.Renewable, Orphan: r.Parent == "",
		NumUses: r.NumUses, Type: typeService, EntityID: r.EntityID,
	}
	if !r.Expires.IsZero() {
		g.TTL = r.Expires.Sub(now)
	}
	return g
}

// Renewal is what a renewal asks for.
type Renewal struct {
	Increment time.Duration // 0: what the terms say, or what it was made with
	Terms     *Terms        // of the auth method that gave it; nil: as before
}

// Renew sets a token's lifetime anew: to its period, or else to increment (0:
// what it was made with), never past its limits. fault.Invalid where it is not
// renewable.
func (t *Tokens) Renew(ctx context.Context, token string, asked Renewal) (*Granted, error) {
	if isBatch(token) {
		return nil, errBatch("renewed")
	}
	key, err := t.keyOf(token)
	if err != nil {
		return nil, err
	}
	g, err := t.renew(ctx, asked, errBadToken, func(r barrier.Reader) (*record, error) { return load(ctx, r, key) })
	if err == nil {
		g.Token = token
	}
	return g, err
}

// RenewAccessor is Renew by accessor; the token is not in the answer.
func (t *Tokens) RenewAccessor(ctx context.Context, accessor string, asked Renewal) (*Granted, error) {
	return t.renew(ctx, asked, errBadAccessor, func(r barrier.Reader) (*record, error) { return loadAccessor(ctx, r, accessor) })
}

func (t *Tokens) renew(ctx context.Context, asked Renewal, unknown func() error, find func(barrier.Reader) (*record, error)) (*Granted, error) {
	var granted *Granted
	err := t.o.Store.Update(ctx, func(tx store.Tx) error {
		w := t.o.Space.In(tx)
		rec, err := find(w)
		if err != nil {
			return err
		}
		now := t.o.Space.Now()
		ok, err := accepted(ctx, w, rec, now)
		if err != nil {
			return err
		}
		if !ok {
			return unknown()
		}
		if !rec.Renewable {
			return fault.New(fault.Invalid, "lease is not renewable")
		}
		if terms := asked.Terms; terms != nil {
			rec.MaxTTL, rec.Period = terms.MaxTTL, terms.Period
			if limit := terms.ExplicitMax; limit > 0 && (rec.ExplicitMax == 0 || limit < rec.ExplicitMax) {
				rec.ExplicitMax = limit
			}
		}
		warnings := t.extend(rec, asked, now)
		if err := save(ctx, w, rec); err != nil {
			return err
		}
		granted = rec.granted(now)
		granted.Warnings = warnings
		return t.writeProof(ctx, tx, rec)
	})
	if err != nil {
		return nil, err
	}
	return granted, t.showIdentity(ctx, granted)
}

// extend does the lifetime arithmetic of a renewal.
func (t *Tokens) extend(rec *record, asked Renewal, now time.Time) (warnings []string) {
	ttl, limit := max(asked.Increment, 0), t.limit(rec)
	if ttl == 0 && asked.Terms != nil {
		ttl = asked.Terms.TTL
	}
	if ttl == 0 {
		ttl = rec.RenewedTTL
	}
	if ttl == 0 {
		ttl = rec.CreationTTL
	}
	if rec.Period > 0 {
		ttl, limit = rec.Period, 0
	}
	if rec.ExplicitMax > 0 && (limit == 0 || rec.ExplicitMax < limit) {
		limit = rec.ExplicitMax
	}
	rec.Expires, rec.Renewed = now.Add(ttl), now
	if end := rec.Issued.Add(limit); limit > 0 && rec.Expires.After(end) {
		if rec.Expires.Sub(end) > time.Second { // not for the moment since the login
			warnings = append(warnings, capped(ttl, limit))
		}
		rec.Expires = end
	}
	rec.RenewedTTL = ttl
	return warnings
}
