// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/fleet"
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
	if store.Unpack(body, report) != nil || report.Version != component.ReportVersion {
		return nil, false
	}
	return report, true
}

// Put keeps the report on a layer.
func (c *Catalog) Put(ctx context.Context, diff image.Digest, report *component.LayerReport) error {
	body, err := store.Pack(report)
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
		num, err := nextImage(ctx, tx)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO catalog_image (num, id, name, kind, state, error, first_seen, scanned, chain, created) VALUES (?, ?, ?, ?, ?, '', ?, 0, '', 0)
			ON CONFLICT (id) DO NOTHING`, num, string(id), called(name), string(kind), string(Wanted), store.Millis(c.Now()))
		return err
	})
}

// Fail notes that an image could not be scanned, and when. Evidence from before stays.
func (c *Catalog) Fail(ctx context.Context, id image.Digest, name, reason string) error {
	return c.store.Update(ctx, func(tx store.Tx) error {
		num, err := nextImage(ctx, tx)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO catalog_image (num, id, name, kind, state, error, first_seen, scanned, chain, created) VALUES (?, ?, ?, '', ?, ?, ?, ?, '', 0)
			ON CONFLICT (id) DO UPDATE SET error = excluded.error,
				state = CASE WHEN catalog_image.state = 'known' THEN 'known' ELSE excluded.state END,
				scanned = CASE WHEN catalog_image.state = 'known' THEN catalog_image.scanned ELSE excluded.scanned END`,
			num, string(id), called(name), string(Failed), component.Shown(reason), store.Millis(c.Now()), store.Millis(c.Now()))
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

// known is what an image's row holds of it beside its columns.
type known struct {
	Evidence verdict.Evidence `json:"evidence"` // what is the image's own: no components, no findings, the config's facts
	Layers   []image.Digest   `json:"layers"`   // DiffIDs, lowest first
	Parts    []fleet.Placed   `json:"parts"`
}

// Learn keeps the evidence on an image, with the digests it goes by. What its layers
// bring is kept once for all images; the findings are matched anew for what was
// never seen in any image, and those of ev are not looked at. The verdicts on the
// image are due from then on.
func (c *Catalog) Learn(ctx context.Context, img *image.Image, ev verdict.Evidence) error {
	contents, err := c.fleet.Contents(ctx, component.Inventory{OS: ev.OS, Components: ev.Components, Facts: ev.Facts})
	if err != nil {
		return err
	}
	k := known{Evidence: ownOf(ev), Layers: layersOf(img, ev)}
	err = c.store.Update(ctx, func(tx store.Tx) error {
		return c.learn(ctx, tx, k, contents, append([]image.Digest{img.ID}, img.Manifests...))
	})
	if err != nil {
		return err
	}
	return c.fleet.Confirm(ctx, contents, c.due)
}

// ownOf is the part of evidence that no layer brings, no advisory says, and no
// declaration changes; without credentials.
func ownOf(ev verdict.Evidence) verdict.Evidence {
	own := ev
	own.Image.Name = called(ev.Image.Name)
	own.Image.Labels = component.ShownLabels(ev.Image.Labels, ev.Facts)
	own.Facts = slices.DeleteFunc(slices.Clone(ev.Facts), func(f component.Fact) bool { return f.Layer != "" })
	own.Components, own.Findings, own.Gaps = nil, nil, nil
	own.Channels, own.Triage, own.Signatures = nil, nil, nil
	own.Snapshot, own.SnapshotAt, own.PartialFeeds = "", time.Time{}, nil
	return own
}

// layersOf are the DiffIDs of an image, or what its evidence says of them.
func layersOf(img *image.Image, ev verdict.Evidence) []image.Digest {
	var layers []image.Digest
	for _, l := range img.Layers {
		layers = append(layers, l.DiffID)
	}
	for _, c := range ev.Components {
		for len(layers) <= c.LayerIndex {
			layers = append(layers, "")
		}
		if layers[c.LayerIndex] == "" {
			layers[c.LayerIndex] = c.Layer
		}
	}
	for _, f := range ev.Facts {
		for f.Layer != "" && len(layers) <= f.LayerIndex {
			layers = append(layers, "")
		}
		if f.Layer != "" && layers[f.LayerIndex] == "" {
			layers[f.LayerIndex] = f.Layer
		}
	}
	return layers
}

const imageColumns = "i.num, i.id, i.name, i.kind, i.state, i.error, i.first_seen, i.scanned"

func scanImage(r store.Row, more ...any) (Image, error) {
	var img Image
	var id, state string
	var seen, scanned int64
	err := r.Scan(append([]any{&img.num, &id, &img.Name, &img.Kind, &state, &img.Error, &seen, &scanned}, more...)...)
	img.ID, img.State = image.Digest(id), State(state)
	img.FirstSeen, img.Scanned = store.Time(seen), store.Time(scanned)
	return img, err
}

