// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import "time"

// LastSync is when the feed that was longest not looked at was looked at.
func (s Snapshot) LastSync() time.Time {
	var oldest time.Time
	for _, f := range s.Feeds {
		if oldest.IsZero() || f.Synced.Before(oldest) {
			oldest = f.Synced
		}
	}
	return oldest
}
