// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package barrier encrypts everything secret before the store sees it.
//
// It keeps a tree of entries, named by slash-separated paths, in one table.
// Neither the values nor the names can be read from that table: a row's key is
// HMAC(path), its folder HMAC(folder), and its body (name and value) is sealed
// with AES-256-GCM, bound to its key. What can be seen is how many entries
// there are, their sizes, when they expire, and which share a (blinded) group.
//
// The tree's keys are derived from a keyring, which is sealed by a root key,
// which is either split with Shamir's scheme among people or sealed by a key
// file. Until Unseal, every call answers fault.Sealed.
package barrier

import (
	"context"
	"time"

	"github.com/goldkeep/goldkeep/internal/store"
)

// Entry is one sealed thing.
type Entry struct {
	Path    string    // "a/b/c": no leading or trailing slash, at most 1024 bytes
	Value   []byte    // at most 32 MiB
	Expires time.Time // zero: never. Searchable without revealing the entry
	Group   string    // "": none. Entries of one group are found together, e.g. all of one token
}

// Reader reads entries within one transaction.
type Reader interface {
	// Get returns the entry, or nil where there is none.
	Get(ctx context.Context, path string) (*Entry, error)
	// List returns the names right below a folder ("" is the top), sorted;
	// folders end in "/". Nothing there is an empty list.
	List(ctx context.Context, dir string) ([]string, error)
	// InGroup returns the entries of a group, in no order.
	InGroup(ctx context.Context, group string) ([]Entry, error)
}

// Writer changes entries within one transaction.
type Writer interface {
	Reader
	// Put creates or replaces an entry.
	Put(ctx context.Context, e Entry) error
	// Add creates an entry; false, and nothing changed, where there is one. It is
	// quicker than Put.
	Add(ctx context.Context, e Entry) (bool, error)
	// Delete removes an entry; removing nothing is fine.
	Delete(ctx context.Context, path string) error
	// DeleteTree removes every entry below a folder.
	DeleteTree(ctx context.Context, dir string) error
}

// Space is a part of the tree: all that a room or an engine may touch. Paths are
// relative to it; groups are its own too.
type Space interface {
	// View runs fn on one point in time. fn may run more than once: it must return
	// the errors of its calls, and only look at results once they came without one.
	View(ctx context.Context, fn func(Reader) error) error
	// Update runs fn in one durable transaction; like store.Store.Update, fn may
	// run more than once.
	Update(ctx context.Context, fn func(Writer) error) error
	// In joins a transaction that is already running, so that sealed entries and
	// a room's own rows change together.
	In(tx store.Tx) Writer
	// Sub is the part of this space below a folder.
	Sub(dir string) Space
	// Expired returns up to limit entries of this space whose time has passed at
	// now, the oldest first.
	Expired(ctx context.Context, now time.Time, limit int) ([]Entry, error)
	// Now is the store's clock.
	Now() time.Time
}

// Keys gives a room keys of its own, none of which can be told from another's.
type Keys interface {
	// MAC returns HMAC-SHA-256 of data under a key for this purpose.
	MAC(purpose string, data []byte) ([]byte, error)
	// SealBytes encrypts and authenticates plaintext, bound to purpose and aad.
	SealBytes(purpose string, plaintext, aad []byte) ([]byte, error)
	// OpenBytes is the reverse; a changed or foreign text is fault.Invalid.
	OpenBytes(purpose string, sealed, aad []byte) ([]byte, error)
}
