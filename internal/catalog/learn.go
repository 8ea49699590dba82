// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/store"
)

// matchNew matches the pieces no image had before, and names the state of the
// advisories they were matched with.
func (c *Catalog) matchNew(ctx context.Context, pieces []piece) (map[string]result, string, error) {
	// The state is read first: should a feed be taken in meanwhile, confirm sees it.
	state, err := c.advisories.Snapshot(ctx)
	if err != nil {
		return nil, "", err
	}
	here, err := c.partsByHash(ctx, pieces)
	if err != nil {
		return nil, "", err
	}
	var unseen []finding.Old
	var hashes []string
	for _, p := range pieces {
		if !here[p.hash] {
			unseen, hashes = append(unseen, finding.Old{Part: p.Part}), append(hashes, p.hash)
		}
	}
	if len(unseen) == 0 {
		return nil, state.ID, nil
	}
	matcher, err := finding.NewMatcher(ctx, c.advisories, c.Now())
	if err != nil {
		return nil, "", err
	}
	found, err := matcher.Match(ctx, unseen)
	if err != nil {
		return nil, "", err
	}
	results := map[string]result{}
	for i, hash := range hashes {
		if results[hash], err = newResult(found[i]); err != nil {
			return nil, "", err
		}
	}
	return results, state.ID, nil
}

// partsByHash tells which pieces are kept already.
func (c *Catalog) partsByHash(ctx context.Context, pieces []piece) (map[string]bool, error) {
	var hashes []string
	for _, p := range pieces {
		hashes = append(hashes, p.hash)
	}
	here := map[string]bool{}
	err := c.store.View(ctx, func(tx store.Tx) error {
		return inChunks(hashes, func(marks string, args []any) error {
			return store.Each(ctx, tx, func(r store.Row) error {
				var hash string
				err := r.Scan(&hash)
				here[hash] = true
				return err
			}, "SELECT hash FROM catalog_part WHERE hash IN ("+marks+")", args...)
		})
	})
	return here, err
}

// learn writes all that is known of an image, and returns the parts that are new.
func (c *Catalog) learn(ctx context.Context, tx store.Tx, img *image.Image, k known, pieces []piece, found map[string]result) (fresh []int64, err error) {
	for _, p := range pieces {
		num, isNew, err := keepPart(ctx, tx, p, found)
		if err != nil {
			return nil, err
		}
		if isNew {
			fresh = append(fresh, num)
		}
		k.Parts = append(k.Parts, placed{Part: num, Layer: p.layer})
	}
	num, before, err := imageRow(ctx, tx, k.Evidence.Image.ID)
	if err != nil {
		return nil, err
	}
	if err := c.writeImage(ctx, tx, num, k); err != nil {
		return nil, err
	}
	if err := moveHolder(ctx, tx, num, before, k.Parts); err != nil {
		return nil, err
	}
	for _, d := range append([]image.Digest{img.ID}, img.Manifests...) {
		if _, err := tx.Exec(ctx, "INSERT INTO catalog_digest (digest, image) VALUES (?, ?) ON CONFLICT (digest, image) DO NOTHING", string(d), num); err != nil {
			return nil, fmt.Errorf("keep digest: %w", err)
		}
	}
	return fresh, c.touchNum(ctx, tx, num)
}

// imageRow finds the number of an image and the parts it had, or gives it a number.
func imageRow(ctx context.Context, tx store.Tx, id string) (num int64, parts []placed, err error) {
	var body []byte
	err = tx.QueryRow(ctx, "SELECT num, body FROM catalog_image WHERE id = ?", id).Scan(&num, &body)
	if errors.Is(err, store.ErrNoRows) {
		num, err = next(ctx, tx, "catalog_image")
		return num, nil, err
	}
	if err != nil || body == nil {
		return num, nil, err
	}
	var k known
	err = unpack(body, &k)
	return num, k.Parts, err
}

func (c *Catalog) writeImage(ctx context.Context, tx store.Tx, num int64, k known) error {
	body, err := pack(k)
	if err != nil {
		return err
	}
	now, img := store.Millis(c.Now()), k.Evidence.Image
	_, err = tx.Exec(ctx, `INSERT INTO catalog_image (num, id, name, kind, state, error, first_seen, scanned, chain, body) VALUES (?, ?, ?, ?, ?, '', ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name, kind = excluded.kind, state = excluded.state, error = '',
			scanned = excluded.scanned, chain = excluded.chain, body = excluded.body`,
		num, img.ID, img.Name, img.Kind, string(Known), now, now, chainKey(image.Digest(img.ChainID)), body)
	if err != nil {
		return fmt.Errorf("keep image: %w", err)
	}
	return nil
}

// moveHolder makes an image holder of the parts it has now, and of no others.
func moveHolder(ctx context.Context, tx store.Tx, num int64, before, now []placed) error {
	has := func(list []placed, part int64) bool {
		return slices.ContainsFunc(list, func(p placed) bool { return p.Part == part })
	}
	for _, p := range before {
		if !has(now, p.Part) {
			if err := release(ctx, tx, p.Part, num); err != nil {
				return err
			}
		}
	}
	for _, p := range now {
		if !has(before, p.Part) {
			if err := hold(ctx, tx, p.Part, num); err != nil {
				return err
			}
		}
	}
	return nil
}

// confirm makes sure of parts that were kept just now: a feed that was taken in
// while they were matched may have looked for them before they were there.
func (c *Catalog) confirm(ctx context.Context, fresh []int64, snapshot string) error {
	if len(fresh) == 0 {
		return nil
	}
	state, err := c.advisories.Snapshot(ctx)
	if err != nil {
		return err
	}
	if state.ID != snapshot {
		_, err := c.Refresh(ctx, nil)
		return err
	}
	return c.store.Update(ctx, func(tx store.Tx) error {
		for _, num := range fresh {
			if _, err := tx.Exec(ctx, "UPDATE catalog_part SET fresh = 0 WHERE num = ?", num); err != nil {
				return fmt.Errorf("settle part: %w", err)
			}
		}
		return nil
	})
}
