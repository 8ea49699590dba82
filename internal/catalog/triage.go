// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/verdict"
	"github.com/goldkeep/goldkeep/internal/vex"
)

// maxTriage is how far ahead a triage may expire.
const maxTriage = 366 * 24 * time.Hour

// Limits of a triage's texts, in bytes, and of its lists.
const (
	maxFinding  = 253
	maxReason   = 4000
	maxPackages = 100
)

// maxTriages bounds the decisions of one list.
const maxTriages = 10_000

// PutTriage keeps a decision on a finding. It needs an author, a reason and an
// expiry within a year, and counts for one image (by digest), for all images of a
// golden image and of those built from it, or for what a workload runs.
func (c *Catalog) PutTriage(ctx context.Context, t verdict.Triage) (verdict.Triage, error) {
	kept, err := c.putTriages(ctx, []verdict.Triage{t})
	if err != nil {
		return t, err
	}
	return kept[0], nil
}

// putTriages keeps decisions, all or none.
func (c *Catalog) putTriages(ctx context.Context, all []verdict.Triage) ([]verdict.Triage, error) {
	now := c.Now()
	all = slices.Clone(all)
	for i := range all {
		t := &all[i]
		if err := checkTriage(t, now); err != nil {
			return nil, err
		}
		if err := c.aim(ctx, t); err != nil {
			return nil, err
		}
		// IDs sort by time, and within an import by place.
		t.ID = fmt.Sprintf("%012x", store.Millis(now)+int64(i)) + strings.ToLower(rand.Text()[:12])
		t.Expires = t.Expires.UTC().Truncate(time.Millisecond)
		if t.At = t.At.UTC().Truncate(time.Millisecond); t.At.IsZero() || t.At.After(now) {
			t.At = now.UTC().Truncate(time.Millisecond)
		}
	}
	err := c.store.Update(ctx, func(tx store.Tx) error {
		for _, t := range all {
			body, err := vex.WriteOpenVEX(documentOf(t))
			if err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, "INSERT INTO catalog_triage (id, image, body) VALUES (?, ?, ?)", t.ID, scope(t), string(body)); err != nil {
				return fmt.Errorf("keep triage: %w", err)
			}
			if err := c.touchScope(ctx, tx, t); err != nil {
				return err
			}
		}
		return nil
	})
	return all, err
}

// documentOf is a decision as it is kept: an OpenVEX document of one statement.
func documentOf(t verdict.Triage) vex.Document {
	return vex.Document{ID: "urn:goldkeep:document:" + t.ID, Author: t.Author, Version: 1, Time: t.At, Statements: []vex.Statement{t.Statement()}}
}

// checkTriage says what is wrong with a decision.
func checkTriage(t *verdict.Triage, now time.Time) error {
	scopes := 0
	for _, s := range []string{t.Image, t.Golden, t.Workload} {
		if s != "" {
			scopes++
		}
	}
	t.Reason = strings.TrimSpace(t.Reason)
	switch {
	case t.Finding == "" || t.Author == "" || t.Reason == "":
		return fault.New(fault.Invalid, "a triage needs a finding, an author and a reason")
	case len(t.Reason) > maxReason || len(t.Packages) > maxPackages || len(t.Aliases) > maxPackages:
		return fault.New(fault.TooLarge, "a triage's reason has at most %d bytes; it names at most %d packages and aliases", maxReason, maxPackages)
	case scopes != 1:
		return fault.New(fault.Invalid, "a triage is for an image, a golden image or a workload: give exactly one")
	case t.Status != verdict.NotAffected && t.Status != verdict.Accepted && t.Status != verdict.Fixing:
		return fault.New(fault.Invalid, "the status is %.80q; it must be not_affected, accepted or fixing", t.Status)
	case t.Status == verdict.NotAffected && !vex.Justified(t.Justification):
		return fault.New(fault.Invalid, "not_affected needs a justification, not %.80q", t.Justification).WithHint("one of: %s", strings.Join(vex.Justifications, ", "))
	case t.Status != verdict.NotAffected && t.Justification != "":
		return fault.New(fault.Invalid, "only not_affected has a justification; the status is %s", t.Status)
	case !t.Expires.After(now) || t.Expires.After(now.Add(maxTriage)):
		return fault.New(fault.Invalid, "a triage must expire in the future, within a year").WithHint("for example: --expires 30d")
	}
	for _, name := range slices.Concat([]string{t.Finding, t.Author, t.Imported, t.Golden, t.Workload}, t.Aliases, t.Packages) {
		if len(name) > maxFinding {
			return fault.New(fault.TooLarge, "a triage's finding, author, packages and names have at most %d bytes each", maxFinding)
		}
		if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return fault.New(fault.Invalid, "%.80q has signs nobody can see", name)
		}
	}
	for i, p := range t.Packages {
		parsed, err := vex.ParsePURL(p)
		switch {
		case strings.HasPrefix(p, "pkg:") && err != nil:
			return fault.New(fault.Invalid, "the package: %v", err)
		case p == "" || slices.Contains(t.Packages[:i], p):
			return fault.New(fault.Invalid, "the package %q is empty or given twice", p)
		}
		if _, ok := parsed.Key(); err == nil && !ok {
			return fault.New(fault.Invalid, "no advisory speaks of a package like %s", p)
		}
	}
	return nil
}

