// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// signingKey is a named key that signs identity tokens. The next one is published
// before it signs, so that those who keep the list of keys know it by then.
type signingKey struct {
	Name      string          `json:"name"`
	Algorithm string          `json:"algorithm"`
	Rotation  time.Duration   `json:"rotation"`
	Verify    time.Duration   `json:"verify"` // how long a retired key is still published
	Clients   []string        `json:"clients,omitempty"`
	Current   jose.JSONWebKey `json:"current"`
	Next      jose.JSONWebKey `json:"next"`
	Due       time.Time       `json:"due"` // of the next rotation
	Retired   []retired       `json:"retired,omitempty"`
}

// retired is a public key that signs no more.
type retired struct {
	Key   jose.JSONWebKey `json:"key"`
	Until time.Time       `json:"until"`
}

// algorithms are those a key may have.
var algorithms = []string{"RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "EdDSA"}

// Lifetimes where none is given.
const (
	defaultRotation = 24 * time.Hour
	defaultVerify   = 24 * time.Hour
	rsaBits         = 2048
)

func keyPath(name string) string { return "key/" + hex.EncodeToString([]byte(name)) }

func (e *Engine) keyRoutes() []engine.Route {
	return []engine.Route{
		{Path: "oidc/key", Help: "The keys that sign identity tokens.", Ops: engine.Ops{List: e.names("key", defaultKey)}},
		{Path: "oidc/key/{name}", Help: "A key that signs identity tokens.", Takes: "algorithm allowed_client_ids:list rotation_period:duration verification_ttl:duration", Ops: engine.Ops{Read: e.readKey, Write: e.putKey, Delete: e.deleteKey}},
		{Path: "oidc/key/{name}/rotate", Help: "Let the next key sign from now on.", Takes: "verification_ttl:duration", Ops: engine.Ops{Write: e.rotateKey}},
	}
}

// names lists what is kept below a folder by its hex name, and what is always there.
func (e *Engine) names(folder string, always ...string) engine.Handler {
	return func(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
		names, err := e.kept(ctx, folder)
		names = unique(append(names, always...))
		if err != nil || len(names) == 0 {
			return nil, err
		}
		return &engine.Response{Data: engine.Keys{Keys: names}}, nil
	}
}

func (e *Engine) kept(ctx context.Context, folder string) (names []string, err error) {
	err = e.o.Space.View(ctx, func(r barrier.Reader) error {
		names = nil
		keys, err := r.List(ctx, folder)
		for _, key := range keys {
			name, err := hex.DecodeString(key)
			if err != nil {
				return err
			}
			names = append(names, string(name))
		}
		return err
	})
	slices.Sort(names)
	return names, err
}

// generate makes a key pair. It takes a while for RSA.
func generate(algorithm string) (key jose.JSONWebKey, err error) {
	var private crypto.PrivateKey
	switch algorithm {
	case "ES256":
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		private, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "EdDSA":
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		private, err = rsa.GenerateKey(rand.Reader, rsaBits)
	}
	if err != nil {
		return key, fault.New(fault.Internal, "make signing key: %w", err)
	}
	var id [16]byte
	_, _ = rand.Read(id[:])
	return jose.JSONWebKey{Key: private, KeyID: hex.EncodeToString(id[:]), Algorithm: algorithm, Use: "sig"}, nil
}

func (e *Engine) readKey(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	k, err := engine.Look[signingKey](ctx, e.o.Space, keyPath(v["name"]))
	if err == nil && k == nil && v["name"] == defaultKey {
		k = newKey(defaultKey)
		k.Algorithm = algorithms[0]
	}
	if err != nil || k == nil {
		return nil, err
	}
	return &engine.Response{Data: map[string]any{
		"algorithm": k.Algorithm, "allowed_client_ids": orEmpty(k.Clients),
		"rotation_period": int64(k.Rotation / time.Second), "verification_ttl": int64(k.Verify / time.Second),
	}}, nil
}

func (e *Engine) putKey(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	if len(v["name"]) > 256 {
		return nil, fault.New(fault.Invalid, "the name of a key has at most 256 bytes")
	}
	old, err := engine.Look[signingKey](ctx, e.o.Space, keyPath(v["name"]))
	if err != nil {
		return nil, err
	}
	wanted := f.Text("algorithm")
	if wanted == "" && old == nil {
		wanted = "RS256"
	}
	if wanted != "" && !slices.Contains(algorithms, wanted) {
		return nil, fault.New(fault.Invalid, "unknown signing algorithm %q", wanted)
	}
	var fresh [2]jose.JSONWebKey // made outside of the transaction, which may run again
	if old == nil || wanted != "" && wanted != old.Algorithm {
		for i := range fresh {
			if fresh[i], err = generate(wanted); err != nil {
				return nil, err
			}
		}
	}
	return nil, e.o.Space.Update(ctx, func(w barrier.Writer) error {
		k, err := engine.Found[signingKey](ctx, w, keyPath(v["name"]))
		if err != nil {
			return err
		}
		if k == nil {
			k = newKey(v["name"])
		}
		if err := k.take(f); err != nil {
			return err
		}
		if fresh[0].Key != nil {
			k.retire(req.Now)
			k.Algorithm, k.Current, k.Next, k.Due = wanted, fresh[0], fresh[1], time.Time{}
		}
		if due := req.Now.Add(k.Rotation); k.Due.IsZero() || due.Before(k.Due) {
			k.Due = due
		}
		return w.Put(ctx, barrier.Entry{Path: keyPath(k.Name), Value: engine.Stored(k)})
	})
}

// newKey is a named key that signs nothing yet.
func newKey(name string) *signingKey {
	k := &signingKey{Name: name, Rotation: defaultRotation, Verify: defaultVerify}
	if name == defaultKey {
		k.Clients = []string{"*"}
	}
	return k
}

// needKey makes the default key where it is asked for ("": it is) and was not needed
// yet.
func (e *Engine) needKey(ctx context.Context, name string, now time.Time) error {
	if name != "" && name != defaultKey {
		return nil
	}
	k, err := engine.Look[signingKey](ctx, e.o.Space, keyPath(defaultKey))
	if err != nil || k != nil {
		return err
	}
	_, err = e.putKey(ctx, &engine.Request{Now: now}, engine.Vars{"name": defaultKey})
	return err
}

// take changes a key where the request says something.
func (k *signingKey) take(f *engine.Fields) error {
	if f.Has("rotation_period") {
		k.Rotation = f.Duration("rotation_period")
	}
	if f.Has("verification_ttl") {
		k.Verify = f.Duration("verification_ttl")
	}
	if f.Has("allowed_client_ids") {
		k.Clients = f.List("allowed_client_ids")
	}
	switch {
	case f.Err() != nil:
		return f.Err()
	case k.Rotation < time.Minute:
		return fault.New(fault.Invalid, "rotation_period must be at least one minute")
	case k.Verify > 10*k.Rotation:
		return fault.New(fault.Invalid, "verification_ttl cannot be longer than 10x rotation_period")
	}
	return nil
}

// retire keeps the public half of the current key for as long as it may have
// signed.
func (k *signingKey) retire(now time.Time) {
	k.Retired = slices.DeleteFunc(k.Retired, func(r retired) bool { return !now.Before(r.Until) })
	if k.Current.Key != nil {
		k.Retired = append(k.Retired, retired{k.Current.Public(), now.Add(k.Verify)})
	}
}

// rotate lets the next key sign.
func (k *signingKey) rotate(fresh jose.JSONWebKey, now time.Time) {
	k.retire(now)
	k.Current, k.Next, k.Due = k.Next, fresh, now.Add(k.Rotation)
}

func (e *Engine) rotateKey(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	verify := f.Duration("verification_ttl")
	if f.Err() != nil {
		return nil, f.Err()
	}
	k, err := engine.Look[signingKey](ctx, e.o.Space, keyPath(v["name"]))
	if err != nil {
		return nil, err
	}
	if k == nil {
		return nil, fault.New(fault.Invalid, "no named key found at %q", v["name"])
	}
	_, err = e.turn(ctx, k, req.Now, func(k *signingKey) bool {
		if f.Has("verification_ttl") {
			k.Verify = verify
		}
		return true
	})
	return nil, err
}

// turn rotates a key where due says so, and returns it as it is then.
func (e *Engine) turn(ctx context.Context, k *signingKey, now time.Time, due func(*signingKey) bool) (*signingKey, error) {
	fresh, err := generate(k.Algorithm)
	if err != nil {
		return nil, err
	}
	name := k.Name
	err = e.o.Space.Update(ctx, func(w barrier.Writer) (err error) {
		if k, err = engine.Found[signingKey](ctx, w, keyPath(name)); err != nil {
			return err
		}
		if k == nil {
			return fault.New(fault.Invalid, "no named key found at %q", name)
		}
		if !due(k) || k.Algorithm != fresh.Algorithm {
			return nil // somebody else was faster
		}
		k.rotate(fresh, now)
		return w.Put(ctx, barrier.Entry{Path: keyPath(name), Value: engine.Stored(k)})
	})
	return k, err
}

// turnDue rotates a key whose time has come.
func (e *Engine) turnDue(ctx context.Context, k *signingKey, now time.Time) (*signingKey, error) {
	overdue := func(k *signingKey) bool { return !now.Before(k.Due) }
	if !overdue(k) {
		return k, nil
	}
	return e.turn(ctx, k, now, overdue)
}

// deleteKey refuses what a role or a client still names.
func (e *Engine) deleteKey(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	name := v["name"]
	if name == defaultKey {
		return nil, fault.New(fault.Invalid, "deletion of key %q not allowed", name)
	}
	return nil, e.o.Space.Update(ctx, func(w barrier.Writer) error {
		roles, err := using(ctx, w, "role", func(r *tokenRole) bool { return r.Key == name })
		if err == nil && len(roles) > 0 {
			err = fault.New(fault.Invalid, "unable to delete key %q because it is currently referenced by these roles: %s", name, strings.Join(roles, ", "))
		}
		if err != nil {
			return err
		}
		clients, err := using(ctx, w, "client", func(c *client) bool { return c.Key == name })
		if err == nil && len(clients) > 0 {
			err = fault.New(fault.Invalid, "unable to delete key %q because it is currently referenced by these clients: %s", name, strings.Join(clients, ", "))
		}
		if err != nil {
			return err
		}
		return w.Delete(ctx, keyPath(name))
	})
}

// public are the keys tokens may be checked with now.
func (k *signingKey) public(now time.Time) []jose.JSONWebKey {
	keys := []jose.JSONWebKey{k.Current.Public(), k.Next.Public()}
	for _, r := range k.Retired {
		if now.Before(r.Until) {
			keys = append(keys, r.Key)
		}
	}
	return keys
}

// published are the public keys of all named keys.
func (e *Engine) published(ctx context.Context, now time.Time) (set jose.JSONWebKeySet, err error) {
	set.Keys = []jose.JSONWebKey{}
	names, err := e.kept(ctx, "key")
	if err != nil {
		return set, err
	}
	for _, name := range names {
		k, err := engine.Look[signingKey](ctx, e.o.Space, keyPath(name))
		if err != nil {
			return set, err
		}
		if k != nil {
			set.Keys = append(set.Keys, k.public(now)...)
		}
	}
	return set, nil
}
