// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"

	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/provenance"
	"github.com/goldkeep/goldkeep/internal/signer"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

// Attach keeps what was found attached to an image. whole says that it is all there is
// on the manifests that were looked at: what was kept of these and is gone is
// forgotten. nil means that nothing could be attached there, and changes nothing.
func (c *Catalog) Attach(ctx context.Context, img *image.Image, attached []image.Referrer, whole bool) error {
	if attached == nil {
		return nil
	}
	found, err := signer.Prepare(img, attached, whole)
	if err != nil {
		return err
	}
	return c.store.Update(ctx, func(tx store.Tx) error {
		if err := c.signers.Attach(ctx, tx, found); err != nil {
			return err
		}
		return c.touch(ctx, tx, img.ID)
	})
}

// Signatures returns the verified statements on an image: by the signers declared
// now. nil means that nobody has looked for any.
func (c *Catalog) Signatures(ctx context.Context, id image.Digest) ([]verdict.Signature, error) {
	verified, err := c.signers.Signatures(ctx, id)
	if err != nil || verified == nil {
		return nil, err
	}
	return asEvidence(verified), nil
}

// signed are the signatures on an image, and who may be believed.
func (c *Catalog) signed(ctx context.Context, id image.Digest) ([]verdict.Signature, []verdict.Signer, error) {
	signers, err := c.signers.Signers(ctx)
	if err != nil {
		return nil, nil, err
	}
	var who []verdict.Signer
	for _, s := range signers {
		who = append(who, verdict.Signer{Name: s.Name, Owner: s.Owner, Contact: s.Contact})
	}
	found, err := c.Signatures(ctx, id)
	return found, who, err
}

// asEvidence is verified statements as verdict judges them.
func asEvidence(verified []provenance.Verified) []verdict.Signature {
	all := make([]verdict.Signature, 0, len(verified))
	for _, v := range verified {
		all = append(all, verdict.Signature{
			Signer: v.Signer, Type: v.Type, Identity: v.Identity, Issuer: v.Issuer,
			Manifest: string(v.Manifest), Digest: string(v.Digest), Result: verdict.OneLine(v.Result), Time: v.Time,
		})
	}
	return all
}

// Signers returns the declared signers by name.
func (c *Catalog) Signers(ctx context.Context) ([]*provenance.Signer, error) {
	return c.signers.Signers(ctx)
}

// PutSigner declares a signer. The verdicts that may rest on signatures are due from
// then on, in the environments it returns.
func (c *Catalog) PutSigner(ctx context.Context, s *provenance.Signer) (environments []string, err error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	return c.changeSigners(ctx, func(tx store.Tx) error { return c.signers.Put(ctx, tx, s) })
}

// DeleteSigner removes a signer: nobody is believed by that name any more.
func (c *Catalog) DeleteSigner(ctx context.Context, name string) (environments []string, err error) {
	return c.changeSigners(ctx, func(tx store.Tx) error { return c.signers.Delete(ctx, tx, name) })
}

// changeSigners makes the change and the verdicts due in one transaction.
func (c *Catalog) changeSigners(ctx context.Context, change func(store.Tx) error) ([]string, error) {
	all, err := c.Environments(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, env := range all {
		if env.AsksSignatures() {
			names = append(names, env.Name)
		}
	}
	return names, c.store.Update(ctx, func(tx store.Tx) error {
		if err := change(tx); err != nil {
			return err
		}
		for _, name := range names {
			if err := c.touchAll(ctx, tx, name); err != nil {
				return err
			}
		}
		return nil
	})
}
