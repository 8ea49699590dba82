// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package provenance

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// Purpose is the one thing a key signs.
type Purpose string

// The purposes.
const (
	Release     Purpose = "release"     // approvals
	Attestation Purpose = "attestation" // lists, scan reports, provenance, test results: what is so, good or bad
	Verdict     Purpose = "verdict"     // that an image passed the rules of one environment
)

// Algorithm is a kind of key.
type Algorithm string

// The algorithms.
const (
	ECDSA   Algorithm = "ecdsa-p256"
	Ed25519 Algorithm = "ed25519"
)

// Key signs statements of its purpose.
type Key struct {
	Purpose     Purpose
	Environment string // of a verdict key
	signer      crypto.Signer
}

// NewKey makes a key.
func NewKey(purpose Purpose, environment string, algorithm Algorithm) (*Key, error) {
	k := &Key{Purpose: purpose, Environment: environment}
	if err := k.check(); err != nil {
		return nil, err
	}
	var err error
	switch algorithm {
	case ECDSA, "":
		k.signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case Ed25519:
		_, k.signer, err = ed25519.GenerateKey(rand.Reader)
	default:
		return nil, fault.New(fault.Invalid, "the algorithm is %.50q; it must be %s or %s", algorithm, ECDSA, Ed25519)
	}
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	return k, nil
}

func (k *Key) check() error {
	switch k.Purpose {
	case Release, Attestation:
		if k.Environment != "" {
			return fault.New(fault.Invalid, "a %s key has no environment: only verdict keys have one", k.Purpose)
		}
		return nil
	case Verdict:
		if k.Environment == "" {
			return fault.New(fault.Invalid, "a verdict key needs the environment whose verdicts it signs")
		}
		return nil
	}
	return fault.New(fault.Invalid, "the purpose is %.50q; it must be release, attestation or verdict", k.Purpose)
}

// Public is the public key.
func (k *Key) Public() PublicKey { return PublicKey{k.signer.Public()} }

// Sign signs a statement, where that is what the key is for, and returns the bundle.
func (k *Key) Sign(s *Statement) ([]byte, error) {
	if err := k.may(s); err != nil {
		return nil, err
	}
	payload, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode statement: %w", err)
	}
	sig, err := k.sign(encoding(payload))
	if err != nil {
		return nil, fmt.Errorf("sign statement: %w", err)
	}
	return writeBundle(payload, sig, k.Public().Hint())
}

func (k *Key) sign(message []byte) ([]byte, error) {
	if _, ok := k.signer.(ed25519.PrivateKey); ok {
		return k.signer.Sign(rand.Reader, message, crypto.Hash(0))
	}
	sum := sha256.Sum256(message)
	return k.signer.Sign(rand.Reader, sum[:], crypto.SHA256)
}

// may refuses what is not the key's purpose. Whoever verifies by key alone takes any
// statement for an approval, so this is what keeps a key's signature worth something.
func (k *Key) may(s *Statement) error {
	belongs := Attestation
	switch s.PredicateType {
	case Approval:
		belongs = Release
	case VerificationSummary:
		belongs = Verdict
	}
	if k.Purpose != belongs {
		return fault.New(fault.Denied, "a %s key does not sign statements of the type %s", k.Purpose, s.PredicateType).
			WithHint("use a key for this purpose: goldkeep key create --purpose %s", belongs)
	}
	if belongs == Verdict && s.result() != "PASSED" {
		return fault.New(fault.Denied, "a verdict key signs only that an image passed, not %.50q", s.result())
	}
	return nil
}

// PublicKey is an ECDSA P-256, Ed25519 or RSA public key (2048 to 8192 bits).
type PublicKey struct{ key crypto.PublicKey }

// ParsePublicKey reads a PEM block "PUBLIC KEY" (RFC 5280 SubjectPublicKeyInfo).
func ParsePublicKey(text []byte) (PublicKey, error) {
	block, rest := pem.Decode(text)
	if block != nil && strings.HasSuffix(block.Type, "PRIVATE KEY") {
		return PublicKey{}, fault.New(fault.Invalid, "read public key: it is a private key").WithHint("name the public one: goldkeep key create wrote it beside, with .pub at its end")
	}
	if block == nil || block.Type != "PUBLIC KEY" || len(text) > 16<<10 {
		return PublicKey{}, fault.New(fault.Invalid, "read public key: it is no PEM block PUBLIC KEY")
	}
	if again, _ := pem.Decode(rest); again != nil {
		return PublicKey{}, fault.New(fault.Invalid, "read public key: there are several; one signer has one key")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return PublicKey{}, fault.New(fault.Invalid, "read public key: %w", err)
	}
	if err := usable(key); err != nil {
		return PublicKey{}, err
	}
	return PublicKey{key}, nil
}

// Sizes of RSA keys in bits: below, they can be broken; above, verifying takes long.
const (
	leastRSA = 2048
	mostRSA  = 8192
)

// usable refuses keys whose signatures are not verified here.
func usable(public crypto.PublicKey) error {
	switch key := public.(type) {
	case ed25519.PublicKey:
		return nil
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P256() {
			return nil
		}
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits >= leastRSA && bits <= mostRSA {
			return nil
		}
		return fault.New(fault.Unsupported, "the RSA key has %d bits; %d to %d are read", key.N.BitLen(), leastRSA, mostRSA).WithHint("make another with: goldkeep key create")
	}
	return fault.New(fault.Unsupported, "the key is neither ECDSA P-256, nor Ed25519, nor RSA").WithHint("make one with: goldkeep key create")
}

// PEM is the key as a PEM block "PUBLIC KEY".
func (p PublicKey) PEM() string {
	der, err := x509.MarshalPKIXPublicKey(p.key)
	if err != nil {
		return "" // cannot be: only usable keys are kept
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// Hint names the key in a bundle: base64 of SHA-256 of its DER, as Sigstore's own
// clients write it. It is never used to choose a key.
func (p PublicKey) Hint() string {
	der, err := x509.MarshalPKIXPublicKey(p.key)
	if err != nil {
		return "" // cannot be: only usable keys are kept
	}
	sum := sha256.Sum256(der)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// verifies reports whether sig is the key's over message. The key alone says by what
// algorithm.
func (p PublicKey) verifies(message, sig []byte) bool {
	switch key := p.key.(type) {
	case ed25519.PublicKey:
		return ed25519.Verify(key, message, sig)
	case *ecdsa.PublicKey:
		sum := sha256.Sum256(message)
		return ecdsa.VerifyASN1(key, sum[:], sig)
	case *rsa.PublicKey: // PKCS #1 v1.5, as cosign and the signers in clouds do it
		sum := sha256.Sum256(message)
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], sig) == nil
	}
	return false
}
