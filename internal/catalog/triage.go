// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

// maxTriage is how far ahead a triage may expire.
const maxTriage = 366 * 24 * time.Hour

// Limits of a triage's texts, in bytes.
const (
	maxFinding = 253
	maxReason  = 4000
)

// maxTriages bounds the decisions of one list.
const maxTriages = 10_000

// PutTriage keeps a decision on a finding. It needs an author, a reason and an
// expiry within a year, and counts for one image (by digest) or for all images
// in a golden image's channels.
func (c *Catalog) PutTriage(ctx context.Context, t verdict.Triage) (verdict.Triage, error) {
	now := c.Now()
	switch {
	case t.Finding == "" || t.Author == "" || t.Reason == "":
		return t, fault.New(fault.Invalid, "a triage needs a finding, an author and a reason")
	case len(t.Finding) > maxFinding || len(t.Reason) > maxReason || len(t.Author) > maxFinding:
		return t, fault.New(fault.TooLarge, "a triage's finding and author have at most %d bytes, its reason %d", maxFinding, maxReason)
	case (t.Image == "") == (t.Golden == ""):
		return t, fault.New(fault.Invalid, "a triage is for an image or for a golden image: give exactly one")
	case t.Status != verdict.NotAffected && t.Status != verdict.Accepted && t.Status != verdict.Fixing:
		return t, fault.New(fault.Invalid, "the status is %q; it must be not_affected, accepted or fixing", t.Status)
	case !t.Expires.After(now) || t.Expires.After(now.Add(maxTriage)):
		return t, fault.New(fault.Invalid, "a triage must expire in the future, within a year").WithHint("for example: --expires 30d")
	}
	if err := c.aim(ctx, &t); err != nil {
		return t, err
	}
	// IDs sort by time.
	t.ID, t.At = fmt.Sprintf("%012x", store.Millis(now))+strings.ToLower(rand.Text()[:12]), now.Truncate(time.Millisecond)
	body, err := json.Marshal(t)
	if err != nil {
		return t, fmt.Errorf("encode triage: %w", err)
	}
	err = c.store.Update(ctx, func(tx store.Tx) error {
		if _, err := tx.Exec(ctx, "INSERT INTO catalog_triage (id, image, body) VALUES (?, ?, ?)", t.ID, scope(t.Image, t.Golden), string(body)); err != nil {
			return fmt.Errorf("keep triage: %w", err)
		}
		return c.touchScope(ctx, tx, t)
	})
	return t, err
}

// aim makes sure that a triage is for something there is; an image is then named
// by its ID, whichever of its digests was given.
func (c *Catalog) aim(ctx context.Context, t *verdict.Triage) error {
	if t.Golden != "" {
		_, err := c.Golden(ctx, t.Golden)
		return err
	}
	digest, err := image.ParseDigest(t.Image)
	if err != nil {
		return fault.New(fault.Invalid, "the triage's image: %v", err).WithHint("write the whole digest: sha256: and 64 hex digits")
	}
	ids, err := c.Known(ctx, digest)
	switch {
	case err != nil:
		return err
	case len(ids) == 0:
		return fault.New(fault.NotFound, "the server has never seen an image %s", digest).WithHint("bring it with: goldkeep image add IMAGE")
	case len(ids) > 1:
		return fault.New(fault.Invalid, "the digest %s is of several images, one for each platform", digest).WithHint("give the digest of one of them")
	}
	t.Image = string(ids[0])
	return nil
}

// touchScope makes the verdicts a triage concerns due.
func (c *Catalog) touchScope(ctx context.Context, tx store.Tx, t verdict.Triage) error {
	if t.Golden == "" {
		return c.touch(ctx, tx, image.Digest(t.Image))
	}
	channels, err := channelsOf(ctx, tx, t.Golden)
	for _, digest := range channels {
		if err != nil {
			break
		}
		err = c.touch(ctx, tx, digest)
	}
	return err
}

// scope is the key a triage is found by.
func scope(id, golden string) string {
	if golden != "" {
		return "golden " + golden
	}
	return id
}

// Triages returns the triage, newest first, the expired too; at most maxTriages.
func (c *Catalog) Triages(ctx context.Context) ([]verdict.Triage, error) {
	return bodies[verdict.Triage](ctx, c.store, "SELECT body FROM catalog_triage ORDER BY id DESC LIMIT ?", maxTriages)
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
	return found[0], c.store.Update(ctx, func(tx store.Tx) error {
		if _, err := tx.Exec(ctx, "DELETE FROM catalog_triage WHERE id = ?", id); err != nil {
			return fmt.Errorf("delete triage: %w", err)
		}
		return c.touchScope(ctx, tx, found[0])
	})
}

// triageOf returns the decisions that concern an image.
func (c *Catalog) triageOf(ctx context.Context, id image.Digest, channels []verdict.Channel) ([]verdict.Triage, error) {
	all, err := bodies[verdict.Triage](ctx, c.store, "SELECT body FROM catalog_triage WHERE image = ? ORDER BY id", string(id))
	for i, ch := range channels { // sorted by golden image: each counts once
		if err != nil {
			break
		}
		if i > 0 && channels[i-1].Golden == ch.Golden {
			continue
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
	return c.digests(ctx, `SELECT DISTINCT COALESCE(d.image, c.digest) FROM catalog_channel c LEFT JOIN catalog_digest d ON d.digest = c.digest
		WHERE c.golden = ? AND (? = '' OR c.channel = ?)`, golden, channel, channel)
}
