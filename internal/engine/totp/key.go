// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package totp

import (
	"crypto/rand"
	"encoding/base32"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/otp"
)

// key is one shared secret and how codes are made of it.
type key struct {
	Secret    []byte `json:"secret"`
	Issuer    string `json:"issuer,omitempty"`
	Account   string `json:"account,omitempty"`
	Period    int    `json:"period"` // seconds
	Algorithm string `json:"algorithm"`
	Digits    int    `json:"digits"`
	Skew      int    `json:"skew"` // how many periods before and after a code is accepted
}

// The limits of a key.
const (
	maxSecret = 1024 // bytes
	maxPeriod = 24 * 60 * 60
	maxText   = 1024
	maxQR     = 2048 // pixels
)

func (k *key) codes() otp.Codes {
	return otp.Codes{Secret: k.Secret, Algorithm: k.Algorithm, Period: k.Period, Digits: k.Digits, Skew: k.Skew}
}

// options are what a write of a key says.
type options struct {
	made     key
	text     string // the secret, in base32
	url      string
	generate bool
	exported bool
	keySize  int
	qrSize   int
}

func readOptions(f *engine.Fields) (*options, error) {
	o := &options{
		generate: f.Bool("generate", false), exported: f.Bool("exported", true),
		keySize: f.Int("key_size", 20), qrSize: f.Int("qr_size", 200), text: f.Text("key"), url: f.Text("url"),
		made: key{
			Issuer: f.Text("issuer"), Account: f.Text("account_name"), Algorithm: f.Text("algorithm"),
			Digits: f.Int("digits", 6), Skew: f.Int("skew", 1), Period: 30,
		},
	}
	if f.Has("period") {
		o.made.Period = int(f.Duration("period") / time.Second)
	}
	if o.made.Algorithm == "" {
		o.made.Algorithm = "SHA1"
	}
	return o, f.Err()
}

// key is the key these options ask for.
func (o *options) key() (*key, error) {
	k := o.made
	var err error
	switch {
	case o.generate && o.text != "":
		return nil, fault.New(fault.Invalid, "a key should not be passed if generate is true")
	case o.generate && o.url != "":
		return nil, fault.New(fault.Invalid, "a url should not be passed if generate is true")
	case o.generate:
		err = o.makeSecret(&k)
	case o.url != "":
		err = k.takeURL(o.url)
	case o.text == "":
		return nil, fault.New(fault.Invalid, "the key value is required")
	default:
		k.Secret, err = readSecret(o.text)
	}
	if err != nil {
		return nil, err
	}
	return &k, k.validate()
}

func (o *options) makeSecret(k *key) error {
	switch {
	case k.Account == "":
		return fault.New(fault.Invalid, "the account_name value is required for generated keys")
	case k.Issuer == "":
		return fault.New(fault.Invalid, "the issuer value is required for generated keys")
	case o.keySize < 1:
		return fault.New(fault.Invalid, "the key_size value must be greater than zero")
	case o.keySize > maxSecret:
		return fault.New(fault.Invalid, "the key_size value must be at most %d", maxSecret)
	case o.qrSize < 0:
		return fault.New(fault.Invalid, "the qr_size value must be greater than or equal to zero")
	case o.qrSize > maxQR:
		return fault.New(fault.Invalid, "the qr_size value must be at most %d", maxQR)
	}
	k.Secret = make([]byte, o.keySize)
	_, _ = rand.Read(k.Secret) // never fails: see crypto/rand
	return nil
}

var base32Text = base32.StdEncoding.WithPadding(base32.NoPadding)

func readSecret(text string) ([]byte, error) {
	text = strings.ToUpper(strings.TrimRight(strings.ReplaceAll(text, " ", ""), "="))
	secret, err := base32Text.DecodeString(text)
	switch {
	case err != nil:
		return nil, fault.New(fault.Invalid, "invalid key value: %w", err)
	case len(secret) == 0:
		return nil, fault.New(fault.Invalid, "the key value is required")
	case len(secret) > maxSecret:
		return nil, fault.New(fault.Invalid, "invalid key value: it has over %d bytes", maxSecret)
	}
	return secret, nil
}

// takeURL takes what a url of the form otpauth://totp/ISSUER:ACCOUNT?secret=... says.
func (k *key) takeURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "otpauth" || u.Host != "totp" {
		return fault.New(fault.Invalid, "an error occurred while parsing url string").WithHint("it must begin with otpauth://totp/")
	}
	q := u.Query()
	if k.Secret, err = readSecret(q.Get("secret")); err != nil {
		return err
	}
	label := strings.TrimPrefix(u.Path, "/")
	if issuer, account, ok := strings.Cut(label, ":"); ok {
		k.Issuer, label = issuer, account
	}
	k.Account = strings.TrimSpace(label)
	if issuer := q.Get("issuer"); issuer != "" {
		k.Issuer = issuer
	}
	if algorithm := q.Get("algorithm"); algorithm != "" {
		k.Algorithm = strings.ToUpper(algorithm)
	}
	for name, to := range map[string]*int{"period": &k.Period, "digits": &k.Digits} {
		if value := q.Get(name); value != "" {
			if *to, err = strconv.Atoi(value); err != nil {
				return fault.New(fault.Invalid, "an error occurred while parsing %s value in url", name)
			}
		}
	}
	return nil
}

func (k *key) validate() error {
	switch {
	case !otp.Known(k.Algorithm):
		return fault.New(fault.Invalid, "the algorithm value is not valid").WithHint("it must be SHA1, SHA256 or SHA512")
	case k.Digits != 6 && k.Digits != 8:
		return fault.New(fault.Invalid, "the digits value can only be 6 or 8")
	case k.Period < 1:
		return fault.New(fault.Invalid, "the period value must be greater than zero")
	case k.Period > maxPeriod:
		return fault.New(fault.Invalid, "the period value must be at most a day")
	case k.Skew != 0 && k.Skew != 1:
		return fault.New(fault.Invalid, "the skew value must be 0 or 1")
	case len(k.Issuer) > maxText || len(k.Account) > maxText:
		return fault.New(fault.Invalid, "issuer and account_name have at most %d bytes", maxText)
	}
	return nil
}

// url is the key as authenticator apps read it.
func (k *key) url() string { return k.codes().URL(k.Issuer, k.Account) }

// show is the answer that hands a new key out: as url and, where size is not 0, as a
// picture of so many pixels.
func show(k *key, size int) (*engine.Response, error) {
	answer := map[string]string{"url": k.url()}
	if size > 0 {
		picture, err := otp.Picture(k.url(), size)
		if err != nil {
			return nil, err
		}
		answer["barcode"] = picture
	}
	return &engine.Response{Data: answer}, nil
}
