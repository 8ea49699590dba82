// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/goldkeep/goldkeep/internal/store"
)

// Flaw is one flaw of one package, as it is found in the fleet.
type Flaw struct {
	ID        string
	Aliases   []string
	Ecosystem string
	Package   string
	Versions  []string // those that are hit, sorted as text
}

// Affected is what a flaw hits.
type Affected struct {
	Flaws  []Flaw
	Images []int64 // numbers, sorted
}

// Affected looks an advisory up, by any of its names. It looks at no image: the
// answer comes from the index of flaws. Findings that are not counted (hidden by
// the distribution's word, see package finding) are not in it; decisions of people
// are not looked at.
func (f *Fleet) Affected(ctx context.Context, tx store.Tx, name string) (Affected, error) {
	var out Affected
	var nums []int64
	at := map[int64]int{}
	err := store.Each(ctx, tx, func(r store.Row) error {
		var num int64
		var fl Flaw
		var names string
		err := r.Scan(&num, &fl.ID, &fl.Ecosystem, &fl.Package, &names)
		fl.Aliases = strings.Fields(names)
		at[num], nums = len(out.Flaws), append(nums, num)
		out.Flaws = append(out.Flaws, fl)
		return err
	}, "SELECT f.num, f.id, f.ecosystem, f.package, f.names FROM fleet_flaw_name n JOIN fleet_flaw f ON f.num = n.flaw WHERE n.name = ? ORDER BY f.id, f.ecosystem, f.package, f.num", name)
	if err != nil {
		return out, fmt.Errorf("read flaws: %w", err)
	}
	var parts []int64
	versions := make([]map[string]bool, len(out.Flaws))
	err = InChunks(nums, func(marks string, args []any) error {
		return store.Each(ctx, tx, func(r store.Row) error {
			var num, part int64
			var version string
			err := r.Scan(&num, &part, &version)
			parts = append(parts, part)
			if versions[at[num]] == nil {
				versions[at[num]] = map[string]bool{}
			}
			versions[at[num]][version] = true
			return err
		}, "SELECT flaw, part, version FROM fleet_hit WHERE flaw IN ("+marks+")", args...)
	})
	if err != nil {
		return out, fmt.Errorf("read hits: %w", err)
	}
	out.Flaws = hitFlaws(out.Flaws, versions)
	slices.Sort(parts)
	out.Images, err = holders(ctx, tx, slices.Compact(parts))
	return out, err
}

// hitFlaws leaves out those that hit nothing any more.
func hitFlaws(all []Flaw, versions []map[string]bool) []Flaw {
	hit := []Flaw{}
	for i, f := range all {
		if versions[i] == nil {
			continue
		}
		seen := map[string]bool{}
		for text := range versions[i] {
			for _, v := range strings.Split(text, ", ") { // one part may hold several
				if !seen[v] {
					seen[v] = true
					f.Versions = append(f.Versions, v)
				}
			}
		}
		slices.Sort(f.Versions)
		hit = append(hit, f)
	}
	return hit
}
