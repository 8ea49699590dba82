// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package advisory keeps known vulnerabilities: OSV records, CISA's catalogue of
// known exploited ones (KEV) and EPSS scores, indexed by ecosystem and package so
// that a question costs a lookup and a changed feed names exactly what it touches.
package advisory

import "time"

// Record is one advisory as far as matching needs it (OSV schema 1.7).
type Record struct {
	ID        string     `json:"id"`
	Aliases   []string   `json:"aliases,omitempty"`  // the same flaw under other names
	Upstream  []string   `json:"upstream,omitempty"` // the flaws this advisory bundles (Debian: the CVEs)
	Related   []string   `json:"related,omitempty"`  // shown, never merged
	Summary   string     `json:"summary,omitempty"`
	Published time.Time  `json:"published"`
	Modified  time.Time  `json:"modified"`
	Withdrawn time.Time  `json:"withdrawn,omitzero"`
	Learned   time.Time  `json:"learned"` // when this database first held it (a first import: Published)
	Severity  Severity   `json:"severity"`
	URL       string     `json:"url,omitempty"`
	Affected  []Affected `json:"affected"`
}

// Severity is what the record says of itself.
type Severity struct {
	Vectors []string `json:"vectors,omitempty"` // CVSS v2 to v4 vectors
	Score   float64  `json:"score"`             // highest base score, 0 where not stated
	Level   string   `json:"level"`             // critical, high, medium, low, none; "" not stated
	Urgency string   `json:"urgency,omitempty"` // the distribution's own word ("unimportant", "negligible")
}

// Affected is one package a record hits.
type Affected struct {
	Ecosystem string   `json:"ecosystem"` // as written by the feed
	Name      string   `json:"name"`
	Ranges    []Range  `json:"ranges,omitempty"`
	Versions  []string `json:"versions,omitempty"`
	Imports   []string `json:"imports,omitempty"` // Go packages the flaw is in
	Level     string   `json:"level,omitempty"`
	Urgency   string   `json:"urgency,omitempty"`
}

// Range is a list of events, in order.
type Range struct {
	Type   string  `json:"type"` // SEMVER, ECOSYSTEM; GIT ranges are skipped, never the entry
	Events []Event `json:"events"`
}

// Event is one event of a range; exactly one field is set.
type Event struct {
	Introduced   string `json:"introduced,omitempty"`
	Fixed        string `json:"fixed,omitempty"`
	LastAffected string `json:"lastAffected,omitempty"`
	Limit        string `json:"limit,omitempty"`
}

// Key names a package in an ecosystem: what is looked up, and what a changed
// feed reports as touched.
type Key struct {
	Ecosystem string `json:"ecosystem"`
	Name      string `json:"name"`
}

// Snapshot names a state of the database: evidence carries it.
type Snapshot struct {
	ID    string      `json:"id"` // SHA-256 over the feeds' hashes
	Feeds []FeedState `json:"feeds"`
}

// FeedState is one feed as last imported.
type FeedState struct {
	Name    string    `json:"name"` // "Debian", "PyPI", "kev", "epss"
	Hash    string    `json:"hash"`
	Records int       `json:"records"`
	Newest  time.Time `json:"newest"` // the newest "modified" in it
	Synced  time.Time `json:"synced"`
	Bad     Bad       `json:"bad,omitzero"` // what could not be read: the feed is only in part here
}

// Bad tells of the records of a feed that could not be read.
type Bad struct {
	Count int      `json:"count"`
	First []string `json:"first,omitempty"` // the first few, each with the reason
}

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
