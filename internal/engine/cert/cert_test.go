// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package cert_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ocsp"

	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/engine/cert"
	"github.com/goldkeep/goldkeep/internal/engine/methodtest"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/policy"
)

type m = methodtest.M

// party is a certificate with its key.
type party struct {
	*x509.Certificate
	key *ecdsa.PrivateKey
}

func (p *party) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Raw}))
}

var serial atomic.Int64

// issue makes a certificate by a party; by nil: by itself.
func issue(t *testing.T, by *party, edit func(*x509.Certificate)) *party {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return reissue(t, by, key, edit)
}

func reissue(t *testing.T, by *party, key *ecdsa.PrivateKey, edit func(*x509.Certificate)) *party {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial.Add(1)), Subject: pkix.Name{CommonName: "till"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if edit != nil {
		edit(template)
	}
	parent, signer := template, crypto.Signer(key)
	if by != nil {
		parent, signer = by.Certificate, by.key
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return &party{parsed, key}
}

func authority(name string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.Subject.CommonName, c.IsCA, c.BasicConstraintsValid, c.ExtKeyUsage = name, true, true, nil
		c.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	}
}

// world is a mount with one entry that trusts an authority.
type world struct {
	*methodtest.World
	ca *party
}

func newWorld(t *testing.T, entry m) *world {
	t.Helper()
	w := &world{methodtest.New(t, "cert", cert.New), issue(t, nil, authority("ca"))}
	w.OK("certs/Shop", methodtest.With(m{"certificate": w.ca.pem(), "token_policies": "reader", "token_ttl": "5m"}, entry))
	return w
}

// comes is a login over a connection that has shown some certificates.
func (w *world) comes(shown ...*party) error {
	w.T.Helper()
	w.Peer = nil
	for _, p := range shown {
		w.Peer = append(w.Peer, p.Certificate)
	}
	_, err := w.Write("login", nil)
	return err
}

func TestLogin(t *testing.T) {
	w := newWorld(t, m{"allowed_metadata_extensions": "1.2.3.4"})
	text, err := asn1.Marshal("north")
	w.Must(err)
	till := issue(t, w.ca, func(c *x509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Value: text}}
		c.SubjectKeyId = []byte{0xab, 1}
	})
	w.Must(w.comes(till))
	got := w.OK("login", m{"name": "SHOP"}).Auth
	want := map[string]string{
		"cert_name": "shop", "common_name": "till", "serial_number": till.SerialNumber.String(), "subject_key_id": "ab:01",
		"authority_key_id": got.Meta["authority_key_id"], "1-2-3-4": "north",
	}
	if diff := cmp.Diff(want, got.Meta); diff != "" {
		t.Error(diff)
	}
	if got.TTL != 5*time.Minute || strings.Join(got.Policies, " ") != "default reader" {
		t.Errorf("token: %+v", got)
	}
	if name, _ := w.Who(); name != "till" {
		t.Errorf("alias: %s", name)
	}
	w.Invalid("login", m{"name": "other"}, "invalid certificate")
	w.OK("certs/shop", m{"token_bound_cidrs": "10.0.0.0/8"})
	w.Refused(fault.Denied, "login", nil, "permission denied")
	w.Peer = nil
	w.Invalid("login", nil, "client certificate must be supplied")
}

