// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/client"
)

func serve(t *testing.T, h http.HandlerFunc) *client.Client {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	c, err := client.New(client.Config{Addr: srv.URL, Token: "t0ken"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestListsAreWhole: lists longer than a page come complete and in order.
func TestListsAreWhole(t *testing.T) {
	const total = 2345
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
		first, _ := strconv.Atoi(strings.TrimPrefix(r.URL.Query().Get("after"), "id"))
		var items []map[string]any
		for n := first + 1; n <= total && len(items) < limit; n++ {
			items = append(items, map[string]any{"id": fmt.Sprintf("id%d", n), "revision": n})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"items": items})
	})
	images, err := c.Images(t.Context())
	if err != nil || len(images) != total || images[total-1].ID != "id2345" {
		t.Errorf("%d images, %v", len(images), err)
	}
	instances, err := c.Instances(t.Context(), true)
	if err != nil || len(instances) != total || instances[1500].Revision != 1501 {
		t.Errorf("%d instances, %v", len(instances), err)
	}
}

func TestErrorsComeAsTheServerSaysThem(t *testing.T) {
	for name, tt := range map[string]struct {
		status        int
		body          string
		kind, message string
	}{
		"a problem":      {403, `{"kind":"refused","detail":"no","hint":"do this","wanted":true}`, "refused", "no"},
		"errors of /v1":  {403, `{"errors":["permission denied"]}`, "denied", "permission denied"},
		"sealed":         {503, `{"errors":["Vault is sealed"]}`, "sealed", "Vault is sealed"},
		"not JSON":       {502, "<html>", "internal", "Bad Gateway"},
		"nothing to say": {404, `{"errors":[]}`, "not_found", "Not Found"},
	} {
		t.Run(name, func(t *testing.T) {
			c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.status)
				_, _ = w.Write([]byte(tt.body))
			})
			_, err := c.Image(t.Context(), "sha256:x")
			var e *client.Error
			if !errors.As(err, &e) || e.Kind != tt.kind || e.Error() != tt.message || e.Status != tt.status {
				t.Errorf("got %#v", err)
			}
		})
	}
}

// TestATokenStaysWithItsServer: a redirect does not carry it elsewhere.
func TestATokenStaysWithItsServer(t *testing.T) {
	var stolen string
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { stolen = r.Header.Get("X-Vault-Token") }))
	defer thief.Close()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, thief.URL, http.StatusTemporaryRedirect)
	})
	_, _ = c.Images(t.Context())
	if stolen != "" {
		t.Error("the token went to another server")
	}
}

// TestEnvironment: our variables win, Vault's count where ours are unset, and the
// token of "goldkeep login" comes last.
func TestEnvironment(t *testing.T) {
	seen := ""
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header.Get("X-Vault-Token")
		_, _ = w.Write([]byte(`{"items":[]}`))
	}))
	defer srv.Close()
	t.Setenv("HOME", t.TempDir())
	for _, name := range []string{"ADDR", "TOKEN", "CACERT"} {
		t.Setenv("GOLDKEEP_"+name, "")
		t.Setenv("VAULT_"+name, "")
	}
	expect := func(want string) {
		t.Helper()
		c, err := client.FromEnvironment()
		if err == nil {
			_, err = c.Images(t.Context())
		}
		if err != nil || seen != want {
			t.Errorf("the token was %q, %v; want %q", seen, err, want)
		}
	}
	t.Setenv("VAULT_ADDR", srv.URL)
	path, err := client.TokenFile()
	if err == nil {
		err = os.WriteFile(path, []byte("of-the-file\n"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	expect("of-the-file")
	t.Setenv("VAULT_TOKEN", "of-vault")
	expect("of-vault")
	t.Setenv("GOLDKEEP_TOKEN", "ours")
	expect("ours")
}

func TestUnreachableSaysWhatToDo(t *testing.T) {
	c, err := client.New(client.Config{Addr: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Workload(t.Context(), "planted-name")
	var e *client.Error
	if !errors.As(err, &e) || e.Kind != "unavailable" || e.Hint == "" || strings.Contains(err.Error(), "planted") {
		t.Errorf("got %#v", err)
	}
	for _, addr := range []string{"127.0.0.1:8200", "ftp://x", "https://"} {
		if _, err := client.New(client.Config{Addr: addr}); err == nil {
			t.Errorf("the address %q was taken", addr)
		}
	}
}

// TestOnlyTheNamedCAIsTrusted: a server that one of the system's CAs vouches for is a
// stranger to who has named another CA.
func TestOnlyTheNamedCAIsTrusted(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) }))
	defer srv.Close()
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	write := func(name string, cert *x509.Certificate) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	own := write("own.pem", srv.Certificate())
	t.Setenv("SSL_CERT_FILE", own) // the system's
	for ca, want := range map[string]bool{own: true, write("other.pem", selfSigned(t)): false} {
		c, err := client.New(client.Config{Addr: srv.URL, CACert: ca})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Do(t.Context(), "GET", "/", nil, nil); (err == nil) != want {
			t.Errorf("with %s: %v", filepath.Base(ca), err)
		}
	}
}

func selfSigned(t *testing.T) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, NotAfter: time.Now().Add(time.Hour)}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
