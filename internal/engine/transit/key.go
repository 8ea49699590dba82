// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package transit

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// key is a named key with its versions, as it is kept.
type key struct {
	Name           string           `json:"name"`
	Type           string           `json:"type"`
	Size           int              `json:"size,omitempty"` // of an hmac key, bytes
	Derived        bool             `json:"derived,omitempty"`
	Convergent     bool             `json:"convergent,omitempty"`
	Exportable     bool             `json:"exportable,omitempty"`
	PlainBackup    bool             `json:"plainBackup,omitempty"`
	Deletable      bool             `json:"deletable,omitempty"`
	SoftDeleted    bool             `json:"softDeleted,omitempty"`
	Imported       bool             `json:"imported,omitempty"`
	ImportedRotate bool             `json:"importedRotate,omitempty"` // an imported key may get versions made here
	MinDecrypt     int              `json:"minDecrypt"`
	MinEncrypt     int              `json:"minEncrypt,omitempty"` // 0: the latest
	MinAvailable   int              `json:"minAvailable,omitempty"`
	Latest         int              `json:"latest"`
	AutoRotate     time.Duration    `json:"autoRotate,omitempty"`
	BackedUp       *moment          `json:"backedUp,omitempty"`
	Restored       *moment          `json:"restored,omitempty"`
	Versions       map[int]*version `json:"versions"`
}

// moment is when something was done with a key, and which version was its latest.
type moment struct {
	Time    time.Time `json:"time"`
	Version int       `json:"version"`
}

// version is one generation of a key.
type version struct {
	Secret  []byte    `json:"secret,omitempty"` // symmetric: the key itself; else PKCS#8
	Public  []byte    `json:"public,omitempty"` // PKIX, where only that was imported
	MAC     []byte    `json:"mac"`              // for HMACs, beside the key's own work
	Created time.Time `json:"created"`
}

// kind is what a type of key can do.
type kind struct {
	bytes                               int // of a symmetric key
	encrypts, signs, derives, symmetric bool
	shown                               string // name of an asymmetric key in answers
	generate                            func() (crypto.Signer, error)
}

var kinds = map[string]kind{
	"aes128-gcm96":       {bytes: 16, encrypts: true, derives: true, symmetric: true},
	"aes256-gcm96":       {bytes: 32, encrypts: true, derives: true, symmetric: true},
	"chacha20-poly1305":  {bytes: 32, encrypts: true, derives: true, symmetric: true},
	"xchacha20-poly1305": {bytes: 32, encrypts: true, derives: true, symmetric: true},
	"hmac":               {bytes: 32, symmetric: true},
	"ed25519":            {signs: true, derives: true, shown: "ed25519", generate: newEd25519},
	"ecdsa-p256":         {signs: true, shown: "P-256", generate: newECDSA(elliptic.P256())},
	"ecdsa-p384":         {signs: true, shown: "P-384", generate: newECDSA(elliptic.P384())},
	"ecdsa-p521":         {signs: true, shown: "P-521", generate: newECDSA(elliptic.P521())},
	"rsa-2048":           {encrypts: true, signs: true, shown: "rsa-2048", generate: newRSA(2048)},
	"rsa-3072":           {encrypts: true, signs: true, shown: "rsa-3072", generate: newRSA(3072)},
	"rsa-4096":           {encrypts: true, signs: true, shown: "rsa-4096", generate: newRSA(4096)},
}

// defaultType is the type of a key nobody chose one for.
const defaultType = "aes256-gcm96"

// Sizes of an hmac key, in bytes.
const (
	minMACSize = 32
	maxMACSize = 512
)

func newEd25519() (crypto.Signer, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	return private, err
}

func newECDSA(curve elliptic.Curve) func() (crypto.Signer, error) {
	return func() (crypto.Signer, error) { return ecdsa.GenerateKey(curve, rand.Reader) }
}

func newRSA(bits int) func() (crypto.Signer, error) {
	return func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, bits) }
}

