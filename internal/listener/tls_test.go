// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package listener_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/internal/listener"
)

// issuer signs certificates of clients.
type issuer struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newIssuer(t *testing.T, name string) *issuer {
	t.Helper()
	i := &issuer{t: t}
	var err error
	if i.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &i.key.PublicKey, i.key)
	if err != nil {
		t.Fatal(err)
	}
	i.cert, _ = x509.ParseCertificate(der)
	return i
}

func (i *issuer) write(path string) {
	i.t.Helper()
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.cert.Raw})
	if err := os.WriteFile(path, text, 0o600); err != nil {
		i.t.Fatal(err)
	}
}

func (i *issuer) client() []tls.Certificate {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "client"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, i.cert, &i.key.PublicKey, i.key)
	if err != nil {
		i.t.Fatal(err)
	}
	return []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: i.key}}
}

// greets reports whether a client with these certificates is let in.
func greets(t *testing.T, config *tls.Config, certs []tls.Certificate) bool {
	t.Helper()
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	served := make(chan error, 1)
	go func() { served <- tls.Server(there, config).Handshake(); there.Close() }()
	// Whatever it is asked for: a client that lies shows a foreign certificate too.
	show := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if len(certs) == 0 {
			return &tls.Certificate{}, nil
		}
		return &certs[0], nil
	}
	client := tls.Client(here, &tls.Config{InsecureSkipVerify: true, GetClientCertificate: show}) //nolint:gosec // who the server is does not matter here
	go func() { _ = client.Handshake(); buf := make([]byte, 1); _, _ = client.Read(buf) }()
	return <-served == nil
}

// TestClientCertificates: whose certificates of clients are believed, and that the
// authority is read again.
func TestClientCertificates(t *testing.T) {
	ours, foreign := newIssuer(t, "ours"), newIssuer(t, "foreign")
	file := filepath.Join(t.TempDir(), "ca.pem")
	for _, c := range []struct {
		name                   string
		named, required        bool
		none, theirs, stranger bool // let in?
	}{
		{"no authority", false, false, true, true, true},
		{"an authority", true, false, true, true, false},
		{"required", true, true, false, true, false},
	} {
		ours.write(file)
		config := listener.TLS{Hosts: []string{"localhost"}, RequireClientCert: c.required}
		if c.named {
			config.ClientCA = file
		}
		l, err := listener.Load(config, t.TempDir(), time.Now)
		if err != nil {
			t.Fatal(err)
		}
		for who, want := range map[string]bool{"none": c.none, "theirs": c.theirs, "stranger": c.stranger} {
			certs := map[string][]tls.Certificate{"theirs": ours.client(), "stranger": foreign.client()}[who]
			if got := greets(t, l.Config(), certs); got != want {
				t.Errorf("%s: a client with %s certificate is let in: %v", c.name, who, got)
			}
		}
		if !c.named {
			continue
		}
		serving := l.Config()
		if err := os.WriteFile(file, []byte("no certificate"), 0o600); err != nil {
			t.Fatal(err)
		}
		if l.Renew() == nil || !greets(t, serving, ours.client()) {
			t.Errorf("%s: a damaged file changed something", c.name)
		}
		foreign.write(file)
		if err := l.Renew(); err != nil {
			t.Fatal(err)
		}
		if greets(t, serving, ours.client()) || !greets(t, serving, foreign.client()) {
			t.Errorf("%s: the authority was not read again", c.name)
		}
	}
}
