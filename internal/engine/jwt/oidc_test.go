// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package jwt_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/engine/methodtest"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/policy"
)

// people is a mount where people of a provider log in, with one role.
func people(t *testing.T, config, role m) (*world, *provider) {
	t.Helper()
	w, p := newWorld(t), newProvider(t)
	w.OK("config", methodtest.With(m{
		"oidc_discovery_url": p.srv.URL, "oidc_discovery_ca_pem": p.caPEM, "oidc_client_id": client, "oidc_client_secret": secret, "default_role": "staff",
	}, config))
	w.OK("role/staff", methodtest.With(m{
		"user_claim": "email", "allowed_redirect_uris": "http://localhost:8250/oidc/callback,https://keep.example/v1/auth/oidc/oidc/callback",
		"token_policies": "reader", "claim_mappings": m{"department": "department"},
	}, role))
	return w, p
}

// begin asks where the browser has to go.
func (w *world) begin(body m) m {
	w.T.Helper()
	data, ok := w.OK("oidc/auth_url", methodtest.With(m{"redirect_uri": "http://localhost:8250/oidc/callback", "client_nonce": "mine"}, body)).Data.(map[string]any)
	if !ok || data["auth_url"] == "" {
		w.T.Fatalf("auth_url: %v", data)
	}
	return data
}

// browse follows a URL as a browser does, to where the provider sends it back.
func (p *provider) browse(at string) url.Values {
	p.t.Helper()
	browser := p.srv.Client()
	var back *url.URL
	browser.CheckRedirect = func(req *http.Request, _ []*http.Request) error {
		back = req.URL
		return http.ErrUseLastResponse
	}
	resp, err := browser.Get(at)
	if err != nil {
		p.t.Fatal(err)
	}
	_ = resp.Body.Close()
	if back == nil {
		p.t.Fatalf("the provider did not send the browser back: %s", resp.Status)
	}
	return back.Query()
}

// come is the way back: GET with state and code.
func (w *world) come(e engine.Engine, q url.Values, more m) (*engine.Response, error) {
	w.T.Helper()
	return w.On(e, policy.Read, "oidc/callback", methodtest.With(m{"state": q.Get("state"), "code": q.Get("code"), "client_nonce": "mine"}, more))
}

// TestBrowserLogin is the login as the command line does it: a listener of its own,
// a browser that follows redirects, and the answer on another server.
func TestBrowserLogin(t *testing.T) {
	w, p := people(t, nil, m{"oidc_scopes": "email", "groups_claim": "/realm/groups"})
	p.info = m{"sub": "alice", "department": "payments", "realm": m{"groups": []string{"a", "b"}}, "iss": "https://elsewhere"}
	var got *engine.Response
	var failure error
	listener := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got, failure = w.come(w.Second(), r.URL.Query(), nil)
	}))
	t.Cleanup(listener.Close)
	w.OK("role/staff", m{"allowed_redirect_uris": "http://127.0.0.1/oidc/callback"})
	resp, err := p.srv.Client().Get(w.begin(m{"redirect_uri": listener.URL + "/oidc/callback", "role": "staff"})["auth_url"].(string))
	w.Must(err)
	_ = resp.Body.Close()
	w.Must(failure)
	if diff := cmp.Diff(map[string]string{"role": "staff", "department": "payments"}, got.Auth.Meta); diff != "" {
		t.Error(diff)
	}
	if strings.Join(got.Auth.Policies, " ") != "default reader" {
		t.Errorf("policies: %v", got.Auth.Policies)
	}
	if name, groups := w.Who(); name != "alice@example.org" || strings.Join(groups, " ") != "a b" || got.Auth.EntityID == "" {
		t.Errorf("the person: %s of %v, entity %q", name, groups, got.Auth.EntityID)
	}
}

func TestStatesAreUsedOnce(t *testing.T) {
	w, p := people(t, nil, nil)
	q := p.browse(w.begin(nil)["auth_url"].(string))
	for name, more := range map[string]m{"no state": {"state": ""}, "a made-up state": {"state": "st_x"}} {
		if _, err := w.come(w.Engine, q, more); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "Expired or missing OAuth state") {
			t.Errorf("%s: %v", name, err)
		}
	}
	var in atomic.Int64
	var wg sync.WaitGroup
	for _, e := range []engine.Engine{w.Engine, w.Second(), w.Second(), w.Engine} {
		wg.Go(func() {
			if resp, err := w.come(e, q, nil); err == nil && resp.Auth != nil {
				in.Add(1)
			}
		})
	}
	wg.Wait()
	if in.Load() != 1 {
		t.Errorf("one state let %d in", in.Load())
	}
	q = p.browse(w.begin(nil)["auth_url"].(string))
	if _, err := w.come(w.Engine, q, m{"client_nonce": "theirs"}); !fault.Is(err, fault.Invalid) {
		t.Errorf("with another's nonce: %v", err)
	}
	if _, err := w.come(w.Engine, q, nil); err == nil {
		t.Error("a state that was tried with another's nonce")
	}
	q = p.browse(w.begin(nil)["auth_url"].(string))
	w.Later = 5*time.Minute + time.Second
	if _, err := w.come(w.Engine, q, nil); err == nil || !strings.Contains(err.Error(), "Expired or missing") {
		t.Errorf("a state after its time: %v", err)
	}
}

