// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package signer keeps who is believed to sign images, and what was found attached
// to images. That is kept as it was found, and verified when it is asked for: who is
// believed may change, and a signature may be older than its signer. A signature
// belongs to a manifest; evidence to the image.
package signer

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
)

// Limits of what is kept.
const (
	maxBundles  = 64     // of one image
	maxSigners  = 200    // declared
	maxVerified = 20_000 // results remembered
)

// Book holds the signers and what is attached.
type Book struct {
	store   store.Store
	checked verifications
}

var steps = []string{`
CREATE TABLE signer_declared (name TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE signer_looked (image TEXT PRIMARY KEY, at BIGINT NOT NULL);
CREATE TABLE signer_bundle (
	image TEXT NOT NULL, manifest TEXT NOT NULL, digest TEXT NOT NULL, referrer TEXT NOT NULL, body BLOB NOT NULL,
	PRIMARY KEY (image, manifest, digest)
);
`}

// New prepares the room's tables.
func New(ctx context.Context, st store.Store) (*Book, error) {
	if err := st.Migrate(ctx, "signer", steps); err != nil {
		return nil, err
	}
	return &Book{store: st}, nil
}

// verifications remembers what was verified, for the signers of now.
type verifications struct {
	mu      sync.Mutex
	bodies  string // of the signers
	signers []*provenance.Signer
	found   map[bundleKey][]provenance.Verified
}

type bundleKey struct{ manifest, digest string }

// Attached is what was found attached to an image, ready to be kept.
type Attached struct {
	img    *image.Image
	found  []image.Referrer
	packed [][]byte
	whole  bool
}

// Prepare makes ready what was found attached to an image. whole says that it is all
// there is on the manifests that were looked at: what was kept of these and is gone
// is forgotten.
func Prepare(img *image.Image, found []image.Referrer, whole bool) (Attached, error) {
	a := Attached{img: img, found: found, packed: make([][]byte, len(found)), whole: whole}
	for i, r := range found {
		var err error
		if a.packed[i], err = store.Pack(r.Body); err != nil {
			return a, err
		}
	}
	return a, nil
}

// Attach keeps what was found attached, in a transaction. fault.TooLarge where it
// would be too much for one image.
func (b *Book) Attach(ctx context.Context, tx store.Tx, a Attached) error {
	id := string(a.img.ID)
	if _, err := tx.Exec(ctx, "INSERT INTO signer_looked (image, at) VALUES (?, ?) ON CONFLICT (image) DO UPDATE SET at = excluded.at", id, store.Millis(b.store.Now())); err != nil {
		return fmt.Errorf("keep signatures: %w", err)
	}
	if a.whole {
		for _, m := range a.img.Manifests {
			if _, err := tx.Exec(ctx, "DELETE FROM signer_bundle WHERE image = ? AND manifest = ?", id, string(m)); err != nil {
				return fmt.Errorf("forget signatures: %w", err)
			}
		}
	}
	for i, r := range a.found {
		_, err := tx.Exec(ctx, `INSERT INTO signer_bundle (image, manifest, digest, referrer, body) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (image, manifest, digest) DO NOTHING`, id, string(r.Subject), string(image.DigestOf(r.Body)), string(r.Digest), a.packed[i])
		if err != nil {
			return fmt.Errorf("keep signature: %w", err)
		}
	}
	var kept int
	if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM signer_bundle WHERE image = ?", id).Scan(&kept); err != nil {
		return err
	}
	if kept > maxBundles {
		return fault.New(fault.TooLarge, "image %s would have %d signatures and attestations; at most %d are kept", id, kept, maxBundles).
			WithHint("remove the referrers that nobody needs from the registry")
	}
	return nil
}

