// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"context"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store"
)

// Unsettled returns, feed by feed, the keys of imports whose consequences were
// never drawn (see Settle): what a crash between the two has left.
func (x *Index) Unsettled(ctx context.Context) ([]Change, error) {
	var all []Change
	err := x.st.View(ctx, func(tx store.Tx) error {
		all = nil
		return store.Each(ctx, tx, func(row store.Row) error {
			var feed string
			var k Key
			if err := row.Scan(&feed, &k.Ecosystem, &k.Name); err != nil {
				return err
			}
			if len(all) == 0 || all[len(all)-1].Feed != feed {
				all = append(all, Change{Feed: feed})
			}
			last := &all[len(all)-1]
			last.Keys = append(last.Keys, k)
			return nil
		}, `SELECT feed, ecosystem, name FROM advisory_touched ORDER BY feed, ecosystem, name`)
	})
	if err != nil {
		return nil, fault.New(fault.KindOf(err), "read unsettled feeds: %w", err)
	}
	return all, nil
}
