// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/store"
)

// flaw is one flaw of one package, by all its names. What is hit by it is kept
// under its number, so that the names are written down once for a fleet.
type flaw struct {
	id, ecosystem, pkg string
	names              string // every other name, sorted, a space between
}

// hitsOf are the flaws that count among what was found, with the versions hit.
func hitsOf(m finding.Matched) map[flaw]string {
	versions := map[flaw][]string{}
	for _, u := range m.Units {
		for _, f := range u.Findings {
			if key := (flaw{f.ID, f.Ecosystem, f.Package, strings.Join(f.Aliases, " ")}); f.Hidden == "" && !slices.Contains(versions[key], f.Version) {
				versions[key] = append(versions[key], f.Version)
			}
		}
	}
	hits := make(map[flaw]string, len(versions))
	for f, list := range versions {
		slices.Sort(list)
		hits[f] = strings.Join(list, ", ")
	}
	return hits
}

// hitChange is what makes a part findable by other flaws than before.
type hitChange struct {
	gone []flaw
	hit  map[flaw]string // with the versions hit
}

func hitsChanged(old, found finding.Matched) hitChange {
	before, now := hitsOf(old), hitsOf(found)
	c := hitChange{hit: map[flaw]string{}}
	for f := range before {
		if _, still := now[f]; !still {
			c.gone = append(c.gone, f)
		}
	}
	for f, version := range now {
		if before[f] != version {
			c.hit[f] = version
		}
	}
	return c
}

// indexHits makes a part findable by each flaw that hits it, and by no other.
func indexHits(ctx context.Context, tx store.Tx, part int64, c hitChange) error {
	for _, f := range c.gone {
		num, err := flawNumber(ctx, tx, f)
		if err == nil {
			_, err = tx.Exec(ctx, "DELETE FROM fleet_hit WHERE flaw = ? AND part = ?", num, part)
		}
		if err != nil {
			return fmt.Errorf("drop hit: %w", err)
		}
	}
	for f, version := range c.hit {
		num, err := flawNumber(ctx, tx, f)
		if err == nil {
			_, err = tx.Exec(ctx, `INSERT INTO fleet_hit (flaw, part, version) VALUES (?, ?, ?)
				ON CONFLICT (flaw, part) DO UPDATE SET version = excluded.version`, num, part, version)
		}
		if err != nil {
			return fmt.Errorf("keep hit: %w", err)
		}
	}
	return nil
}

// flawNumber finds the number of a flaw, or gives it one.
func flawNumber(ctx context.Context, tx store.Tx, f flaw) (num int64, err error) {
	err = tx.QueryRow(ctx, "SELECT num FROM fleet_flaw WHERE id = ? AND ecosystem = ? AND package = ? AND names = ?", f.id, f.ecosystem, f.pkg, f.names).Scan(&num)
	if !errors.Is(err, store.ErrNoRows) {
		return num, err
	}
	if num, err = next(ctx, tx, "fleet_flaw"); err != nil {
		return 0, err
	}
	if _, err := tx.Exec(ctx, "INSERT INTO fleet_flaw (num, id, ecosystem, package, names) VALUES (?, ?, ?, ?, ?)", num, f.id, f.ecosystem, f.pkg, f.names); err != nil {
		return 0, err
	}
	for _, name := range append(strings.Fields(f.names), f.id) {
		if _, err := tx.Exec(ctx, "INSERT INTO fleet_flaw_name (name, flaw) VALUES (?, ?) ON CONFLICT (name, flaw) DO NOTHING", name, num); err != nil {
			return 0, err
		}
	}
	return num, nil
}
