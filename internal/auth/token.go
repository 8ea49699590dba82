// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/entity"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/policy"
	"github.com/goldkeep/goldkeep/internal/store"
)

// Prefix starts every token the server makes, so that scanners can find leaked
// ones.
const Prefix = "gks."

// DefaultMaxTTL is the longest and the default lifetime where none is set, as
// clients of Vault and OpenBao expect.
const DefaultMaxTTL = 768 * time.Hour

// MaxDepth is how many generations a tree of tokens may have; each costs one
// read at every use.
const MaxDepth = 32

// spentFor is how long a token without uses left is kept, at most: longer than
// any request.
const spentFor = 10 * time.Minute

// Limits of what callers send.
const (
	maxTokenLen = 1024
	maxMeta     = 64 << 10 // bytes, keys and values together
	maxPolicies = 1000
)

// OnRevoke takes part in the transaction that ends a token: what belongs to the
// token (leases, cubbyhole) ends with it or not at all.
type OnRevoke func(ctx context.Context, tx store.Tx, accessor string) error

// TokensOptions is what Tokens needs.
type TokensOptions struct {
	Space      barrier.Space // of its own
	Keys       barrier.Keys
	Store      store.Store   // below Space; Migrate must have run
	DefaultTTL time.Duration // 0: DefaultMaxTTL
	MaxTTL     time.Duration // 0: DefaultMaxTTL
	Random     io.Reader     // nil: the system's
	OnRevoke   []OnRevoke    // run for each token that ends
	Entities   Entities      // who is behind tokens; nil: nobody is known
	Namespace  string        // id of the namespace the tokens are of, which they end in; "": the root

	// Patron reports whether a token of a namespace above is accepted; nil: none is.
	Patron func(ctx context.Context, p Patron) (bool, error)
}

// Entities is what Tokens asks of package entity.
type Entities interface {
	Login(ctx context.Context, tx store.Tx, l entity.Login) (*entity.Entity, error)
	Resolve(ctx context.Context, id string) (*entity.Identity, error)
}

// Tokens issues, recognises and revokes tokens.
type Tokens struct {
	o TokensOptions
}

// NewTokens returns a Tokens. It reads nothing yet, so it may be made sealed.
func NewTokens(o TokensOptions) *Tokens {
	if o.DefaultTTL <= 0 {
		o.DefaultTTL = DefaultMaxTTL
	}
	if o.MaxTTL <= 0 {
		o.MaxTTL = DefaultMaxTTL
	}
	o.DefaultTTL = min(o.DefaultTTL, o.MaxTTL)
	if o.Random == nil {
		o.Random = rand.Reader
	}
	return &Tokens{o: o}
}

// Migrate makes the room's only table in clear: which token exists, by a hash
// that says nothing about it. It lets evidence be read while sealed.
func Migrate(ctx context.Context, st store.Store) error {
	return st.Migrate(ctx, "auth", []string{
		`CREATE TABLE token_proof (hash BLOB PRIMARY KEY, expires BIGINT NOT NULL)`,
	})
}

