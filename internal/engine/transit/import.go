// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package transit

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/kwp/subtle"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// Keys of others come in wrapped twice: an AES-256 key of one use, encrypted for
// the mount's RSA key with OAEP, and behind it the key itself, wrapped by that one
// (AES-KWP, RFC 5649). So it is on nobody's wire and in nobody's log in clear.

const wrappingEntry = "wrapping-key"

// wrapping is the mount's key for imports, made when it is first asked for.
func (e *Engine) wrapping(ctx context.Context) (*rsa.PrivateKey, error) {
	der, err := e.wrappingDER(ctx)
	if err != nil {
		return nil, err
	}
	if der == nil {
		if der, err = e.makeWrapping(ctx); err != nil {
			return nil, err
		}
	}
	private, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("read wrapping key: %w", err)
	}
	rsaKey, ok := private.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("read wrapping key: it is a %T", private)
	}
	return rsaKey, nil
}

func (e *Engine) wrappingDER(ctx context.Context) (der []byte, err error) {
	err = e.space.View(ctx, func(r barrier.Reader) error {
		found, err := r.Get(ctx, wrappingEntry)
		if found != nil {
			der = found.Value
		}
		return err
	})
	return der, err
}

// makeWrapping makes the key outside of any transaction: it takes a second or two.
func (e *Engine) makeWrapping(ctx context.Context) ([]byte, error) {
	private, err := newRSA(4096)()
	if err != nil {
		return nil, fmt.Errorf("make wrapping key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("make wrapping key: %w", err)
	}
	err = e.space.Update(ctx, func(w barrier.Writer) error {
		there, err := w.Get(ctx, wrappingEntry)
		if err != nil {
			return err
		}
		if there != nil { // somebody else was first
			der = there.Value
			return nil
		}
		return w.Put(ctx, barrier.Entry{Path: wrappingEntry, Value: der})
	})
	return der, err
}

func (e *Engine) showWrapping(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	private, err := e.wrapping(ctx)
	if err != nil {
		return nil, err
	}
	text, err := publicText(private.Public())
	if err != nil {
		return nil, err
	}
	return &engine.Response{Data: map[string]string{"public_key": text}}, nil
}

// importHashes are the hashes of OAEP an import may name.
var importHashes = map[string]crypto.Hash{
	"": crypto.SHA256, "SHA1": crypto.SHA1, "SHA224": crypto.SHA224, "SHA256": crypto.SHA256, "SHA384": crypto.SHA384, "SHA512": crypto.SHA512,
}

// unwrapped is the key an import brings: from its ciphertext, or a public key.
func (e *Engine) unwrapped(ctx context.Context, f *engine.Fields) (*version, error) {
	v := &version{MAC: randomBytes(32)}
	sealed, public := f.Bytes("ciphertext"), f.Text("public_key")
	hash, known := importHashes[f.Text("hash_function")]
	switch {
	case f.Err() != nil:
		return nil, f.Err()
	case (len(sealed) == 0) == (public == ""):
		return nil, fault.New(fault.Invalid, "give exactly one of ciphertext and public_key")
	case public != "":
		block, _ := pem.Decode([]byte(public))
		if block == nil || block.Type != "PUBLIC KEY" {
			return nil, fault.New(fault.Invalid, "public_key must be PEM of the type PUBLIC KEY")
		}
		v.Public = block.Bytes
		return v, nil
	case !known:
		return nil, fault.New(fault.Invalid, "unknown hash_function %q", f.Text("hash_function"))
	}
	private, err := e.wrapping(ctx)
	if err != nil {
		return nil, err
	}
	size := private.Size()
	if len(sealed) <= size {
		return nil, fault.New(fault.Invalid, "the wrapped key is too short")
	}
	once, err := rsa.DecryptOAEP(hash.New(), nil, private, sealed[:size], nil)
	if err != nil {
		return nil, fault.New(fault.Invalid, "the wrapped key does not open: was it wrapped for this mount's wrapping_key, with this hash_function?")
	}
	kwp, err := subtle.NewKWP(once)
	if err != nil {
		return nil, fault.New(fault.Invalid, "the wrapping AES key must have 256 bits")
	}
	if v.Secret, err = kwp.Unwrap(sealed[size:]); err != nil {
		return nil, fault.New(fault.Invalid, "the wrapped key does not open")
	}
	return v, nil
}

func (e *Engine) importKey(ctx context.Context, req *engine.Request, vars engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	k, err := fresh(vars["name"], f)
	if err != nil {
		return nil, err
	}
	v, err := e.unwrapped(ctx, f)
	if err != nil {
		return nil, err
	}
	k.Imported, k.ImportedRotate = true, f.Bool("allow_rotation", false)
	if k.AutoRotate > 0 && !k.ImportedRotate {
		return nil, fault.New(fault.Invalid, "allow_rotation must be set to true to auto-rotate")
	}
	if k.Type == "hmac" {
		k.Size = len(v.Secret)
	}
	if err := k.fits(v); err != nil {
		return nil, err
	}
	v.Created = req.Now
	k.add(v)
	return nil, e.space.Update(ctx, func(w barrier.Writer) error {
		there, err := load(ctx, w, k.Name)
		if err != nil {
			return err
		}
		if there != nil {
			return fault.New(fault.Invalid, "the import path cannot be used with an existing key; use import_version to rotate an existing imported key")
		}
		return k.save(ctx, w)
	})
}

func (e *Engine) importVersion(ctx context.Context, req *engine.Request, vars engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	v, err := e.unwrapped(ctx, f)
	if err != nil {
		return nil, err
	}
	return nil, e.change(ctx, vars["name"], fmt.Sprintf("no existing key named %s could be found", vars["name"]), func(k *key) error {
		if !k.Imported {
			return fault.New(fault.Invalid, "the import_version path can only be used with an imported key")
		}
		if err := k.fits(v); err != nil {
			return err
		}
		made := *v
		made.Created = req.Now
		k.add(&made)
		return nil
	})
}

// wrapped is a key wrapped as unwrapped takes it.
func wrapped(secret []byte, to *rsa.PublicKey, hash crypto.Hash) (string, error) {
	once := randomBytes(32)
	kwp, err := subtle.NewKWP(once)
	if err != nil {
		return "", fmt.Errorf("wrap key: %w", err)
	}
	inner, err := kwp.Wrap(secret)
	if err != nil {
		return "", fmt.Errorf("wrap key: %w", err)
	}
	outer, err := rsa.EncryptOAEP(hash.New(), rand.Reader, to, once, nil)
	if err != nil {
		return "", fault.New(fault.Invalid, "wrap key: %w", err)
	}
	return base64.StdEncoding.EncodeToString(append(outer, inner...)), nil
}
