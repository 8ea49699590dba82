// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package ca keeps keys and certificates. It holds two authorities that know
// nothing of each other:
//
//   - the listener's (ListenerFiles): plain files, because the server must speak
//     TLS while it is still sealed;
//   - the workloads' (Open): its key lives behind the barrier, and it signs only
//     SPIFFE X.509-SVIDs that live for minutes.
//
// Of a certificate request only the public key is ever used; the names come from
// the caller, who knows them from a verdict and an attestation.
package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"time"

	"github.com/goldkeep/goldkeep/internal/fault"
)

const (
	authorityTTL = 10 * 365 * 24 * time.Hour
	// backdate keeps a certificate valid on machines whose clock is a bit behind.
	backdate = time.Minute
)

// Authority is a certificate and the key that signs with it. It may be used by
// many goroutines at once.
type Authority struct {
	cert        *x509.Certificate
	key         crypto.Signer
	trustDomain string // "": not a workload authority
}

// NewAuthority creates an ECDSA P-256 authority valid for ten years from now. A
// trust domain ("example.org") makes it one for workloads; without one it signs
// servers only.
func NewAuthority(name, trustDomain string, now time.Time) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fault.New(fault.Internal, "make authority key: %w", err)
	}
	return selfSign(key, name, trustDomain, now)
}

func selfSign(key *ecdsa.PrivateKey, name, trustDomain string, now time.Time) (*Authority, error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name, Organization: []string{"Goldkeep"}},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(authorityTTL),
		IsCA:                  true,
		MaxPathLenZero:        true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	if trustDomain != "" {
		id, err := spiffeID(trustDomain)
		if err != nil {
			return nil, err
		}
		// X509-SVID 3.1: a signing certificate's SPIFFE ID has no path.
		template.URIs = []*url.URL{id}
	}
	cert, err := sign(template, nil, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &Authority{cert: cert, key: key, trustDomain: trustDomain}, nil
}

// sign issues template for pub. parent nil means self-signed.
func sign(template, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fault.New(fault.Internal, "make serial number: %w", err)
	}
	template.SerialNumber = serial.Add(serial, big.NewInt(1))
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, fault.New(fault.Invalid, "read public key: %w", err)
	}
	id := sha256.Sum256(der)
	template.SubjectKeyId = id[:20] // RFC 7093, method 1
	if parent == nil {
		parent = template
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, pub, key)
	if err != nil {
		return nil, fault.New(fault.Internal, "sign certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		return nil, fault.New(fault.Internal, "read back certificate: %w", err)
	}
	return cert, nil
}

// TrustDomain returns the SPIFFE trust domain, or "" where there is none.
func (a *Authority) TrustDomain() string { return a.trustDomain }

// Bundle returns the authority's certificate in PEM: what others trust.
func (a *Authority) Bundle() []byte { return certPEM(a.cert) }

// Pool returns a pool that holds just this authority.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

func certPEM(certs ...*x509.Certificate) []byte {
	var out []byte
	for _, c := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}

func keyPEM(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fault.New(fault.Internal, "encode private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func parseCert(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fault.New(fault.Invalid, "no PEM certificate found")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fault.New(fault.Invalid, "read certificate: %w", err)
	}
	return cert, nil
}

func parseKey(text []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fault.New(fault.Invalid, "no PEM private key found")
	}
	// The parser's own error is left out: it must never show a piece of a key.
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fault.New(fault.Invalid, "the private key is damaged")
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fault.New(fault.Invalid, "the private key is not an ECDSA key")
	}
	return ec, nil
}

// load builds an authority from its two PEM texts and checks that they belong
// together.
func load(certText, keyText []byte, trustDomain string) (*Authority, error) {
	cert, err := parseCert(certText)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(keyText)
	if err != nil {
		return nil, err
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, fault.New(fault.Invalid, "the authority's key and certificate do not belong together")
	}
	if !cert.IsCA {
		return nil, fault.New(fault.Invalid, "the authority's certificate is not that of an authority")
	}
	return &Authority{cert: cert, key: key, trustDomain: trustDomain}, nil
}
