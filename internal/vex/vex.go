// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package vex reads and writes statements of the kind "this product is (not)
// affected by this flaw, because": OpenVEX 0.2.0, CycloneDX VEX 1.4 to 1.6, and
// (reading only) CSAF VEX 2.0. It keeps the statements of vendors somebody chose
// to believe, and finds out which findings they speak of.
//
// The words are OpenVEX's. What people decide here (verdict.Triage) needs a few
// more, an author and an end of every statement; see Own.
package vex

import (
	"slices"
	"strings"
	"time"
)

// Status is what a statement says of a product and a flaw.
type Status string

// The statuses of OpenVEX.
const (
	NotAffected        Status = "not_affected"
	Affected           Status = "affected"
	Fixed              Status = "fixed"
	UnderInvestigation Status = "under_investigation"
)

var statuses = []Status{NotAffected, Affected, Fixed, UnderInvestigation}

// Justifications are OpenVEX's reasons for not_affected.
var Justifications = []string{
	"component_not_present",
	"vulnerable_code_not_present",
	"vulnerable_code_not_in_execute_path",
	"vulnerable_code_cannot_be_controlled_by_adversary",
	"inline_mitigations_already_exist",
}

// Justified reports whether a word is one of Justifications.
func Justified(word string) bool { return slices.Contains(Justifications, word) }

// Document is a VEX document, whatever format it came in.
type Document struct {
	Format     string // "openvex", "cyclonedx", "csaf"
	ID         string // IRI, serial number or tracking id
	Author     string
	Version    int
	Time       time.Time // when it last changed
	Statements []Statement
}

// Statement says one thing of one flaw in some products.
type Statement struct {
	At            string    // where it stands: "statements[3]"
	ID            string    // IRI; "" none
	Names         []string  // of the flaw, the main one first
	Time          time.Time // when it was last known to be true: its own time, or the document's
	Products      []Product
	Status        Status
	Justification string // of not_affected; "": Text must say why
	Text          string // why, in words
	Action        string // of affected: what to do
	Own           Own
}

// Product is what a statement speaks of.
type Product struct {
	ID       string   // package URL or another IRI; "" where only hashes are given
	Digests  []string // "sha256:..."
	Packages []string // package URLs of the components concerned; none: the product as a whole
}

// Own is what Goldkeep knows of a statement and no format has a field for. In
// OpenVEX it stands in the last paragraph of status_notes, in CycloneDX in
// properties of the vulnerability.
type Own struct {
	Decision string    // "accepted", "fixing"
	Author   string    // of this statement
	Imported string    // who brought it here
	Expires  time.Time // it counts until then
}

// Limits of a document.
const (
	// MaxDocument is how large a document may be, in bytes.
	MaxDocument   = 32 << 20
	maxStatements = 50_000
	maxProducts   = 200_000 // of all statements, with the packages in them
	maxNames      = 200     // of one flaw
	maxText       = 4000    // bytes of one text
	maxName       = 1000    // bytes of one name, id or package URL
)

// The formats that can be written.
var Formats = []string{"openvex", "cyclonedx"}

// Images are the digests of the image a product is, where it is one.
func (p Product) Images() []string {
	digests := slices.Clone(p.Digests)
	if purl, err := ParsePURL(p.ID); err == nil && purl.Type == "oci" && strings.HasPrefix(purl.Version, "sha256:") && !slices.Contains(digests, purl.Version) {
		digests = append(digests, purl.Version)
	}
	return digests
}