// TestRedirects: the browser, and with it the code, goes only where the role says.
func TestRedirects(t *testing.T) {
	w, _ := people(t, nil, nil)
	for uri, good := range map[string]bool{
		"http://localhost:8250/oidc/callback":                        true,
		"http://localhost:40000/oidc/callback":                       true, // a program's port is its own
		"https://keep.example/v1/auth/oidc/oidc/callback":            true,
		"https://keep.example:444/v1/auth/oidc/oidc/callback":        false,
		"https://keep.example/v1/auth/oidc/oidc/callback/../x":       false,
		"https://keep.example/v1/auth/oidc/oidc/callback?x=y":        false,
		"http://keep.example/v1/auth/oidc/oidc/callback":             false,
		"https://evil.example/v1/auth/oidc/oidc/callback":            false,
		"https://localhost:8250/oidc/callback":                       false,
		"http://127.0.0.1:8250/oidc/callback":                        false,
		"http://localhost:8250/oidc/other":                           false,
		"http://localhost:8250@evil.example/oidc/callback":           false,
		"http://evil.example:80@localhost/oidc/callback":             false,
		"http://localhost:8250/oidc/callback#@evil.example":          false,
		"javascript:alert(1)//localhost:8250/oidc/callback":          false,
		"http://localhost.evil.example:8250/oidc/callback":           false,
		"http://localhost:8250/oidc/callback?redirect=evil.example/": false,
	} {
		resp, err := w.Write("oidc/auth_url", m{"role": "staff", "redirect_uri": uri})
		if err != nil {
			t.Errorf("%s: %v", uri, err)
			continue
		}
		if at := resp.Data.(map[string]any)["auth_url"].(string); (at != "") != good {
			t.Errorf("%s: %q", uri, at)
		}
	}
	w.Invalid("oidc/auth_url", m{"role": "none", "redirect_uri": "x"}, "could not be found")
	w.Invalid("oidc/auth_url", m{"role": "staff"}, "redirect_uri")
	w.Invalid("login", m{"role": "staff", "jwt": "x"}, "oidc role_type")
}

// TestWrongIDTokens: what a provider, or somebody in between, may get wrong.
func TestWrongIDTokens(t *testing.T) {
	w, p := people(t, nil, m{"max_age": "1m", "bound_claims": m{"team": "a"}})
	good := func(c m) { c["auth_time"], c["team"] = time.Now().Unix(), "a" }
	for name, spoil := range map[string]func(m){
		"":                      func(m) {},
		"another issuer":        func(c m) { c["iss"] = "https://other" },
		"for somebody else":     func(c m) { c["aud"] = "others" },
		"handed on by others":   func(c m) { c["azp"] = "others" },
		"several, none named":   func(c m) { c["aud"] = []string{client, "others"} },
		"another's nonce":       func(c m) { c["nonce"] = "n_x" },
		"no nonce":              func(c m) { delete(c, "nonce") },
		"expired":               func(c m) { c["exp"] = time.Now().Add(-time.Hour).Unix() },
		"no end":                func(c m) { delete(c, "exp") },
		"no subject":            func(c m) { delete(c, "sub") },
		"logged in long ago":    func(c m) { c["auth_time"] = time.Now().Add(-time.Hour).Unix() },
		"logged in who knows":   func(c m) { delete(c, "auth_time") },
		"of another team":       func(c m) { c["team"] = "b" },
		"without what is bound": func(c m) { delete(c, "team") },
		"without a name":        func(c m) { delete(c, "email") },
	} {
		p.spoil = func(c m) { good(c); spoil(c) }
		resp, err := w.come(w.Engine, p.browse(w.begin(nil)["auth_url"].(string)), nil)
		if name == "" && (err != nil || resp.Auth == nil) || name != "" && !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v %v", name, resp, err)
		}
	}
	w.OK("role/staff", m{"bound_audiences": "others"})
	p.spoil = good
	if _, err := w.come(w.Engine, p.browse(w.begin(nil)["auth_url"].(string)), nil); !fault.Is(err, fault.Invalid) {
		t.Errorf("not for the audience of the role: %v", err)
	}
	w.OK("role/staff", m{"bound_audiences": "others," + client})
	// Userinfo of somebody else is not looked at.
	p.spoil = func(c m) { good(c); delete(c, "email") }
	p.info = m{"sub": "bob", "email": "bob@example.org"}
	if _, err := w.come(w.Engine, p.browse(w.begin(nil)["auth_url"].(string)), nil); err == nil {
		t.Error("userinfo of another subject was taken")
	}
	p.info = m{"sub": "alice", "email": "alice@example.org"}
	if _, err := w.come(w.Engine, p.browse(w.begin(nil)["auth_url"].(string)), nil); err != nil {
		t.Errorf("a name from userinfo: %v", err)
	}
}

