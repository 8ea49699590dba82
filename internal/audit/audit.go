// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package audit is the append-only, hash-chained record of every decision.
//
// It is not a log: a record is written before the answer it describes leaves,
// and where it cannot be written there is no answer. Nothing secret stands in a
// record in clear: what could name a secret is sealed (readable through the
// server by those allowed to) and blinded with a keyed hash (so that equal
// things can be found equal).
package audit

import (
	"context"
	"time"
)

// Log takes records. Only the gate has one.
type Log interface {
	// Append writes one record and returns when it is written to the file, and,
	// with rec.Sync, when it is on disk. An error means: do not answer.
	Append(ctx context.Context, rec Record) error
	// Begin writes one record as Append does, and has it on its way to disk when
	// it returns; onDisk waits for that. It is for work that takes time of its
	// own between the record and the answer. An error of either means: do not
	// answer.
	Begin(ctx context.Context, rec Record) (onDisk func() error, err error)
}

// OpEnd is the operation of the event a server that stops writes last.
const OpEnd = "audit.end"

// Record is one decision. Seq, Time, Node, Prev and Hash are filled in by the
// log. The field names are a contract (docs/audit.md).
type Record struct {
	Seq    uint64    `json:"seq"`
	Time   time.Time `json:"time"`
	Node   string    `json:"node"`
	Kind   string    `json:"kind"`             // "request", "response" or "event" (a decision nobody asked for)
	ID     string    `json:"id"`               // request id: joins a request to its response
	Op     string    `json:"op"`               // read, list, create, update, patch, delete, ...
	Mount  string    `json:"mount,omitempty"`  // "secret/", "sys/", "api/": never the path below
	Path   string    `json:"path,omitempty"`   // blinded: "hmac-sha256:..."
	Actor  string    `json:"actor,omitempty"`  // accessor of the token, or "system"
	Name   string    `json:"name,omitempty"`   // display name of the token
	Remote string    `json:"remote,omitempty"` // peer address, or "unix"
	Answer string    `json:"answer,omitempty"` // "allow", "deny", "error" or an event's outcome
	Reason string    `json:"reason,omitempty"` // why, from a fixed set of texts without names
	Sealed []byte    `json:"sealed,omitempty"` // the full detail (path, parameters blinded), sealed
	Prev   string    `json:"prev"`             // hash of the record before
	Hash   string    `json:"hash"`             // SHA-256 over all of the above
	Sync   bool      `json:"-"`                // wait for the disk
	Detail []byte    `json:"-"`                // what the log is to seal into Sealed; left out while the barrier is sealed
}
