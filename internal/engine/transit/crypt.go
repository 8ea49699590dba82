// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package transit

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// prefix begins whatever this engine hands out; the version follows.
const prefix = "vault:v"

// crypts are the fields that requests to encrypt and decrypt share.
const crypts = " context nonce associated_data key_version:integer batch_input:list partial_failure_response_code:integer"

func (e *Engine) cryptRoutes() []engine.Route {
	return []engine.Route{
		{Path: "encrypt/{name}", Ops: engine.Ops{Write: e.encrypt}, Help: "Encrypts; makes the key where there is none.", Takes: "plaintext type convergent_encryption:boolean" + crypts},
		{Path: "decrypt/{name}", Ops: engine.Ops{Write: e.each(decrypting)}, Help: "Opens a ciphertext.", Takes: "ciphertext" + crypts},
		{Path: "rewrap/{name}", Ops: engine.Ops{Write: e.each(rewrapping)}, Help: "Encrypts a ciphertext anew, by the latest version.", Takes: "ciphertext" + crypts},
		{Path: "datakey/{form}/{name}", Ops: engine.Ops{Write: e.dataKey}, Help: "A new key to encrypt with elsewhere, itself encrypted.", Takes: "context nonce bits:integer associated_data key_version:integer"},
	}
}

// encrypt encrypts; by a key that is not there yet, where the caller may make it.
func (e *Engine) encrypt(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	k, err := e.find(ctx, v["name"])
	if err != nil {
		return nil, err
	}
	if k == nil {
		if err := e.upsert(ctx, req, v["name"]); err != nil {
			return nil, err
		}
	}
	return e.each(encrypting)(ctx, req, v)
}

func (e *Engine) upsert(ctx context.Context, req *engine.Request, name string) error {
	s, err := e.settings(ctx)
	if err != nil {
		return err
	}
	f := engine.Read(req)
	if !req.Creates || s.DisableUpsert {
		return fault.New(fault.Invalid, "encryption key not found")
	}
	derived := f.Text("context") != ""
	if items := f.Items("batch_input"); len(items) > 0 {
		derived = items[0].Text("context") != ""
	}
	create := *req
	create.Data = map[string]json.RawMessage{"derived": json.RawMessage(strconv.FormatBool(derived))}
	for _, name := range []string{"type", "convergent_encryption"} {
		if f.Has(name) {
			create.Data[name] = f.Raw(name)
		}
	}
	_, err = e.create(ctx, &create, engine.Vars{"name": name})
	return err
}

// work is what is done to one item of a request.
type work func(k *key, f *engine.Fields) (map[string]any, error)

// task is work with what clients are told where it cannot be done.
type task struct {
	do    work
	by    string             // the key it needs: "encryption"
	fits  func(k *key) error // whether that key can do it at all; nil: do finds out
	blank map[string]any     // fields of a batch's item that failed
}

var (
	encrypting = task{do: encryptOne, by: "encryption"}
	decrypting = task{do: decryptOne, by: "encryption", blank: map[string]any{"plaintext": ""}}
	rewrapping = task{do: rewrapOne, by: "encryption"}
)

// each does some work on the request itself, or on every item of its batch_input.
func (e *Engine) each(t task) engine.Handler {
	return func(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
		k, err := e.use(ctx, v["name"], t.by)
		if err == nil && t.fits != nil {
			err = t.fits(k)
		}
		if err != nil {
			return nil, err
		}
		f := engine.Read(req)
		if !f.Has("batch_input") {
			return one(k, f, t.do)
		}
		return batch(k, f, t)
	}
}

func one(k *key, f *engine.Fields, do work) (*engine.Response, error) {
	out, err := do(k, f)
	if err == nil {
		err = f.Err()
	}
	if err != nil {
		return nil, err
	}
	return &engine.Response{Data: out}, nil
}

// maxBatch bounds the items of one request.
const maxBatch = 10_000

