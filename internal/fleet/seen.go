// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/finding"
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

// Saw notes what an agent saw of an instance of an image, named by its ID, and
// reports whether any of it is new. fault.TooLarge where more is said than one image
// can hold.
func (f *Fleet) Saw(ctx context.Context, tx store.Tx, id image.Digest, seen finding.Surroundings) (fresh bool, err error) {
	rows := sightings(seen)
	if len(rows) > maxSeen {
		return false, fault.New(fault.TooLarge, "an agent names %d files and sockets of one image; at most %d are kept", len(rows), maxSeen)
	}
	now, added := f.store.Now(), 0
	// What counts no more makes room: else a lie would fill an image's place for good.
	if _, err := tx.Exec(ctx, "DELETE FROM fleet_seen WHERE image = ? AND last <= ?", string(id), store.Millis(now.Add(-seenFor))); err != nil {
		return false, fmt.Errorf("forget sightings: %w", err)
	}
	kept, err := keptSightings(ctx, tx, id)
	if err != nil {
		return false, err
	}
	for _, s := range rows {
		last, known := kept[s]
		switch {
		case known && now.Sub(store.Time(last)) < seenAgain:
			continue
		case !known && len(kept)+added >= maxSeen:
			return false, fault.New(fault.TooLarge, "agents have named %d files and sockets of image %s; no more are kept", maxSeen, id)
		case !known:
			added++
		}
		if _, err := tx.Exec(ctx, `INSERT INTO fleet_seen (image, kind, what, other, last) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (image, kind, what, other) DO UPDATE SET last = excluded.last`, string(id), s.kind, s.what, s.other, store.Millis(now)); err != nil {
			return false, fmt.Errorf("keep sighting: %w", err)
		}
	}
	return added > 0, nil
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
	}, "SELECT kind, what, other, last FROM fleet_seen WHERE image = ?", string(id))
	return kept, err
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

// Seen returns what agents saw of images within the last month, and when the last of
// it, by ID.
func (f *Fleet) Seen(ctx context.Context, tx store.Tx, ids []string) (map[string]finding.Surroundings, time.Time, error) {
	all := map[string]finding.Surroundings{}
	var newest time.Time
	err := InChunks(ids, func(marks string, args []any) error {
		return store.Each(ctx, tx, func(r store.Row) error {
			var id string
			var s sighting
			var last int64
			if err := r.Scan(&id, &s.kind, &s.what, &s.other, &last); err != nil {
				return err
			}
			if at := store.Time(last); at.After(newest) {
				newest = at
			}
			seen := all[id]
			err := see(&seen, s)
			all[id] = seen
			return err
		}, "SELECT image, kind, what, other, last FROM fleet_seen WHERE last > ? AND image IN ("+marks+") ORDER BY kind, what, other",
			append([]any{store.Millis(f.store.Now().Add(-seenFor))}, args...)...)
	})
	if err != nil {
		return nil, newest, fmt.Errorf("read what agents saw: %w", err)
	}
	return all, newest, nil
}
