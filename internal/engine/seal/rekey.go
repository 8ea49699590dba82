// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"context"
	"strings"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// rekey is the ceremony that puts new key shares in place of the old ones: those of
// the root key, or those of the recovery key of a server that unseals itself. Where
// verification is asked for, the new ones are in force only when enough of them have
// come back, and until then the old ones are.
type rekey struct {
	ceremony
	recovery  bool
	newShares int
	threshold int
	verify    bool
	backup    bool
	holders   []*holder          // whom the new shares are encrypted for; empty: for nobody
	next      *barrier.Candidate // made, and waiting for verification by check
	check     ceremony
}

// rekeyDoor is one of the folders by which a rekeying is reached.
type rekeyDoor struct {
	e      *Engine
	r      *rekey
	legacy bool // answers bare
}

func (e *Engine) rekeyRoutes() []engine.Route {
	routes := []engine.Route{{Path: "rotate/root", Help: "Makes a new root key without shares, where the seal has none.", Ops: engine.Ops{Write: e.rotateRoot}}}
	for _, folder := range []string{"rotate/root/", "rotate/recovery/", "rekey/", "rekey-recovery-key/"} {
		d := rekeyDoor{e: e, r: &e.rekey, legacy: strings.HasPrefix(folder, "rekey")}
		if strings.Contains(folder, "recovery") {
			d.r = &e.recovery
		}
		instead := ""
		if d.legacy && !e.o.LegacyRekey {
			instead = "sys/rotate/root"
		}
		routes = append(routes, d.routes(folder, instead)...)
	}
	for path, r := range map[string]*rekey{
		"rotate/root/backup": &e.rekey, "rekey/backup": &e.rekey,
		"rotate/recovery/backup": &e.recovery, "rekey/recovery-key-backup": &e.recovery, "rekey/recovery-backup": &e.recovery,
	} {
		d := rekeyDoor{e: e, r: r, legacy: strings.HasPrefix(path, "rekey")}
		routes = append(routes, engine.Route{
			Path: path, Help: "Encrypted key shares that were kept: read them, forget them.", Ops: engine.Ops{Read: d.readBackup, Delete: d.deleteBackup},
		})
	}
	return routes
}

func (d rekeyDoor) routes(folder, instead string) []engine.Route {
	const begins = "secret_shares:integer secret_threshold:integer pgp_keys:list backup:boolean require_verification:boolean stored_shares:integer"
	begin := engine.Ops{Read: d.status, Write: d.begin, Delete: d.cancel}
	update := engine.Ops{Write: d.update}
	verify := engine.Ops{Read: d.verifyStatus, Write: d.verify, Delete: d.cancelVerify}
	if instead != "" {
		h := off(instead)
		begin, update, verify = engine.Ops{Read: h, Write: h, Delete: h}, engine.Ops{Write: h}, engine.Ops{Read: h, Write: h, Delete: h}
	}
	return []engine.Route{
		{Path: folder + "init", Help: "New key shares: begin, see how far it is, give up.", Takes: begins + " nonce", Ops: begin},
		{Path: folder + "update", Help: "Takes one of the present key shares.", Takes: "key nonce", Ops: update},
		{Path: folder + "verify", Help: "Takes one of the new key shares, to be sure that they have arrived.", Takes: "key nonce", Ops: verify},
	}
}

