// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/provenance"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

// What is attached to images is kept as it was found, and verified when it is judged:
// who is believed may change, and a signature may be older than its signer. A
// signature belongs to a manifest; evidence to the image.

// Limits of what is kept.
const (
	maxBundles  = 64     // of one image
	maxSigners  = 200    // declared
	maxVerified = 20_000 // results remembered
)

const signatureStep = `
CREATE TABLE catalog_signer (name TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE catalog_looked (image TEXT PRIMARY KEY, at BIGINT NOT NULL);
CREATE TABLE catalog_bundle (
	image TEXT NOT NULL, manifest TEXT NOT NULL, digest TEXT NOT NULL, referrer TEXT NOT NULL, body BLOB NOT NULL,
	PRIMARY KEY (image, manifest, digest)
);
`

// verifications remembers what was verified, for the signers of now.
type verifications struct {
	mu      sync.Mutex
	bodies  string // of the signers
	signers []*provenance.Signer
	found   map[bundleKey][]verdict.Signature
}

type bundleKey struct{ manifest, digest string }

// Attach keeps what was found attached to an image. whole says that it is all there is
// on the manifests that were looked at: what was kept of these and is gone is
// forgotten. nil means that nothing could be attached there, and changes nothing.
func (c *Catalog) Attach(ctx context.Context, img *image.Image, attached []image.Referrer, whole bool) error {
	if attached == nil {
		return nil
	}
	packed := make([][]byte, len(attached))
	for i, r := range attached {
		var err error
		if packed[i], err = store.Pack(r.Body); err != nil {
			return err
		}
	}
	return c.store.Update(ctx, func(tx store.Tx) error {
		if _, err := tx.Exec(ctx, "INSERT INTO catalog_looked (image, at) VALUES (?, ?) ON CONFLICT (image) DO UPDATE SET at = excluded.at", string(img.ID), store.Millis(c.Now())); err != nil {
			return fmt.Errorf("keep signatures: %w", err)
		}
		if whole {
			for _, m := range img.Manifests {
				if _, err := tx.Exec(ctx, "DELETE FROM catalog_bundle WHERE image = ? AND manifest = ?", string(img.ID), string(m)); err != nil {
					return fmt.Errorf("forget signatures: %w", err)
				}
			}
		}
		for i, r := range attached {
			_, err := tx.Exec(ctx, `INSERT INTO catalog_bundle (image, manifest, digest, referrer, body) VALUES (?, ?, ?, ?, ?)
				ON CONFLICT (image, manifest, digest) DO NOTHING`, string(img.ID), string(r.Subject), string(image.DigestOf(r.Body)), string(r.Digest), packed[i])
			if err != nil {
				return fmt.Errorf("keep signature: %w", err)
			}
		}
		var kept int
		if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM catalog_bundle WHERE image = ?", string(img.ID)).Scan(&kept); err != nil {
			return err
		}
		if kept > maxBundles {
			return fault.New(fault.TooLarge, "image %s would have %d signatures and attestations; at most %d are kept", img.ID, kept, maxBundles).
				WithHint("remove the referrers that nobody needs from the registry")
		}
		return c.touch(ctx, tx, img.ID)
	})
}

