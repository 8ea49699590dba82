// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package fleet keeps what images are made of: the packages and facts each layer
// brings, once for all images that have it, with what advisories say of them. It
// finds images by package and by flaw without looking at any, and when advisories
// change it looks again at what holds their packages, and nothing else. Images are
// numbers here; package catalog knows the rest. docs/design/fleet.md tells why.
package fleet

import (
	"context"
	"slices"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/store"
)

// Fleet keeps the parts of images. It may be used by several goroutines, and by
// several nodes on one database.
type Fleet struct {
	store      store.Store
	advisories *advisory.Index
	cache      cache
}

var steps = []string{`
CREATE TABLE fleet_part (
	num INTEGER PRIMARY KEY,
	hash TEXT NOT NULL UNIQUE,
	version BIGINT NOT NULL,
	body BLOB NOT NULL,
	mark TEXT NOT NULL,
	found BLOB NOT NULL,
	uncovered TEXT NOT NULL,
	fresh BIGINT NOT NULL
);
CREATE INDEX fleet_part_uncovered ON fleet_part (uncovered) WHERE uncovered <> '';
CREATE INDEX fleet_part_fresh ON fleet_part (num) WHERE fresh = 1;
CREATE TABLE fleet_package (num INTEGER PRIMARY KEY, ecosystem TEXT NOT NULL, name TEXT NOT NULL, UNIQUE (name, ecosystem));
CREATE TABLE fleet_contains (package BIGINT NOT NULL, part BIGINT NOT NULL, PRIMARY KEY (package, part));
CREATE TABLE fleet_holder (part BIGINT NOT NULL, chunk BIGINT NOT NULL, images BLOB NOT NULL, PRIMARY KEY (part, chunk));
CREATE TABLE fleet_flaw (
	num INTEGER PRIMARY KEY, id TEXT NOT NULL, ecosystem TEXT NOT NULL, package TEXT NOT NULL, names TEXT NOT NULL
);
CREATE INDEX fleet_flaw_id ON fleet_flaw (id);
CREATE TABLE fleet_flaw_name (name TEXT NOT NULL, flaw BIGINT NOT NULL, PRIMARY KEY (name, flaw));
CREATE TABLE fleet_hit (flaw BIGINT NOT NULL, part BIGINT NOT NULL, version TEXT NOT NULL, PRIMARY KEY (flaw, part));
`, `
CREATE TABLE fleet_seen (
	image TEXT NOT NULL, kind TEXT NOT NULL, what TEXT NOT NULL, other TEXT NOT NULL, last BIGINT NOT NULL,
	PRIMARY KEY (image, kind, what, other)
);
`}

// New prepares the room's tables. Parts are matched with the advisories kept in the
// same store.
func New(ctx context.Context, st store.Store) (*Fleet, error) {
	idx := advisory.New(st)
	if err := idx.Migrate(ctx); err != nil {
		return nil, err
	}
	if err := st.Migrate(ctx, "fleet", steps); err != nil {
		return nil, err
	}
	return &Fleet{store: st, advisories: idx}, nil
}

// Snapshot names the state of the advisories.
func (f *Fleet) Snapshot(ctx context.Context) (advisory.Snapshot, error) {
	return f.advisories.Snapshot(ctx)
}

// Concerned returns the images that hold any of some packages, by number, sorted.
func (f *Fleet) Concerned(ctx context.Context, tx store.Tx, keys []advisory.Key) ([]int64, error) {
	var parts []int64
	if err := eachContaining(ctx, tx, keys, func(part int64, _ advisory.Key) { parts = append(parts, part) }); err != nil {
		return nil, err
	}
	slices.Sort(parts)
	return holders(ctx, tx, slices.Compact(parts))
}
