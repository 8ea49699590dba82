// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"encoding/json"
	"net/http"
	"testing"

	vault "github.com/hashicorp/vault/api"
	bao "github.com/openbao/openbao/api/v2"
)

// client is what the test needs of a client library; both give the same.
type client struct {
	setToken func(string)
	setWrap  func(ttl string) // "" ends it
	read     func(path string) (*secret, error)
	list     func(path string) (*secret, error)
	write    func(path string, data map[string]any) (*secret, error)
	patch    func(path string, data map[string]any) (*secret, error)
	remove   func(path string) (*secret, error)
	unwrap   func(token string) (*secret, error)
	seal     func() error
	unseal   func(key string) (sealed bool, err error)
}

// secret is the part of an answer the test looks at.
type secret struct {
	Data     map[string]any
	Token    string // of the auth block
	WrapTok  string
	Warnings []string
}

func vaultClient(t *testing.T, w *world) client {
	cfg := vault.DefaultConfig()
	cfg.Address, cfg.HttpClient, cfg.MaxRetries = w.srv.URL, w.srv.Client(), 0
	c, err := vault.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	get := func(s *vault.Secret, err error) (*secret, error) {
		if s == nil || err != nil {
			return nil, err
		}
		out := &secret{Data: s.Data, Warnings: s.Warnings}
		if s.Auth != nil {
			out.Token = s.Auth.ClientToken
		}
		if s.WrapInfo != nil {
			out.WrapTok = s.WrapInfo.Token
		}
		return out, nil
	}
	l := c.Logical()
	return client{
		setToken: c.SetToken,
		setWrap:  func(ttl string) { c.SetWrappingLookupFunc(func(string, string) string { return ttl }) },
		read:     func(p string) (*secret, error) { return get(l.Read(p)) },
		list:     func(p string) (*secret, error) { return get(l.List(p)) },
		write:    func(p string, d map[string]any) (*secret, error) { return get(l.Write(p, d)) },
		patch:    func(p string, d map[string]any) (*secret, error) { return get(l.JSONMergePatch(t.Context(), p, d)) },
		remove:   func(p string) (*secret, error) { return get(l.Delete(p)) },
		unwrap:   func(tok string) (*secret, error) { return get(l.Unwrap(tok)) },
		seal:     c.Sys().Seal,
		unseal: func(key string) (bool, error) {
			st, err := c.Sys().Unseal(key)
			if err != nil {
				return true, err
			}
			return st.Sealed, nil
		},
	}
}

func baoClient(t *testing.T, w *world) client {
	cfg := bao.DefaultConfig()
	cfg.Address, cfg.HttpClient, cfg.MaxRetries = w.srv.URL, w.srv.Client(), 0
	c, err := bao.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	get := func(s *bao.Secret, err error) (*secret, error) {
		if s == nil || err != nil {
			return nil, err
		}
		out := &secret{Data: s.Data, Warnings: s.Warnings}
		if s.Auth != nil {
			out.Token = s.Auth.ClientToken
		}
		if s.WrapInfo != nil {
			out.WrapTok = s.WrapInfo.Token
		}
		return out, nil
	}
	l := c.Logical()
	return client{
		setToken: c.SetToken,
		setWrap:  func(ttl string) { c.SetWrappingLookupFunc(func(string, string) string { return ttl }) },
		read:     func(p string) (*secret, error) { return get(l.Read(p)) },
		list:     func(p string) (*secret, error) { return get(l.List(p)) },
		write:    func(p string, d map[string]any) (*secret, error) { return get(l.Write(p, d)) },
		patch:    func(p string, d map[string]any) (*secret, error) { return get(l.JSONMergePatch(t.Context(), p, d)) },
		remove:   func(p string) (*secret, error) { return get(l.Delete(p)) },
		unwrap:   func(tok string) (*secret, error) { return get(l.Unwrap(tok)) },
		seal:     c.Sys().Seal,
		unseal: func(key string) (bool, error) {
			st, err := c.Sys().Unseal(key)
			if err != nil {
				return true, err
			}
			return st.Sealed, nil
		},
	}
}

