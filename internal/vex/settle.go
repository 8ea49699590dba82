// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package vex

import (
	"context"
	"slices"
	"strings"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store"
)

// loadKeys fills Keys with all that is touched and not settled.
func (b *Book) loadKeys(ctx context.Context, c *Change) error {
	changes, err := b.Unsettled(ctx)
	for _, other := range changes {
		if other.Vendor == c.Vendor {
			c.Keys = other.Keys
		}
	}
	return err
}

// Unsettled returns, vendor by vendor, the keys of imports whose consequences were
// never drawn (see Settle): what a crash between the two has left.
func (b *Book) Unsettled(ctx context.Context) ([]Change, error) {
	var all []Change
	err := b.st.View(ctx, func(tx store.Tx) error {
		all = nil
		return store.Each(ctx, tx, func(r store.Row) error {
			var vendor string
			var k advisory.Key
			if err := r.Scan(&vendor, &k.Ecosystem, &k.Name); err != nil {
				return err
			}
			if len(all) == 0 || all[len(all)-1].Vendor != vendor {
				all = append(all, Change{Vendor: vendor})
			}
			last := &all[len(all)-1]
			last.Keys = append(last.Keys, k)
			return nil
		}, "SELECT vendor, family, name FROM vex_touched ORDER BY vendor, family, name")
	})
	if err != nil {
		return nil, fault.New(fault.KindOf(err), "read unsettled statements: %w", err)
	}
	return all, nil
}

// Settle forgets the keys of a change: the images that hold those packages have
// been matched again. Until then every import of the vendor names them again.
func (b *Book) Settle(ctx context.Context, c Change) error {
	err := b.st.Update(ctx, func(tx store.Tx) error {
		for _, k := range c.Keys {
			if _, err := tx.Exec(ctx, "DELETE FROM vex_touched WHERE vendor = ? AND family = ? AND name = ?", c.Vendor, k.Ecosystem, k.Name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fault.New(fault.KindOf(err), "settle statements of %s: %w", c.Vendor, err)
	}
	return nil
}

// Advisories is what Spread asks of the advisory database; *advisory.Index is one.
type Advisories interface {
	Covered(ctx context.Context) (map[string]bool, error)
	Names(ctx context.Context, ecosystem string) ([]string, error)
}

// Spread names the packages of a change as images are found by: in every release
// there are advisories for ("Debian" in "Debian:12" and "Debian:13"), and Go
// modules in the case advisories write them. Only there are findings a statement
// could speak of.
func (c Change) Spread(ctx context.Context, idx Advisories) ([]advisory.Key, error) {
	covered, err := idx.Covered(ctx)
	if err != nil {
		return nil, err
	}
	modules, err := idx.Names(ctx, "Go")
	if err != nil {
		return nil, err
	}
	releases, cased := map[string][]string{}, map[string][]string{}
	for ecosystem := range covered {
		family := advisory.Family(ecosystem)
		releases[family] = append(releases[family], ecosystem)
	}
	for _, name := range modules {
		cased[strings.ToLower(name)] = append(cased[strings.ToLower(name)], name)
	}
	var keys []advisory.Key
	for _, k := range c.Keys {
		names := []string{k.Name}
		if k.Ecosystem == "Go" {
			names = cased[k.Name]
		}
		for _, ecosystem := range releases[k.Ecosystem] {
			for _, name := range names {
				keys = append(keys, advisory.NewKey(ecosystem, name))
			}
		}
	}
	slices.SortFunc(keys, func(a, b advisory.Key) int {
		return strings.Compare(a.Ecosystem+"\x00"+a.Name, b.Ecosystem+"\x00"+b.Name)
	})
	return slices.Compact(keys), nil
}
