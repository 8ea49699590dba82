// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"context"
	"encoding/base64"
	"encoding/hex"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// rekey is the ceremony that puts a new root key, with new shares, in place of the
// old one. Where verification is asked for, the new key is in force only when enough
// of the new shares have come back.
type rekey struct {
	ceremony
	newShares, threshold int
	verify               bool
	next                 *barrier.Candidate // made, and waiting for verification by check
	check                ceremony
}

func (e *Engine) rekeyRoutes() []engine.Route {
	const begins = "secret_shares:integer secret_threshold:integer pgp_keys:list backup:boolean require_verification:boolean stored_shares:integer"
	routes := []engine.Route{{Path: "rotate/root", Help: "Makes a new root key without shares, where the seal has none.", Ops: engine.Ops{Write: rotateRoot}}}
	for _, folder := range []string{"rotate/root/", "rotate/recovery/", "rekey/", "rekey-recovery-key/"} {
		legacy := folder[:2] == "re"
		paths := []engine.Route{
			{
				Path: folder + "init", Help: "New key shares: begin, see how far it is, give up.", Takes: begins + " nonce",
				Ops: engine.Ops{Read: e.rekeyStatus(legacy), Write: e.beginRekey(legacy), Delete: e.cancelRekey},
			},
			{Path: folder + "update", Help: "Takes one of the present key shares.", Takes: "key nonce", Ops: engine.Ops{Write: e.updateRekey(legacy)}},
			{
				Path: folder + "verify", Help: "Takes one of the new key shares, to be sure that they have arrived.", Takes: "key nonce",
				Ops: engine.Ops{Read: e.verifyStatus(legacy), Write: e.verifyRekey(legacy), Delete: e.cancelVerify(legacy)},
			},
			{Path: folder + "backup", Help: "There are no backups of key shares.", Ops: engine.Ops{Read: noBackup, Delete: nothingToDo}},
		}
		for i := range paths {
			switch {
			case legacy && !e.o.LegacyRekey:
				h := off("sys/rotate/root")
				paths[i].Ops = engine.Ops{Read: h, Write: h, Delete: h}
			case folder == "rotate/recovery/" || folder == "rekey-recovery-key/":
				paths[i].Ops = engine.Ops{Read: noRecovery, Write: noRecovery, Delete: noRecovery}
			}
		}
		routes = append(routes, paths...)
	}
	return append(routes, engine.Route{Path: "rekey/recovery-key-backup", Help: "There are no backups of key shares.", Ops: engine.Ops{Read: noBackup, Delete: nothingToDo}})
}

func nothingToDo(context.Context, *engine.Request, engine.Vars) (*engine.Response, error) {
	return nil, nil
}

func noBackup(context.Context, *engine.Request, engine.Vars) (*engine.Response, error) {
	return nil, fault.New(fault.Invalid, "no backed-up keys found")
}

func noRecovery(context.Context, *engine.Request, engine.Vars) (*engine.Response, error) {
	return nil, fault.New(fault.Invalid, "recovery rekeying not supported")
}

func rotateRoot(context.Context, *engine.Request, engine.Vars) (*engine.Response, error) {
	return nil, fault.New(fault.Invalid, "the root key is made of the key shares: it changes with them").WithHint("use sys/rotate/root/init and sys/rotate/root/update")
}

// shownRekey is how far a rekeying is.
type shownRekey struct {
	Started      bool     `json:"started"`
	Nonce        string   `json:"nonce"`
	T            int      `json:"t"`
	N            int      `json:"n"`
	Progress     int      `json:"progress"`
	Required     int      `json:"required"`
	Fingerprints []string `json:"pgp_fingerprints"`
	Backup       bool     `json:"backup"`
	Verify       bool     `json:"verification_required"`
	VerifyNonce  string   `json:"verification_nonce,omitempty"`
}

func (e *Engine) rekeyStatus(legacy bool) engine.Handler {
	return func(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
		e.rekey.mu.Lock()
		defer e.rekey.mu.Unlock()
		return e.rekeyNow(ctx, legacy)
	}
}

// rekeyNow wants the lock held.
func (e *Engine) rekeyNow(ctx context.Context, legacy bool) (*engine.Response, error) {
	required, _, err := e.needed(ctx)
	if err != nil {
		return nil, err
	}
	r := &e.rekey
	return dressed(legacy, shownRekey{
		Started: r.nonce != "", Nonce: r.nonce, T: r.threshold, N: r.newShares, Progress: len(r.shares), Required: required,
		Verify: r.verify, VerifyNonce: r.check.nonce,
	}), nil
}

