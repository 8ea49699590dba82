// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package finding

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/component"
)

// PartialFeeds tells which feeds of the components' ecosystems, and which of those that
// speak of all (kev, epss), are in the database in part only.
func PartialFeeds(s advisory.Snapshot, components []component.Component) []string {
	if !slices.ContainsFunc(s.Feeds, func(f advisory.FeedState) bool { return f.Bad.Count > 0 }) {
		return nil
	}
	families := map[string]bool{}
	for _, c := range components {
		families[advisory.Family(c.Ecosystem)] = true
	}
	var partial []string
	for _, f := range s.Feeds {
		ofAll := f.Name == advisory.FeedKEV || f.Name == advisory.FeedEPSS || f.Name == advisory.FeedCVSS
		if f.Bad.Count > 0 && (ofAll || families[advisory.Family(f.Name)]) {
			partial = append(partial, fmt.Sprintf("%s: records that could not be read: %d (%s)", f.Name, f.Bad.Count, strings.Join(f.Bad.First, "; ")))
		}
	}
	return partial
}
