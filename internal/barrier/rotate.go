// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package barrier

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store"
)

// The keys change in two ways. Rotate adds a term to the keyring: what is written
// from then on is sealed by it, what was written before stays readable. Install puts
// a new root key around the keyring, with new shares. Both change one row in one
// transaction, so that a crash leaves the old state or the new one.
//
// Other servers on the same store find a text of a term they do not know, read the
// row again, and go on (learn); without that they look every few seconds (Watch).

// KeyStatus is the active term.
type KeyStatus struct {
	Term      uint32
	Installed time.Time
	Sealed    uint64 // how many texts this server has sealed with it since it was unsealed
}

// KeyStatus tells about the active term.
func (b *Barrier) KeyStatus() (KeyStatus, error) {
	k, err := b.unlocked()
	if err != nil {
		return KeyStatus{}, err
	}
	k.mu.RLock()
	defer k.mu.RUnlock()
	return KeyStatus{Term: k.ring.Active, Installed: k.ring.Installed[k.ring.Active], Sealed: k.used.Load()}, nil
}

// Rotate makes a new term and seals with it from now on.
func (b *Barrier) Rotate(ctx context.Context) error {
	return b.rewrite(ctx, func(_ *sealed, ring *keyring, root []byte) ([]byte, error) {
		key := make([]byte, keySize)
		if _, err := rand.Read(key); err != nil {
			return nil, fmt.Errorf("make key: %w", err)
		}
		ring.Active++
		ring.Terms[ring.Active] = key
		ring.Installed = maps.Clone(ring.Installed)
		if ring.Installed == nil {
			ring.Installed = map[uint32]time.Time{}
		}
		ring.Installed[ring.Active] = b.store.Now().UTC()
		return root, nil
	})
}

// maxRewrites is how often a change of the row is tried that others change too.
const maxRewrites = 10

// rewrite changes the seal's row. fn changes what it is given and returns the root
// key from now on; it may run more than once.
func (b *Barrier) rewrite(ctx context.Context, fn func(s *sealed, ring *keyring, root []byte) ([]byte, error)) error {
	k, err := b.unlocked()
	if err != nil {
		return err
	}
	for range maxRewrites {
		done, err := b.tryRewrite(ctx, k, fn)
		if done || err != nil {
			return err
		}
	}
	return fault.New(fault.Conflict, "the seal is being changed by others too").WithHint("try again")
}

func (b *Barrier) tryRewrite(ctx context.Context, k *keys, fn func(*sealed, *keyring, []byte) ([]byte, error)) (done bool, err error) {
	old, err := b.load(ctx)
	if err != nil {
		return false, err
	}
	ring, root, err := k.openSeal(old)
	if err != nil {
		return false, err
	}
	next := *old
	if root, err = fn(&next, ring, root); err != nil {
		return false, err
	}
	if next.Keyring, err = ring.seal(root); err != nil {
		return false, err
	}
	if done, err = b.replace(ctx, old, &next); done && err == nil {
		err = k.adopt(ring, root)
	}
	return done, err
}

// replace writes the row where it still is the old one.
func (b *Barrier) replace(ctx context.Context, old, next *sealed) (done bool, err error) {
	is, err := json.Marshal(next)
	if err != nil {
		return false, fmt.Errorf("encode seal: %w", err)
	}
	err = b.store.Update(ctx, func(tx store.Tx) error {
		n, err := tx.Exec(ctx, "UPDATE barrier_seal SET body = ? WHERE id = 1 AND body = ?", string(is), old.text)
		done = n > 0
		return err
	})
	return done && err == nil, err
}

// openSeal opens the keyring in the row with the root key these keys hold or, where
// another server has put a new one in its place, with that.
func (k *keys) openSeal(s *sealed) (ring *keyring, root []byte, err error) {
	if s == nil {
		return nil, nil, fault.New(fault.Conflict, "the server is not initialized")
	}
	k.mu.RLock()
	names, root := bytes.Clone(k.ring.Names), bytes.Clone(k.root)
	k.mu.RUnlock()
	if len(names) == 0 {
		return nil, nil, errForgotten
	}
	ring, err = openKeyring(root, s.Keyring)
	if errors.Is(err, errWrongKey) && s.Heir != nil {
		if root, err = openHeir(names, s.Heir); err == nil {
			ring, err = openKeyring(root, s.Keyring)
		}
	}
	if err != nil {
		return nil, nil, fault.New(fault.Internal, "open keyring: %w", err).WithHint("seal this server and unseal it with the present key shares")
	}
	return ring, root, nil
}

