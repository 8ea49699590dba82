// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package barrier

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cloudflare/circl/group"
	"github.com/cloudflare/circl/secretsharing"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store"
)

// Barrier is the one door between secrets and the store. It starts sealed.
type Barrier struct {
	store store.Store
	keys  atomic.Pointer[keys] // nil while sealed
	cache *cache

	mu     sync.Mutex // guards the unseal attempt
	shares map[byte][]byte
	nonce  string

	wrapper Wrapper // nil: the root key is not sealed elsewhere
	from    *Way    // how a seal that is not turned yet is opened; see Turn
	to      Way

	ask chan chan error // to Watch: learn now, and say when it is done
}

var _ Keys = (*Barrier)(nil)

// The types of seal.
const (
	Shamir  = "shamir"  // the root key is split among people
	KeyFile = "keyfile" // the root key is derived from a file
)

// Status is what may be known of a barrier by anybody.
type Status struct {
	Initialized bool
	Sealed      bool
	Type        string
	Threshold   int
	Shares      int
	Progress    int
	Nonce       string // of the unseal attempt under way
	Recovery    bool   // shares and threshold are those of a recovery key
	Turns       bool   // the seal waits to be turned into another kind: SubmitTurn
	ClusterID   string
}

// InitOptions says how the root key is kept: with KeyFile (at least 32 bytes of
// random content), or split into Shares of which Threshold are needed (1 to 255;
// one share only where the threshold is one).
type InitOptions struct {
	Shares    int
	Threshold int
	KeyFile   []byte

	// With a Wrapper, instead of Shares and Threshold: how the recovery key is split.
	RecoveryShares    int
	RecoveryThreshold int
}

// InitResult holds the shares to be given to people; none with a key file. They
// exist nowhere else.
type InitResult struct {
	Shares   [][]byte
	Recovery [][]byte // shares of the recovery key, with a Wrapper
}

// sealed is the barrier's own row: all that is needed to unseal, given the key.
type sealed struct {
	Type      string `json:"type"`
	Name      string `json:"name,omitempty"` // of the service, where there are several of a type
	Shares    int    `json:"shares"`
	Threshold int    `json:"threshold"`
	ClusterID string `json:"cluster_id"`
	Keyring   []byte `json:"keyring"`

	Heir      []byte    `json:"heir,omitempty"` // the root key after a rekeying, for servers that hold the old one; see heirKey
	HeirSince time.Time `json:"heir_since,omitzero"`

	Wrapped  []byte    `json:"wrapped,omitempty"` // the root key, sealed elsewhere
	Recovery *recovery `json:"recovery,omitempty"`

	text string // the row as it was read
}

var steps = []string{`
CREATE TABLE barrier_seal (id BIGINT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE barrier_entry (
	key BLOB PRIMARY KEY,
	dir BLOB NOT NULL,
	zone BLOB NOT NULL,
	grp BLOB,
	expires BIGINT NOT NULL,
	body BLOB NOT NULL
);
CREATE INDEX barrier_entry_dir ON barrier_entry (dir);
CREATE INDEX barrier_entry_grp ON barrier_entry (grp) WHERE grp IS NOT NULL;
CREATE INDEX barrier_entry_expires ON barrier_entry (zone, expires) WHERE expires > 0;
`}

// Open prepares the barrier's tables. The barrier is sealed.
func Open(ctx context.Context, st store.Store) (*Barrier, error) {
	if err := st.Migrate(ctx, "barrier", steps); err != nil {
		return nil, err
	}
	b := &Barrier{store: st, shares: map[byte][]byte{}, ask: make(chan chan error)}
	if st.Exclusive() {
		b.cache = newCache(cacheBytes)
	}
	return b, nil
}

func (b *Barrier) load(ctx context.Context) (*sealed, error) {
	var text string
	err := b.store.View(ctx, func(tx store.Tx) error {
		return tx.QueryRow(ctx, "SELECT body FROM barrier_seal WHERE id = 1").Scan(&text)
	})
	if errors.Is(err, store.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read seal: %w", err)
	}
	var s sealed
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return nil, fmt.Errorf("decode seal: %w", err)
	}
	s.text = text
	return &s, nil
}

