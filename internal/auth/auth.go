// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package auth turns a credential into a subject. On this path the credential is
// a token; other methods become variants of this room.
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
	Type      string // "service" or "batch"
}