func TestCertificatesThatAreRefused(t *testing.T) {
	w := newWorld(t, nil)
	other := issue(t, nil, authority("ca")) // by the same name
	between := issue(t, w.ca, authority("between"))
	leaf := issue(t, w.ca, nil)
	for name, shown := range map[string][]*party{
		"self-signed":                   {issue(t, nil, nil)},
		"of another authority":          {issue(t, other, nil), other},
		"expired":                       {issue(t, w.ca, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })},
		"not yet":                       {issue(t, w.ca, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) })},
		"for servers":                   {issue(t, w.ca, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })},
		"its authority is missing":      {issue(t, between, nil)},
		"by one who may not":            {issue(t, leaf, nil), leaf},
		"a stranger before a known one": {issue(t, nil, nil), leaf},
		"nothing":                       nil,
	} {
		if err := w.comes(shown...); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.Must(w.comes(issue(t, between, nil), between))
	// One certificate alone can be trusted, for as long as it lasts.
	mine := issue(t, nil, nil)
	w.OK("certs/mine", m{"certificate": mine.pem()})
	w.Must(w.comes(mine))
	if err := w.comes(issue(t, mine, nil), mine); err == nil {
		t.Error("what is no authority has vouched for another")
	}
	w.Later = 25 * time.Hour
	if err := w.comes(mine); err == nil {
		t.Error("it has expired")
	}
	w.Later = 0
	_, err := w.On(w.Engine, policy.Delete, "certs/mine", nil)
	w.Must(err)
	if err := w.comes(mine); err == nil {
		t.Error("its entry is gone")
	}
}

func TestNames(t *testing.T) {
	text, err := asn1.Marshal("north-1")
	if err != nil {
		t.Fatal(err)
	}
	spiffe := &url.URL{Scheme: "spiffe", Host: "example.org", Path: "/till"}
	w := newWorld(t, nil)
	till := issue(t, w.ca, func(c *x509.Certificate) {
		c.Subject.OrganizationalUnit, c.DNSNames, c.EmailAddresses, c.URIs = []string{"shops"}, []string{"till.example.org"}, []string{"till@example.org"}, []*url.URL{spiffe}
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Value: text}, {Id: asn1.ObjectIdentifier{1, 2, 3, 5}, Value: []byte{1}}}
	})
	for _, c := range []struct {
		field, value string
		in           bool
	}{
		{"allowed_common_names", "ti*", true},
		{"allowed_common_names", "till.example.org", false},
		{"allowed_common_names", "a,till", true},
		{"allowed_dns_sans", "*.example.org", true},
		{"allowed_dns_sans", "till", false},
		{"allowed_email_sans", "*@example.org", true},
		{"allowed_email_sans", "*.example.org", false},
		{"allowed_uri_sans", "spiffe://example.org/*", true},
		{"allowed_uri_sans", "spiffe://other/*", false},
		{"allowed_organizational_units", "shops", true},
		{"allowed_organizational_units", "banks", false},
		{"allowed_names", "till@*", true},
		{"allowed_names", "spiffe*", false},
		{"required_extensions", "1.2.3.4:north-*", true},
		{"required_extensions", "1.2.3.4:south", false},
		{"required_extensions", "1.2.3.5:*", false},
		{"required_extensions", "1.2.3.6:*", false},
		{"required_extensions", "1.2.3.4:*,1.2.3.6:*", false},
	} {
		w.OK("certs/shop", m{
			"allowed_common_names": "", "allowed_dns_sans": "", "allowed_email_sans": "", "allowed_uri_sans": "",
			"allowed_organizational_units": "", "allowed_names": "", "required_extensions": "",
		})
		w.OK("certs/shop", m{c.field: c.value})
		if err := w.comes(till); (err == nil) != c.in {
			t.Errorf("%s=%s: %v", c.field, c.value, err)
		}
	}
}

