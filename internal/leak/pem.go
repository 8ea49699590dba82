// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package leak

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
)

// privateKeys names the private keys in PEM form that a text holds. The body must
// decode, so that manuals which show only the first line are no match.
func privateKeys(data []byte) []string {
	const begin = "-----BEGIN "
	if bytes.Contains(data, []byte(`\n`)) { // JSON and YAML write the line ends as text
		data = bytes.ReplaceAll(data, []byte(`\n`), []byte("\n"))
	}
	found := pgpKey(data)
	for range maxTries {
		i := bytes.Index(data, []byte(begin))
		if i < 0 {
			return found
		}
		block, rest := pem.Decode(data[i:])
		if block == nil {
			return found
		}
		if detail := keyDetail(block); detail != "" {
			found = append(found, detail)
		}
		data = rest
	}
	return found
}

func pgpKey(data []byte) []string {
	i := bytes.Index(data, []byte("-----BEGIN PGP PRIVATE KEY BLOCK-----"))
	if i >= 0 && bytes.Contains(data[i:], []byte("-----END PGP PRIVATE KEY BLOCK-----")) {
		return []string{"PGP private key"}
	}
	return nil
}

func keyDetail(block *pem.Block) string {
	const smallest = 32 // bytes; no real key is smaller
	if !strings.HasSuffix(block.Type, "PRIVATE KEY") || len(block.Bytes) < smallest {
		return ""
	}
	switch block.Type {
	case "RSA PRIVATE KEY", "EC PRIVATE KEY", "DSA PRIVATE KEY":
		algorithm, _, _ := strings.Cut(block.Type, " ")
		if block.Bytes[0] != 0x30 && block.Headers["DEK-Info"] == "" { // no ASN.1 sequence
			return ""
		}
		return algorithm + " private key"
	case "OPENSSH PRIVATE KEY":
		if bytes.HasPrefix(block.Bytes, []byte("openssh-key-v1\x00")) {
			return "OpenSSH private key"
		}
		return ""
	case "ENCRYPTED PRIVATE KEY":
		return "encrypted private key"
	case "PRIVATE KEY":
		return pkcs8Detail(block.Bytes)
	}
	return "private key"
}

func pkcs8Detail(der []byte) string {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		if der[0] == 0x30 {
			return "private key"
		}
		return ""
	}
	switch key.(type) {
	case *rsa.PrivateKey:
		return "RSA private key"
	case *ecdsa.PrivateKey:
		return "EC private key"
	case ed25519.PrivateKey:
		return "Ed25519 private key"
	}
	return "private key"
}
