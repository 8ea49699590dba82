// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package provenance

import (
	"encoding/json"
	"errors"
	"regexp"
	"sync"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/manifest"
)

// Signer is somebody whose statements count: whoever has a key, or a certificate
// identity that an issuer vouches for. It is what a document of the kind Signer says.
type Signer struct {
	Name    string `yaml:"-" json:"name"`
	Owner   string `yaml:"-" json:"owner"`
	Contact string `yaml:"-" json:"contact,omitempty"`
	Protect bool   `yaml:"-" json:"protect,omitempty"`

	PublicKey       string `yaml:"publicKey" json:"publicKey,omitempty"`             // PEM
	Identity        string `yaml:"identity" json:"identity,omitempty"`               // the certificate's subject alternative name, exactly
	IdentityPattern string `yaml:"identityPattern" json:"identityPattern,omitempty"` // or a regular expression (RE2) for all of it
	Issuer          string `yaml:"issuer" json:"issuer,omitempty"`                   // OIDC issuer in the certificate, exactly
	TrustRoot       string `yaml:"trustRoot" json:"trustRoot,omitempty"`             // Sigstore trusted_root.json: whose certificates, logs and timestamps count

	once   sync.Once
	err    error
	key    PublicKey
	keyed  bool
	chains *chains
}

// maxTrustRoot bounds a trust root, in bytes. Sigstore's own has 7 KB.
const maxTrustRoot = 512 << 10

// ParseSigner reads a document of the kind Signer. Errors name file and line.
func ParseSigner(doc manifest.Document) (*Signer, error) {
	s := &Signer{}
	if err := doc.Decode(s); err != nil {
		return nil, err
	}
	s.Name, s.Owner, s.Contact, s.Protect = doc.Meta.Name, doc.Meta.Owner, doc.Meta.Contact, doc.Meta.Protect
	if err := s.Check(); err != nil {
		return nil, manifest.Errors{doc.Errorf(doc.LineOf(s.faulty()...), "%v", err)}.Err()
	}
	return s, nil
}

// faulty is where the likeliest mistake of a signer stands.
func (s *Signer) faulty() []string {
	switch {
	case s.PublicKey != "":
		return []string{"publicKey"}
	case s.TrustRoot != "":
		return []string{"trustRoot"}
	}
	return nil
}

// Check reads the key or the trust root. It is done once; a signer is not changed
// after it.
func (s *Signer) Check() error {
	s.once.Do(func() { s.err = s.prepare() })
	return s.err
}

func (s *Signer) prepare() (err error) {
	byIdentity := s.Identity != "" || s.IdentityPattern != "" || s.Issuer != "" || s.TrustRoot != ""
	switch {
	case s.PublicKey != "" && byIdentity:
		return fault.New(fault.Invalid, "a signer has either a publicKey, or identity, issuer and trustRoot")
	case s.PublicKey != "":
		s.keyed = true
		s.key, err = ParsePublicKey([]byte(s.PublicKey))
		return err
	case (s.Identity == "") == (s.IdentityPattern == "") || s.Issuer == "" || s.TrustRoot == "":
		return fault.New(fault.Invalid, "a signer needs a publicKey, or all of: identity (or identityPattern), issuer, trustRoot")
	case len(s.TrustRoot) > maxTrustRoot:
		return fault.New(fault.TooLarge, "the trust root has %d bytes; at most %d are read", len(s.TrustRoot), maxTrustRoot)
	}
	if s.IdentityPattern != "" {
		if _, err := regexp.Compile(s.IdentityPattern); err != nil || len(s.IdentityPattern) > 1000 {
			return fault.New(fault.Invalid, "the identityPattern is no regular expression of at most 1000 bytes: %v", err)
		}
	}
	s.chains, err = newChains(s)
	return err
}

// Equal reports whether both say the same.
func (s *Signer) Equal(other *Signer) bool {
	a, errA := json.Marshal(s)
	b, errB := json.Marshal(other)
	return errA == nil && errB == nil && string(a) == string(b)
}

// Verify checks that the signer signed the bundle, and that its statement is about
// the manifest. The error says what does not hold: fault.Denied.
func (s *Signer) Verify(b *Bundle, manifest image.Digest) (*Verified, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	if !b.Statement.about(manifest) {
		return nil, fault.New(fault.Denied, "the statement is not about %s", manifest)
	}
	v := &Verified{
		Signer: s.Name, Type: b.Statement.PredicateType, Manifest: manifest, Digest: b.Digest,
		Result: b.Statement.result(), Predicate: b.Statement.Predicate,
	}
	switch {
	case s.keyed != b.withKey:
		return nil, fault.New(fault.Denied, "it was signed with %s", map[bool]string{true: "a key, not a certificate", false: "a certificate, not a key"}[b.withKey])
	case !s.keyed:
		return v, s.chains.verify(b, manifest, v)
	case !s.key.verifies(encoding(b.payload), b.signature):
		return nil, fault.New(fault.Denied, "the signature is not by the key of %s", s.Name)
	}
	return v, nil
}

// SignersIn reads the documents of the kind Signer among others.
func SignersIn(docs []manifest.Document) ([]*Signer, error) {
	var all []*Signer
	var errs manifest.Errors
	for _, d := range docs {
		if d.Kind != "Signer" {
			continue
		}
		s, err := ParseSigner(d)
		var many manifest.Errors
		switch {
		case errors.As(err, &many):
			errs = append(errs, many...)
		case err != nil:
			return nil, err
		}
		all = append(all, s)
	}
	return all, errs.Err()
}
