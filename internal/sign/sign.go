// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package sign is the part of the command line that signs: image sign, attest and
// verify, and the keys for it. Nothing here needs a server, unless its keys are asked
// for.
package sign

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/provenance"
	"github.com/goldkeep/goldkeep/internal/term"
)

// commands are the commands of one command line.
type commands struct{ *term.Term }

// inServer begins the name of a key that is in the server.
const inServer = "server:"

// key opens what --key names: a file, or a key in the server.
func (a commands) key(ctx context.Context, name string) (provenance.Signing, error) {
	if held, ok := strings.CutPrefix(name, inServer); ok {
		c, err := a.Client()
		if err != nil {
			return nil, err
		}
		return serverKey{ctx: func() context.Context { return ctx }, client: c, name: held}, nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fault.New(fault.NotFound, "read key: %w", err).WithHint("make one with: goldkeep key create, or name one in the server: --key server:NAME")
	}
	return provenance.ParseKey(text, func() ([]byte, error) { return a.password(ctx, "password of "+name) })
}

// password is that of a key file.
func (a commands) password(ctx context.Context, what string) ([]byte, error) {
	if text := term.First(a.Getenv("GOLDKEEP_KEY_PASSWORD"), a.Getenv("COSIGN_PASSWORD")); text != "" {
		return []byte(text), nil
	}
	text, err := a.SecretInput(ctx)(what)
	if err != nil {
		return nil, fault.New(fault.Invalid, "read password: %w", err).WithHint("set GOLDKEEP_KEY_PASSWORD")
	}
	return []byte(text), nil
}

// serverKey signs in the server.
type serverKey struct {
	ctx    func() context.Context
	client *client.Client
	name   string
}

// Sign implements provenance.Signing.
func (k serverKey) Sign(s *provenance.Statement) ([]byte, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode statement: %w", err)
	}
	signed, err := k.client.SignStatement(k.ctx(), k.name, string(text))
	if err != nil {
		return nil, err
	}
	return signed.Bundle, nil
}

// serverVerdict has the server judge and sign. What it says and signs come together.
type serverVerdict struct {
	ctx         func() context.Context
	client      *client.Client
	environment string
	resource    string
	bring       func() error // brings what the server has not read yet
	bundle      []byte
}

// say asks for the verdict on one subject.
func (v *serverVerdict) say(s image.Subject) (*provenance.Statement, error) {
	signed, err := v.client.AttestVerdict(v.ctx(), v.environment, string(s.Raw), v.resource)
	if client.KindOf(err) == fault.NotFound.String() {
		if err = v.bring(); err == nil {
			signed, err = v.client.AttestVerdict(v.ctx(), v.environment, string(s.Raw), v.resource)
		}
	}
	if err != nil {
		return nil, err
	}
	b, err := provenance.ParseBundle(signed.Bundle)
	if err != nil {
		return nil, err
	}
	v.bundle = signed.Bundle
	return b.Statement, nil
}

// Sign implements provenance.Signing.
func (v *serverVerdict) Sign(*provenance.Statement) ([]byte, error) { return v.bundle, nil }

// verdictKey is the public key of an environment's verdicts.
func verdictKey(ctx context.Context, c *client.Client, environment string) (provenance.PublicKey, error) {
	keys, err := c.SigningKeys(ctx)
	if err != nil {
		return provenance.PublicKey{}, err
	}
	for _, k := range keys {
		if k.Purpose == string(provenance.Verdict) && k.Environment == environment {
			return provenance.ParsePublicKey([]byte(k.PublicKey))
		}
	}
	return provenance.PublicKey{}, fault.New(fault.NotFound, "the server has no key for the verdicts of %s", environment).
		WithHint("make one with: goldkeep key create verdicts-%s --in-server --purpose verdict --env %s", environment, environment)
}

// done is the answer of sign and attest.
type done struct {
	Image     string         `json:"image"`
	Type      string         `json:"type"`
	Referrers []image.Digest `json:"referrers"`
}

func (a commands) report(shelf *image.Shelf, ref, predicateType string, made []image.Digest) error {
	return a.Print(done{ref, predicateType, made}, func(t *term.Table) {
		t.Row("TYPE", "SUBJECT", "REFERRER")
		for i, d := range made {
			t.Row(predicateType, shelf.Subjects[i].Digest, d)
		}
	})
}

// said is a statement to be made about an image.
type said struct {
	kind      string // predicate type
	predicate []byte // JSON
	by        provenance.Signing
}

// attach signs and attaches one statement to all subjects of an image.
func (a commands) attach(ctx context.Context, ref string, open image.Options, it said) error {
	shelf, err := image.OpenShelf(ctx, ref, open)
	if err != nil {
		return err
	}
	defer func() { _ = shelf.Close() }()
	made, err := provenance.Saying{By: it.by, At: time.Now(), Say: func(s image.Subject) (*provenance.Statement, error) {
		return provenance.NewStatement(s.Digest, it.kind, it.predicate)
	}}.Attach(ctx, shelf)
	if err != nil {
		return err
	}
	return a.report(shelf, ref, it.kind, made)
}
