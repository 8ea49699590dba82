// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package jwt

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/fetch"
)

// discovery is what a provider says of itself (OpenID Connect Discovery 1.0,
// section 3), as far as it matters here.
type discovery struct {
	Issuer      string   `json:"issuer"`
	Authorize   string   `json:"authorization_endpoint"`
	Exchange    string   `json:"token_endpoint"`
	JWKS        string   `json:"jwks_uri"`
	UserInfo    string   `json:"userinfo_endpoint"`
	AuthMethods []string `json:"token_endpoint_auth_methods_supported"`
}

// discover asks a provider about itself. It must be who it was called by, and
// must not send us, or anybody's browser, away from TLS.
func discover(ctx context.Context, client *http.Client, base string) (*discovery, error) {
	d := &discovery{}
	if err := fetch.GetJSON(ctx, client, strings.TrimSuffix(base, "/")+"/"+wellKnown, "", d); err != nil {
		return nil, err
	}
	if d.Issuer == "" || strings.TrimSuffix(d.Issuer, "/") != strings.TrimSuffix(base, "/") {
		return nil, fault.New(fault.Invalid, "the provider calls itself %q", d.Issuer).WithHint("oidc_discovery_url must be the issuer")
	}
	for _, text := range []string{d.Authorize, d.Exchange, d.JWKS, d.UserInfo} {
		if text == "" {
			continue
		}
		if err := fetch.CheckURL(text); err != nil {
			return nil, err
		}
		if withTLS(base) && !withTLS(text) {
			return nil, fault.New(fault.Invalid, "the provider names an address without TLS")
		}
	}
	if d.JWKS == "" {
		return nil, fault.New(fault.Invalid, "the provider names no jwks_uri")
	}
	return d, nil
}

// withTLS reports whether a URL is of https, in whatever case it is written
// (RFC 3986, section 3.1).
func withTLS(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Scheme == "https"
}