// rotateRoot makes a new root key where it is sealed by a service.
func (e *Engine) rotateRoot(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	return nil, e.o.Keys.RotateRoot(ctx)
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

// needed is how many of the present shares agree. None are needed for the first
// recovery keys of a server with a key file, which has had none.
func (d rekeyDoor) needed(ctx context.Context) (int, error) {
	st, err := d.e.o.Barrier.Status(ctx)
	switch {
	case err != nil:
		return 0, err
	case !st.Initialized || d.r.recovery == (st.Type == barrier.Shamir):
		if d.r.recovery {
			return 0, fault.New(fault.Invalid, "recovery rekeying not supported")
		}
		return 0, fault.New(fault.Invalid, "this server's seal is of type %q: its root key has no key shares", st.Type).
			WithHint("new recovery keys: sys/rotate/recovery/init; a new root key: sys/rotate/root")
	case d.r.recovery && !st.Recovery:
		return 0, nil
	}
	return st.Threshold, nil
}

func (d rekeyDoor) status(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	d.r.mu.Lock()
	defer d.r.mu.Unlock()
	return d.now(ctx)
}

// now wants the lock held.
func (d rekeyDoor) now(ctx context.Context) (*engine.Response, error) {
	required, err := d.needed(ctx)
	if err != nil {
		return nil, err
	}
	r := d.r
	return dressed(d.legacy, shownRekey{
		Started: r.nonce != "", Nonce: r.nonce, T: r.threshold, N: r.newShares, Progress: len(r.shares), Required: required,
		Fingerprints: fingerprints(r.holders), Backup: r.backup, Verify: r.verify, VerifyNonce: r.check.nonce,
	}), nil
}

// begin starts. Everything that can be wrong with what will be made is found here,
// and not when the holders of shares have met.
func (d rekeyDoor) begin(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	f := engine.Read(lowerCased(req)) // the Go client of Vault says "Backup"
	shares, threshold := f.Int("secret_shares", 0), f.Int("secret_threshold", 0)
	verify, pgp, backup := f.Bool("require_verification", false), f.List("pgp_keys"), f.Bool("backup", false)
	switch {
	case f.Err() != nil:
		return nil, f.Err()
	case backup && len(pgp) == 0:
		return nil, fault.New(fault.Invalid, "cannot request a backup of the new keys without providing PGP keys for encryption")
	}
	needed, err := d.needed(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := barrier.NewCandidate(shares, threshold); err != nil {
		return nil, err
	}
	holders, err := readHolders(pgp, shares, req.Now)
	if err != nil {
		return nil, err
	}
	r := d.r
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.nonce != "" {
		return nil, fault.New(fault.Invalid, "rekey already in progress")
	}
	r.reset()
	r.newShares, r.threshold, r.verify, r.holders, r.backup = shares, threshold, verify, holders, backup
	r.begin()
	if needed == 0 {
		return d.makeShares(ctx)
	}
	return d.now(ctx)
}

func (r *rekey) reset() {
	r.end()
	r.check.end()
	r.newShares, r.threshold, r.verify, r.backup, r.holders, r.next = 0, 0, false, false, nil, nil
}

func (d rekeyDoor) cancel(context.Context, *engine.Request, engine.Vars) (*engine.Response, error) {
	d.r.mu.Lock()
	defer d.r.mu.Unlock()
	d.r.reset()
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

func (d rekeyDoor) update(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	needed, err := d.needed(ctx)
	if err != nil {
		return nil, err
	}
	r := d.r
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
		return d.now(ctx)
	}
	if err := d.e.o.Keys.Prove(ctx, all); err != nil {
		r.drop()
		return nil, err
	}
	return d.makeShares(ctx)
}

// makeShares makes the new shares and, without verification, puts them in force.
func (d rekeyDoor) makeShares(ctx context.Context) (*engine.Response, error) {
	r := d.r
	next, err := barrier.NewCandidate(r.newShares, r.threshold)
	if err != nil {
		return nil, err
	}
	answer := rekeyed{Nonce: r.nonce, Complete: true, Fingerprints: fingerprints(r.holders), Backup: r.backup, Verify: r.verify}
	if answer.Keys, answer.KeysBase64, err = handOut(next.Shares, r.holders); err != nil {
		return nil, err
	}
	if r.backup {
		kept := newBackup(r.nonce, r.holders, answer.Keys, answer.KeysBase64)
		err := d.e.o.Space.Update(ctx, func(w barrier.Writer) error {
			return w.Put(ctx, barrier.Entry{Path: d.backupAt(), Value: engine.Stored(kept)})
		})
		if err != nil {
			return nil, err
		}
	}
	if r.verify {
		r.next, answer.VerifyNonce = next, r.check.begin()
		r.drop()
		return dressed(d.legacy, answer), nil
	}
	if err := d.install(ctx, next); err != nil {
		return nil, err
	}
	r.reset()
	return dressed(d.legacy, answer), nil
}

func (d rekeyDoor) install(ctx context.Context, next *barrier.Candidate) error {
	if d.r.recovery {
		return d.e.o.Keys.InstallRecovery(ctx, next)
	}
	return d.e.o.Keys.Install(ctx, next)
}

func (d rekeyDoor) backupAt() string {
	if d.r.recovery {
		return "backup/recovery"
	}
	return "backup/root"
}

func (d rekeyDoor) readBackup(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	kept, err := engine.Look[backup](ctx, d.e.o.Space, d.backupAt())
	if err != nil {
		return nil, err
	}
	if kept == nil {
		return nil, fault.New(fault.Invalid, "no backed-up keys found")
	}
	return dressed(false, kept), nil
}

func (d rekeyDoor) deleteBackup(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	return nil, d.e.o.Space.Update(ctx, func(w barrier.Writer) error { return w.Delete(ctx, d.backupAt()) })
}
