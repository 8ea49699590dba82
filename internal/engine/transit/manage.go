// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package transit

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"strconv"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// none are the fields of a request that takes none: others are warned of.
const none = "name"

// minAutoRotate is the shortest period in which a key rotates by itself.
const minAutoRotate = time.Hour

func (e *Engine) keyRoutes() []engine.Route {
	return []engine.Route{
		{Path: "keys", Ops: engine.Ops{List: e.list}, Help: "The names of keys."},
		{
			Path: "keys/{name}", Ops: engine.Ops{Read: e.show, Write: e.create, Delete: e.remove}, Help: "A key: make, read or delete it.",
			Takes: "type derived:boolean convergent_encryption:boolean exportable:boolean allow_plaintext_backup:boolean context auto_rotate_period:duration key_size:integer",
		},
		{
			Path: "keys/{name}/config", Ops: engine.Ops{Write: e.configure}, Help: "What may be done with a key, and with which versions.",
			Takes: "min_decryption_version:integer min_encryption_version:integer deletion_allowed:boolean exportable:boolean allow_plaintext_backup:boolean auto_rotate_period:duration",
		},
		{Path: "keys/{name}/rotate", Ops: engine.Ops{Write: e.rotate}, Help: "A new version of a key.", Takes: none},
		{Path: "keys/{name}/trim", Ops: engine.Ops{Write: e.trim}, Help: "Removes old versions for good.", Takes: "min_available_version:integer"},
		{Path: "keys/{name}/soft-delete", Ops: engine.Ops{Write: e.putAway(true), Delete: e.putAway(true)}, Help: "Puts a key away.", Takes: none},
		{Path: "keys/{name}/soft-delete-restore", Ops: engine.Ops{Write: e.putAway(false)}, Help: "Takes a key that was put away out again.", Takes: none},
	}
}

func (e *Engine) list(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	var names []string
	err := e.space.View(ctx, func(r barrier.Reader) (err error) {
		names, err = r.List(ctx, "key")
		return err
	})
	if err != nil || len(names) == 0 {
		return nil, err
	}
	return &engine.Response{Data: engine.Keys{Keys: names}}, nil
}

func (e *Engine) show(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	k, err := e.find(ctx, v["name"])
	if err != nil || k == nil {
		return nil, err
	}
	f := engine.Read(req)
	salt, err := decoded(f, "context")
	if err != nil {
		return nil, fault.New(fault.Invalid, "failed to base64-decode context")
	}
	return shown(k, salt)
}

// create makes a key; one that is there stays as it is.
func (e *Engine) create(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	wanted, err := fresh(v["name"], engine.Read(req))
	if err != nil {
		return nil, err
	}
	var k *key
	existed := false
	err = e.space.Update(ctx, func(w barrier.Writer) error {
		if k, err = load(ctx, w, v["name"]); err != nil {
			return err
		}
		if existed = k != nil; existed {
			return nil
		}
		made := *wanted
		if err := made.rotate(req.Now); err != nil {
			return err
		}
		k = &made
		return k.save(ctx, w)
	})
	if err != nil {
		return nil, err
	}
	resp, err := shown(k, nil)
	if err == nil && existed {
		resp.Warnings = append(resp.Warnings, "key "+k.Name+" already existed")
	}
	return resp, err
}

// fresh is a key as asked for, without versions yet.
func fresh(name string, f *engine.Fields) (*key, error) {
	k := &key{
		Name: name, Type: f.Text("type"), Size: f.Int("key_size", 0), Derived: f.Bool("derived", false), Convergent: f.Bool("convergent_encryption", false),
		Exportable: f.Bool("exportable", false), PlainBackup: f.Bool("allow_plaintext_backup", false), AutoRotate: f.Duration("auto_rotate_period"),
	}
	if k.Type == "" {
		k.Type = defaultType
	}
	what, known := kinds[k.Type]
	switch {
	case f.Err() != nil:
		return nil, f.Err()
	case checkName(name) != nil:
		return nil, checkName(name)
	case !known:
		return nil, fault.New(fault.Invalid, "unknown key type %s", k.Type)
	case k.Derived && !what.derives:
		return nil, fault.New(fault.Invalid, "key derivation and convergent encryption not supported for keys of type %s", k.Type)
	case k.Convergent && !k.Derived:
		return nil, fault.New(fault.Invalid, "convergent encryption requires derivation to be enabled")
	case k.Convergent && !what.encrypts:
		return nil, fault.New(fault.Invalid, "convergent encryption not supported for keys of type %s", k.Type)
	case k.Size != 0 && k.Type != "hmac":
		return nil, fault.New(fault.Invalid, "key_size is not valid for algorithm %s", k.Type)
	case k.Type == "hmac" && k.Size != 0 && (k.Size < minMACSize || k.Size > maxMACSize):
		return nil, fault.New(fault.Invalid, "invalid key_size %d", k.Size).WithHint("from %d to %d bytes", minMACSize, maxMACSize)
	}
	return k, checkAutoRotate(k.AutoRotate)
}

