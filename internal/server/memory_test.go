// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFoldersOfKilledServersGo(t *testing.T) {
	parent := t.TempDir()
	alive, remove, err := memoryFolder(parent, "goldkeep-dev-")
	if err != nil {
		t.Fatal(err)
	}
	killed, _, err := memoryFolder(parent, "goldkeep-dev-")
	if err != nil {
		t.Fatal(err)
	}
	// A killed server holds no lock; somebody else's folder has none to be held.
	if err := os.Remove(filepath.Join(killed, "running")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(killed, "running"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	strange := filepath.Join(parent, "goldkeep-dev-strange")
	if err := os.Mkdir(strange, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(killed, filepath.Join(parent, "goldkeep-dev-link")); err != nil {
		t.Fatal(err)
	}
	_, last, err := memoryFolder(parent, "goldkeep-dev-")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(killed); !os.IsNotExist(err) {
		t.Errorf("the folder of a killed server is still there: %v", err)
	}
	for _, dir := range []string{alive, strange} {
		if _, err := os.Stat(dir); err != nil {
			t.Errorf("taken away: %v", err)
		}
	}
	for _, remove := range []func() error{remove, last} {
		if err := remove(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(alive); !os.IsNotExist(err) {
		t.Errorf("the folder of an ended server is still there: %v", err)
	}
}
