// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"net/url"
	"slices"
)

// RedirectAllowed reports whether a browser may be sent back to an address: one of
// the list to the letter, but for the port of a program on the person's own
// machine (RFC 8252, section 7.3).
func RedirectAllowed(text string, allowed []string) bool {
	if slices.Contains(allowed, text) {
		return true
	}
	at, ok := loopback(text)
	return ok && slices.ContainsFunc(allowed, func(a string) bool {
		other, ok := loopback(a)
		return ok && other == at
	})
}

// loopback is an address on the machine itself, without its port.
func loopback(text string) (string, bool) {
	u, err := url.Parse(text)
	if err != nil || u.User != nil || u.Fragment != "" || u.Opaque != "" || !slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, u.Hostname()) {
		return "", false
	}
	u.Host = u.Hostname()
	return u.String(), true
}