// adopt goes on with a keyring as it is in the row now.
func (k *keys) adopt(ring *keyring, root []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.ring.Active == 0:
		return errForgotten
	case ring.Active < k.ring.Active:
		return nil // read before somebody else's rotation
	case ring.Active > k.ring.Active:
		k.used.Store(0)
	}
	k.wipe()
	k.ring, k.root = ring, bytes.Clone(root)
	k.active.Store(ring.Active)
	return nil
}

// learn reads the row again, and returns it: another server may have rotated.
func (b *Barrier) learn(ctx context.Context, k *keys) (*sealed, error) {
	s, err := b.load(ctx)
	if err != nil {
		return nil, err
	}
	ring, root, err := k.openSeal(s)
	if err != nil {
		return nil, err
	}
	return s, k.adopt(ring, root)
}

// heirFor is how long a new root key waits for the other servers; they look every
// watchEvery. One that was away for longer is sealed and unsealed by hand.
const heirFor = 10 * time.Minute

// dropHeir removes the new root key that a rekeying left for other servers, once they
// have had time: left there it would make old shares, with an old copy of the
// database, as good as the new ones.
func (b *Barrier) dropHeir(ctx context.Context, s *sealed) error {
	if s == nil || s.Heir == nil || !b.store.Exclusive() && b.store.Now().Before(s.HeirSince.Add(heirFor)) {
		return nil
	}
	next := *s
	next.Heir, next.HeirSince = nil, time.Time{}
	_, err := b.replace(ctx, s, &next) // where others changed the row meanwhile it goes the next time
	return err
}

// watchEvery is how often Watch looks. askFor is how long a text of an unknown term
// waits for it.
const (
	watchEvery = 2 * time.Second
	askFor     = 3 * time.Second
)

// Watch learns of other servers' rotations until ctx ends. Where nobody else changes
// the store there is nothing to learn, and it only waits.
func (b *Barrier) Watch(ctx context.Context) error {
	if b.store.Exclusive() {
		s, err := b.load(ctx) // older servers left an heir here too
		if err == nil {
			err = b.dropHeir(ctx, s)
		}
		if err != nil && ctx.Err() == nil { // it is no failure to be told to stop
			return err
		}
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case answer := <-b.ask:
			answer <- b.learnNow(ctx)
		case <-tick.C:
			_ = b.learnNow(ctx) // it is tried again; who needs the term asks and hears why
		}
	}
}

func (b *Barrier) learnNow(ctx context.Context) error {
	k := b.keys.Load()
	if k == nil {
		return errForgotten
	}
	s, err := b.learn(ctx, k)
	if err != nil {
		return err
	}
	return b.dropHeir(ctx, s)
}

// askWatch has Watch learn at once, and reports whether it did.
func (b *Barrier) askWatch() bool {
	if b.store.Exclusive() {
		return false
	}
	answer := make(chan error, 1)
	patience := time.NewTimer(askFor)
	defer patience.Stop()
	select {
	case b.ask <- answer:
	case <-patience.C:
		return false
	}
	select {
	case err := <-answer:
		return err == nil
	case <-patience.C:
		return false
	}
}

// Prove checks that shares fit together to the root key: as many different ones as
// the threshold says. fault.Invalid where they do not.
func (b *Barrier) Prove(ctx context.Context, shares [][]byte) error {
	k, err := b.unlocked()
	if err != nil {
		return err
	}
	s, err := b.load(ctx)
	if err != nil {
		return err
	}
	_, root, err := k.openSeal(s)
	if err != nil {
		return err
	}
	defer clear(root)
	if s.Type != Shamir {
		return s.checkRecovery(shares)
	}
	return fits(root, s.Threshold, shares)
}

func fits(root []byte, threshold int, shares [][]byte) error {
	points := map[byte][]byte{}
	for _, share := range shares {
		if !IsShare(share) {
			return fault.New(fault.Invalid, "a key share has the wrong length or form")
		}
		points[share[0]] = share
	}
	if len(points) != threshold {
		return fault.New(fault.Invalid, "%d different key shares are needed", threshold)
	}
	made, err := join(points, threshold)
	if err != nil {
		return err
	}
	defer clear(made)
	if subtle.ConstantTimeCompare(made, root) != 1 {
		return fault.New(fault.Invalid, "the key shares are wrong; begin again")
	}
	return nil
}