// TestRevoked: a list speaks of its own authority's certificates, and no other's.
func TestRevoked(t *testing.T) {
	w := newWorld(t, nil)
	other := issue(t, nil, authority("other"))
	w.OK("certs/others", m{"certificate": other.pem()})
	gone := issue(t, w.ca, nil)
	same := issue(t, other, func(c *x509.Certificate) { c.SerialNumber = gone.SerialNumber })
	list := func(by *party, serials ...*big.Int) string {
		var revoked []x509.RevocationListEntry
		for _, s := range serials {
			revoked = append(revoked, x509.RevocationListEntry{SerialNumber: s, RevocationTime: time.Now()})
		}
		raw, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
			Number: big.NewInt(serial.Add(1)), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour), RevokedCertificateEntries: revoked,
		}, by.Certificate, by.key)
		w.Must(err)
		return string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: raw}))
	}
	w.Must(w.comes(gone))
	w.OK("crls/Main", m{"crl": list(w.ca, gone.SerialNumber)})
	if err := w.comes(gone); !fault.Is(err, fault.Invalid) {
		t.Errorf("a revoked one: %v", err)
	}
	w.Must(w.comes(same))
	w.Must(w.comes(issue(t, w.ca, nil)))
	if shown := w.Read("crls/main"); !cmp.Equal(shown["serials"], any(m{gone.SerialNumber.String(): m{}})) {
		t.Errorf("shown: %v", shown)
	}
	between := issue(t, w.ca, authority("between"))
	leaf := issue(t, between, nil)
	w.Must(w.comes(leaf, between))
	w.OK("crls/main", m{"crl": list(w.ca, between.SerialNumber)})
	if err := w.comes(leaf, between); err == nil {
		t.Error("the authority in between is revoked")
	}
	_, err := w.On(w.Engine, policy.Delete, "crls/main", nil)
	w.Must(err)
	w.Must(w.comes(gone))
	w.Invalid("crls/x", m{"crl": "none"}, "failed to parse CRL")
	w.Invalid("crls/x", m{}, "'crl' or 'url'")

	// From a distribution point, and anew when it is out of date.
	text := list(w.ca)
	srv := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(out, text) }))
	t.Cleanup(srv.Close)
	w.OK("crls/far", m{"url": srv.URL})
	w.Must(w.comes(gone))
	text = list(w.ca, gone.SerialNumber)
	w.Must(w.comes(gone))
	w.Later = 2 * time.Hour
	if err := w.comes(gone); err == nil {
		t.Error("the new list was not fetched")
	}
}

// TestFetchedListsAreNotBelievedUnseen: whoever answers at the URL may lie.
func TestFetchedListsAreNotBelievedUnseen(t *testing.T) {
	w := newWorld(t, nil)
	w.ca = issue(t, nil, func(c *x509.Certificate) { authority("ca")(c); c.NotAfter = c.NotAfter.Add(99 * time.Hour) })
	w.OK("certs/shop", m{"certificate": w.ca.pem()})
	gone, now := issue(t, w.ca, nil), time.Now()
	var raw []byte
	list := func(by *party, number int64, count int) {
		revoked := make([]x509.RevocationListEntry, count)
		for i := range revoked {
			revoked[i] = x509.RevocationListEntry{SerialNumber: new(big.Int).Add(gone.SerialNumber, new(big.Int).Lsh(big.NewInt(int64(i)), 80)), RevocationTime: now}
		}
		var err error
		raw, err = x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
			Number: big.NewInt(number), ThisUpdate: now.Add(time.Duration(number) * time.Minute), NextUpdate: now.Add(1000 * time.Hour), RevokedCertificateEntries: revoked,
		}, by.Certificate, by.key)
		w.Must(err)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) { _, _ = out.Write(raw) }))
	t.Cleanup(srv.Close)
	other := issue(t, nil, authority("ca")) // by the same name
	list(other, 9, 0)
	w.Invalid("crls/far", m{"url": srv.URL}, "signed by no authority")
	list(w.ca, 5, 60_000)
	if len(raw) < 1<<20 {
		t.Fatalf("the list has only %d bytes", len(raw))
	}
	w.OK("crls/far", m{"url": srv.URL})
	for i, spoil := range []func(){func() { list(other, 9, 0) }, func() { list(w.ca, 4, 0) }, func() { raw = nil }} {
		spoil()
		w.Later = 25*time.Hour + time.Duration(i)*time.Hour
		fresh := issue(t, w.ca, func(c *x509.Certificate) { c.SerialNumber, c.NotAfter = gone.SerialNumber, now.Add(99*time.Hour) })
		if err := w.comes(fresh); !fault.Is(err, fault.Invalid) {
			t.Errorf("lie %d: %v", i, err)
		}
		if w.Read("crls/far")["error"] == nil {
			t.Errorf("lie %d went unseen", i)
		}
	}
	list(w.ca, 6, 0)
	w.Later = 29 * time.Hour
	w.Must(w.comes(issue(t, w.ca, func(c *x509.Certificate) { c.NotAfter = now.Add(99 * time.Hour) })))
	if shown := w.Read("crls/far"); shown["error"] != nil || !cmp.Equal(shown["serials"], any(m{})) {
		t.Errorf("after the day it is believed: %v", shown["error"])
	}
}

