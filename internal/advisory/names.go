// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"context"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store"
)

// Names returns the packages of one ecosystem that there are advisories for,
// sorted. It is for ecosystems of some thousands.
func (x *Index) Names(ctx context.Context, ecosystem string) ([]string, error) {
	var names []string
	err := x.st.View(ctx, func(tx store.Tx) (err error) {
		names, err = store.Column[string](ctx, tx, `SELECT DISTINCT name FROM advisory_keys WHERE ecosystem = ? ORDER BY name`, Ecosystem(ecosystem))
		return err
	})
	if err != nil {
		return nil, fault.New(fault.KindOf(err), "list packages of %s: %w", ecosystem, err)
	}
	return names, nil
}
