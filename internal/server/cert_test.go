// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
)

// TestClientCertificate: the certificate of a connection reaches the login and the
// renewal, as clients of Vault show it.
func TestClientCertificate(t *testing.T) {
	w := newWorld(t, nil)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "till"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	must(err)
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
	certFile, keyFile := filepath.Join(w.dir, "till.pem"), filepath.Join(w.dir, "till.key")
	must(os.WriteFile(certFile, public, 0o600))
	must(os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	connect := func(token string, certs api.TLSConfig) *api.Client {
		t.Helper()
		c := api.DefaultConfig()
		c.Address, certs.CACert = w.url, filepath.Join(w.config.Data, "tls", "ca.pem")
		must(c.ConfigureTLS(&certs))
		client, err := api.NewClient(c)
		must(err)
		client.SetToken(token)
		return client
	}
	plain := connect(w.root, api.TLSConfig{})
	must(plain.Sys().EnableAuthWithOptions("cert", &api.EnableAuthOptions{Type: "cert"}))
	_, err = plain.Logical().Write("auth/cert/certs/till", map[string]any{"certificate": string(public)})
	must(err)
	shown := connect("", api.TLSConfig{ClientCert: certFile, ClientKey: keyFile})
	login, err := shown.Logical().Write("auth/cert/login", map[string]any{"name": "till"})
	must(err)
	if login.Auth.Metadata["common_name"] != "till" {
		t.Errorf("login: %+v", login.Auth)
	}
	shown.SetToken(login.Auth.ClientToken)
	_, err = shown.Auth().Token().RenewSelf(60)
	must(err)
	plain.SetToken(login.Auth.ClientToken)
	if _, err := plain.Auth().Token().RenewSelf(60); err == nil || !strings.Contains(err.Error(), "client certificate must be supplied") {
		t.Errorf("renewal over a connection without the certificate: %v", err)
	}
	if _, err := connect("", api.TLSConfig{}).Logical().Write("auth/cert/login", nil); err == nil {
		t.Error("a login without a certificate")
	}
}
