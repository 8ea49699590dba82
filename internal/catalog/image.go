// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

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

// maxWanted bounds the images that are wanted and not known: whoever may ask for
// verdicts could fill the store with digests of nothing.
const maxWanted = 10_000

// Want notes that somebody asked about a digest the server has never seen. It
// changes nothing about a digest that is known. fault.TooLarge where too many
// are wanted already.
func (c *Catalog) Want(ctx context.Context, id image.Digest, name string, kind image.Kind) error {
	return c.store.Update(ctx, func(tx store.Tx) error {
		var known, wanted int
		if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM catalog_image WHERE id = ?", string(id)).Scan(&known); err != nil || known > 0 {
			return err
		}
		if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM catalog_image WHERE state = ?", string(Wanted)).Scan(&wanted); err != nil {
			return err
		}
		if wanted >= maxWanted {
			return fault.New(fault.TooLarge, "%d images are wanted already and nobody has brought them", wanted).
				WithHint("bring this one with: goldkeep image add IMAGE")
		}
		_, err := tx.Exec(ctx, `INSERT INTO catalog_image (id, name, kind, state, error, first_seen, scanned, version) VALUES (?, ?, ?, ?, '', ?, 0, 0)
			ON CONFLICT (id) DO NOTHING`, string(id), called(name), string(kind), string(Wanted), store.Millis(c.Now()))
		return err
	})
}

// Fail notes that an image could not be scanned, and when. Evidence from before stays.
func (c *Catalog) Fail(ctx context.Context, id image.Digest, name, reason string) error {
	return c.store.Update(ctx, func(tx store.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO catalog_image (id, name, kind, state, error, first_seen, scanned, version) VALUES (?, ?, '', ?, ?, ?, ?, 0)
			ON CONFLICT (id) DO UPDATE SET error = excluded.error,
				state = CASE WHEN catalog_image.state = 'known' THEN 'known' ELSE excluded.state END,
				scanned = CASE WHEN catalog_image.state = 'known' THEN catalog_image.scanned ELSE excluded.scanned END`,
			string(id), called(name), string(Failed), component.Shown(reason), store.Millis(c.Now()), store.Millis(c.Now()))
		return err
	})
}

// maxName bounds what an image is called, in runes.
const maxName = 300

// called is a name from outside as it may be kept: one short line, no credential.
func called(name string) string {
	name = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, component.Shown(name))
	if runes := []rune(name); len(runes) > maxName {
		name = string(runes[:maxName])
	}
	return name
}

// Learn keeps the evidence on an image, with the digests it goes by and the
// packages it holds. The verdicts on it are due from then on.
func (c *Catalog) Learn(ctx context.Context, img *image.Image, ev verdict.Evidence) error {
	body, err := c.packed(ev)
	if err != nil {
		return err
	}
	now := store.Millis(c.Now())
	return c.store.Update(ctx, func(tx store.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO catalog_image (id, name, kind, state, error, first_seen, scanned, version, evidence) VALUES (?, ?, ?, ?, '', ?, ?, 1, ?)
			ON CONFLICT (id) DO UPDATE SET name = excluded.name, kind = excluded.kind, state = excluded.state, error = '',
				scanned = excluded.scanned, version = catalog_image.version + 1, evidence = excluded.evidence`,
			ev.Image.ID, called(ev.Image.Name), ev.Image.Kind, string(Known), now, now, body)
		if err != nil {
			return fmt.Errorf("keep image: %w", err)
		}
		for _, d := range append([]image.Digest{img.ID}, img.Manifests...) {
			if _, err := tx.Exec(ctx, "INSERT INTO catalog_digest (digest, image) VALUES (?, ?) ON CONFLICT (digest, image) DO NOTHING", string(d), ev.Image.ID); err != nil {
				return fmt.Errorf("keep digest: %w", err)
			}
		}
		if err := index(ctx, tx, ev); err != nil {
			return err
		}
		return c.touch(ctx, tx, image.Digest(ev.Image.ID))
	})
}