// batch answers every item in its place; one that fails fails the status, not the
// others.
func batch(k *key, f *engine.Fields, t task) (*engine.Response, error) {
	items := f.Items("batch_input")
	partial := f.Int("partial_failure_response_code", 0)
	switch {
	case f.Err() != nil:
		return nil, f.Err()
	case len(items) == 0:
		return nil, fault.New(fault.Invalid, "missing batch input to process")
	case len(items) > maxBatch:
		return nil, fault.New(fault.TooLarge, "%d items; one request takes at most %d", len(items), maxBatch)
	case partial != 0 && (partial < 200 || partial > 599):
		return nil, fault.New(fault.Invalid, "partial_failure_response_code must be an HTTP status from 200 to 599")
	}
	results := make([]map[string]any, len(items))
	failed, status := 0, 0
	for i, item := range items {
		out, err := t.do(k, item)
		if err == nil {
			err = item.Err()
		}
		if err != nil {
			failed++
			if fault.KindOf(err) == fault.Internal {
				status = 500
			} else {
				status = max(status, 400)
			}
			out = map[string]any{"error": fault.Public(err)}
			maps.Copy(out, t.blank)
		}
		out["reference"] = item.Text("reference")
		results[i] = out
	}
	if failed > 0 && failed < len(items) && partial != 0 {
		status = partial
	}
	return &engine.Response{Status: status, Data: map[string]any{"batch_results": results}}, nil
}

func encryptOne(k *key, f *engine.Fields) (map[string]any, error) {
	if !f.Has("plaintext") {
		return nil, fault.New(fault.Invalid, "missing plaintext to encrypt")
	}
	plaintext, err := decoded(f, "plaintext")
	if err != nil {
		return nil, fault.New(fault.Invalid, "%w", err)
	}
	text, n, err := k.encrypt(plaintext, f)
	if err != nil {
		return nil, err
	}
	return map[string]any{"ciphertext": text, "key_version": n}, nil
}

func decryptOne(k *key, f *engine.Fields) (map[string]any, error) {
	plaintext, err := k.decrypt(f)
	if err != nil {
		return nil, err
	}
	return map[string]any{"plaintext": base64.StdEncoding.EncodeToString(plaintext)}, nil
}

func rewrapOne(k *key, f *engine.Fields) (map[string]any, error) {
	plaintext, err := k.decrypt(f)
	if err != nil {
		return nil, err
	}
	text, n, err := k.encrypt(plaintext, f)
	if err != nil {
		return nil, err
	}
	return map[string]any{"ciphertext": text, "key_version": n}, nil
}

// decoded is what a field says in base64. The error is base64's own.
func decoded(f *engine.Fields, name string) ([]byte, error) {
	return base64.StdEncoding.DecodeString(f.Text(name))
}

// beside are the context and the associated data that the fields name. A nonce was
// taken once; it is looked at and has no effect.
func beside(f *engine.Fields) (salt, data []byte, err error) {
	if salt, err = decoded(f, "context"); err == nil {
		_, err = decoded(f, "nonce")
	}
	if err != nil {
		return nil, nil, fault.New(fault.Invalid, "%w", err)
	}
	if data, err = decoded(f, "associated_data"); err != nil {
		return nil, nil, fault.New(fault.Invalid, "unable to decode associated_data as base64: %w", err)
	}
	return salt, data, nil
}

// encrypt encrypts for the version, the context and the associated data that the
// fields name.
func (k *key) encrypt(plaintext []byte, f *engine.Fields) (string, int, error) {
	what := k.kind()
	salt, data, err := beside(f)
	if err != nil {
		return "", 0, err
	}
	n, v, err := k.forNew(f.Int("key_version", 0), "encryption")
	switch {
	case f.Err() != nil:
		return "", 0, f.Err()
	case !what.encrypts:
		return "", 0, fault.New(fault.Invalid, "message encryption not supported for key type %s", k.Type)
	case err != nil:
		return "", 0, err
	case !what.symmetric:
		if len(data) > 0 {
			return "", 0, fault.New(fault.Invalid, "'[0].associated_data' provided for non-AEAD cipher suite %s", k.Type)
		}
		text, err := encryptRSA(v, plaintext)
		return stamp(n, text), n, err
	}
	secret, err := k.secret(v, salt)
	if err != nil {
		return "", 0, err
	}
	aead, err := k.aead(secret)
	if err != nil {
		return "", 0, err
	}
	nonce, err := k.nonce(secret, plaintext, aead.NonceSize())
	if err != nil {
		return "", 0, err
	}
	return stamp(n, aead.Seal(nonce, nonce, plaintext, data)), n, nil
}

func encryptRSA(v *version, plaintext []byte) ([]byte, error) {
	pub, err := v.public()
	if err != nil {
		return nil, err
	}
	to, ok := pub.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("encrypt: the key is a %T", pub)
	}
	text, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, to, plaintext, nil)
	if err != nil {
		return nil, fault.New(fault.Invalid, "encrypt: %w", err)
	}
	return text, nil
}

