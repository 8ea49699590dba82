// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package jwt

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/sync/singleflight"

	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/fetch"
)

type signature = jose.SignatureAlgorithm

// asymmetric are the algorithms tokens may be signed with. None that needs a
// secret we share with the provider: there is none, and a public key must never
// be taken for it.
var asymmetric = []signature{
	jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384, jose.ES512, jose.PS256, jose.PS384, jose.PS512, jose.EdDSA,
}

// Limits of what a provider sends and how often it is asked.
const (
	maxToken = 64 << 10         // bytes
	maxKeys  = 100              // in a set
	keysNew  = 10 * time.Minute // a set this old is fetched again
	keysOld  = time.Hour        // a set this old is not used where it cannot be fetched
	patience = 10 * time.Second // between two attempts, whatever tokens ask for
)

// provider is whose tokens a configuration believes. Several requests use it at once.
type provider struct {
	config *config
	client *http.Client
	algs   []signature
	static []jose.JSONWebKey
	flight singleflight.Group

	mu      sync.Mutex
	found   *discovery // nil: not yet
	keys    []jose.JSONWebKey
	fetched time.Time // when keys was; zero: never
	tried   time.Time // when it was last attempted
	failed  error     // how that ended
}

func newProvider(c *config) (*provider, error) {
	p := &provider{config: c, algs: asymmetric}
	if len(c.Algs) > 0 {
		p.algs = nil
		for _, alg := range c.Algs {
			p.algs = append(p.algs, signature(alg))
		}
	}
	for _, text := range c.Keys {
		key, err := engine.PublicKey(text)
		if err != nil {
			return nil, err
		}
		p.static = append(p.static, jose.JSONWebKey{Key: key})
	}
	var err error
	p.client, err = fetch.NewClient(c.DiscoveryCA + c.JWKSCA)
	return p, err
}

// issuer is who must have issued tokens; "": anybody whose key is believed.
func (p *provider) issuer() string {
	if p.config.Issuer != "" {
		return p.config.Issuer
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.found != nil {
		return p.found.Issuer
	}
	return ""
}

// read verifies a token's signature and returns its claims, which nobody has
// compared with anything yet.
func (p *provider) read(ctx context.Context, token string, now time.Time) (claims, error) {
	signed, err := parse(token, p.algs)
	if err != nil {
		return nil, err
	}
	header := signed.Signatures[0].Protected
	keys, err := p.keysFor(ctx, header.KeyID, now)
	if err != nil {
		return nil, outward(err)
	}
	for _, key := range keys {
		if key.Algorithm != "" && key.Algorithm != header.Algorithm || key.Use != "" && key.Use != "sig" {
			continue
		}
		if payload, err := signed.Verify(key.Key); err == nil {
			return readClaims(payload)
		}
	}
	return nil, fault.New(fault.Invalid, "error verifying token signature: no known key successfully validated the token signature")
}

// parse reads the compact form of a signed token, and no other.
func parse(token string, algs []signature) (*jose.JSONWebSignature, error) {
	if len(token) > maxToken {
		return nil, fault.New(fault.TooLarge, "the token is over %d bytes", maxToken)
	}
	signed, err := jose.ParseSignedCompact(token, algs)
	if err != nil || len(signed.Signatures) != 1 {
		return nil, fault.New(fault.Invalid, "error verifying token signature: the token is malformed, or signed with an algorithm that is not allowed")
	}
	if _, critical := signed.Signatures[0].Protected.ExtraHeaders["crit"]; critical {
		return nil, fault.New(fault.Invalid, "the token has critical extensions, which are not understood")
	}
	return signed, nil
}

func readClaims(payload []byte) (claims, error) {
	var c claims
	if err := decode(json.RawMessage(payload), &c); err != nil || c == nil {
		return nil, fault.New(fault.Invalid, "the token's claims are no JSON object")
	}
	return c, nil
}

var errNoSuchKey = fault.New(fault.Invalid, "the provider has no key with the token's id")

// outward is why there are no keys, as anybody who logs in may see it. The whole
// reason names machines inside; who may read the mount's configuration sees it there.
func outward(err error) error {
	if errors.Is(err, errNoSuchKey) {
		return err
	}
	return fault.New(fault.Unavailable, "the provider's keys cannot be had now").WithHint("the warning in the answer of reading the mount's config says why")
}

// errNoKeys says that the provider answers well and has no keys: some make their
// first one when they sign their first token.
var errNoKeys = fault.New(fault.Unavailable, "the provider has no key that can be used")

// keysFor are the keys that may have signed a token: those of its key id, or all
// where it names none.
func (p *provider) keysFor(ctx context.Context, id string, now time.Time) ([]jose.JSONWebKey, error) {
	if len(p.static) > 0 {
		return p.static, nil
	}
	keys, age := p.known(id, now)
	if len(keys) > 0 && age < keysNew {
		return keys, nil
	}
	err := p.refresh(ctx, now)
	if keys, age = p.known(id, now); len(keys) > 0 && age < keysOld {
		return keys, nil
	}
	if err == nil && id != "" {
		err = errNoSuchKey
	}
	if err == nil {
		err = errNoKeys
	}
	return nil, err
}

// known are the keys held by now, and how old they are.
func (p *provider) known(id string, now time.Time) (keys []jose.JSONWebKey, age time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, key := range p.keys {
		if id == "" || key.KeyID == id {
			keys = append(keys, key)
		}
	}
	return keys, now.Sub(p.fetched)
}

// refresh fetches the keys anew, but never twice within patience: whoever sends
// tokens with made-up key ids makes us ask the provider no more often.
func (p *provider) refresh(ctx context.Context, now time.Time) error {
	_, err, _ := p.flight.Do("keys", func() (any, error) {
		p.mu.Lock()
		wait, last := !p.tried.IsZero() && now.Sub(p.tried) < patience, p.failed
		p.mu.Unlock()
		if wait {
			return nil, last
		}
		keys, found, err := p.fetch(context.WithoutCancel(ctx))
		p.mu.Lock()
		defer p.mu.Unlock()
		p.tried, p.failed = now, err
		if err == nil {
			p.keys, p.found, p.fetched = keys, found, now
		}
		return nil, err
	})
	return err
}

// fetch asks the provider for its keys and, where it is discovered, for what else
// it says of itself.
func (p *provider) fetch(ctx context.Context) (keys []jose.JSONWebKey, found *discovery, err error) {
	ctx, cancel := context.WithTimeout(ctx, fetch.Time)
	defer cancel()
	from := p.config.JWKSURL
	if p.config.DiscoveryURL != "" {
		if found, err = discover(ctx, p.client, p.config.DiscoveryURL); err != nil {
			return nil, nil, err
		}
		from = found.JWKS
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := fetch.GetJSON(ctx, p.client, from, "", &set); err != nil {
		return nil, nil, err
	}
	if len(set.Keys) > maxKeys {
		return nil, nil, fault.New(fault.TooLarge, "the provider has over %d keys", maxKeys)
	}
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(raw) == nil && engine.Strong(key.Key) {
			keys = append(keys, key) // others are for something else, such as encryption
		}
	}
	return keys, found, nil
}

// discovered is what the provider says of itself; it is as new as the keys.
func (p *provider) discovered(ctx context.Context, now time.Time) (*discovery, error) {
	if _, err := p.keysFor(ctx, "", now); err != nil {
		return nil, outward(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.found, nil
}
