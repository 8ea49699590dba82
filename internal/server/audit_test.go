// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/server"
)

// TestFailingDeviceIsNamed: a dead device stops nothing, and is named in health
// until it works.
func TestFailingDeviceIsNamed(t *testing.T) {
	dir := t.TempDir()
	gone := filepath.Join(dir, "not", "there.log")
	w := newWorld(t, func(c *server.Config) {
		c.Audit.Devices = []server.AuditDevice{{Name: "far", Type: "file", Options: map[string]string{"file_path": gone}}}
	})
	ctx := t.Context()
	failing := func() []string {
		h, err := w.client.Health(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return h.FailingDevices
	}
	if _, err := w.client.PutSecret(ctx, "secret", "a", map[string]any{"k": "v"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the device is named", func() bool { return slices.Equal(failing(), []string{"far/"}) })
	if _, err := w.client.PutSecret(ctx, "secret", "a", map[string]any{"k": "v"}); err != nil {
		t.Errorf("a dead device stops a request: %v", err)
	}
	if err := w.client.Do(ctx, "GET", "/v1/sys/health", nil, nil); err != nil {
		t.Errorf("a dead device makes health fail: %v", err)
	}
	if err := os.Mkdir(filepath.Dir(gone), 0o700); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the device works", func() bool { return len(failing()) == 0 })
	eventually(t, "it has the records", func() bool {
		text, _ := os.ReadFile(gone)
		return strings.Contains(string(text), `"seq":1,`)
	})
}

// TestDevicesByAPI: refused unless the setting allows it.
func TestDevicesByAPI(t *testing.T) {
	w := newWorld(t, nil)
	ctx := t.Context()
	copied := filepath.Join(t.TempDir(), "copy.log")
	device := map[string]any{"type": "file", "options": map[string]string{"file_path": copied}}
	err := w.client.Do(ctx, "PUT", "/v1/sys/audit/copy", device, nil)
	if err == nil || !strings.Contains(err.Error(), "cannot enable audit device via API") {
		t.Errorf("without the setting: %v", err)
	}
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	w.config.Audit.AllowAPI = true
	w.start()
	if err := w.client.Do(ctx, "PUT", "/v1/sys/audit/copy", device, nil); err != nil {
		t.Fatal(err)
	}
	if err := w.client.Do(ctx, "PUT", "/v1/sys/audit/copy", device, nil); err == nil || !strings.Contains(err.Error(), "path already in use") {
		t.Errorf("made twice: %v", err)
	}
	var listed struct {
		Copy struct{ Type string } `json:"copy/"`
	}
	if err := w.client.Do(ctx, "GET", "/v1/sys/audit", nil, &listed); err != nil || listed.Copy.Type != "file" {
		t.Errorf("listed: %+v %v", listed, err)
	}
	var hashed struct{ Hash string }
	if err := w.client.Do(ctx, "POST", "/v1/sys/audit-hash/copy", map[string]string{"input": "secret/data/a"}, &hashed); err != nil {
		t.Fatal(err)
	}
	if _, err := w.client.PutSecret(ctx, "secret", "a", map[string]any{"k": "v"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the copy holds the blinded path", func() bool {
		text, _ := os.ReadFile(copied)
		return hashed.Hash != "" && strings.Contains(string(text), hashed.Hash)
	})
	if err := w.client.Do(ctx, "DELETE", "/v1/sys/audit/copy", nil, nil); err != nil {
		t.Error(err)
	}
}

// TestFullDiskRefusesChangesFirst: before the disk is full changes are refused in
// clear words, while reading and deleting go on.
func TestFullDiskRefusesChangesFirst(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=48m"); err != nil {
		t.Fatalf("this test mounts a tmpfs and must run as root: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	w := newWorld(t, func(c *server.Config) {
		c.Data = filepath.Join(dir, "data")
		c.Audit.MinFree, c.Audit.HeadRoom = 4<<20, 12<<20
	})
	ctx := t.Context()
	put := func() error {
		_, err := w.client.PutSecret(ctx, "secret", "a", map[string]any{"k": "v"})
		return err
	}
	if err := put(); err != nil {
		t.Fatal(err)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, int64(fs.Bavail)*int64(fs.Bsize)-8<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := put(); err == nil || !strings.Contains(err.Error(), "disk is nearly full") {
		t.Errorf("a change on a nearly full disk: %v", err)
	}
	if health, err := w.client.Raw(ctx, "GET", "/v1/sys/health", nil); err != nil || !strings.Contains(string(health), `"refuses_changes":"the server's disk is nearly full`) {
		t.Errorf("health on a nearly full disk: %s, %v", health, err)
	}
	if _, _, err := w.client.Secret(ctx, "secret", "a"); err != nil {
		t.Errorf("reading on a nearly full disk: %v", err)
	}
	if err := w.client.DeleteSecret(ctx, "secret", "a", true); err != nil {
		t.Errorf("deleting on a nearly full disk: %v", err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := put(); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// TestRewrittenLogShows: a log that was written anew while the server was down,
// as long as before, is noticed by the anchor in the store.
func TestRewrittenLogShows(t *testing.T) {
	w := newWorld(t, nil)
	other := newWorld(t, nil)
	for _, each := range []*world{w, other} {
		for range 20 {
			if _, err := each.client.PutSecret(t.Context(), "secret", "a", map[string]any{"k": "v"}); err != nil {
				t.Fatal(err)
			}
		}
		if err := each.stop(); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(filepath.Join(other.config.Data, "audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), `"audit.end"`) {
		t.Error("a server that stops does not close its log")
	}
	if err := os.WriteFile(filepath.Join(w.config.Data, "audit.log"), append(text, text...)[:len(text)], 0o600); err != nil {
		t.Fatal(err)
	}
	w.start()
	records, err := w.client.Audit(context.Background(), 0, 1000)
	if err != nil || !slices.ContainsFunc(records, func(r client.AuditRecord) bool { return r.Op == "audit.changed" || r.Op == "audit.cut" }) {
		t.Errorf("nothing says that the log was written anew: %v", err)
	}
}