func TestOCSP(t *testing.T) {
	w := newWorld(t, nil)
	answer := ocsp.Good
	by := w.ca
	till := issue(t, w.ca, nil)
	srv := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		if _, err := ocsp.ParseRequest(body); err != nil {
			t.Errorf("the question: %v", err)
		}
		raw, err := ocsp.CreateResponse(by.Certificate, by.Certificate, ocsp.Response{
			Status: answer, SerialNumber: till.SerialNumber, ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour), RevokedAt: time.Now(),
		}, by.key)
		if err != nil {
			t.Error(err)
		}
		_, _ = out.Write(raw)
	}))
	t.Cleanup(srv.Close)
	w.OK("certs/shop", m{"ocsp_enabled": true})
	if err := w.comes(till); !fault.Is(err, fault.Invalid) {
		t.Errorf("nobody to ask: %v", err)
	}
	w.OK("certs/shop", m{"ocsp_servers_override": srv.URL})
	w.Must(w.comes(till))
	answer = ocsp.Revoked
	if err := w.comes(till); err == nil {
		t.Error("revoked")
	}
	answer, by = ocsp.Good, issue(t, nil, authority("ca"))
	if err := w.comes(till); err == nil {
		t.Error("an answer signed by somebody else")
	}
	w.OK("certs/shop", m{"ocsp_fail_open": true})
	w.Must(w.comes(till))
	answer, by = ocsp.Revoked, w.ca
	if err := w.comes(till); err == nil {
		t.Error("revoked, whatever happens when nobody answers")
	}
}

