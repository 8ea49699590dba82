// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/zip"
	"os"
	"path/filepath"
	"testing"
)

// TestGroundTruth compares with what is known to be in the images of the small data
// folder: package by package and finding by finding.
func TestGroundTruth(t *testing.T) {
	wrong, err := run(t.Context(), "testdata", nil)
	if err != nil || wrong > 0 {
		t.Fatalf("%d differences, %v", wrong, err)
	}
}

// A comparison that cannot fail proves nothing.
func TestGroundTruthCanFail(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, dir string){
		"a feed is gone": func(t *testing.T, dir string) {
			if err := os.RemoveAll(filepath.Join(dir, "osv", "Go")); err != nil {
				t.Fatal(err)
			}
		},
		"a record is gone": func(t *testing.T, dir string) {
			without(t, filepath.Join(dir, "osv/Debian/all.zip"), "DSA-6335-1.json")
		},
		"another image": func(t *testing.T, dir string) {
			if err := os.Rename(filepath.Join(dir, "images/bad-app.oci.tar"), filepath.Join(dir, "images/python-app.oci.tar")); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS("testdata")); err != nil {
				t.Fatal(err)
			}
			spoil(t, dir)
			wrong, err := run(t.Context(), dir, []string{"python-app", "go-app"})
			if err != nil || wrong == 0 {
				t.Errorf("%d differences, %v", wrong, err)
			}
		})
	}
}

// without writes a zip anew, less one member.
func without(t *testing.T, name, member string) {
	t.Helper()
	in, err := zip.OpenReader(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	file, err := os.Create(name + ".new")
	if err != nil {
		t.Fatal(err)
	}
	w := zip.NewWriter(file)
	for _, f := range in.File {
		if f.Name != member {
			if err := w.Copy(f); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}
