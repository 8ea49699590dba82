// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package transit

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1" // registers SHA-1, which old verifiers still ask for
	_ "crypto/sha256"
	_ "crypto/sha3"
	_ "crypto/sha512"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"math/big"
	"strconv"

	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

func (e *Engine) signRoutes() []engine.Route {
	const batch = " input key_version:integer algorithm batch_input:list partial_failure_response_code:integer"
	const scheme = batch + " context hash_algorithm signature_algorithm marshaling_algorithm salt_length prehashed:boolean"
	var routes []engine.Route
	for _, rest := range []string{"", "/{hash}"} {
		routes = append(
			routes,
			engine.Route{Path: "sign/{name}" + rest, Ops: engine.Ops{Write: e.hashed(signing, signOne)}, Help: "Signs.", Takes: scheme},
			engine.Route{Path: "verify/{name}" + rest, Ops: engine.Ops{Write: e.hashed(verifying, verifyOne)}, Help: "Whether a signature or an HMAC holds.", Takes: "signature hmac" + scheme},
			engine.Route{Path: "hmac/{name}" + rest, Ops: engine.Ops{Write: e.hashed(hashing, hmacOne)}, Help: "An HMAC of the input.", Takes: batch},
		)
	}
	return routes
}

var (
	signing   = task{by: "signing", fits: (*key).maySign, blank: map[string]any{"key_version": 0}}
	verifying = task{by: "signature verification"}
	hashing   = task{by: "encryption"}
)

func (k *key) maySign() error {
	if !k.kind().signs {
		return fault.New(fault.Invalid, "key type %s does not support signing", k.Type)
	}
	return nil
}

// hashes are the names clients use, and "none": the input is signed as it is.
var hashes = map[string]crypto.Hash{
	"sha1": crypto.SHA1, "sha2-224": crypto.SHA224, "sha2-256": crypto.SHA256, "sha2-384": crypto.SHA384, "sha2-512": crypto.SHA512,
	"sha3-224": crypto.SHA3_224, "sha3-256": crypto.SHA3_256, "sha3-384": crypto.SHA3_384, "sha3-512": crypto.SHA3_512, "none": 0,
}

// scheme is how something is signed: what holds for all items of a request.
type scheme struct {
	hash      crypto.Hash
	prehashed bool
	padding   string // of RSA: pss or pkcs1v15
	encoding  string // of ECDSA: asn1 or jws
	salt      int    // length of RSA-PSS's salt
}

// hashed is each for work that needs a scheme, which stands in the path or beside
// the batch.
func (e *Engine) hashed(t task, do func(scheme) work) engine.Handler {
	return func(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
		s, err := readScheme(engine.Read(req), v["hash"])
		if err != nil {
			return nil, err
		}
		t := t
		t.do = do(s)
		return e.each(t)(ctx, req, v)
	}
}

func readScheme(f *engine.Fields, name string) (scheme, error) {
	for _, field := range []string{"hash_algorithm", "algorithm"} {
		if name == "" {
			name = f.Text(field)
		}
	}
	if name == "" {
		name = "sha2-256"
	}
	s := scheme{prehashed: f.Bool("prehashed", false), padding: f.Text("signature_algorithm"), encoding: f.Text("marshaling_algorithm")}
	var known bool
	s.hash, known = hashes[name]
	switch {
	case f.Err() != nil:
		return s, f.Err()
	case !known:
		return s, fault.New(fault.Invalid, "invalid hash algorithm %q", name)
	case s.hash == 0 && !(s.prehashed && s.padding == "pkcs1v15"):
		return s, fault.New(fault.Invalid, "hash_algorithm=none requires both prehashed=true and signature_algorithm=pkcs1v15")
	case s.padding != "" && s.padding != "pss" && s.padding != "pkcs1v15":
		return s, fault.New(fault.Invalid, "unsupported signature algorithm %q", s.padding)
	case s.encoding != "" && s.encoding != "asn1" && s.encoding != "jws":
		return s, fault.New(fault.Invalid, "invalid marshaling type %q", s.encoding)
	}
	var err error
	s.salt, err = saltLength(f.Text("salt_length"))
	return s, err
}

// saltLength reads the length of a PSS salt: "auto", "hash" or bytes. The two
// words have numbers as well, which older clients send.
func saltLength(text string) (int, error) {
	switch text {
	case "", "auto", "0":
		return rsa.PSSSaltLengthAuto, nil
	case "hash", "-1":
		return rsa.PSSSaltLengthEqualsHash, nil
	}
	n, err := strconv.Atoi(text)
	switch {
	case err != nil:
		return 0, fault.New(fault.Invalid, "salt length neither 'auto', 'hash', nor an int: %s", text)
	case n < 0:
		return 0, fault.New(fault.Invalid, "salt length is invalid: %d", n)
	}
	return n, nil
}

