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
	err := x.st.View(ctx, func(tx store.Tx) error {
		names = nil
		return store.Each(ctx, tx, func(r store.Row) error {
			var name string
			err := r.Scan(&name)
			names = append(names, name)
			return err
		}, `SELECT DISTINCT name FROM advisory_keys WHERE ecosystem = ? ORDER BY name`, Ecosystem(ecosystem))
	})
	if err != nil {
		return nil, fault.New(fault.KindOf(err), "list packages of %s: %w", ecosystem, err)
	}
	return names, nil
}
