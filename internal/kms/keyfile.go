// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package kms

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// keySize is the size in bytes of a key file we make; maxKey bounds one we are given.
const (
	keySize = 32
	maxKey  = 1 << 20
)

// ReadKey reads a key file, which nobody but its owner may be able to read.
func ReadKey(path string) ([]byte, error) {
	// Without O_NONBLOCK a pipe of that name would hold us up for ever.
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fault.New(fault.Invalid, "read key file: %w", err).
			WithHint("bring it back from where you keep it: without it nobody can read the secrets")
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, fault.New(fault.Invalid, "read key file: %w", err)
	}
	switch {
	case !info.Mode().IsRegular():
		return nil, fault.New(fault.Invalid, "the key file %s is not a file", path)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fault.New(fault.Invalid, "the key file %s can be read by others", path).WithHint("chmod 600 %s", path)
	case info.Size() < keySize || info.Size() > maxKey:
		return nil, fault.New(fault.Invalid, "the key file %s holds %d bytes; a key has %d or more", path, info.Size(), keySize).
			WithHint("bring the right file back, or name one that is not there yet at the first start: it will be made")
	}
	key, err := io.ReadAll(io.LimitReader(file, maxKey))
	if err != nil {
		return nil, fault.New(fault.Invalid, "read key file: %w", err)
	}
	return key, nil
}

// MakeKey makes a key file where there is none; it is on disk, whole, before this
// returns, and of two that make it at once both read the same.
func MakeKey(path string) (made bool, err error) {
	if _, err := os.Stat(path); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return false, nil // reading it tells what is wrong
	}
	key := make([]byte, keySize)
	if _, err := rand.Read(key); err != nil {
		return false, fmt.Errorf("make key: %w", err)
	}
	defer clear(key)
	err = WriteNew(path, key)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, fault.New(fault.Invalid, "make key file: %w", err).WithHint("check that the folder exists and is yours")
	}
	return true, nil
}

// WriteNew writes a file that must not exist yet, whole or not at all, and on
// disk before it returns.
func WriteNew(path string, content []byte) (err error) {
	temp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(temp.Name())) }()
	_, err = temp.Write(content)
	if err = errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	if err := os.Link(temp.Name(), path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