// Status tells how things stand; it works sealed and before Init.
func (b *Barrier) Status(ctx context.Context) (Status, error) {
	s, err := b.load(ctx)
	if err != nil {
		return Status{}, err
	}
	if s == nil {
		if b.wrapper != nil {
			return Status{Sealed: true, Type: b.wrapper.Type()}, nil
		}
		return Status{Sealed: true, Type: Shamir}, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return Status{
		Initialized: true, Sealed: b.Sealed(), Type: s.Type, Threshold: s.Threshold, Shares: s.Shares,
		Progress: len(b.shares), Nonce: b.nonce, ClusterID: s.ClusterID, Recovery: s.Recovery != nil, Turns: b.turns(s),
	}, nil
}

// Sealed reports whether secrets are out of reach.
func (b *Barrier) Sealed() bool { return b.keys.Load() == nil }

// Init makes the keys, once; a second call is fault.Conflict. The barrier stays
// sealed.
func (b *Barrier) Init(ctx context.Context, o InitOptions) (InitResult, error) {
	s, result, err := b.newSeal(ctx, o)
	if err != nil {
		return InitResult{}, err
	}
	text, err := json.Marshal(s)
	if err != nil {
		return InitResult{}, fmt.Errorf("encode seal: %w", err)
	}
	err = b.store.Update(ctx, func(tx store.Tx) error {
		n, err := tx.Exec(ctx, "INSERT INTO barrier_seal (id, body) VALUES (1, ?) ON CONFLICT (id) DO NOTHING", string(text))
		if err == nil && n == 0 {
			return fault.New(fault.Conflict, "the server is already initialized")
		}
		return err
	})
	if err != nil {
		return InitResult{}, err
	}
	return result, nil
}

func (b *Barrier) newSeal(ctx context.Context, o InitOptions) (*sealed, InitResult, error) {
	ring, err := newKeyring()
	if err != nil {
		return nil, InitResult{}, err
	}
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return nil, InitResult{}, fmt.Errorf("make cluster id: %w", err)
	}
	s := &sealed{Type: KeyFile, Name: b.to.Name, Shares: 1, Threshold: 1, ClusterID: hex.EncodeToString(id)}
	var result InitResult
	var root []byte
	switch {
	case b.wrapper != nil:
		root, result, err = b.wrapRoot(ctx, s, o)
	case o.KeyFile != nil:
		root, err = fileKey(o.KeyFile)
	default:
		s.Type, s.Shares, s.Threshold = Shamir, o.Shares, o.Threshold
		root, result.Shares, err = split(o.Shares, o.Threshold)
	}
	if err != nil {
		return nil, InitResult{}, err
	}
	defer clear(root)
	s.Keyring, err = ring.seal(root)
	return s, result, err
}

// fileKey derives the root key from a key file's content.
func fileKey(content []byte) ([]byte, error) {
	if len(content) < keySize {
		return nil, fault.New(fault.Invalid, "the key file has %d bytes; it needs at least %d random ones", len(content), keySize).
			WithHint("make one with: head -c 32 /dev/urandom > key && chmod 600 key")
	}
	return hkdf.Key(sha256.New, content, nil, "goldkeep key file", keySize)
}

// UnsealWithFile unseals with a key file's content.
func (b *Barrier) UnsealWithFile(ctx context.Context, content []byte) error {
	s, err := b.load(ctx)
	if err != nil {
		return err
	}
	if s == nil {
		return fault.New(fault.Conflict, "the server is not initialized")
	}
	if s.Type != KeyFile {
		return fault.New(fault.Invalid, "this server's seal is of type %q, and not a key file", s.Type)
	}
	root, err := fileKey(content)
	if err != nil {
		return err
	}
	defer clear(root)
	return b.unlock(root, s)
}

func (b *Barrier) unlock(root []byte, s *sealed) error {
	ring, err := s.open(root)
	if err != nil {
		return err
	}
	b.keys.CompareAndSwap(nil, newKeys(ring, root))
	return nil
}

// open opens the keyring.
func (s *sealed) open(root []byte) (*keyring, error) {
	ring, err := openKeyring(root, s.Keyring)
	if errors.Is(err, errWrongKey) {
		return nil, fault.New(fault.Invalid, "the unseal key is wrong")
	}
	return ring, err
}

// Seal forgets the keys. Requests under way may still end well.
func (b *Barrier) Seal() {
	if k := b.keys.Swap(nil); k != nil {
		k.forget()
	}
	b.cache.clear()
	b.ResetShares()
}

// ResetShares drops the shares given so far.
func (b *Barrier) ResetShares() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dropShares()
}

func (b *Barrier) dropShares() {
	for _, share := range b.shares {
		clear(share)
	}
	clear(b.shares)
	b.nonce = ""
}

// SubmitShare takes one share. At the threshold it unseals; a wrong share shows
// only then (fault.Invalid), and the attempt starts anew.
func (b *Barrier) SubmitShare(ctx context.Context, share []byte) (Status, error) {
	s, err := b.load(ctx)
	if err != nil {
		return Status{}, err
	}
	if s == nil {
		return Status{}, errUninitialized
	}
	if !b.Sealed() {
		return b.Status(ctx)
	}
	if b.turns(s) {
		return Status{}, fault.New(fault.Invalid, "migrate option not provided and seal migration is pending").
			WithHint("goldkeep operator unseal --migrate turns the seal into the one of the configuration")
	}
	if s.wraps() {
		return Status{}, fault.New(fault.Invalid, "this server unseals itself with its seal of type %q; recovery keys do not unseal", s.Type).
			WithHint("it tries again and again; see goldkeep status and the server's log")
	}
	if s.Type == KeyFile {
		return Status{}, fault.New(fault.Invalid, "this server is unsealed by its key file, not by key shares").
			WithHint("restart it: it reads the key file at start")
	}
	if !IsShare(share) {
		return Status{}, badShare(share)
	}
	if err := b.addShare(s, share); err != nil {
		return Status{}, err
	}
	return b.Status(ctx)
}

