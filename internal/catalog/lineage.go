// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/fleet"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

// An image is built on another where the other's layers are its first: a chain ID
// says so without looking at any layer. What stood in a channel once is remembered.

// chainKey is a chain ID as images are found by it: half of it tells them apart.
func chainKey(chain image.Digest) string {
	hex := strings.TrimPrefix(string(chain), "sha256:")
	return hex[:min(len(hex), 32)]
}

// chainKeys are those of the first layer, of the first two, and so on (the OCI
// image-spec's ChainID).
func chainKeys(layers []image.Digest) []string {
	var keys []string
	chain := ""
	for i, diff := range layers {
		if i == 0 {
			chain = string(diff)
		} else {
			sum := sha256.Sum256([]byte(chain + " " + string(diff)))
			chain = "sha256:" + hex.EncodeToString(sum[:])
		}
		keys = append(keys, chainKey(image.Digest(chain)))
	}
	return keys
}

// forebear is a known image with some chain.
type forebear struct {
	id, name string
	created  time.Time
	stands   []stood // in the channels of golden images, those of today first
}

// stood is a place in a channel, now or once.
type stood struct {
	golden, channel, newest, owner, contact string
	until                                   int64 // 0: it stands there
}

// forebears finds the known images that any of some images may be built on, and the
// images themselves, by chain. Of several with one chain the one in a channel
// counts, then the newest.
func (c *Catalog) forebears(ctx context.Context, tx store.Tx, images map[int64]*known) (map[string]forebear, error) {
	wanted := map[string]bool{}
	var keys []string
	for _, k := range images {
		for _, key := range chainKeys(k.Layers) {
			if !wanted[key] {
				wanted[key], keys = true, append(keys, key)
			}
		}
	}
	slices.Sort(keys)
	found := map[string]forebear{}
	err := fleet.InChunks(keys, func(marks string, args []any) error { // chain <> '' lets the index be used, which is of these
		for _, from := range []string{
			"catalog_channel c ON c.digest = d.digest", "catalog_past c ON c.digest = d.digest",
		} {
			if err := store.Each(ctx, tx, addStood(found), `SELECT DISTINCT i.chain, i.id, i.name, i.created, c.golden, c.channel, `+untilOf(from)+`, COALESCE(n.digest, ''), g.body
				FROM catalog_image i CROSS JOIN catalog_digest d JOIN `+from+` JOIN catalog_golden g ON g.name = c.golden
				LEFT JOIN catalog_channel n ON n.golden = c.golden AND n.channel = c.channel
				WHERE d.image = i.num AND i.chain <> '' AND i.chain IN (`+marks+") ORDER BY c.golden, c.channel", args...); err != nil {
				return err
			}
		}
		return store.Each(ctx, tx, func(r store.Row) error {
			var chain string
			var f forebear
			var created int64
			err := r.Scan(&chain, &f.id, &f.name, &created)
			f.created = store.Time(created)
			if old, there := found[chain]; !there || len(old.stands) == 0 {
				found[chain] = f
			}
			return err
		}, "SELECT chain, id, name, created FROM catalog_image WHERE chain <> '' AND chain IN ("+marks+") ORDER BY chain, created, id", args...)
	})
	if err != nil {
		return nil, fmt.Errorf("find base images: %w", err)
	}
	newestStood(found)
	return found, nil
}

func untilOf(from string) string {
	if strings.HasPrefix(from, "catalog_past") {
		return "c.until"
	}
	return "CAST(0 AS BIGINT)"
}

func addStood(found map[string]forebear) func(store.Row) error {
	return func(r store.Row) error {
		var chain, id, name, body string
		var created int64
		var s stood
		if err := r.Scan(&chain, &id, &name, &created, &s.golden, &s.channel, &s.until, &s.newest, &body); err != nil {
			return err
		}
		var g Golden
		if err := json.Unmarshal([]byte(body), &g); err != nil {
			return fmt.Errorf("decode golden image: %w", err)
		}
		s.owner, s.contact = g.Owner, g.Contact
		f, there := found[chain]
		if there && f.id != id && len(f.stands) > 0 {
			return nil // two images of one chain in channels: the first counts
		}
		f.id, f.name, f.created = id, name, store.Time(created)
		f.stands = append(f.stands, s)
		found[chain] = f
		return nil
	}
}

