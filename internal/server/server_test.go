// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goldkeep/goldkeep/client"
)

func TestSecretSurvivesRestart(t *testing.T) {
	w := newWorld(t, nil)
	ctx := t.Context()
	if v, err := w.client.PutSecret(ctx, "secret", "app/db", map[string]any{"password": "hunter2"}); err != nil || v != 1 {
		t.Fatalf("version = %d, %v", v, err)
	}
	w.restart()
	fields, version, err := w.client.Secret(ctx, "secret", "app/db")
	if err != nil || version != 1 || string(fields["password"]) != `"hunter2"` {
		t.Errorf("got %s, version %d, %v", fields, version, err)
	}
}

// TestCutAuditLogShows: a log that lost its end while the server was down is
// noticed at the start, said and recorded.
func TestCutAuditLogShows(t *testing.T) {
	w := newWorld(t, nil)
	log := filepath.Join(w.config.Data, "audit.log")
	if _, err := w.client.PutSecret(t.Context(), "secret", "a", map[string]any{"k": "v"}); err != nil {
		t.Fatal(err)
	}
	short, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.client.PutSecret(t.Context(), "secret", "a", map[string]any{"k": "removed"}); err != nil {
		t.Fatal(err)
	}
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(log, short, 0o600); err != nil {
		t.Fatal(err)
	}
	w.start()
	if !strings.Contains(w.log.String(), "records were removed") {
		t.Errorf("the log says nothing:\n%s", w.log.String())
	}
	records, err := w.client.Audit(t.Context(), 0, 100)
	if err != nil || !slices.ContainsFunc(records, func(r client.AuditRecord) bool { return r.Op == "audit.cut" }) {
		t.Errorf("the record says nothing: %v %v", records, err)
	}
}

// TestBackup: a copy of a stopped server's folder is the server.
func TestBackup(t *testing.T) {
	w := newWorld(t, nil)
	if _, err := w.client.PutSecret(t.Context(), "secret", "a", map[string]any{"k": "v"}); err != nil {
		t.Fatal(err)
	}
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(copied, os.DirFS(w.config.Data)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(w.config.Data); err != nil {
		t.Fatal(err)
	}
	w.config.Data = copied
	w.start()
	fields, _, err := w.client.Secret(t.Context(), "secret", "a")
	if err != nil || string(fields["k"]) != `"v"` {
		t.Errorf("the copy has %s, %v", fields, err)
	}
}
