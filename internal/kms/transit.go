// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package kms

import (
	"context"
	"encoding/base64"
	"net/url"
	"os"
	"strings"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// transit is the transit engine of another server.
type transit struct {
	config    client.Config
	tokenFile string
	path      string // "transit/%s/key"
	key       string
}

func (o *settings) transit() Service {
	t := &transit{key: o.need("key_name", "VAULT_TRANSIT_SEAL_KEY_NAME"), tokenFile: o.text("token_file", "")}
	t.config.Addr = o.need("address", "VAULT_TRANSIT_SEAL_ADDR")
	t.config.CACert = o.text("tls_ca_cert", "")
	t.config.Token = o.text("token", "VAULT_TRANSIT_SEAL_TOKEN")
	for _, env := range []string{"GOLDKEEP_TRANSIT_SEAL_TOKEN", "VAULT_TOKEN", "BAO_TOKEN"} {
		if t.config.Token == "" {
			t.config.Token = os.Getenv(env)
		}
	}
	if t.config.Token == "" && t.tokenFile == "" {
		o.refuse("there is no token: give it as VAULT_TRANSIT_SEAL_TOKEN, or name a token_file")
	}
	t.path = strings.Trim(o.text("mount_path", "VAULT_TRANSIT_SEAL_MOUNT_PATH"), "/")
	if t.path == "" {
		t.path = "transit"
	}
	if o.text("tls_skip_verify", "") == "true" {
		o.refuse("tls_skip_verify is not offered: name the server's CA with tls_ca_cert")
	}
	if ns := strings.Trim(o.text("namespace", ""), "/"); ns != "" && ns != "root" {
		o.refuse("namespaces are not offered")
	}
	return t
}

// Type implements Service.
func (*transit) Type() string { return Transit }

func (t *transit) client() (*client.Client, error) {
	c := t.config
	if t.tokenFile != "" {
		text, err := os.ReadFile(t.tokenFile)
		if err != nil {
			return nil, fault.New(fault.Unavailable, "read the token of the transit seal: %w", err)
		}
		c.Token = strings.TrimSpace(string(text))
	}
	made, err := client.New(c)
	if err != nil {
		return nil, fault.New(fault.Invalid, "transit seal: %w", err)
	}
	return made, nil
}

func (t *transit) ask(ctx context.Context, what string, in map[string]string) (out map[string]string, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, err := t.client()
	if err != nil {
		return nil, err
	}
	var answer struct {
		Data struct {
			Ciphertext, Plaintext string
		} `json:"data"`
	}
	if err := c.Do(ctx, "POST", "/v1/"+t.path+"/"+what+"/"+url.PathEscape(t.key), in, &answer); err != nil {
		return nil, fault.New(fault.Unavailable, "the transit seal at %s: %w", c.Addr(), err)
	}
	return map[string]string{"ciphertext": answer.Data.Ciphertext, "plaintext": answer.Data.Plaintext}, nil
}

// Wrap implements Service.
func (t *transit) Wrap(ctx context.Context, key []byte) ([]byte, error) {
	out, err := t.ask(ctx, "encrypt", map[string]string{"plaintext": base64.StdEncoding.EncodeToString(key)})
	if err != nil {
		return nil, err
	}
	return []byte(out["ciphertext"]), nil
}

// Unwrap implements Service.
func (t *transit) Unwrap(ctx context.Context, sealed []byte) ([]byte, error) {
	out, err := t.ask(ctx, "decrypt", map[string]string{"ciphertext": string(sealed)})
	if err != nil {
		return nil, err
	}
	key, err := base64.StdEncoding.DecodeString(out["plaintext"])
	if err != nil {
		return nil, fault.New(fault.Unavailable, "the transit seal answers no key")
	}
	return key, nil
}

// Renew implements Service: a token with a period lives on.
func (t *transit) Renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, err := t.client()
	if err != nil {
		return err
	}
	if err := c.Do(ctx, "POST", "/v1/auth/token/renew-self", map[string]string{}, nil); err != nil && client.KindOf(err) != fault.Invalid.String() {
		return fault.New(fault.Unavailable, "renew the token of the transit seal: %w", err)
	}
	return nil
}
