// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package cert

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

func errNoMatch() error {
	return fault.New(fault.Invalid, "invalid certificate or no client certificate supplied")
}

// match finds the entry that trusts the certificate of a request's connection: the
// one with a name, or the first of all.
func (e *Engine) match(ctx context.Context, req *engine.Request, name string) (*entry, error) {
	if len(req.Peer) == 0 {
		return nil, fault.New(fault.Invalid, "client certificate must be supplied").WithHint("the connection must be TLS to this server, with a client certificate")
	}
	if len(req.Peer) > maxCerts {
		return nil, fault.New(fault.TooLarge, "the connection shows over %d certificates", maxCerts)
	}
	entries, err := e.entries(ctx, name)
	if err != nil {
		return nil, err
	}
	revoked, err := e.revocations(ctx, req.Now)
	if err != nil {
		return nil, err
	}
	for _, c := range entries {
		if !c.fits(req.Peer[0]) {
			continue
		}
		for _, chain := range c.chains(req.Peer, req.Now) {
			if revoked.any(chain) {
				continue
			}
			if ok, err := e.notRevoked(ctx, c, chain, req.Now); err != nil {
				return nil, err
			} else if ok {
				return c, nil
			}
		}
	}
	return nil, errNoMatch()
}

// entries are all entries, in the order of their names, or the one with a name.
func (e *Engine) entries(ctx context.Context, name string) (all []*entry, err error) {
	err = e.Space.View(ctx, func(r barrier.Reader) error {
		all = nil
		names := []string{strings.ToLower(name)}
		if name == "" {
			var err error
			if names, err = r.List(ctx, "cert"); err != nil {
				return err
			}
		}
		for _, n := range names {
			c, err := barrier.Decoded(ctx, r, entryPath(n), decodeEntry)
			if err != nil {
				return err
			}
			if c != nil {
				all = append(all, c)
			}
		}
		return nil
	})
	return all, err
}

// chains are the ways from a connection's certificate to one that the entry
// trusts: itself, or an authority.
func (c *entry) chains(peer []*x509.Certificate, now time.Time) [][]*x509.Certificate {
	leaf := peer[0]
	var chains [][]*x509.Certificate
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	for _, trusted := range c.certs {
		if trusted.IsCA {
			roots.AddCert(trusted)
		} else if bytes.Equal(trusted.Raw, leaf.Raw) && !now.Before(leaf.NotBefore) && !now.After(leaf.NotAfter) {
			chains = append(chains, []*x509.Certificate{leaf})
		}
	}
	for _, other := range peer[1:] {
		between.AddCert(other)
	}
	found, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return chains
	}
	return append(chains, found...)
}

// fits checks what an entry wants of a certificate besides trust. Of each kind
// that is limited, one name must match one pattern.
func (c *entry) fits(leaf *x509.Certificate) bool {
	var uris []string
	for _, u := range leaf.URIs {
		uris = append(uris, u.String())
	}
	for _, kind := range []struct{ patterns, names []string }{
		{c.Names, slices.Concat([]string{leaf.Subject.CommonName}, leaf.DNSNames, leaf.EmailAddresses)},
		{c.CommonNames, []string{leaf.Subject.CommonName}},
		{c.DNS, leaf.DNSNames},
		{c.Emails, leaf.EmailAddresses},
		{c.URIs, uris},
		{c.Units, leaf.Subject.OrganizationalUnit},
	} {
		if len(kind.patterns) > 0 && !anyFits(kind.patterns, kind.names) {
			return false
		}
	}
	for _, wanted := range c.Extensions {
		oid, pattern, _ := strings.Cut(wanted, ":")
		value, there := extension(leaf, oid)
		if !there || !engine.Glob(pattern, value) {
			return false
		}
	}
	return true
}

func anyFits(patterns, names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		return name != "" && slices.ContainsFunc(patterns, func(p string) bool { return engine.Glob(p, name) })
	})
}

// extension is the value of an extension that holds an ASN.1 string.
func extension(leaf *x509.Certificate, oid string) (string, bool) {
	for _, ext := range leaf.Extensions {
		var text string
		if ext.Id.String() != oid {
			continue
		}
		if rest, err := asn1.Unmarshal(ext.Value, &text); err == nil && len(rest) == 0 {
			return text, true
		}
	}
	return "", false
}

// metadata is what the token tells of its certificate.
func (c *entry) metadata(leaf *x509.Certificate) map[string]string {
	meta := map[string]string{
		"cert_name": c.Name, "common_name": leaf.Subject.CommonName, "serial_number": leaf.SerialNumber.String(),
		"subject_key_id": colons(leaf.SubjectKeyId), "authority_key_id": colons(leaf.AuthorityKeyId),
	}
	for _, oid := range c.Shown {
		for _, ext := range leaf.Extensions {
			if ext.Id.String() != oid {
				continue
			}
			value, isText := extension(leaf, oid)
			if !isText {
				value = hex.EncodeToString(ext.Value)
			}
			meta[strings.ReplaceAll(oid, ".", "-")] = value
		}
	}
	return meta
}
