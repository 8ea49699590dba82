// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package cert lets in whoever's connection has shown a TLS client certificate
// (RFC 8446, section 4.4.2) that one of the mount's entries trusts. The listener
// asks for one and checks that its key is there; whom to believe is decided here.
package cert

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"strings"

	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// Engine serves one mount.
type Engine struct {
	engine.Method
	lists lists
}

// New returns the kind of engine whose tokens are made by tokens.
func New(tokens engine.Tokens) engine.Kind {
	return func(m engine.Mount, space barrier.Space) engine.Engine {
		e := &Engine{}
		e.Method = engine.Method{
			Mount: m, Space: space, Tokens: tokens, Logins: []string{"login"}, Folder: "certs", Kept: entryPath,
			Router: engine.Routes([]engine.Route{
				{Path: "login", Ops: engine.Ops{Write: e.login}, Takes: "name", Help: "Log in with the certificate of the connection."},
				{Path: "config", Ops: engine.Ops{Read: e.showConfig, Write: e.putConfig}, Takes: "disable_binding:bool enable_identity_alias_metadata:bool ocsp_cache_size:int", Help: "What holds for all entries."},
				{Path: "certs", Ops: engine.Ops{List: e.listEntries}, Help: "The entries."},
				{Path: "certs/{name}", Ops: engine.Ops{Read: e.showEntry, Write: e.putEntry, Delete: e.removeEntry}, Takes: entryFields, Help: "A certificate, or an authority, that is trusted."},
				{Path: "crls", Ops: engine.Ops{List: e.listCRLs}, Help: "The revocation lists."},
				{Path: "crls/{name}", Ops: engine.Ops{Read: e.showCRL, Write: e.putCRL, Delete: e.removeCRL}, Takes: "crl url", Help: "Certificates that are taken back."},
			}),
		}
		return e
	}
}

// config holds for a whole mount.
type config struct {
	NoBinding bool `json:"noBinding,omitempty"` // renewals need no certificate
	AliasMeta bool `json:"aliasMeta,omitempty"` // the alias has the token's metadata
	CacheSize int  `json:"cacheSize,omitempty"` // kept for clients that set it
}

func (e *Engine) config(ctx context.Context) (config, error) {
	c, err := engine.Look[config](ctx, e.Space, "config")
	if err != nil || c == nil {
		return config{}, err
	}
	return *c, nil
}

func (e *Engine) showConfig(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	c, err := e.config(ctx)
	if err != nil {
		return nil, err
	}
	return &engine.Response{Data: map[string]any{
		"disable_binding": c.NoBinding, "enable_identity_alias_metadata": c.AliasMeta, "ocsp_cache_size": c.CacheSize,
	}}, nil
}

func (e *Engine) putConfig(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	c, err := e.config(ctx)
	if err != nil {
		return nil, err
	}
	f := engine.Read(req)
	c.NoBinding = f.Bool("disable_binding", c.NoBinding)
	c.AliasMeta = f.Bool("enable_identity_alias_metadata", c.AliasMeta)
	c.CacheSize = f.Int("ocsp_cache_size", c.CacheSize)
	if f.Err() != nil {
		return nil, f.Err()
	}
	if f.Has("ocsp_cache_size") && (c.CacheSize < 2 || c.CacheSize > 100_000) {
		return nil, fault.New(fault.Invalid, "invalid cache size, must be >= 2 and <= 100000")
	}
	return nil, e.Space.Update(ctx, func(w barrier.Writer) error {
		return w.Put(ctx, barrier.Entry{Path: "config", Value: engine.Stored(c)})
	})
}

// login lets the holder of the connection's certificate in, by the first entry
// that trusts it, or by the one that is named.
func (e *Engine) login(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	name := f.Text("name")
	if f.Err() != nil {
		return nil, f.Err()
	}
	found, err := e.match(ctx, req, name)
	if err != nil {
		return nil, err
	}
	if !engine.InCIDRs(found.Token.CIDRs, req.Remote) {
		return nil, fault.New(fault.Denied, "permission denied")
	}
	c, err := e.config(ctx)
	if err != nil {
		return nil, err
	}
	leaf := req.Peer[0]
	n := found.Token.Token(e.Mount)
	n.Display, n.Meta = e.Display(found.Display), found.metadata(leaf)
	n.Alias = &auth.Alias{Name: called(leaf)}
	if c.AliasMeta {
		n.Alias.Meta = n.Meta
	}
	n.Private = map[string]string{"entry": found.Name, "key": keyOf(leaf)}
	return e.Login(ctx, n)
}

// called is what tells the holder of a certificate from others: the common name,
// or a name of the holder where it has none, as SPIFFE's have not.
func called(leaf *x509.Certificate) string {
	switch {
	case leaf.Subject.CommonName != "":
		return leaf.Subject.CommonName
	case len(leaf.URIs) > 0:
		return leaf.URIs[0].String()
	case len(leaf.DNSNames) > 0:
		return leaf.DNSNames[0]
	}
	return "key-" + keyOf(leaf)
}

// keyOf names a certificate's key: a renewed certificate may have the same.
func keyOf(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

// Renew implements engine.Renewer: the connection must show a certificate with the
// key of the login, which its entry still trusts, unless the mount says otherwise;
// and the entry must give the same policies.
func (e *Engine) Renew(ctx context.Context, req *engine.Request, was *auth.Info) (auth.Terms, error) {
	c, err := e.config(ctx)
	if err != nil {
		return auth.Terms{}, err
	}
	name := was.Private["entry"]
	if !c.NoBinding {
		if _, err := e.match(ctx, req, name); err != nil {
			return auth.Terms{}, err
		}
		if keyOf(req.Peer[0]) != was.Private["key"] {
			return auth.Terms{}, fault.New(fault.Invalid, "client identity during renewal not matching client identity used during login")
		}
	}
	found, err := engine.Look[entry](ctx, e.Space, entryPath(name))
	if err != nil {
		return auth.Terms{}, err
	}
	if found == nil {
		return auth.Terms{}, fault.New(fault.Invalid, "the entry of the login is gone")
	}
	return found.Token.Renews(e.Mount, was)
}

// colons writes bytes as clients know it: "aa:bb".
func colons(b []byte) string {
	parts := make([]string, len(b))
	for i := range b {
		parts[i] = hex.EncodeToString(b[i : i+1])
	}
	return strings.Join(parts, ":")
}
