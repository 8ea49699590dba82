// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goldkeep/goldkeep/internal/server"
)

// TestTransitSeal: a server whose root key is sealed by the transit engine of
// another one. While that is away it starts sealed, says why, and unseals by
// itself later.
func TestTransitSeal(t *testing.T) {
	ctx := t.Context()
	far := newWorld(t, func(c *server.Config) { c.TLS.Off = true })
	for path, body := range map[string]map[string]string{"/v1/sys/mounts/transit": {"type": "transit"}} {
		if err := far.client.Do(ctx, "POST", path, body, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := far.client.Do(ctx, "POST", "/v1/transit/keys/unseal", map[string]string{}, nil); err != nil {
		t.Fatal(err)
	}
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(far.root+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	address := far.client.Addr()
	w := newWorld(t, func(c *server.Config) {
		c.KeyFile = ""
		c.Seal = server.Seal{Type: "transit", Options: map[string]string{"address": address, "key_name": "unseal", "token_file": token}}
	})
	if status, err := w.client.SealStatus(ctx); err != nil || status.Initialized || !status.RecoverySeal || status.Type != "transit" {
		t.Fatalf("before: %+v, %v", status, err)
	}
	if _, err := w.client.Init(ctx, 5, 3); err == nil || !strings.Contains(err.Error(), "not applicable to seal type transit") {
		t.Errorf("key shares on such a server: %v", err)
	}
	made, err := w.client.InitRecovery(ctx, 3, 2)
	if err != nil || len(made.RecoveryB64) != 3 || len(made.KeysB64) != 0 {
		t.Fatalf("%+v, %v", made, err)
	}
	w.client = w.client.WithToken(made.RootToken)
	if err := w.client.EnableKV(ctx, "secret"); err != nil {
		t.Fatal(err)
	}
	w.put("hunter2")
	if _, err := w.client.Unseal(ctx, made.RecoveryB64[0]); err != nil {
		t.Errorf("a recovery key while unsealed: %v", err)
	}
	row, err := os.ReadFile(filepath.Join(w.config.Data, "goldkeep.db"))
	if err != nil {
		t.Fatal(err)
	}
	if key, _ := base64.StdEncoding.DecodeString(made.RecoveryB64[0]); strings.Contains(string(row), string(key)) {
		t.Error("a recovery key is in the database")
	}

	far.config.Listen = strings.TrimPrefix(address, "http://")
	if err := far.stop(); err != nil {
		t.Fatal(err)
	}
	w.restart()
	w.client = w.client.WithToken(made.RootToken)
	health, err := w.client.Health(ctx)
	if err != nil || !health.Sealed || !slices.Contains(health.Failing, "seal") {
		t.Errorf("while the service is away: %+v, %v", health, err)
	}
	far.start()
	eventually(t, "the server unseals itself", func() bool {
		status, err := w.client.SealStatus(ctx)
		return err == nil && !status.Sealed
	})
	if got := w.get(); got != `"hunter2"` {
		t.Errorf("after unsealing %s", got)
	}
}

// TestRecoveryOnShamir: the reverse is refused too.
func TestRecoveryOnShamir(t *testing.T) {
	w := newWorld(t, func(c *server.Config) { c.KeyFile = "" })
	if _, err := w.client.InitRecovery(t.Context(), 5, 3); err == nil || !strings.Contains(err.Error(), "not applicable to seal type shamir") {
		t.Errorf("%v", err)
	}
}

// TestReferenceFile: a configuration file of OpenBao starts the server.
func TestReferenceFile(t *testing.T) {
	t.Setenv("GOLDKEEP_DATABASE_URL", "")
	dir := t.TempDir()
	file := filepath.Join(dir, "bao.hcl")
	text := `
storage "file" { path = "` + filepath.Join(dir, "data") + `" }
listener "tcp" {
  address     = "127.0.0.1:0"
  tls_disable = true
  x_forwarded_for_authorized_addrs = "127.0.0.1"
}
seal "url" { url = "base64key://c21HYmp6NDFmMWw3bTdmc0VZR1lUbFZ5cXZLQ3BVZFk=" }
audit "file" "to-file" { options { file_path = "` + filepath.Join(dir, "copy.log") + `" } }
default_lease_ttl = "1h"
max_lease_ttl = "2h"
ui = true
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	read, err := server.ReadConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(c *server.Config) { *c = read })
	made, err := w.client.InitRecovery(t.Context(), 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	w.client = w.client.WithToken(made.RootToken)
	var tune struct {
		Data struct {
			Default int `json:"default_lease_ttl"`
			Max     int `json:"max_lease_ttl"`
		} `json:"data"`
	}
	if err := w.client.EnableKV(t.Context(), "secret"); err != nil {
		t.Fatal(err)
	}
	if err := w.client.Do(t.Context(), "GET", "/v1/sys/mounts/secret/tune", nil, &tune); err != nil || tune.Data.Default != 3600 || tune.Data.Max != 7200 {
		t.Errorf("lifetimes %+v, %v", tune, err)
	}
	eventually(t, "the declared device has the log", func() bool {
		copied, err := os.ReadFile(filepath.Join(dir, "copy.log"))
		return err == nil && len(copied) > 0
	})
	w.restart() // unseals itself
	if status, err := w.client.SealStatus(t.Context()); err != nil || status.Sealed {
		t.Errorf("after a restart: %+v, %v", status, err)
	}
	if err := os.WriteFile(file, []byte("storage \"consul\" {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := server.ReadConfig(file); err == nil || !strings.Contains(err.Error(), "line 1: storage \"consul\" is not offered") {
		t.Errorf("%v", err)
	}
}
