// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package barrier

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// Wrapper seals the root key with a key that is kept elsewhere.
type Wrapper interface {
	Type() string
	Wrap(ctx context.Context, key []byte) ([]byte, error)
	Unwrap(ctx context.Context, sealed []byte) ([]byte, error)
}

// recovery are the key shares of a server that unseals itself. They unseal
// nothing: they prove that enough people agree, to a new root token for example.
type recovery struct {
	Shares    int    `json:"shares"`
	Threshold int    `json:"threshold"`
	Check     []byte `json:"check"` // a hash of the key they make
}

// WrapWith has the root key sealed elsewhere. Call it before Init and Unwrap; a
// server initialized otherwise stays as it is.
func (b *Barrier) WrapWith(w Wrapper) { b.Turn(nil, Way{Wrapper: w}) }

// Wraps reports whether the root key is sealed elsewhere, or will be.
func (s *sealed) wraps() bool { return s.Type != Shamir && s.Type != KeyFile }

func recoveryCheck(key []byte) ([]byte, error) {
	return hkdf.Key(sha256.New, key, nil, "goldkeep recovery key", keySize)
}

// wrapRoot makes a root key, sealed elsewhere, and the recovery shares.
func (b *Barrier) wrapRoot(ctx context.Context, s *sealed, o InitOptions) (root []byte, result InitResult, err error) {
	if o.Shares != 0 || o.Threshold != 0 {
		return nil, result, fault.New(fault.Invalid, "parameters secret_shares,secret_threshold not applicable to seal type %s", b.wrapper.Type())
	}
	key, parts, err := split(o.RecoveryShares, o.RecoveryThreshold)
	if err != nil {
		return nil, result, err
	}
	defer clear(key)
	s.Type = b.wrapper.Type()
	if err := s.setRecovery(key, o.RecoveryShares, o.RecoveryThreshold); err != nil {
		return nil, result, err
	}
	root, err = b.newWrapped(ctx, s)
	return root, InitResult{Recovery: parts}, err
}

// setRecovery makes this the recovery key.
func (s *sealed) setRecovery(key []byte, shares, threshold int) error {
	check, err := recoveryCheck(key)
	if err != nil {
		return fmt.Errorf("derive check: %w", err)
	}
	s.Shares, s.Threshold = shares, threshold
	s.Recovery = &recovery{Shares: shares, Threshold: threshold, Check: check}
	return nil
}

// newWrapped makes a root key and has it sealed elsewhere.
func (b *Barrier) newWrapped(ctx context.Context, s *sealed) (root []byte, err error) {
	if b.wrapper == nil {
		return nil, fault.New(fault.Invalid, "the configuration names no service for the seal of type %q", s.Type)
	}
	root = make([]byte, keySize)
	if _, err := rand.Read(root); err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	s.Wrapped, err = b.wrapper.Wrap(ctx, root)
	return root, err
}

// Unwrap unseals with the key that is kept elsewhere. fault.Unavailable: its
// service does not answer, try again.
func (b *Barrier) Unwrap(ctx context.Context) error {
	s, err := b.load(ctx)
	switch {
	case err != nil:
		return err
	case s == nil:
		return fault.New(fault.Conflict, "the server is not initialized")
	case b.wrapper == nil || s.Type != b.wrapper.Type() || b.turns(s):
		return fault.New(fault.Invalid, "this server's seal is of type %q, and not what the configuration says", s.Type).
			WithHint("use the configuration of before or, to turn the seal into the new kind, name the old one too, as disabled: docs/server.md")
	}
	root, err := b.wrapper.Unwrap(ctx, s.Wrapped)
	if err != nil {
		return err
	}
	defer clear(root)
	if len(root) != keySize {
		return fault.New(fault.Invalid, "the seal's service answers what is no key of this server")
	}
	return b.unlock(root, s)
}

// CheckRecovery checks that recovery shares fit together: as many different ones
// as the threshold says. fault.Invalid where they do not.
func (s *sealed) checkRecovery(shares [][]byte) error {
	if s.Recovery == nil {
		return fault.New(fault.Invalid, "this server has no key shares: its seal is of type %q", s.Type)
	}
	points := map[byte][]byte{}
	for _, share := range shares {
		if !IsShare(share) {
			return fault.New(fault.Invalid, "a recovery key has the wrong length or form")
		}
		points[share[0]] = share
	}
	if len(points) != s.Recovery.Threshold {
		return fault.New(fault.Invalid, "%d different recovery keys are needed", s.Recovery.Threshold)
	}
	key, err := join(points, s.Recovery.Threshold)
	if err != nil {
		return err
	}
	defer clear(key)
	return s.checkKey(key)
}

// checkKey checks that this is the recovery key.
func (s *sealed) checkKey(key []byte) error {
	check, err := recoveryCheck(key)
	if err != nil {
		return fmt.Errorf("derive check: %w", err)
	}
	if subtle.ConstantTimeCompare(check, s.Recovery.Check) != 1 {
		return fault.New(fault.Invalid, "the recovery keys are wrong; begin again")
	}
	return nil
}
