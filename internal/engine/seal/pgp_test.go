// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"encoding/base64"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// FuzzHolder: a public key is outside input. Whatever is taken for one encrypts.
func FuzzHolder(f *testing.F) {
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, raw []byte) {
		h, err := readHolder(base64.StdEncoding.EncodeToString(raw), now)
		if err != nil {
			return
		}
		if message, err := h.encrypt("share"); err != nil || len(message) == 0 {
			t.Errorf("%v", err)
		}
	})
}

// TestExpiredHolder: a key that has expired is refused when the rekeying begins.
func TestExpiredHolder(t *testing.T) {
	made := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	key, err := openpgp.NewEntity("a", "", "a@example.org", &packet.Config{
		Time: func() time.Time { return made }, Algorithm: packet.PubKeyAlgoEdDSA, KeyLifetimeSecs: 3600,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (&holder{key, made.Add(time.Minute)}).encrypt("share"); err != nil {
		t.Errorf("in time: %v", err)
	}
	if _, err := (&holder{key, made.Add(2 * time.Hour)}).encrypt("share"); err == nil {
		t.Error("an expired key is taken")
	}
}
