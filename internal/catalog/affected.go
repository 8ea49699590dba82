// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sort"

	"github.com/goldkeep/goldkeep/internal/fleet"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/store"
)

// Affected is what an advisory hits, as far as the catalog knows.
type Affected struct {
	Flaws    []fleet.Flaw
	Total    int            // images
	Images   []Image        // one page of them, without evidence
	Channels []Standing     // of golden images, with an image that is hit
	Watched  []image.Digest // the images that are hit and stand in a channel, or something runs from them
}

// Standing is a channel with what stands in it and who to call.
type Standing struct {
	Golden, Channel, Owner, Contact string
	Image                           image.Digest // ID
}

// Affected looks an advisory up, by any of its names, and lists what it hits; of the
// images up to limit after one (""; in the order the server saw them first).
func (c *Catalog) Affected(ctx context.Context, name string, after image.Digest, limit int) (*Affected, error) {
	var out *Affected
	err := c.store.View(ctx, func(tx store.Tx) error {
		hit, err := c.fleet.Affected(ctx, tx, name)
		if err != nil {
			return err
		}
		out = &Affected{Flaws: hit.Flaws, Total: len(hit.Images)}
		if out.Images, err = pageOf(ctx, tx, hit.Images, after, limit); err != nil {
			return err
		}
		if out.Watched, err = watchedOf(ctx, tx, hit.Images); err != nil {
			return err
		}
		out.Channels, err = standingsOf(ctx, tx, out.Watched)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("find what is affected: %w", err)
	}
	return out, nil
}

// pageOf reads a page of images by their numbers, which are sorted.
func pageOf(ctx context.Context, tx store.Tx, nums []int64, after image.Digest, limit int) ([]Image, error) {
	if after != "" {
		var last int64
		if err := tx.QueryRow(ctx, "SELECT COALESCE(MAX(num), 0) FROM catalog_image WHERE id = ?", string(after)).Scan(&last); err != nil {
			return nil, err
		}
		nums = nums[sort.Search(len(nums), func(i int) bool { return nums[i] > last }):]
	}
	page := []Image{}
	err := fleet.InChunks(nums[:min(limit, len(nums))], func(marks string, args []any) error {
		return store.Each(ctx, tx, func(r store.Row) error {
			img, err := scanImage(r)
			page = append(page, img)
			return err
		}, "SELECT "+imageColumns+" FROM catalog_image i WHERE i.num IN ("+marks+") ORDER BY i.num", args...)
	})
	return page, err
}

// watchedOf returns which of some images have verdicts kept, by ID.
func watchedOf(ctx context.Context, tx store.Tx, nums []int64) ([]image.Digest, error) {
	ids := []image.Digest{}
	err := fleet.InChunks(nums, func(marks string, args []any) error {
		return store.Each(ctx, tx, func(r store.Row) error {
			var id string
			err := r.Scan(&id)
			ids = append(ids, image.Digest(id))
			return err
		}, "SELECT i.id FROM catalog_image i WHERE i.num IN ("+marks+") AND EXISTS (SELECT 1 FROM catalog_verdict v WHERE v.image = i.num)", args...)
	})
	return ids, err
}

// standingsOf returns the channels that images stand in.
func standingsOf(ctx context.Context, tx store.Tx, ids []image.Digest) ([]Standing, error) {
	all := []Standing{}
	err := fleet.InChunks(ids, func(marks string, args []any) error {
		return store.Each(ctx, tx, func(r store.Row) error {
			var s Standing
			var id, body string
			if err := r.Scan(&id, &s.Golden, &s.Channel, &body); err != nil {
				return err
			}
			var g Golden
			if err := json.Unmarshal([]byte(body), &g); err != nil {
				return fmt.Errorf("decode golden image: %w", err)
			}
			s.Image, s.Owner, s.Contact = image.Digest(id), g.Owner, g.Contact
			all = append(all, s)
			return nil
		}, `SELECT DISTINCT i.id, c.golden, c.channel, g.body FROM catalog_image i JOIN catalog_digest d ON d.image = i.num
			JOIN catalog_channel c ON c.digest = d.digest JOIN catalog_golden g ON g.name = c.golden WHERE i.id IN (`+marks+")", texts(args)...)
	})
	slices.SortFunc(all, func(a, b Standing) int {
		return slices.Compare([]string{a.Golden, a.Channel, string(a.Image)}, []string{b.Golden, b.Channel, string(b.Image)})
	})
	return all, err
}

// texts are digests as the store takes them.
func texts(args []any) []any {
	out := make([]any, len(args))
	for i, a := range args {
		out[i] = fmt.Sprint(a)
	}
	return out
}

// Runs returns what workloads run from a channel.
func (c *Catalog) Runs(ctx context.Context, golden, channel string) ([]Run, error) {
	return c.runs(ctx, "golden = ? AND channel = ?", golden, channel)
}
