// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"errors"
	"fmt"

	"github.com/goldkeep/goldkeep/internal/fleet"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/store"
)

// learn writes all that is known of an image.
func (c *Catalog) learn(ctx context.Context, tx store.Tx, k known, contents *fleet.Contents, digests []image.Digest) error {
	num, before, err := imageRow(ctx, tx, k.Evidence.Image.ID)
	if err != nil {
		return err
	}
	if k.Parts, err = contents.Put(ctx, tx, num, before); err != nil {
		return err
	}
	if err := c.writeImage(ctx, tx, num, k); err != nil {
		return err
	}
	for _, d := range digests {
		if _, err := tx.Exec(ctx, "INSERT INTO catalog_digest (digest, image) VALUES (?, ?) ON CONFLICT (digest, image) DO NOTHING", string(d), num); err != nil {
			return fmt.Errorf("keep digest: %w", err)
		}
	}
	return c.touchNum(ctx, tx, num)
}

// imageRow finds the number of an image and the parts it had, or gives it a number.
func imageRow(ctx context.Context, tx store.Tx, id string) (num int64, parts []fleet.Placed, err error) {
	var body []byte
	err = tx.QueryRow(ctx, "SELECT num, body FROM catalog_image WHERE id = ?", id).Scan(&num, &body)
	if errors.Is(err, store.ErrNoRows) {
		num, err = nextImage(ctx, tx)
		return num, nil, err
	}
	if err != nil || body == nil {
		return num, nil, err
	}
	var k known
	err = store.Unpack(body, &k)
	return num, k.Parts, err
}

func (c *Catalog) writeImage(ctx context.Context, tx store.Tx, num int64, k known) error {
	body, err := store.Pack(k)
	if err != nil {
		return err
	}
	now, img := store.Millis(c.Now()), k.Evidence.Image
	_, err = tx.Exec(ctx, `INSERT INTO catalog_image (num, id, name, kind, state, error, first_seen, scanned, chain, created, body) VALUES (?, ?, ?, ?, ?, '', ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name, kind = excluded.kind, state = excluded.state, error = '',
			scanned = excluded.scanned, chain = excluded.chain, created = excluded.created, body = excluded.body`,
		num, img.ID, img.Name, img.Kind, string(Known), now, now, chainKey(image.Digest(img.ChainID)), store.Millis(img.Created), body)
	if err != nil {
		return fmt.Errorf("keep image: %w", err)
	}
	return nil
}

// nextImage is the next number of an image. Rows are never removed.
func nextImage(ctx context.Context, tx store.Tx) (num int64, err error) {
	err = tx.QueryRow(ctx, "SELECT COALESCE(MAX(num), 0) + 1 FROM catalog_image").Scan(&num)
	return num, err
}