// TestCodesBelongToTheirFlow: a code stolen from another's browser opens nothing.
func TestCodesBelongToTheirFlow(t *testing.T) {
	w, p := people(t, nil, nil)
	victim := p.browse(w.begin(nil)["auth_url"].(string))
	mine := p.browse(w.begin(nil)["auth_url"].(string))
	_, err := w.come(w.Engine, mine, m{"code": victim.Get("code")})
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "invalid_grant") || strings.Contains(err.Error(), "planted") {
		t.Errorf("another's code: %v", err)
	}
	q := p.browse(w.begin(nil)["auth_url"].(string))
	if _, err := w.come(w.Engine, q, m{"error": "access_denied", "code": ""}); err == nil || !strings.HasSuffix(err.Error(), "Vault login failed. access_denied") {
		t.Errorf("refused by the provider: %v", err)
	}
	q = p.browse(w.begin(nil)["auth_url"].(string))
	if _, err := w.come(w.Engine, q, m{"error": "<script>planted", "code": ""}); err == nil || strings.Contains(err.Error(), "planted") {
		t.Errorf("a strange error: %v", err)
	}
	p.down.Store(true)
	if _, err := w.come(w.Engine, mine, nil); err == nil {
		t.Error("a used state")
	}
}

// TestDirect is the login whose browser comes back to the server itself.
func TestDirect(t *testing.T) {
	w, p := people(t, nil, m{"callback_mode": "direct"})
	w.Invalid("oidc/auth_url", m{"redirect_uri": "http://localhost:8250/oidc/callback"}, "missing client_nonce")
	began := w.begin(nil)
	state := began["state"].(string)
	if began["poll_interval"] != "5" {
		t.Errorf("poll_interval: %v", began["poll_interval"])
	}
	poll := m{"state": state, "client_nonce": "mine"}
	w.Invalid("oidc/poll", poll, "authorization_pending")
	q := p.browse(began["auth_url"].(string))
	asked, err := w.come(w.Engine, q, nil)
	w.Must(err)
	if page := string(asked.Raw); !strings.Contains(page, "127.0.0.1") || !strings.Contains(page, "staff") || asked.Auth != nil {
		t.Errorf("the person was not asked: %s", page)
	}
	w.Invalid("oidc/poll", poll, "authorization_pending")
	for _, wrong := range []m{{"confirmation": "yes"}, {"confirmation": secretOf(t, asked), "code": "other"}} {
		if _, err := w.come(w.Engine, q, wrong); !fault.Is(err, fault.Invalid) {
			t.Errorf("confirmed with %v: %v", wrong, err)
		}
	}
	done, err := w.come(w.Second(), q, m{"confirmation": secretOf(t, asked)})
	w.Must(err)
	if done.Auth != nil || !strings.Contains(string(done.Raw), "Signed in") {
		t.Errorf("after the login: %s %v", done.Raw, done.Auth)
	}
	if _, err := w.come(w.Engine, q, m{"confirmation": secretOf(t, asked)}); err == nil {
		t.Error("the state was used again")
	}
	w.Invalid("oidc/poll", methodtest.With(poll, m{"client_nonce": "theirs"}), "client_nonce")
	if got := w.OK("oidc/poll", poll).Auth; got == nil || got.Meta["role"] != "staff" {
		t.Errorf("poll: %+v", got)
	}
	w.Invalid("oidc/poll", poll, "Expired or missing")

	began = w.begin(nil)
	page, err := w.come(w.Engine, p.browse(began["auth_url"].(string)), m{"error": "access_denied", "code": ""})
	w.Must(err)
	if page.Status != http.StatusBadRequest {
		t.Errorf("a failed login: %d", page.Status)
	}
	w.Invalid("oidc/poll", m{"state": began["state"], "client_nonce": "mine"}, "access_denied")
	// A state of the other mode cannot be polled.
	w.OK("role/staff", m{})
	at, err := url.Parse(w.begin(nil)["auth_url"].(string))
	w.Must(err)
	w.Invalid("oidc/poll", m{"state": at.Query().Get("state"), "client_nonce": "mine"}, "Expired or missing")
}

