// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package cert

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

const entryFields = "certificate display_name allowed_names:list allowed_common_names:list allowed_dns_sans:list allowed_email_sans:list" +
	" allowed_uri_sans:list allowed_organizational_units:list required_extensions:list allowed_metadata_extensions:list" +
	" ocsp_enabled:bool ocsp_ca_certificates ocsp_servers_override:list ocsp_fail_open:bool ocsp_query_all_servers:bool lease:int" + engine.TokenFields

// entry is a certificate that is trusted, or an authority whose certificates are;
// and what they must be like besides.
type entry struct {
	Name        string           `json:"name"`
	PEM         string           `json:"pem"`
	Display     string           `json:"display"`
	Names       []string         `json:"names,omitempty"` // patterns, as all below
	CommonNames []string         `json:"commonNames,omitempty"`
	DNS         []string         `json:"dns,omitempty"`
	Emails      []string         `json:"emails,omitempty"`
	URIs        []string         `json:"uris,omitempty"`
	Units       []string         `json:"units,omitempty"`
	Extensions  []string         `json:"extensions,omitempty"` // "OID:pattern"; all are needed
	Shown       []string         `json:"shown,omitempty"`      // OIDs that become metadata
	OCSP        ocspSettings     `json:"ocsp"`
	Token       engine.TokenRole `json:"token"`

	certs []*x509.Certificate // of PEM
}

// maxCerts bounds the certificates of one entry, and those a connection shows.
const maxCerts = 32

func entryPath(name string) string { return "cert/" + strings.ToLower(name) }

func (e *Engine) listEntries(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	return e.Names(ctx, "cert")
}

func (e *Engine) removeEntry(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	return nil, e.Remove(ctx, entryPath(v["name"]))
}

func (e *Engine) showEntry(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	c, err := engine.Look[entry](ctx, e.Space, entryPath(v["name"]))
	if err != nil || c == nil {
		return nil, err
	}
	data := map[string]any{
		"certificate": c.PEM, "display_name": c.Display, "allowed_names": c.Names, "allowed_common_names": c.CommonNames, "allowed_dns_sans": c.DNS,
		"allowed_email_sans": c.Emails, "allowed_uri_sans": c.URIs, "allowed_organizational_units": c.Units, "required_extensions": c.Extensions,
		"allowed_metadata_extensions": c.Shown, "ocsp_enabled": c.OCSP.Enabled, "ocsp_ca_certificates": c.OCSP.CA,
		"ocsp_servers_override": c.OCSP.Servers, "ocsp_fail_open": c.OCSP.FailOpen, "ocsp_query_all_servers": c.OCSP.All,
	}
	c.Token.Show(data)
	return &engine.Response{Data: data}, nil
}

func (e *Engine) putEntry(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	return nil, e.Space.Update(ctx, func(w barrier.Writer) error {
		c, err := engine.Found[entry](ctx, w, entryPath(v["name"]))
		if err != nil {
			return err
		}
		if c == nil {
			c = &entry{Name: strings.ToLower(v["name"])}
		}
		if err := c.update(f); err != nil {
			return err
		}
		return w.Put(ctx, barrier.Entry{Path: entryPath(c.Name), Value: engine.Stored(c)})
	})
}

// update takes over the fields a request brings.
func (c *entry) update(f *engine.Fields) error {
	for name, to := range map[string]*string{"certificate": &c.PEM, "display_name": &c.Display, "ocsp_ca_certificates": &c.OCSP.CA} {
		if f.Has(name) {
			*to = f.Text(name)
		}
	}
	for name, to := range map[string]*[]string{
		"allowed_names": &c.Names, "allowed_common_names": &c.CommonNames, "allowed_dns_sans": &c.DNS, "allowed_email_sans": &c.Emails,
		"allowed_uri_sans": &c.URIs, "allowed_organizational_units": &c.Units, "required_extensions": &c.Extensions,
		"allowed_metadata_extensions": &c.Shown, "ocsp_servers_override": &c.OCSP.Servers,
	} {
		if f.Has(name) {
			*to = f.List(name)
		}
	}
	for name, to := range map[string]*bool{
		"ocsp_enabled": &c.OCSP.Enabled, "ocsp_fail_open": &c.OCSP.FailOpen, "ocsp_query_all_servers": &c.OCSP.All,
	} {
		*to = f.Bool(name, *to)
	}
	if err := c.Token.Update(f); err != nil {
		return err
	}
	if c.Display == "" {
		c.Display = c.Name
	}
	return c.check()
}

func (c *entry) check() (err error) {
	if c.certs, err = parseCerts(c.PEM); err != nil {
		return err
	}
	first := c.certs[0]
	if !first.IsCA && len(first.ExtKeyUsage) > 0 && !usable(first) {
		return fault.New(fault.Invalid, "non-CA certificates should have TLS client authentication set as an extended key usage")
	}
	for _, text := range c.Extensions {
		oid, _, found := strings.Cut(text, ":")
		if !found || parseOID(oid) == nil {
			return fault.New(fault.Invalid, "required_extensions: %s is not like 1.2.3.4:value", strconv.Quote(text))
		}
	}
	for _, text := range c.Shown {
		if parseOID(text) == nil {
			return fault.New(fault.Invalid, "allowed_metadata_extensions: %s is no object identifier", strconv.Quote(text))
		}
	}
	return c.OCSP.check()
}

// usable reports whether a certificate may stand for a client.
func usable(c *x509.Certificate) bool {
	return slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny)
}

// parseCerts reads one certificate or several from PEM.
func parseCerts(text string) (certs []*x509.Certificate, err error) {
	rest := []byte(strings.TrimSpace(text))
	for len(rest) > 0 {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil || block.Type != "CERTIFICATE" || len(certs) == maxCerts {
			return nil, fault.New(fault.Invalid, "failed to parse certificate: want at most %d in PEM, and nothing else", maxCerts)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fault.New(fault.Invalid, "failed to parse certificate: it is no X.509")
		}
		certs = append(certs, c)
		rest = bytes.TrimSpace(rest)
	}
	if len(certs) == 0 {
		return nil, fault.New(fault.Invalid, "failed to parse certificate: there is none")
	}
	return certs, nil
}

func parseOID(text string) asn1.ObjectIdentifier {
	var oid asn1.ObjectIdentifier
	for part := range strings.SplitSeq(text, ".") {
		n, err := strconv.Atoi(part)
		if err != nil || n < 0 {
			return nil
		}
		oid = append(oid, n)
	}
	if len(oid) < 2 {
		return nil
	}
	return oid
}

// decodeEntry reads what was kept, with its certificates.
func decodeEntry(value []byte) (*entry, error) {
	c := &entry{}
	if err := json.Unmarshal(value, c); err != nil {
		return nil, fmt.Errorf("decode entry: %w", err)
	}
	var err error
	c.certs, err = parseCerts(c.PEM)
	return c, err
}
