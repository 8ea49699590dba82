// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package provenance

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// Keyring keeps a server's signing keys sealed. A key signs there; its private half is
// never shown.
type Keyring struct{ space barrier.Space }

// Held is a key of a keyring.
type Held struct {
	Name        string    `json:"name"`
	Purpose     Purpose   `json:"purpose"`
	Environment string    `json:"environment,omitempty"` // of a verdict key
	Algorithm   Algorithm `json:"algorithm"`
	PublicKey   string    `json:"publicKey"` // PEM
	Created     time.Time `json:"created"`

	key *Key
}

// Sign implements Signing.
func (h *Held) Sign(s *Statement) ([]byte, error) { return h.key.Sign(s) }

// Public is the public key.
func (h *Held) Public() PublicKey { return h.key.Public() }

// sealedKey is a key as the barrier holds it.
type sealedKey struct {
	Held
	Private []byte `json:"private"`
}

// NewKeyring is the keyring in a part of the barrier's tree.
func NewKeyring(space barrier.Space) *Keyring { return &Keyring{space} }

var keyName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$`)

// maxKeys bounds the keys of a server.
const maxKeys = 500

// Create makes a key. An environment has one verdict key: two would leave two verdicts
// on an image. fault.Conflict where the name, or that, is taken.
func (k *Keyring) Create(ctx context.Context, want Held) (*Held, error) {
	if !keyName.MatchString(want.Name) {
		return nil, fault.New(fault.Invalid, "the key's name %.80q is none: use lower-case letters, digits, '-' and '.'", want.Name)
	}
	key, err := NewKey(want.Purpose, want.Environment, want.Algorithm)
	if err != nil {
		return nil, err
	}
	made := Held{
		Name: want.Name, Purpose: want.Purpose, Environment: want.Environment, Algorithm: want.Algorithm,
		PublicKey: key.Public().PEM(), Created: k.space.Now().UTC().Truncate(time.Second), key: key,
	}
	if made.Algorithm == "" {
		made.Algorithm = ECDSA
	}
	private, err := key.Marshal(nil)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(sealedKey{made, private})
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	return &made, k.space.Update(ctx, func(w barrier.Writer) error {
		all, err := read(ctx, w)
		if err != nil {
			return err
		}
		for _, h := range all {
			if h.Name == made.Name || made.Purpose == Verdict && h.Environment == made.Environment {
				return fault.New(fault.Conflict, "there is a key %s for that already", h.Name)
			}
		}
		if len(all) >= maxKeys {
			return fault.New(fault.TooLarge, "there are %d keys; no more are kept", len(all))
		}
		return w.Put(ctx, barrier.Entry{Path: made.Name, Value: body})
	})
}

// List returns the keys by name.
func (k *Keyring) List(ctx context.Context) (all []*Held, err error) {
	err = k.space.View(ctx, func(r barrier.Reader) (err error) {
		all, err = read(ctx, r)
		return err
	})
	return all, err
}

func read(ctx context.Context, r barrier.Reader) ([]*Held, error) {
	names, err := r.List(ctx, "")
	if err != nil {
		return nil, err
	}
	all := []*Held{}
	for _, name := range names {
		entry, err := r.Get(ctx, name)
		if err != nil {
			return nil, err
		}
		if entry == nil {
			continue
		}
		var sealed sealedKey
		if err := json.Unmarshal(entry.Value, &sealed); err != nil {
			return nil, fmt.Errorf("decode key: %w", err)
		}
		if sealed.key, err = ParseKey(sealed.Private, nil); err != nil {
			return nil, err
		}
		all = append(all, &sealed.Held)
	}
	return all, nil
}

// Find returns one key; fault.NotFound where there is none.
func (k *Keyring) Find(ctx context.Context, name string) (*Held, error) {
	return k.find(ctx, fmt.Sprintf("there is no key %.80q", name), func(h *Held) bool { return h.Name == name })
}

// ForVerdicts returns the key that signs an environment's verdicts.
func (k *Keyring) ForVerdicts(ctx context.Context, environment string) (*Held, error) {
	return k.find(ctx, "there is no key for the verdicts of "+environment, func(h *Held) bool {
		return h.Purpose == Verdict && h.Environment == environment
	})
}

func (k *Keyring) find(ctx context.Context, missing string, is func(*Held) bool) (*Held, error) {
	all, err := k.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, h := range all {
		if is(h) {
			return h, nil
		}
	}
	return nil, fault.New(fault.NotFound, "%s", missing).WithHint("make one with: goldkeep key create NAME --in-server")
}

// Delete removes a key for ever. What it has signed stays signed.
func (k *Keyring) Delete(ctx context.Context, name string) error {
	if _, err := k.Find(ctx, name); err != nil {
		return err
	}
	return k.space.Update(ctx, func(w barrier.Writer) error { return w.Delete(ctx, name) })
}
