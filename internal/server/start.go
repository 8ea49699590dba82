// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

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
	if !status.Initialized {
		if err := s.firstStart(ctx); err != nil {
			return err
		}
	}
	key, err := readKey(s.config.KeyFile)
	if err != nil {
		return err
	}
	defer clear(key)
	if err := s.barrier.UnsealWithFile(ctx, key); err != nil {
		if fault.Is(err, fault.Invalid) {
			return fault.New(fault.Invalid, "unseal with the key file %s: %w", s.config.KeyFile, err).
				WithHint("use the key file this server, or the first of its database, was initialized with; without keyFile people unseal with key shares")
		}
		return err
	}
	return s.finishFirstStart(ctx)
}

// newRoot and root name the files of the root token. It is in the first until
// the server has been set up, so that a crash in between can be made good.
func (s *Server) newRoot() string { return filepath.Join(s.config.Data, "root-token.new") }
func (s *Server) root() string    { return filepath.Join(s.config.Data, "root-token") }

// firstStart makes the key, unless it is there, and initializes the barrier.
// Where another server of the same database was faster, nothing is left behind.
func (s *Server) firstStart(ctx context.Context) error {
	madeKey, err := makeKey(s.config.KeyFile)
	if err != nil {
		return err
	}
	key, err := readKey(s.config.KeyFile)
	if err != nil {
		return err
	}
	defer clear(key)
	id := make([]byte, 32)
	if _, err := rand.Read(id); err != nil {
		return fmt.Errorf("make root token: %w", err)
	}
	token := "root." + base64.RawURLEncoding.EncodeToString(id)
	if err := os.Remove(s.newRoot()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.Invalid, "remove old root token: %w", err)
	}
	if err := writeNew(s.newRoot(), []byte(token+"\n")); err != nil {
		return fault.New(fault.Invalid, "keep root token: %w", err)
	}
	_, err = s.barrier.Init(ctx, barrier.InitOptions{KeyFile: key})
	if err == nil {
		return nil
	}
	left := os.Remove(s.newRoot())
	if madeKey {
		left = errors.Join(left, os.Remove(s.config.KeyFile))
	}
	if fault.Is(err, fault.Conflict) && !madeKey {
		err = nil // another server did it, with the same key or not: unsealing tells
	}
	if fault.Is(err, fault.Conflict) {
		err = fault.New(fault.Conflict, "another server has just initialized this database").WithHint("copy its key file to %s", s.config.KeyFile)
	}
	return errors.Join(err, left)
}

// finishFirstStart sets up a new server, also after a crash in between.
func (s *Server) finishFirstStart(ctx context.Context) error {
	token, err := os.ReadFile(s.newRoot())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault.New(fault.Invalid, "read new root token: %w", err)
	}
	if _, err := s.setUp(ctx, strings.TrimSpace(string(token))); err != nil {
		return err
	}
	if err := os.Rename(s.newRoot(), s.root()); err != nil {
		return fault.New(fault.Invalid, "keep root token: %w", err)
	}
	s.log.Warn("the server was initialized; move the root token and the key file to a safe place", "rootToken", s.root(), "keyFile", s.config.KeyFile)
	return nil
}

// initialize makes the keys, unseals, and sets the server up.
func (s *Server) initialize(ctx context.Context, key []byte, rootID string) (root string, err error) {
	if _, err := s.barrier.Init(ctx, barrier.InitOptions{KeyFile: key}); err != nil {
		return "", err
	}
	if err := s.barrier.UnsealWithFile(ctx, key); err != nil {
		return "", err
	}
	return s.setUp(ctx, rootID)
}

// setUp makes what a new server has, where it is not there yet: a root token
// (id "": random) and a KV engine at secret/.
func (s *Server) setUp(ctx context.Context, rootID string) (root string, err error) {
	root = rootID
	if _, err := s.tokens.Subject(ctx, rootID); fault.Is(err, fault.Denied) {
		root, err = sys.RootToken(ctx, s.tokens, rootID)
		if err != nil {
			return "", err
		}
	} else if err != nil {
		return "", err
	}
	mounted, err := s.mounts.List(ctx)
	if err != nil {
		return "", err
	}
	for _, m := range mounted {
		if m.Path == "secret/" {
			return root, nil
		}
	}
	return root, s.mounts.Add(ctx, engine.Mount{
		Path: "secret/", Kind: "kv", Description: "key/value secret storage", Options: map[string]string{"version": "2"},
	})
}
