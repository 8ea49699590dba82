// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package provenance

import (
	"context"
	"fmt"
	"time"

	"github.com/goldkeep/goldkeep/internal/image"
)

// Signing is somebody who signs: a key file, or a key that never leaves a server.
type Signing interface {
	Sign(s *Statement) (bundle []byte, err error)
}

// Saying is something to be said, and signed, of every subject on a shelf: of an index
// and of its images, for whoever pulls asks about one of these.
type Saying struct {
	By  Signing
	At  time.Time
	Say func(image.Subject) (*Statement, error)
}

// Attach signs and attaches it. It returns the referrers' digests.
func (s Saying) Attach(ctx context.Context, to *image.Shelf) ([]image.Digest, error) {
	var all []image.Digest
	for _, subject := range to.Subjects {
		made, err := s.one(ctx, to, subject)
		if err != nil {
			return all, err
		}
		all = append(all, made)
	}
	return all, nil
}

func (s Saying) one(ctx context.Context, to *image.Shelf, subject image.Subject) (image.Digest, error) {
	statement, err := s.Say(subject)
	if err != nil {
		return "", err
	}
	signed, err := s.By.Sign(statement)
	if err != nil {
		return "", err
	}
	return to.Attach(ctx, subject, Referrer(signed, statement.PredicateType), s.At)
}

// Replace attaches a verdict and removes the earlier ones by the same key: a policy
// engine wants all matching statements to hold, and an old one may be wrong. Both are
// there for a moment, never none.
func (s Saying) Replace(ctx context.Context, to *image.Shelf, by PublicKey) ([]image.Digest, error) {
	var all []image.Digest
	for _, subject := range to.Subjects {
		made, err := s.one(ctx, to, subject)
		if err != nil {
			return all, err
		}
		all = append(all, made)
		if err := withdraw(ctx, to, subject.Digest, signerOf(by), made); err != nil {
			return all, err
		}
	}
	return all, nil
}

// Withdraw removes the verdicts a key has signed on each subject.
func Withdraw(ctx context.Context, from *image.Shelf, by PublicKey) error {
	for _, subject := range from.Subjects {
		if err := withdraw(ctx, from, subject.Digest, signerOf(by), ""); err != nil {
			return err
		}
	}
	return nil
}

// signerOf recognizes what a key has signed.
func signerOf(by PublicKey) *Signer { return &Signer{Name: "verdict", PublicKey: by.PEM()} }

func withdraw(ctx context.Context, from *image.Shelf, subject image.Digest, signer *Signer, keep image.Digest) error {
	attached, err := from.Attached(ctx, subject)
	if err != nil {
		return err
	}
	for _, r := range attached {
		found, _ := VerifyAll([]image.Referrer{r}, []*Signer{signer})
		if r.Digest == keep || len(found) == 0 || found[0].Type != VerificationSummary {
			continue
		}
		if err := from.Detach(ctx, r); err != nil {
			return fmt.Errorf("remove the verdict %s: %w", r.Digest, err)
		}
	}
	return nil
}

// VerifyAll verifies what is attached to an image against all signers. What is by
// none of them is left out; odd tells, in a line each, of bundles that are not
// understood or not whole.
func VerifyAll(attached []image.Referrer, signers []*Signer) (found []Verified, odd []string) {
	found = []Verified{}
	for _, r := range attached {
		b, err := ParseBundle(r.Body)
		if err != nil {
			odd = append(odd, fmt.Sprintf("%s: %v", r.Digest, err))
			continue
		}
		for _, s := range signers {
			if v, err := s.Verify(b, r.Subject); err == nil {
				found = append(found, *v)
			}
		}
	}
	return found, odd
}
