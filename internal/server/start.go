// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/engine/sys"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// unsealAtStart unseals with the key file, where there is one. A server that has
// never been initialized is: its key file is made where it is missing, and the
// root token is left in a file of the data folder.
func (s *Server) unsealAtStart(ctx context.Context) error {
	if s.config.KeyFile == "" {
		return nil
	}
	status, err := s.barrier.Status(ctx)
	if err != nil {
		return err
	}
	key, err := readKey(s.config.KeyFile, !status.Initialized)
	if err != nil {
		return err
	}
	defer clear(key)
	if status.Initialized {
		return s.barrier.UnsealWithFile(ctx, key)
	}
	root, err := s.initialize(ctx, key, "")
	if err != nil {
		return err
	}
	path := filepath.Join(s.config.Data, "root-token")
	if err := os.WriteFile(path, []byte(root+"\n"), 0o600); err != nil {
		return fault.New(fault.Invalid, "keep root token: %w", err)
	}
	s.log.Warn("the server was initialized; move the root token and the key file to a safe place", "rootToken", path, "keyFile", s.config.KeyFile)
	return nil
}

// readKey reads a key file, or makes one where create is set.
func readKey(path string, create bool) ([]byte, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) && create {
		key := make([]byte, 32)
		if _, err := rand.Read(key); err != nil {
			return nil, fmt.Errorf("make key: %w", err)
		}
		if err := os.WriteFile(path, key, 0o600); err != nil {
			return nil, fault.New(fault.Invalid, "make key file: %w", err)
		}
		return key, nil
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "read key file: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fault.New(fault.Invalid, "the key file %s can be read by others", path).WithHint("chmod 600 %s", path)
	}
	key, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.New(fault.Invalid, "read key file: %w", err)
	}
	return key, nil
}

// initialize makes the keys, unseals, and sets up what a new server has: a root
// token (id "": random) and a KV engine at secret/.
func (s *Server) initialize(ctx context.Context, key []byte, rootID string) (root string, err error) {
	if _, err := s.barrier.Init(ctx, barrier.InitOptions{KeyFile: key}); err != nil {
		return "", err
	}
	if err := s.barrier.UnsealWithFile(ctx, key); err != nil {
		return "", err
	}
	if root, err = sys.RootToken(ctx, s.tokens, rootID); err != nil {
		return "", err
	}
	return root, s.mounts.Add(ctx, engine.Mount{
		Path: "secret/", Kind: "kv", Description: "key/value secret storage", Options: map[string]string{"version": "2"},
	})
}
