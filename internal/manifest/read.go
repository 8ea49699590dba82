// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// maxFiles bounds how many files one folder may bring.
const maxFiles = 10_000

// ReadPaths reads files, folders (every *.yaml and *.yml below, names that begin
// with a dot left out, in the order of their paths) and, for "-", stdin. Errors of all
// files are collected into one, see Parse; a file that cannot be read, and a
// path that holds no manifest at all, are errors too.
func ReadPaths(stdin io.Reader, paths ...string) ([]Document, error) {
	var docs []Document
	all := &parser{}
	for _, path := range paths {
		files, err := filesOf(path)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			text, err := readFile(stdin, file)
			if err != nil {
				return nil, err
			}
			p := &parser{file: shownName(file)}
			docs = append(docs, p.documents(text)...)
			all.errs = append(all.errs, p.errs...)
		}
	}
	all.twice(docs)
	if err := all.errs.Err(); err != nil {
		return nil, err
	}
	if len(docs) == 0 {
		return nil, fault.New(fault.Invalid, "no manifests found in %q", paths).WithHint("name a YAML file, a folder of *.yaml files, or - for standard input")
	}
	return docs, nil
}

func shownName(file string) string {
	if file == "-" {
		return "stdin"
	}
	return file
}

// filesOf returns the manifest files a path stands for, in order.
func filesOf(path string) ([]string, error) {
	if path == "-" {
		return []string{path}, nil
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "no such file or folder: %s", path)
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "read manifests: %w", err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	var files []string
	err = filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
		hidden := name != path && entry != nil && entry.Name()[0] == '.'
		switch {
		case err != nil:
			return err
		case hidden && entry.IsDir():
			return fs.SkipDir
		case hidden || entry.IsDir() || !slices.Contains([]string{".yaml", ".yml"}, filepath.Ext(name)):
			return nil
		case len(files) == maxFiles:
			return fault.New(fault.TooLarge, "%s holds more than %d manifest files", path, maxFiles)
		}
		files = append(files, name)
		return nil
	})
	if err != nil {
		if fault.Is(err, fault.TooLarge) {
			return nil, err
		}
		return nil, fault.New(fault.Invalid, "read manifests: %w", err)
	}
	return files, nil
}

// readFile reads one byte more than is allowed, so that Parse can refuse it.
func readFile(stdin io.Reader, file string) ([]byte, error) {
	in := stdin
	if file != "-" {
		opened, err := os.Open(file)
		if err != nil {
			return nil, fault.New(fault.Invalid, "read manifest: %w", err)
		}
		defer opened.Close()
		in = opened
	}
	if in == nil {
		return nil, fault.New(fault.Invalid, "there is no standard input to read manifests from")
	}
	text, err := io.ReadAll(io.LimitReader(in, MaxBytes+1))
	if err != nil {
		return nil, fault.New(fault.Invalid, "read manifest %s: %w", shownName(file), err)
	}
	return text, nil
}
