// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/manifest"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

// goldenSpec is the spec of kind GoldenImage as people write it.
type goldenSpec struct {
	From     string            `yaml:"from"`
	Channels map[string]string `yaml:"channels"`
}

var channelName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`) // at most 63 bytes

// ParseGolden reads a document of the kind GoldenImage. Errors name file and line.
func ParseGolden(doc manifest.Document) (*Golden, error) {
	var spec goldenSpec
	if err := doc.Decode(&spec); err != nil {
		return nil, err
	}
	g := &Golden{
		Name: doc.Meta.Name, Owner: doc.Meta.Owner, Contact: doc.Meta.Contact, Protect: doc.Meta.Protect,
		From: spec.From, Channels: map[string]image.Digest{},
	}
	var errs manifest.Errors
	for name, text := range spec.Channels {
		if len(name) > 63 || !channelName.MatchString(name) {
			errs = append(errs, doc.Errorf(doc.LineOf("channels", name), "channel %.80q is not a name: use lower-case letters, digits and '-', as in gold", name))
			continue
		}
		digest, err := image.ParseDigest(text)
		if err != nil {
			errs = append(errs, doc.Errorf(doc.LineOf("channels", name), "channel %s: %v; a channel points at a digest, never at a tag", name, err))
			continue
		}
		g.Channels[name] = digest
	}
	if spec.From == doc.Meta.Name {
		errs = append(errs, doc.Errorf(doc.LineOf("from"), "a golden image cannot be built from itself"))
	}
	return g, errs.Err()
}

// PutGolden creates or replaces a golden image. It returns the digests that
// entered or left one of its channels: what stands on them must be judged again.
func (c *Catalog) PutGolden(ctx context.Context, g Golden) (moved []image.Digest, err error) {
	body, err := json.Marshal(g)
	if err != nil {
		return nil, fmt.Errorf("encode golden image: %w", err)
	}
	err = c.store.Update(ctx, func(tx store.Tx) error {
		if err := c.relined(ctx, tx, g.Name, &g.From); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "INSERT INTO catalog_golden (name, body) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET body = excluded.body", g.Name, string(body)); err != nil {
			return fmt.Errorf("keep golden image: %w", err)
		}
		if err := noteFrom(ctx, tx, g.Name, g.From); err != nil {
			return err
		}
		moved, err = c.move(ctx, tx, g)
		return err
	})
	return moved, err
}

// move sets the channels of a golden image and makes the verdicts on whatever
// entered or left one due.
func (c *Catalog) move(ctx context.Context, tx store.Tx, g Golden) ([]image.Digest, error) {
	old, err := channelsOf(ctx, tx, g.Name)
	if err != nil {
		return nil, err
	}
	var moved []image.Digest
	for channel, digest := range old {
		if g.Channels[channel] == digest {
			continue
		}
		moved = append(moved, digest)
		if err := c.leave(ctx, tx, g.Name, channel, digest); err != nil {
			return nil, fmt.Errorf("clear channel: %w", err)
		}
		if now, stays := g.Channels[channel]; stays && c.OnMove != nil {
			if err := c.OnMove(ctx, tx, Move{g.Name, channel, digest, now}); err != nil {
				return nil, err
			}
		}
	}
	for channel, digest := range g.Channels {
		if old[channel] == digest {
			continue
		}
		moved = append(moved, digest)
		if _, err := tx.Exec(ctx, "INSERT INTO catalog_channel (golden, channel, digest, since) VALUES (?, ?, ?, ?)", g.Name, channel, string(digest), store.Millis(c.Now())); err != nil {
			return nil, fmt.Errorf("set channel: %w", err)
		}
	}
	slices.Sort(moved)
	moved = slices.Compact(moved)
	for _, digest := range moved {
		if err := c.touch(ctx, tx, digest); err != nil {
			return nil, err
		}
	}
	return moved, nil
}

// leave takes a digest out of a channel. What stood there once is remembered:
// images built on it come from this golden image.
func (c *Catalog) leave(ctx context.Context, tx store.Tx, golden, channel string, digest image.Digest) error {
	if _, err := tx.Exec(ctx, `INSERT INTO catalog_past (golden, channel, digest, until) VALUES (?, ?, ?, ?)
		ON CONFLICT (golden, channel, digest) DO UPDATE SET until = excluded.until`, golden, channel, string(digest), store.Millis(c.Now())); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "DELETE FROM catalog_channel WHERE golden = ? AND channel = ?", golden, channel)
	return err
}

func channelsOf(ctx context.Context, tx store.Tx, golden string) (map[string]image.Digest, error) {
	channels := map[string]image.Digest{}
	err := store.Each(ctx, tx, func(r store.Row) error {
		var channel, digest string
		err := r.Scan(&channel, &digest)
		channels[channel] = image.Digest(digest)
		return err
	}, "SELECT channel, digest FROM catalog_channel WHERE golden = ?", golden)
	return channels, err
}

// Goldens returns all golden images by name.
func (c *Catalog) Goldens(ctx context.Context) ([]Golden, error) {
	return bodies[Golden](ctx, c.store, "SELECT body FROM catalog_golden ORDER BY name")
}

// Golden returns one golden image; fault.NotFound where there is none.
func (c *Catalog) Golden(ctx context.Context, name string) (*Golden, error) {
	found, err := bodies[Golden](ctx, c.store, "SELECT body FROM catalog_golden WHERE name = ?", name)
	if err == nil && len(found) == 0 {
		err = fault.New(fault.NotFound, "there is no golden image %q", name).WithHint("see them with: goldkeep golden list")
	}
	if err != nil {
		return nil, err
	}
	return &found[0], nil
}

// DeleteGolden removes a golden image and returns the digests that stood in it.
func (c *Catalog) DeleteGolden(ctx context.Context, name string) (moved []image.Digest, err error) {
	err = c.store.Update(ctx, func(tx store.Tx) error {
		if err := c.relined(ctx, tx, name, nil); err != nil {
			return err
		}
		if moved, err = c.move(ctx, tx, Golden{Name: name}); err != nil {
			return err
		}
		if _, err = tx.Exec(ctx, "DELETE FROM catalog_golden WHERE name = ?", name); err != nil {
			return err
		}
		return noteFrom(ctx, tx, name, "")
	})
	return moved, err
}

// PutEnvironment creates or replaces an environment. Verdicts on every known
// image are due in it from then on.
func (c *Catalog) PutEnvironment(ctx context.Context, env verdict.Environment, protect bool) error {
	body, err := json.Marshal(env)
	if err != nil {
		return fmt.Errorf("encode environment: %w", err)
	}
	guarded := 0
	if protect {
		guarded = 1
	}
	return c.store.Update(ctx, func(tx store.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO catalog_environment (name, protect, body) VALUES (?, ?, ?)
			ON CONFLICT (name) DO UPDATE SET body = excluded.body, protect = excluded.protect`, env.Name, guarded, string(body))
		if err != nil {
			return fmt.Errorf("keep environment: %w", err)
		}
		return c.touchAll(ctx, tx, env.Name)
	})
}

