// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/goldkeep/goldkeep/internal/wire"
)

// TestForwardedFor: whose word about who is asking is believed.
func TestForwardedFor(t *testing.T) {
	proxy := wire.ForwardedFor{From: []string{"10.0.0.0/8", "fd00::/8"}}
	strict := proxy
	strict.RejectMissing, strict.RejectOthers = true, true
	skip := proxy
	skip.Skip = 1
	for _, c := range []struct {
		name   string
		f      wire.ForwardedFor
		peer   string
		header []string
		want   string // the address that counts, or the status
	}{
		{"no proxy is named", wire.ForwardedFor{}, "10.1.2.3:4", []string{"1.1.1.1"}, "10.1.2.3:4"},
		{"the proxy", proxy, "10.1.2.3:4", []string{"1.1.1.1"}, "1.1.1.1:4"},
		{"somebody else", proxy, "9.9.9.9:4", []string{"1.1.1.1"}, "9.9.9.9:4"},
		{"the client wrote a header of its own", proxy, "10.1.2.3:4", []string{"127.0.0.1, 1.1.1.1"}, "1.1.1.1:4"},
		{"in two headers", proxy, "10.1.2.3:4", []string{"127.0.0.1", "1.1.1.1"}, "1.1.1.1:4"},
		{"two proxies", skip, "10.1.2.3:4", []string{"127.0.0.1, 1.1.1.1, 10.0.0.9"}, "1.1.1.1:4"},
		{"too few hops", skip, "10.1.2.3:4", []string{"1.1.1.1"}, "400"},
		{"IPv6", proxy, "[fd00::1]:4", []string{"2001:db8::1"}, "[2001:db8::1]:4"},
		{"IPv4 in IPv6", proxy, "[::ffff:10.1.2.3]:4", []string{"::ffff:1.1.1.1"}, "1.1.1.1:4"},
		{"no address", proxy, "10.1.2.3:4", []string{"nobody"}, "400"},
		{"an empty one", proxy, "10.1.2.3:4", []string{""}, "400"},
		{"no header", proxy, "10.1.2.3:4", nil, "10.1.2.3:4"},
		{"no header, which is refused", strict, "10.1.2.3:4", nil, "400"},
		{"a header of somebody else, which is refused", strict, "9.9.9.9:4", []string{"1.1.1.1"}, "400"},
		{"somebody else without one", strict, "9.9.9.9:4", nil, "9.9.9.9:4"},
	} {
		h := c.f.Believe(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.RemoteAddr) }))
		r := httptest.NewRequest(http.MethodGet, "/v1/sys/health", nil)
		r.RemoteAddr = c.peer
		for _, line := range c.header {
			r.Header.Add("X-Forwarded-For", line)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		got := w.Body.String()
		if w.Code != http.StatusOK {
			got = "400"
		}
		if got != c.want {
			t.Errorf("%s: %s (%d), not %s", c.name, got, w.Code, c.want)
		}
	}
}
