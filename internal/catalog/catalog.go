// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package catalog is the server's memory of images: which it has seen, with the
// evidence on each, the environments and golden images that people declared, and
// the verdicts that follow. Nothing in it is secret, and it can be read while
// the server is sealed.
package catalog

import (
	"context"
	"sync"
	"time"

	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/fleet"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/signer"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

// State is what is known of an image.
type State string

// The states of an image.
const (
	Wanted State = "wanted" // asked for, never seen: somebody must bring it
	Known  State = "known"  // scanned: there is evidence
	Failed State = "failed" // it could not be scanned; Error says why
)

// Image is one image the server was asked about.
type Image struct {
	ID        image.Digest // config digest, or SHA-256 of an artifact
	Name      string       // what it was last called; never a key
	Kind      string
	State     State
	Error     string
	FirstSeen time.Time
	Scanned   time.Time         // or, where State is Failed, when that was tried
	Evidence  *verdict.Evidence // nil unless Known; not filled in by lists
	Digests   []image.Digest    // every other digest it goes by
	num       int64
}

// Golden is a golden image: a named, owned line of images.
type Golden struct {
	Name     string                  `json:"name"`
	Owner    string                  `json:"owner"`
	Contact  string                  `json:"contact,omitempty"`
	Protect  bool                    `json:"protect,omitempty"`
	From     string                  `json:"from,omitempty"` // the golden image it is built on
	Channels map[string]image.Digest `json:"channels"`
}

// Move is a channel of a golden image that points at another digest than before.
type Move struct {
	Golden, Channel string
	Before, Now     image.Digest
}

// Catalog keeps images, environments, golden images and verdicts.
type Catalog struct {
	// OnKeep, where set before first use, is told of every verdict that is kept, in
	// the transaction that keeps it (which may run twice):
	// what it writes stands or falls with that. old is nil where none was kept before.
	OnKeep func(ctx context.Context, tx store.Tx, old *verdict.Verdict, kept verdict.Verdict) error

	// OnMove, where set before first use, is told of every channel that points at
	// another image, in the transaction that makes it so.
	OnMove func(ctx context.Context, tx store.Tx, m Move) error

	store   store.Store
	fleet   *fleet.Fleet
	signers *signer.Book
	vendors Vendors // nil: none

	mu       sync.Mutex
	compiled map[string]*verdict.Environment // by JSON text: its expressions are compiled once
}

var steps = []string{`
CREATE TABLE catalog_layer (diff TEXT PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE catalog_image (
	num INTEGER PRIMARY KEY,
	id TEXT NOT NULL UNIQUE,
	name TEXT NOT NULL,
	kind TEXT NOT NULL,
	state TEXT NOT NULL,
	error TEXT NOT NULL,
	first_seen BIGINT NOT NULL,
	scanned BIGINT NOT NULL,
	chain TEXT NOT NULL,
	created BIGINT NOT NULL,
	body BLOB
);
CREATE INDEX catalog_image_state ON catalog_image (state) WHERE state <> 'known';
CREATE INDEX catalog_image_chain ON catalog_image (chain) WHERE chain <> '';
CREATE TABLE catalog_digest (digest TEXT NOT NULL, image BIGINT NOT NULL, PRIMARY KEY (digest, image));
CREATE INDEX catalog_digest_image ON catalog_digest (image);
CREATE TABLE catalog_environment (name TEXT PRIMARY KEY, protect BIGINT NOT NULL, body TEXT NOT NULL);
CREATE TABLE catalog_golden (name TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE catalog_channel (
	golden TEXT NOT NULL, channel TEXT NOT NULL, digest TEXT NOT NULL, since BIGINT NOT NULL,
	PRIMARY KEY (golden, channel)
);
CREATE INDEX catalog_channel_digest ON catalog_channel (digest);
CREATE TABLE catalog_past (
	golden TEXT NOT NULL, channel TEXT NOT NULL, digest TEXT NOT NULL, until BIGINT NOT NULL,
	PRIMARY KEY (golden, channel, digest)
);
CREATE INDEX catalog_past_digest ON catalog_past (digest);
CREATE TABLE catalog_verdict (
	image BIGINT NOT NULL, environment TEXT NOT NULL,
	turn BIGINT NOT NULL, until BIGINT NOT NULL, body BLOB,
	PRIMARY KEY (image, environment)
);
CREATE INDEX catalog_verdict_until ON catalog_verdict (until) WHERE until > 0;
`, `
CREATE TABLE catalog_triage (
	id TEXT PRIMARY KEY, image TEXT NOT NULL, body TEXT NOT NULL
);
CREATE INDEX catalog_triage_image ON catalog_triage (image);
`, `
CREATE TABLE catalog_run (workload TEXT PRIMARY KEY, environment TEXT NOT NULL, golden TEXT NOT NULL, channel TEXT NOT NULL);
CREATE INDEX catalog_run_golden ON catalog_run (golden, channel);
`, `
CREATE TABLE catalog_from (golden TEXT PRIMARY KEY, base TEXT NOT NULL);
CREATE INDEX catalog_from_base ON catalog_from (base);
`}

// New prepares the catalog's tables. It matches what it learns with the advisories
// kept in the same store.
func New(ctx context.Context, st store.Store) (*Catalog, error) {
	if err := st.Migrate(ctx, "catalog", steps); err != nil {
		return nil, err
	}
	parts, err := fleet.New(ctx, st)
	if err != nil {
		return nil, err
	}
	signers, err := signer.New(ctx, st)
	if err != nil {
		return nil, err
	}
	c := &Catalog{store: st, fleet: parts, signers: signers, compiled: map[string]*verdict.Environment{}}
	return c, c.fillFroms(ctx)
}

// Vendors says what vendors say of findings; *vex.Book is one.
type Vendors interface {
	Apply(ctx context.Context, findings []finding.Finding) error
}

// Believe makes what vendors say part of all evidence that is read, from now on.
// It is never part of the evidence that is kept: a vendor may say something else.
func (c *Catalog) Believe(v Vendors) { c.vendors = v }

// Now is the store's clock.
func (c *Catalog) Now() time.Time { return c.store.Now() }
