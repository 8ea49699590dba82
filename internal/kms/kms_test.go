// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package kms_test

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/kms"
)

func local(b byte) map[string]string {
	return map[string]string{"url": "base64key://" + base64.URLEncoding.EncodeToString(bytes.Repeat([]byte{b}, 32))}
}

// TestLocal: through the multi-cloud library's own local provider.
func TestLocal(t *testing.T) {
	s, err := kms.Open(kms.URL, local(1))
	if err != nil {
		t.Fatal(err)
	}
	key := []byte("0123456789abcdef0123456789abcdef")
	sealed, err := s.Wrap(t.Context(), key)
	if err != nil || bytes.Contains(sealed, key) {
		t.Fatalf("%q, %v", sealed, err)
	}
	if got, err := s.Unwrap(t.Context(), sealed); err != nil || !bytes.Equal(got, key) {
		t.Errorf("%q, %v", got, err)
	}
	other, err := kms.Open(kms.URL, local(2))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Unwrap(t.Context(), sealed); err == nil {
		t.Error("another key opens it")
	}
}

// TestAway: a service that does not answer is unavailable, not wrong.
func TestAway(t *testing.T) {
	s, err := kms.Open(kms.Transit, map[string]string{"address": "http://127.0.0.1:1", "key_name": "k", "token": "t"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Wrap(t.Context(), []byte("key")); !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v", err)
	}
}

func TestSettings(t *testing.T) {
	for _, env := range []string{"VAULT_TRANSIT_SEAL_TOKEN", "GOLDKEEP_TRANSIT_SEAL_TOKEN", "VAULT_TOKEN", "BAO_TOKEN", "AWSKMS_SEAL_KEY_ID", "GOLDKEEP_SEAL_URL"} {
		t.Setenv(env, "")
	}
	for _, c := range []struct {
		kind    string
		options map[string]string
		why     string
	}{
		{kms.AWS, map[string]string{"kms_key_id": "alias/x", "region": "eu-west-1"}, ""},
		{kms.Google, map[string]string{"project": "p", "region": "global", "key_ring": "r", "crypto_key": "k"}, ""},
		{kms.Azure, map[string]string{"vault_name": "v", "key_name": "k", "tenant_id": "t"}, ""},
		{kms.Transit, map[string]string{"address": "http://x", "key_name": "k", "token_file": "/x", "mount_path": "transit/"}, ""},
		{"pkcs11", nil, "no seal of type"},
		{kms.AWS, nil, "kms_key_id is missing"},
		{kms.AWS, map[string]string{"kms_key_id": "x", "secret_key": "s"}, "does not belong in a file"},
		{kms.Transit, map[string]string{"address": "http://x", "key_name": "k"}, "there is no token"},
		{kms.Transit, map[string]string{"address": "http://x", "key_name": "k", "token": "t", "tls_skip_verify": "true"}, "not offered"},
		{kms.URL, map[string]string{"url": "http://x"}, "no known kind"},
		{kms.URL, map[string]string{"url": local(1)["url"], "colour": "red"}, "no option"},
	} {
		_, err := kms.Open(c.kind, c.options)
		if c.why == "" && err != nil || c.why != "" && (err == nil || !strings.Contains(err.Error(), c.why)) {
			t.Errorf("%s %v: %v, want %q", c.kind, c.options, err, c.why)
		}
	}
}