// lineage writes into evidence what an image is built on, and where its layers come from.
func lineage(ev *verdict.Evidence, layers []image.Digest, found map[string]forebear) {
	keys := chainKeys(layers)
	base := -1
	for i, key := range keys {
		f, there := found[key]
		if !there {
			continue
		}
		if len(f.stands) > 0 {
			ev.Origins = append(ev.Origins, f.origin(i+1))
		}
		golden := len(f.stands) > 0
		if i < len(keys)-1 && (golden || base < 0 || len(found[keys[base]].stands) == 0) {
			base = i
		}
	}
	if base >= 0 {
		ev.Image.BaseImage = found[keys[base]].base()
	} else if ev.Image.Base != "" {
		ev.Image.BaseImage = verdict.Base{Name: ev.Image.Base, By: "annotation"}
	}
}

func (f forebear) origin(layers int) verdict.Origin {
	s := f.stands[0]
	o := verdict.Origin{
		Layers: layers, Golden: s.golden, Channel: s.channel, Image: f.id, Past: s.until > 0, Owner: s.owner, Contact: s.contact,
	}
	if o.Past {
		o.Newest = s.newest
	}
	return o
}

func (f forebear) base() verdict.Base {
	b := verdict.Base{Name: f.name, ID: f.id, Created: f.created, By: "layers"}
	if len(f.stands) > 0 {
		s := f.stands[0]
		b.Golden, b.Channel, b.Owner, b.Contact = s.golden, s.channel, s.owner, s.contact
		if s.until > 0 {
			b.Newest = s.newest
		}
	}
	return b
}

// Origins returns the golden images the layers of an image come from, lowest first,
// with who to call: the image's own last, where it stands in one. Layers above the
// last come from no golden image.
func (c *Catalog) Origins(ctx context.Context, id image.Digest) ([]verdict.Origin, error) {
	img, err := c.Find(ctx, id)
	if err != nil || img.Evidence == nil {
		return nil, err
	}
	return img.Evidence.Origins, nil
}

// builtPage is how many images BuiltOn looks at in one go.
const builtPage = 200

// BuiltOn returns the places in channels whose images are built, by their layers, on
// an image that has been replaced in its channel: whoever owns them should rebuild.
func (c *Catalog) BuiltOn(ctx context.Context, base image.Digest) (all []Standing, err error) {
	ids, err := c.Known(ctx, base)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	for last, more := int64(0), true; more; {
		var found []Standing
		var next int64
		err := c.store.View(ctx, func(tx store.Tx) (err error) {
			found, next, err = c.builtOn(ctx, tx, ids, last)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("find what is built on an image: %w", err)
		}
		all, last, more = append(all, found...), next, next > last
	}
	return all, nil
}

// builtOn is BuiltOn for a page of the images in channels, and where the next begins.
func (c *Catalog) builtOn(ctx context.Context, tx store.Tx, ids []image.Digest, last int64) ([]Standing, int64, error) {
	page, hit := map[int64]*known{}, map[int64]image.Digest{}
	err := store.Each(ctx, tx, func(r store.Row) error {
		var body []byte
		if err := r.Scan(&last, &body); err != nil {
			return err
		}
		page[last] = &known{}
		return store.Unpack(body, page[last])
	}, `SELECT i.num, i.body FROM catalog_image i WHERE i.num > ? AND i.state = 'known' AND EXISTS (
		SELECT 1 FROM catalog_digest d JOIN catalog_channel c ON c.digest = d.digest WHERE d.image = i.num) ORDER BY i.num LIMIT ?`, last, builtPage)
	if err != nil {
		return nil, 0, err
	}
	bases, err := c.forebears(ctx, tx, page)
	for num, k := range page {
		ev := k.Evidence
		lineage(&ev, k.Layers, bases)
		if ev.Image.BaseImage.Newest != "" && slices.Contains(ids, image.Digest(ev.Image.BaseImage.ID)) {
			hit[num] = image.Digest(ev.Image.ID)
		}
	}
	if err != nil || len(hit) == 0 {
		return nil, last, err
	}
	found, err := standingsOf(ctx, tx, hit)
	return found, last, err
}

// newestStood puts the channels of today first, then those left last.
func newestStood(found map[string]forebear) {
	for _, f := range found {
		slices.SortStableFunc(f.stands, func(a, b stood) int {
			return cmp.Or(cmp.Compare(min(a.until, 1), min(b.until, 1)), cmp.Compare(b.until, a.until))
		})
	}
}
