// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package factor

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/entity"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/otp"
)

// totp are the settings of codes that change with time (RFC 6238).
type totp struct {
	Issuer    string `json:"issuer"`
	Period    int    `json:"period"` // seconds
	KeySize   int    `json:"key_size"`
	QRSize    int    `json:"qr_size"`
	Algorithm string `json:"algorithm"`
	Digits    int    `json:"digits"`
	Skew      int    `json:"skew"` // how many periods before and after a code is accepted
	Attempts  int    `json:"attempts"`
}

// The limits of the settings.
const (
	maxPeriod  = 24 * 60 * 60
	maxKeySize = 1024 // bytes
	maxQR      = 2048 // pixels
	maxTries   = 1000
)

func readTOTP(f *engine.Fields) (*totp, error) {
	t := &totp{
		Issuer: f.Text("issuer"), Period: 30, KeySize: f.Int("key_size", 20), QRSize: f.Int("qr_size", 200), Algorithm: f.Text("algorithm"),
		Digits: f.Int("digits", 6), Skew: f.Int("skew", 1), Attempts: f.Int("max_validation_attempts", 5),
	}
	if f.Has("period") {
		t.Period = int(f.Duration("period") / time.Second)
	}
	if t.Algorithm == "" {
		t.Algorithm = "SHA1"
	}
	if t.Attempts == 0 {
		t.Attempts = 5
	}
	switch {
	case f.Err() != nil:
		return nil, f.Err()
	case !otp.Known(t.Algorithm):
		return nil, fault.New(fault.Invalid, "unrecognized algorithm")
	case t.Digits != 6 && t.Digits != 8:
		return nil, fault.New(fault.Invalid, "digits can only be 6 or 8")
	case t.Period <= 0:
		return nil, fault.New(fault.Invalid, "period must be greater than zero")
	case t.Skew != 0 && t.Skew != 1:
		return nil, fault.New(fault.Invalid, "skew must be 0 or 1")
	case t.KeySize <= 0:
		return nil, fault.New(fault.Invalid, "key_size must be greater than zero")
	case t.Issuer == "":
		return nil, fault.New(fault.Invalid, "issuer must be set")
	case t.Attempts < 0:
		return nil, fault.New(fault.Invalid, "max_validation_attempts must be greater than zero")
	case t.QRSize < 0 || t.QRSize > maxQR || t.Period > maxPeriod || t.KeySize > maxKeySize || t.Attempts > maxTries || len(t.Issuer) > 256:
		return nil, fault.New(fault.Invalid, "at most: period %d, key_size %d, qr_size %d, max_validation_attempts %d, issuer 256 bytes", maxPeriod, maxKeySize, maxQR, maxTries)
	}
	return t, nil
}

func (t *totp) show(data map[string]any) {
	data["issuer"], data["period"], data["key_size"], data["qr_size"] = t.Issuer, t.Period, t.KeySize, t.QRSize
	data["algorithm"], data["digits"], data["skew"], data["max_validation_attempts"] = t.Algorithm, t.Digits, t.Skew, t.Attempts
}

// codes are those of a secret made with these settings.
func (t *totp) codes(key []byte) otp.Codes {
	return otp.Codes{Secret: key, Algorithm: t.Algorithm, Period: t.Period, Digits: t.Digits, Skew: t.Skew}
}

// secret is somebody's second factor. The settings are those of its making, which is
// what the person's device knows.
type secret struct {
	Key   []byte    `json:"key"`
	TOTP  totp      `json:"totp"`
	Last  uint64    `json:"last,omitempty"`  // counter of the last code that was accepted: none up to it ever is again
	Wrong int       `json:"wrong,omitempty"` // tries that failed since Since
	Since time.Time `json:"since"`
}

func secretDir(methodID string) string { return "secret/" + hex.EncodeToString([]byte(methodID)) }
func secretPath(methodID, entityID string) string {
	return secretDir(methodID) + "/" + hex.EncodeToString([]byte(entityID))
}

// lockFor is how long too many wrong codes are remembered, where the period is not
// longer.
const lockFor = 5 * time.Minute

