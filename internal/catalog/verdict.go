// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/goldkeep/goldkeep/internal/fleet"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

// Pair is an image in an environment.
type Pair struct {
	Image       image.Digest // ID
	Environment string
}

// Judge evaluates one environment's rules on an image. It changes nothing: only
// whoever has acted on a verdict may Keep it. An image that is not known gets the
// verdict unknown.
func (c *Catalog) Judge(ctx context.Context, img *Image, env verdict.Environment, now time.Time) (verdict.Verdict, error) {
	ev, err := c.EvidenceIn(ctx, img, &env)
	if err != nil {
		return verdict.Verdict{}, err
	}
	if img.Evidence == nil {
		return verdict.Unseen(env, ev, now), nil
	}
	return verdict.Evaluate(env, ev, now), nil
}

// EvidenceIn is the evidence on an image as one environment judges it: with the
// channels it stands in and the decisions that count there.
func (c *Catalog) EvidenceIn(ctx context.Context, img *Image, env *verdict.Environment) (verdict.Evidence, error) {
	ev := verdict.Evidence{Image: verdict.Image{ID: string(img.ID), Name: img.Name}}
	if img.Evidence != nil {
		ev = *img.Evidence
	}
	at := place{triaged: true}
	var err error
	if at.channels, err = c.Channels(ctx, img.ID); err != nil {
		return ev, err
	}
	if len(at.channels) > 0 {
		if g, err := c.Golden(ctx, at.channels[0].Golden); err == nil {
			at.contact = g.Contact
		}
	}
	return c.stand(ctx, ev, at, env)
}

// place is where an image stands.
type place struct {
	channels []verdict.Channel
	contact  string // of the first
	triaged  bool   // there are decisions on findings that may count for it
}

// stand adds to evidence what depends on where the image stands: channels, their
// owner, who has signed it, and the decisions on its findings.
func (c *Catalog) stand(ctx context.Context, ev verdict.Evidence, at place, env *verdict.Environment) (verdict.Evidence, error) {
	var err error
	ev.Channels = at.channels
	if at.triaged {
		if ev.Triage, err = c.triageOf(ctx, image.Digest(ev.Image.ID), at.channels, env.Name); err != nil {
			return ev, err
		}
	}
	if env.AsksSignatures() {
		if ev.Signatures, ev.Signers, err = c.signed(ctx, image.Digest(ev.Image.ID)); err != nil {
			return ev, err
		}
	}
	if len(at.channels) > 0 {
		ev.Image.Owner, ev.Image.Contact = at.channels[0].Owner, at.contact
	}
	return ev, nil
}

// numOf is the number of the image with an ID.
const numOf = "(SELECT num FROM catalog_image WHERE id = ?)"

// Turn is how often the verdict on a pair has become due or was kept; 0 where
// nothing is kept. Read it before what the verdict is made from.
func (c *Catalog) Turn(ctx context.Context, p Pair) (int64, error) {
	var turn int64
	err := c.store.View(ctx, func(tx store.Tx) error {
		return tx.QueryRow(ctx, "SELECT turn FROM catalog_verdict WHERE image = "+numOf+" AND environment = ?", string(p.Image), p.Environment).Scan(&turn)
	})
	if errors.Is(err, store.ErrNoRows) {
		return 0, nil
	}
	return turn, err
}

// Keep keeps a verdict that has been acted on, made since turn; it is not due any
// more until its time comes. Where something it rests on has changed since, or
// another node has kept one, it keeps nothing and makes the pair due again.
func (c *Catalog) Keep(ctx context.Context, v verdict.Verdict, turn int64) error {
	return c.KeepAll(ctx, []Judged{{Pair: Pair{image.Digest(v.Image), v.Environment}, Turn: turn, Verdict: &v}})
}

// KeepAll is Keep for many, in one transaction.
func (c *Catalog) KeepAll(ctx context.Context, all []Judged) error {
	bodies := make([][]byte, len(all))
	for i, j := range all {
		var err error
		if bodies[i], err = store.Pack(j.Verdict); err != nil {
			return err
		}
	}
	return c.store.Update(ctx, func(tx store.Tx) error {
		for i, j := range all {
			if err := c.keep(ctx, tx, j, bodies[i]); err != nil {
				return fmt.Errorf("keep verdict: %w", err)
			}
		}
		return nil
	})
}

