// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"errors"
	"fmt"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

// Get returns the report on a layer kept earlier. A damaged or outdated one
// counts as not there.
func (c *Catalog) Get(ctx context.Context, diff image.Digest) (*component.LayerReport, bool) {
	var body []byte
	err := c.store.View(ctx, func(tx store.Tx) error {
		return tx.QueryRow(ctx, "SELECT body FROM catalog_layer WHERE diff = ?", string(diff)).Scan(&body)
	})
	if err != nil {
		return nil, false
	}
	report := &component.LayerReport{}
	if unpack(body, report) != nil || report.Version != component.ReportVersion {
		return nil, false
	}
	return report, true
}

// Put keeps the report on a layer.
func (c *Catalog) Put(ctx context.Context, diff image.Digest, report *component.LayerReport) error {
	body, err := pack(report)
	if err != nil {
		return err
	}
	return c.store.Update(ctx, func(tx store.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO catalog_layer (diff, body) VALUES (?, ?) ON CONFLICT (diff) DO UPDATE SET body = excluded.body", string(diff), body)
		return err
	})
}

// Want notes that somebody asked about a digest the server has never seen. It
// changes nothing about a digest that is known.
func (c *Catalog) Want(ctx context.Context, id image.Digest, name string, kind image.Kind) error {
	return c.store.Update(ctx, func(tx store.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO catalog_image (id, name, kind, state, error, first_seen, scanned) VALUES (?, ?, ?, ?, '', ?, 0)
			ON CONFLICT (id) DO NOTHING`, string(id), name, string(kind), string(Wanted), store.Millis(c.Now()))
		return err
	})
}

// Fail notes that an image could not be scanned. Evidence from before stays.
func (c *Catalog) Fail(ctx context.Context, id image.Digest, name, reason string) error {
	return c.store.Update(ctx, func(tx store.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO catalog_image (id, name, kind, state, error, first_seen, scanned) VALUES (?, ?, '', ?, ?, ?, 0)
			ON CONFLICT (id) DO UPDATE SET error = excluded.error, state = CASE WHEN catalog_image.state = 'known' THEN 'known' ELSE excluded.state END`,
			string(id), name, string(Failed), reason, store.Millis(c.Now()))
		return err
	})
}

// Learn keeps the evidence on an image, with the digests it goes by and the
// packages it holds.
func (c *Catalog) Learn(ctx context.Context, img *image.Image, ev verdict.Evidence) error {
	return c.learn(ctx, ev, append([]image.Digest{img.ID}, img.Manifests...))
}

// Relearn keeps newer evidence (new findings) on an image that is known.
func (c *Catalog) Relearn(ctx context.Context, ev verdict.Evidence) error {
	return c.learn(ctx, ev, nil)
}

