// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// maxPGP bounds the public key of a person, in bytes.
const maxPGP = 1 << 20

// holder is somebody a share or a token is encrypted for (RFC 9580), so that nobody
// else, and not who asked for it, can read it.
type holder struct {
	key *openpgp.Entity
	now time.Time // keys expire
}

// readHolder reads a public key in base64, and tries whether it can encrypt.
func readHolder(text string, now time.Time) (*holder, error) {
	if len(text) > maxPGP {
		return nil, fault.New(fault.TooLarge, "a PGP key is over %d bytes", maxPGP)
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fault.New(fault.Invalid, "error decoding given PGP key: %w", err)
	}
	if block, err := armor.Decode(bytes.NewReader(raw)); err == nil {
		var plain bytes.Buffer
		if _, err := plain.ReadFrom(block.Body); err != nil {
			return nil, fault.New(fault.Invalid, "error decoding given PGP key: %w", err)
		}
		raw = plain.Bytes()
	}
	entity, err := openpgp.ReadEntity(packet.NewReader(bytes.NewReader(raw)))
	if err != nil {
		return nil, fault.New(fault.Invalid, "error parsing given PGP key: %w", err)
	}
	h := &holder{entity, now}
	_, err = h.encrypt("")
	return h, err
}

// readHolders reads the keys of a request, as many as there will be shares; none is
// fine.
func readHolders(keys []string, shares int, now time.Time) ([]*holder, error) {
	if len(keys) > 0 && len(keys) != shares {
		return nil, fault.New(fault.Invalid, "incorrect number of PGP keys").WithHint("there are %d keys for %d shares", len(keys), shares)
	}
	var all []*holder
	for _, text := range keys {
		h, err := readHolder(text, now)
		if err != nil {
			return nil, err
		}
		all = append(all, h)
	}
	return all, nil
}

// fingerprint is that of the key, in hex.
func (h *holder) fingerprint() string { return hex.EncodeToString(h.key.PrimaryKey.Fingerprint) }

// encrypt makes a message only the holder can read.
func (h *holder) encrypt(text string) ([]byte, error) {
	var out bytes.Buffer
	w, err := openpgp.Encrypt(&out, []*openpgp.Entity{h.key}, nil, nil, &packet.Config{Time: func() time.Time { return h.now }})
	if err != nil {
		return nil, fault.New(fault.Invalid, "error setting up encryption for PGP message: %w", err).
			WithHint("give a public key that has a part for encryption and has not expired")
	}
	if _, err = w.Write([]byte(text)); err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("encrypt for a PGP key: %w", err)
	}
	return out.Bytes(), nil
}

// sealToken is a token encrypted for the holder, in base64; as it is where there is no
// holder.
func (h *holder) sealToken(token string) (string, error) {
	if h == nil {
		return token, nil
	}
	message, err := h.encrypt(token)
	return base64.StdEncoding.EncodeToString(message), err
}

// handOut gives shares as answers have them: in hex and in base64. With holders each
// is a message to one of them, whose content is the share in hex.
func handOut(shares [][]byte, to []*holder) (inHex, inBase64 []string, err error) {
	for i, share := range shares {
		if len(to) > 0 {
			if share, err = to[i].encrypt(hex.EncodeToString(share)); err != nil {
				return nil, nil, err
			}
		}
		inHex, inBase64 = append(inHex, hex.EncodeToString(share)), append(inBase64, base64.StdEncoding.EncodeToString(share))
	}
	return inHex, inBase64, nil
}

func fingerprints(to []*holder) []string {
	var all []string
	for _, h := range to {
		all = append(all, h.fingerprint())
	}
	return all
}

// backup are encrypted shares that are kept in case their holders lose them.
type backup struct {
	Nonce  string              `json:"nonce"`
	Keys   map[string][]string `json:"keys"` // by fingerprint
	Base64 map[string][]string `json:"keys_base64"`
}

func newBackup(nonce string, to []*holder, inHex, inBase64 []string) *backup {
	b := &backup{Nonce: nonce, Keys: map[string][]string{}, Base64: map[string][]string{}}
	for i, h := range to {
		print := h.fingerprint()
		b.Keys[print], b.Base64[print] = append(b.Keys[print], inHex[i]), append(b.Base64[print], inBase64[i])
	}
	return b
}

// rootFor reads whom the root token is encrypted for; nil: nobody.
func rootFor(f *engine.Fields, field string, now time.Time) (*holder, error) {
	text := f.Text(field)
	if f.Err() != nil || text == "" {
		return nil, f.Err()
	}
	return readHolder(text, now)
}
