// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Command vuln packs the records in hack/vuln/records as OSV's public bucket
// lays them out: go run ./hack/vuln PATH/all.zip.
package main

import (
	"archive/zip"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if err := pack(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "vuln:", err)
		os.Exit(1)
	}
}

func pack(path string) error {
	files, err := filepath.Glob("hack/vuln/records/*.json")
	if err != nil {
		return err
	}
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	z := zip.NewWriter(out)
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		w, err := z.Create(filepath.Base(f))
		if err != nil {
			return err
		}
		if _, err := w.Write(text); err != nil {
			return err
		}
	}
	if err := z.Close(); err != nil {
		return err
	}
	return out.Close()
}
