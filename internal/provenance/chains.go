// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package provenance

import (
	"encoding/hex"
	"time"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
)

// chains verifies bundles signed with short-lived certificates (Fulcio's and alike),
// offline, against one trust root. The hard part is Sigstore's own library.
type chains struct {
	verifier *verify.Verifier
	identity verify.CertificateIdentity
}

// newChains demands of a bundle what the trust root can check: an entry in a log
// where it names logs, a certificate timestamp where it names logs of certificates,
// and always a proof of when it was signed, since the certificates live for minutes.
func newChains(s *Signer) (*chains, error) {
	trusted, err := root.NewTrustedRootFromJSON([]byte(s.TrustRoot))
	if err != nil {
		return nil, fault.New(fault.Invalid, "read trust root: %w", err).WithHint("it is the trusted_root.json of a Sigstore instance")
	}
	if len(trusted.FulcioCertificateAuthorities()) == 0 {
		return nil, fault.New(fault.Invalid, "read trust root: it names no certificate authority")
	}
	if len(trusted.RekorLogs()) == 0 && len(trusted.TimestampingAuthorities()) == 0 {
		return nil, fault.New(fault.Invalid, "read trust root: it names neither a log nor a timestamp authority, so nothing proves when something was signed")
	}
	demands := []verify.VerifierOption{verify.WithObserverTimestamps(1), verify.WithoutStatementPredicate()}
	if len(trusted.RekorLogs()) > 0 {
		demands = append(demands, verify.WithTransparencyLog(1))
	}
	if len(trusted.CTLogs()) > 0 {
		demands = append(demands, verify.WithSignedCertificateTimestamps(1))
	}
	c := &chains{}
	if c.verifier, err = verify.NewVerifier(trusted, demands...); err != nil {
		return nil, fault.New(fault.Invalid, "read trust root: %w", err)
	}
	pattern := s.IdentityPattern
	if pattern != "" {
		pattern = "^(?:" + pattern + ")$"
	}
	if c.identity, err = verify.NewShortCertificateIdentity(s.Issuer, "", s.Identity, pattern); err != nil {
		return nil, fault.New(fault.Invalid, "read identity: %w", err)
	}
	return c, nil
}

// verify fills in who signed and when.
func (c *chains) verify(b *Bundle, manifest image.Digest, v *Verified) error {
	digest, err := hex.DecodeString(manifest.Hex())
	if err != nil {
		return fault.New(fault.Invalid, "read digest: %w", err)
	}
	entity := &bundle.Bundle{}
	if err := entity.UnmarshalJSON(b.raw); err != nil {
		return fault.New(fault.Denied, "read bundle: %w", err)
	}
	result, err := c.verifier.Verify(entity, verify.NewPolicy(verify.WithArtifactDigest("sha256", digest), verify.WithCertificateIdentity(c.identity)))
	if err != nil {
		return fault.New(fault.Denied, "verify certificate and signature: %w", err)
	}
	v.Identity, v.Issuer = result.Signature.Certificate.SubjectAlternativeName, result.Signature.Certificate.Issuer
	v.Time = earliest(result.VerifiedTimestamps)
	return nil
}

// earliest is when at the latest something was signed.
func earliest(all []verify.TimestampVerificationResult) time.Time {
	var first time.Time
	for _, t := range all {
		if first.IsZero() || t.Timestamp.Before(first) {
			first = t.Timestamp
		}
	}
	return first.UTC()
}
