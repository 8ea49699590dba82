// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

// maxTriage is how far ahead a triage may expire.
const maxTriage = 366 * 24 * time.Hour

// PutTriage keeps a decision on a finding. It needs an author, a reason and an
// expiry within a year, and counts for one image (by digest) or for all images
// in a golden image's channels.
func (c *Catalog) PutTriage(ctx context.Context, t verdict.Triage) (verdict.Triage, error) {
	now := c.Now()
	switch {
	case t.Finding == "" || t.Author == "" || t.Reason == "":
		return t, fault.New(fault.Invalid, "a triage needs a finding, an author and a reason")
	case (t.Image == "") == (t.Golden == ""):
		return t, fault.New(fault.Invalid, "a triage is for an image or for a golden image: give exactly one")
	case t.Status != verdict.NotAffected && t.Status != verdict.Accepted && t.Status != verdict.Fixing:
		return t, fault.New(fault.Invalid, "the status is %q; it must be not_affected, accepted or fixing", t.Status)
	case !t.Expires.After(now) || t.Expires.After(now.Add(maxTriage)):
		return t, fault.New(fault.Invalid, "a triage must expire in the future, within a year").WithHint("for example: --expires 30d")
	}
	t.ID, t.At = rand.Text(), now.Truncate(time.Millisecond)
	body, err := json.Marshal(t)
	if err != nil {
		return t, fmt.Errorf("encode triage: %w", err)
	}
	return t, c.exec(ctx, "INSERT INTO catalog_triage (id, image, body) VALUES (?, ?, ?)", t.ID, scope(t.Image, t.Golden), string(body))
}

// scope is the key a triage is found by.
func scope(id, golden string) string {
	if golden != "" {
		return "golden " + golden
	}
	return id
}

// Triages returns all triage, newest last, the expired too.
func (c *Catalog) Triages(ctx context.Context) ([]verdict.Triage, error) {
	return bodies[verdict.Triage](ctx, c.store, "SELECT body FROM catalog_triage ORDER BY id")
}

// DeleteTriage takes a decision back and returns it.
func (c *Catalog) DeleteTriage(ctx context.Context, id string) (verdict.Triage, error) {
	found, err := bodies[verdict.Triage](ctx, c.store, "SELECT body FROM catalog_triage WHERE id = ?", id)
	if err == nil && len(found) == 0 {
		err = fault.New(fault.NotFound, "there is no triage %q", id)
	}
	if err != nil {
		return verdict.Triage{}, err
	}
	return found[0], c.exec(ctx, "DELETE FROM catalog_triage WHERE id = ?", id)
}

// triageOf returns the decisions that concern an image.
func (c *Catalog) triageOf(ctx context.Context, id image.Digest, channels []verdict.Channel) ([]verdict.Triage, error) {
	all, err := bodies[verdict.Triage](ctx, c.store, "SELECT body FROM catalog_triage WHERE image = ? ORDER BY id", string(id))
	for _, ch := range channels {
		if err != nil {
			break
		}
		var more []verdict.Triage
		more, err = bodies[verdict.Triage](ctx, c.store, "SELECT body FROM catalog_triage WHERE image = ? ORDER BY id", scope("", ch.Golden))
		all = append(all, more...)
	}
	return all, err
}

// Concerned returns the known images a triage concerns.
func (c *Catalog) Concerned(ctx context.Context, t verdict.Triage) ([]image.Digest, error) {
	if t.Image != "" {
		return []image.Digest{image.Digest(t.Image)}, nil
	}
	return c.Standing(ctx, t.Golden, "")
}

// Standing returns the images that stand in a channel of a golden image ("":
// any channel): by their IDs where known, else by the digest declared.
func (c *Catalog) Standing(ctx context.Context, golden, channel string) ([]image.Digest, error) {
	var all []image.Digest
	err := c.store.View(ctx, func(tx store.Tx) error {
		all = nil
		return store.Each(ctx, tx, func(r store.Row) error {
			var id string
			err := r.Scan(&id)
			all = append(all, image.Digest(id))
			return err
		}, `SELECT DISTINCT COALESCE(d.image, c.digest) FROM catalog_channel c LEFT JOIN catalog_digest d ON d.digest = c.digest
			WHERE c.golden = ? AND (? = '' OR c.channel = ?)`, golden, channel, channel)
	})
	return all, err
}
