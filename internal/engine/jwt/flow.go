// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package jwt

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"sync"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/quota"
)

// Limits of logins under way.
const (
	flowLife  = 5 * time.Minute
	flowsMost = 20_000 // begun within flowLife on one server; anybody can begin one
	flowsEach = 2_000  // of them for one client
	sweptAt   = 20     // how many old ones go when a new one is kept
	maxField  = 4096   // bytes of what a caller names: a redirect, a nonce, a code
)

// flow is one login in a browser, from auth_url to the token. It is kept in the
// store: the browser may come back to another server, or after a restart.
type flow struct {
	Role        string `json:"role"`
	Redirect    string `json:"redirect"`
	Nonce       string `json:"nonce"`    // that the ID token must hold
	Verifier    string `json:"verifier"` // of PKCE
	ClientNonce string `json:"clientNonce,omitempty"`
	Direct      bool   `json:"direct,omitempty"`
	From        string `json:"from"`              // who asked for it
	Code        string `json:"code,omitempty"`    // brought by a form_post
	Confirm     []byte `json:"confirm,omitempty"` // direct: proof of the page that was shown last
	Used        bool   `json:"used,omitempty"`    // the browser has come back
	Failed      string `json:"failed,omitempty"`  // why a direct one failed
	Who         *who   `json:"who,omitempty"`     // direct: who has logged in
}

// ask makes the secret of a page that asks the person to confirm a login with a
// code. Only the browser that brought the code sees it: who began the login knows
// the state, and must not be able to confirm it.
func (fl *flow) ask(code string) (secret string) {
	secret = rand.Text()
	fl.Confirm = proof(secret, code)
	return secret
}

// confirms reports whether a secret is that of the page that was shown for a code.
func (fl *flow) confirms(secret, code string) bool {
	return len(fl.Confirm) > 0 && hmac.Equal(fl.Confirm, proof(secret, code))
}

// proof binds a page's secret to the code the page was shown for.
func proof(secret, code string) []byte {
	sum := hmac.New(sha256.New, []byte(secret))
	sum.Write([]byte(code))
	return sum.Sum(nil)
}

// flowPath is where a flow is kept: its state is a secret, and kept as a hash.
func flowPath(state string) string {
	sum := sha256.Sum256([]byte(state))
	return hex.EncodeToString(sum[:])
}

// begin keeps a new flow and returns its state.
func (e *Engine) begin(ctx context.Context, fl *flow, remote string, now time.Time) (state string, err error) {
	if !e.starts.allow(remote, now) {
		return "", fault.New(fault.Unavailable, "too many logins have been begun").WithHint("try again in some minutes")
	}
	state = "st_" + rand.Text()
	old, err := e.flows.Expired(ctx, now, sweptAt)
	if err != nil {
		return "", err
	}
	return state, e.flows.Update(ctx, func(w barrier.Writer) error {
		if err := engine.Sweep(ctx, w, old, now); err != nil {
			return err
		}
		return fl.save(ctx, w, flowPath(state), now.Add(flowLife))
	})
}

func (fl *flow) save(ctx context.Context, w barrier.Writer, path string, until time.Time) error {
	return w.Put(ctx, barrier.Entry{Path: path, Value: engine.Stored(fl), Expires: until})
}

// errState is the answer to a state nobody knows, or that is old or used.
func errState() error {
	return fault.New(fault.Invalid, "Vault login failed. Expired or missing OAuth state.")
}

// look reads a flow that is still under way.
func (e *Engine) look(ctx context.Context, state string, now time.Time) (fl *flow, err error) {
	err = e.flows.View(ctx, func(r barrier.Reader) (err error) {
		fl, _, err = underWay(ctx, r, state, now)
		return err
	})
	return fl, err
}

func underWay(ctx context.Context, r barrier.Reader, state string, now time.Time) (*flow, time.Time, error) {
	entry, err := r.Get(ctx, flowPath(state))
	if err != nil {
		return nil, time.Time{}, err
	}
	if state == "" || entry == nil || !now.Before(entry.Expires) {
		return nil, time.Time{}, errState()
	}
	fl, err := engine.Found[flow](ctx, r, flowPath(state))
	return fl, entry.Expires, err
}

// edit changes a flow that is still under way; change may say to drop it.
func (e *Engine) edit(ctx context.Context, state string, now time.Time, change func(*flow) (drop bool, err error)) (fl *flow, err error) {
	err = e.flows.Update(ctx, func(w barrier.Writer) error {
		found, until, err := underWay(ctx, w, state, now)
		if err != nil {
			return err
		}
		drop, err := change(found)
		if err != nil {
			return err
		}
		fl = found
		if drop {
			return w.Delete(ctx, flowPath(state))
		}
		return found.save(ctx, w, flowPath(state), until)
	})
	return fl, err
}

// throttle bounds how many flows one server begins, in all and for one client; the
// zero value works.
type throttle struct {
	mu      sync.Mutex
	since   time.Time
	count   int
	clients map[string]int // at most flowsMost
}

func (t *throttle) allow(remote string, now time.Time) bool {
	client := quota.Client(remote)
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.since) >= flowLife || t.clients == nil {
		t.since, t.count, t.clients = now, 0, map[string]int{}
	}
	if t.count >= flowsMost || t.clients[client] >= flowsEach {
		return false
	}
	t.count++
	t.clients[client]++
	return true
}
