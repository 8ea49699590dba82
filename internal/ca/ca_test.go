// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package ca_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/ca"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store"
)

var name = ca.Name{Environment: "prod", Workload: "payments"}

func TestSVIDPassesTheSPIFFELibrary(t *testing.T) {
	now := time.Now()
	a := workloadAuthority(t, now)
	key := ecKey(t, elliptic.P256())
	svid, err := a.SignWorkload(request(t, key, nil), name, 5*time.Minute, now)
	if err != nil {
		t.Fatal(err)
	}
	chain := parse(t, svid.Chain)
	bundle, err := x509bundle.Parse(spiffeid.RequireTrustDomainFromString("example.org"), a.Bundle())
	if err != nil {
		t.Fatal(err)
	}
	id, _, err := x509svid.Verify(chain, bundle)
	if err != nil {
		t.Fatal(err)
	}
	want := "spiffe://example.org/workload/prod/payments"
	if id.String() != want || svid.ID != want {
		t.Errorf("id = %s and %s, want %s", id, svid.ID, want)
	}
	if !svid.Expires.Equal(now.Add(5 * time.Minute).Truncate(time.Second).UTC()) {
		t.Errorf("expires %s", svid.Expires)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x509svid.Parse(svid.Chain, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})); err != nil {
		t.Errorf("parse certificate with its key: %v", err)
	}
	if _, _, err := x509svid.Verify(chain, bundle, x509svid.WithTime(now.Add(6*time.Minute))); err == nil {
		t.Error("an expired certificate was verified")
	}
}

func TestNamesInTheRequestAreIgnored(t *testing.T) {
	now := time.Now()
	a := workloadAuthority(t, now)
	evil, err := url.Parse("spiffe://example.org/workload/prod/victim")
	if err != nil {
		t.Fatal(err)
	}
	csr := request(t, ecKey(t, elliptic.P256()), &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "victim"}, URIs: []*url.URL{evil}, DNSNames: []string{"victim.internal"},
	})
	svid, err := a.SignWorkload(csr, name, time.Minute, now)
	if err != nil {
		t.Fatal(err)
	}
	leaf := parse(t, svid.Chain)[0]
	if strings.Contains(string(leaf.Raw), "victim") {
		t.Error("a name of the request is in the certificate")
	}
	if leaf.IsCA || leaf.KeyUsage != x509.KeyUsageDigitalSignature {
		t.Errorf("usage %v, authority %v", leaf.KeyUsage, leaf.IsCA)
	}
}

func TestBadRequests(t *testing.T) {
	now := time.Now()
	a := workloadAuthority(t, now)
	good := request(t, ecKey(t, elliptic.P256()), nil)
	block, _ := pem.Decode(good)
	block.Bytes[len(block.Bytes)-1] ^= 1
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Logf("small RSA keys cannot be made: %v", err)
		small = nil
	}
	tests := map[string]struct {
		csr  []byte
		name ca.Name
		ttl  time.Duration
		kind fault.Kind
	}{
		"empty":           {nil, name, time.Minute, fault.Invalid},
		"a certificate":   {a.Bundle(), name, time.Minute, fault.Invalid},
		"bad signature":   {pem.EncodeToMemory(block), name, time.Minute, fault.Invalid},
		"weak curve":      {request(t, ecKey(t, elliptic.P224()), nil), name, time.Minute, fault.Invalid},
		"huge":            {make([]byte, 1<<20), name, time.Minute, fault.TooLarge},
		"no lifetime":     {good, name, 0, fault.Invalid},
		"long lifetime":   {good, name, 48 * time.Hour, fault.Invalid},
		"slash in name":   {good, ca.Name{Environment: "prod", Workload: "a/b"}, time.Minute, fault.Invalid},
		"dots as name":    {good, ca.Name{Environment: "..", Workload: "a"}, time.Minute, fault.Invalid},
		"nothing as name": {good, ca.Name{Environment: "", Workload: "a"}, time.Minute, fault.Invalid},
	}
	if small != nil {
		tests["small RSA key"] = struct {
			csr  []byte
			name ca.Name
			ttl  time.Duration
			kind fault.Kind
		}{request(t, small, nil), name, time.Minute, fault.Invalid}
	}
	for title, tc := range tests {
		t.Run(title, func(t *testing.T) {
			if _, err := a.SignWorkload(tc.csr, tc.name, tc.ttl, now); !fault.Is(err, tc.kind) {
				t.Errorf("err = %v, want %s", err, tc.kind)
			}
		})
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.SignWorkload(request(t, ed, nil), name, time.Minute, now); err != nil {
		t.Errorf("Ed25519: %v", err)
	}
}

func TestOpenMakesOneAuthority(t *testing.T) {
	space := &memory{entries: map[string]barrier.Entry{}}
	var wg sync.WaitGroup
	bundles := make([]string, 8)
	for i := range bundles {
		wg.Go(func() {
			a, err := ca.Open(t.Context(), space, "example.org")
			if err != nil {
				t.Error(err)
				return
			}
			bundles[i] = string(a.Bundle())
		})
	}
	wg.Wait()
	for _, b := range bundles {
		if diff := cmp.Diff(bundles[0], b); diff != "" {
			t.Fatalf("two authorities: %s", diff)
		}
	}
	if _, err := ca.Open(t.Context(), space, "other.org"); !fault.Is(err, fault.Conflict) {
		t.Errorf("another trust domain: %v", err)
	}
	if _, err := ca.Open(t.Context(), space, "No Domain"); !fault.Is(err, fault.Invalid) {
		t.Errorf("bad trust domain: %v", err)
	}
}

