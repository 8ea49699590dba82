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
	"strconv"
	"strings"

	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// prefix begins whatever this engine hands out; the version follows.
const prefix = "vault:v"

func (e *Engine) cryptRoutes() []engine.Route {
	return []engine.Route{
		{Path: "encrypt/{name}", Ops: engine.Ops{Write: e.encrypt}},
		{Path: "decrypt/{name}", Ops: engine.Ops{Write: e.each(decryptOne)}},
		{Path: "rewrap/{name}", Ops: engine.Ops{Write: e.each(rewrapOne)}},
		{Path: "datakey/{form}/{name}", Ops: engine.Ops{Write: e.dataKey}},
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
	return e.each(encryptOne)(ctx, req, v)
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

// each does some work on the request itself, or on every item of its batch_input.
func (e *Engine) each(do work) engine.Handler {
	return func(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
		k, err := e.use(ctx, v["name"])
		if err != nil {
			return nil, err
		}
		f := engine.Read(req)
		if !f.Has("batch_input") {
			return one(k, f, do)
		}
		return batch(k, f, do)
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
func batch(k *key, f *engine.Fields, do work) (*engine.Response, error) {
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
		out, err := do(k, item)
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
		}
		if item.Has("reference") {
			out["reference"] = item.Text("reference")
		}
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
	plaintext := f.Bytes("plaintext")
	if f.Err() != nil {
		return nil, f.Err()
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

// encrypt encrypts for the version, the context and the associated data that the
// fields name.
func (k *key) encrypt(plaintext []byte, f *engine.Fields) (string, int, error) {
	what, salt, data := k.kind(), f.Bytes("context"), f.Bytes("associated_data")
	n, v, err := k.forNew(f.Int("key_version", 0))
	switch {
	case f.Err() != nil:
		return "", 0, f.Err()
	case !what.encrypts:
		return "", 0, fault.New(fault.Invalid, "key type %s does not support encryption", k.Type)
	case err != nil:
		return "", 0, err
	case !what.symmetric:
		text, err := encryptRSA(v, plaintext, data)
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

func encryptRSA(v *version, plaintext, data []byte) ([]byte, error) {
	if len(data) > 0 {
		return nil, fault.New(fault.Invalid, "associated_data is only for symmetric keys")
	}
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
	salt, data, text := f.Bytes("context"), f.Bytes("associated_data"), f.Text("ciphertext")
	switch {
	case f.Err() != nil:
		return nil, f.Err()
	case text == "":
		return nil, fault.New(fault.Invalid, "missing ciphertext to decrypt")
	case !k.kind().encrypts:
		return nil, fault.New(fault.Invalid, "key type %s does not support decryption", k.Type)
	}
	n, sealed, err := unstamp(text)
	if err != nil {
		return nil, err
	}
	v, err := k.forOld(n)
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
		return nil, fault.New(fault.Invalid, "invalid ciphertext: too short")
	}
	nonce, body := sealed[:aead.NonceSize()], sealed[aead.NonceSize():]
	plaintext, err := aead.Open(nil, nonce, body, data)
	if err != nil {
		return nil, fault.New(fault.Invalid, "invalid ciphertext: unable to decrypt")
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

func unstamp(text string) (int, []byte, error) {
	rest, ok := strings.CutPrefix(text, prefix)
	if !ok {
		return 0, nil, fault.New(fault.Invalid, "invalid ciphertext: no prefix")
	}
	number, body, ok := strings.Cut(rest, ":")
	if !ok {
		return 0, nil, fault.New(fault.Invalid, "invalid ciphertext: wrong number of fields")
	}
	n, err := strconv.Atoi(number)
	if err != nil {
		return 0, nil, fault.New(fault.Invalid, "invalid ciphertext: version number could not be decoded")
	}
	b, err := base64.StdEncoding.DecodeString(body)
	if err != nil {
		return 0, nil, fault.New(fault.Invalid, "invalid ciphertext: could not decode base64")
	}
	return n, b, nil
}

// dataKey makes a key for others to encrypt with, encrypted by this one.
func (e *Engine) dataKey(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	bits := f.Int("bits", 256)
	switch {
	case f.Err() != nil:
		return nil, f.Err()
	case v["form"] != "plaintext" && v["form"] != "wrapped":
		return nil, fault.New(fault.Invalid, "invalid path, must be 'plaintext' or 'wrapped'")
	case bits != 128 && bits != 256 && bits != 512:
		return nil, fault.New(fault.Invalid, "invalid bit length: it must be 128, 256 or 512")
	}
	k, err := e.use(ctx, v["name"])
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