// Signatures returns the verified statements on an image: by the signers declared
// now. nil means that nobody has looked for any.
func (b *Book) Signatures(ctx context.Context, id image.Digest) ([]provenance.Verified, error) {
	signers, err := b.currentSigners(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := b.bundlesOf(ctx, id)
	if err != nil || keys == nil {
		return nil, err
	}
	all := []provenance.Verified{}
	for _, key := range keys {
		found, err := b.verified(ctx, id, key, signers)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// bundlesOf lists what is kept of an image; nil where nobody has looked.
func (b *Book) bundlesOf(ctx context.Context, id image.Digest) (keys []bundleKey, err error) {
	err = b.store.View(ctx, func(tx store.Tx) error {
		keys = nil
		var at int64
		err := tx.QueryRow(ctx, "SELECT at FROM signer_looked WHERE image = ?", string(id)).Scan(&at)
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
		}, "SELECT manifest, digest FROM signer_bundle WHERE image = ? ORDER BY manifest, digest", string(id))
	})
	if err != nil {
		return nil, fmt.Errorf("read signatures: %w", err)
	}
	return keys, nil
}

// verified is what the signers said in one bundle. A bundle's content is known by its
// digest, so what was verified once need not be read again.
func (b *Book) verified(ctx context.Context, id image.Digest, key bundleKey, signers []*provenance.Signer) ([]provenance.Verified, error) {
	if len(signers) == 0 {
		return nil, nil
	}
	b.checked.mu.Lock()
	found, known := b.checked.found[key]
	b.checked.mu.Unlock()
	if known {
		return found, nil
	}
	var body []byte
	err := b.store.View(ctx, func(tx store.Tx) error {
		return tx.QueryRow(ctx, "SELECT body FROM signer_bundle WHERE image = ? AND manifest = ? AND digest = ?", string(id), key.manifest, key.digest).Scan(&body)
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
	found, _ = provenance.VerifyAll([]image.Referrer{{Subject: image.Digest(key.manifest), Body: bundle}}, signers)
	b.checked.keep(signers, key, found)
	return found, nil
}

// keep remembers a result, unless the signers have changed meanwhile.
func (v *verifications) keep(signers []*provenance.Signer, key bundleKey, found []provenance.Verified) {
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
func (b *Book) currentSigners(ctx context.Context) ([]*provenance.Signer, error) {
	texts, err := b.signerTexts(ctx)
	if err != nil {
		return nil, err
	}
	bodies := strings.Join(texts, "\n")
	b.checked.mu.Lock()
	defer b.checked.mu.Unlock()
	if b.checked.found != nil && b.checked.bodies == bodies {
		return b.checked.signers, nil
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
	b.checked.bodies, b.checked.signers, b.checked.found = bodies, signers, map[bundleKey][]provenance.Verified{}
	return signers, nil
}

func (b *Book) signerTexts(ctx context.Context) (texts []string, err error) {
	err = b.store.View(ctx, func(tx store.Tx) (err error) {
		texts, err = store.Column[string](ctx, tx, "SELECT body FROM signer_declared ORDER BY name")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read signers: %w", err)
	}
	return texts, nil
}

// Signers returns the declared signers by name.
func (b *Book) Signers(ctx context.Context) ([]*provenance.Signer, error) {
	return b.currentSigners(ctx)
}

// Put declares a signer, in a transaction.
func (b *Book) Put(ctx context.Context, tx store.Tx, s *provenance.Signer) error {
	body, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode signer: %w", err)
	}
	if _, err := tx.Exec(ctx, "INSERT INTO signer_declared (name, body) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET body = excluded.body", s.Name, string(body)); err != nil {
		return fmt.Errorf("keep signer: %w", err)
	}
	var n int
	if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM signer_declared").Scan(&n); err != nil {
		return err
	}
	if n > maxSigners {
		return fault.New(fault.TooLarge, "there are %d signers; at most %d are kept", n, maxSigners)
	}
	return nil
}

// Delete removes a signer, in a transaction: nobody is believed by that name any more.
func (b *Book) Delete(ctx context.Context, tx store.Tx, name string) error {
	_, err := tx.Exec(ctx, "DELETE FROM signer_declared WHERE name = ?", name)
	return err
}