// secretOf is what the button of a page that asks for confirmation sends.
func secretOf(t *testing.T, page *engine.Response) string {
	t.Helper()
	_, rest, found := strings.Cut(string(page.Raw), `name="confirmation" value="`)
	secret, _, _ := strings.Cut(rest, `"`)
	if !found || len(secret) < 20 {
		t.Fatalf("no secret in %s", page.Raw)
	}
	return secret
}

// TestOnlyThePersonConfirms: who began a login knows its state, not what the page
// holds that the person's browser was shown.
func TestOnlyThePersonConfirms(t *testing.T) {
	w, p := people(t, m{"oidc_response_mode": "form_post"}, m{"callback_mode": "direct"})
	began := w.begin(nil)
	q := p.browse(began["auth_url"].(string))
	planted := url.Values{"state": q["state"], "code": {"made-up"}}
	early, err := w.come(w.Engine, planted, nil)
	w.Must(err)
	page := w.OK("oidc/callback", m{"state": q.Get("state"), "code": q.Get("code")})
	for name, more := range map[string]m{
		"any word":               {"code": "no_code", "confirmation": "yes"},
		"a page without a code":  {"code": "no_code"},
		"the secret of its page": {"code": "no_code", "confirmation": secretOf(t, early)},
	} {
		if _, err := w.come(w.Engine, planted, more); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.Invalid("oidc/poll", m{"state": began["state"], "client_nonce": "mine"}, "authorization_pending")
	done, err := w.come(w.Engine, q, m{"code": "no_code", "confirmation": secretOf(t, page)})
	w.Must(err)
	if !strings.Contains(string(done.Raw), "Signed in") {
		t.Errorf("the person: %s", done.Raw)
	}
}

// TestDiscoveryStaysWithTLS, in whatever case the scheme is written.
func TestDiscoveryStaysWithTLS(t *testing.T) {
	w, p := newWorld(t), newProvider(t)
	shouted := strings.Replace(p.srv.URL, "https:", "HTTPS:", 1)
	p.said = m{"issuer": shouted, "jwks_uri": strings.Replace(p.srv.URL, "https:", "http:", 1) + "/keys"}
	w.Invalid("config", m{"oidc_discovery_url": shouted, "oidc_discovery_ca_pem": p.caPEM}, "without TLS")
	p.said["jwks_uri"] = shouted + "/keys"
	w.OK("config", m{"oidc_discovery_url": shouted, "oidc_discovery_ca_pem": p.caPEM})
}

// TestLoginsDoNotNameTheProvidersMachine: its address may be one inside.
func TestLoginsDoNotNameTheProvidersMachine(t *testing.T) {
	w, p := people(t, nil, nil)
	p.down.Store(true)
	w.Later = 2 * time.Hour
	_, err := w.Write("oidc/auth_url", m{"redirect_uri": "http://localhost:8250/oidc/callback"})
	if !fault.Is(err, fault.Unavailable) || strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("a login while the provider is down: %v", err)
	}
}

func TestFormPost(t *testing.T) {
	w, p := people(t, m{"oidc_response_mode": "form_post"}, nil)
	at := w.begin(nil)["auth_url"].(string)
	if !strings.Contains(at, "response_mode=form_post") {
		t.Errorf("auth_url: %s", at)
	}
	q := p.browse(at)
	page := w.OK("oidc/callback", m{"state": q.Get("state"), "code": q.Get("code")})
	if page.Status != http.StatusOK || page.Auth != nil {
		t.Errorf("form_post: %d %v", page.Status, page.Auth)
	}
	if again := w.OK("oidc/callback", m{"state": q.Get("state"), "code": "other"}); again.Status != http.StatusBadRequest {
		t.Errorf("a second code for one state: %d", again.Status)
	}
	if resp, err := w.come(w.Engine, q, m{"code": "no_code"}); err != nil || resp.Auth == nil {
		t.Errorf("then: %v %v", resp, err)
	}
	w, _ = people(t, nil, nil)
	if _, err := w.Write("oidc/callback", m{"state": "x", "code": "y"}); !fault.Is(err, fault.Unsupported) {
		t.Errorf("form_post where it is not configured: %v", err)
	}
}
