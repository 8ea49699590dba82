// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package barrier_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/store/storetest"
)

// vault is a service that seals with its name, and can be away.
type vault struct {
	kind, name string
	away       *bool
}

func (v vault) Type() string { return v.kind }

func (v vault) Wrap(_ context.Context, key []byte) ([]byte, error) {
	if *v.away {
		return nil, errors.New("away")
	}
	return append([]byte(v.kind+v.name), key...), nil
}

func (v vault) Unwrap(_ context.Context, sealed []byte) ([]byte, error) {
	key, ok := strings.CutPrefix(string(sealed), v.kind+v.name)
	if !ok || *v.away {
		return nil, errors.New("not mine")
	}
	return []byte(key), nil
}

// TestTurn turns the seal from each kind into each other. A wrong share and a
// service that is away change nothing.
func TestTurn(t *testing.T) {
	away := false
	file := barrier.Way{KeyFile: func() ([]byte, error) { return bytes.Clone(keyFile), nil }}
	one, two := barrier.Way{Wrapper: vault{"v", "1", &away}, Name: "1"}, barrier.Way{Wrapper: vault{"v", "2", &away}, Name: "2"}
	other := barrier.Way{Wrapper: vault{"other", "", &away}}
	shares := barrier.Way{}
	storetest.Each(t, func(t *testing.T, s store.Store) {
		ctx := t.Context()
		b, err := barrier.Open(ctx, s)
		must(t, err)
		made, err := b.Init(ctx, barrier.InitOptions{Shares: 3, Threshold: 2})
		must(t, err)
		for _, share := range made.Shares[:2] {
			_, err = b.SubmitShare(ctx, share)
			must(t, err)
		}
		put(t, b.Space(), barrier.Entry{Path: "a", Value: []byte("kept")})
		if _, err := b.SubmitTurn(ctx, made.Shares[0]); err == nil {
			t.Error("there is nothing to turn")
		}
		now := shares
		for n, to := range []barrier.Way{one, two, other, file, shares, file, one, shares, other, shares} {
			from := now
			b, err = barrier.Open(ctx, s)
			must(t, err)
			b.Turn(&from, to)
			if st, err := b.Status(ctx); err != nil || !st.Turns || !st.Sealed {
				t.Fatalf("step %d: %+v, %v", n, st, err)
			}
			if _, err := b.SubmitShare(ctx, made.Shares[0]); err == nil || !strings.Contains(err.Error(), "seal migration is pending") {
				t.Errorf("step %d: a share without agreeing: %v", n, err)
			}
			forged := append([]byte(nil), made.Shares[1]...)
			forged[5] ^= 1
			for _, share := range [][]byte{made.Shares[0], forged} {
				_, err = b.SubmitTurn(ctx, share)
			}
			if err == nil {
				t.Errorf("step %d: a forged share agrees", n)
			}
			away = true
			for _, share := range made.Shares[:2] {
				_, err = b.SubmitTurn(ctx, share)
			}
			if wraps := from.Wrapper != nil || to.Wrapper != nil; (err != nil) != wraps {
				t.Errorf("step %d: while the service is away: %v", n, err)
			}
			away = false
			if b.Sealed() {
				for _, share := range made.Shares[1:] {
					_, err = b.SubmitTurn(ctx, share)
					must(t, err)
				}
			}
			if got, _ := get(t, b.Space(), "a"); got != "kept" {
				t.Errorf("step %d: %q", n, got)
			}
			must(t, b.Prove(ctx, made.Shares[:2]))
			must(t, b.Rotate(ctx))
			now = to

			// And anew, with the new configuration only.
			again, err := barrier.Open(ctx, s)
			must(t, err)
			again.Turn(nil, to)
			if st, err := again.Status(ctx); err != nil || st.Turns || st.Shares != 3 || st.Threshold != 2 {
				t.Errorf("step %d: %+v, %v", n, st, err)
			}
			switch {
			case to.Wrapper != nil:
				must(t, again.Unwrap(ctx))
			case to.KeyFile != nil:
				must(t, again.UnsealWithFile(ctx, keyFile))
			default:
				for _, share := range made.Shares[1:] {
					_, err = again.SubmitShare(ctx, share)
					must(t, err)
				}
			}
			if got, _ := get(t, again.Space(), "a"); got != "kept" {
				t.Errorf("step %d, anew: %q", n, got)
			}
		}
	})
}