// aim makes sure that a triage is for something there is; an image is then named
// by its ID, whichever of its digests was given.
func (c *Catalog) aim(ctx context.Context, t *verdict.Triage) error {
	switch {
	case t.Golden != "":
		_, err := c.Golden(ctx, t.Golden)
		return err
	case t.Workload != "":
		_, err := c.run(ctx, t.Workload)
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

// scope is the key a triage is found by.
func scope(t verdict.Triage) string {
	switch {
	case t.Golden != "":
		return "golden " + t.Golden
	case t.Workload != "":
		return "workload " + t.Workload
	}
	return t.Image
}

// Triages returns the triage, newest first, the expired too; at most maxTriages.
func (c *Catalog) Triages(ctx context.Context) ([]verdict.Triage, error) {
	return c.triages(ctx, "SELECT body FROM catalog_triage ORDER BY id DESC LIMIT ?", maxTriages)
}

func (c *Catalog) triages(ctx context.Context, query string, args ...any) ([]verdict.Triage, error) {
	texts, err := bodies[json.RawMessage](ctx, c.store, query, args...)
	var all []verdict.Triage
	for _, text := range texts {
		t, err := readTriage(text)
		if err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	return all, err
}

func readTriage(text []byte) (t verdict.Triage, err error) {
	var plain struct{ Finding string }
	if json.Unmarshal(text, &plain) == nil && plain.Finding != "" { // from before they were kept as OpenVEX
		err = json.Unmarshal(text, &t)
		return t, err
	}
	doc, err := vex.Parse(text)
	if err != nil {
		return t, fmt.Errorf("decode triage: %w", err)
	}
	all, why := verdict.TriageOf(doc.Statements[0])
	if len(all) != 1 {
		return t, fmt.Errorf("decode triage %s: %s", doc.ID, why)
	}
	return all[0], nil
}

// DeleteTriage takes a decision back and returns it.
func (c *Catalog) DeleteTriage(ctx context.Context, id string) (verdict.Triage, error) {
	found, err := c.triages(ctx, "SELECT body FROM catalog_triage WHERE id = ?", id)
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

// triageOf returns the decisions that count for an image in an environment ("": in
// any).
func (c *Catalog) triageOf(ctx context.Context, id image.Digest, channels []verdict.Channel, environment string) ([]verdict.Triage, error) {
	scopes := []any{string(id)}
	names := make([]string, 0, len(channels))
	for _, ch := range channels {
		names = append(names, ch.Golden)
	}
	ancestors, err := c.ancestors(ctx, names)
	if err != nil {
		return nil, err
	}
	for _, name := range ancestors {
		scopes = append(scopes, "golden "+name)
	}
	for _, ch := range channels {
		running, err := c.runs(ctx, "(? = '' OR environment = ?) AND golden = ? AND channel = ?", environment, environment, ch.Golden, ch.Name)
		if err != nil {
			return nil, err
		}
		for _, r := range running {
			scopes = append(scopes, "workload "+r.Workload)
		}
	}
	marks := strings.TrimSuffix(strings.Repeat("?, ", len(scopes)), ", ")
	return c.triages(ctx, "SELECT body FROM catalog_triage WHERE image IN ("+marks+") ORDER BY id", scopes...)
}

// TriageOn returns the decisions that count for an image, by any of its digests, in
// some environment; those that have expired too.
func (c *Catalog) TriageOn(ctx context.Context, digest image.Digest) ([]verdict.Triage, error) {
	img, err := c.Find(ctx, digest)
	if err != nil {
		return nil, err
	}
	channels, err := c.Channels(ctx, img.ID)
	if err != nil {
		return nil, err
	}
	return c.triageOf(ctx, img.ID, channels, "")
}

// Concerned returns the known images a triage concerns.
func (c *Catalog) Concerned(ctx context.Context, t verdict.Triage) ([]image.Digest, error) {
	if t.Image != "" {
		return []image.Digest{image.Digest(t.Image)}, nil
	}
	if t.Workload != "" {
		r, err := c.run(ctx, t.Workload)
		if err != nil {
			return nil, ignoreMissing(err)
		}
		return c.Standing(ctx, r.Golden, r.Channel)
	}
	line, err := c.descendants(ctx, t.Golden)
	var all []image.Digest
	for _, golden := range line {
		standing, err := c.Standing(ctx, golden, "")
		if err != nil {
			return nil, err
		}
		all = append(all, standing...)
	}
	slices.Sort(all)
	return slices.Compact(all), err
}

// Standing returns the images that stand in a channel of a golden image ("":
// any channel): by their IDs where known, else by the digest declared.
func (c *Catalog) Standing(ctx context.Context, golden, channel string) ([]image.Digest, error) {
	return c.digests(ctx, `SELECT DISTINCT COALESCE(i.id, c.digest) FROM catalog_channel c LEFT JOIN catalog_digest d ON d.digest = c.digest
		LEFT JOIN catalog_image i ON i.num = d.image WHERE c.golden = ? AND (? = '' OR c.channel = ?)`, golden, channel, channel)
}
