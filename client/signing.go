// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"encoding/json"
	"net/url"
	"time"
)

// SigningKey is a key the server signs with. Its private half never leaves the server.
type SigningKey struct {
	Name        string    `json:"name"`
	Purpose     string    `json:"purpose"` // release, attestation, verdict
	Environment string    `json:"environment,omitempty"`
	Algorithm   string    `json:"algorithm"` // ecdsa-p256, ed25519
	PublicKey   string    `json:"publicKey"` // PEM
	Created     time.Time `json:"created"`
}

// Signed is a statement the server has signed: a Sigstore bundle, to be attached.
type Signed struct {
	Bundle    json.RawMessage `json:"bundle"`
	Type      string          `json:"type"` // predicate type
	PublicKey string          `json:"publicKey"`
}

// Signer is somebody whose signatures count.
type Signer struct {
	Name            string `json:"name"`
	Owner           string `json:"owner"`
	Contact         string `json:"contact,omitempty"`
	Protect         bool   `json:"protect,omitempty"`
	PublicKey       string `json:"publicKey,omitempty"`
	Identity        string `json:"identity,omitempty"`
	IdentityPattern string `json:"identityPattern,omitempty"`
	Issuer          string `json:"issuer,omitempty"`
	TrustRoot       string `json:"trustRoot,omitempty"`
}

// Signers returns the signers declared.
func (c *Client) Signers(ctx context.Context) ([]Signer, error) {
	return listed[Signer](ctx, c, "/api/v1/signers")
}

// SigningKeys returns the server's signing keys.
func (c *Client) SigningKeys(ctx context.Context) ([]SigningKey, error) {
	return listed[SigningKey](ctx, c, "/api/v1/signing-keys")
}

func listed[T any](ctx context.Context, c *Client, path string) ([]T, error) {
	var all struct {
		Items []T `json:"items"`
	}
	err := c.Do(ctx, "GET", path, nil, &all)
	return all.Items, err
}

// SigningKey returns one of the server's signing keys.
func (c *Client) SigningKey(ctx context.Context, name string) (*SigningKey, error) {
	return one[SigningKey](ctx, c, "/api/v1/signing-keys/"+url.PathEscape(name))
}

// CreateSigningKey has the server make a key. Name and purpose are needed, and the
// environment of a verdict key.
func (c *Client) CreateSigningKey(ctx context.Context, key SigningKey) (*SigningKey, error) {
	return send[SigningKey](ctx, c, "POST", "/api/v1/signing-keys/"+url.PathEscape(key.Name), map[string]string{
		"purpose": key.Purpose, "environment": key.Environment, "algorithm": key.Algorithm,
	})
}

// DeleteSigningKey removes a key for ever.
func (c *Client) DeleteSigningKey(ctx context.Context, name string) error {
	return c.Do(ctx, "DELETE", "/api/v1/signing-keys/"+url.PathEscape(name), nil, nil)
}

// SignStatement has the server sign an in-toto statement (its JSON text) with a key
// whose purpose it is.
func (c *Client) SignStatement(ctx context.Context, key, statement string) (*Signed, error) {
	return send[Signed](ctx, c, "POST", "/api/v1/signing-keys/"+url.PathEscape(key)+"/sign", map[string]string{"statement": statement})
}

// AttestVerdict has the server judge an image now and, where it is admitted, sign that.
// manifest is the text of the image's manifest or index; resource is the repository it
// lies in.
func (c *Client) AttestVerdict(ctx context.Context, environment, manifest, resource string) (*Signed, error) {
	return send[Signed](ctx, c, "POST", "/api/v1/environments/"+url.PathEscape(environment)+"/attest", map[string]string{"manifest": manifest, "resource": resource})
}

// LookForSignatures has the server look again for what is attached to an image it
// knows; reference is NAME@DIGEST in a registry.
func (c *Client) LookForSignatures(ctx context.Context, digest, reference string) (*Image, error) {
	return send[Image](ctx, c, "POST", "/api/v1/images/"+url.PathEscape(digest)+"/signatures", map[string]string{"reference": reference})
}