func checkAutoRotate(period time.Duration) error {
	if period != 0 && period < minAutoRotate {
		return fault.New(fault.Invalid, "auto rotate period must be 0 to disable or at least an hour")
	}
	return nil
}

func (e *Engine) remove(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	return nil, e.space.Update(ctx, func(w barrier.Writer) error {
		k, err := load(ctx, w, v["name"])
		switch {
		case err != nil:
			return err
		case k == nil:
			return fault.New(fault.Invalid, "error deleting policy %s: could not delete key; not found", v["name"])
		case !k.Deletable:
			return fault.New(fault.Invalid, "error deleting policy %s: deletion is not allowed for this key", k.Name).WithHint("set deletion_allowed with keys/%s/config", k.Name)
		}
		return w.Delete(ctx, entry(k.Name))
	})
}

func (e *Engine) rotate(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	return e.edit(ctx, v["name"], "key not found", func(k *key) error { return k.rotate(req.Now) })
}

// edit changes a key and shows it; absent is said where there is none.
func (e *Engine) edit(ctx context.Context, name, absent string, change func(*key) error) (*engine.Response, error) {
	var k *key
	err := e.change(ctx, name, absent, func(fresh *key) error {
		k = fresh
		return change(fresh)
	})
	if err != nil {
		return nil, err
	}
	return shown(k, nil)
}

func (e *Engine) putAway(deleted bool) engine.Handler {
	return func(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
		return nil, e.change(ctx, v["name"], "key not found", func(k *key) error {
			k.SoftDeleted = deleted
			return nil
		})
	}
}

func (e *Engine) configure(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	var warnings []string
	resp, err := e.edit(ctx, v["name"], fmt.Sprintf("no existing key named %s could be found", v["name"]), func(k *key) error {
		decrypt, encrypt := f.Int("min_decryption_version", k.MinDecrypt), f.Int("min_encryption_version", k.MinEncrypt)
		if f.Has("min_decryption_version") && decrypt == 0 {
			decrypt = 1
			warnings = []string{"since Vault 0.3, transit key numbering starts at 1; forcing minimum to 1"}
		}
		period := k.AutoRotate
		if f.Has("auto_rotate_period") {
			period = f.Duration("auto_rotate_period")
		}
		deletable := f.Bool("deletion_allowed", k.Deletable)
		export, plain := f.Bool("exportable", false), f.Bool("allow_plaintext_backup", false)
		switch {
		case f.Err() != nil:
			return f.Err()
		case decrypt < 0:
			return fault.New(fault.Invalid, "min decryption version cannot be negative")
		case encrypt < 0:
			return fault.New(fault.Invalid, "min encryption version cannot be negative")
		case decrypt > k.Latest:
			return fault.New(fault.Invalid, "cannot set min decryption version of %d, latest key version is %d", decrypt, k.Latest)
		case encrypt > k.Latest:
			return fault.New(fault.Invalid, "cannot set min encryption version of %d, latest key version is %d", encrypt, k.Latest)
		case encrypt > 0 && encrypt < decrypt:
			return fault.New(fault.Invalid, "cannot set min encryption/decryption values; min encryption version of %d must be greater than or equal to min decryption version of %d", encrypt, decrypt)
		case decrypt < k.MinAvailable:
			return fault.New(fault.Invalid, "min decryption version should not be less than min available version")
		}
		k.MinDecrypt, k.MinEncrypt, k.AutoRotate, k.Deletable = decrypt, encrypt, period, deletable
		k.Exportable, k.PlainBackup = k.Exportable || export, k.PlainBackup || plain // never taken back: it may have happened
		return checkAutoRotate(period)
	})
	if err == nil {
		resp.Warnings = warnings
	}
	return resp, err
}

