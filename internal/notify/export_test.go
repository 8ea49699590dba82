// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"context"
	"time"
)

// Doors into the room for its tests.

func Plain(text string, most int) string { return plain(text, most) }

func Slack(d Digest) ([]byte, error) { return slack(d) }

func (d Digest) Lines() []string { return d.lines() }

func (w Web) Control(address string) error { return w.control("tcp", address, nil) }

// Claim takes what is due as a server would that dies right after.
func (s *Service) Claim(ctx context.Context, now time.Time, limit int) ([]Delivery, error) {
	return s.claim(ctx, now, limit)
}

// The limits, to be held against.
const (
	MaxItems = maxItems
	Claimed  = claimed
	GiveUp   = giveUp
	MaxBlock = maxBlock
)
