// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package auth turns a credential into a subject. On this path the credential is
// a token; other methods become variants of this room.
//
// A token is kept under HMAC(token), never as itself. It is accepted while it
// is not expired on the store's clock, has uses left, and the same holds for
// every token it descends from: that is checked at every use, so revoking or
// expiring the head of a tree ends all of it in one small transaction, however
// large the tree is. The rows of the descendants are cleared away afterwards, in
// batches, and after a crash by Tidy.
package auth

import (
	"slices"
	"time"

	"github.com/goldkeep/goldkeep/internal/entity"
)

// Subject is who a request comes from.
type Subject struct {
	Accessor string            // names the token without being it
	Owner    string            // accessor of the token that leases belong to; "": they end by time alone
	Batch    bool              // the token is kept nowhere: it has no cubbyhole and no children
	Display  string            // "token", "workload-payments", ...
	Policies []string          // names, sorted: the token's own and those of its entity and groups
	Identity *entity.Identity  // who is behind the token; nil: nobody is known
	Meta     map[string]string // free text of the issuer
	Instance string            // id of the workload instance the token belongs to, or ""
	Root     bool              // has the policy "root"
	Expires  time.Time         // zero: never
	Path     string            // where the token was made: "auth/token/create"
	Orphan   bool              // has no parent
	CIDRs    []string          // ranges of addresses the token may be used from; none: any
	LastUse  bool              // this was the last use allowed: revoke the token after the request
	Limited  bool              // it can be used a number of times, this one among them
	Foreign  *Patron           // the token is of a namespace above, and is this one there: neither its policies nor its identity mean anything here; nil: it is of this one
}

// Granted is a token just issued or renewed, as the answer's auth block shows it.
type Granted struct {
	Token     string
	Accessor  string
	Policies  []string // the token's own
	Identity  []string // those its entity and groups have
	Meta      map[string]string
	TTL       time.Duration
	Renewable bool
	Orphan    bool
	NumUses   int
	EntityID  string
	Type      string   // "service" or "batch"
	Warnings  []string // what was done otherwise than asked: capped lifetimes

	Needs *Requirement // nil: this is a token. Else there is none yet: the login needs more proof
}

// Requirement says what a login needs besides its credential.
type Requirement struct {
	ID  string             `json:"mfa_request_id"` // names the login that waits
	Any map[string][]Proof `json:"-"`              // by the name of what asks for it: one of these
}

// Proof is one way to prove more.
type Proof struct {
	Type     string `json:"type"` // "totp", ...
	ID       string `json:"id"`
	Passcode bool   `json:"uses_passcode,omitempty"`
	Name     string `json:"name,omitempty"`
}

// All are the names of the token's policies and those of its entity and groups,
// sorted.
func (g *Granted) All() []string {
	all := append(slices.Clone(g.Policies), g.Identity...)
	slices.Sort(all)
	return slices.Compact(all)
}

// Info is what a lookup shows of a token.
type Info struct {
	Accessor    string
	Policies    []string // the token's own
	Identity    *entity.Identity
	EntityID    string            // also where that entity is gone
	Alone       bool              // its entity's policies do not count
	Origin      string            // the auth mount (UUID) it comes from; "": none
	Role        string            // the token role it was made by; "": none
	Private     map[string]string // what that mount's method keeps with the token; never shown
	Meta        map[string]string
	Display     string
	Path        string
	Instance    string
	Type        string
	NumUses     int // uses left; 0: no limit, -1: none, this was the last
	Orphan      bool
	Renewable   bool
	Issued      time.Time
	Expires     time.Time // zero: never
	Renewed     time.Time // zero: not yet
	CreationTTL time.Duration
	ExplicitMax time.Duration
	Period      time.Duration
	TTL         time.Duration // left; 0: no limit
	CIDRs       []string      // ranges of addresses it may be used from; none: any
}

// NewToken is what a token shall be like.
type NewToken struct {
	Parent      *Subject // nil: made by the server itself, an orphan
	ID          string   // "": random. Anything else must be secret enough on its own
	Policies    []string // none: those of the parent
	Meta        map[string]string
	TTL         time.Duration     // 0: the default
	ExplicitMax time.Duration     // counted from issue; 0: none
	Period      time.Duration     // each renewal sets the lifetime to this; 0: none
	MaxTTL      time.Duration     // no renewal goes beyond; counted from issue; 0: the system's
	CIDRs       []string          // ranges of addresses it may be used from; none: any
	Origin      string            // the auth mount (UUID) it comes from; see RevokeOrigin
	NumUses     int               // 0: no limit
	Renewable   *bool             // nil: yes
	Display     string            // "": "token"
	Path        string            // where it is made; "": "auth/token/create"
	Type        string            // "", "default", "service" or "batch"
	NoParent    bool              // an orphan: not revoked with Parent
	NoDefault   bool              // without the policy "default"
	AnyPolicy   bool              // the caller has sudo: policies need not be within the parent's
	Instance    string            // workload instance the token belongs to
	Mount       string            // accessor of the auth mount of a login; needed with Alias
	Alias       *Alias            // who logs in, as the auth method knows them: finds or makes the entity
	Groups      []string          // what the method says they are in; external groups with such an alias take them in
	Role        string            // the token role it is made by
	Private     map[string]string // what the method wants to find again in Info when the token is to be renewed
	EntityID    string            // of a child that is somebody else, or of who it is about; "": the parent's, where it is no orphan
	Alone       bool              // its entity's policies do not count: it can do what its own allow and no more
	Patron      *Patron           // the token of a namespace above that makes it, in Parent's stead
}

// Terms are the lifetimes an auth method gives a token it is asked to renew.
type Terms struct {
	TTL    time.Duration // where the caller asks for no other; 0: what it was made with
	MaxTTL time.Duration // counted from issue; 0: the system's
	Period time.Duration // each renewal sets the lifetime to this; 0: none

	ExplicitMax time.Duration // counted from issue; 0, and what is longer than the token's own, changes nothing
}

// Alias is what an auth method calls somebody who logs in.
type Alias struct {
	Name string            // never changes for one person or program: a user name, a role id, a subject
	Meta map[string]string // what the method knows of them; policy templates can use it
}

// Refused reports whether the token is not accepted though it has not ended: its
// entity is disabled or gone.
func (i *Info) Refused() bool {
	return i.EntityID != "" && (i.Identity == nil || i.Identity.Entity.Disabled)
}

// All are the names of the token's policies and those of its entity and groups,
// sorted.
func (i *Info) All() []string {
	if i.Alone {
		return slices.Clone(i.Policies)
	}
	return joined(i.Policies, i.Identity)
}

// joined are a token's policies with those of an identity. Root stays a matter of
// tokens: an entity cannot give it.
func joined(own []string, who *entity.Identity) []string {
	if who == nil || len(who.Policies) == 0 {
		return slices.Clone(own)
	}
	all := append(slices.Clone(own), who.Policies...)
	slices.Sort(all)
	return slices.Compact(all)
}
