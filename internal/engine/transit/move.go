// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package transit

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"strconv"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

func (e *Engine) moveRoutes() []engine.Route {
	return []engine.Route{
		{Path: "export/{type}/{name}", Ops: engine.Ops{Read: e.export}},
		{Path: "export/{type}/{name}/{version}", Ops: engine.Ops{Read: e.export}},
		{Path: "backup/{name}", Ops: engine.Ops{Read: e.backup}},
		{Path: "restore", Ops: engine.Ops{Write: e.restore}},
		{Path: "restore/{name}", Ops: engine.Ops{Write: e.restore}},
		{Path: "wrapping_key", Ops: engine.Ops{Read: e.showWrapping}},
		{Path: "keys/{name}/import", Ops: engine.Ops{Write: e.importKey}},
		{Path: "keys/{name}/import_version", Ops: engine.Ops{Write: e.importVersion}},
	}
}

func (e *Engine) export(ctx context.Context, req *engine.Request, vars engine.Vars) (*engine.Response, error) {
	k, err := e.find(ctx, vars["name"])
	if err != nil || k == nil {
		return nil, err
	}
	what := vars["type"]
	if what != "public-key" && !k.Exportable {
		return nil, fault.New(fault.Invalid, "private key material is not exportable").WithHint("set exportable with keys/%s/config; it cannot be taken back", k.Name)
	}
	keys := map[string]string{}
	for n, v := range k.Versions {
		if n < k.MinDecrypt || !chosen(vars["version"], n, k.Latest) {
			continue
		}
		if keys[strconv.Itoa(n)], err = k.exported(v, what); err != nil {
			return nil, err
		}
	}
	if len(keys) == 0 {
		return nil, fault.New(fault.Invalid, "version does not exist or cannot be exported")
	}
	return &engine.Response{Data: map[string]any{"name": k.Name, "type": k.Type, "keys": keys}}, nil
}

// chosen reports whether a version is the one asked for: "", "latest" or a number.
func chosen(asked string, n, latest int) bool {
	return asked == "" || asked == strconv.Itoa(n) || asked == "latest" && n == latest
}

// exported is a version's key of one of the types export knows.
func (k *key) exported(v *version, what string) (string, error) {
	does := k.kind()
	switch {
	case what == "hmac-key" && k.Type == "hmac":
		return base64.StdEncoding.EncodeToString(v.Secret), nil
	case what == "hmac-key":
		return base64.StdEncoding.EncodeToString(v.MAC), nil
	case what == "public-key" && !does.symmetric && !k.Derived:
		pub, err := v.public()
		if err != nil {
			return "", err
		}
		return publicText(pub)
	case what == "encryption-key" && does.encrypts && does.symmetric:
		return base64.StdEncoding.EncodeToString(v.Secret), nil
	case what == "encryption-key" && does.encrypts, what == "signing-key" && does.signs:
		return v.privateText()
	case what == "encryption-key", what == "signing-key", what == "public-key":
		return "", fault.New(fault.Invalid, "a key of type %s has no %s to export", k.Type, what)
	}
	return "", fault.New(fault.Invalid, "invalid export type %q: it must be encryption-key, signing-key, hmac-key or public-key", what)
}

// privateText is a private key as clients expect it: RSA and EC in the PEM forms of
// RFC 8017 and RFC 5915, ed25519 as base64.
func (v *version) privateText() (string, error) {
	s, err := v.signer()
	if err != nil {
		return "", err
	}
	switch p := s.(type) {
	case ed25519.PrivateKey:
		return base64.StdEncoding.EncodeToString(p), nil
	case *rsa.PrivateKey:
		return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(p)})), nil
	case *ecdsa.PrivateKey:
		der, err := x509.MarshalECPrivateKey(p)
		if err != nil {
			return "", fmt.Errorf("encode key: %w", err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})), nil
	}
	return "", fmt.Errorf("encode key: it is a %T", s)
}

