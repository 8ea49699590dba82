// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package barrier

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// Way is how the root key is kept: sealed by Wrapper, made of a key file or, with
// neither, split among people.
type Way struct {
	Wrapper Wrapper
	KeyFile func() ([]byte, error) // its content
	Name    string                 // tells two services of the same type apart; may be empty
}

func (w Way) kind() string {
	switch {
	case w.Wrapper != nil:
		return w.Wrapper.Type()
	case w.KeyFile != nil:
		return KeyFile
	}
	return Shamir
}

// A seal is turned into another kind when enough people agree: the holders of key
// shares, or of recovery keys. Their shares stay what they are: they unseal where the
// new way is shares, and prove agreement where it is not. Everything is one change of
// one row, so that a crash leaves the old seal or the new one, each whole.

// Turn says how the root key is to be kept from now on (to), and how a server that is
// not turned yet can still be opened; from is nil where that is by shares, or where
// nothing is to be turned. Call it before Init and Unwrap.
func (b *Barrier) Turn(from *Way, to Way) {
	b.wrapper = to.Wrapper
	b.from, b.to = from, to
}

// turns reports whether the seal waits to be turned into another kind.
func (b *Barrier) turns(s *sealed) bool {
	if s == nil || s.is(b.to) {
		return false
	}
	if s.Type == Shamir {
		return b.to.kind() != Shamir
	}
	return b.from != nil && s.is(*b.from)
}

// is reports whether the seal is of a way.
func (s *sealed) is(w Way) bool { return s.Type == w.kind() && (s.Name == w.Name || s.Type == KeyFile) }

// threshold is how many shares agree to something.
func (s *sealed) threshold() int {
	if s.Recovery != nil {
		return s.Recovery.Threshold
	}
	return s.Threshold
}

// SubmitTurn takes one share of those who agree that the seal is turned. At the
// threshold it is, and the server is unsealed.
func (b *Barrier) SubmitTurn(ctx context.Context, share []byte) (Status, error) {
	s, err := b.load(ctx)
	switch {
	case err != nil:
		return Status{}, err
	case s == nil:
		return Status{}, errUninitialized
	case !b.turns(s) || !b.Sealed():
		return Status{}, fault.New(fault.Invalid, "can't perform a seal migration, no migration seal found").
			WithHint("the configuration names the new seal, and the old one as disabled: docs/server.md")
	case s.Type == KeyFile && s.Recovery == nil:
		return Status{}, fault.New(fault.Invalid, "this server has no recovery keys: nobody can agree").
			WithHint("start it once more with its key file and make some: goldkeep operator rekey --recovery")
	case !IsShare(share):
		return Status{}, errShareForm
	}
	shares, err := b.collect(s.threshold(), share)
	if err != nil {
		return Status{}, err
	}
	if shares != nil {
		if err := b.turn(ctx, s, shares); err != nil {
			return Status{}, err
		}
	}
	return b.Status(ctx)
}

var (
	errUninitialized = fault.New(fault.Invalid, "the server is not initialized").WithHint("run: goldkeep operator init")
	errShareForm     = fault.New(fault.Invalid, "the unseal key has the wrong length or form")
)

// collect keeps a share, and answers all once there are enough; the attempt is over
// then.
func (b *Barrier) collect(needed int, share []byte) (map[byte][]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.nonce == "" {
		nonce := make([]byte, 16)
		if _, err := rand.Read(nonce); err != nil {
			return nil, fmt.Errorf("make nonce: %w", err)
		}
		b.nonce = hex.EncodeToString(nonce)
	}
	b.shares[share[0]] = append([]byte(nil), share...)
	if len(b.shares) < needed {
		return nil, nil
	}
	all := b.shares
	b.shares, b.nonce = map[byte][]byte{}, ""
	return all, nil
}

// turn opens the keyring the old way and seals it the new way.
func (b *Barrier) turn(ctx context.Context, s *sealed, shares map[byte][]byte) error {
	defer func() {
		for _, share := range shares {
			clear(share)
		}
	}()
	key, err := join(shares, s.threshold())
	if err != nil {
		return err
	}
	defer clear(key)
	old, err := b.oldRoot(ctx, s, key)
	if err != nil {
		return err
	}
	defer clear(old)
	ring, err := s.open(old)
	if err != nil {
		return err
	}
	next := *s
	root, err := b.newRoot(ctx, &next, key)
	if err != nil {
		return err
	}
	defer clear(root)
	if err := b.setHeir(&next, ring, root); err != nil {
		return err
	}
	if next.Keyring, err = ring.seal(root); err != nil {
		return err
	}
	done, err := b.replace(ctx, s, &next)
	if err != nil {
		return err
	}
	if !done {
		return fault.New(fault.Conflict, "the seal was changed by others meanwhile").WithHint("begin again")
	}
	return b.unlock(root, &next)
}

// oldRoot is the root key of a seal that is not turned yet; key is what the shares
// make.
func (b *Barrier) oldRoot(ctx context.Context, s *sealed, key []byte) ([]byte, error) {
	if s.Type == Shamir {
		return append([]byte(nil), key...), nil
	}
	if err := s.checkKey(key); err != nil {
		return nil, err
	}
	if s.Type == KeyFile {
		content, err := b.from.KeyFile()
		if err != nil {
			return nil, err
		}
		defer clear(content)
		return fileKey(content)
	}
	return b.from.Wrapper.Unwrap(ctx, s.Wrapped)
}

// newRoot makes the seal one of the new kind, and returns its root key.
func (b *Barrier) newRoot(ctx context.Context, s *sealed, key []byte) (root []byte, err error) {
	shares, threshold := s.Shares, s.threshold()
	s.Type, s.Name, s.Wrapped, s.Recovery = b.to.kind(), b.to.Name, nil, nil
	if s.Type == Shamir {
		return append([]byte(nil), key...), nil
	}
	if err := s.setRecovery(key, shares, threshold); err != nil {
		return nil, err
	}
	if s.Type == KeyFile {
		content, err := b.to.KeyFile()
		if err != nil {
			return nil, err
		}
		defer clear(content)
		return fileKey(content)
	}
	return b.newWrapped(ctx, s)
}
