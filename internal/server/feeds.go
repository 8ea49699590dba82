// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"time"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/manifest"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/vex"
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

// Vendor is a vendor whose VEX statements the server fetches by itself.
type Vendor struct {
	Name  string   `yaml:"name"`
	From  string   `yaml:"from"`  // an http(s) address of a document or a zip file, or a folder
	About []string `yaml:"about"` // what it may speak of: beginnings of package URLs
	// Every is how often it is looked at. Default 6h, at least 1m.
	Every manifest.Duration `yaml:"every"`
}

func (v Vendor) check() error {
	switch {
	case v.Name == "" || v.From == "" || len(v.About) == 0:
		return fault.New(fault.Invalid, "vendors: each needs name, from and about, as in {name: wolfi, from: https://vex.example.com/wolfi.zip, about: [pkg:apk/wolfi]}")
	case v.Every != 0 && time.Duration(v.Every) < vex.MinEvery:
		return fault.New(fault.Invalid, "vendors: every of %s must be at least %s", v.Name, vex.MinEvery)
	}
	return vex.Feed{Vendor: v.Name, About: v.About}.Check()
}

// keepVendors fetches the statements of vendors when they are due.
func (s *Server) keepVendors(ctx context.Context) error {
	keeper := &vex.Keeper{
		Book: s.vendors, Temp: s.config.Data, Log: s.log,
		Settle: func(ctx context.Context, c vex.Change) error {
			_, err := s.api.SettleVendor(ctx, c)
			return err
		},
		OnFailure: func(ctx context.Context, tx store.Tx, vendor, why string) error {
			return s.notify.FeedFailed(ctx, tx, "of the vendor "+vendor, why)
		},
	}
	for _, v := range s.config.Vendors {
		keeper.Feeds = append(keeper.Feeds, vex.Subscription{Feed: vex.Feed{Vendor: v.Name, About: v.About}, From: v.From, Every: time.Duration(v.Every)})
	}
	return keeper.Run(ctx)
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
