// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"context"
	"crypto/rand"
	"encoding/base64"

	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// rootAttempt is the ceremony that makes a root token. The token is answered under a
// one-time password, or encrypted for a holder, so that only who began it can read it.
type rootAttempt struct {
	ceremony
	otp    string
	holder *holder
}

// A root token made so, and its password, have this form; clients know the length.
const (
	rootPrefix = "hvs."
	rootLength = len(rootPrefix) + 24
)

func (e *Engine) rootRoutes() []engine.Route {
	var routes []engine.Route
	for _, folder := range []string{"generate-root-token/", "generate-root/"} {
		legacy := folder == "generate-root/"
		attempt := engine.Ops{Read: e.rootStatus(legacy), Write: e.beginRoot(legacy), Delete: e.cancelRoot}
		update := engine.Ops{Write: e.updateRoot(legacy)}
		if legacy && !e.o.LegacyRoot {
			h := off("sys/generate-root-token")
			attempt, update = engine.Ops{Read: h, Write: h, Delete: h}, engine.Ops{Write: h}
		}
		routes = append(routes,
			engine.Route{Path: folder + "attempt", Help: "A new root token: begin, see how far it is, give up.", Takes: "otp pgp_key", Ops: attempt},
			engine.Route{Path: folder + "update", Help: "Takes one key share.", Takes: "key nonce", Ops: update})
	}
	return append(routes, engine.Route{
		Path: "decode-token", Help: "Reads a root token that was made under a one-time password.", Takes: "encoded_token otp", Ops: engine.Ops{Write: decodeToken},
	})
}

// shownRoot is how far an attempt is.
type shownRoot struct {
	Started     bool   `json:"started"`
	Nonce       string `json:"nonce"`
	Progress    int    `json:"progress"`
	Required    int    `json:"required"`
	Complete    bool   `json:"complete"`
	Encoded     string `json:"encoded_token"`
	EncodedRoot string `json:"encoded_root_token"`
	Fingerprint string `json:"pgp_fingerprint"`
	OTP         string `json:"otp"`
	OTPLength   int    `json:"otp_length"`
}

func (e *Engine) rootStatus(legacy bool) engine.Handler {
	return func(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
		e.root.mu.Lock()
		defer e.root.mu.Unlock()
		shown, err := e.rootNow(ctx)
		return dressed(legacy, shown), err
	}
}

// rootNow wants the lock held.
func (e *Engine) rootNow(ctx context.Context) (shownRoot, error) {
	required, err := e.needed(ctx)
	shown := shownRoot{
		Started: e.root.nonce != "", Nonce: e.root.nonce, Progress: len(e.root.shares), Required: required, OTPLength: rootLength,
	}
	if e.root.holder != nil {
		shown.Fingerprint = e.root.holder.fingerprint()
	}
	return shown, err
}

func (e *Engine) beginRoot(legacy bool) engine.Handler {
	return func(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
		f := engine.Read(req)
		otp := f.Text("otp")
		holder, err := rootFor(f, "pgp_key", req.Now)
		switch {
		case err != nil:
			return nil, err
		case otp != "" && len(otp) != rootLength:
			return nil, fault.New(fault.Invalid, "OTP string is wrong length: want %d characters", rootLength)
		}
		e.root.mu.Lock()
		defer e.root.mu.Unlock()
		if e.root.nonce != "" {
			return nil, fault.New(fault.Invalid, "root generation already in progress")
		}
		made := otp == "" && holder == nil
		if made {
			otp = base62(rootLength)
		}
		e.root.begin()
		e.root.otp, e.root.holder = otp, holder
		shown, err := e.rootNow(ctx)
		if made {
			shown.OTP = otp
		}
		return dressed(legacy, shown), err
	}
}

func (e *Engine) cancelRoot(context.Context, *engine.Request, engine.Vars) (*engine.Response, error) {
	e.root.mu.Lock()
	defer e.root.mu.Unlock()
	e.root.end()
	e.root.otp, e.root.holder = "", nil
	return nil, nil
}

func (e *Engine) updateRoot(legacy bool) engine.Handler {
	return func(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
		e.root.mu.Lock()
		defer e.root.mu.Unlock()
		if e.root.nonce == "" {
			return nil, fault.New(fault.Invalid, "no root generation in progress")
		}
		shown, err := e.rootNow(ctx)
		if err != nil {
			return nil, err
		}
		all, err := e.root.bring(engine.Read(req), shown.Required)
		if err != nil {
			return nil, err
		}
		shown.Progress = len(e.root.shares)
		if all == nil {
			return dressed(legacy, shown), nil
		}
		if err := e.o.Keys.Prove(ctx, all); err != nil {
			e.root.drop()
			return nil, err
		}
		token, err := RootToken(ctx, e.o.Tokens, rootPrefix+base62(rootLength-len(rootPrefix)))
		if err != nil {
			return nil, err
		}
		shown.Complete = true
		if shown.Encoded, err = e.root.hide(token); err != nil {
			return nil, err
		}
		shown.EncodedRoot = shown.Encoded
		e.root.end()
		e.root.otp, e.root.holder = "", nil
		return dressed(legacy, shown), nil
	}
}

// hide makes a token unreadable to all but who began.
func (r *rootAttempt) hide(token string) (string, error) {
	if r.holder == nil {
		return base64.RawStdEncoding.EncodeToString(xor(token, r.otp)), nil
	}
	message, err := r.holder.encrypt(token)
	return base64.StdEncoding.EncodeToString(message), err
}

func xor(a, b string) []byte {
	out := make([]byte, len(a))
	for i := range out {
		out[i] = a[i] ^ b[i]
	}
	return out
}

func decodeToken(_ context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	encoded, otp := f.Text("encoded_token"), f.Text("otp")
	if f.Err() != nil || encoded == "" || otp == "" {
		return nil, fault.New(fault.Invalid, "provided 'encoded_token' or 'otp' is empty")
	}
	raw, err := base64.RawStdEncoding.DecodeString(encoded)
	if err != nil || len(raw) != len(otp) {
		return nil, fault.New(fault.Invalid, "the token and the otp do not go together")
	}
	return &engine.Response{Data: map[string]string{"token": string(xor(string(raw), otp))}}, nil
}

// base62 is random text of letters and digits.
func base62(n int) string {
	const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	out := make([]byte, 0, n)
	for b := make([]byte, 1); len(out) < n; {
		_, _ = rand.Read(b) // never fails: see crypto/rand
		if b[0] < 248 {     // 4 * 62: all equally likely
			out = append(out, alphabet[b[0]%62])
		}
	}
	return string(out)
}