func (c *Catalog) learn(ctx context.Context, ev verdict.Evidence, digests []image.Digest) error {
	ev.Channels = nil // they change without the image: added when it is judged
	ev.Triage = nil
	body, err := pack(ev)
	if err != nil {
		return err
	}
	now := store.Millis(c.Now())
	return c.store.Update(ctx, func(tx store.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO catalog_image (id, name, kind, state, error, first_seen, scanned, evidence) VALUES (?, ?, ?, ?, '', ?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET name = excluded.name, kind = excluded.kind, state = excluded.state, error = '',
				scanned = excluded.scanned, evidence = excluded.evidence`,
			ev.Image.ID, ev.Image.Name, ev.Image.Kind, string(Known), now, now, body)
		if err != nil {
			return fmt.Errorf("keep image: %w", err)
		}
		for _, d := range digests {
			if _, err := tx.Exec(ctx, "INSERT INTO catalog_digest (digest, image) VALUES (?, ?) ON CONFLICT (digest, image) DO NOTHING", string(d), ev.Image.ID); err != nil {
				return fmt.Errorf("keep digest: %w", err)
			}
		}
		if digests == nil {
			return nil
		}
		return index(ctx, tx, ev)
	})
}

// index writes the packages of an image, so that a changed advisory finds it.
func index(ctx context.Context, tx store.Tx, ev verdict.Evidence) error {
	if _, err := tx.Exec(ctx, "DELETE FROM catalog_package WHERE image = ?", ev.Image.ID); err != nil {
		return fmt.Errorf("clear packages: %w", err)
	}
	for _, key := range finding.Keys(component.Inventory{OS: ev.OS, Components: ev.Components}) {
		if _, err := tx.Exec(ctx, "INSERT INTO catalog_package (ecosystem, name, image) VALUES (?, ?, ?) ON CONFLICT (ecosystem, name, image) DO NOTHING", key.Ecosystem, key.Name, ev.Image.ID); err != nil {
			return fmt.Errorf("keep package: %w", err)
		}
	}
	return nil
}

const imageColumns = "id, name, kind, state, error, first_seen, scanned"

func scanImage(r store.Row, more ...any) (Image, error) {
	var img Image
	var id, state string
	var seen, scanned int64
	err := r.Scan(append([]any{&id, &img.Name, &img.Kind, &state, &img.Error, &seen, &scanned}, more...)...)
	img.ID, img.State = image.Digest(id), State(state)
	img.FirstSeen, img.Scanned = store.Time(seen), store.Time(scanned)
	return img, err
}

// Find returns the image that goes by a digest (of its config or of a manifest),
// with its evidence; fault.NotFound where the server has never heard of it. An
// index digest that stands for several platforms finds the first by ID.
func (c *Catalog) Find(ctx context.Context, digest image.Digest) (*Image, error) {
	var found Image
	var body []byte
	err := c.store.View(ctx, func(tx store.Tx) (err error) {
		found, err = scanImage(tx.QueryRow(ctx, "SELECT "+imageColumns+`, evidence FROM catalog_image
			WHERE id = ? OR id IN (SELECT image FROM catalog_digest WHERE digest = ?) ORDER BY id`, string(digest), string(digest)), &body)
		if err != nil {
			return err
		}
		found.Digests = nil
		return store.Each(ctx, tx, func(r store.Row) error {
			var d string
			err := r.Scan(&d)
			found.Digests = append(found.Digests, image.Digest(d))
			return err
		}, "SELECT digest FROM catalog_digest WHERE image = ? AND digest <> ? ORDER BY digest", string(found.ID), string(found.ID))
	})
	if errors.Is(err, store.ErrNoRows) {
		return nil, fault.New(fault.NotFound, "the server has never seen an image %s", digest).
			WithHint("bring it with: goldkeep image add IMAGE")
	}
	if err != nil {
		return nil, fmt.Errorf("find image: %w", err)
	}
	if found.State == Known {
		found.Evidence = &verdict.Evidence{}
		if err := unpack(body, found.Evidence); err != nil {
			return nil, err
		}
	}
	return &found, nil
}

// Images lists up to limit images after an ID, without their evidence.
func (c *Catalog) Images(ctx context.Context, after image.Digest, limit int) ([]Image, error) {
	var all []Image
	err := c.store.View(ctx, func(tx store.Tx) error {
		all = nil
		return store.Each(ctx, tx, func(r store.Row) error {
			img, err := scanImage(r)
			all = append(all, img)
			return err
		}, "SELECT "+imageColumns+" FROM catalog_image WHERE id > ? ORDER BY id LIMIT ?", string(after), limit)
	})
	return all, err
}

// Holding returns the images that hold any of these packages.
func (c *Catalog) Holding(ctx context.Context, keys []advisory.Key) ([]image.Digest, error) {
	seen := map[image.Digest]bool{}
	var all []image.Digest
	err := c.store.View(ctx, func(tx store.Tx) error {
		clear(seen)
		all = nil
		for _, key := range keys {
			err := store.Each(ctx, tx, func(r store.Row) error {
				var id string
				err := r.Scan(&id)
				if d := image.Digest(id); !seen[d] {
					seen[d] = true
					all = append(all, d)
				}
				return err
			}, "SELECT image FROM catalog_package WHERE ecosystem = ? AND name = ? ORDER BY image", key.Ecosystem, key.Name)
			if err != nil {
				return err
			}
		}
		return nil
	})
	return all, err
}
