// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"time"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/manifest"
)

// Feeds say where the server takes advisories from by itself. Servers with one
// database share the work and need the same settings.
type Feeds struct {
	// From is a folder, an http(s) address, or an OCI artifact: a file, a layout
	// folder, or a reference in a registry. Empty: feeds are sent by people.
	From string `yaml:"from"`
	// Every is how often each feed is looked at. Default 6h, at least 1m.
	Every manifest.Duration `yaml:"every"`
	// Ecosystems are the feeds taken. Default: all of a folder or artifact, the
	// usual ones of an address.
	Ecosystems []string `yaml:"ecosystems"`
	// Insecure allows a registry that speaks plain HTTP.
	Insecure bool `yaml:"insecure"`
}

func (f Feeds) check() error {
	switch {
	case f.From == "" && (f.Every != 0 || len(f.Ecosystems) > 0 || f.Insecure):
		return fault.New(fault.Invalid, "feeds.from is missing: the other settings of feeds mean nothing without it")
	case f.Every != 0 && time.Duration(f.Every) < advisory.MinEvery:
		return fault.New(fault.Invalid, "feeds.every must be at least %s", advisory.MinEvery)
	}
	return nil
}

// keepFeeds takes the feeds when they are due, and has exactly the images judged
// again that they touch.
func (s *Server) keepFeeds(ctx context.Context) error {
	c := s.config.Feeds
	if c.From == "" {
		<-ctx.Done()
		return nil
	}
	keeper := &advisory.Keeper{
		Index: s.advisory, From: c.From, Every: time.Duration(c.Every), Node: s.config.Node, Log: s.log, OnFailure: s.feedFailed,
		Options: advisory.SyncOptions{Ecosystems: c.Ecosystems, Insecure: c.Insecure},
		OnChange: func(ctx context.Context, changes []advisory.Change) error {
			_, err := s.api.Settle(ctx, changes...)
			return err
		},
	}
	return keeper.Run(ctx)
}
