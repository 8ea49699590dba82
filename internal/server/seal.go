// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/kms"
)

// A server whose root key is sealed elsewhere unseals itself: at the start and,
// where the service does not answer, again and again.

func (c Seal) check(keyFile string) error {
	if c.Type == "" {
		return nil
	}
	if keyFile != "" {
		return fault.New(fault.Invalid, "seal and keyFile contradict each other")
	}
	_, err := kms.Open(c.Type, c.Options)
	return err
}

func (o OldSeal) check(now Seal) error {
	switch {
	case o.Type == "":
		return nil
	case o.KeyFile != "":
		return fault.New(fault.Invalid, "oldSeal: type and keyFile contradict each other")
	case o.Type == now.Type && o.Options["name"] == now.Options["name"]:
		return fault.New(fault.Invalid, "the seal and the old one are both of type %q", o.Type).
			WithHint(`give the new one another name: name = "new" among its options`)
	}
	_, err := kms.Open(o.Type, o.Options)
	return err
}

// openSeal tells the barrier how the root key is kept.
func (s *Server) openSeal() (err error) {
	to := barrier.Way{}
	switch c := s.config; {
	case c.Seal.Type != "":
		if s.kms, err = kms.Open(c.Seal.Type, c.Seal.Options); err != nil {
			return err
		}
		to = barrier.Way{Wrapper: s.kms, Name: c.Seal.Options["name"]}
	case c.KeyFile != "":
		to.KeyFile = func() ([]byte, error) {
			if _, err := kms.MakeKey(c.KeyFile); err != nil {
				return nil, err
			}
			return kms.ReadKey(c.KeyFile)
		}
	}
	from, err := s.config.OldSeal.way()
	if err == nil {
		s.barrier.Turn(from, to)
	}
	return err
}

// way is nil where nothing is said.
func (o OldSeal) way() (*barrier.Way, error) {
	switch {
	case o.KeyFile != "":
		return &barrier.Way{KeyFile: func() ([]byte, error) { return kms.ReadKey(o.KeyFile) }}, nil
	case o.Type == "":
		return nil, nil
	}
	service, err := kms.Open(o.Type, o.Options)
	return &barrier.Way{Wrapper: service, Name: o.Options["name"]}, err
}

// awaitTurn reports whether the seal waits to be turned into another kind: the server
// stays sealed then until enough people agree, here or at another server.
func (s *Server) awaitTurn(ctx context.Context) (bool, error) {
	status, err := s.barrier.Status(ctx)
	if err != nil || !status.Turns {
		return false, err
	}
	if !s.turning.Swap(true) {
		s.log.Warn("the seal is to be turned into the one of the configuration: goldkeep operator unseal --migrate", "is", status.Type, "shares", status.Threshold)
	}
	return true, nil
}

// turned unseals after another server of the same database has turned the seal.
func (s *Server) turned(ctx context.Context) error {
	if waits, err := s.awaitTurn(ctx); waits || err != nil {
		return err
	}
	s.turning.Store(false)
	if !s.barrier.Sealed() {
		return nil
	}
	return s.unsealAtStart(ctx)
}

// unwrap unseals with the service. That it is away stops no start: the server is
// sealed then, says why, and tries again.
func (s *Server) unwrap(ctx context.Context) error {
	status, err := s.barrier.Status(ctx)
	if err != nil || !status.Initialized || !status.Sealed {
		return err
	}
	err = s.barrier.Unwrap(ctx)
	if fault.Is(err, fault.Unavailable) {
		why := err.Error()
		if old := s.sealTrouble.Swap(&why); old == nil {
			s.log.Error("the server stays sealed: its seal's service does not answer; it is tried again", "error", err)
		}
		return nil
	}
	if err == nil && s.sealTrouble.Swap(nil) != nil {
		s.log.Info("unsealed: the seal's service answers again")
	}
	return err
}

// The beats at which the service is asked again, and our right to use it renewed.
const (
	unwrapBeat = 3 * time.Second
	renewBeat  = 20 * time.Minute
)

// keepSeal unseals as soon as the service answers. A server that was sealed by
// somebody stays so.
func (s *Server) keepSeal(ctx context.Context) error {
	renewed := time.Now()
	every(ctx, unwrapBeat, func() {
		if s.turning.Load() {
			if err := s.turned(ctx); err != nil && ctx.Err() == nil {
				s.log.Error("unseal", "error", err)
			}
		}
		if s.sealTrouble.Load() != nil {
			if err := s.unwrap(ctx); err != nil && ctx.Err() == nil {
				s.log.Error("unseal", "error", err)
			}
		}
		if s.kms != nil && time.Since(renewed) > renewBeat {
			renewed = time.Now()
			if err := s.kms.Renew(ctx); err != nil && ctx.Err() == nil {
				s.log.Warn("renew the seal's token", "error", err)
			}
		}
	})
	return nil
}
