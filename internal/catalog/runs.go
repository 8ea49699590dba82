// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

// Run is what a workload runs and where: what the catalog needs to know of it to
// tell where a triage for the workload counts.
type Run struct {
	Workload, Environment, Golden, Channel string
}

// PutRun notes what a workload runs, in the transaction that declares it; a Run
// without a golden image: the workload is no more. Verdicts that a triage for the
// workload counted in, or will count in, are due from then on.
func (c *Catalog) PutRun(ctx context.Context, tx store.Tx, r Run) error {
	var triages int
	if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM catalog_triage WHERE image = ?", "workload "+r.Workload).Scan(&triages); err != nil {
		return fmt.Errorf("count triage: %w", err)
	}
	touch := func() error {
		if triages == 0 {
			return nil
		}
		return c.touchScope(ctx, tx, verdict.Triage{Workload: r.Workload})
	}
	if err := touch(); err != nil {
		return err
	}
	query, args := "DELETE FROM catalog_run WHERE workload = ?", []any{r.Workload}
	if r.Golden != "" {
		query, args = `INSERT INTO catalog_run (workload, environment, golden, channel) VALUES (?, ?, ?, ?)
			ON CONFLICT (workload) DO UPDATE SET environment = excluded.environment, golden = excluded.golden, channel = excluded.channel`,
			[]any{r.Workload, r.Environment, r.Golden, r.Channel}
	}
	if _, err := tx.Exec(ctx, query, args...); err != nil {
		return fmt.Errorf("note what workload %s runs: %w", r.Workload, err)
	}
	return touch()
}

