// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"crypto/tls"
	"crypto/x509"
	"sync/atomic"
	"time"

	"github.com/goldkeep/goldkeep/internal/ca"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// TLS are the settings of the listener.
type TLS struct {
	// Cert and Key are PEM files; empty: made by the server's own CA, and renewed.
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
	// Hosts are the names in the certificate the server makes. Default: localhost,
	// the loopback addresses and the host name.
	Hosts []string `yaml:"hosts"`
	// Off serves plain HTTP: everybody on the way can read every secret.
	Off bool `yaml:"off"`
	// MinVersion is tls12 (default) or tls13.
	MinVersion string `yaml:"minVersion"`
	// ClientCA is a PEM file of CAs. Certificates clients show must be of one of
	// them; with RequireClientCert they must show one.
	ClientCA          string `yaml:"clientCA"`
	RequireClientCert bool   `yaml:"requireClientCert"`
}

// Check refuses settings that contradict each other.
func (c TLS) Check() error {
	switch {
	case (c.Cert == "") != (c.Key == ""):
		return fault.New(fault.Invalid, "tls.cert and tls.key go together")
	case c.Off && c.Cert != "":
		return fault.New(fault.Invalid, "tls.off and tls.cert contradict each other")
	case c.MinVersion != "" && c.MinVersion != "tls12" && c.MinVersion != "tls13":
		return fault.New(fault.Invalid, "tls.minVersion must be tls12 or tls13")
	case c.RequireClientCert && c.ClientCA == "":
		return fault.New(fault.Invalid, "tls.requireClientCert needs tls.clientCA")
	}
	return nil
}

// Certificate is the listener's, and whose certificates of clients are believed. Both
// are read again by Renew.
type Certificate struct {
	c   TLS
	dir string // of our own CA
	now func() time.Time

	pair    atomic.Pointer[tls.Certificate]
	clients atomic.Pointer[x509.CertPool] // nil: certificates of clients are not verified
}

// Load reads the configured certificate or, where there is none, makes one by our own
// CA in dir.
func Load(c TLS, dir string, now func() time.Time) (*Certificate, error) {
	l := &Certificate{c: c, dir: dir, now: now}
	return l, l.Renew()
}

// Renew reads the files again, and renews a certificate of our own as needed. With an
// error everything stays as it was.
func (l *Certificate) Renew() (err error) {
	if l.c.Off {
		return nil
	}
	clients := l.clients.Load()
	if l.c.ClientCA != "" {
		if clients, err = ca.ReadPool(l.c.ClientCA); err != nil {
			return err
		}
	}
	files := ca.Listener{Cert: l.c.Cert, Key: l.c.Key}
	if files.Cert == "" {
		if files, err = ca.ListenerFiles(l.dir, l.c.Hosts, l.now()); err != nil {
			return err
		}
	}
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		return fault.New(fault.Invalid, "load TLS certificate: %w", err).WithHint("tls.cert and tls.key name PEM files that belong together")
	}
	l.clients.Store(clients)
	l.pair.Store(&pair)
	return nil
}

// Config is for serving. It follows Renew.
func (l *Certificate) Config() *tls.Config {
	base := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		ClientAuth:     tls.RequestClientCert, // whom to believe is for the mounts of auth/cert to say
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return l.pair.Load(), nil },
	}
	if l.c.MinVersion == "tls13" {
		base.MinVersion = tls.VersionTLS13
	}
	if l.c.ClientCA == "" {
		return base
	}
	base.ClientAuth = tls.VerifyClientCertIfGiven
	if l.c.RequireClientCert {
		base.ClientAuth = tls.RequireAndVerifyClientCert
	}
	base.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		c := base.Clone()
		c.ClientCAs = l.clients.Load()
		return c, nil
	}
	return base
}