func (k *key) kind() kind { return kinds[k.Type] }

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: see crypto/rand
	return b
}

// rotate adds a version.
func (k *key) rotate(now time.Time) error {
	if !k.mayRotate() {
		return fault.New(fault.Invalid, "imported key %s does not allow rotation within the engine", k.Name)
	}
	what := k.kind()
	v := &version{Created: now, MAC: randomBytes(32)}
	if what.symmetric {
		v.Secret = randomBytes(max(what.bytes, k.Size))
	} else {
		private, err := what.generate()
		if err == nil {
			v.Secret, err = x509.MarshalPKCS8PrivateKey(private)
		}
		if err != nil {
			return fmt.Errorf("make %s key: %w", k.Type, err)
		}
	}
	k.add(v)
	return nil
}

func (k *key) mayRotate() bool { return !k.Imported || k.ImportedRotate }

func (k *key) add(v *version) {
	if k.Versions == nil {
		k.Versions = map[int]*version{}
	}
	k.Latest++
	k.Versions[k.Latest] = v
	k.MinDecrypt = max(k.MinDecrypt, 1)
}

// signer is an asymmetric version's private key.
func (v *version) signer() (crypto.Signer, error) {
	if v.Secret == nil {
		return nil, fault.New(fault.Invalid, "the private key of this version was not imported")
	}
	private, err := x509.ParsePKCS8PrivateKey(v.Secret)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	s, ok := private.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("read key: %T cannot sign", private)
	}
	return s, nil
}

// public is an asymmetric version's public key.
func (v *version) public() (crypto.PublicKey, error) {
	if v.Secret == nil {
		pub, err := x509.ParsePKIXPublicKey(v.Public)
		if err != nil {
			return nil, fmt.Errorf("read public key: %w", err)
		}
		return pub, nil
	}
	s, err := v.signer()
	if err != nil {
		return nil, err
	}
	return s.Public(), nil
}

// forNew picks the version for encrypting and signing: the one asked for, else the
// latest. Old ones are refused where the key says so; use says what for.
func (k *key) forNew(asked int, use string) (int, *version, error) {
	least := k.MinEncrypt
	switch {
	case asked == 0:
		asked = k.Latest
	case asked < 0:
		return 0, nil, fault.New(fault.Invalid, "requested version for %s is negative", use)
	case asked > k.Latest:
		return 0, nil, fault.New(fault.Invalid, "requested version for %s is higher than the latest key version", use)
	case asked < least:
		return 0, nil, fault.New(fault.Invalid, "requested version for %s is less than the minimum encryption key version", use)
	}
	v := k.Versions[asked]
	if v == nil {
		return 0, nil, fault.New(fault.Invalid, "requested version is no longer available")
	}
	return asked, v, nil
}

// forOld picks the version something was made with.
func (k *key) forOld(n int, what string) (*version, error) {
	switch {
	case n > k.Latest:
		return nil, fault.New(fault.Invalid, "invalid %s: version is too new", what)
	case n < max(k.MinDecrypt, 1):
		return nil, fault.New(fault.Invalid, "ciphertext or signature version is disallowed by policy (too old)")
	}
	v := k.Versions[n]
	if v == nil {
		return nil, fault.New(fault.Invalid, "ciphertext or signature version is no longer available")
	}
	return v, nil
}

func entry(name string) string { return "key/" + name }

func load(ctx context.Context, r barrier.Reader, name string) (*key, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	found, err := r.Get(ctx, entry(name))
	if err != nil || found == nil {
		return nil, err
	}
	k := &key{}
	if err := json.Unmarshal(found.Value, k); err != nil {
		return nil, fmt.Errorf("decode key: %w", err)
	}
	return k, nil
}

func (k *key) save(ctx context.Context, w barrier.Writer) error {
	value, err := json.Marshal(k)
	if err != nil {
		return fmt.Errorf("encode key: %w", err)
	}
	return w.Put(ctx, barrier.Entry{Path: entry(k.Name), Value: value})
}