// IsShare reports whether this has the form of a key share.
func IsShare(share []byte) bool { return len(share) == shareSize && share[0] != 0 }

// Candidate is a new root key, split, that is not in force yet.
type Candidate struct {
	Shares    [][]byte // to be given to people; they exist nowhere else
	Threshold int
	root      []byte
}

// NewCandidate makes one. fault.Invalid where shares and threshold do not go together.
func NewCandidate(shares, threshold int) (*Candidate, error) {
	root, parts, err := split(shares, threshold)
	if err != nil {
		return nil, err
	}
	return &Candidate{Shares: parts, Threshold: threshold, root: root}, nil
}

// Fits checks that shares are enough of the new ones.
func (c *Candidate) Fits(shares [][]byte) error { return fits(c.root, c.Threshold, shares) }

// Install puts a candidate in force: from now on only its shares unseal. The caller
// has checked by Prove that the old shares agree.
func (b *Barrier) Install(ctx context.Context, c *Candidate) error {
	return b.rewrite(ctx, func(s *sealed, ring *keyring, _ []byte) ([]byte, error) {
		if s.Type != Shamir {
			return nil, fault.New(fault.Invalid, "this server has no key shares: its seal is of type %q", s.Type)
		}
		s.Shares, s.Threshold = len(c.Shares), c.Threshold
		return c.root, b.setHeir(s, ring, c.root)
	})
}

// InstallRecovery puts a candidate in force as recovery key: its shares prove that
// enough people agree. The caller has checked by Prove that the present ones do.
func (b *Barrier) InstallRecovery(ctx context.Context, c *Candidate) error {
	return b.rewrite(ctx, func(s *sealed, _ *keyring, root []byte) ([]byte, error) {
		if s.Type == Shamir {
			return nil, fault.New(fault.Invalid, "this server has key shares, and no recovery keys")
		}
		return root, s.setRecovery(c.root, len(c.Shares), c.Threshold)
	})
}

// RotateRoot makes a new root key, sealed elsewhere like the old one.
func (b *Barrier) RotateRoot(ctx context.Context) error {
	return b.rewrite(ctx, func(s *sealed, ring *keyring, _ []byte) (root []byte, err error) {
		switch {
		case s.Type == Shamir:
			return nil, fault.New(fault.Invalid, "the root key is made of the key shares: it changes with them").
				WithHint("use sys/rotate/root/init and sys/rotate/root/update")
		case s.Type == KeyFile:
			return nil, fault.New(fault.Invalid, "the root key is made of the key file, which stays the same")
		}
		if root, err = b.newWrapped(ctx, s); err == nil {
			err = b.setHeir(s, ring, root)
		}
		return root, err
	})
}

// setHeir leaves a new root key for the servers that hold the old one.
func (b *Barrier) setHeir(s *sealed, ring *keyring, root []byte) (err error) {
	s.Heir, s.HeirSince = nil, time.Time{}
	if b.store.Exclusive() {
		return nil
	}
	s.HeirSince = b.store.Now().UTC()
	s.Heir, err = sealHeir(ring.Names, root)
	return err
}

// heirKey seals a new root key for servers that are unsealed with the old one: they
// know the key that blinds names, which is never rotated. Whoever is sealed has no use
// for it, and where there are no other servers there is none.
func heirKey(names []byte) ([]byte, error) {
	return hkdf.Key(sha256.New, names, nil, "goldkeep heir", keySize)
}

var heirBound = []byte("goldkeep root key")

func sealHeir(names, root []byte) ([]byte, error) {
	key, err := heirKey(names)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	box, err := newBox(key)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, box.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, fmt.Errorf("make nonce: %w", err)
	}
	return box.Seal(nonce, nonce, root, heirBound), nil
}

func openHeir(names, heir []byte) ([]byte, error) {
	key, err := heirKey(names)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	box, err := newBox(key)
	if err != nil {
		return nil, err
	}
	if len(heir) < box.NonceSize() {
		return nil, errWrongKey
	}
	root, err := box.Open(nil, heir[:box.NonceSize()], heir[box.NonceSize():], heirBound)
	if err != nil {
		return nil, errWrongKey
	}
	return root, nil
}
