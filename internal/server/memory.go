// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// memoryFolder makes the folder of a server that keeps nothing, and says how it is
// taken away. Those that servers left which were killed are taken away first.
//
// A server holds a lock in its folder. The folder gets its name when the lock is
// held, so whoever can have the lock of one finds nobody at home.
func memoryFolder(parent, prefix string) (dir string, remove func() error, err error) {
	sweep(parent, prefix)
	made, err := os.MkdirTemp(parent, "new-"+prefix)
	if err != nil {
		return "", nil, fault.New(fault.Invalid, "make folder: %w", err)
	}
	lock, err := lockFolder(made, os.O_CREATE)
	dir = filepath.Join(filepath.Dir(made), strings.TrimPrefix(filepath.Base(made), "new-"))
	if err == nil {
		err = os.Rename(made, dir)
	}
	if err != nil {
		return "", nil, errors.Join(fault.New(fault.Invalid, "make folder: %w", err), os.RemoveAll(made))
	}
	return dir, func() error { return errors.Join(os.RemoveAll(dir), lock.Close()) }, nil
}

// lockFolder takes the lock of a folder, or fails at once.
func lockFolder(dir string, flag int) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(dir, "running"), os.O_RDWR|flag|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

// sweep removes our own folders whose servers have ended. Its failures do no harm.
func sweep(parent, prefix string) {
	if parent == "" {
		parent = os.TempDir()
	}
	left, _ := filepath.Glob(filepath.Join(parent, prefix+"*"))
	for _, dir := range left {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() {
			continue
		}
		if at, ok := info.Sys().(*syscall.Stat_t); !ok || int(at.Uid) != os.Geteuid() {
			continue
		}
		if lock, err := lockFolder(dir, 0); err == nil {
			_ = os.RemoveAll(dir)
			_ = lock.Close()
		}
	}
}
