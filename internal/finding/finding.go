// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package finding joins components and advisories: which flaw is in which
// package of an image, since when, how urgent, and what fixes it. What no feed
// covers is said to be not covered, never clean.
package finding

import "time"

// Finding is one flaw of one component at one path.
type Finding struct {
	ID         string    `json:"id"`                // the name shown: the distribution's (DSA, USN) before others
	Aliases    []string  `json:"aliases,omitempty"` // every other name of the same flaw, sorted
	Ecosystem  string    `json:"ecosystem"`
	Package    string    `json:"package"` // the name the advisory uses (Debian: the source package)
	Version    string    `json:"version"` // the version compared
	PURL       string    `json:"purl"`
	Path       string    `json:"path"`
	Layer      string    `json:"layer"`
	LayerIndex int       `json:"layerIndex"`
	Binaries   []string  `json:"binaries,omitempty"` // installed packages built from Package
	Fixed      string    `json:"fixed,omitempty"`    // lowest fixed version above Version; "" none
	Score      float64   `json:"score"`              // CVSS base score, 0 not stated
	Severity   string    `json:"severity"`           // critical, high, medium, low, none, unknown
	Vectors    []string  `json:"vectors,omitempty"`  // the CVSS vectors (v2 to v4) Score is the highest of, sorted
	Exploited  bool      `json:"exploited"`          // in KEV
	Due        time.Time `json:"due,omitzero"`       // until when KEV wants it gone; the earliest of its names
	Ransomware bool      `json:"ransomware,omitzero"`
	EPSS       float64   `json:"epss"`                // probability, 0 to 1; 0 not stated
	Percentile float64   `json:"percentile,omitzero"` // of EPSS, 0 to 1
	Linked     *bool     `json:"linked,omitempty"`    // Go: a package the flaw is in is linked into the program; nil not known
	Since      time.Time `json:"since"`               // when it could first be known here: grace runs from it
	Summary    string    `json:"summary,omitempty"`
	URL        string    `json:"url,omitempty"`
	Why        string    `json:"why"`              // the comparison that decided it
	Hidden     string    `json:"hidden,omitempty"` // why it is not counted: "owned by python3-idna", "unimportant"

	// What Place says, from the fields above and the surroundings.
	Reach      Reach   `json:"reach,omitempty"`
	Executed   *bool   `json:"executed,omitempty"` // the component was seen running; nil not known
	Urgency    Urgency `json:"urgency,omitempty"`
	UrgencyWhy string  `json:"urgencyWhy,omitempty"` // one line: why it stands where it stands
	Vendor     string  `json:"vendor,omitempty"`     // what a vendor says of it (VEX); Hidden too where that takes it out of the count
}

// Gap is something that could not be judged.
type Gap struct {
	Component string `json:"component"` // purl, or an ecosystem
	Reason    string `json:"reason"`    // "no feed for Amazon Linux", "version not understood"
}