// Signatures returns the verified statements on an image: by the signers declared
// now. nil means that nobody has looked for any.
func (c *Catalog) Signatures(ctx context.Context, id image.Digest) ([]verdict.Signature, error) {
	signers, err := c.currentSigners(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := c.bundlesOf(ctx, id)
	if err != nil || keys == nil {
		return nil, err
	}
	all := []verdict.Signature{}
	for _, key := range keys {
		found, err := c.verified(ctx, id, key, signers)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// bundlesOf lists what is kept of an image; nil where nobody has looked.
func (c *Catalog) bundlesOf(ctx context.Context, id image.Digest) (keys []bundleKey, err error) {
	err = c.store.View(ctx, func(tx store.Tx) error {
		keys = nil
		var at int64
		err := tx.QueryRow(ctx, "SELECT at FROM catalog_looked WHERE image = ?", string(id)).Scan(&at)
		if errors.Is(err, store.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		keys = []bundleKey{}
		return store.Each(ctx, tx, func(r store.Row) error {
			var k bundleKey
			err := r.Scan(&k.manifest, &k.digest)
			keys = append(keys, k)
			return err
		}, "SELECT manifest, digest FROM catalog_bundle WHERE image = ? ORDER BY manifest, digest", string(id))
	})
	if err != nil {
		return nil, fmt.Errorf("read signatures: %w", err)
	}
	return keys, nil
}

// verified is what the signers said in one bundle. A bundle's content is known by its
// digest, so what was verified once need not be read again.
func (c *Catalog) verified(ctx context.Context, id image.Digest, key bundleKey, signers []*provenance.Signer) ([]verdict.Signature, error) {
	if len(signers) == 0 {
		return nil, nil
	}
	c.checked.mu.Lock()
	found, known := c.checked.found[key]
	c.checked.mu.Unlock()
	if known {
		return found, nil
	}
	var body []byte
	err := c.store.View(ctx, func(tx store.Tx) error {
		return tx.QueryRow(ctx, "SELECT body FROM catalog_bundle WHERE image = ? AND manifest = ? AND digest = ?", string(id), key.manifest, key.digest).Scan(&body)
	})
	if errors.Is(err, store.ErrNoRows) {
		return nil, nil // gone meanwhile: its image is judged again
	}
	if err != nil {
		return nil, fmt.Errorf("read signature: %w", err)
	}
	var bundle []byte
	if err := store.Unpack(body, &bundle); err != nil {
		return nil, err
	}
	verified, _ := provenance.VerifyAll([]image.Referrer{{Subject: image.Digest(key.manifest), Body: bundle}}, signers)
	found = asEvidence(verified)
	c.checked.keep(signers, key, found)
	return found, nil
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

// keep remembers a result, unless the signers have changed meanwhile.
func (v *verifications) keep(signers []*provenance.Signer, key bundleKey, found []verdict.Signature) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.signers) != len(signers) || len(signers) > 0 && v.signers[0] != signers[0] {
		return
	}
	if len(v.found) >= maxVerified {
		clear(v.found)
	}
	v.found[key] = found
}

// currentSigners returns the signers declared now, ready to verify.
func (c *Catalog) currentSigners(ctx context.Context) ([]*provenance.Signer, error) {
	texts, err := c.signerTexts(ctx)
	if err != nil {
		return nil, err
	}
	bodies := strings.Join(texts, "\n")
	c.checked.mu.Lock()
	defer c.checked.mu.Unlock()
	if c.checked.found != nil && c.checked.bodies == bodies {
		return c.checked.signers, nil
	}
	var signers []*provenance.Signer
	for _, text := range texts {
		s := &provenance.Signer{}
		if err := json.Unmarshal([]byte(text), s); err != nil {
			return nil, fmt.Errorf("decode signer: %w", err)
		}
		if err := s.Check(); err != nil {
			return nil, fmt.Errorf("read signer %s: %w", s.Name, err)
		}
		signers = append(signers, s)
	}
	c.checked.bodies, c.checked.signers, c.checked.found = bodies, signers, map[bundleKey][]verdict.Signature{}
	return signers, nil
}

func (c *Catalog) signerTexts(ctx context.Context) (texts []string, err error) {
	err = c.store.View(ctx, func(tx store.Tx) error {
		texts = nil
		return store.Each(ctx, tx, func(r store.Row) error {
			var text string
			err := r.Scan(&text)
			texts = append(texts, text)
			return err
		}, "SELECT body FROM catalog_signer ORDER BY name")
	})
	if err != nil {
		return nil, fmt.Errorf("read signers: %w", err)
	}
	return texts, nil
}

// Signers returns the declared signers by name.
func (c *Catalog) Signers(ctx context.Context) ([]*provenance.Signer, error) {
	return c.currentSigners(ctx)
}

// PutSigner declares a signer. The verdicts that may rest on signatures are due from
// then on, in the environments it returns.
func (c *Catalog) PutSigner(ctx context.Context, s *provenance.Signer) (environments []string, err error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	body, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode signer: %w", err)
	}
	return c.changeSigners(ctx, func(tx store.Tx) error {
		if _, err := tx.Exec(ctx, "INSERT INTO catalog_signer (name, body) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET body = excluded.body", s.Name, string(body)); err != nil {
			return fmt.Errorf("keep signer: %w", err)
		}
		var n int
		if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM catalog_signer").Scan(&n); err != nil {
			return err
		}
		if n > maxSigners {
			return fault.New(fault.TooLarge, "there are %d signers; at most %d are kept", n, maxSigners)
		}
		return nil
	})
}

// DeleteSigner removes a signer: nobody is believed by that name any more.
func (c *Catalog) DeleteSigner(ctx context.Context, name string) (environments []string, err error) {
	return c.changeSigners(ctx, func(tx store.Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM catalog_signer WHERE name = ?", name)
		return err
	})
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
