// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/engine/seal"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/kms"
)

// unsealAtStart unseals with the key file, where there is one. A server that has
// never been initialized is: its key file is made where it is missing, and the
// root token is left in a file of the data folder.
func (s *Server) unsealAtStart(ctx context.Context) error {
	if waits, err := s.awaitTurn(ctx); waits || err != nil {
		return err
	}
	if s.kms != nil {
		return s.unwrap(ctx)
	}
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
	if err := s.unsealCopy(ctx); err != nil {
		return err
	}
	return s.finishFirstStart(ctx)
}

// unsealCopy unseals, and nothing else.
func (s *Server) unsealCopy(ctx context.Context) error {
	if err := s.openSeal(); err != nil {
		return err
	}
	if s.kms != nil {
		return s.barrier.Unwrap(ctx)
	}
	key, err := kms.ReadKey(s.config.KeyFile)
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
	return nil
}

// root names the file of the root token. While the server is being set up there
// is a second one, so that a crash in between can be made good.
func (s *Server) root() string { return filepath.Join(s.config.Data, "root-token") }

func (s *Server) unfinished() string { return filepath.Join(s.config.Data, "root-token.unfinished") }

// firstStart makes the key, unless it is there, and initializes the barrier.
// Where another server of the same database was faster, nothing is left behind.
func (s *Server) firstStart(ctx context.Context) error {
	madeKey, err := kms.MakeKey(s.config.KeyFile)
	if err != nil {
		return err
	}
	key, err := kms.ReadKey(s.config.KeyFile)
	if err != nil {
		return err
	}
	defer clear(key)
	if err := kms.WriteNew(s.unfinished(), nil); err != nil && !errors.Is(err, fs.ErrExist) {
		return fault.New(fault.Invalid, "keep root token: %w", err)
	}
	_, err = s.barrier.Init(ctx, barrier.InitOptions{KeyFile: key})
	if err == nil {
		return nil
	}
	left := os.Remove(s.unfinished())
	if madeKey {
		left = errors.Join(left, os.Remove(s.config.KeyFile))
	}
	switch {
	case !fault.Is(err, fault.Conflict):
	case madeKey:
		err = fault.New(fault.Conflict, "another server has just initialized this database").WithHint("copy its key file to %s", s.config.KeyFile)
	default:
		err = nil // it may have done so with the same key: unsealing tells
	}
	return errors.Join(err, left)
}

// finishFirstStart sets up a new server, also after a crash in between. A root
// token that was made and not kept before the crash is known to nobody.
func (s *Server) finishFirstStart(ctx context.Context) error {
	if _, err := os.Stat(s.unfinished()); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	token, err := s.setUp(ctx, "")
	if err != nil {
		return err
	}
	err = os.Remove(s.root())
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = kms.WriteNew(s.root(), []byte(token+"\n"))
	}
	if err == nil {
		err = os.Remove(s.unfinished())
	}
	if err != nil {
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

// setUp makes what a new server has: a root token (id "": random) and, where it
// is not there yet, a KV engine at secret/.
func (s *Server) setUp(ctx context.Context, rootID string) (root string, err error) {
	if root, err = seal.RootToken(ctx, s.tokens, rootID); err != nil {
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
