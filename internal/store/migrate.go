// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// ApplySteps is Migrate for the variants: adapt turns a step into their dialect.
func ApplySteps(ctx context.Context, s Store, room string, steps []string, adapt func(string) string) error {
	err := s.Update(ctx, func(tx Tx) error {
		_, err := tx.Exec(ctx, "CREATE TABLE IF NOT EXISTS store_version (room TEXT PRIMARY KEY, version BIGINT NOT NULL)")
		return err
	})
	if err != nil {
		return fmt.Errorf("prepare migrations: %w", err)
	}
	for {
		done, err := applyNext(ctx, s, room, steps, adapt)
		if err != nil || done {
			return err
		}
	}
}

// applyNext applies the next step of a room, if there is one. The version is
// read in the same transaction, so that two nodes cannot apply a step twice.
func applyNext(ctx context.Context, s Store, room string, steps []string, adapt func(string) string) (done bool, err error) {
	err = s.Update(ctx, func(tx Tx) error {
		var version int
		err := tx.QueryRow(ctx, "SELECT version FROM store_version WHERE room = ?", room).Scan(&version)
		if err != nil && !errors.Is(err, ErrNoRows) {
			return fmt.Errorf("read version of %s: %w", room, err)
		}
		if version > len(steps) {
			return fault.New(fault.Conflict, "the tables of %s are of version %d, newer than this program's %d", room, version, len(steps)).
				WithHint("start the newer goldkeep, or restore a backup made by this one")
		}
		if done = version == len(steps); done {
			return nil
		}
		if _, err := tx.Exec(ctx, adapt(steps[version])); err != nil {
			return fmt.Errorf("migrate %s to version %d: %w", room, version+1, err)
		}
		_, err = tx.Exec(ctx, "INSERT INTO store_version (room, version) VALUES (?, ?) ON CONFLICT (room) DO UPDATE SET version = excluded.version", room, version+1)
		return err
	})
	return done, err
}