// byDigest is the condition that an image goes by a digest, which is given twice.
const byDigest = "(i.id = ? OR i.num IN (SELECT image FROM catalog_digest WHERE digest = ?))"

// Find returns the image that goes by a digest (of its config or of a manifest),
// with its evidence; fault.NotFound where the server has never heard of it. An
// index digest that stands for several platforms finds the first by ID.
func (c *Catalog) Find(ctx context.Context, digest image.Digest) (*Image, error) {
	state, err := c.fleet.Snapshot(ctx)
	if err != nil {
		return nil, fmt.Errorf("find image: %w", err)
	}
	var found Image
	err = c.store.View(ctx, func(tx store.Tx) error {
		var body []byte
		found, err = scanImage(tx.QueryRow(ctx, "SELECT "+imageColumns+", i.body FROM catalog_image i WHERE "+byDigest+" ORDER BY i.id", string(digest), string(digest)), &body)
		if err != nil {
			return err
		}
		more, err := store.Column[image.Digest](ctx, tx, "SELECT digest FROM catalog_digest WHERE image = ? AND digest <> ? ORDER BY digest", found.num, string(found.ID))
		found.Digests = append(found.Digests, more...)
		if err != nil || found.State != Known {
			return err
		}
		found.Evidence, err = c.readEvidence(ctx, tx, state, found.num, body)
		return err
	})
	if errors.Is(err, store.ErrNoRows) {
		return nil, fault.New(fault.NotFound, "the server has never seen an image %s", digest).
			WithHint("bring it with: goldkeep image add IMAGE")
	}
	if err != nil {
		return nil, fmt.Errorf("find image: %w", err)
	}
	if c.vendors != nil && found.Evidence != nil {
		if err := c.vendors.Apply(ctx, found.Evidence.Findings); err != nil {
			return nil, err
		}
	}
	return &found, nil
}

// readEvidence puts the evidence on one image together, in its usual order.
func (c *Catalog) readEvidence(ctx context.Context, tx store.Tx, state advisory.Snapshot, num int64, body []byte) (*verdict.Evidence, error) {
	k := &known{}
	if err := store.Unpack(body, k); err != nil {
		return nil, err
	}
	a, err := c.assemble(ctx, tx, state, map[int64]*known{num: k})
	if err != nil {
		return nil, err
	}
	ev := a.evidence(k)
	inOrder(&ev)
	return &ev, nil
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
		}, "SELECT "+imageColumns+" FROM catalog_image i WHERE i.id > ? ORDER BY i.id LIMIT ?", string(after), limit)
	})
	return all, err
}

// Name returns what an image was last called, which anybody may have chosen; ""
// where it is not known.
func (c *Catalog) Name(ctx context.Context, id image.Digest) (string, error) {
	var name string
	err := c.store.View(ctx, func(tx store.Tx) error {
		return tx.QueryRow(ctx, "SELECT name FROM catalog_image WHERE id = ?", string(id)).Scan(&name)
	})
	if errors.Is(err, store.ErrNoRows) {
		return "", nil
	}
	return name, err
}

// Known returns the IDs of all images that go by a digest: several where it is
// the digest of an index; none where the server has never heard of it.
func (c *Catalog) Known(ctx context.Context, digest image.Digest) ([]image.Digest, error) {
	return c.digests(ctx, "SELECT i.id FROM catalog_image i WHERE "+byDigest+" ORDER BY i.id", string(digest), string(digest))
}

// digests reads rows of one digest.
func (c *Catalog) digests(ctx context.Context, query string, args ...any) ([]image.Digest, error) {
	var all []image.Digest
	err := c.store.View(ctx, func(tx store.Tx) (err error) {
		all, err = store.Column[image.Digest](ctx, tx, query, args...)
		return err
	})
	return all, err
}

// Refresh draws the consequences of changed advisories for what is known: what holds
// one of these packages is matched again, and where something else is found, the
// verdicts kept on the images concerned are due, and no others.
func (c *Catalog) Refresh(ctx context.Context, keys []advisory.Key) (fleet.Refreshed, error) {
	return c.fleet.Refresh(ctx, keys, c.due)
}

// Touch makes the verdicts due that are kept on images which hold one of these
// packages: something but an advisory has changed what they mean (a vendor's word).
// It returns how many images hold one.
func (c *Catalog) Touch(ctx context.Context, keys []advisory.Key) (images int, err error) {
	err = c.store.Update(ctx, func(tx store.Tx) error {
		nums, err := c.fleet.Concerned(ctx, tx, keys)
		if err != nil {
			return err
		}
		images = len(nums)
		return c.due(ctx, tx, nums)
	})
	return images, err
}
