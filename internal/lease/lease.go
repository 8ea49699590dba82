// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package lease records what was handed out: until when, and how to take it back.
//
// Nothing is created at a target before its lease, with the recipe to undo it,
// is durable (state pending). After a crash, pending leases are undone by their
// recipe; expired and revoked ones are undone until the target has confirmed.
// A recipe is data, not code: it still works when the role or the mount that
// made it is gone.
package lease

import (
	"context"
	"encoding/json"
	"time"
)

// State is where a lease is in its life.
type State string

// The states of a lease.
const (
	Pending  State = "pending"  // the credential may or may not exist at the target yet
	Active   State = "active"   // handed out
	Revoking State = "revoking" // to be undone; retried until done, never forgotten
)

// Lease is one thing handed out.
type Lease struct {
	ID        string          `json:"id"`    // starts with the request path, then "/" and 24 random characters
	Owner     string          `json:"owner"` // accessor of the token it was made for; gone with it
	State     State           `json:"state"`
	Issued    time.Time       `json:"issued"`
	Expires   time.Time       `json:"expires"`
	MaxExpiry time.Time       `json:"max_expiry"` // zero: no limit to renewal
	Renewed   time.Time       `json:"renewed"`
	Renewable bool            `json:"renewable"`
	Kind      string          `json:"kind"`   // which Undoer knows the recipe
	Recipe    json.RawMessage `json:"recipe"` // all that is needed to undo it
	Retry     time.Time       `json:"retry"`  // revoking: when to try next
	Tries     int             `json:"tries"`
	LastError string          `json:"last_error,omitempty"` // a fixed text, no secrets

	at string // where it is kept
}

// Undoer takes a credential back at its target. It must be idempotent, and
// "there is no such credential" is success.
type Undoer interface {
	Undo(ctx context.Context, recipe json.RawMessage) error
}