// DeleteEnvironment removes an environment with its verdicts.
func (c *Catalog) DeleteEnvironment(ctx context.Context, name string) error {
	return c.store.Update(ctx, func(tx store.Tx) error {
		if _, err := tx.Exec(ctx, "DELETE FROM catalog_verdict WHERE environment = ?", name); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "DELETE FROM catalog_environment WHERE name = ?", name)
		return err
	})
}

// Protected reports whether an environment must not be deleted by apply.
func (c *Catalog) Protected(ctx context.Context, environment string) (bool, error) {
	var protect int
	err := c.store.View(ctx, func(tx store.Tx) error {
		return tx.QueryRow(ctx, "SELECT protect FROM catalog_environment WHERE name = ?", environment).Scan(&protect)
	})
	if errors.Is(err, store.ErrNoRows) {
		return false, nil
	}
	return protect == 1, err
}

// Environment returns one environment, its rules compiled; fault.NotFound where
// there is none.
func (c *Catalog) Environment(ctx context.Context, name string) (*verdict.Environment, error) {
	var text string
	err := c.store.View(ctx, func(tx store.Tx) error {
		return tx.QueryRow(ctx, "SELECT body FROM catalog_environment WHERE name = ?", name).Scan(&text)
	})
	if errors.Is(err, store.ErrNoRows) {
		return nil, fault.New(fault.NotFound, "there is no environment %q", name).WithHint("see them with: goldkeep environment list")
	}
	if err != nil {
		return nil, fmt.Errorf("read environment: %w", err)
	}
	return c.compile(text)
}

// Environments returns all environments by name.
func (c *Catalog) Environments(ctx context.Context) ([]verdict.Environment, error) {
	var texts []string
	err := c.store.View(ctx, func(tx store.Tx) (err error) {
		texts, err = store.Column[string](ctx, tx, "SELECT body FROM catalog_environment ORDER BY name")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read environments: %w", err)
	}
	var all []verdict.Environment
	for _, text := range texts {
		env, err := c.compile(text)
		if err != nil {
			return nil, err
		}
		all = append(all, *env)
	}
	return all, nil
}

// maxCompiled bounds the compiled environments kept.
const maxCompiled = 200

func (c *Catalog) compile(text string) (*verdict.Environment, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if env := c.compiled[text]; env != nil {
		return env, nil
	}
	env := &verdict.Environment{}
	if err := json.Unmarshal([]byte(text), env); err != nil {
		return nil, fmt.Errorf("decode environment: %w", err)
	}
	if len(c.compiled) >= maxCompiled {
		clear(c.compiled)
	}
	c.compiled[text] = env
	return env, nil
}

func (c *Catalog) exec(ctx context.Context, query string, args ...any) error {
	return c.store.Update(ctx, func(tx store.Tx) error {
		_, err := tx.Exec(ctx, query, args...)
		return err
	})
}

// bodies reads rows of one JSON column.
func bodies[T any](ctx context.Context, st store.Store, query string, args ...any) ([]T, error) {
	var all []T
	err := st.View(ctx, func(tx store.Tx) error {
		texts, err := store.Column[string](ctx, tx, query, args...)
		if err != nil {
			return err
		}
		all = make([]T, len(texts))
		for i, text := range texts {
			if err := json.Unmarshal([]byte(text), &all[i]); err != nil {
				return fmt.Errorf("decode row: %w", err)
			}
		}
		return nil
	})
	return all, err
}