// given is the input that the fields bring, and the context; missing is said where
// there is no input.
func given(f *engine.Fields, missing string) (input, salt []byte, err error) {
	if !f.Has("input") {
		return nil, nil, fault.New(fault.Invalid, "%s", missing)
	}
	if input, err = decoded(f, "input"); err != nil {
		return nil, nil, fault.New(fault.Invalid, "unable to decode input as base64: %w", err)
	}
	if salt, err = decoded(f, "context"); err != nil {
		return nil, nil, fault.New(fault.Invalid, "failed to base64-decode context")
	}
	return input, salt, f.Err()
}

func signOne(s scheme) work {
	return func(k *key, f *engine.Fields) (map[string]any, error) {
		input, salt, err := given(f, "missing input for signing")
		if err != nil {
			return nil, err
		}
		n, v, err := k.forNew(f.Int("key_version", 0), "signing")
		if err != nil {
			return nil, err
		}
		private, err := v.signer()
		if err == nil && k.Derived {
			private, err = v.derivedSigner(salt)
		}
		if err != nil {
			return nil, err
		}
		signature, err := s.sign(private, input)
		if err != nil {
			return nil, err
		}
		out := map[string]any{"signature": s.write(n, signature), "key_version": n}
		if k.Derived {
			if out["public_key"], err = publicText(private.Public()); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
}

// write stamps a signature; those for JSON Web Signatures in base64url (RFC 7515).
func (s scheme) write(version int, signature []byte) string {
	if s.encoding == "jws" {
		return prefix + strconv.Itoa(version) + ":" + base64.RawURLEncoding.EncodeToString(signature)
	}
	return stamp(version, signature)
}

// digest hashes the input, unless the caller did. sized says that what was hashed
// before must be as long as the hash that is named.
func (s scheme) digest(input []byte, sized bool) ([]byte, error) {
	if s.prehashed {
		if sized && s.hash != 0 && len(input) != s.hash.Size() {
			return nil, fault.New(fault.Invalid, "the prehashed input has %d bytes; a hash of this kind has %d", len(input), s.hash.Size())
		}
		return input, nil
	}
	h := s.hash.New()
	_, _ = h.Write(input) // a hash never fails
	return h.Sum(nil), nil
}

func (s scheme) sign(private crypto.Signer, input []byte) ([]byte, error) {
	if ed, ok := private.(ed25519.PrivateKey); ok { // it hashes by itself: what is given is the message
		return ed25519.Sign(ed, input), nil
	}
	_, isRSA := private.(*rsa.PrivateKey)
	digest, err := s.digest(input, isRSA)
	if err != nil {
		return nil, err
	}
	switch p := private.(type) {
	case *ecdsa.PrivateKey:
		signature, err := ecdsa.SignASN1(rand.Reader, p, digest)
		if err == nil && s.encoding == "jws" {
			signature, err = toJWS(signature, p.Curve.Params().BitSize)
		}
		return signature, err
	case *rsa.PrivateKey:
		if s.padding == "pkcs1v15" {
			return rsa.SignPKCS1v15(nil, p, s.hash, digest)
		}
		if s.salt > p.Size()-s.hash.Size()-2 { // RFC 8017, section 9.1.1
			return nil, fault.New(fault.Invalid, "requested salt length %d is invalid", s.salt)
		}
		return rsa.SignPSS(rand.Reader, p, s.hash, digest, &rsa.PSSOptions{SaltLength: s.salt, Hash: s.hash})
	}
	return nil, fmt.Errorf("sign: the key is a %T", private)
}

// point is an ECDSA signature in ASN.1.
type point struct{ R, S *big.Int }

// toJWS writes an ECDSA signature as RFC 7518 section 3.4 has it: R and S, each as
// long as the curve's order.
func toJWS(signature []byte, bits int) ([]byte, error) {
	var p point
	if _, err := asn1.Unmarshal(signature, &p); err != nil {
		return nil, fmt.Errorf("encode signature: %w", err)
	}
	size := (bits + 7) / 8
	out := make([]byte, 2*size)
	p.R.FillBytes(out[:size])
	p.S.FillBytes(out[size:])
	return out, nil
}

func fromJWS(signature []byte, bits int) ([]byte, bool) {
	size := (bits + 7) / 8
	if len(signature) != 2*size {
		return nil, false
	}
	text, err := asn1.Marshal(point{new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])})
	return text, err == nil
}

