// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"context"

	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

var errNoVerification = fault.New(fault.Invalid, "no rekey verification in progress")

func (d rekeyDoor) verifyStatus(context.Context, *engine.Request, engine.Vars) (*engine.Response, error) {
	d.r.mu.Lock()
	defer d.r.mu.Unlock()
	return d.verifyNow()
}

// verifyNow wants the lock held.
func (d rekeyDoor) verifyNow() (*engine.Response, error) {
	r := d.r
	if r.next == nil {
		return nil, errNoVerification
	}
	return dressed(d.legacy, map[string]any{
		"started": true, "nonce": r.check.nonce, "t": r.threshold, "n": r.newShares, "progress": len(r.check.shares),
	}), nil
}

func (d rekeyDoor) cancelVerify(context.Context, *engine.Request, engine.Vars) (*engine.Response, error) {
	d.r.mu.Lock()
	defer d.r.mu.Unlock()
	if d.r.next == nil {
		return nil, errNoVerification
	}
	d.r.check.begin()
	return d.verifyNow()
}

// verify takes a new share; with enough of them the new shares come into force.
func (d rekeyDoor) verify(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	r := d.r
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next == nil {
		return nil, errNoVerification
	}
	all, err := r.check.bring(engine.Read(req), r.threshold)
	if err != nil {
		return nil, err
	}
	if all == nil {
		return d.verifyNow()
	}
	if err := r.next.Fits(all); err != nil {
		r.check.begin()
		return nil, err
	}
	nonce := r.check.nonce
	if err := d.install(ctx, r.next); err != nil {
		return nil, err
	}
	r.reset()
	return dressed(d.legacy, map[string]any{"nonce": nonce, "complete": true}), nil
}
