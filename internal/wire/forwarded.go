// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// ForwardedFor says whose X-Forwarded-For header is believed: who is asking then
// is who the proxy says, in the audit, in ranges of addresses, and in limits.
type ForwardedFor struct {
	// From are the networks of the proxies. Empty: the header is not looked at.
	From []string `yaml:"from"`
	// Skip is how many addresses at the end of the list are proxies too.
	Skip int `yaml:"skip"`
	// RejectMissing refuses a proxy's requests without the header, RejectOthers
	// requests with the header of somebody else.
	RejectMissing bool `yaml:"rejectMissing"`
	RejectOthers  bool `yaml:"rejectOthers"`
}

// Networks are the proxies' networks.
func (f ForwardedFor) Networks() (all []netip.Prefix, err error) {
	for _, text := range f.From {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fault.New(fault.Invalid, "forwardedFor.from: %q is no network such as 10.0.0.0/8", text)
		}
		all = append(all, p)
	}
	return all, nil
}

// Believe replaces the peer's address by the one a trusted proxy names.
func (f ForwardedFor) Believe(next http.Handler) http.Handler {
	trusted, err := f.Networks()
	if err != nil || len(trusted) == 0 {
		return next // checked with the configuration
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := r.Header.Values("X-Forwarded-For")
		host, port, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil || !within(trusted, host) {
			if len(header) > 0 && f.RejectOthers {
				refuse(w, http.StatusBadRequest, "client address not authorized for x-forwarded-for, rejecting connection")
				return
			}
			next.ServeHTTP(w, r)
			return
		}
		if len(header) == 0 {
			if f.RejectMissing {
				refuse(w, http.StatusBadRequest, "missing x-forwarded-for header and configured to reject when not present")
				return
			}
			next.ServeHTTP(w, r)
			return
		}
		hops := strings.Split(strings.Join(header, ","), ",")
		at := len(hops) - 1 - f.Skip
		if at < 0 {
			refuse(w, http.StatusBadRequest, "malformed x-forwarded-for configuration or request, hops to skip is greater than the number of hops")
			return
		}
		addr, err := netip.ParseAddr(strings.TrimSpace(hops[at]))
		if err != nil {
			refuse(w, http.StatusBadRequest, "malformed x-forwarded-for header")
			return
		}
		r.RemoteAddr = net.JoinHostPort(addr.Unmap().String(), port)
		next.ServeHTTP(w, r)
	})
}

func refuse(w http.ResponseWriter, status int, why string) {
	w.Header()["Content-Type"] = jsonType
	w.WriteHeader(status)
	_, _ = w.Write([]byte(`{"errors":["` + why + `"]}` + "\n"))
}

func within(networks []netip.Prefix, host string) bool {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	for _, n := range networks {
		if n.Contains(addr.Unmap()) {
			return true
		}
	}
	return false
}
