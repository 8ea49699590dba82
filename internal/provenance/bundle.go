// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package provenance

import (
	"encoding/json"
	"fmt"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
)

// payloadType is the only payload read and written.
const payloadType = "application/vnd.in-toto+json"

// bundleFile is a Sigstore bundle v0.3 (sigstore/protobuf-specs, sigstore_bundle.proto),
// as far as Goldkeep reads it itself.
type bundleFile struct {
	MediaType string    `json:"mediaType"`
	Material  material  `json:"verificationMaterial"`
	Envelope  *envelope `json:"dsseEnvelope,omitempty"`
}

// material says what the signature is to be verified with: a key by an id (a hint,
// which proves nothing), or a certificate.
type material struct {
	PublicKey   *hint           `json:"publicKey,omitempty"`
	Certificate json.RawMessage `json:"certificate,omitempty"`
	Chain       json.RawMessage `json:"x509CertificateChain,omitempty"`
}

type hint struct {
	Hint string `json:"hint"`
}

// envelope is a DSSE envelope (secure-systems-lab/dsse v1).
type envelope struct {
	Payload     []byte      `json:"payload"` // base64
	PayloadType string      `json:"payloadType"`
	Signatures  []signature `json:"signatures"`
}

type signature struct {
	Sig   []byte `json:"sig"` // base64
	KeyID string `json:"keyid,omitempty"`
}

// Bundle is a bundle that was read. Nothing in it is verified.
type Bundle struct {
	Digest    image.Digest // of its bytes
	Statement *Statement

	raw       []byte
	payload   []byte
	signature []byte
	withKey   bool // it says that it was signed with a key, not a certificate
}

// ParseBundle reads a bundle of at most 16 MiB that holds one in-toto statement with
// one signature. Errors are fault.Invalid, TooLarge, or Unsupported for what else
// bundles may hold.
func ParseBundle(data []byte) (*Bundle, error) {
	if len(data) > maxBundle {
		return nil, fault.New(fault.TooLarge, "read bundle: %d bytes; at most %d are read", len(data), maxBundle)
	}
	if _, err := object("bundle", data); err != nil {
		return nil, err
	}
	var file bundleFile
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, fault.New(fault.Invalid, "read bundle: %w", err)
	}
	e := file.Envelope
	switch {
	case file.MediaType != BundleType && file.MediaType != image.BundleType+"+json;version=0.3":
		return nil, fault.New(fault.Unsupported, "read bundle: its type is %.100q; read is %s", file.MediaType, BundleType)
	case e == nil:
		return nil, fault.New(fault.Unsupported, "read bundle: it holds no DSSE envelope")
	case e.PayloadType != payloadType:
		return nil, fault.New(fault.Unsupported, "read bundle: its payload is %.100q, not %s", e.PayloadType, payloadType)
	case len(e.Signatures) != 1:
		return nil, fault.New(fault.Invalid, "read bundle: it has %d signatures, not one", len(e.Signatures))
	}
	statement, err := ParseStatement(e.Payload)
	if err != nil {
		return nil, err
	}
	m := file.Material
	return &Bundle{
		Digest: image.DigestOf(data), Statement: statement, raw: data, payload: e.Payload, signature: e.Signatures[0].Sig,
		withKey: m.PublicKey != nil && m.Certificate == nil && m.Chain == nil,
	}, nil
}

// encoding is what DSSE signs: type and payload with their lengths, so that neither
// can be read as part of the other (DSSE v1, "PAE").
func encoding(payload []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(payload), payload)
}

// writeBundle wraps a signed payload.
func writeBundle(payload, sig []byte, keyHint string) ([]byte, error) {
	data, err := json.Marshal(bundleFile{
		MediaType: BundleType, Material: material{PublicKey: &hint{keyHint}},
		Envelope: &envelope{Payload: payload, PayloadType: payloadType, Signatures: []signature{{Sig: sig}}},
	})
	if err != nil {
		return nil, fmt.Errorf("encode bundle: %w", err)
	}
	return data, nil
}