// record is a token as it is kept.
type record struct {
	Accessor    string            `json:"accessor"`
	Parent      string            `json:"parent,omitempty"` // key of the parent's record
	Depth       int               `json:"depth,omitempty"`
	Policies    []string          `json:"policies"`
	Meta        map[string]string `json:"meta,omitempty"`
	Display     string            `json:"display"`
	Path        string            `json:"path"`
	Instance    string            `json:"instance,omitempty"`
	NumUses     int               `json:"num_uses,omitempty"` // left; 0: no limit
	Spent       bool              `json:"spent,omitempty"`    // the last use has been taken
	Closing     bool              `json:"closing,omitempty"`  // revoked, its children not; see RevokeOrphan
	Renewable   bool              `json:"renewable,omitempty"`
	Issued      time.Time         `json:"issued"`
	Expires     time.Time         `json:"expires"`
	Renewed     time.Time         `json:"renewed"`
	CreationTTL time.Duration     `json:"creation_ttl,omitempty"`
	RenewedTTL  time.Duration     `json:"renewed_ttl,omitempty"` // what the last renewal gave: the next gives it again
	ExplicitMax time.Duration     `json:"explicit_max,omitempty"`
	Period      time.Duration     `json:"period,omitempty"`
	MaxTTL      time.Duration     `json:"max_ttl,omitempty"`
	CIDRs       []string          `json:"cidrs,omitempty"`
	Origin      string            `json:"origin,omitempty"`
	EntityID    string            `json:"entity_id,omitempty"`
	Alone       bool              `json:"alone,omitempty"` // its entity's policies do not count
	Private     map[string]string `json:"private,omitempty"`
	Role        string            `json:"role,omitempty"`
	Type        string            `json:"type,omitempty"`  // typeBatch; else it is kept
	Proof       []byte            `json:"proof,omitempty"` // key of the row in token_proof
	Patron      *Patron           `json:"patron,omitempty"`

	key string // name of the record: HMAC of the token
}

// Where things are in the space. A record's group is its parent's key, so that
// children are found from the parent; without one, the auth mount it comes from.
func recordPath(key string) string  { return "id/" + key }
func accessorPath(a string) string  { return "accessor/" + a }
func workPath(key string) string    { return "work/" + key }
func instanceDir(id string) string  { return "instance/" + hex.EncodeToString([]byte(id)) }
func instancePath(r *record) string { return instanceDir(r.Instance) + "/" + r.Accessor }
func childrenOf(key string) string  { return "children/" + key }
func originOf(uuid string) string   { return "origin/" + uuid }
func endedPath(uuid string) string  { return "ended/" + uuid }
func (r *record) root() bool        { return slices.Contains(r.Policies, policy.RootName) }
func (r *record) live(now time.Time) bool {
	return !r.Spent && !r.Closing && (r.Expires.IsZero() || now.Before(r.Expires))
}

// errBadToken is the one answer for every token that is not accepted: it does
// not say why.
func errBadToken() error { return fault.New(fault.Denied, "permission denied") }

func errBadAccessor() error { return fault.New(fault.Invalid, "invalid accessor") }

// keyOf names a token's record.
func (t *Tokens) keyOf(token string) (string, error) {
	if token == "" || len(token) > maxTokenLen || !t.ours(token) {
		return "", errBadToken()
	}
	mac, err := t.o.Keys.MAC("token", []byte(token))
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(mac), nil
}

// load reads a record; nil where there is none. What it reads in a View is
// shared with others and must not be changed; see barrier.Decoded.
func load(ctx context.Context, r barrier.Reader, key string) (*record, error) {
	return barrier.Decoded(ctx, r, recordPath(key), func(value []byte) (*record, error) {
		rec := &record{key: key}
		if err := json.Unmarshal(value, rec); err != nil {
			return nil, fmt.Errorf("read token record: %w", err)
		}
		return rec, nil
	})
}

// loadAccessor reads the record an accessor names; nil where there is none.
func loadAccessor(ctx context.Context, r barrier.Reader, accessor string) (*record, error) {
	if !plainAccessor(accessor) {
		return nil, nil
	}
	e, err := r.Get(ctx, accessorPath(accessor))
	if err != nil || e == nil {
		return nil, err
	}
	return load(ctx, r, string(e.Value))
}

// save writes a record, with the index entries that lead to it.
func save(ctx context.Context, w barrier.Writer, rec *record) error {
	e, err := rec.entry()
	if err != nil {
		return err
	}
	return w.Put(ctx, e)
}

// entry is the record as it is kept.
func (r *record) entry() (barrier.Entry, error) {
	value, err := json.Marshal(r)
	if err != nil {
		return barrier.Entry{}, err
	}
	e := barrier.Entry{Path: recordPath(r.key), Value: value, Expires: r.Expires}
	switch {
	case r.Parent != "":
		e.Group = childrenOf(r.Parent)
	case r.Origin != "":
		e.Group = originOf(r.Origin)
	}
	return e, nil
}

