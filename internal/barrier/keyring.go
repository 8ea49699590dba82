// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package barrier

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/goldkeep/goldkeep/internal/fault"
)

const keySize = 32 // bytes: AES-256 and HMAC-SHA-256

// keyring holds the keys everything is encrypted with. It is stored sealed by
// the root key. Terms are numbered from 1; a rotation adds one.
type keyring struct {
	Terms  map[uint32][]byte `json:"terms"`
	Active uint32            `json:"active"`
	Names  []byte            `json:"names"` // blinds names; never rotated, or nothing would be found again

	Installed map[uint32]time.Time `json:"installed,omitempty"` // since when there is a term; none for the first of old
}

func newKeyring() (*keyring, error) {
	k := &keyring{Terms: map[uint32][]byte{1: make([]byte, keySize)}, Active: 1, Names: make([]byte, keySize)}
	for _, b := range [][]byte{k.Terms[1], k.Names} {
		if _, err := rand.Read(b); err != nil {
			return nil, fmt.Errorf("make key: %w", err)
		}
	}
	return k, nil
}

// seal encrypts the keyring with the root key.
func (k *keyring) seal(root []byte) ([]byte, error) {
	plain, err := json.Marshal(k)
	if err != nil {
		return nil, fmt.Errorf("encode keyring: %w", err)
	}
	defer clear(plain)
	box, err := newBox(root)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, box.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, fmt.Errorf("make nonce: %w", err)
	}
	return box.Seal(nonce, nonce, plain, []byte("goldkeep keyring")), nil
}

var errWrongKey = errors.New("wrong key")

// openKeyring decrypts a keyring; errWrongKey when the root key is another one.
func openKeyring(root, sealed []byte) (*keyring, error) {
	box, err := newBox(root)
	if err != nil {
		return nil, err
	}
	if len(sealed) < box.NonceSize() {
		return nil, errWrongKey
	}
	plain, err := box.Open(nil, sealed[:box.NonceSize()], sealed[box.NonceSize():], []byte("goldkeep keyring"))
	if err != nil {
		return nil, errWrongKey
	}
	defer clear(plain)
	var k keyring
	if err := json.Unmarshal(plain, &k); err != nil {
		return nil, fmt.Errorf("decode keyring: %w", err)
	}
	return &k, nil
}

func newBox(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("use key: %w", err)
	}
	return cipher.NewGCM(block)
}

// keys is an unlocked keyring with what is derived from it.
type keys struct {
	active atomic.Uint32
	used   atomic.Uint64          // how often the active term has sealed, in this process
	boxes  map[string]cipher.AEAD // per purpose and term, guarded by mu
	macs   map[string]*sync.Pool  // of hash.Hash, per purpose, guarded by mu
	ring   *keyring               // guarded by mu
	root   []byte                 // the root key, to seal the keyring anew; guarded by mu
	mu     sync.RWMutex
}

func newKeys(ring *keyring, root []byte) *keys {
	k := &keys{ring: ring, root: bytes.Clone(root), boxes: map[string]cipher.AEAD{}, macs: map[string]*sync.Pool{}}
	k.active.Store(ring.Active)
	return k
}

// forget wipes what can be wiped.
func (k *keys) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.wipe()
	k.ring = &keyring{} // whoever still holds k must not go on with keys of zeros
	clear(k.boxes)
	clear(k.macs)
}

// wipe overwrites the keys held now.
func (k *keys) wipe() {
	for _, key := range k.ring.Terms {
		clear(key)
	}
	clear(k.ring.Names)
	clear(k.root)
}

// errTerm is what a server says that has not heard of a rotation yet: see learn.
var errTerm = errors.New("an unknown key term")

var errForgotten = fault.New(fault.Sealed, "the server was sealed meanwhile")

// header is the version byte and term in front of every sealed text.
const (
	sealVersion = 1
	headerSize  = 1 + 4
)

// seal encrypts plain, bound to purpose and aad, under the active term.
func (k *keys) seal(purpose string, plain, aad []byte) ([]byte, error) {
	term := k.active.Load()
	box, err := k.box(purpose, term)
	if err != nil {
		return nil, err
	}
	k.used.Add(1)
	out := make([]byte, headerSize+box.NonceSize(), headerSize+box.NonceSize()+len(plain)+box.Overhead())
	out[0] = sealVersion
	binary.BigEndian.PutUint32(out[1:], term)
	nonce := out[headerSize:]
	if _, err := rand.Read(nonce); err != nil {
		return nil, fmt.Errorf("make nonce: %w", err)
	}
	return box.Seal(out, nonce, plain, aad), nil
}

// open is the reverse of seal.
func (k *keys) open(purpose string, sealed, aad []byte) ([]byte, error) {
	if len(sealed) < headerSize || sealed[0] != sealVersion {
		return nil, fault.New(fault.Invalid, "the sealed text is damaged")
	}
	box, err := k.box(purpose, binary.BigEndian.Uint32(sealed[1:]))
	if err != nil {
		return nil, err
	}
	rest := sealed[headerSize:]
	if len(rest) < box.NonceSize() {
		return nil, fault.New(fault.Invalid, "the sealed text is damaged")
	}
	plain, err := box.Open(nil, rest[:box.NonceSize()], rest[box.NonceSize():], aad)
	if err != nil {
		return nil, fault.New(fault.Invalid, "the sealed text is damaged or from elsewhere")
	}
	return plain, nil
}

func (k *keys) box(purpose string, term uint32) (cipher.AEAD, error) {
	id := string(binary.BigEndian.AppendUint32(nil, term)) + purpose
	k.mu.RLock()
	box := k.boxes[id]
	k.mu.RUnlock()
	if box != nil {
		return box, nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ring.Active == 0 {
		return nil, errForgotten
	}
	secret, ok := k.ring.Terms[term]
	if !ok {
		return nil, fault.New(fault.Invalid, "the sealed text is of term %d: %w", term, errTerm)
	}
	key, err := hkdf.Key(sha256.New, secret, nil, "goldkeep seal "+purpose, keySize)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	if box, err = newBox(key); err != nil {
		return nil, err
	}
	k.boxes[id] = box
	return box, nil
}

// mac returns HMAC-SHA-256 of data under a key of this purpose.
func (k *keys) mac(purpose string, data []byte) ([]byte, error) {
	k.mu.RLock()
	pool := k.macs[purpose]
	k.mu.RUnlock()
	if pool == nil {
		var err error
		if pool, err = k.macPool(purpose); err != nil {
			return nil, err
		}
	}
	h := pool.Get().(hash.Hash)
	defer pool.Put(h)
	h.Reset()
	h.Write(data)
	return h.Sum(nil), nil
}

func (k *keys) macPool(purpose string) (*sync.Pool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ring.Active == 0 {
		return nil, errForgotten
	}
	key, err := hkdf.Key(sha256.New, k.ring.Names, nil, "goldkeep mac "+purpose, keySize)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	pool := &sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}
	k.macs[purpose] = pool
	return pool, nil
}
