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

import "time"

// Subject is who a request comes from.
type Subject struct {
	Accessor string            // names the token without being it
	Display  string            // "token", "workload-payments", ...
	Policies []string          // names, sorted
	Meta     map[string]string // free text of the issuer
	Instance string            // id of the workload instance the token belongs to, or ""
	Root     bool              // has the policy "root"
	Expires  time.Time         // zero: never
	Path     string            // where the token was made: "auth/token/create"
	Orphan   bool              // has no parent
	CIDRs    []string          // ranges of addresses the token may be used from; none: any
	LastUse  bool              // this was the last use allowed: revoke the token after the request
}

// Granted is a token just issued or renewed, as the answer's auth block shows it.
type Granted struct {
	Token     string
	Accessor  string
	Policies  []string
	Meta      map[string]string
	TTL       time.Duration
	Renewable bool
	Orphan    bool
	NumUses   int
	EntityID  string
	Type      string   // "service" or "batch"
	Warnings  []string // what was done otherwise than asked: capped lifetimes
}

// Info is what a lookup shows of a token.
type Info struct {
	Accessor    string
	Policies    []string
	Meta        map[string]string
	Display     string
	Path        string
	Instance    string
	Type        string
	NumUses     int // uses left; 0: no limit
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
	TTL         time.Duration // 0: the default
	ExplicitMax time.Duration // counted from issue; 0: none
	Period      time.Duration // each renewal sets the lifetime to this; 0: none
	MaxTTL      time.Duration // no renewal goes beyond; counted from issue; 0: the system's
	CIDRs       []string      // ranges of addresses it may be used from; none: any
	Origin      string        // the auth mount (UUID) it comes from; see RevokeOrigin
	NumUses     int           // 0: no limit
	Renewable   *bool         // nil: yes
	Display     string        // "": "token"
	Path        string        // where it is made; "": "auth/token/create"
	Type        string        // "", "default" or "service"
	NoParent    bool          // an orphan: not revoked with Parent
	NoDefault   bool          // without the policy "default"
	AnyPolicy   bool          // the caller has sudo: policies need not be within the parent's
	Instance    string        // workload instance the token belongs to
}
