// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"time"

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

// openSeal takes the service of the configuration, if there is one.
func (s *Server) openSeal() (err error) {
	if s.config.Seal.Type == "" {
		return nil
	}
	if s.kms, err = kms.Open(s.config.Seal.Type, s.config.Seal.Options); err != nil {
		return err
	}
	s.barrier.WrapWith(s.kms)
	return nil
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
	if s.kms == nil {
		<-ctx.Done()
		return nil
	}
	renewed := time.Now()
	every(ctx, unwrapBeat, func() {
		if s.sealTrouble.Load() != nil {
			if err := s.unwrap(ctx); err != nil && ctx.Err() == nil {
				s.log.Error("unseal", "error", err)
			}
		}
		if time.Since(renewed) > renewBeat {
			renewed = time.Now()
			if err := s.kms.Renew(ctx); err != nil && ctx.Err() == nil {
				s.log.Warn("renew the seal's token", "error", err)
			}
		}
	})
	return nil
}
