// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// minRSA is the shortest RSA key whose signatures are believed, in bits.
const minRSA = 2048

// PublicKey reads a public key, also that of a certificate, from PEM.
func PublicKey(text string) (any, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, fault.New(fault.Invalid, "error parsing public key: data does not contain any valid public keys")
	}
	var key any
	var err error
	switch {
	case strings.Contains(block.Type, "PRIVATE"):
		return nil, fault.New(fault.Invalid, "error parsing public key: this is a private key").WithHint("give the public half, and think of this one as known to others")
	case block.Type == "CERTIFICATE":
		var cert *x509.Certificate
		if cert, err = x509.ParseCertificate(block.Bytes); err == nil {
			key = cert.PublicKey
		}
	case block.Type == "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	default:
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	}
	if err != nil || !Strong(key) {
		return nil, fault.New(fault.Invalid, "error parsing public key: want RSA of at least %d bits, ECDSA or Ed25519", minRSA)
	}
	return key, nil
}

// Strong reports whether a key is a public one that signatures can be believed of.
func Strong(key any) bool {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return key.N != nil && key.N.BitLen() >= minRSA
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return true
	}
	return false
}