// accepted reports whether a record and everything it descends from is live.
func accepted(ctx context.Context, r barrier.Reader, rec *record, now time.Time) (bool, error) {
	if rec == nil || !rec.live(now) {
		return false, nil
	}
	for parent := rec.Parent; parent != ""; {
		up, err := load(ctx, r, parent)
		switch {
		case err != nil:
			return false, err
		case up == nil:
			return false, nil
		case up.Closing: // its children are orphans already, only not rewritten yet
			return true, nil
		case !up.live(now):
			return false, nil
		}
		parent = up.Parent
	}
	return true, nil
}

// Subject recognises a token. Everything that is not accepted is fault.Denied
// with the same text. A use-limited token loses one use, durably.
func (t *Tokens) Subject(ctx context.Context, token string) (*Subject, error) {
	if isBatch(token) {
		return t.batchSubject(ctx, token)
	}
	key, err := t.keyOf(token)
	if err != nil {
		return nil, err
	}
	var rec *record
	err = t.o.Space.View(ctx, func(r barrier.Reader) (err error) {
		rec, err = t.use(ctx, r, key)
		return err
	})
	if err != nil {
		return nil, err
	}
	if rec.NumUses > 0 {
		if rec, err = t.takeUse(ctx, key); err != nil {
			return nil, err
		}
	}
	who, err := t.behind(ctx, rec)
	if err != nil {
		return nil, err
	}
	return rec.subject(who), nil
}

// behind is who has a token; errBadToken where that entity is gone or disabled.
func (t *Tokens) behind(ctx context.Context, rec *record) (*entity.Identity, error) {
	lives, err := t.patronLives(ctx, rec)
	if err != nil {
		return nil, err
	}
	if !lives {
		return nil, errBadToken()
	}
	who, err := t.identity(ctx, rec.EntityID)
	if err == nil && rec.EntityID != "" && t.o.Entities != nil && (who == nil || who.Entity.Disabled) {
		return nil, errBadToken()
	}
	return who, err
}

func (t *Tokens) identity(ctx context.Context, id string) (*entity.Identity, error) {
	if id == "" || t.o.Entities == nil {
		return nil, nil
	}
	return t.o.Entities.Resolve(ctx, id)
}

// use loads a record that is accepted now.
func (t *Tokens) use(ctx context.Context, r barrier.Reader, key string) (*record, error) {
	rec, err := load(ctx, r, key)
	if err != nil {
		return nil, err
	}
	ok, err := accepted(ctx, r, rec, t.o.Space.Now())
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errBadToken()
	}
	return rec, nil
}

// takeUse counts a use. The last one leaves the record spent, because the
// request still needs what hangs on the token (its cubbyhole, say); the gate
// revokes it after the request, or, where that was cut short, Tidy does soon.
func (t *Tokens) takeUse(ctx context.Context, key string) (*record, error) {
	var rec *record
	err := t.o.Space.Update(ctx, func(w barrier.Writer) (err error) {
		if rec, err = t.use(ctx, w, key); err != nil {
			return err
		}
		if rec.NumUses == 1 {
			rec.Spent = true
			if end := t.o.Space.Now().Add(spentFor); rec.Expires.IsZero() || rec.Expires.After(end) {
				rec.Expires = end
			}
		}
		rec.NumUses--
		return save(ctx, w, rec)
	})
	return rec, err
}

func (r *record) subject(who *entity.Identity) *Subject {
	policies := r.Policies
	if !r.Alone {
		policies = joined(policies, who)
	}
	return &Subject{
		Accessor: r.Accessor, Owner: r.Accessor, Display: r.Display, Policies: policies, Identity: who, Meta: maps.Clone(r.Meta), Instance: r.Instance, CIDRs: r.CIDRs,
		Root: r.root(), Expires: r.Expires, Path: r.Path, Orphan: r.Parent == "", LastUse: r.Spent,
		Limited: r.Spent || r.NumUses > 0,
	}
}