// try checks a code and notes what came of it; the secret has to be written in any
// case. The error says why it is not accepted.
func (s *secret) try(code string, attempts int, now time.Time) error {
	lock := max(lockFor, time.Duration(s.TOTP.Period)*time.Second)
	if s.Wrong > 0 && !now.Before(s.Since.Add(lock)) {
		s.Wrong = 0
	}
	if s.Wrong >= attempts {
		return fault.New(fault.Denied, "maximum TOTP validation attempts %d exceeded the allowed attempts %d. Please try again in %v seconds",
			s.Wrong+1, attempts, int(s.Since.Add(lock).Sub(now)/time.Second)+1)
	}
	counter, ok := s.TOTP.codes(s.Key).Match(code, now)
	switch {
	case ok && counter <= s.Last:
		return fault.New(fault.Denied, "code already used; new code is available in %d seconds", s.TOTP.Period)
	case ok:
		s.Last, s.Wrong = counter, 0
		return nil
	}
	if s.Wrong++; s.Wrong == 1 {
		s.Since = now
	}
	return fault.New(fault.Denied, "failed to validate TOTP passcode")
}

func (e *Engine) secretRoutes() []engine.Route {
	own := func(req *engine.Request, _ *engine.Fields) string {
		if req.Subject == nil || req.Subject.Identity == nil {
			return ""
		}
		return req.Subject.Identity.Entity.ID
	}
	named := func(_ *engine.Request, f *engine.Fields) string { return f.Text("entity_id") }
	return []engine.Route{
		{Path: "mfa/method/totp/generate", Help: "Make one's own second factor.", Takes: "method_id", Ops: engine.Ops{Write: e.generate(own)}},
		{Path: "mfa/method/totp/admin-generate", Help: "Make somebody's second factor.", Takes: "method_id entity_id", Ops: engine.Ops{Write: e.generate(named)}},
		{Path: "mfa/method/totp/admin-destroy", Help: "Take somebody's second factor away.", Takes: "method_id entity_id", Ops: engine.Ops{Write: e.destroy}},
	}
}

// generate makes a secret for somebody who has none, and shows it this once.
func (e *Engine) generate(whose func(*engine.Request, *engine.Fields) string) engine.Handler {
	return func(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
		m, who, err := e.asked(ctx, req, whose)
		if err != nil {
			return nil, err
		}
		s := secret{Key: make([]byte, m.TOTP.KeySize), TOTP: *m.TOTP}
		_, _ = rand.Read(s.Key) // never fails: see crypto/rand
		there := false
		err = e.o.Space.Update(ctx, func(w barrier.Writer) error {
			old, err := w.Get(ctx, secretPath(m.ID, who))
			if there = old != nil; err != nil || there {
				return err
			}
			return w.Put(ctx, barrier.Entry{Path: secretPath(m.ID, who), Value: engine.Stored(&s)})
		})
		if err != nil {
			return nil, err
		}
		if there {
			return &engine.Response{Warnings: []string{fmt.Sprintf("Entity already has a secret for MFA method %q", m.Name)}}, nil
		}
		return s.hand(who)
	}
}

// asked is the method and the entity a request is about.
func (e *Engine) asked(ctx context.Context, req *engine.Request, whose func(*engine.Request, *engine.Fields) string) (*method, string, error) {
	f := engine.Read(req)
	id, who := f.Text("method_id"), whose(req, f)
	switch {
	case f.Err() != nil:
		return nil, "", f.Err()
	case id == "":
		return nil, "", fault.New(fault.Invalid, "missing method ID")
	case who == "":
		return nil, "", fault.New(fault.Invalid, "missing entityID")
	}
	m, err := engine.Look[method](ctx, e.o.Space, methodPath(id))
	switch {
	case err != nil:
		return nil, "", err
	case m == nil:
		return nil, "", fault.New(fault.Invalid, "configuration for method ID %q does not exist", id)
	case m.Type != totpType:
		return nil, "", fault.New(fault.Invalid, "the method ID is not of the type TOTP")
	}
	found, err := e.o.Directory.Find(ctx, entity.Key{ID: who})
	if err == nil && found == nil {
		err = fault.New(fault.Invalid, "invalid entity ID")
	}
	return m, who, err
}

func (e *Engine) destroy(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	m, who, err := e.asked(ctx, req, func(_ *engine.Request, f *engine.Fields) string { return f.Text("entity_id") })
	if err != nil {
		return nil, err
	}
	return nil, e.o.Space.Update(ctx, func(w barrier.Writer) error { return w.Delete(ctx, secretPath(m.ID, who)) })
}

// hand is a new secret as authenticator apps read it.
func (s *secret) hand(account string) (*engine.Response, error) {
	text := s.TOTP.codes(s.Key).URL(s.TOTP.Issuer, account)
	answer := map[string]string{"url": text, "barcode": ""}
	if s.TOTP.QRSize > 0 {
		picture, err := otp.Picture(text, s.TOTP.QRSize)
		if err != nil {
			return nil, err
		}
		answer["barcode"] = picture
	}
	return &engine.Response{Data: answer}, nil
}
