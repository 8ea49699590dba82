// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package cert

import (
	"context"
	"crypto"
	_ "crypto/sha256" // the hash of questions
	"crypto/x509"
	"net/http"
	"slices"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/fetch"
)

// ocspSettings say whether a certificate's own authority is asked at a login
// whether it still stands (RFC 6960).
type ocspSettings struct {
	Enabled  bool     `json:"enabled,omitempty"`
	CA       string   `json:"ca,omitempty"`      // PEM: to reach the responders; "": the system's
	Servers  []string `json:"servers,omitempty"` // none: those the certificate names
	FailOpen bool     `json:"failOpen,omitempty"`
	All      bool     `json:"all,omitempty"` // all responders must say good
}

// maxResponders bounds how many responders are asked for one login.
const maxResponders = 4

// ocspSkew is how far a responder's clock may be off.
const ocspSkew = 5 * time.Minute

// ocspLife is how long an answer holds that does not say it itself.
const ocspLife = 24 * time.Hour

func (s *ocspSettings) check() error {
	for _, text := range s.Servers {
		if err := fetch.CheckURL(text); err != nil {
			return err
		}
	}
	_, err := fetch.NewClient(s.CA)
	return err
}

// notRevoked asks the responders about a certificate, where the entry wants that.
func (e *Engine) notRevoked(ctx context.Context, c *entry, chain []*x509.Certificate, now time.Time) (bool, error) {
	if !c.OCSP.Enabled {
		return true, nil
	}
	leaf, issuer := chain[0], c.issuerOf(chain)
	if issuer == nil {
		return false, fault.New(fault.Invalid, "the certificate's authority is not known, so its answers (OCSP) cannot be believed").
			WithHint("add the authority's certificate to the entry")
	}
	servers := c.OCSP.Servers
	if len(servers) == 0 {
		servers = leaf.OCSPServer
	}
	client, err := fetch.NewClient(c.OCSP.CA)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, fetch.Time)
	defer cancel()
	good, silent := 0, 0
	for _, server := range servers[:min(len(servers), maxResponders)] {
		switch (responder{client, server}).status(ctx, leaf, issuer, now) {
		case ocsp.Good:
			good++
			if !c.OCSP.All {
				return true, nil
			}
		case ocsp.Revoked:
			return false, nil
		default:
			silent++
		}
	}
	if good > 0 && silent == 0 || c.OCSP.FailOpen {
		return true, nil
	}
	return false, fault.New(fault.Invalid, "the certificate's authority did not say that it still stands (OCSP)")
}

// issuerOf is the authority that made the first certificate of a chain; nil where
// it is not known. What is trusted by itself never speaks for itself.
func (c *entry) issuerOf(chain []*x509.Certificate) *x509.Certificate {
	if len(chain) > 1 {
		return chain[1]
	}
	for _, trusted := range c.certs {
		if trusted.IsCA && chain[0].CheckSignatureFrom(trusted) == nil {
			return trusted
		}
	}
	return nil
}

// responder is one place to ask.
type responder struct {
	client *http.Client
	url    string
}

// status is what a responder says of a certificate: ocsp.Good, ocsp.Revoked, or
// ocsp.Unknown where it says neither, or nothing that can be believed.
func (r responder) status(ctx context.Context, leaf, issuer *x509.Certificate, now time.Time) int {
	question, err := ocsp.CreateRequest(leaf, issuer, &ocsp.RequestOptions{Hash: crypto.SHA256})
	if err != nil || fetch.CheckURL(r.url) != nil {
		return ocsp.Unknown
	}
	body, err := ask(ctx, r.client, http.MethodPost, r.url, question)
	if err != nil {
		return ocsp.Unknown
	}
	answer, err := ocsp.ParseResponseForCert(body, leaf, issuer)
	if err != nil || !mayAnswer(answer.Certificate, issuer, now) || !current(answer, now) {
		return ocsp.Unknown
	}
	return answer.Status
}

// mayAnswer reports whether the signer of an answer speaks for the issuer: it is
// the issuer, or was made by it for just that (RFC 6960, section 4.2.2.2). That it
// was made by it has been checked.
func mayAnswer(signer, issuer *x509.Certificate, now time.Time) bool {
	if signer == nil || signer.Equal(issuer) {
		return true
	}
	return slices.Contains(signer.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning) && !now.Before(signer.NotBefore) && !now.After(signer.NotAfter)
}

// current reports whether an answer holds now.
func current(answer *ocsp.Response, now time.Time) bool {
	switch {
	case now.Add(ocspSkew).Before(answer.ThisUpdate):
		return false
	case answer.NextUpdate.IsZero():
		return !now.After(answer.ThisUpdate.Add(ocspLife))
	}
	return !now.After(answer.NextUpdate.Add(ocspSkew))
}