// trim throws old versions away, for good.
func (e *Engine) trim(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	least := f.Int("min_available_version", 0)
	return e.edit(ctx, v["name"], "invalid key name", func(k *key) error {
		switch {
		case f.Err() != nil:
			return f.Err()
		case !f.Has("min_available_version"):
			return fault.New(fault.Invalid, "missing min_available_version")
		case least < k.MinAvailable:
			return fault.New(fault.Invalid, "minimum available version cannot be decremented")
		case k.MinEncrypt == 0:
			return fault.New(fault.Invalid, "minimum available version cannot be set when minimum encryption version is not set")
		case k.MinDecrypt == 0:
			return fault.New(fault.Invalid, "minimum available version cannot be set when minimum decryption version is not set")
		case least > k.MinEncrypt:
			return fault.New(fault.Invalid, "minimum available version cannot be greater than minimum encryption version")
		case least > k.MinDecrypt:
			return fault.New(fault.Invalid, "minimum available version cannot be greater than minimum decryption version")
		case least < 1:
			return fault.New(fault.Invalid, "minimum available version must be positive")
		}
		for n := range k.Versions {
			if n < least {
				delete(k.Versions, n)
			}
		}
		k.MinAvailable = least
		return nil
	})
}

// shown is a key without its secrets.
func shown(k *key, salt []byte) (*engine.Response, error) {
	what := k.kind()
	data := map[string]any{
		"name": k.Name, "type": k.Type, "derived": k.Derived, "exportable": k.Exportable, "allow_plaintext_backup": k.PlainBackup,
		"deletion_allowed": k.Deletable, "soft_deleted": k.SoftDeleted, "imported_key": k.Imported,
		"min_available_version": k.MinAvailable, "min_decryption_version": k.MinDecrypt, "min_encryption_version": k.MinEncrypt, "latest_version": k.Latest,
		"auto_rotate_period": int(k.AutoRotate / time.Second), "supports_encryption": what.encrypts, "supports_decryption": what.encrypts,
		"supports_signing": what.signs, "supports_derivation": what.derives,
	}
	if k.Imported {
		data["imported_key_allow_rotation"] = k.ImportedRotate
	}
	if k.Derived {
		data["kdf"], data["convergent_encryption"] = "hkdf_sha256", k.Convergent
		if k.Convergent {
			data["convergent_encryption_version"] = -1
		}
	}
	if k.BackedUp != nil {
		data["backup_info"] = k.BackedUp
	}
	if k.Restored != nil {
		data["restore_info"] = k.Restored
	}
	if k.Type == "hmac" {
		data["key_size"] = max(k.Size, kinds["hmac"].bytes)
	}
	versions := map[string]any{}
	for n, v := range k.Versions {
		if n < k.MinDecrypt {
			continue
		}
		one, err := k.shownVersion(v, salt)
		if err != nil {
			return nil, err
		}
		versions[strconv.Itoa(n)] = one
	}
	data["keys"] = versions
	return &engine.Response{Data: data}, nil
}

func (k *key) shownVersion(v *version, salt []byte) (any, error) {
	if k.kind().symmetric {
		return v.Created.Unix(), nil
	}
	text := ""
	if !k.Derived || len(salt) > 0 {
		pub, err := v.public()
		if err == nil && k.Derived {
			pub, err = v.derivedPublic(salt)
		}
		if err != nil {
			return nil, err
		}
		if text, err = publicText(pub); err != nil {
			return nil, err
		}
	}
	return map[string]any{"name": k.kind().shown, "public_key": text, "creation_time": v.Created.UTC().Format(time.RFC3339Nano), "certificate_chain": ""}, nil
}

// publicText is a public key as clients expect it: ed25519 as base64, else PEM.
func publicText(pub crypto.PublicKey) (string, error) {
	if ed, ok := pub.(ed25519.PublicKey); ok {
		return base64.StdEncoding.EncodeToString(ed), nil
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return "", fmt.Errorf("encode public key: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), nil
}
