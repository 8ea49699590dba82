// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
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
	Images   []Image        // one page of them: what they are called, no more
	Channels []Standing     // of golden images, with an image that is hit; on the first page
	Watched  []image.Digest // the images that are hit and stand in a channel, or something runs from them; on the first page
}

// Standing is a channel with what stands in it and who to call.
type Standing struct {
	Golden, Channel, Owner, Contact string
	Image                           image.Digest // ID
}

// Affected looks an advisory up, by any of its names, and lists what it hits; of the
// images up to limit after one, in the order the server saw them first. All but the
// images is told on the first page only, after "".
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
		if after != "" {
			return nil
		}
		watched, err := watchedOf(ctx, tx, hit.Images)
		if err != nil {
			return err
		}
		for _, id := range watched {
			out.Watched = append(out.Watched, id)
		}
		out.Channels, err = standingsOf(ctx, tx, watched)
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
			var img Image
			var id string
			err := r.Scan(&id, &img.Name)
			img.ID = image.Digest(id)
			page = append(page, img)
			return err
		}, "SELECT id, name FROM catalog_image WHERE num IN ("+marks+") ORDER BY num", args...)
	})
	return page, err
}

// fewHits are looked for one by one among the images verdicts are kept on; of more than
// that it is quicker to read all these images, where they are not many more.
const fewHits = 256

// watchedOf returns which of some images, sorted by number, have verdicts kept, with
// their IDs.
func watchedOf(ctx context.Context, tx store.Tx, nums []int64) (map[int64]image.Digest, error) {
	if len(nums) > fewHits {
		kept, err := store.Column[int64](ctx, tx, "SELECT DISTINCT image FROM catalog_verdict LIMIT ?", len(nums))
		if err != nil {
			return nil, err
		}
		if len(kept) < len(nums) { // these are all
			nums = slices.DeleteFunc(kept, func(num int64) bool { _, hit := slices.BinarySearch(nums, num); return !hit })
		}
	}
	ids := map[int64]image.Digest{}
	err := fleet.InChunks(nums, func(marks string, args []any) error {
		return store.Each(ctx, tx, func(r store.Row) error {
			var num int64
			var id string
			err := r.Scan(&num, &id)
			ids[num] = image.Digest(id)
			return err
		}, "SELECT num, id FROM catalog_image WHERE num IN (SELECT image FROM catalog_verdict WHERE image IN ("+marks+"))", args...)
	})
	return ids, err
}

// standingsOf returns the channels that images stand in, by golden image, channel and
// image.
func standingsOf(ctx context.Context, tx store.Tx, ids map[int64]image.Digest) ([]Standing, error) {
	all := []Standing{}
	err := fleet.InChunks(slices.Sorted(maps.Keys(ids)), func(marks string, args []any) error {
		return store.Each(ctx, tx, func(r store.Row) error {
			var num int64
			var s Standing
			err := r.Scan(&num, &s.Golden, &s.Channel)
			s.Image = ids[num]
			all = append(all, s)
			return err
		}, "SELECT DISTINCT d.image, c.golden, c.channel FROM catalog_digest d CROSS JOIN catalog_channel c WHERE c.digest = d.digest AND d.image IN ("+marks+")", args...)
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b Standing) int {
		return cmp.Or(cmp.Compare(a.Golden, b.Golden), cmp.Compare(a.Channel, b.Channel), cmp.Compare(a.Image, b.Image))
	})
	return all, nameOwners(ctx, tx, all)
}

// nameOwners fills in who owns the golden images of channels, which are sorted.
func nameOwners(ctx context.Context, tx store.Tx, all []Standing) error {
	var names []string
	for _, s := range all {
		names = append(names, s.Golden)
	}
	owners := map[string]Golden{}
	err := fleet.InChunks(slices.Compact(names), func(marks string, args []any) error {
		return store.Each(ctx, tx, func(r store.Row) error {
			var body string
			if err := r.Scan(&body); err != nil {
				return err
			}
			var g Golden
			if err := json.Unmarshal([]byte(body), &g); err != nil {
				return fmt.Errorf("decode golden image: %w", err)
			}
			owners[g.Name] = g
			return nil
		}, "SELECT body FROM catalog_golden WHERE name IN ("+marks+")", args...)
	})
	for i, s := range all {
		all[i].Owner, all[i].Contact = owners[s.Golden].Owner, owners[s.Golden].Contact
	}
	return err
}