func (e *Engine) beginRekey(legacy bool) engine.Handler {
	return func(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
		f := engine.Read(req)
		shares, threshold, verify := f.Int("secret_shares", 0), f.Int("secret_threshold", 0), f.Bool("require_verification", false)
		pgp, backup := f.List("pgp_keys"), f.Bool("backup", false)
		switch {
		case f.Err() != nil:
			return nil, f.Err()
		case len(pgp) > 0 || backup:
			return nil, fault.New(fault.Invalid, "keys encrypted with PGP are not offered").WithHint("leave out pgp_keys and backup")
		}
		if _, err := barrier.NewCandidate(shares, threshold); err != nil {
			return nil, err
		}
		e.rekey.mu.Lock()
		defer e.rekey.mu.Unlock()
		if e.rekey.nonce != "" {
			return nil, fault.New(fault.Invalid, "rekey already in progress")
		}
		e.rekey.reset()
		e.rekey.newShares, e.rekey.threshold, e.rekey.verify = shares, threshold, verify
		e.rekey.begin()
		return e.rekeyNow(ctx, legacy)
	}
}

func (r *rekey) reset() {
	r.end()
	r.check.end()
	r.newShares, r.threshold, r.verify, r.next = 0, 0, false, nil
}

func (e *Engine) cancelRekey(context.Context, *engine.Request, engine.Vars) (*engine.Response, error) {
	e.rekey.mu.Lock()
	defer e.rekey.mu.Unlock()
	e.rekey.reset()
	return nil, nil
}

// rekeyed is the answer that hands out the new shares.
type rekeyed struct {
	Nonce        string   `json:"nonce"`
	Complete     bool     `json:"complete"`
	Keys         []string `json:"keys"`
	KeysBase64   []string `json:"keys_base64"`
	Fingerprints []string `json:"pgp_fingerprints"`
	Backup       bool     `json:"backup"`
	Verify       bool     `json:"verification_required"`
	VerifyNonce  string   `json:"verification_nonce,omitempty"`
}

func (e *Engine) updateRekey(legacy bool) engine.Handler {
	return func(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
		needed, _, err := e.needed(ctx)
		if err != nil {
			return nil, err
		}
		r := &e.rekey
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.nonce == "" || r.next != nil {
			return nil, fault.New(fault.Invalid, "no rekey in progress")
		}
		all, err := r.bring(engine.Read(req), needed)
		if err != nil {
			return nil, err
		}
		if all == nil {
			return e.rekeyNow(ctx, legacy)
		}
		if err := e.o.Keys.Prove(ctx, all); err != nil {
			r.drop()
			return nil, err
		}
		return e.makeShares(ctx, legacy)
	}
}

// makeShares makes the new key and, without verification, puts it in force.
func (e *Engine) makeShares(ctx context.Context, legacy bool) (*engine.Response, error) {
	r := &e.rekey
	next, err := barrier.NewCandidate(r.newShares, r.threshold)
	if err != nil {
		return nil, err
	}
	answer := rekeyed{Nonce: r.nonce, Complete: true, Verify: r.verify}
	for _, share := range next.Shares {
		answer.Keys = append(answer.Keys, hex.EncodeToString(share))
		answer.KeysBase64 = append(answer.KeysBase64, base64.StdEncoding.EncodeToString(share))
	}
	if r.verify {
		r.next, answer.VerifyNonce = next, r.check.begin()
		r.drop()
		return dressed(legacy, answer), nil
	}
	if err := e.o.Keys.Install(ctx, next); err != nil {
		return nil, err
	}
	r.reset()
	return dressed(legacy, answer), nil
}

var errNoVerification = fault.New(fault.Invalid, "no rekey verification in progress")

func (e *Engine) verifyStatus(legacy bool) engine.Handler {
	return func(context.Context, *engine.Request, engine.Vars) (*engine.Response, error) {
		e.rekey.mu.Lock()
		defer e.rekey.mu.Unlock()
		return e.verifyNow(legacy)
	}
}

func (e *Engine) verifyNow(legacy bool) (*engine.Response, error) {
	r := &e.rekey
	if r.next == nil {
		return nil, errNoVerification
	}
	return dressed(legacy, map[string]any{
		"started": true, "nonce": r.check.nonce, "t": r.threshold, "n": r.newShares, "progress": len(r.check.shares),
	}), nil
}

func (e *Engine) cancelVerify(legacy bool) engine.Handler {
	return func(context.Context, *engine.Request, engine.Vars) (*engine.Response, error) {
		e.rekey.mu.Lock()
		defer e.rekey.mu.Unlock()
		if e.rekey.next == nil {
			return nil, errNoVerification
		}
		e.rekey.check.begin()
		return e.verifyNow(legacy)
	}
}

func (e *Engine) verifyRekey(legacy bool) engine.Handler {
	return func(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
		r := &e.rekey
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
			return e.verifyNow(legacy)
		}
		if err := r.next.Fits(all); err != nil {
			r.check.begin()
			return nil, err
		}
		nonce := r.check.nonce
		if err := e.o.Keys.Install(ctx, r.next); err != nil {
			return nil, err
		}
		r.reset()
		return dressed(legacy, map[string]any{"nonce": nonce, "complete": true}), nil
	}
}