// kept is a backup: a key with all its versions, for restore.
type kept struct {
	Format int  `json:"goldkeepTransitBackup"`
	Key    *key `json:"key"`
}

// refused is a backup or restore that is not allowed: it has always been a 500,
// and client libraries tell it by that.
func refused(err error) error { return engine.WithStatus(err, http.StatusInternalServerError) }

func (e *Engine) backup(ctx context.Context, _ *engine.Request, vars engine.Vars) (*engine.Response, error) {
	k, err := e.find(ctx, vars["name"])
	switch {
	case err != nil:
		return nil, err
	case k == nil:
		return nil, fault.New(fault.Invalid, "key %q not found", vars["name"])
	case !k.Exportable || !k.PlainBackup:
		return nil, refused(fault.New(fault.Invalid, "plaintext backup is disallowed on the policy").WithHint("set exportable and allow_plaintext_backup with keys/%s/config", k.Name))
	}
	text, err := json.Marshal(kept{Format: 1, Key: k})
	if err != nil {
		return nil, fmt.Errorf("encode backup: %w", err)
	}
	return &engine.Response{Data: map[string]string{"backup": base64.StdEncoding.EncodeToString(text)}}, nil
}

func (e *Engine) restore(ctx context.Context, req *engine.Request, vars engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	text, force, name := f.Bytes("backup"), f.Bool("force", false), vars["name"]
	if name == "" {
		name = f.Text("name")
	}
	var in kept
	switch err := json.Unmarshal(text, &in); {
	case f.Err() != nil:
		return nil, f.Err()
	case len(text) == 0:
		return nil, fault.New(fault.Invalid, "'backup' must be supplied")
	case err != nil || in.Format != 1 || in.Key == nil:
		return nil, fault.New(fault.Invalid, "this is no backup of a transit key made here")
	}
	k := in.Key
	if name != "" {
		k.Name = name
	}
	if err := k.check(); err != nil {
		return nil, err
	}
	return nil, e.space.Update(ctx, func(w barrier.Writer) error {
		there, err := load(ctx, w, k.Name)
		if err != nil {
			return err
		}
		if there != nil && !force {
			return refused(fault.New(fault.Invalid, "key %q already exists", k.Name).WithHint("set force to replace it"))
		}
		return k.save(ctx, w)
	})
}

// check refuses a key from outside that could not have been made here.
func (k *key) check() error {
	if _, known := kinds[k.Type]; !known || k.Name == "" || k.Latest < 1 || k.Versions[k.Latest] == nil {
		return fault.New(fault.Invalid, "the backup holds no usable key")
	}
	for n, v := range k.Versions {
		if v == nil || n < 1 || n > k.Latest || len(v.MAC) == 0 {
			return fault.New(fault.Invalid, "the backup's version %d is damaged", n)
		}
		if err := k.fits(v); err != nil {
			return err
		}
	}
	return checkName(k.Name)
}

// fits refuses a version whose key is not of the key's type.
func (k *key) fits(v *version) error {
	what := k.kind()
	if what.symmetric {
		size := len(v.Secret)
		if k.Type == "hmac" && (size < minMACSize || size > maxMACSize) || k.Type != "hmac" && size != what.bytes {
			return fault.New(fault.Invalid, "the key has %d bytes, which is wrong for %s", size, k.Type)
		}
		return nil
	}
	pub, err := v.public()
	if err != nil {
		return fault.New(fault.Invalid, "the key is not understood: a PKCS#8 private key or a PKIX public key is needed")
	}
	shown := ""
	switch p := pub.(type) {
	case ed25519.PublicKey:
		shown = "ed25519"
	case *ecdsa.PublicKey:
		shown = p.Curve.Params().Name
	case *rsa.PublicKey:
		shown = "rsa-" + strconv.Itoa(p.N.BitLen())
	}
	if shown != what.shown {
		return fault.New(fault.Invalid, "the key is %s, not %s", shown, k.Type)
	}
	return nil
}
