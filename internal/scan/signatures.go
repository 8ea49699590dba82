// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"context"
	"fmt"

	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/provenance"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

// Signatures looks for what is attached to an image where it lies, and verifies it
// against the signers. nil means that nothing can be attached there: nobody looked.
// odd tells of bundles that are not understood. An error means that the list could
// not be read whole.
func Signatures(ctx context.Context, img *image.Image, signers []*provenance.Signer) (found []verdict.Signature, odd []string, err error) {
	attached, err := img.Attached(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("look for signatures: %w", err)
	}
	if attached == nil {
		return nil, nil, nil
	}
	verified, odd := provenance.VerifyAll(attached, signers)
	found = make([]verdict.Signature, 0, len(verified))
	for _, v := range verified {
		found = append(found, verdict.Signature{
			Signer: v.Signer, Type: v.Type, Identity: v.Identity, Issuer: v.Issuer,
			Manifest: string(v.Manifest), Digest: string(v.Digest), Result: verdict.OneLine(v.Result), Time: v.Time,
		})
	}
	return found, odd, nil
}

// Signers is who signers are, as evidence.
func Signers(all []*provenance.Signer) []verdict.Signer {
	var out []verdict.Signer
	for _, s := range all {
		out = append(out, verdict.Signer{Name: s.Name, Owner: s.Owner, Contact: s.Contact})
	}
	return out
}
