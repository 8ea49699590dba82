// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package notify tells owners what changed for the things they own: one digest per
// Notification and change, by webhook or mail, at least once, with a record of
// each delivery.
//
// News is written down in the transaction of what it tells of (news.go). When it
// has been quiet for a while it is gathered into digests, one for each whose news
// it is (gather.go); these wait in the store until they are delivered or a day has
// passed (outbox.go, send.go). While the server is sealed, news is written down and
// waits.
package notify

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/verdict"
	"github.com/goldkeep/goldkeep/internal/workload"
)

// Change is what happened to an image, an instance or a feed.
type Change string

// The changes, the worst first.
const (
	Revoked     Change = "revoked"      // an instance lost its identity
	Refused     Change = "refused"      // an image may no longer start in an environment
	Warned      Change = "warned"       // an instance may run on, for now
	Deadline    Change = "deadline"     // an image will be refused at a time
	Replaced    Change = "replaced"     // what a workload runs, or an image is built on, is another image now
	FeedFailure Change = "feed-failure" // an advisory feed could not be refreshed
	Recovered   Change = "recovered"    // an image or an instance is fine again
)

// changes lists them all, the worst first.
var changes = []Change{Revoked, Refused, Warned, Deadline, Replaced, FeedFailure, Recovered}

// Catalog is what this room needs of the catalog.
type Catalog interface {
	// Goldens returns all golden images.
	Goldens(ctx context.Context) ([]Golden, error)
	// Channels returns the places of golden images an image stands in.
	Channels(ctx context.Context, id image.Digest) ([]verdict.Channel, error)
	// Name is what an image was last called; "" where it is not known.
	Name(ctx context.Context, id image.Digest) (string, error)
	// BuiltOn returns the places in channels whose images are built on one that has
	// been replaced.
	BuiltOn(ctx context.Context, base image.Digest) ([]Standing, error)
}

// Standing is a place in a channel: what stands there, and whose it is.
type Standing struct {
	Golden, Channel, Owner, Contact string
	Image                           image.Digest // ID
}

// Move is a channel of a golden image that points at another digest than before.
type Move struct {
	Golden, Channel string
	Before, Now     image.Digest
}

// Golden is a golden image: whose it is.
type Golden struct {
	Name, Owner, Contact string
}

// Options are what the service works with.
type Options struct {
	Store     store.Store
	Keys      barrier.Keys
	Catalog   Catalog
	Workloads *workload.Book
	// Origins names the golden images a part of an image comes from; nil: nobody knows.
	Origins func(ctx context.Context, id image.Digest) ([]string, error)
	// Secret reads what a Notification refers to.
	Secret func(ctx context.Context, ref SecretRef) (string, error)
	Sealed func() bool
	// Record is told of every delivery that has ended.
	Record func(ctx context.Context, d Delivery) error
	Mail   Mail
	Web    Web
	// Server is how this server is called in what it sends.
	Server string
	// Quiet is how long nothing may happen before what happened is told; default
	// 30 seconds. News waits for at most ten times that, at most 5 minutes.
	Quiet time.Duration
	// NoContacts: owners without a Notification are not told by their contact.
	NoContacts bool
	Now        func() time.Time // default: the store's clock
	Log        *slog.Logger
}

// Service keeps the Notifications, and tells.
type Service struct {
	o    Options
	send sender
}

var steps = []string{`
CREATE TABLE notify_target (name TEXT PRIMARY KEY, body TEXT NOT NULL, sealed BLOB NOT NULL);
CREATE TABLE notify_news (
	id TEXT PRIMARY KEY, first BIGINT NOT NULL, noted BIGINT NOT NULL, version BIGINT NOT NULL,
	before TEXT NOT NULL, body TEXT NOT NULL
);
CREATE INDEX notify_news_noted ON notify_news (noted);
CREATE TABLE notify_delivery (
	id TEXT PRIMARY KEY, notification TEXT NOT NULL, contact TEXT NOT NULL, state TEXT NOT NULL, due BIGINT NOT NULL,
	created BIGINT NOT NULL, settled BIGINT NOT NULL, attempts BIGINT NOT NULL,
	target TEXT NOT NULL, answer TEXT NOT NULL, body TEXT NOT NULL
);
CREATE INDEX notify_delivery_due ON notify_delivery (due) WHERE state = 'pending';
CREATE INDEX notify_delivery_created ON notify_delivery (created);
`}

const (
	defaultQuiet = 30 * time.Second
	longestWait  = 5 * time.Minute
)

// New prepares the room's tables.
func New(ctx context.Context, o Options) (*Service, error) {
	if o.Quiet <= 0 {
		o.Quiet = defaultQuiet
	}
	o.Quiet = min(o.Quiet, longestWait)
	if o.Now == nil {
		o.Now = o.Store.Now
	}
	if err := o.Store.Migrate(ctx, "notify", steps); err != nil {
		return nil, err
	}
	send, err := newSender(o)
	if err != nil {
		return nil, err
	}
	return &Service{o: o, send: send}, nil
}

// beat is how often Run looks for what has come due.
const beat = time.Second

// Run gathers and sends until ctx ends. Errors are logged and tried again.
func (s *Service) Run(ctx context.Context) error {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := s.Step(ctx); err != nil && ctx.Err() == nil {
				s.o.Log.Error("tell owners", "error", err)
			}
		}
	}
}

// Step gathers the news that has been quiet long enough and sends what is due. It
// does nothing while the server is sealed.
func (s *Service) Step(ctx context.Context) error {
	if s.o.Sealed() {
		return nil
	}
	return errors.Join(s.gather(ctx), s.deliver(ctx), s.forget(ctx))
}
