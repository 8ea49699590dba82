// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package provenance says who vouches for an image: it writes and verifies the
// signatures and attestations attached to it. Each is an in-toto Statement (v1) in a
// DSSE envelope in a Sigstore bundle (v0.3), as cosign v3 writes and reads them.
//
// Two rules keep a signature from being read as more than it is. A key has one
// purpose: "cosign verify" accepts any statement by a key, so a release key signs
// approvals and nothing else. And a signer's statement counts only as what its
// predicate type says: an attestation is never an approval.
//
// All that is verified comes from outside: sizes and counts are bounded, the payload
// and statement types are checked, the subject must be the digest that was asked
// about, and a key's hint is never looked at.
package provenance

import (
	"time"

	"github.com/goldkeep/goldkeep/internal/image"
)

// Predicate types: what a statement says of its subject.
const (
	Approval            = "https://sigstore.dev/cosign/sign/v1" // "this may be released", as cosign sign writes it
	VerificationSummary = "https://slsa.dev/verification_summary/v1"
	SLSAProvenance      = "https://slsa.dev/provenance/v1"
	TestResult          = "https://in-toto.io/attestation/test-result/v0.1"
	CycloneDX           = "https://cyclonedx.org/bom"
	SPDX                = "https://spdx.dev/Document"
	OpenVEX             = "https://openvex.dev/ns"
)

// BundleType is the media type of the bundles written here.
const BundleType = image.BundleType + ".v0.3+json"

// Limits of what is read.
const (
	maxBundle   = 16 << 20 // bytes
	maxSubjects = 1000     // of one statement
)

// Verified is a statement whose signature holds and whose subject is the manifest
// that was asked about.
type Verified struct {
	Signer    string       // the name of the signer it was verified against
	Type      string       // predicate type
	Manifest  image.Digest // the subject
	Digest    image.Digest // of the bundle
	Identity  string       // of the certificate; "" for a key
	Issuer    string       // who vouched for the identity; "" for a key
	Time      time.Time    // when it was signed, as a log or a timestamp proves; zero where nothing does
	Result    string       // what a verification summary or a test result came to: PASSED, WARNED, FAILED
	Predicate []byte       // JSON
}

// Referrer is a bundle as it is attached to an image.
func Referrer(bundle []byte, predicateType string) image.Referrer {
	return image.Referrer{Type: BundleType, Body: bundle, Annotations: map[string]string{
		"dev.sigstore.bundle.content":       "dsse-envelope",
		"dev.sigstore.bundle.predicateType": predicateType,
	}}
}