// TestWhoAnswersForAnAuthority: not just anybody it made a certificate for.
func TestWhoAnswersForAnAuthority(t *testing.T) {
	w := newWorld(t, nil)
	till, now := issue(t, w.ca, nil), time.Now()
	signs := func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning} }
	var raw []byte
	srv := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) { _, _ = out.Write(raw) }))
	t.Cleanup(srv.Close)
	w.OK("certs/shop", m{"ocsp_enabled": true, "ocsp_servers_override": srv.URL})
	for _, c := range []struct {
		name       string
		by         *party
		this, next time.Time
		good       bool
	}{
		{"one made for it", issue(t, w.ca, signs), now, now.Add(time.Hour), true},
		{"a till's", issue(t, w.ca, nil), now, now.Add(time.Hour), false},
		{"its own", till, now, now.Add(time.Hour), false},
		{"expired", issue(t, w.ca, func(c *x509.Certificate) { signs(c); c.NotAfter = now.Add(-time.Minute) }), now, now.Add(time.Hour), false},
		{"without an end", w.ca, now.Add(-23 * time.Hour), time.Time{}, true},
		{"old, without an end", w.ca, now.Add(-25 * time.Hour), time.Time{}, false},
		{"of tomorrow", w.ca, now.Add(time.Hour), now.Add(2 * time.Hour), false},
	} {
		answer := ocsp.Response{SerialNumber: till.SerialNumber, ThisUpdate: c.this, NextUpdate: c.next}
		if c.by != w.ca {
			answer.Certificate = c.by.Certificate
		}
		var err error
		raw, err = ocsp.CreateResponse(w.ca.Certificate, c.by.Certificate, answer, c.by.key)
		w.Must(err)
		if err := w.comes(till); (err == nil) != c.good {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	// One that is trusted by itself does not speak for itself.
	w.OK("certs/shop", m{"certificate": till.pem()})
	var err error
	raw, err = ocsp.CreateResponse(till.Certificate, till.Certificate, ocsp.Response{SerialNumber: till.SerialNumber, ThisUpdate: now, NextUpdate: now.Add(time.Hour)}, till.key)
	w.Must(err)
	if err := w.comes(till); !fault.Is(err, fault.Invalid) {
		t.Errorf("its own key: %v", err)
	}
}

// TestRenewal: who renews must still hold the key of the login.
func TestRenewal(t *testing.T) {
	w := newWorld(t, nil)
	engine := w.Engine.(*cert.Engine)
	till := issue(t, w.ca, nil)
	was := &auth.Info{Policies: []string{"default", "reader"}, Private: cert.Private("shop", till.Certificate)}
	renew := func(shown ...*party) error {
		w.Peer = nil
		for _, p := range shown {
			w.Peer = append(w.Peer, p.Certificate)
		}
		terms, err := engine.Renew(t.Context(), w.Request(policy.Update, "renew-self", nil), was)
		if err == nil && terms.TTL != 5*time.Minute {
			t.Errorf("terms: %+v", terms)
		}
		return err
	}
	w.Must(renew(till))
	w.Must(renew(reissue(t, w.ca, till.key, nil))) // a new certificate for the key
	for name, shown := range map[string][]*party{
		"no certificate":                     nil,
		"another of the same authority":      {issue(t, w.ca, nil)},
		"the key, but of another authority":  {reissue(t, issue(t, nil, authority("ca")), till.key, nil)},
		"the key behind another certificate": {issue(t, w.ca, nil), till},
	} {
		if err := renew(shown...); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.OK("config", m{"disable_binding": true})
	w.Must(renew())
	w.OK("certs/shop", m{"token_policies": "reader,writer"})
	if err := renew(till); !fault.Is(err, fault.Invalid) {
		t.Errorf("other policies: %v", err)
	}
	_, err := w.On(w.Engine, policy.Delete, "certs/shop", nil)
	w.Must(err)
	if err := renew(till); !fault.Is(err, fault.Invalid) {
		t.Errorf("without the entry: %v", err)
	}
}

func TestConfigAndEntries(t *testing.T) {
	w := newWorld(t, nil)
	if got := w.Read("config"); !cmp.Equal(got, m{"disable_binding": false, "enable_identity_alias_metadata": false, "ocsp_cache_size": 0.0}) {
		t.Errorf("config: %v", got)
	}
	server := issue(t, nil, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	for _, c := range []struct {
		body m
		word string
	}{
		{m{"certificate": ""}, "certificate"},
		{m{"certificate": "none"}, "certificate"},
		{m{"certificate": w.ca.pem() + "and more"}, "certificate"},
		{m{"certificate": strings.Repeat(w.ca.pem(), 40)}, "at most"},
		{m{"certificate": server.pem()}, "client authentication"},
		{m{"required_extensions": "x:y"}, "required_extensions"},
		{m{"allowed_metadata_extensions": "x"}, "allowed_metadata_extensions"},
		{m{"ocsp_servers_override": "ldap://x"}, "https"},
		{m{"ocsp_ca_certificates": "none"}, "CA PEM"},
	} {
		w.Invalid("certs/shop", c.body, c.word)
	}
	w.Invalid("config", m{"ocsp_cache_size": 1}, "cache size")
	shown := w.Read("certs/SHOP")
	for name, want := range map[string]any{
		"display_name": "shop", "allowed_names": nil, "ocsp_enabled": false, "token_ttl": 300.0, "token_policies": []any{"reader"}, "token_type": "default", "certificate": w.ca.pem(),
	} {
		if got, there := shown[name]; !there || !cmp.Equal(got, want) {
			t.Errorf("%s: %v", name, got)
		}
	}
	if w.Read("certs/none") != nil {
		t.Error("an entry that is not there")
	}
}
