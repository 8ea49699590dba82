// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	openbao "github.com/openbao/openbao/api/v2"

	"github.com/goldkeep/goldkeep/internal/keeper"
	"github.com/goldkeep/goldkeep/internal/server"
)

// snapshot saves a snapshot of the running server to a file.
func (w *world) snapshot() string {
	w.t.Helper()
	var made bytes.Buffer
	if err := w.client.SaveSnapshot(w.t.Context(), &made); err != nil {
		w.t.Fatal(err)
	}
	if bytes.Contains(made.Bytes(), []byte("hunter2")) {
		w.t.Error("the snapshot shows a secret")
	}
	name := filepath.Join(w.t.TempDir(), "snapshot")
	if err := os.WriteFile(name, made.Bytes(), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return name
}

// restore restores and starts the server anew, as the command does.
func (w *world) restore(name string, force bool) error {
	w.t.Helper()
	file, err := os.Open(name)
	if err != nil {
		w.t.Fatal(err)
	}
	defer file.Close()
	if err := w.client.RestoreSnapshot(w.t.Context(), file, force); err != nil {
		return err
	}
	if err := w.stop(); !errors.Is(err, server.ErrRestored) {
		w.t.Errorf("the server ended with %v", err)
	}
	w.start()
	return nil
}

func (w *world) put(value string) {
	w.t.Helper()
	if _, err := w.client.PutSecret(w.t.Context(), "secret", "app", map[string]any{"password": value}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) get() string {
	w.t.Helper()
	fields, _, err := w.client.Secret(w.t.Context(), "secret", "app")
	if err != nil {
		w.t.Fatal(err)
	}
	return string(fields["password"])
}

// TestSnapshotRestore: what was is again, at once and after a restart, and the
// audit log goes on.
func TestSnapshotRestore(t *testing.T) {
	w := newWorld(t, nil)
	w.put("hunter2")
	name := w.snapshot()
	w.put("later")
	if err := w.restore(name, false); err != nil {
		t.Fatal(err)
	}
	if got := w.get(); got != `"hunter2"` {
		t.Errorf("restored %s", got)
	}
	w.put("again")
	w.restart()
	if got := w.get(); got != `"again"` {
		t.Errorf("after a restart %s", got)
	}
	log, err := os.ReadFile(filepath.Join(w.config.Data, "audit.log"))
	if err != nil || !strings.Contains(string(log), `"snapshot.restore"`) {
		t.Errorf("the audit log does not name the restore: %v", err)
	}
	if strings.Contains(string(log), "audit.cut") || strings.Contains(string(log), "audit.changed") {
		t.Error("the restore looks like a changed audit log")
	}
}

// TestSnapshotRefused: of another server, changed on the way, or no snapshot at
// all: nothing happens to the server.
func TestSnapshotRefused(t *testing.T) {
	w, other := newWorld(t, nil), newWorld(t, nil)
	w.put("hunter2")
	other.put("hunter2")
	foreign := other.snapshot()
	if err := w.restore(foreign, false); err == nil || !strings.Contains(err.Error(), "another server") {
		t.Errorf("a snapshot of another server: %v", err)
	}
	text, err := os.ReadFile(w.snapshot())
	if err != nil {
		t.Fatal(err)
	}
	changed := filepath.Join(t.TempDir(), "changed")
	for what, bad := range map[string][]byte{
		"cut":      text[:len(text)/2],
		"changed":  append(append(bytes.Clone(text[:len(text)/2]), text[len(text)/2]^1), text[len(text)/2+1:]...),
		"nothing":  nil,
		"no gzip":  []byte("hello"),
		"the file": bytes.Repeat([]byte{0x1f, 0x8b}, 1000),
	} {
		if err := os.WriteFile(changed, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := w.restore(changed, true); err == nil {
			t.Errorf("%s: taken", what)
		}
	}
	if got := w.get(); got != `"hunter2"` {
		t.Errorf("after refused snapshots %s", got)
	}
	if err := w.client.WithToken("nobody").SaveSnapshot(t.Context(), &bytes.Buffer{}); err == nil {
		t.Error("a snapshot for nobody")
	}
}

// TestForeignSnapshotByForce: with the other server's key file it is the other
// server then.
func TestForeignSnapshotByForce(t *testing.T) {
	w, other := newWorld(t, nil), newWorld(t, nil)
	other.put("hunter2")
	file, err := os.Open(other.snapshot())
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := w.client.RestoreSnapshot(t.Context(), file, true); err != nil {
		t.Fatal(err)
	}
	if err := w.stop(); !errors.Is(err, server.ErrRestored) {
		t.Fatal(err)
	}
	w.config.KeyFile = other.config.KeyFile
	w.start()
	w.client = w.client.WithToken(other.root)
	if got := w.get(); got != `"hunter2"` {
		t.Errorf("restored %s", got)
	}
}

// TestDrill: a good snapshot opens whole with its key; another key, or another
// server's audit log, is told.
func TestDrill(t *testing.T) {
	t.Setenv("GOLDKEEP_DATABASE_URL", "")
	w, other := newWorld(t, nil), newWorld(t, func(c *server.Config) { c.Node = "test" })
	w.put("hunter2")
	for range 30 {
		other.put("x")
	}
	log := filepath.Join(w.config.Data, "audit.log")
	var name string
	eventually(t, "the anchor is in the snapshot", func() bool {
		name = w.snapshot()
		report, err := server.Offline().Drill(t.Context(), keeper.OfflineRequest{File: name})
		return err == nil && len(report.Snapshot.Audit) > 0
	})
	report, err := server.Offline().Drill(t.Context(), keeper.OfflineRequest{File: name, KeyFile: w.config.KeyFile, AuditLog: log})
	if err != nil || !report.Good || !report.Unsealed || !report.Genuine || report.Opened < 5 {
		t.Errorf("%+v, %v", report, err)
	}
	report, err = server.Offline().Drill(t.Context(), keeper.OfflineRequest{File: name, KeyFile: other.config.KeyFile})
	if err != nil || report.Good || report.Unsealed {
		t.Errorf("with another server's key: %+v, %v", report, err)
	}
	report, err = server.Offline().Drill(t.Context(), keeper.OfflineRequest{File: name, AuditLog: filepath.Join(other.config.Data, "audit.log")})
	if err != nil || report.Good {
		t.Errorf("with another server's audit log: %+v, %v", report, err)
	}
}

// TestRestoreOffline: an empty folder becomes the server.
func TestRestoreOffline(t *testing.T) {
	t.Setenv("GOLDKEEP_DATABASE_URL", "")
	w := newWorld(t, nil)
	w.put("hunter2")
	name := w.snapshot()
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	w.config.Data = filepath.Join(t.TempDir(), "fresh")
	if _, err := server.Offline().Restore(t.Context(), keeper.OfflineRequest{File: name, Data: w.config.Data}); err != nil {
		t.Fatal(err)
	}
	root := w.root
	w.start()
	w.client = w.client.WithToken(root)
	if got := w.get(); got != `"hunter2"` {
		t.Errorf("restored %s", got)
	}
}

// TestSnapshotByOpenBao: the Go client of OpenBao, which its command line uses,
// takes the snapshot for whole and restores it.
func TestSnapshotByOpenBao(t *testing.T) {
	w := newWorld(t, func(c *server.Config) { c.TLS.Off = true })
	w.put("hunter2")
	bao, err := openbao.NewClient(&openbao.Config{Address: w.client.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	bao.SetToken(w.root)
	var made bytes.Buffer
	if err := bao.Sys().RaftSnapshot(&made); err != nil {
		t.Fatal(err)
	}
	w.put("later")
	if err := bao.Sys().RaftSnapshotRestore(bytes.NewReader(made.Bytes()), false); err != nil {
		t.Fatal(err)
	}
	if err := w.stop(); !errors.Is(err, server.ErrRestored) {
		t.Fatal(err)
	}
	w.start()
	if got := w.get(); got != `"hunter2"` {
		t.Errorf("restored %s", got)
	}
}
