// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/goldkeep/goldkeep/internal/fault"
)

const (
	serverTTL = 90 * 24 * time.Hour
	// renewBelow is the rest of its life at which a server certificate is replaced.
	renewBelow = serverTTL / 3
)

// Listener names the files of a TLS listener.
type Listener struct {
	CA    string // ca.pem: what clients trust
	CAKey string // ca-key.pem
	Cert  string // server.pem
	Key   string // server-key.pem
}

// SignServer issues a server certificate for pub that names hosts (DNS names and
// IP addresses), valid for 90 days.
func (a *Authority) SignServer(pub crypto.PublicKey, hosts []string, now time.Time) (*x509.Certificate, error) {
	if len(hosts) == 0 {
		return nil, fault.New(fault.Invalid, "sign server: no host name given")
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: hosts[0], Organization: []string{"Goldkeep"}},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(serverTTL),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	return sign(template, a.cert, pub, a.key)
}

// ListenerFiles makes, and where needed renews, the files of a TLS listener
// below dir, all with mode 0600: call it at start and once a day. The authority is
// made once and never replaced; the server certificate is replaced when a third
// of its life is left, when hosts changed, or when it does not fit its key.
func ListenerFiles(dir string, hosts []string, now time.Time) (Listener, error) {
	files := Listener{
		CA: filepath.Join(dir, "ca.pem"), CAKey: filepath.Join(dir, "ca-key.pem"),
		Cert: filepath.Join(dir, "server.pem"), Key: filepath.Join(dir, "server-key.pem"),
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return files, fault.New(fault.Internal, "make folder for TLS files: %w", err)
	}
	authority, err := listenerAuthority(files, now)
	if err != nil {
		return files, err
	}
	if authority.fits(files, hosts, now) {
		return files, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return files, fault.New(fault.Internal, "make server key: %w", err)
	}
	cert, err := authority.SignServer(key.Public(), hosts, now)
	if err != nil {
		return files, err
	}
	text, err := keyPEM(key)
	if err != nil {
		return files, err
	}
	// A crash between the two leaves a pair that does not fit, which the next
	// call replaces.
	if err := writeFile(files.Key, text); err != nil {
		return files, err
	}
	return files, writeFile(files.Cert, certPEM(cert, authority.cert))
}

// listenerAuthority loads the listener's authority or makes it. The key is
// written first: a certificate without a key means somebody lost the key.
func listenerAuthority(files Listener, now time.Time) (*Authority, error) {
	keyText, keyErr := os.ReadFile(files.CAKey)
	certText, certErr := os.ReadFile(files.CA)
	switch {
	case keyErr == nil && certErr == nil:
		return load(certText, keyText, "")
	case certErr == nil && errors.Is(keyErr, fs.ErrNotExist):
		return nil, fault.New(fault.Invalid, "%s exists but its key %s does not", files.CA, files.CAKey).
			WithHint("bring the key back from a backup; or remove ca.pem to make a new authority, which every client must then trust anew")
	case keyErr != nil && !errors.Is(keyErr, fs.ErrNotExist):
		return nil, fault.New(fault.Internal, "read authority key: %w", keyErr)
	case certErr != nil && !errors.Is(certErr, fs.ErrNotExist):
		return nil, fault.New(fault.Internal, "read authority certificate: %w", certErr)
	}
	return makeListenerAuthority(files, keyText, now)
}

// makeListenerAuthority goes on with the key that is there, where there is one:
// the last attempt stopped half-way.
func makeListenerAuthority(files Listener, keyText []byte, now time.Time) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fault.New(fault.Internal, "make authority key: %w", err)
	}
	if keyText != nil {
		if key, err = parseKey(keyText); err != nil {
			return nil, err
		}
	} else {
		text, err := keyPEM(key)
		if err != nil {
			return nil, err
		}
		if err := writeFile(files.CAKey, text); err != nil {
			return nil, err
		}
	}
	authority, err := selfSign(key, "Goldkeep server authority", "", now)
	if err != nil {
		return nil, err
	}
	return authority, writeFile(files.CA, authority.Bundle())
}

// fits says whether the server files on disk can still be used.
func (a *Authority) fits(files Listener, hosts []string, now time.Time) bool {
	certText, err := os.ReadFile(files.Cert)
	if err != nil {
		return false
	}
	keyText, err := os.ReadFile(files.Key)
	if err != nil {
		return false
	}
	cert, err := parseCert(certText)
	if err != nil {
		return false
	}
	key, err := parseKey(keyText)
	if err != nil || !key.PublicKey.Equal(cert.PublicKey) {
		return false
	}
	if cert.CheckSignatureFrom(a.cert) != nil || now.Before(cert.NotBefore) || cert.NotAfter.Sub(now) < renewBelow {
		return false
	}
	return slices.Equal(sorted(hosts), sorted(hostsOf(cert)))
}

func hostsOf(cert *x509.Certificate) []string {
	hosts := slices.Clone(cert.DNSNames)
	for _, ip := range cert.IPAddresses {
		hosts = append(hosts, ip.String())
	}
	return hosts
}

func sorted(hosts []string) []string {
	out := slices.Clone(hosts)
	for i, h := range out {
		if ip := net.ParseIP(h); ip != nil {
			out[i] = ip.String()
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// writeFile replaces a file as a whole, durably, readable by its owner only.
func writeFile(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return fault.New(fault.Internal, "write %s: %w", filepath.Base(path), err)
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fault.New(fault.Internal, "write %s: %w", filepath.Base(path), err)
	}
	return nil
}
