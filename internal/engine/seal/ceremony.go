// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"strings"
	"sync"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// ceremony is something that the holders of key shares do together: each brings a
// share, and when there are enough it happens. One server holds it in memory: what
// was begun is gone after a restart, and unknown to other servers.
type ceremony struct {
	mu     sync.Mutex
	nonce  string // "": not begun
	shares map[byte][]byte
}

// begin starts anew and answers the nonce that each share must come with.
func (c *ceremony) begin() string {
	c.end()
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails: see crypto/rand
	text := hex.EncodeToString(b)
	c.nonce = strings.Join([]string{text[:8], text[8:12], text[12:16], text[16:20], text[20:]}, "-")
	return c.nonce
}

func (c *ceremony) end() {
	c.nonce = ""
	c.drop()
}

// drop forgets the shares brought so far.
func (c *ceremony) drop() {
	for _, share := range c.shares {
		clear(share)
	}
	c.shares = map[byte][]byte{}
}

// bring takes a share, and answers all there are once there are as many as needed.
func (c *ceremony) bring(f *engine.Fields, needed int) (all [][]byte, err error) {
	key, nonce := strings.TrimSpace(f.Text("key")), f.Text("nonce")
	switch {
	case f.Err() != nil:
		return nil, f.Err()
	case key == "":
		return nil, fault.New(fault.Invalid, "'key' must be specified in request body as JSON")
	case subtle.ConstantTimeCompare([]byte(nonce), []byte(c.nonce)) != 1:
		return nil, fault.New(fault.Invalid, "incorrect nonce supplied; nonce for this operation is given when it is begun")
	}
	share, err := decodeShare(key)
	if err != nil {
		return nil, err
	}
	if !barrier.IsShare(share) {
		return nil, fault.New(fault.Invalid, "the key share has the wrong length or form")
	}
	if have, ok := c.shares[share[0]]; ok && subtle.ConstantTimeCompare(have, share) == 1 {
		return nil, fault.New(fault.Invalid, "given key has already been provided during this operation")
	}
	c.shares[share[0]] = share
	if len(c.shares) < needed {
		return nil, nil
	}
	for _, share := range c.shares {
		all = append(all, share)
	}
	return all, nil
}

// forgetCeremonies drops the shares brought so far, after sealing.
func (e *Engine) forgetCeremonies() {
	for _, r := range []*rekey{&e.rekey, &e.recovery} {
		r.mu.Lock()
		r.reset()
		r.mu.Unlock()
	}
	e.root.mu.Lock()
	e.root.end()
	e.root.otp, e.root.holder = "", nil
	e.root.mu.Unlock()
}

// needed is how many shares agree on something: key shares, or recovery keys.
func (e *Engine) needed(ctx context.Context) (int, error) {
	st, err := e.o.Barrier.Status(ctx)
	if err == nil && st.Type != barrier.Shamir && !st.Recovery {
		err = fault.New(fault.Invalid, "this server has no key shares: its seal is of type %q", st.Type).
			WithHint("make recovery keys: goldkeep operator rekey --recovery")
	}
	return st.Threshold, err
}

// dressed answers in the envelope, or bare as the old paths do.
func dressed(bareAnswer bool, data any) *engine.Response {
	return &engine.Response{Data: data, Bare: bareAnswer}
}

// off answers where a legacy path is switched off.
func off(instead string) engine.Handler {
	return func(context.Context, *engine.Request, engine.Vars) (*engine.Response, error) {
		return nil, fault.New(fault.NotFound, "unsupported path: unauthenticated, and therefore off; use %s", instead)
	}
}
