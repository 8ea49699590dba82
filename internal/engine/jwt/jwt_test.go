// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package jwt_test

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/internal/engine/methodtest"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/policy"
)

// keyed is a mount that believes one key, with one role.
func keyed(t *testing.T, role m) *world {
	t.Helper()
	w := newWorld(t)
	w.OK("config", m{"jwt_validation_pubkeys": publicPEM(t, firstKey().Public()), "bound_issuer": "https://issuer"})
	w.OK("role/ci", methodtest.With(m{
		"role_type": "jwt", "user_claim": "sub", "bound_audiences": "goldkeep", "token_policies": "reader", "token_ttl": "5m",
	}, role))
	return w
}

func valid(more m) m {
	now := time.Now()
	return methodtest.With(m{"iss": "https://issuer", "sub": "build-7", "aud": "goldkeep", "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()}, more)
}

func (w *world) login(claims m) error {
	w.T.Helper()
	_, err := w.Write("login", m{"role": "ci", "jwt": signed(w.T, jose.RS256, firstKey(), claims)})
	return err
}

func TestLogin(t *testing.T) {
	w := keyed(t, m{"claim_mappings": m{"/repo/name": "repo", "missing": "none"}, "bound_claims": m{"/repo/id": 9007199254740993}})
	token := signed(t, jose.RS256, firstKey(), valid(m{"repo": m{"name": "goldkeep", "id": json.Number("9007199254740993")}}))
	got := w.OK("login", m{"role": "CI", "jwt": token}).Auth
	if got.TTL != 5*time.Minute || strings.Join(got.Policies, " ") != "default reader" {
		t.Errorf("token: %+v", got)
	}
	if diff := cmp.Diff(map[string]string{"role": "ci", "repo": "goldkeep"}, got.Meta); diff != "" {
		t.Error(diff)
	}
	w.Invalid("login", m{"jwt": token}, "missing role")
	w.Invalid("login", m{"role": "none", "jwt": token}, `role "none" could not be found`)
	w.Invalid("login", m{"role": "ci"}, "missing token")
	if err := w.login(valid(m{"repo": m{"name": "x", "id": json.Number("9007199254740992")}})); !fault.Is(err, fault.Invalid) {
		t.Errorf("a number that only looks the same: %v", err)
	}
}

func TestTokensThatAreRefused(t *testing.T) {
	w := keyed(t, nil)
	now := time.Now()
	for _, c := range []struct {
		name   string
		change m
		word   string
	}{
		{"another issuer", m{"iss": "https://other"}, "issuer"},
		{"no issuer", m{"iss": nil}, "issuer"},
		{"issuer in a list", m{"iss": []string{"https://issuer"}}, "issuer"},
		{"another audience", m{"aud": "others"}, "audience"},
		{"no audience", m{"aud": nil}, "audience"},
		{"expired", m{"exp": now.Add(-2 * time.Minute).Unix()}, "expired"},
		{"not yet", m{"nbf": now.Add(2 * time.Minute).Unix()}, "not yet valid"},
		{"issued in the future", m{"iat": now.Add(2 * time.Minute).Unix(), "nbf": now.Unix()}, "future"},
		{"no times", m{"iat": nil, "exp": nil}, "no issued at"},
		{"a time in words", m{"exp": "tomorrow"}, "no time"},
		{"a time beyond all", m{"exp": json.Number("1e300")}, "no time"},
		{"old, without an end", m{"iat": now.Add(-10 * time.Minute).Unix(), "exp": nil}, "expired"},
		{"nobody", m{"sub": nil}, "not found"},
		{"an empty name", m{"sub": ""}, "converted"},
		{"a number for a name", m{"sub": 7}, "converted"},
	} {
		if err := w.login(valid(c.change)); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if err := w.login(valid(m{"aud": []string{"others", "goldkeep"}})); err != nil {
		t.Errorf("one of several audiences: %v", err)
	}
	if err := w.login(valid(m{"exp": now.Add(-30 * time.Second).Unix()})); err != nil {
		t.Errorf("within the leeway: %v", err)
	}
	w.OK("role/ci", m{"role_type": "jwt", "clock_skew_leeway": "-1"})
	if err := w.login(valid(m{"exp": now.Add(-30 * time.Second).Unix()})); err == nil {
		t.Error("leeway was switched off")
	}
	// A token for one role opens no other, and one with an audience none without.
	w.OK("role/other", m{"role_type": "jwt", "user_claim": "sub", "bound_audiences": "other"})
	w.Invalid("login", m{"role": "other", "jwt": signed(t, jose.RS256, firstKey(), valid(nil))}, "audience")
	w.OK("role/loose", m{"role_type": "jwt", "user_claim": "sub", "bound_subject": "build-7"})
	w.Invalid("login", m{"role": "loose", "jwt": signed(t, jose.RS256, firstKey(), valid(nil))}, "audience claim found")
	w.OK("login", m{"role": "loose", "jwt": signed(t, jose.RS256, firstKey(), valid(m{"aud": nil}))})
	w.Invalid("login", m{"role": "loose", "jwt": signed(t, jose.RS256, firstKey(), valid(m{"aud": nil, "sub": "build-8"}))}, "subject")
}

func TestBoundClaims(t *testing.T) {
	for _, c := range []struct {
		kind   string
		bound  m
		claims m
		in     bool
	}{
		{"string", m{"team": "a"}, m{"team": "a"}, true},
		{"string", m{"team": "a"}, m{"team": "A"}, false},
		{"string", m{"team": "a"}, m{}, false},
		{"string", m{"team": "a"}, m{"team": nil}, false},
		{"string", m{"team": "a"}, m{"team": m{"a": "a"}}, false},
		{"string", m{"team": "a"}, m{"team": []any{m{}, []string{"a"}}}, false},
		{"string", m{"team": []string{"a", "b"}}, m{"team": []string{"c", "b"}}, true},
		{"string", m{"admin": true}, m{"admin": true}, true},
		{"string", m{"admin": true}, m{"admin": "true"}, false},
		{"string", m{"n": 1}, m{"n": "1"}, false},
		{"string", m{"team": "a*"}, m{"team": "abc"}, false},
		{"string", m{"team": "a", "ref": "main"}, m{"team": "a", "ref": "dev"}, false},
		{"string", m{"/a/b~1c/0": "x"}, m{"a": m{"b/c": []string{"x"}}}, true},
		{"string", m{"/a/b/9": "x"}, m{"a": m{"b": []string{"x"}}}, false},
		{"glob", m{"ref": "refs/*/v*"}, m{"ref": "refs/tags/v1"}, true},
		{"glob", m{"ref": "refs/*/v*"}, m{"ref": "refs/v1"}, false},
		{"glob", m{"ref": "a*a"}, m{"ref": "a"}, false},
		{"glob", m{"ref": "*"}, m{"ref": 7}, false},
	} {
		w := keyed(t, m{"bound_claims": c.bound, "bound_claims_type": c.kind})
		if err := w.login(valid(c.claims)); (err == nil) != c.in {
			t.Errorf("%s %v with %v: %v", c.kind, c.bound, c.claims, err)
		}
	}
}

// TestForgedTokens: whoever does not have the private key gets in by no trick.
func TestForgedTokens(t *testing.T) {
	w := keyed(t, nil)
	good := signed(t, jose.RS256, firstKey(), valid(nil))
	parts := strings.Split(good, ".")
	text := func(v string) string { return base64.RawURLEncoding.EncodeToString([]byte(v)) }
	public := publicPEM(t, firstKey().Public())
	secretly := func(key []byte, input string) string {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(input))
		return input + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	other, mine := rsaKey(2048), ecKey(t)
	brought, err := json.Marshal(jose.JSONWebKey{Key: other.Public(), KeyID: "x"})
	w.Must(err)
	for name, token := range map[string]string{
		"no algorithm":             text(`{"alg":"none"}`) + "." + parts[1] + ".",
		"no algorithm, spelled":    text(`{"alg":"nOnE"}`) + "." + parts[1] + "." + parts[2],
		"the public key as secret": secretly([]byte(public), text(`{"alg":"HS256"}`)+"."+parts[1]),
		"trimmed, as secret":       secretly([]byte(strings.TrimSpace(public)), text(`{"alg":"HS256"}`)+"."+parts[1]),
		"another's key":            signed(t, jose.RS256, other, valid(nil)),
		"a key of another kind":    signed(t, jose.ES256, mine, valid(nil)),
		"a key it brings along":    text(`{"alg":"RS256","jwk":`+string(brought)+`}`) + "." + parts[1] + "." + parts[2],
		"other claims":             parts[0] + "." + text(`{"sub":"root","aud":"goldkeep"}`) + "." + parts[2],
		"another header":           text(`{"alg":"RS256","typ":"JWT"}`) + "." + parts[1] + "." + parts[2],
		"another algorithm":        text(`{"alg":"PS256"}`) + "." + parts[1] + "." + parts[2],
		"no signature":             parts[0] + "." + parts[1] + ".",
		"two parts":                parts[0] + "." + parts[1],
		"json":                     `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
		"unencoded":                text(`{"alg":"RS256","b64":false,"crit":["b64"]}`) + "." + parts[1] + "." + parts[2],
		"nothing":                  ".",
	} {
		if _, err := w.Write("login", m{"role": "ci", "jwt": token}); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.OK("login", m{"role": "ci", "jwt": good})
	if _, err := w.Write("login", m{"role": "ci", "jwt": good + strings.Repeat("A", 1<<20)}); !fault.Is(err, fault.TooLarge) {
		t.Errorf("a huge one: %v", err)
	}
	w.Remote = "192.0.2.1"
	w.OK("role/ci", m{"role_type": "jwt", "token_bound_cidrs": "10.0.0.0/8"})
	if _, err := w.Write("login", m{"role": "ci", "jwt": good}); !fault.Is(err, fault.Denied) {
		t.Errorf("from elsewhere: %v", err)
	}
}

func TestConfig(t *testing.T) {
	w, p := newWorld(t), newProvider(t)
	public := publicPEM(t, firstKey().Public())
	for _, c := range []struct {
		body m
		word string
	}{
		{m{}, "exactly one"},
		{m{"jwks_url": p.srv.URL + "/keys", "jwt_validation_pubkeys": public}, "exactly one"},
		{m{"jwt_validation_pubkeys": "no key"}, "public key"},
		{m{"jwt_validation_pubkeys": publicPEM(t, rsaKey(1024).Public())}, "2048"},
		{m{"jwt_validation_pubkeys": public, "jwt_supported_algs": "HS256"}, "jwt_supported_algs"},
		{m{"jwt_validation_pubkeys": public, "jwt_supported_algs": "none"}, "jwt_supported_algs"},
		{m{"jwt_validation_pubkeys": public, "oidc_client_id": "x", "oidc_client_secret": "y"}, "oidc_discovery_url"},
		{m{"oidc_discovery_url": p.srv.URL, "oidc_client_id": "x"}, "oidc_client_secret"},
		{m{"oidc_discovery_url": p.srv.URL}, "error checking oidc discovery URL"}, // unknown authority
		{m{"oidc_discovery_url": strings.Replace(p.srv.URL, "127.0.0.1", "localhost", 1), "oidc_discovery_ca_pem": p.caPEM}, "error checking oidc discovery URL"},
		{m{"oidc_discovery_url": p.srv.URL + "/other", "oidc_discovery_ca_pem": p.caPEM}, "calls itself"},
		{m{"oidc_discovery_url": p.srv.URL, "oidc_discovery_ca_pem": "none"}, "CA PEM"},
		{m{"oidc_discovery_url": "ftp://x"}, "https"},
		{m{"oidc_discovery_url": "https://user:planted@x"}, "credentials"},
		{m{"jwks_url": p.srv.URL + "/nowhere", "jwks_ca_pem": p.caPEM}, "error checking jwks URL"},
		{m{"oidc_discovery_url": p.srv.URL, "oidc_discovery_ca_pem": p.caPEM, "oidc_response_types": "id_token"}, "response_types"},
		{m{"oidc_discovery_url": p.srv.URL, "oidc_discovery_ca_pem": p.caPEM, "oidc_response_mode": "fragment"}, "response_mode"},
		{m{"oidc_discovery_url": p.srv.URL, "oidc_discovery_ca_pem": p.caPEM, "provider_config": m{"provider": "gsuite"}}, "provider_config"},
	} {
		w.Invalid("config", c.body, c.word)
	}
	if resp, err := w.On(w.Engine, policy.Read, "config", nil); resp != nil || err != nil {
		t.Errorf("a refused configuration was kept: %v %v", resp, err)
	}
	if resp := w.OK("config", m{"oidc_discovery_url": p.srv.URL + "/.well-known/openid-configuration", "oidc_discovery_ca_pem": p.caPEM}); len(resp.Warnings) != 1 {
		t.Errorf("the whole address: %v", resp)
	}
	w.OK("config", m{
		"oidc_discovery_url": p.srv.URL, "oidc_discovery_ca_pem": p.caPEM, "oidc_client_id": client, "oidc_client_secret": secret,
		"default_role": "People", "bound_issuer": p.srv.URL,
	})
	shown := w.Read("config")
	if text, _ := json.Marshal(shown); strings.Contains(string(text), secret) || shown["oidc_client_id"] != client || shown["default_role"] != "people" || shown["status"] != "valid" {
		t.Errorf("shown: %s", text)
	}
	// A private key is refused by name: somebody has just given it away.
	w.Invalid("config", m{"jwt_validation_pubkeys": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"}, "private")
}

func TestRoles(t *testing.T) {
	w := newWorld(t)
	good := m{"role_type": "jwt", "user_claim": "sub", "bound_audiences": []string{"a", "b"}}
	for _, c := range []struct {
		change m
		word   string
	}{
		{m{"bound_audiences": nil}, "at least one bound constraint"},
		{m{"user_claim": ""}, "user claim"},
		{m{"role_type": "saml"}, "role_type"},
		{m{"role_type": nil}, "allowed_redirect_uris"},
		{m{"bound_claims_type": "regex"}, "bound_claims_type"},
		{m{"bound_claims": "x"}, "bound_claims"},
		{m{"bound_claims": m{"a": m{}}}, "bound_claims"},
		{m{"bound_claims": m{"a": []any{}}}, "bound_claims"},
		{m{"bound_claims": m{"a": 1}, "bound_claims_type": "glob"}, "glob"},
		{m{"claim_mappings": "a"}, "claim_mappings"},
		{m{"claim_mappings": m{"a": "role"}}, "reserved"},
		{m{"claim_mappings": m{"a": "x", "b": "x"}}, "multiple"},
		{m{"callback_mode": "device"}, "callback_mode"},
		{m{"allowed_redirect_uris": "not a url"}, "URL"},
		{m{"token_ttl": "2h", "token_max_ttl": "1h"}, "token_ttl"},
		{m{"oauth2_metadata": []string{"id_token"}}, "oauth2_metadata"},
	} {
		w.Invalid("role/r", methodtest.With(good, c.change), c.word)
	}
	w.OK("role/R", methodtest.With(good, m{"expiration_leeway": -1, "max_age": "1m", "bound_claims": m{"n": json.Number("9007199254740993")}}))
	w.OK("role/cli", methodtest.With(good, m{"claim_mappings": "a=x,/b/c=y", "bound_claims": `{"n":[1,"2"]}`})) // as a command line sends it
	if got := w.Read("role/cli"); !cmp.Equal(got["claim_mappings"], any(m{"a": "x", "/b/c": "y"})) || !cmp.Equal(got["bound_claims"], any(m{"n": []any{1.0, "2"}})) {
		t.Errorf("as a command line sends it: %v %v", got["claim_mappings"], got["bound_claims"])
	}
	shown := w.Read("role/r")
	for name, want := range map[string]any{
		"role_type": "jwt", "expiration_leeway": -1.0, "not_before_leeway": 0.0, "bound_subject": "", "bound_claims_type": "string",
		"user_claim_json_pointer": false, "groups_claim": "", "callback_mode": "client", "max_age": 60.0, "token_type": "default", "token_ttl": 0.0,
		"claim_mappings": nil, "oidc_scopes": nil, "allowed_redirect_uris": nil, "bound_audiences": []any{"a", "b"}, "token_policies": []any{},
	} {
		if got, there := shown[name]; !there || !cmp.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	keys, err := w.On(w.Engine, policy.List, "role/", nil)
	w.Must(err)
	if text, _ := json.Marshal(keys.Data); string(text) != `{"keys":["cli","r"]}` {
		t.Errorf("list: %s", text)
	}
	_, err = w.On(w.Engine, policy.Delete, "role/r", nil)
	w.Must(err)
	if resp, err := w.On(w.Engine, policy.Read, "role/r", nil); resp != nil || err != nil {
		t.Errorf("a role that is gone: %v %v", resp, err)
	}
}

// TestProviderWithoutKeysYet: it is taken, and logins begin with its first key.
func TestProviderWithoutKeysYet(t *testing.T) {
	w, p := newWorld(t), newProvider(t)
	keys := p.keys
	p.keys = nil
	if resp := w.OK("config", m{"oidc_discovery_url": p.srv.URL, "oidc_discovery_ca_pem": p.caPEM}); resp != nil {
		t.Errorf("configured with %v", resp)
	}
	w.OK("role/ci", m{"role_type": "jwt", "user_claim": "sub", "bound_subject": "alice"})
	if status := w.Read("config")["status"]; status != "invalid" {
		t.Errorf("the status is %v", status)
	}
	login := func() error {
		claims := m{"iss": p.srv.URL, "sub": "alice", "iat": time.Now().Add(w.Later).Unix()}
		_, err := w.Write("login", m{"role": "ci", "jwt": signed(t, jose.RS256, keys[0], claims)})
		return err
	}
	if err := login(); err == nil {
		t.Error("logged in by a key the provider does not have")
	}
	p.mu.Lock()
	p.keys = keys
	p.mu.Unlock()
	w.Later = time.Minute
	w.Must(login())
}

// TestKeysAreFetchedSparingly: a new key is found soon, and made-up key ids make
// the server ask no more often.
func TestKeysAreFetchedSparingly(t *testing.T) {
	w, p := newWorld(t), newProvider(t)
	w.OK("config", m{"jwks_url": p.srv.URL + "/keys", "jwks_ca_pem": p.caPEM})
	w.OK("role/ci", m{"role_type": "jwt", "user_claim": "sub", "bound_subject": "alice"})
	login := func(kid string, key any) error {
		now := time.Now().Add(w.Later)
		_, err := w.Write("login", m{"role": "ci", "jwt": signed(t, jose.RS256, jose.JSONWebKey{Key: key, KeyID: kid}, m{"sub": "alice", "iat": now.Unix()})})
		return err
	}
	if n := p.asked.Load(); n != 1 {
		t.Fatalf("writing the configuration asked %d times", n)
	}
	stranger := rsaKey(2048)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if err := login(rand.Text(), stranger); err == nil {
				t.Error("a stranger is in")
			}
		})
	}
	wg.Wait()
	w.Must(login("one", firstKey()))
	if n := p.asked.Load(); n != 1 {
		t.Errorf("made-up key ids asked %d times", n)
	}
	p.mu.Lock()
	second := rsaKey(2048)
	p.keys = []jose.JSONWebKey{
		{Key: second, KeyID: "two"},
		{Key: []byte("0123456789abcdef0123456789abcdef"), KeyID: "shared", Algorithm: "HS256"},
		{Key: stranger, KeyID: "crypt", Use: "enc"},
	}
	p.mu.Unlock()
	w.Later = 11 * time.Second
	w.Must(login("two", second))
	if err := login("one", firstKey()); err == nil {
		t.Error("a key the provider took back")
	}
	if err := login("crypt", stranger); err == nil {
		t.Error("a key that is for encryption")
	}
	if n := p.asked.Load(); n != 2 {
		t.Errorf("asked %d times", n)
	}
	p.down.Store(true)
	w.Later += 30 * time.Minute
	w.Must(login("two", second)) // the last known keys do for a while
	w.Later += time.Hour
	if err := login("two", second); !fault.Is(err, fault.Unavailable) {
		t.Errorf("long after the provider was last seen: %v", err)
	}
	p.down.Store(false)
	w.Later += 11 * time.Second
	w.Must(login("two", second))
}

// TestADiscoveredProviderIsTheIssuer, unless the configuration names another: the
// same keys may sign for many.
func TestADiscoveredProviderIsTheIssuer(t *testing.T) {
	w, p := newWorld(t), newProvider(t)
	w.OK("config", m{"oidc_discovery_url": p.srv.URL, "oidc_discovery_ca_pem": p.caPEM})
	w.OK("role/ci", m{"role_type": "jwt", "user_claim": "sub", "bound_subject": "alice"})
	token := func(issuer string) m {
		return m{"role": "ci", "jwt": p.sign(m{"iss": issuer, "sub": "alice", "iat": time.Now().Unix()})}
	}
	w.OK("login", token(p.srv.URL))
	w.Invalid("login", token("https://neighbour"), "issuer")
	w.OK("config", m{"oidc_discovery_url": p.srv.URL, "oidc_discovery_ca_pem": p.caPEM, "bound_issuer": "https://neighbour"})
	w.OK("login", token("https://neighbour"))
	w.Invalid("login", token(p.srv.URL), "issuer")
}

// TestProvidersThatMisbehave send too much, or send us away.
func TestProvidersThatMisbehave(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"endless": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"keys":["` + strings.Repeat("x", 3<<20) + `"]}`))
		},
		"redirect to another scheme": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+r.Host+"/", http.StatusFound)
		},
		"redirects for ever": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) },
		"no keys":            func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys":[]}`)) },
		"no json":            func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`<html>`)) },
		"too many keys": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"keys":[{}` + strings.Repeat(",{}", 200) + `]}`))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, p := newWorld(t), newProvider(t)
			srv := httptest.NewTLSServer(handler)
			t.Cleanup(srv.Close)
			w.Invalid("config", m{"jwks_url": srv.URL, "jwks_ca_pem": p.caPEM}, "error checking jwks URL")
		})
	}
}