func verifyOne(s scheme) work {
	return func(k *key, f *engine.Fields) (map[string]any, error) {
		input, salt, err := given(f, "missing input for verification")
		signature, mac := f.Text("signature"), f.Text("hmac")
		switch {
		case err != nil:
			return nil, err
		case f.Err() != nil:
			return nil, f.Err()
		case signature != "" && mac != "":
			return nil, fault.New(fault.Invalid, "provide one of 'signature' or 'hmac'")
		case mac != "":
			return verifyMAC(k, s, input, mac)
		case signature == "":
			return nil, fault.New(fault.Invalid, "neither a 'signature' nor an 'hmac' were given to verify")
		case !k.kind().signs:
			return nil, fault.New(fault.Invalid, "key type %s does not support verification", k.Type)
		}
		n, given, err := s.read(signature)
		if err != nil {
			return nil, err
		}
		v, err := k.forOld(n, "signature")
		if err != nil {
			return nil, err
		}
		pub, err := v.public()
		if err == nil && k.Derived {
			pub, err = v.derivedPublic(salt)
		}
		if err != nil {
			return nil, err
		}
		valid, err := s.verify(pub, input, given)
		return map[string]any{"valid": valid}, err
	}
}

// read reads a signature as write wrote it.
func (s scheme) read(text string) (int, []byte, error) {
	n, body, err := unstampText(text, "signature")
	if err != nil {
		return 0, nil, err
	}
	encoding := base64.StdEncoding
	if s.encoding == "jws" {
		encoding = base64.RawURLEncoding
	}
	b, err := encoding.DecodeString(body)
	if err != nil {
		return 0, nil, fault.New(fault.Invalid, "invalid base64 signature value")
	}
	return n, b, nil
}

func (s scheme) verify(pub crypto.PublicKey, input, signature []byte) (bool, error) {
	if ed, ok := pub.(ed25519.PublicKey); ok {
		return ed25519.Verify(ed, input, signature), nil
	}
	_, isRSA := pub.(*rsa.PublicKey)
	digest, err := s.digest(input, isRSA)
	if err != nil {
		return false, err
	}
	switch p := pub.(type) {
	case *ecdsa.PublicKey:
		if s.encoding == "jws" {
			var ok bool
			if signature, ok = fromJWS(signature, p.Curve.Params().BitSize); !ok {
				return false, nil
			}
		}
		var parts point
		if rest, err := asn1.Unmarshal(signature, &parts); err != nil || len(rest) > 0 {
			return false, fault.New(fault.Invalid, "supplied signature is invalid")
		}
		return ecdsa.VerifyASN1(p, digest, signature), nil
	case *rsa.PublicKey:
		if s.padding == "pkcs1v15" {
			return rsa.VerifyPKCS1v15(p, s.hash, digest, signature) == nil, nil
		}
		return rsa.VerifyPSS(p, s.hash, digest, signature, &rsa.PSSOptions{SaltLength: s.salt}) == nil, nil
	}
	return false, fmt.Errorf("verify: the key is a %T", pub)
}

func hmacOne(s scheme) work {
	return func(k *key, f *engine.Fields) (map[string]any, error) {
		input, _, err := given(f, "missing input for HMAC")
		if err != nil {
			return nil, err
		}
		asked := f.Int("key_version", 0)
		switch {
		case asked < 0:
			return nil, fault.New(fault.Invalid, "key version does not exist (cannot be negative)")
		case asked > k.Latest:
			return nil, fault.New(fault.Invalid, "key version does not exist; latest key version is %d", k.Latest)
		}
		n, v, err := k.forNew(asked, "HMAC")
		switch {
		case f.Err() != nil:
			return nil, f.Err()
		case err != nil:
			return nil, err
		case s.hash == 0:
			return nil, fault.New(fault.Invalid, "an HMAC needs a hash algorithm")
		}
		return map[string]any{"hmac": stamp(n, k.mac(v, s.hash, input))}, nil
	}
}

// mac is the HMAC of a version: by its own key for this, or by an hmac key itself.
func (k *key) mac(v *version, hash crypto.Hash, input []byte) []byte {
	secret := v.MAC
	if k.Type == "hmac" {
		secret = v.Secret
	}
	m := hmac.New(hash.New, secret)
	m.Write(input)
	return m.Sum(nil)
}

func verifyMAC(k *key, s scheme, input []byte, text string) (map[string]any, error) {
	n, body, err := unstampText(text, "HMAC to verify")
	if err != nil {
		return nil, err
	}
	given, err := base64.StdEncoding.DecodeString(body)
	if err != nil {
		return nil, fault.New(fault.Invalid, "unable to decode verification HMAC as base64: %w", err)
	}
	v, err := k.forOld(n, "HMAC")
	if err != nil {
		return nil, err
	}
	if s.hash == 0 {
		return nil, fault.New(fault.Invalid, "an HMAC needs a hash algorithm")
	}
	return map[string]any{"valid": hmac.Equal(given, k.mac(v, s.hash, input))}, nil
}