// FillRuns notes what workloads run where nothing is noted yet: in a database from
// before it was.
func (c *Catalog) FillRuns(ctx context.Context, declared func(ctx context.Context) ([]Run, error)) error {
	held, err := c.runs(ctx, "1 = 1")
	if err != nil || len(held) > 0 {
		return err
	}
	all, err := declared(ctx)
	if err != nil {
		return err
	}
	return c.store.Update(ctx, func(tx store.Tx) error {
		for _, r := range all {
			if err := c.PutRun(ctx, tx, r); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *Catalog) run(ctx context.Context, workload string) (Run, error) {
	found, err := c.runs(ctx, "workload = ?", workload)
	if err == nil && len(found) == 0 {
		err = fault.New(fault.NotFound, "there is no workload %q", workload).WithHint("see them with: goldkeep workload list")
	}
	if err != nil {
		return Run{}, err
	}
	return found[0], nil
}

func (c *Catalog) runs(ctx context.Context, where string, args ...any) (all []Run, err error) {
	err = c.store.View(ctx, func(tx store.Tx) error {
		all, err = runsIn(ctx, tx, where, args...)
		return err
	})
	return all, err
}

func runsIn(ctx context.Context, tx store.Tx, where string, args ...any) ([]Run, error) {
	var all []Run
	err := store.Each(ctx, tx, func(row store.Row) error {
		var r Run
		err := row.Scan(&r.Workload, &r.Environment, &r.Golden, &r.Channel)
		all = append(all, r)
		return err
	}, "SELECT workload, environment, golden, channel FROM catalog_run WHERE "+where+" ORDER BY workload", args...)
	return all, err
}

// touchScope makes the verdicts a triage concerns due.
func (c *Catalog) touchScope(ctx context.Context, tx store.Tx, t verdict.Triage) error {
	switch {
	case t.Image != "":
		return c.touch(ctx, tx, image.Digest(t.Image))
	case t.Workload != "":
		runs, err := runsIn(ctx, tx, "workload = ?", t.Workload)
		if err != nil || len(runs) == 0 {
			return err
		}
		channels, err := channelsOf(ctx, tx, runs[0].Golden)
		if digest, stands := channels[runs[0].Channel]; stands && err == nil {
			err = c.touch(ctx, tx, digest)
		}
		return err
	}
	return c.touchLine(ctx, tx, t.Golden)
}

// touchLine makes the verdicts on the images of a golden image and of its
// descendants due.
func (c *Catalog) touchLine(ctx context.Context, tx store.Tx, golden string) error {
	line, err := below(ctx, tx, golden)
	if err != nil {
		return err
	}
	for _, name := range line {
		channels, err := channelsOf(ctx, tx, name)
		for _, digest := range channels {
			if err == nil {
				err = c.touch(ctx, tx, digest)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// relined is to be called in the transaction that is about to change a golden
// image: where that changes its ancestors, other triage counts for its line.
func (c *Catalog) relined(ctx context.Context, tx store.Tx, golden string, from *string) error {
	if from != nil {
		var body string
		var old Golden
		err := tx.QueryRow(ctx, "SELECT body FROM catalog_golden WHERE name = ?", golden).Scan(&body)
		if err == nil {
			if err = json.Unmarshal([]byte(body), &old); err == nil && old.From == *from {
				return nil
			}
		}
		if err != nil && !errors.Is(err, store.ErrNoRows) {
			return fmt.Errorf("read golden image: %w", err)
		}
	}
	// Only triage for a golden image is handed down.
	n := 0
	err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM (SELECT 1 FROM catalog_triage WHERE image LIKE 'golden %' LIMIT 1) AS handed").Scan(&n)
	if err != nil || n == 0 {
		return err
	}
	return c.touchLine(ctx, tx, golden)
}

// noteFrom keeps which golden image another is built from, to be found from below; "":
// from none.
func noteFrom(ctx context.Context, tx store.Tx, golden, from string) error {
	_, err := tx.Exec(ctx, "DELETE FROM catalog_from WHERE golden = ?", golden)
	if err == nil && from != "" {
		_, err = tx.Exec(ctx, "INSERT INTO catalog_from (golden, base) VALUES (?, ?)", golden, from)
	}
	if err != nil {
		return fmt.Errorf("keep lineage: %w", err)
	}
	return nil
}

// fillFroms notes what golden images are built from where nothing is noted yet: in a
// database from before it was.
func (c *Catalog) fillFroms(ctx context.Context) error {
	return c.store.Update(ctx, func(tx store.Tx) error {
		var noted int
		if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM catalog_from").Scan(&noted); err != nil || noted > 0 {
			return err
		}
		bodies, err := store.Column[string](ctx, tx, "SELECT body FROM catalog_golden")
		for _, body := range bodies {
			var g Golden
			if err == nil {
				err = json.Unmarshal([]byte(body), &g)
			}
			if err == nil {
				err = noteFrom(ctx, tx, g.Name, g.From)
			}
		}
		return err
	})
}

// below returns a golden image and all that are built from it, over any number of
// steps, sorted. Circles do no harm.
func below(ctx context.Context, tx store.Tx, golden string) ([]string, error) {
	line := []string{golden}
	for i := 0; i < len(line); i++ {
		built, err := store.Column[string](ctx, tx, "SELECT golden FROM catalog_from WHERE base = ?", line[i])
		if err != nil {
			return nil, fmt.Errorf("read lineage: %w", err)
		}
		for _, name := range built {
			if !slices.Contains(line, name) {
				line = append(line, name)
			}
		}
	}
	slices.Sort(line)
	return line, nil
}

func (c *Catalog) descendants(ctx context.Context, golden string) (line []string, err error) {
	err = c.store.View(ctx, func(tx store.Tx) error {
		line, err = below(ctx, tx, golden)
		return err
	})
	return line, err
}

// ancestors returns golden images and all they are built from, each once.
func (c *Catalog) ancestors(ctx context.Context, names []string) ([]string, error) {
	var line []string
	for _, name := range names {
		for name != "" && !slices.Contains(line, name) {
			line = append(line, name)
			g, err := c.Golden(ctx, name)
			if err != nil {
				if err = ignoreMissing(err); err != nil {
					return nil, err
				}
				break
			}
			name = g.From
		}
	}
	return line, nil
}

func ignoreMissing(err error) error {
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}