func TestListenerFiles(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	files, err := ca.ListenerFiles(dir, []string{"localhost", "127.0.0.1", "::1"}, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{files.CA, files.CAKey, files.Cert, files.Key} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
	}
	if _, err := tls.LoadX509KeyPair(files.Cert, files.Key); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(read(t, files.CA))
	leaf := parse(t, read(t, files.Cert))[0]
	for _, host := range []string{"localhost", "127.0.0.1", "::1"} {
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: host}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}

	ca1, cert1 := read(t, files.CA), read(t, files.Cert)
	again := func(hosts []string, at time.Time) []byte {
		t.Helper()
		if _, err := ca.ListenerFiles(dir, hosts, at); err != nil {
			t.Fatal(err)
		}
		if string(read(t, files.CA)) != string(ca1) {
			t.Fatal("the authority was replaced")
		}
		return read(t, files.Cert)
	}
	if string(again([]string{"127.0.0.1", "localhost", "::1"}, now)) != string(cert1) {
		t.Error("a good certificate was replaced")
	}
	cert2 := again([]string{"localhost"}, now)
	if string(cert2) == string(cert1) {
		t.Error("other hosts, same certificate")
	}
	if string(again([]string{"localhost"}, now.Add(70*24*time.Hour))) == string(cert2) {
		t.Error("a certificate near its end was not replaced")
	}
}

func TestListenerFilesAfterDamage(t *testing.T) {
	now := time.Now()
	t.Run("stopped after the authority's key", func(t *testing.T) {
		dir := t.TempDir()
		files, err := ca.ListenerFiles(dir, []string{"a"}, now)
		if err != nil {
			t.Fatal(err)
		}
		key := read(t, files.CAKey)
		remove(t, files.CA)
		remove(t, files.Cert)
		if _, err := ca.ListenerFiles(dir, []string{"a"}, now); err != nil {
			t.Fatal(err)
		}
		if string(read(t, files.CAKey)) != string(key) {
			t.Error("the key was replaced")
		}
	})
	t.Run("key lost", func(t *testing.T) {
		dir := t.TempDir()
		files, err := ca.ListenerFiles(dir, []string{"a"}, now)
		if err != nil {
			t.Fatal(err)
		}
		remove(t, files.CAKey)
		if _, err := ca.ListenerFiles(dir, []string{"a"}, now); !fault.Is(err, fault.Invalid) || fault.HintOf(err) == "" {
			t.Errorf("err = %v", err)
		}
	})
	t.Run("foreign server key", func(t *testing.T) {
		dir := t.TempDir()
		files, err := ca.ListenerFiles(dir, []string{"a"}, now)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(files.Key, read(t, files.CAKey), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ca.ListenerFiles(dir, []string{"a"}, now); err != nil {
			t.Fatal(err)
		}
		if _, err := tls.LoadX509KeyPair(files.Cert, files.Key); err != nil {
			t.Error(err)
		}
	})
}

func FuzzSignWorkload(f *testing.F) {
	now := time.Unix(1_800_000_000, 0)
	a, err := ca.NewAuthority("fuzz", "example.org", now)
	if err != nil {
		f.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(der)
	f.Add(der[:len(der)/2])
	f.Fuzz(func(t *testing.T, der []byte) {
		text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
		svid, err := a.SignWorkload(text, name, time.Minute, now)
		if err == nil && len(parse(t, svid.Chain)[0].URIs) != 1 {
			t.Error("not exactly one URI")
		}
	})
}

func workloadAuthority(t *testing.T, now time.Time) *ca.Authority {
	t.Helper()
	a, err := ca.NewAuthority("test", "example.org", now)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func ecKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func request(t *testing.T, key crypto.Signer, template *x509.CertificateRequest) []byte {
	t.Helper()
	if template == nil {
		template = &x509.CertificateRequest{}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

func parse(t *testing.T, text []byte) []*x509.Certificate {
	t.Helper()
	var certs []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		certs = append(certs, cert)
	}
	return certs
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// memory is a barrier space in memory: one transaction at a time.
type memory struct {
	mu      sync.Mutex
	entries map[string]barrier.Entry
	barrier.Writer
}

func (m *memory) View(_ context.Context, fn func(barrier.Reader) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return fn(m)
}

func (m *memory) Update(_ context.Context, fn func(barrier.Writer) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return fn(m)
}

func (m *memory) Get(_ context.Context, path string) (*barrier.Entry, error) {
	if e, ok := m.entries[path]; ok {
		return &e, nil
	}
	return nil, nil
}

func (m *memory) Put(_ context.Context, e barrier.Entry) error {
	m.entries[e.Path] = e
	return nil
}

func (m *memory) In(store.Tx) barrier.Writer { return m }
func (m *memory) Sub(string) barrier.Space   { return m }
func (m *memory) Now() time.Time             { return time.Now() }
func (m *memory) Expired(context.Context, time.Time, int) ([]barrier.Entry, error) {
	return nil, nil
}
