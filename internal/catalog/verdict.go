// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

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
	ev := verdict.Evidence{Image: verdict.Image{ID: string(img.ID), Name: img.Name}}
	if img.Evidence != nil {
		ev = *img.Evidence
	}
	var err error
	if ev.Channels, err = c.Channels(ctx, img.ID); err != nil {
		return verdict.Verdict{}, err
	}
	if ev.Triage, err = c.triageOf(ctx, img.ID, ev.Channels, env.Name); err != nil {
		return verdict.Verdict{}, err
	}
	if len(ev.Channels) > 0 {
		ev.Image.Owner = ev.Channels[0].Owner
		if g, err := c.Golden(ctx, ev.Channels[0].Golden); err == nil {
			ev.Image.Contact = g.Contact
		}
	}
	if img.Evidence == nil {
		return verdict.Unseen(env, ev, now), nil
	}
	return verdict.Evaluate(env, ev, now), nil
}

// Turn is how often the verdict on a pair has become due or was kept; 0 where
// nothing is kept. Read it before what the verdict is made from.
func (c *Catalog) Turn(ctx context.Context, p Pair) (int64, error) {
	var turn int64
	err := c.store.View(ctx, func(tx store.Tx) error {
		return tx.QueryRow(ctx, "SELECT turn FROM catalog_verdict WHERE image = ? AND environment = ?", string(p.Image), p.Environment).Scan(&turn)
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
	body, err := pack(v)
	if err != nil {
		return err
	}
	return c.store.Update(ctx, func(tx store.Tx) error {
		old, err := c.previous(ctx, tx, Pair{image.Digest(v.Image), v.Environment})
		if err != nil {
			return err
		}
		n, err := tx.Exec(ctx, `INSERT INTO catalog_verdict (image, environment, turn, until, body) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (image, environment) DO UPDATE SET turn = excluded.turn, until = excluded.until, body = excluded.body
				WHERE catalog_verdict.turn = excluded.turn - 1`,
			v.Image, v.Environment, turn+1, store.Millis(v.Until), body)
		switch {
		case err == nil && n == 0:
			_, err = tx.Exec(ctx, "UPDATE catalog_verdict SET until = ? WHERE image = ? AND environment = ?", store.Millis(c.Now()), v.Image, v.Environment)
		case err == nil && c.OnKeep != nil:
			err = c.OnKeep(ctx, tx, old, v)
		}
		if err != nil {
			return fmt.Errorf("keep verdict: %w", err)
		}
		return nil
	})
}

// previous is the verdict kept on a pair, for OnKeep; nil where there is none, or
// nobody asks.
func (c *Catalog) previous(ctx context.Context, tx store.Tx, p Pair) (*verdict.Verdict, error) {
	if c.OnKeep == nil {
		return nil, nil
	}
	var body []byte
	err := tx.QueryRow(ctx, "SELECT body FROM catalog_verdict WHERE image = ? AND environment = ?", string(p.Image), p.Environment).Scan(&body)
	if errors.Is(err, store.ErrNoRows) || err == nil && body == nil {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read verdict: %w", err)
	}
	old := &verdict.Verdict{}
	return old, unpack(body, old)
}

// touch makes the verdicts on an image due, in the transaction that changes what
// they rest on: no crash can lose that.
func (c *Catalog) touch(ctx context.Context, tx store.Tx, digest image.Digest) error {
	_, err := tx.Exec(ctx, `UPDATE catalog_verdict SET turn = turn + 1, until = ? WHERE image = ? OR image IN (SELECT image FROM catalog_digest WHERE digest = ?)`,
		store.Millis(c.Now()), string(digest), string(digest))
	if err != nil {
		return fmt.Errorf("make verdicts due: %w", err)
	}
	return nil
}

// touchAll makes a verdict on every known image due in one environment.
func (c *Catalog) touchAll(ctx context.Context, tx store.Tx, environment string) error {
	_, err := tx.Exec(ctx, `INSERT INTO catalog_verdict (image, environment, turn, until)
		SELECT id, CAST(? AS TEXT), 1, CAST(? AS BIGINT) FROM catalog_image WHERE state = 'known'
		ON CONFLICT (image, environment) DO UPDATE SET turn = catalog_verdict.turn + 1, until = excluded.until`,
		environment, store.Millis(c.Now()))
	if err != nil {
		return fmt.Errorf("make verdicts due: %w", err)
	}
	return nil
}

// Forget drops the verdict on a pair that is no more.
func (c *Catalog) Forget(ctx context.Context, p Pair) error {
	return c.exec(ctx, "DELETE FROM catalog_verdict WHERE image = ? AND environment = ?", string(p.Image), p.Environment)
}

// Channels returns the places of golden images an image stands in.
func (c *Catalog) Channels(ctx context.Context, id image.Digest) ([]verdict.Channel, error) {
	var all []verdict.Channel
	err := c.store.View(ctx, func(tx store.Tx) error {
		all = []verdict.Channel{}
		return store.Each(ctx, tx, func(r store.Row) error {
			var ch verdict.Channel
			var since int64
			var body string
			if err := r.Scan(&ch.Golden, &ch.Name, &since, &body); err != nil {
				return err
			}
			var g Golden
			if err := json.Unmarshal([]byte(body), &g); err != nil {
				return fmt.Errorf("decode golden image: %w", err)
			}
			ch.Since, ch.Owner = store.Time(since), g.Owner
			all = append(all, ch)
			return nil
		}, `SELECT c.golden, c.channel, c.since, g.body FROM catalog_channel c JOIN catalog_golden g ON g.name = c.golden
			WHERE c.digest = ? OR c.digest IN (SELECT digest FROM catalog_digest WHERE image = ?) ORDER BY c.golden, c.channel`, string(id), string(id))
	})
	return all, err
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
		err := store.Each(ctx, tx, func(r store.Row) error {
			var id, env string
			err := r.Scan(&id, &env)
			due = append(due, Pair{image.Digest(id), env})
			return err
		}, "SELECT image, environment FROM catalog_verdict WHERE until > 0 AND until <= ? AND (? = '' OR environment = ?) ORDER BY until, image LIMIT ?",
			store.Millis(now), environment, environment, limit)
		for _, p := range due {
			if err != nil {
				break
			}
			_, err = tx.Exec(ctx, "UPDATE catalog_verdict SET until = ? WHERE image = ? AND environment = ?", store.Millis(now.Add(claim)), string(p.Image), p.Environment)
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
		return tx.QueryRow(ctx, "SELECT COUNT(*) FROM catalog_verdict WHERE until > 0 AND until <= ?", store.Millis(now)).Scan(&n)
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
			if err := unpack(body, &v); err != nil {
				return err
			}
			all = append(all, v)
			return nil
		}, "SELECT body FROM catalog_verdict WHERE image = ? AND body IS NOT NULL ORDER BY environment", string(id))
	})
	return all, err
}