// Info looks a token up without using it; fault.Denied where it is not accepted.
func (t *Tokens) Info(ctx context.Context, token string) (*Info, error) {
	if isBatch(token) {
		return t.batchInfo(ctx, token)
	}
	key, err := t.keyOf(token)
	if err != nil {
		return nil, err
	}
	return t.info(ctx, errBadToken, func(r barrier.Reader) (*record, error) { return load(ctx, r, key) })
}

// InfoByAccessor looks a token up by its accessor; fault.Invalid where there is
// no such token.
func (t *Tokens) InfoByAccessor(ctx context.Context, accessor string) (*Info, error) {
	return t.info(ctx, errBadAccessor, func(r barrier.Reader) (*record, error) { return loadAccessor(ctx, r, accessor) })
}

func (t *Tokens) info(ctx context.Context, unknown func() error, find func(barrier.Reader) (*record, error)) (*Info, error) {
	var info *Info
	var rec *record
	err := t.o.Space.View(ctx, func(r barrier.Reader) (err error) {
		if rec, err = find(r); err != nil {
			return err
		}
		now, seen := t.o.Space.Now(), rec
		if rec != nil && rec.Spent { // its last request may be this very look
			unspent := *rec
			unspent.Spent = false
			seen = &unspent
		}
		ok, err := accepted(ctx, r, seen, now)
		if err == nil && !ok {
			err = unknown()
		}
		if err == nil {
			info = rec.info(now)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if lives, err := t.patronLives(ctx, rec); err != nil || !lives {
		return nil, cmp.Or(err, unknown())
	}
	info.Identity, err = t.identity(ctx, info.EntityID)
	return info, err
}

func (r *record) info(now time.Time) *Info {
	i := &Info{
		Accessor: r.Accessor, Policies: slices.Clone(r.Policies), Meta: maps.Clone(r.Meta), Display: r.Display, Path: r.Path, Instance: r.Instance,
		Type: typeService, NumUses: r.NumUses, Orphan: r.Parent == "", Renewable: r.Renewable, Issued: r.Issued,
		Expires: r.Expires, Renewed: r.Renewed, CreationTTL: r.CreationTTL, ExplicitMax: r.ExplicitMax, Period: r.Period, CIDRs: r.CIDRs, EntityID: r.EntityID,
		Alone: r.Alone, Origin: r.Origin, Role: r.Role, Private: maps.Clone(r.Private),
	}
	if r.Spent {
		i.NumUses = -1
	}
	if !r.Expires.IsZero() {
		i.TTL = r.Expires.Sub(now)
	}
	return i
}

// Accessors lists the accessors of all tokens that have not been cleared away.
func (t *Tokens) Accessors(ctx context.Context) ([]string, error) {
	var names []string
	err := t.o.Space.View(ctx, func(r barrier.Reader) (err error) {
		names, err = r.List(ctx, "accessor")
		return err
	})
	return names, err
}

// Proof reports whether a token the server made exists, also while sealed. It
// does not know policies, parents or uses: it is enough to read evidence with,
// never for a secret. Tokens with a chosen id or limited uses have no proof.
func (t *Tokens) Proof(ctx context.Context, token string) (bool, error) {
	hash := proofOf(token)
	if hash == nil {
		return false, nil
	}
	var n int64
	err := t.o.Store.View(ctx, func(tx store.Tx) error {
		now := store.Millis(t.o.Store.Now())
		return tx.QueryRow(ctx, `SELECT COUNT(*) FROM token_proof WHERE hash = ? AND (expires = 0 OR expires > ?)`, hash, now).Scan(&n)
	})
	return n > 0, err
}

// proofOf hashes a random token; nil for others, whose hash could be guessed.
func proofOf(token string) []byte {
	if len(token) != len(Prefix)+tokenChars || token[:len(Prefix)] != Prefix {
		return nil
	}
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}
