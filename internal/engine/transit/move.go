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
	"maps"
	"net/http"
	"strconv"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

func (e *Engine) moveRoutes() []engine.Route {
	return []engine.Route{
		{Path: "export/{type}/{name}", Ops: engine.Ops{Read: e.export}, Help: "A key itself, where it may leave."},
		{Path: "export/{type}/{name}/{version}", Ops: engine.Ops{Read: e.export}, Help: "One version of a key itself, where it may leave."},
		{Path: "byok-export/{destination}/{source}", Ops: engine.Ops{Read: e.byok}, Help: "A key, wrapped for another that is an RSA key.", Takes: "hash"},
		{Path: "byok-export/{destination}/{source}/{version}", Ops: engine.Ops{Read: e.byok}, Help: "One version of a key, wrapped for another that is an RSA key.", Takes: "hash"},
		{Path: "backup/{name}", Ops: engine.Ops{Read: e.backup}, Help: "A key with all its versions, for restore."},
		{Path: "restore", Ops: engine.Ops{Write: e.restore}, Help: "Brings a backup back.", Takes: "backup force:boolean name"},
		{Path: "restore/{name}", Ops: engine.Ops{Write: e.restore}, Help: "Brings a backup back under another name.", Takes: "backup force:boolean"},
		{Path: "wrapping_key", Ops: engine.Ops{Read: e.showWrapping}, Help: "The public key to wrap keys for, to import them."},
		{
			Path: "keys/{name}/import", Ops: engine.Ops{Write: e.importKey}, Help: "A key that was made elsewhere.",
			Takes: "ciphertext public_key hash_function allow_rotation:boolean type derived:boolean convergent_encryption:boolean exportable:boolean allow_plaintext_backup:boolean context auto_rotate_period:duration",
		},
		{Path: "keys/{name}/import_version", Ops: engine.Ops{Write: e.importVersion}, Help: "A new version that was made elsewhere.", Takes: "ciphertext public_key hash_function version:integer"},
	}
}

// exports are what can be exported of a key.
var exports = map[string]bool{"encryption-key": true, "signing-key": true, "hmac-key": true, "public-key": true}

func (e *Engine) export(ctx context.Context, _ *engine.Request, vars engine.Vars) (*engine.Response, error) {
	what := vars["type"]
	if !exports[what] {
		return nil, fault.New(fault.Invalid, "invalid export type: %s", what).WithHint("it must be encryption-key, signing-key, hmac-key or public-key")
	}
	k, err := e.find(ctx, vars["name"])
	if err != nil || k == nil {
		return nil, err
	}
	if what != "public-key" && !k.Exportable {
		return nil, fault.New(fault.Invalid, "private key material is not exportable").WithHint("set exportable with keys/%s/config; it cannot be taken back", k.Name)
	}
	return k.outside(vars["version"], func(v *version) (string, error) { return k.exported(v, what) })
}

// outside answers versions of a key in a form for others: all that may be used, or
// the one asked for.
func (k *key) outside(asked string, form func(*version) (string, error)) (*engine.Response, error) {
	versions, err := k.chosen(asked)
	if err != nil {
		return nil, err
	}
	keys := map[string]string{}
	for n, v := range versions {
		if keys[strconv.Itoa(n)], err = form(v); err != nil {
			return nil, err
		}
	}
	return &engine.Response{Data: map[string]any{"name": k.Name, "type": k.Type, "keys": keys}}, nil
}

// chosen are the versions asked for: "" for all that may be used, "latest" or a number.
func (k *key) chosen(asked string) (map[int]*version, error) {
	if asked == "" {
		all := maps.Clone(k.Versions)
		maps.DeleteFunc(all, func(n int, _ *version) bool { return n < k.MinDecrypt })
		return all, nil
	}
	n := k.Latest
	if asked != "latest" {
		var err error
		if n, err = strconv.Atoi(asked); err != nil {
			return nil, fault.New(fault.Invalid, "invalid key version")
		}
	}
	switch v := k.Versions[n]; {
	case n < k.MinDecrypt:
		return nil, fault.New(fault.Invalid, "version for export is below minimum decryption version")
	case v == nil:
		return nil, fault.New(fault.Invalid, "version does not exist or cannot be found")
	default:
		return map[int]*version{n: v}, nil
	}
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
	case what == "encryption-key":
		return "", fault.New(fault.Invalid, "encryption not supported for the key")
	case what == "signing-key":
		return "", fault.New(fault.Invalid, "signing not supported for the key")
	}
	return "", fault.New(fault.Invalid, "unknown key type %s for export type %s", k.Type, what)
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

func (e *Engine) backup(ctx context.Context, req *engine.Request, vars engine.Vars) (*engine.Response, error) {
	var text []byte
	err := e.change(ctx, vars["name"], fmt.Sprintf("key %q not found", vars["name"]), func(k *key) (err error) {
		switch {
		case !k.Exportable:
			return refused(fault.New(fault.Invalid, "exporting is disallowed on the policy").WithHint("set exportable with keys/%s/config", k.Name))
		case !k.PlainBackup:
			return refused(fault.New(fault.Invalid, "plaintext backup is disallowed on the policy").WithHint("set allow_plaintext_backup with keys/%s/config", k.Name))
		}
		k.BackedUp = &moment{req.Now, k.Latest}
		text, err = json.Marshal(kept{Format: 1, Key: k})
		return err
	})
	if err != nil {
		return nil, err
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
	k.Restored = &moment{req.Now, k.Latest}
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

// byok answers a key wrapped for another as import takes it, so that it goes from
// one server to the next without anybody seeing it. The other one is an RSA key, as
// a rule the public wrapping key of where it shall go.
func (e *Engine) byok(ctx context.Context, req *engine.Request, vars engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	hash, known := importHashes[f.Text("hash")]
	to, err := e.find(ctx, vars["destination"])
	if err != nil {
		return nil, err
	}
	k, err := e.find(ctx, vars["source"])
	switch {
	case err != nil:
		return nil, err
	case f.Err() != nil:
		return nil, f.Err()
	case to == nil:
		return nil, fault.New(fault.Invalid, "no such destination key to export to")
	case k == nil:
		return nil, fault.New(fault.Invalid, "no such source key for export")
	case !known:
		return nil, fault.New(fault.Invalid, "unknown hash function: %s", f.Text("hash"))
	case !k.Exportable:
		return nil, fault.New(fault.Invalid, "key is not exportable").WithHint("set exportable with keys/%s/config; it cannot be taken back", k.Name)
	}
	pub, err := to.Versions[to.Latest].rsaPublic(to)
	if err != nil {
		return nil, err
	}
	return k.outside(vars["version"], func(v *version) (string, error) {
		if len(v.Secret) == 0 {
			return "", fault.New(fault.Invalid, "the private key of this version was not imported")
		}
		return wrapped(v.Secret, pub, hash)
	})
}

// rsaPublic is a version's public RSA key.
func (v *version) rsaPublic(k *key) (*rsa.PublicKey, error) {
	if !k.kind().symmetric {
		pub, err := v.public()
		if err != nil {
			return nil, err
		}
		if p, ok := pub.(*rsa.PublicKey); ok {
			return p, nil
		}
	}
	return nil, fault.New(fault.Invalid, "unsupported key type in use; must be a rsa key")
}
