// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package kms has a key management service seal the server's root key, so that
// the server unseals itself: the clouds' through a multi-cloud library, or the
// transit engine of another Goldkeep, OpenBao or Vault.
package kms

import (
	"context"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"gocloud.dev/secrets"
	_ "gocloud.dev/secrets/awskms"        // awskms://
	_ "gocloud.dev/secrets/azurekeyvault" // azurekeyvault://
	_ "gocloud.dev/secrets/gcpkms"        // gcpkms://
	_ "gocloud.dev/secrets/localsecrets"  // base64key://, a key in the address itself

	"github.com/goldkeep/goldkeep/internal/fault"
)

// Service seals and opens a key with one that never leaves it.
type Service interface {
	// Type is the name of the kind of service.
	Type() string
	// Wrap seals a key. fault.Unavailable: the service does not answer.
	Wrap(ctx context.Context, key []byte) ([]byte, error)
	// Unwrap is the reverse.
	Unwrap(ctx context.Context, sealed []byte) ([]byte, error)
	// Renew keeps our own right to use the service alive, where that expires.
	Renew(ctx context.Context) error
}

// The kinds of service.
const (
	Transit = "transit"
	AWS     = "awskms"
	Google  = "gcpckms"
	Azure   = "azurekeyvault"
	URL     = "url"
)

// Types lists the kinds of service.
func Types() []string { return []string{Transit, AWS, Google, Azure, URL} }

// patience is how long one question to a service may take.
const patience = 10 * time.Second

// Open checks the settings of a service, which are those of the seal stanza of
// Vault and OpenBao. It does not connect yet.
func Open(kind string, options map[string]string) (Service, error) {
	o := settings{kind: kind, left: map[string]string{}}
	for name, value := range options {
		o.left[name] = value
	}
	for _, ours := range []string{"priority", "name", "disabled", "key_id_prefix", "disable_renewal", "user_agent"} {
		delete(o.left, ours)
	}
	var s Service
	switch kind {
	case Transit:
		s = o.transit()
	case AWS:
		s = o.cloud("awskms:///" + o.need("kms_key_id", "AWSKMS_SEAL_KEY_ID") + query("region", o.text("region", "AWS_REGION"), "endpoint", o.text("endpoint", "AWS_KMS_ENDPOINT")))
	case Google:
		s = o.cloud("gcpkms://projects/" + o.need("project", "GOOGLE_PROJECT") + "/locations/" + o.need("region", "GOOGLE_REGION") +
			"/keyRings/" + o.need("key_ring", "GCPCKMS_WRAPPER_KEY_RING") + "/cryptoKeys/" + o.need("crypto_key", "GCPCKMS_WRAPPER_CRYPTO_KEY"))
	case Azure:
		s = o.cloud("azurekeyvault://" + o.need("vault_name", "AZUREKEYVAULT_WRAPPER_VAULT_NAME") + ".vault.azure.net/keys/" + o.need("key_name", "AZUREKEYVAULT_WRAPPER_KEY_NAME"))
	case URL:
		s = o.cloud(o.need("url", "GOLDKEEP_SEAL_URL"))
	default:
		return nil, fault.New(fault.Invalid, "there is no seal of type %q", kind).WithHint("the types are shamir, static and %s", strings.Join(Types(), ", "))
	}
	for _, secret := range []string{"access_key", "secret_key", "session_token", "credentials", "client_secret"} {
		if _, given := o.left[secret]; given {
			o.refuse("%s does not belong in a file: give it as the cloud's own tools take it, by the environment", secret)
		}
	}
	for name := range o.left {
		o.refuse("there is no option %q", name)
	}
	return s, o.err
}

// settings takes options one by one; what is left is unknown.
type settings struct {
	kind string
	left map[string]string
	err  error
}

func (o *settings) refuse(format string, args ...any) {
	if o.err == nil {
		o.err = fault.New(fault.Invalid, "seal "+o.kind+": "+format, args...)
	}
}

// text is an option, or a variable of the environment, which goes before it.
func (o *settings) text(name, env string) string {
	v := o.left[name]
	delete(o.left, name)
	if env != "" && os.Getenv(env) != "" {
		return os.Getenv(env)
	}
	return v
}

func (o *settings) need(name, env string) string {
	v := o.text(name, env)
	if v == "" {
		o.refuse("%s is missing", name)
	}
	return v
}

func query(pairs ...string) string {
	q := url.Values{}
	for pair := range slices.Chunk(pairs, 2) {
		if pair[1] != "" {
			q.Set(pair[0], pair[1])
		}
	}
	if len(q) == 0 {
		return ""
	}
	return "?" + q.Encode()
}

// cloud is a service of the multi-cloud library.
type cloud struct{ kind, url string }

func (o *settings) cloud(address string) Service {
	u, err := url.Parse(address)
	if o.err == nil && (err != nil || !secrets.DefaultURLMux().ValidKeeperScheme(u.Scheme)) {
		o.refuse("the address of the key is of no known kind")
	}
	for _, elsewhere := range []string{"tenant_id", "client_id", "environment", "resource"} {
		delete(o.left, elsewhere) // the library takes them from the environment
	}
	return &cloud{o.kind, address}
}

// Type implements Service.
func (c *cloud) Type() string { return c.kind }

// Renew implements Service: the clouds' own rights are looked after by their libraries.
func (*cloud) Renew(context.Context) error { return nil }

// Wrap implements Service.
func (c *cloud) Wrap(ctx context.Context, key []byte) ([]byte, error) {
	return c.use(ctx, func(ctx context.Context, k *secrets.Keeper) ([]byte, error) { return k.Encrypt(ctx, key) })
}

// Unwrap implements Service.
func (c *cloud) Unwrap(ctx context.Context, sealed []byte) ([]byte, error) {
	return c.use(ctx, func(ctx context.Context, k *secrets.Keeper) ([]byte, error) { return k.Decrypt(ctx, sealed) })
}

func (c *cloud) use(ctx context.Context, do func(context.Context, *secrets.Keeper) ([]byte, error)) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	keeper, err := secrets.OpenKeeper(ctx, c.url)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "open the key of the %s seal: %w", c.kind, err)
	}
	defer func() { _ = keeper.Close() }()
	out, err := do(ctx, keeper)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "use the key of the %s seal: %w", c.kind, err)
	}
	return out, nil
}
