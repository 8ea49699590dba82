// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"strings"
	"testing"

	"github.com/goldkeep/goldkeep/internal/server"
)

// TestInspect: the requests that are being answered and, where they are switched on,
// profiles; only to holders of sudo.
func TestInspect(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t, func(c *server.Config) { c.Profiles = true })
	got, err := w.client.Raw(ctx, "GET", "/v1/sys/in-flight-req", nil)
	if err != nil || !strings.Contains(string(got), `"request_path":"/v1/sys/in-flight-req"`) {
		t.Errorf("%s, %v", got, err)
	}
	got, err = w.client.Raw(ctx, "GET", "/v1/sys/pprof/goroutine?debug=1", nil)
	if err != nil || !strings.Contains(string(got), "goroutine profile: total") {
		t.Errorf("%.200s, %v", got, err)
	}
	for _, path := range []string{"pprof/none", "pprof/profile?seconds=1000", "monitor"} {
		if _, err := w.client.Raw(ctx, "GET", "/v1/sys/"+path, nil); err == nil {
			t.Errorf("%s is answered", path)
		}
	}
	var plain struct {
		Auth struct {
			Token string `json:"client_token"`
		} `json:"auth"`
	}
	if err := w.client.Do(ctx, "PUT", "/v1/sys/policies/acl/all", map[string]string{"policy": `path "sys/*" { capabilities = ["read"] }`}, nil); err != nil {
		t.Fatal(err)
	}
	if err := w.client.Do(ctx, "POST", "/v1/auth/token/create", map[string]any{"policies": []string{"all"}}, &plain); err != nil {
		t.Fatal(err)
	}
	off := newWorld(t, nil)
	for _, path := range []string{"in-flight-req", "pprof", "pprof/heap", "pprof/cmdline"} {
		if _, err := w.client.WithToken(plain.Auth.Token).Raw(ctx, "GET", "/v1/sys/"+path, nil); err == nil || !strings.Contains(err.Error(), "permission denied") {
			t.Errorf("%s without sudo: %v", path, err)
		}
		if _, err := off.client.Raw(ctx, "GET", "/v1/sys/"+path, nil); path != "in-flight-req" && (err == nil || !strings.Contains(err.Error(), "profiles are off")) {
			t.Errorf("%s where they are off: %v", path, err)
		}
	}
}
