// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package server

import "context"

// knows says whether a token is one of ours, taking no use of it.
func (s *Server) knows(ctx context.Context, token string) bool {
	if ours, err := s.tokens.Proof(ctx, token); err == nil && ours {
		return true
	}
	if s.barrier.Sealed() {
		return false
	}
	known, err := s.house.Known(ctx, token)
	return err == nil && known
}