// decrypt opens the ciphertext the fields bring.
func (k *key) decrypt(f *engine.Fields) ([]byte, error) {
	text := f.Text("ciphertext")
	salt, data, err := beside(f)
	switch {
	case f.Err() != nil:
		return nil, f.Err()
	case text == "":
		return nil, fault.New(fault.Invalid, "missing ciphertext to decrypt")
	case err != nil:
		return nil, err
	case !k.kind().encrypts:
		return nil, fault.New(fault.Invalid, "message decryption not supported for key type %s", k.Type)
	}
	n, sealed, err := unstamp(text, "ciphertext")
	if err != nil {
		return nil, err
	}
	v, err := k.forOld(n, "ciphertext")
	if err != nil {
		return nil, err
	}
	if !k.kind().symmetric {
		return decryptRSA(v, sealed)
	}
	secret, err := k.secret(v, salt)
	if err != nil {
		return nil, err
	}
	aead, err := k.aead(secret)
	if err != nil {
		return nil, err
	}
	if len(sealed) < aead.NonceSize() {
		return nil, fault.New(fault.Invalid, "invalid ciphertext length")
	}
	nonce, body := sealed[:aead.NonceSize()], sealed[aead.NonceSize():]
	plaintext, err := aead.Open(nil, nonce, body, data)
	if err != nil {
		return nil, fault.New(fault.Invalid, "cipher: message authentication failed")
	}
	return plaintext, nil
}

func decryptRSA(v *version, sealed []byte) ([]byte, error) {
	s, err := v.signer()
	if err != nil {
		return nil, err
	}
	private, ok := s.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("decrypt: the key is a %T", s)
	}
	plaintext, err := rsa.DecryptOAEP(sha256.New(), nil, private, sealed, nil)
	if err != nil {
		return nil, fault.New(fault.Invalid, "invalid ciphertext: unable to decrypt")
	}
	return plaintext, nil
}

// stamp writes bytes with the version they were made with.
func stamp(version int, b []byte) string {
	return prefix + strconv.Itoa(version) + ":" + base64.StdEncoding.EncodeToString(b)
}

// unstamp is the version and the bytes of what stamp wrote; what says what it is.
func unstamp(text, what string) (int, []byte, error) {
	n, body, err := unstampText(text, what)
	if err != nil {
		return 0, nil, err
	}
	b, err := base64.StdEncoding.DecodeString(body)
	if err != nil {
		return 0, nil, fault.New(fault.Invalid, "invalid %s: could not decode base64", what)
	}
	return n, b, nil
}

func unstampText(text, what string) (int, string, error) {
	rest, ok := strings.CutPrefix(text, prefix)
	if !ok {
		return 0, "", fault.New(fault.Invalid, "invalid %s: no prefix", what)
	}
	number, body, ok := strings.Cut(rest, ":")
	if !ok {
		return 0, "", fault.New(fault.Invalid, "invalid %s: wrong number of fields", what)
	}
	n, err := strconv.Atoi(number)
	if err != nil {
		return 0, "", fault.New(fault.Invalid, "invalid %s: version number could not be decoded", what)
	}
	return n, body, nil
}

// dataKey makes a key for others to encrypt with, encrypted by this one.
func (e *Engine) dataKey(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	bits := f.Int("bits", 256)
	switch {
	case f.Err() != nil:
		return nil, f.Err()
	case v["form"] != "plaintext" && v["form"] != "wrapped":
		return nil, fault.New(fault.Invalid, "Invalid path, must be 'plaintext' or 'wrapped'")
	case bits != 128 && bits != 256 && bits != 512:
		return nil, fault.New(fault.Invalid, "invalid bit length")
	}
	if _, err := decoded(f, "context"); err != nil {
		return nil, fault.New(fault.Invalid, "failed to base64-decode context")
	}
	k, err := e.use(ctx, v["name"], "encryption")
	if err != nil {
		return nil, err
	}
	made := randomBytes(bits / 8)
	text, n, err := k.encrypt(made, f)
	if err != nil {
		return nil, err
	}
	data := map[string]any{"ciphertext": text, "key_version": n}
	if v["form"] == "plaintext" {
		data["plaintext"] = base64.StdEncoding.EncodeToString(made)
	}
	return &engine.Response{Data: data}, nil
}