func (c *Catalog) keep(ctx context.Context, tx store.Tx, j Judged, body []byte) error {
	old, err := c.previous(ctx, tx, j.Pair)
	if err != nil {
		return err
	}
	v := *j.Verdict
	var num int64
	err = tx.QueryRow(ctx, "SELECT num FROM catalog_image WHERE id = ?", v.Image).Scan(&num)
	if errors.Is(err, store.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	n, err := tx.Exec(ctx, `INSERT INTO catalog_verdict (image, environment, turn, until, body) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (image, environment) DO UPDATE SET turn = excluded.turn, until = excluded.until, body = excluded.body
			WHERE catalog_verdict.turn = excluded.turn - 1`,
		num, v.Environment, j.Turn+1, store.Millis(v.Until), body)
	switch {
	case err == nil && n == 0:
		_, err = tx.Exec(ctx, "UPDATE catalog_verdict SET until = ? WHERE image = ? AND environment = ?", store.Millis(c.Now()), num, v.Environment)
	case err == nil && c.OnKeep != nil:
		err = c.OnKeep(ctx, tx, old, v)
	}
	return err
}

// previous is the verdict kept on a pair, for OnKeep; nil where there is none, or
// nobody asks.
func (c *Catalog) previous(ctx context.Context, tx store.Tx, p Pair) (*verdict.Verdict, error) {
	if c.OnKeep == nil {
		return nil, nil
	}
	var body []byte
	err := tx.QueryRow(ctx, "SELECT body FROM catalog_verdict WHERE image = "+numOf+" AND environment = ?", string(p.Image), p.Environment).Scan(&body)
	if errors.Is(err, store.ErrNoRows) || err == nil && body == nil {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read verdict: %w", err)
	}
	old := &verdict.Verdict{}
	return old, store.Unpack(body, old)
}

// A verdict is kept, and made anew when what it rests on changes, for the pairs
// that matter: an image in a channel with every environment, and whatever Watch was
// asked for. All others are judged when somebody asks.

// Watch has the verdict on a pair made and kept from now on, as part of the
// transaction that makes it matter.
func (c *Catalog) Watch(ctx context.Context, tx store.Tx, p Pair) error {
	_, err := tx.Exec(ctx, `INSERT INTO catalog_verdict (image, environment, turn, until)
		SELECT num, CAST(? AS TEXT), 1, CAST(? AS BIGINT) FROM catalog_image WHERE id = ?
		ON CONFLICT (image, environment) DO UPDATE SET turn = catalog_verdict.turn + 1, until = excluded.until`,
		p.Environment, store.Millis(c.Now()), string(p.Image))
	if err != nil {
		return fmt.Errorf("watch image: %w", err)
	}
	return nil
}

// watchStanding makes verdicts due for the images in channels which a condition
// selects among image i, channel c and environment e.
func (c *Catalog) watchStanding(ctx context.Context, tx store.Tx, condition string, args ...any) error {
	_, err := tx.Exec(ctx, `INSERT INTO catalog_verdict (image, environment, turn, until)
		SELECT DISTINCT i.num, e.name, 1, CAST(? AS BIGINT)
		FROM catalog_image i JOIN catalog_digest d ON d.image = i.num JOIN catalog_channel c ON c.digest = d.digest, catalog_environment e
		WHERE i.state = 'known' AND `+condition+`
		ON CONFLICT (image, environment) DO UPDATE SET turn = catalog_verdict.turn + 1, until = excluded.until`,
		append([]any{store.Millis(c.Now())}, args...)...)
	if err != nil {
		return fmt.Errorf("make verdicts due: %w", err)
	}
	return nil
}

// touch makes the verdicts on an image due, in the transaction that changes what
// they rest on: no crash can lose that.
func (c *Catalog) touch(ctx context.Context, tx store.Tx, digest image.Digest) error {
	nums, err := store.Column[int64](ctx, tx, "SELECT i.num FROM catalog_image i WHERE "+byDigest, string(digest), string(digest))
	for _, num := range nums {
		if err == nil {
			err = c.touchNum(ctx, tx, num)
		}
	}
	return err
}

func (c *Catalog) touchNum(ctx context.Context, tx store.Tx, num int64) error {
	if err := c.due(ctx, tx, []int64{num}); err != nil {
		return err
	}
	return c.watchStanding(ctx, tx, "i.num = ?", num)
}

// due makes the verdicts due that are kept on images, by their numbers.
func (c *Catalog) due(ctx context.Context, tx store.Tx, nums []int64) error {
	return fleet.InChunks(nums, func(marks string, args []any) error {
		_, err := tx.Exec(ctx, "UPDATE catalog_verdict SET turn = turn + 1, until = ? WHERE image IN ("+marks+")",
			append([]any{store.Millis(c.Now())}, args...)...)
		if err != nil {
			return fmt.Errorf("make verdicts due: %w", err)
		}
		return nil
	})
}

// touchAll makes the verdicts in one environment due.
func (c *Catalog) touchAll(ctx context.Context, tx store.Tx, environment string) error {
	if _, err := tx.Exec(ctx, "UPDATE catalog_verdict SET turn = turn + 1, until = ? WHERE environment = ?", store.Millis(c.Now()), environment); err != nil {
		return fmt.Errorf("make verdicts due: %w", err)
	}
	return c.watchStanding(ctx, tx, "e.name = ?", environment)
}

// Forget drops the verdict on a pair that matters no more, judged at a turn: one
// that somebody watches since stays.
func (c *Catalog) Forget(ctx context.Context, p Pair, turn int64) error {
	return c.exec(ctx, "DELETE FROM catalog_verdict WHERE image = "+numOf+" AND environment = ? AND turn = ?", string(p.Image), p.Environment, turn)
}

// Channels returns the places of golden images an image stands in.
func (c *Catalog) Channels(ctx context.Context, id image.Digest) ([]verdict.Channel, error) {
	var all []verdict.Channel
	err := c.store.View(ctx, func(tx store.Tx) error {
		all = []verdict.Channel{}
		return store.Each(ctx, tx, func(r store.Row) error {
			ch, _, err := scanChannel(r)
			if err != nil {
				return err
			}
			all = append(all, ch)
			return nil
		}, `SELECT c.golden, c.channel, c.since, g.body FROM catalog_channel c JOIN catalog_golden g ON g.name = c.golden
			WHERE c.digest = ? OR c.digest IN (SELECT digest FROM catalog_digest WHERE image = `+numOf+`) ORDER BY c.golden, c.channel`, string(id), string(id))
	})
	return all, err
}

// scanChannel reads golden, channel, since and the golden image's body, whose
// contact it returns too.
func scanChannel(r store.Row, before ...any) (ch verdict.Channel, contact string, err error) {
	var since int64
	var body string
	if err := r.Scan(append(before, &ch.Golden, &ch.Name, &since, &body)...); err != nil {
		return ch, "", err
	}
	var g Golden
	if err := json.Unmarshal([]byte(body), &g); err != nil {
		return ch, "", fmt.Errorf("decode golden image: %w", err)
	}
	ch.Since, ch.Owner = store.Time(since), g.Owner
	return ch, g.Contact, nil
}

// claim is for how long a due verdict is one node's to make.
const claim = 30 * time.Second

// Due claims up to limit pairs whose verdict is due at a time, in one environment
// ("": in all). Nobody else gets them for half a minute; by then they have been
// kept, or they are due again.
func (c *Catalog) Due(ctx context.Context, environment string, now time.Time, limit int) ([]Pair, error) {
	if due, err := c.anyDue(ctx, now); err != nil || !due {
		return nil, err
	}
	var due []Pair
	err := c.store.Update(ctx, func(tx store.Tx) error {
		due = nil
		var nums []int64
		err := store.Each(ctx, tx, func(r store.Row) error {
			var num int64
			var id, env string
			err := r.Scan(&num, &id, &env)
			due, nums = append(due, Pair{image.Digest(id), env}), append(nums, num)
			return err
		}, `SELECT i.num, i.id, v.environment FROM catalog_verdict v JOIN catalog_image i ON i.num = v.image
			WHERE v.until > 0 AND v.until <= ? AND (? = '' OR v.environment = ?) ORDER BY v.until, v.image LIMIT ?`,
			store.Millis(now), environment, environment, limit)
		for i, p := range due {
			if err != nil {
				break
			}
			_, err = tx.Exec(ctx, "UPDATE catalog_verdict SET until = ? WHERE image = ? AND environment = ?", store.Millis(now.Add(claim)), nums[i], p.Environment)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("claim due verdicts: %w", err)
	}
	return due, nil
}

// anyDue looks without writing: most of the time nothing is due.
func (c *Catalog) anyDue(ctx context.Context, now time.Time) (bool, error) {
	n := 0
	err := c.store.View(ctx, func(tx store.Tx) error {
		return tx.QueryRow(ctx, "SELECT COUNT(*) FROM (SELECT 1 FROM catalog_verdict WHERE until > 0 AND until <= ? LIMIT 1) AS due", store.Millis(now)).Scan(&n)
	})
	return n > 0, err
}

// Verdicts returns the verdicts kept on an image.
func (c *Catalog) Verdicts(ctx context.Context, id image.Digest) ([]verdict.Verdict, error) {
	var all []verdict.Verdict
	err := c.store.View(ctx, func(tx store.Tx) error {
		all = []verdict.Verdict{}
		return store.Each(ctx, tx, func(r store.Row) error {
			var body []byte
			if err := r.Scan(&body); err != nil {
				return err
			}
			var v verdict.Verdict
			if err := store.Unpack(body, &v); err != nil {
				return err
			}
			all = append(all, v)
			return nil
		}, "SELECT body FROM catalog_verdict WHERE image = "+numOf+" AND body IS NOT NULL ORDER BY environment", string(id))
	})
	return all, err
}