func (b *Barrier) addShare(s *sealed, share []byte) error {
	shares, err := b.collect(s.Threshold, share)
	if shares == nil || err != nil {
		return err
	}
	defer func() {
		for _, share := range shares {
			clear(share)
		}
	}()
	root, err := join(shares, s.Threshold)
	if err != nil {
		return err
	}
	defer clear(root)
	return b.unlock(root, s)
}

// Shares are points of a polynomial over the scalars of ristretto255 (RFC 9496),
// made by circl: one byte with the point's number, 32 with its value. The root
// key is derived from the scalar at 0.
const shareSize = 1 + 32

var field = group.Ristretto255

// badShare says why something is no share, in the words clients know.
func badShare(share []byte) error {
	switch {
	case len(share) < 16:
		return fault.New(fault.Invalid, "invalid key: key is shorter than minimum 16 bytes")
	case len(share) > shareSize:
		return fault.New(fault.Invalid, "invalid key: key is longer than maximum %d bytes", shareSize)
	}
	return fault.New(fault.Invalid, "invalid key: the unseal key has the wrong length or form")
}

// wrongShares says why shares and threshold do not go together; "": they do.
func wrongShares(shares, threshold int) string {
	switch {
	case shares < 1:
		return "shares must be at least one"
	case threshold < 1:
		return "threshold must be at least one"
	case shares > 1 && threshold == 1:
		return "threshold must be greater than one for multiple shares"
	case shares > 255:
		return "shares must be less than 256"
	case threshold > shares:
		return "threshold cannot be larger than shares"
	}
	return ""
}

func split(shares, threshold int) (root []byte, parts [][]byte, err error) {
	if wrong := wrongShares(shares, threshold); wrong != "" {
		return nil, nil, fault.New(fault.Invalid, "invalid seal configuration: %s", wrong).
			WithHint("choose a threshold of at least 2 and at most the number of shares (or one share), for example 5 and 3")
	}
	secret := field.RandomNonZeroScalar(rand.Reader)
	for _, share := range secretsharing.New(rand.Reader, uint(threshold-1), secret).Share(uint(shares)) {
		value, err := share.Value.MarshalBinary()
		if err != nil {
			return nil, nil, fmt.Errorf("encode share: %w", err)
		}
		parts = append(parts, append([]byte{byte(len(parts) + 1)}, value...))
	}
	root, err = scalarKey(secret)
	return root, parts, err
}

func join(shares map[byte][]byte, threshold int) ([]byte, error) {
	var points []secretsharing.Share
	for id, share := range shares {
		value := field.NewScalar()
		if err := value.UnmarshalBinary(share[1:]); err != nil {
			return nil, fault.New(fault.Invalid, "an unseal key is damaged; begin again")
		}
		points = append(points, secretsharing.Share{ID: field.NewScalar().SetUint64(uint64(id)), Value: value})
	}
	secret, err := secretsharing.Recover(uint(threshold-1), points)
	if err != nil {
		return nil, fault.New(fault.Invalid, "the unseal keys do not fit together; begin again")
	}
	return scalarKey(secret)
}

func scalarKey(secret group.Scalar) ([]byte, error) {
	raw, err := secret.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("encode root key: %w", err)
	}
	defer clear(raw)
	return hkdf.Key(sha256.New, raw, nil, "goldkeep root key", keySize)
}

// MAC returns HMAC-SHA-256 of data under a key for this purpose.
func (b *Barrier) MAC(purpose string, data []byte) ([]byte, error) {
	k, err := b.unlocked()
	if err != nil {
		return nil, err
	}
	return k.mac("keys "+purpose, data)
}

// SealBytes encrypts plaintext, bound to purpose and aad.
func (b *Barrier) SealBytes(purpose string, plaintext, aad []byte) ([]byte, error) {
	k, err := b.unlocked()
	if err != nil {
		return nil, err
	}
	return k.seal("keys "+purpose, plaintext, aad)
}

// OpenBytes is the reverse of SealBytes.
func (b *Barrier) OpenBytes(purpose string, text, aad []byte) ([]byte, error) {
	k, err := b.unlocked()
	if err != nil {
		return nil, err
	}
	plain, err := k.open("keys "+purpose, text, aad)
	if errors.Is(err, errTerm) && b.askWatch() {
		plain, err = k.open("keys "+purpose, text, aad)
	}
	return plain, err
}

func (b *Barrier) unlocked() (*keys, error) {
	if k := b.keys.Load(); k != nil {
		return k, nil
	}
	return nil, fault.New(fault.Sealed, "the server is sealed").WithHint("unseal it with: goldkeep operator unseal")
}
