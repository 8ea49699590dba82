// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package provenance

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"

	"github.com/sigstore/sigstore/pkg/cryptoutils"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// A key file is a PEM block: PKCS #8 in clear, or encrypted with a password as cosign
// does it (scrypt, secretbox), so that cosign can use the file too. What the key is for
// stands in a line above the block, where PEM readers do not look (RFC 7468, section 2).

const (
	plainBlock     = "PRIVATE KEY"
	encryptedBlock = "ENCRYPTED SIGSTORE PRIVATE KEY"
	cosignBlock    = "ENCRYPTED COSIGN PRIVATE KEY"
	purposeLine    = "Goldkeep-Purpose: "
	maxKeyFile     = 16 << 10 // bytes
)

// Marshal is the key as a file, encrypted where there is a password.
func (k *Key) Marshal(password []byte) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.signer)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	block := &pem.Block{Type: plainBlock, Bytes: der}
	if len(password) > 0 {
		block.Type = encryptedBlock
		block.Bytes, err = cryptoutils.MarshalPrivateKeyToEncryptedDER(k.signer, cryptoutils.StaticPasswordFunc(password))
		if err != nil {
			return nil, fmt.Errorf("encrypt key: %w", err)
		}
	}
	head := purposeLine + string(k.Purpose)
	if k.Environment != "" {
		head += " " + k.Environment
	}
	return append([]byte(head+"\n"), pem.EncodeToMemory(block)...), nil
}

// ParseKey reads a key file. password is asked only where the key is encrypted. A key
// that does not say what it is for (one made by cosign) is a release key.
func ParseKey(text []byte, password func() ([]byte, error)) (*Key, error) {
	block, _ := pem.Decode(text)
	if block == nil || len(text) > maxKeyFile {
		return nil, fault.New(fault.Invalid, "read key: it is no PEM file of a private key").WithHint("make one with: goldkeep key create")
	}
	k := &Key{Purpose: Release}
	if said, ok := purposeOf(text); ok {
		purpose, environment, _ := strings.Cut(said, " ")
		k.Purpose, k.Environment = Purpose(purpose), environment
		if err := k.check(); err != nil {
			return nil, fmt.Errorf("read key: %w", err)
		}
	}
	private, err := privateKey(block, text, password)
	if err != nil {
		return nil, err
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return nil, fault.New(fault.Unsupported, "read key: it is no key for signing")
	}
	if err := usable(signer.Public()); err != nil {
		return nil, err
	}
	k.signer = signer
	return k, nil
}

// purposeOf finds the line above the block.
func purposeOf(text []byte) (string, bool) {
	head, _, _ := bytes.Cut(text, []byte("-----BEGIN"))
	for line := range strings.Lines(string(head)) {
		if said, ok := strings.CutPrefix(strings.TrimSpace(line), purposeLine); ok {
			return said, true
		}
	}
	return "", false
}

func privateKey(block *pem.Block, text []byte, password func() ([]byte, error)) (any, error) {
	switch block.Type {
	case plainBlock:
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, fault.New(fault.Invalid, "read key: %w", err)
		}
		return key, nil
	case encryptedBlock, cosignBlock:
		secret, err := password()
		if err != nil {
			return nil, err
		}
		key, err := cryptoutils.UnmarshalPEMToPrivateKey(text, cryptoutils.StaticPasswordFunc(secret))
		if err != nil {
			return nil, fault.New(fault.Invalid, "decrypt key: the password is wrong, or the file damaged")
		}
		return key, nil
	}
	return nil, fault.New(fault.Unsupported, "read key: a PEM block %.50q is not read", block.Type).
		WithHint("convert it with: openssl pkcs8 -topk8 -nocrypt")
}
