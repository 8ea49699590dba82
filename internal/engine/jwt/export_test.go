// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package jwt

import "time"

// ReadUnverified reads a token and judges its claims by a role that binds all it
// can, without looking at the signature.
func ReadUnverified(token string, payload []byte, now time.Time) (name string, err error) {
	if signed, err := parse(token, asymmetric); err == nil {
		payload = signed.UnsafePayloadWithoutVerification()
	}
	c, err := readClaims(payload)
	if err != nil {
		return "", err
	}
	r := &role{
		Name: "fuzz", Audiences: []string{"goldkeep"}, ClaimsType: "glob", Claims: []byte(`{"/a/0/b":"x*y","n":"*"}`),
		Mappings: map[string]string{"/a/1": "m"}, UserClaim: "/sub", UserPointer: true, GroupsClaim: "/groups",
	}
	if err := r.accept(c, &provider{config: &config{Issuer: "https://issuer"}}, now); err != nil {
		return "", err
	}
	w, err := r.identify(c)
	if err != nil {
		return "", err
	}
	return w.Name, nil
}
