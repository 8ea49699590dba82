// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"fmt"
	"time"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/fleet"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

// Judged is a pair with the verdict on it, made since a turn.
type Judged struct {
	Pair
	Turn     int64            // as Catalog.Turn
	Verdict  *verdict.Verdict // nil: the environment is no more, or nothing is known of the image
	Standing bool             // the image stands in a channel: its verdicts are kept
}

// JudgeAll judges many pairs: what they have in common is read once. They come
// back in the order given.
func (c *Catalog) JudgeAll(ctx context.Context, pairs []Pair, now time.Time) ([]Judged, error) {
	envs, err := c.environmentsOf(ctx, pairs)
	if err != nil {
		return nil, err
	}
	state, err := c.fleet.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	var b *docket
	err = c.store.View(ctx, func(tx store.Tx) error {
		b = &docket{images: map[int64]*known{}, nums: map[image.Digest]int64{}, turns: map[turnOf]int64{}, places: map[int64]place{}}
		return c.fill(ctx, tx, b, pairs, state)
	})
	if err != nil {
		return nil, fmt.Errorf("judge images: %w", err)
	}
	triaged, err := c.anyTriage(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]Judged, len(pairs))
	var last opened
	for i, p := range pairs {
		num := b.nums[p.Image]
		out[i] = Judged{Pair: p, Turn: b.turns[turnOf{num, p.Environment}], Standing: len(b.places[num].channels) > 0}
		k, env := b.images[num], envs[p.Environment]
		if k == nil || env == nil {
			continue
		}
		if num != last.num { // pairs of one image often come together
			if last, err = c.open(ctx, b, num); err != nil {
				return nil, err
			}
		}
		if last.cases[env.AsksSignatures()] == nil || triaged {
			at := b.places[num]
			at.triaged = triaged
			standing, err := c.stand(ctx, last.evidence, at, env)
			if err != nil {
				return nil, err
			}
			last.cases[env.AsksSignatures()] = verdict.NewCase(standing, now)
		}
		v := last.cases[env.AsksSignatures()].Evaluate(*env)
		out[i].Verdict = &v
	}
	return out, nil
}

// opened is an image being judged.
type opened struct {
	num      int64
	evidence verdict.Evidence
	// cases are what environments judge that ask for signatures, and those that do
	// not; decisions on findings may differ for each.
	cases map[bool]*verdict.Case
}

func (c *Catalog) open(ctx context.Context, b *docket, num int64) (opened, error) {
	o := opened{num: num, evidence: b.evidence(b.images[num]), cases: map[bool]*verdict.Case{}}
	if c.vendors != nil {
		if err := c.vendors.Apply(ctx, o.evidence.Findings); err != nil {
			return o, err
		}
	}
	return o, nil
}

// anyTriage tells whether there are decisions on findings at all.
func (c *Catalog) anyTriage(ctx context.Context) (bool, error) {
	n := 0
	err := c.store.View(ctx, func(tx store.Tx) error {
		return tx.QueryRow(ctx, "SELECT COUNT(*) FROM (SELECT 1 FROM catalog_triage LIMIT 1) AS decision").Scan(&n)
	})
	return n > 0, err
}

// docket is what a batch of judgements is made from.
type docket struct {
	*assembler
	images map[int64]*known
	nums   map[image.Digest]int64
	turns  map[turnOf]int64
	places map[int64]place // never nil lists for known images
}

type turnOf struct {
	num         int64
	environment string
}

// fill reads it all in one transaction: a turn and what is judged in it belong together.
func (c *Catalog) fill(ctx context.Context, tx store.Tx, b *docket, pairs []Pair, state advisory.Snapshot) error {
	var ids []string
	for i, p := range pairs {
		if i == 0 || p.Image != pairs[i-1].Image {
			ids = append(ids, string(p.Image))
		}
	}
	var nums []int64
	err := fleet.InChunks(ids, func(marks string, args []any) error {
		return store.Each(ctx, tx, func(r store.Row) error {
			var num int64
			var id string
			var body []byte
			if err := r.Scan(&num, &id, &body); err != nil {
				return err
			}
			b.nums[image.Digest(id)] = num
			nums = append(nums, num)
			if body == nil {
				return nil
			}
			b.images[num], b.places[num] = &known{}, place{channels: []verdict.Channel{}}
			return store.Unpack(body, b.images[num])
		}, "SELECT num, id, body FROM catalog_image WHERE id IN ("+marks+")", args...)
	})
	if err != nil {
		return err
	}
	if err := b.stands(ctx, tx, nums); err != nil {
		return err
	}
	b.assembler, err = c.assemble(ctx, tx, state, b.images)
	return err
}

// stands reads the turns of images and the channels they stand in.
func (b *docket) stands(ctx context.Context, tx store.Tx, nums []int64) error {
	err := fleet.InChunks(nums, func(marks string, args []any) error {
		return store.Each(ctx, tx, func(r store.Row) error {
			var at turnOf
			var turn int64
			err := r.Scan(&at.num, &at.environment, &turn)
			b.turns[at] = turn
			return err
		}, "SELECT image, environment, turn FROM catalog_verdict WHERE image IN ("+marks+")", args...)
	})
	if err != nil {
		return err
	}
	return fleet.InChunks(nums, func(marks string, args []any) error {
		return store.Each(ctx, tx, func(r store.Row) error {
			var num int64
			ch, contact, err := scanChannel(r, &num)
			at := b.places[num]
			if len(at.channels) == 0 {
				at.contact = contact
			}
			at.channels = append(at.channels, ch)
			b.places[num] = at
			return err
		}, `SELECT DISTINCT d.image, c.golden, c.channel, c.since, g.body FROM catalog_digest d JOIN catalog_channel c ON c.digest = d.digest
			JOIN catalog_golden g ON g.name = c.golden WHERE d.image IN (`+marks+") ORDER BY c.golden, c.channel", args...)
	})
}

// environmentsOf returns the environments of pairs that there are.
func (c *Catalog) environmentsOf(ctx context.Context, pairs []Pair) (map[string]*verdict.Environment, error) {
	envs := map[string]*verdict.Environment{}
	for _, p := range pairs {
		if _, looked := envs[p.Environment]; looked {
			continue
		}
		env, err := c.Environment(ctx, p.Environment)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return nil, err
		}
		envs[p.Environment] = env
	}
	return envs, nil
}
