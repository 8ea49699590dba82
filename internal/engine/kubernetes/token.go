// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package kubernetes

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// account is a service account.
type account struct {
	Namespace, Name, UID string
	Secret               string // that holds the token, if it is of the old kind
	audiences            []string
}

// algs are what API servers sign tokens with.
var algs = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384, jose.ES512}

// maxToken bounds a token in bytes.
const maxToken = 64 << 10

// object is the name and UID of a thing in the cluster.
type object struct {
	Name string `json:"name"`
	UID  string `json:"uid"`
}

// said are the claims of a service account's token: of those in pods, and of the
// old kind kept in secrets.
type said struct {
	Issuer   string   `json:"iss"`
	Audience audience `json:"aud"`
	Expires  float64  `json:"exp"`
	Inner    struct {
		Namespace string `json:"namespace"`
		Account   object `json:"serviceaccount"`
	} `json:"kubernetes.io"`
	OldNamespace string `json:"kubernetes.io/serviceaccount/namespace"`
	OldName      string `json:"kubernetes.io/serviceaccount/service-account.name"`
	OldUID       string `json:"kubernetes.io/serviceaccount/service-account.uid"`
	OldSecret    string `json:"kubernetes.io/serviceaccount/secret.name"`
}

// audience is a text or a list of them (RFC 7519, section 4.1.3).
type audience []string

// UnmarshalJSON implements json.Unmarshaler.
func (a *audience) UnmarshalJSON(text []byte) error {
	if bytes.HasPrefix(text, []byte("[")) {
		return json.Unmarshal(text, (*[]string)(a))
	}
	*a = make([]string, 1)
	return json.Unmarshal(text, &(*a)[0])
}

// read is what a token says of itself, where a role would let that in. Unless the
// mount has keys, nobody has looked at its signature yet.
func (c *config) read(token string, r *role, now time.Time) (*account, error) {
	if len(token) > maxToken {
		return nil, denied("the token is too large")
	}
	signed, err := jose.ParseSignedCompact(token, algs)
	if err != nil || len(signed.Signatures) != 1 {
		return nil, denied("this is no service account's token")
	}
	payload, err := c.verify(signed)
	if err != nil {
		return nil, err
	}
	var s said
	if json.Unmarshal(payload, &s) != nil {
		return nil, denied("this is no service account's token")
	}
	a := &account{Namespace: s.OldNamespace, Name: s.OldName, UID: s.OldUID, Secret: s.OldSecret, audiences: s.Audience}
	if s.Inner.Account.Name != "" {
		a.Namespace, a.Name, a.UID = s.Inner.Namespace, s.Inner.Account.Name, s.Inner.Account.UID
	}
	switch {
	case a.UID == "":
		return nil, denied("this is no service account's token")
	case s.Expires > 0 && float64(now.Unix()) > s.Expires+60:
		return nil, denied("the token is expired")
	case !c.AnyIssuer && c.Issuer != "" && s.Issuer != c.Issuer:
		return nil, denied("the token is of another issuer")
	case r.Audience != "" && !slices.Contains(s.Audience, r.Audience):
		return nil, denied("the token is for another audience")
	case !allows(r.Accounts, a.Name):
		return nil, denied("service account name not authorized")
	case r.Selector == "" && !allows(r.Namespaces, a.Namespace):
		return nil, denied("namespace not authorized")
	}
	return a, nil
}

// verify checks the signature where the mount has keys.
func (c *config) verify(signed *jose.JSONWebSignature) ([]byte, error) {
	if len(c.Keys) == 0 {
		return signed.UnsafePayloadWithoutVerification(), nil
	}
	for _, text := range c.Keys {
		key, err := engine.PublicKey(text)
		if err != nil {
			return nil, fault.New(fault.Internal, "read stored key: %w", err)
		}
		if payload, err := signed.Verify(key); err == nil {
			return payload, nil
		}
	}
	return nil, denied("the token's signature is not by one of the cluster's keys")
}
