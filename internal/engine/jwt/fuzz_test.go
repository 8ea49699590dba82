// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package jwt_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/goldkeep/goldkeep/internal/engine/jwt"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// FuzzToken: whatever somebody sends, it is a name or an error of the sender's.
func FuzzToken(f *testing.F) {
	now := time.Unix(1_800_000_000, 0)
	good := `{"iss":"https://issuer","aud":["goldkeep"],"sub":"alice","iat":1800000000,"a":[{"b":"xyy"},"m"],"n":"","groups":["g"]}`
	f.Add(signed(f, jose.ES256, ecKey(f), m{"sub": "alice"}), []byte(good))
	f.Add("e30.e30.", []byte(`{"iss":"https://issuer","aud":"goldkeep","exp":1e300,"nbf":-1}`))
	f.Add("", []byte(`[]`))
	f.Add("..", []byte(`{"aud":{"goldkeep":1},"a":[[[[[[]]]]]]}`))
	if name, err := jwt.ReadUnverified("", []byte(good), now); name != "alice" {
		f.Fatalf("the good one: %q %v", name, err)
	}
	f.Fuzz(func(t *testing.T, token string, payload []byte) {
		name, err := jwt.ReadUnverified(token, payload, now)
		if err == nil && name == "" {
			t.Error("somebody without a name")
		}
		if err != nil && !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.TooLarge) {
			t.Errorf("%v", err)
		}
		if err == nil && token == "" && !json.Valid(payload) {
			t.Error("claims that are no JSON")
		}
	})
}