// Relearn keeps newer evidence (new findings) on an image that was found before.
// Where something was learned of it meanwhile it is fault.Conflict: find it again.
func (c *Catalog) Relearn(ctx context.Context, img *Image, ev verdict.Evidence) error {
	body, err := c.packed(ev)
	if err != nil {
		return err
	}
	return c.store.Update(ctx, func(tx store.Tx) error {
		n, err := tx.Exec(ctx, "UPDATE catalog_image SET scanned = ?, version = version + 1, evidence = ? WHERE id = ? AND version = ?",
			store.Millis(c.Now()), body, string(img.ID), img.version)
		if err != nil {
			return fmt.Errorf("keep image: %w", err)
		}
		if n == 0 {
			return fault.New(fault.Conflict, "the evidence on image %s has changed meanwhile", img.ID)
		}
		return c.touch(ctx, tx, img.ID)
	})
}

// packed is evidence as its row holds it: without what changes while the image
// does not (that is added when it is judged), and without credentials.
func (c *Catalog) packed(ev verdict.Evidence) ([]byte, error) {
	ev.Channels, ev.Triage = nil, nil
	ev.Image.Name = called(ev.Image.Name)
	ev.Image.Labels = component.ShownLabels(ev.Image.Labels, ev.Facts)
	return pack(ev)
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

const imageColumns = "id, name, kind, state, error, first_seen, scanned, version"

func scanImage(r store.Row, more ...any) (Image, error) {
	var img Image
	var id, state string
	var seen, scanned int64
	err := r.Scan(append([]any{&id, &img.Name, &img.Kind, &state, &img.Error, &seen, &scanned, &img.version}, more...)...)
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
		if c.vendors != nil {
			if err := c.vendors.Apply(ctx, found.Evidence.Findings); err != nil {
				return nil, err
			}
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

// Known returns the IDs of all images that go by a digest: several where it is
// the digest of an index; none where the server has never heard of it.
func (c *Catalog) Known(ctx context.Context, digest image.Digest) ([]image.Digest, error) {
	return c.digests(ctx, "SELECT id FROM catalog_image WHERE id = ? OR id IN (SELECT image FROM catalog_digest WHERE digest = ?) ORDER BY id", string(digest), string(digest))
}

// digests reads rows of one digest.
func (c *Catalog) digests(ctx context.Context, query string, args ...any) ([]image.Digest, error) {
	var all []image.Digest
	err := c.store.View(ctx, func(tx store.Tx) error {
		all = nil
		return store.Each(ctx, tx, func(r store.Row) error {
			var id string
			err := r.Scan(&id)
			all = append(all, image.Digest(id))
			return err
		}, query, args...)
	})
	return all, err
}

// lookup is how many package names one query asks for.
const lookup = 500

// Holding returns the images that hold any of these packages, by ID. A feed's
// first import names hundreds of thousands of packages.
func (c *Catalog) Holding(ctx context.Context, keys []advisory.Key) ([]image.Digest, error) {
	seen := map[image.Digest]bool{}
	for chunk := range slices.Chunk(keys, lookup) {
		if err := c.holding(ctx, chunk, seen); err != nil {
			return nil, err
		}
	}
	return slices.Sorted(maps.Keys(seen)), nil
}

// holding adds the images that hold any of a few packages to found.
func (c *Catalog) holding(ctx context.Context, keys []advisory.Key, found map[image.Digest]bool) error {
	wanted := map[advisory.Key]bool{}
	names := make([]any, 0, lookup)
	for _, key := range keys {
		wanted[key] = true
		names = append(names, key.Name)
	}
	marks := strings.TrimSuffix(strings.Repeat("?, ", len(names)), ", ")
	return c.store.View(ctx, func(tx store.Tx) error { // a second run finds the same, or more
		return store.Each(ctx, tx, func(r store.Row) error {
			var key advisory.Key
			var id string
			err := r.Scan(&key.Ecosystem, &key.Name, &id)
			if wanted[key] {
				found[image.Digest(id)] = true
			}
			return err
		}, "SELECT ecosystem, name, image FROM catalog_package WHERE name IN ("+marks+")", names...)
	})
}
