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

// Judge evaluates one environment's rules on an image now and keeps the verdict.
// An image that is not known gets the verdict unknown, which nothing is kept of.
func (c *Catalog) Judge(ctx context.Context, img *Image, env verdict.Environment, now time.Time) (verdict.Verdict, error) {
	ev := verdict.Evidence{Image: verdict.Image{ID: string(img.ID), Name: img.Name}}
	if img.Evidence != nil {
		ev = *img.Evidence
	}
	var err error
	if ev.Channels, err = c.channels(ctx, img.ID); err != nil {
		return verdict.Verdict{}, err
	}
	if ev.Triage, err = c.triageOf(ctx, img.ID, ev.Channels); err != nil {
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
	v := verdict.Evaluate(env, ev, now)
	return v, c.keep(ctx, v)
}

func (c *Catalog) keep(ctx context.Context, v verdict.Verdict) error {
	body, err := pack(v)
	if err != nil {
		return err
	}
	return c.exec(ctx, `INSERT INTO catalog_verdict (image, environment, admit, retain, at, until, body) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (image, environment) DO UPDATE SET admit = excluded.admit, retain = excluded.retain, at = excluded.at,
			until = excluded.until, body = excluded.body`,
		v.Image, v.Environment, string(v.Admit.Answer), string(v.Retain.Answer), store.Millis(v.At), store.Millis(v.Until), body)
}

// channels returns the places of golden images an image stands in.
func (c *Catalog) channels(ctx context.Context, id image.Digest) ([]verdict.Channel, error) {
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

// Channels returns the places of golden images an image stands in.
func (c *Catalog) Channels(ctx context.Context, id image.Digest) ([]verdict.Channel, error) {
	return c.channels(ctx, id)
}

// Pair is an image in an environment.
type Pair struct {
	Image       image.Digest
	Environment string
}

// Due returns up to limit verdicts whose time has come to change by itself.
func (c *Catalog) Due(ctx context.Context, now time.Time, limit int) ([]Pair, error) {
	var due []Pair
	err := c.store.View(ctx, func(tx store.Tx) error {
		due = nil
		return store.Each(ctx, tx, func(r store.Row) error {
			var id, env string
			err := r.Scan(&id, &env)
			due = append(due, Pair{image.Digest(id), env})
			return err
		}, "SELECT image, environment FROM catalog_verdict WHERE until > 0 AND until <= ? ORDER BY until LIMIT ?", store.Millis(now), limit)
	})
	return due, err
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
		}, "SELECT body FROM catalog_verdict WHERE image = ? ORDER BY environment", string(id))
	})
	if errors.Is(err, store.ErrNoRows) {
		err = nil
	}
	return all, err
}
