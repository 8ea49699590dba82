// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"net/url"
	"slices"
	"testing"

	"github.com/goldkeep/goldkeep/internal/engine"
)

// registered are the addresses a client has.
var registered = []string{"https://app.example/cb", "http://127.0.0.1/cb", "http://localhost:8250/oidc/callback", "http://[::1]:1/cb"}

// TestRedirectAllowed: to the letter, but for the port on one's own machine.
func TestRedirectAllowed(t *testing.T) {
	for text, want := range map[string]bool{
		"https://app.example/cb": true, "http://127.0.0.1/cb": true, "http://127.0.0.1:5000/cb": true, "http://localhost:1/oidc/callback": true, "http://[::1]:99/cb": true,
		"https://app.example/cb/": false, "https://app.example:443/cb": false, "https://APP.example/cb": false, "https://127.0.0.1:5000/cb": false,
		"http://localhost:5000/cb": false, "http://127.0.0.1:5000/cb?x=1": false, "http://127.0.0.1.evil.example/cb": false, "http://127.0.0.1@evil.example/cb": false,
		"http://127.0.0.1:5000/cb#f": false, "http://user@127.0.0.1:5000/cb": false, "javascript:alert(1)": false, "": false,
	} {
		if got := engine.RedirectAllowed(text, registered); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// FuzzRedirect: a browser is sent to a registered address, or to the machine it
// runs on.
func FuzzRedirect(f *testing.F) {
	for _, seed := range registered {
		f.Add(seed)
	}
	f.Add("http://127.0.0.1:80\\@evil.example/cb")
	f.Add("http://[::1%25eth0]:9/cb")
	f.Fuzz(func(t *testing.T, text string) {
		if !engine.RedirectAllowed(text, registered) || slices.Contains(registered, text) {
			return
		}
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "http" || !slices.Contains([]string{"127.0.0.1", "localhost", "::1"}, u.Hostname()) {
			t.Errorf("%q is allowed", text)
		}
	})
}
