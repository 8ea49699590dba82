// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package snapshot makes a copy of everything a store holds in one file, and
// brings it back: into the same store or another one, of either variant.
//
// A snapshot is a gzipped tar, as "bao operator raft snapshot" makes one:
// meta.json (what is in it), state.bin (all rows), SHA256SUMS, and
// SHA256SUMS.sealed, which proves who made it. What is sealed in the store stays
// sealed in the snapshot.
package snapshot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/goldkeep/goldkeep/internal/store"
)

// Format is the number of the format written; older ones would be read too.
const Format = 1

// Meta says what is in a snapshot.
type Meta struct {
	Format  int            `json:"format"`
	ID      string         `json:"id"`      // random
	Version string         `json:"version"` // of the program
	Time    time.Time      `json:"time"`    // on the store's clock
	Node    string         `json:"node"`
	Cluster string         `json:"cluster"` // whose barrier sealed it; "" before initialization
	Store   string         `json:"store"`   // "sqlite", "postgresql"
	Rooms   map[string]int `json:"rooms"`   // version of each room's tables
	Tables  []Table        `json:"tables"`
	Audit   []Anchor       `json:"audit"` // how far each node's audit log had come
	Size    int64          `json:"size"`  // of state.bin, in bytes
	SHA256  string         `json:"sha256"`
}

// Table is one table's content in short.
type Table struct {
	Name    string   `json:"name"`
	Columns []string `json:"columns"`
	Rows    int64    `json:"rows"`
	Sum     string   `json:"sum"` // the rows' SHA-256 added up: their order does not matter
}

// Anchor names the last record of a node's audit log.
type Anchor struct {
	Seq  uint64 `json:"seq"`
	Hash string `json:"hash"`
	Node string `json:"node"`
}

// Source is a store that can be copied.
type Source interface {
	store.Store
	store.Inspector
}

// Seal proves who made a snapshot.
type Seal interface {
	// MAC authenticates data with a key of the barrier.
	MAC(purpose string, data []byte) ([]byte, error)
}

// purpose names the key snapshots are authenticated with.
const purpose = "snapshot"

// kept are the tables a snapshot does not bring back: a node's own view of its
// audit log, which goes on.
const anchors = "server_anchor"

// ownRoom is the room of the anchors' table.
const ownRoom = "server"

// sum adds up the hashes of rows, so that the same rows in another order have
// the same sum.
type sum [sha256.Size]byte

func (s *sum) add(row []byte) {
	h := sha256.Sum256(row)
	carry := uint16(0)
	for i := len(s) - 1; i >= 0; i-- {
		carry += uint16(s[i]) + uint16(h[i])
		s[i] = byte(carry)
		carry >>= 8
	}
}

func (s *sum) String() string { return hex.EncodeToString(s[:]) }

// rooms reads the version of every room's tables.
func rooms(ctx context.Context, tx store.Tx) (map[string]int, error) {
	all := map[string]int{}
	err := store.Each(ctx, tx, func(r store.Row) error {
		var room string
		var version int
		if err := r.Scan(&room, &version); err != nil {
			return err
		}
		all[room] = version
		return nil
	}, "SELECT room, version FROM store_version")
	return all, err
}