// TestClients plays the same story with the client libraries people use.
func TestClients(t *testing.T) {
	for name, connect := range map[string]func(*testing.T, *world) client{"vault": vaultClient, "openbao": baoClient} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c := connect(t, w)
			c.setToken(w.root)
			for _, part := range []struct {
				name string
				play func(*testing.T, *world, client)
			}{
				{"kv", playKV},
				{"versions", playVersions},
				{"tokens", playTokens},
				{"wrapping", playWrapping},
				{"policies", playPolicies},
				{"mounts", playMounts},
				{"kv1", playKV1},
				{"sealing", playSealing},
			} {
				t.Run(part.name, func(t *testing.T) { part.play(t, w, c) })
			}
		})
	}
}

func must(t *testing.T) func(*secret, error) *secret {
	return func(s *secret, err error) *secret {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

// at follows names into an answer and compares what is there.
func at(t *testing.T, s *secret, want any, names ...string) {
	t.Helper()
	if s == nil {
		t.Fatalf("no answer; want %v at %v", want, names)
	}
	var v any = s.Data
	for _, name := range names {
		m, ok := v.(map[string]any)
		if !ok {
			t.Fatalf("%v: no object at %q", s.Data, name)
		}
		v = m[name]
	}
	if n, ok := v.(json.Number); ok {
		v = n.String()
	}
	if v != want {
		t.Errorf("%v is %v (%T), want %v", names, v, v, want)
	}
}

func playKV(t *testing.T, _ *world, c client) {
	ok := must(t)
	s := ok(c.write("secret/data/app/db", map[string]any{"data": map[string]any{"user": "u", "n": json.Number("9007199254740993")}}))
	at(t, s, "1", "version")
	s = ok(c.read("secret/data/app/db"))
	at(t, s, "u", "data", "user")
	at(t, s, "9007199254740993", "data", "n")
	at(t, s, "1", "metadata", "version")
	s = ok(c.patch("secret/data/app/db", map[string]any{"data": map[string]any{"user": nil, "password": "p"}}))
	at(t, s, "2", "version")
	s = ok(c.read("secret/data/app/db"))
	at(t, s, nil, "data", "user")
	at(t, s, "p", "data", "password")
	s = ok(c.list("secret/metadata"))
	if keys := s.Data["keys"].([]any); len(keys) != 1 || keys[0] != "app/" {
		t.Errorf("keys = %v", keys)
	}
	if s = ok(c.list("secret/metadata/nothing")); s != nil {
		t.Errorf("an empty list is %v", s.Data)
	}
	if s = ok(c.read("secret/data/nothing")); s != nil {
		t.Errorf("a read of nothing is %v", s.Data)
	}
	if _, err := c.write("secret/data/app/db", map[string]any{"data": map[string]any{}, "options": map[string]any{"cas": 1}}); err == nil {
		t.Error("a write with an old cas was accepted")
	}
	at(t, ok(c.read("sys/internal/ui/mounts/secret/app/db")), "secret/", "path")
	at(t, ok(c.read("sys/internal/ui/mounts/secret/app/db")), "2", "options", "version")
}

func playVersions(t *testing.T, _ *world, c client) {
	ok := must(t)
	for range 3 {
		ok(c.write("secret/data/v", map[string]any{"data": map[string]any{"k": "v"}}))
	}
	ok(c.remove("secret/data/v"))
	s := ok(c.read("secret/data/v"))
	at(t, s, nil, "data")
	at(t, s, "3", "metadata", "version")
	ok(c.write("secret/undelete/v", map[string]any{"versions": []string{"3"}}))
	at(t, ok(c.read("secret/data/v")), "v", "data", "k")
	ok(c.write("secret/delete/v", map[string]any{"versions": []int{1}}))
	ok(c.write("secret/destroy/v", map[string]any{"versions": []int{2}}))
	s = ok(c.read("secret/metadata/v"))
	at(t, s, true, "versions", "2", "destroyed")
	at(t, s, "3", "current_version")
	ok(c.write("secret/undelete/v", map[string]any{"versions": []int{1, 2}}))
	at(t, ok(c.read("secret/subkeys/v")), nil, "subkeys", "k")
	ok(c.write("secret/metadata/v", map[string]any{"max_versions": 1, "custom_metadata": map[string]any{"owner": "me"}}))
	at(t, ok(c.read("secret/metadata/v")), "me", "custom_metadata", "owner")
	ok(c.patch("secret/metadata/v", map[string]any{"custom_metadata": map[string]any{"owner": nil, "team": "us"}}))
	at(t, ok(c.read("secret/metadata/v")), "us", "custom_metadata", "team")
	ok(c.remove("secret/metadata/v"))
	if s = ok(c.read("secret/data/v")); s != nil {
		t.Errorf("a key lived on: %v", s.Data)
	}
	ok(c.write("secret/config", map[string]any{"max_versions": 5, "delete_version_after": "3h"}))
	at(t, ok(c.read("secret/config")), "3h0m0s", "delete_version_after")
	ok(c.write("secret/config", map[string]any{"delete_version_after": "0s"}))
}

func playTokens(t *testing.T, w *world, c client) {
	ok := must(t)
	defer c.setToken(w.root)
	at(t, ok(c.read("auth/token/lookup-self")), nil, "expire_time")
	s := ok(c.write("auth/token/create", map[string]any{"policies": []string{"default"}, "ttl": "1h", "display_name": "me", "meta": map[string]string{"a": "b"}}))
	c.setToken(s.Token)
	s = ok(c.read("auth/token/lookup-self"))
	at(t, s, "token-me", "display_name")
	at(t, s, "service", "type")
	at(t, s, "b", "meta", "a")
	accessor := s.Data["accessor"].(string)
	if s = ok(c.write("auth/token/renew-self", map[string]any{"increment": "2h"})); s.Token == "" {
		t.Error("renew-self answers no token")
	}
	if _, err := c.read("secret/data/app/db"); err == nil {
		t.Error("the default policy reads secrets")
	}
	ok(c.write("cubbyhole/mine", map[string]any{"k": "v"}))
	at(t, ok(c.read("cubbyhole/mine")), "v", "k")
	c.setToken(w.root)
	if s = ok(c.read("cubbyhole/mine")); s != nil {
		t.Error("a cubbyhole is read by another token")
	}
	at(t, ok(c.write("auth/token/lookup-accessor", map[string]any{"accessor": accessor})), "", "id")
	ok(c.write("auth/token/revoke-accessor", map[string]any{"accessor": accessor}))
	if _, err := c.write("auth/token/lookup-accessor", map[string]any{"accessor": accessor}); err == nil {
		t.Error("a revoked token is still known")
	}
	s = ok(c.write("auth/token/create-orphan", map[string]any{}))
	c.setToken(s.Token)
	ok(c.write("auth/token/revoke-self", nil))
	if _, err := c.read("auth/token/lookup-self"); err == nil {
		t.Error("a token outlives revoke-self")
	}
}

func playWrapping(t *testing.T, w *world, c client) {
	ok := must(t)
	c.setWrap("5m")
	s := ok(c.read("secret/data/app/db"))
	c.setWrap("")
	if s.WrapTok == "" || s.Data != nil {
		t.Fatalf("not wrapped: %+v", s)
	}
	at(t, ok(c.write("sys/wrapping/lookup", map[string]any{"token": s.WrapTok})), "secret/data/app/db", "creation_path")
	at(t, ok(c.unwrap(s.WrapTok)), "p", "data", "password")
	if _, err := c.unwrap(s.WrapTok); err == nil {
		t.Error("unwrapped twice")
	}
	c.setWrap("60")
	s = ok(c.write("sys/wrapping/wrap", map[string]any{"k": "v"}))
	inside := ok(c.write("auth/token/create", map[string]any{"policies": []string{"default"}}))
	c.setWrap("")
	s = ok(c.write("sys/wrapping/rewrap", map[string]any{"token": s.WrapTok}))
	c.setToken(s.WrapTok)
	at(t, ok(c.unwrap("")), "v", "k")
	c.setToken(w.root)
	if s = ok(c.unwrap(inside.WrapTok)); s.Token == "" {
		t.Error("the auth block was not kept")
	}
}

func playPolicies(t *testing.T, _ *world, c client) {
	ok := must(t)
	text := `path "secret/data/app/*" { capabilities = ["read"] }`
	ok(c.write("sys/policies/acl/reader", map[string]any{"policy": text}))
	at(t, ok(c.read("sys/policies/acl/reader")), text, "policy")
	at(t, ok(c.read("sys/policy/reader")), text, "rules")
	if s := ok(c.list("sys/policies/acl")); len(s.Data["keys"].([]any)) < 3 {
		t.Errorf("policies: %v", s.Data)
	}
	s := ok(c.write("sys/capabilities-self", map[string]any{"paths": []string{"secret/data/x"}}))
	if got := s.Data["secret/data/x"].([]any); len(got) != 1 || got[0] != "root" {
		t.Errorf("capabilities of root: %v", got)
	}
	if _, err := c.write("sys/policies/acl/bad", map[string]any{"policy": "path {"}); err == nil {
		t.Error("a broken policy was accepted")
	}
	ok(c.remove("sys/policies/acl/reader"))
	if s := ok(c.read("sys/policies/acl/reader")); s != nil {
		t.Error("a policy lived on")
	}
}

func playMounts(t *testing.T, _ *world, c client) {
	ok := must(t)
	ok(c.write("sys/mounts/team/kv", map[string]any{"type": "kv-v2", "description": "ours"}))
	ok(c.write("team/kv/data/a", map[string]any{"data": map[string]any{"k": "v"}}))
	at(t, ok(c.read("sys/mounts")), "ours", "team/kv/", "description")
	at(t, ok(c.read("sys/mounts/team/kv")), "kv", "type")
	ok(c.write("sys/mounts/team/kv/tune", map[string]any{"max_lease_ttl": "1h", "default_lease_ttl": "30m"}))
	at(t, ok(c.read("sys/mounts/team/kv/tune")), "3600", "max_lease_ttl")
	if _, err := c.write("sys/mounts/team", map[string]any{"type": "kv"}); err == nil {
		t.Error("a mount above another was accepted")
	}
	ok(c.write("sys/remount", map[string]any{"from": "team/kv", "to": "moved"}))
	at(t, ok(c.read("moved/data/a")), "v", "data", "k")
	ok(c.remove("sys/mounts/moved"))
	if _, err := c.write("moved/data/a", map[string]any{"data": map[string]any{}}); err == nil {
		t.Error("a mount lived on")
	}
	at(t, ok(c.read("sys/auth")), "token", "token/", "type")
}

func playKV1(t *testing.T, _ *world, c client) {
	ok := must(t)
	ok(c.write("sys/mounts/old", map[string]any{"type": "kv"}))
	ok(c.write("old/a/b", map[string]any{"k": "v", "ttl": "1h"}))
	at(t, ok(c.read("old/a/b")), "v", "k")
	if s := ok(c.list("old")); s.Data["keys"].([]any)[0] != "a/" {
		t.Errorf("keys: %v", s.Data)
	}
	ok(c.write("sys/mounts/old/tune", map[string]any{"options": map[string]string{"version": "2"}}))
	at(t, ok(c.read("old/data/a/b")), "v", "data", "k")
	ok(c.remove("sys/mounts/old"))
}

func playSealing(t *testing.T, w *world, c client) {
	if err := c.seal(); err != nil {
		t.Fatal(err)
	}
	if status, _ := w.do(http.MethodGet, "sys/health", "", ""); status != 503 {
		t.Errorf("health of a sealed server: %d", status)
	}
	if _, err := c.read("secret/data/app/db"); err == nil {
		t.Error("a sealed server answers")
	}
	for i, key := range w.keys[1:] {
		sealed, err := c.unseal(key)
		if err != nil || sealed != (i == 0) {
			t.Fatalf("share %d: sealed %v, %v", i, sealed, err)
		}
	}
	at(t, must(t)(c.read("secret/data/app/db")), "p", "data", "password")
}
