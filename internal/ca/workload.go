// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package ca

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"net/url"
	"regexp"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// MaxTTL is the longest life of a workload's certificate. It is short because
// nobody asks again once a certificate is out (SPIFFE has no leaf revocation).
const MaxTTL = time.Hour

// maxRequest bounds a certificate request in bytes.
const maxRequest = 16 << 10

// SVID is a SPIFFE X.509-SVID: a workload's certificate.
type SVID struct {
	ID      string    // spiffe://<trust domain>/workload/<environment>/<name>
	Serial  string    // lower-case hex
	Chain   []byte    // PEM, leaf first
	Expires time.Time // NotAfter
}

// Name says whose certificate it is.
type Name struct {
	Environment string
	Workload    string
}

// SignWorkload issues an X.509-SVID for the key of a PEM certificate request. Of
// the request only the public key is used, after checking that the asker owns
// its private half. A bad request or name is fault.Invalid.
func (a *Authority) SignWorkload(request []byte, name Name, ttl time.Duration, now time.Time) (*SVID, error) {
	if a.trustDomain == "" {
		return nil, fault.New(fault.Internal, "sign workload: this authority has no trust domain")
	}
	if ttl <= 0 || ttl > MaxTTL {
		return nil, fault.New(fault.Invalid, "sign workload: the lifetime must be above 0 and at most %s", MaxTTL)
	}
	pub, err := requestKey(request)
	if err != nil {
		return nil, err
	}
	id, err := spiffeID(a.trustDomain, "workload", name.Environment, name.Workload)
	if err != nil {
		return nil, err
	}
	// X509-SVID 4.3: digitalSignature, no keyCertSign or cRLSign; 4.4: both
	// extended usages. One URI SAN and no other name.
	cert, err := sign(&x509.Certificate{
		Subject:               pkix.Name{Organization: []string{"Goldkeep"}},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(ttl),
		URIs:                  []*url.URL{id},
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}, a.cert, pub, a.key)
	if err != nil {
		return nil, err
	}
	return &SVID{ID: id.String(), Serial: cert.SerialNumber.Text(16), Chain: certPEM(cert), Expires: cert.NotAfter}, nil
}

// requestKey returns the public key of a PEM certificate request.
func requestKey(request []byte) (crypto.PublicKey, error) {
	if len(request) > maxRequest {
		return nil, fault.New(fault.TooLarge, "the certificate request has over %d bytes", maxRequest)
	}
	block, _ := pem.Decode(request)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return nil, fault.New(fault.Invalid, "no PEM certificate request found")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, fault.New(fault.Invalid, "read certificate request: %w", err)
	}
	// The key is judged before the signature: checking one under an absurdly
	// large key is what an attacker would like us to do.
	if err := checkKey(csr.PublicKey); err != nil {
		return nil, err
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fault.New(fault.Invalid, "the certificate request is not signed by its own key: %w", err)
	}
	return csr.PublicKey, nil
}

func checkKey(pub crypto.PublicKey) error {
	switch key := pub.(type) {
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P256() || key.Curve == elliptic.P384() {
			return nil
		}
	case ed25519.PublicKey:
		return nil
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits >= 2048 && bits <= 4096 {
			return nil
		}
	}
	return fault.New(fault.Invalid, "the key of the certificate request is not accepted").
		WithHint("use ECDSA P-256 or P-384, Ed25519, or RSA with 2048 to 4096 bits")
}

var (
	domainText  = regexp.MustCompile(`^[a-z0-9._-]+$`)    // at most 255 bytes: counting in a pattern makes it large
	segmentText = regexp.MustCompile(`^[A-Za-z0-9._-]+$`) // at most 63
)

// spiffeID follows SPIFFE-ID section 2.
func spiffeID(trustDomain string, segments ...string) (*url.URL, error) {
	if len(trustDomain) > 255 || !domainText.MatchString(trustDomain) {
		return nil, fault.New(fault.Invalid, "%q is not a SPIFFE trust domain", trustDomain).
			WithHint("use lower-case letters, digits, dots, dashes and underscores")
	}
	path := ""
	for _, s := range segments {
		if len(s) > 63 || !segmentText.MatchString(s) || s == "." || s == ".." {
			return nil, fault.New(fault.Invalid, "%q cannot be a part of a SPIFFE ID", s)
		}
		path += "/" + s
	}
	return &url.URL{Scheme: "spiffe", Host: trustDomain, Path: path}, nil
}

// authorityPath is where the workload authority lies in its space.
const authorityPath = "authority"

// kept is the workload authority as it lies behind the barrier.
type kept struct {
	TrustDomain string `json:"trustDomain"`
	Certificate string `json:"certificate"`
	Key         string `json:"key"`
}

// Open loads the workload authority from space, and creates it where there is
// none. However many nodes come here at once, one authority is made. It answers
// fault.Sealed while the barrier is sealed, and fault.Conflict where the
// authority was made for another trust domain.
func Open(ctx context.Context, space barrier.Space, trustDomain string) (*Authority, error) {
	fresh, err := newKept(trustDomain, space.Now())
	if err != nil {
		return nil, err
	}
	var found []byte
	err = space.Update(ctx, func(w barrier.Writer) error {
		found = nil
		entry, err := w.Get(ctx, authorityPath)
		if err != nil {
			return err
		}
		if entry != nil {
			found = entry.Value
			return nil
		}
		found = fresh
		return w.Put(ctx, barrier.Entry{Path: authorityPath, Value: fresh})
	})
	if err != nil {
		return nil, err
	}
	var k kept
	if err := json.Unmarshal(found, &k); err != nil {
		return nil, fault.New(fault.Internal, "read the workload authority: its entry is damaged")
	}
	if k.TrustDomain != trustDomain {
		return nil, fault.New(fault.Conflict, "the workload authority belongs to trust domain %q, not %q", k.TrustDomain, trustDomain).
			WithHint("configure the trust domain this installation was made with")
	}
	return load([]byte(k.Certificate), []byte(k.Key), trustDomain)
}

func newKept(trustDomain string, now time.Time) ([]byte, error) {
	a, err := NewAuthority("Goldkeep workloads "+trustDomain, trustDomain, now)
	if err != nil {
		return nil, err
	}
	key, err := keyPEM(a.key)
	if err != nil {
		return nil, err
	}
	return json.Marshal(kept{TrustDomain: trustDomain, Certificate: string(a.Bundle()), Key: string(key)})
}
