// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/fleet"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/store"
)

// What agents saw of an image's instances: the sockets they listen at and the
// files they run.

const (
	// maxSeen bounds what is kept of one image; an agent may lie.
	maxSeen = 5000
	// seenFor is how long something counts that was not seen again.
	seenFor = 30 * 24 * time.Hour
	// seenAgain is how old a sighting must be to be written anew.
	seenAgain = time.Hour
)

// The kinds of sighting.
const (
	seenSocket  = "socket"
	seenFile    = "file"
	seenPackage = "package"
)

// sighting is one row: a file (other is ""), a package, or a socket (other is its port).
type sighting struct{ kind, what, other string }

// Saw notes what an agent saw of an instance of an image, now. What is new makes
// the verdicts on the image due. Seen may say nothing of Exposed: the image does.
// fault.TooLarge where more is said than one image can hold.
func (c *Catalog) Saw(ctx context.Context, id image.Digest, seen finding.Surroundings) error {
	rows := sightings(seen)
	if len(rows) > maxSeen {
		return fault.New(fault.TooLarge, "an agent names %d files and sockets of one image; at most %d are kept", len(rows), maxSeen)
	}
	now := c.Now()
	return c.store.Update(ctx, func(tx store.Tx) error {
		kept, err := keptSightings(ctx, tx, id)
		if err != nil {
			return err
		}
		fresh := 0
		for _, s := range rows {
			last, known := kept[s]
			switch {
			case known && now.Sub(store.Time(last)) < seenAgain:
				continue
			case !known && len(kept)+fresh >= maxSeen:
				return fault.New(fault.TooLarge, "agents have named %d files and sockets of image %s; no more are kept", maxSeen, id)
			case !known:
				fresh++
			}
			if _, err := tx.Exec(ctx, `INSERT INTO catalog_seen (image, kind, what, other, last) VALUES (?, ?, ?, ?, ?)
				ON CONFLICT (image, kind, what, other) DO UPDATE SET last = excluded.last`, string(id), s.kind, s.what, s.other, store.Millis(now)); err != nil {
				return fmt.Errorf("keep sighting: %w", err)
			}
		}
		if fresh == 0 {
			return nil
		}
		return c.touch(ctx, tx, id)
	})
}

// maxSeenText bounds one path or port, in bytes; what is longer is left out.
const maxSeenText = 1024

func sightings(s finding.Surroundings) []sighting {
	var rows []sighting
	add := func(r sighting) {
		if len(r.what)+len(r.other) <= maxSeenText && r.what+r.other != "" {
			rows = append(rows, r)
		}
	}
	for _, l := range s.Listening {
		add(sighting{seenSocket, l.Path, l.Port})
	}
	for _, name := range s.Executed {
		add(sighting{kind: seenFile, what: name})
	}
	for _, name := range s.Packages {
		add(sighting{kind: seenPackage, what: name})
	}
	return rows
}

func keptSightings(ctx context.Context, tx store.Tx, id image.Digest) (map[sighting]int64, error) {
	kept := map[sighting]int64{}
	err := store.Each(ctx, tx, func(r store.Row) error {
		var s sighting
		var last int64
		err := r.Scan(&s.kind, &s.what, &s.other, &last)
		kept[s] = last
		return err
	}, "SELECT kind, what, other, last FROM catalog_seen WHERE image = ?", string(id))
	return kept, err
}

// Seen returns what agents saw of an image within the last month, and when the
// last of it; the zero values where none looked.
func (c *Catalog) Seen(ctx context.Context, id image.Digest) (seen finding.Surroundings, last time.Time, err error) {
	err = c.store.View(ctx, func(tx store.Tx) error {
		var at int64
		seen, last = finding.Surroundings{}, time.Time{}
		return store.Each(ctx, tx, func(r store.Row) error {
			var s sighting
			if err := r.Scan(&s.kind, &s.what, &s.other, &at); err != nil {
				return err
			}
			if store.Time(at).After(last) {
				last = store.Time(at)
			}
			return see(&seen, s)
		}, "SELECT kind, what, other, last FROM catalog_seen WHERE image = ? AND last > ? ORDER BY kind, what, other", string(id), store.Millis(c.Now().Add(-seenFor)))
	})
	return seen, last, err
}

// see adds a sighting to what was seen.
func see(seen *finding.Surroundings, s sighting) error {
	switch s.kind {
	case seenSocket:
		seen.Listening = append(seen.Listening, finding.Socket{Port: s.other, Path: s.what})
	case seenFile:
		seen.Executed = append(seen.Executed, s.what)
	case seenPackage:
		seen.Packages = append(seen.Packages, s.what)
	default:
		return errors.New("a sighting of an unknown kind")
	}
	return nil
}

// seenOf is Seen for many images.
func (c *Catalog) seenOf(ctx context.Context, tx store.Tx, images map[int64]*known) (map[int64]finding.Surroundings, error) {
	nums := map[string]int64{}
	var ids []string
	for num, k := range images {
		nums[k.Evidence.Image.ID] = num
		ids = append(ids, k.Evidence.Image.ID)
	}
	all := map[int64]finding.Surroundings{}
	err := fleet.InChunks(ids, func(marks string, args []any) error {
		return store.Each(ctx, tx, func(r store.Row) error {
			var id string
			var s sighting
			if err := r.Scan(&id, &s.kind, &s.what, &s.other); err != nil {
				return err
			}
			seen := all[nums[id]]
			err := see(&seen, s)
			all[nums[id]] = seen
			return err
		}, "SELECT image, kind, what, other FROM catalog_seen WHERE last > ? AND image IN ("+marks+") ORDER BY kind, what, other",
			append([]any{store.Millis(c.Now().Add(-seenFor))}, args...)...)
	})
	if err != nil {
		return nil, fmt.Errorf("read what agents saw: %w", err)
	}
	return all, nil
}
