// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package transit

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/goldkeep/goldkeep/internal/fault"
)

var errNoContext = fault.New(fault.Invalid, "missing 'context' for key derivation; the key was created using a derived key, which means additional, per-request information must be included in order to perform operations with the key")

// secret is a symmetric version's key for a context: derived from it with
// HKDF-SHA-256 (RFC 5869) where the key is of that sort.
func (k *key) secret(v *version, salt []byte) ([]byte, error) {
	if !k.Derived {
		return v.Secret, nil
	}
	if len(salt) == 0 {
		return nil, errNoContext
	}
	out, err := hkdf.Key(sha256.New, v.Secret, nil, string(salt), k.kind().bytes)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	return out, nil
}

// aead is the cipher of a symmetric key.
func (k *key) aead(secret []byte) (cipher.AEAD, error) {
	switch k.Type {
	case "chacha20-poly1305":
		return chacha20poly1305.New(secret)
	case "xchacha20-poly1305":
		return chacha20poly1305.NewX(secret)
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	return cipher.NewGCM(block)
}

// nonce is random, or for convergent encryption one that follows from key,
// context and plaintext: equal plaintexts then have equal ciphertexts, and no
// nonce serves two different ones.
func (k *key) nonce(secret, plaintext []byte, size int) ([]byte, error) {
	if !k.Convergent {
		return randomBytes(size), nil
	}
	macKey, err := hkdf.Key(sha256.New, secret, nil, "goldkeep transit convergent nonce", sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("derive nonce key: %w", err)
	}
	mac := hmac.New(sha256.New, macKey)
	mac.Write(plaintext)
	return mac.Sum(nil)[:size], nil
}

// derivedSigner is the ed25519 key of a context.
func (v *version) derivedSigner(salt []byte) (ed25519.PrivateKey, error) {
	if len(salt) == 0 {
		return nil, fault.New(fault.Invalid, "error deriving key: %w", errNoContext)
	}
	s, err := v.signer()
	if err != nil {
		return nil, err
	}
	root, ok := s.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("read key: %T cannot be derived from", s)
	}
	seed, err := hkdf.Key(sha256.New, root, nil, string(salt), ed25519.SeedSize)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

func (v *version) derivedPublic(salt []byte) (crypto.PublicKey, error) {
	private, err := v.derivedSigner(salt)
	if err != nil {
		return nil, err
	}
	return private.Public(), nil
}
