// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
)

// apart is a world with a namespace "team" full of things, another one beside it, one
// below it, and a token of each that may do everything there.
type apart struct {
	*world
	team, other, blue              string // tokens
	accessor, mount, entity, group string // of team
	lease, wrapped, batch          string
}

func newApart(t *testing.T) *apart {
	w := newWorld(t)
	w.namespaces("team", "other", "team/blue")
	a := &apart{world: w}
	a.team = w.tokenIn("team", w.root, `{"policies":["all"]}`)
	a.other = w.tokenIn("other", w.root, `{"policies":["all"]}`)
	a.blue = w.tokenIn("team/blue", w.root, `{"policies":["all"]}`)
	a.accessor = w.text(w.ok("GET", "auth/token/lookup-self", a.team, "", in("team")...), "data", "accessor")
	for _, ns := range []string{"team", "other"} {
		w.ok("POST", "sys/auth/userpass", w.root, `{"type":"userpass"}`, in(ns)...)
		w.ok("POST", "sys/mounts/creds", w.root, `{"type":"issuer"}`, in(ns)...)
	}
	w.ok("POST", "auth/userpass/users/ann", w.root, `{"password":"x","policies":["all"]}`, in("team")...)
	a.entity = w.text(w.ok("POST", "auth/userpass/login/ann", "", `{"password":"x"}`, in("team")...), "auth", "entity_id")
	a.mount = w.text(w.ok("GET", "sys/auth/userpass", w.root, "", in("team")...), "data", "accessor")
	a.group = w.text(w.ok("POST", "identity/group", w.root, `{"name":"g","policies":["all"]}`, in("team")...), "data", "id")
	a.lease = w.text(w.ok("GET", "creds/x", w.root, "", in("team")...), "lease_id")
	a.wrapped = w.text(w.ok("GET", "secret/data/a", a.team, "", append(in("team"), "X-Vault-Wrap-TTL", "60")...), "wrap_info", "token")
	// One that hangs on no other token: nothing but its seal keeps it in its namespace.
	w.ok("POST", "auth/userpass/users/bob", w.root, `{"password":"x","policies":["all"],"token_type":"batch"}`, in("team")...)
	a.batch = w.text(w.ok("POST", "auth/userpass/login/bob", "", `{"password":"x"}`, in("team")...), "auth", "client_token")
	return a
}

// TestNothingCrosses takes what belongs to one namespace to others, and to the root.
func TestNothingCrosses(t *testing.T) {
	a := newApart(t)
	id := a.team[strings.LastIndexByte(a.team, '.'):]
	otherID := a.other[strings.LastIndexByte(a.other, '.'):]
	type row struct {
		does, token, ns string
		status          int
	}
	var rows []row
	for _, token := range []string{
		a.team, a.batch, strings.TrimSuffix(a.team, id), strings.TrimSuffix(a.batch, id),
		strings.TrimSuffix(a.team, id) + otherID, strings.TrimSuffix(a.batch, id) + otherID, a.team + otherID,
	} {
		for _, ns := range []string{"", "other"} {
			for _, does := range []string{
				"GET auth/token/lookup-self", "PUT auth/token/renew-self {}", "GET secret/data/a", "GET sys/mounts", "PUT cubbyhole/x {\"a\":1}",
				`PUT sys/capabilities-self {"paths":["secret/data/a"]}`, "GET sys/internal/ui/resultant-acl", "PUT auth/token/create {}", "LIST sys/namespaces",
				"PUT sys/namespaces/new {}", "GET nowhere/at/all",
			} {
				rows = append(rows, row{does, token, ns, 403})
			}
		}
	}
	for _, at := range []struct{ ns, token string }{{"other", a.other}, {"", a.root}, {"team/blue", a.blue}} {
		for does, status := range map[string]int{
			`PUT auth/token/lookup {"token":"` + a.team + `"}`:                              403,
			`PUT auth/token/lookup {"token":"` + a.batch + `"}`:                             403,
			`PUT auth/token/lookup-accessor {"accessor":"` + a.accessor + `"}`:              403,
			`PUT auth/token/renew {"token":"` + a.team + `"}`:                               400,
			`PUT auth/token/renew-accessor {"accessor":"` + a.accessor + `"}`:               403,
			`PUT auth/token/revoke {"token":"` + a.team + `"}`:                              204,
			`PUT auth/token/revoke-orphan {"token":"` + a.team + `"}`:                       400,
			`PUT auth/token/revoke-accessor {"accessor":"` + a.accessor + `"}`:              200,
			`PUT sys/capabilities {"token":"` + a.team + `","paths":["x"]}`:                 400,
			`PUT sys/capabilities-accessor {"accessor":"` + a.accessor + `","paths":["x"]}`: 400,
			`PUT sys/leases/lookup {"lease_id":"` + a.lease + `"}`:                          400,
			`PUT sys/leases/renew {"lease_id":"` + a.lease + `"}`:                           400,
			`PUT sys/leases/revoke {"lease_id":"` + a.lease + `"}`:                          204,
			`PUT sys/leases/revoke-prefix/creds {}`:                                         204,
			`PUT sys/leases/revoke-force/creds {}`:                                          204,
			`PUT sys/wrapping/unwrap {"token":"` + a.wrapped + `"}`:                         400,
			`PUT sys/wrapping/lookup {"token":"` + a.wrapped + `"}`:                         400,
			`PUT sys/wrapping/rewrap {"token":"` + a.wrapped + `"}`:                         400,
			`GET identity/entity/id/` + a.entity:                                            404,
			`GET identity/group/id/` + a.group:                                              404,
			`PUT identity/entity-alias {"name":"e","mount_accessor":"` + a.mount + `"}`:     400,
			`PUT identity/lookup/entity {"id":"` + a.entity + `"}`:                          204,
			`PUT sys/locked-users/` + a.mount + `/unlock/ann {}`:                            0,
			`GET auth/userpass/users/ann`:                                                   404,
		} {
			below := at.ns == "team/blue" // where a token of team is one from above
			if below && (strings.Contains(does, "sys/wrapping") || strings.Contains(does, "sys/capabilities ")) {
				continue
			}
			rows = append(rows, row{does, at.token, at.ns, status})
		}
	}
	for _, r := range rows {
		method, rest, _ := strings.Cut(r.does, " ")
		path, body, _ := strings.Cut(rest, " ")
		status, answer := a.do(method, path, r.token, body, in(r.ns)...)
		if r.status == 0 && status >= 400 { // any refusal
			continue
		}
		if r.status != status && !(r.status == 403 && status == 400 || r.status == 204 && (status == 404 || status == 403)) {
			t.Errorf("%s in %q: %d %s, want %d", r.does, r.ns, status, answer, r.status)
		}
	}
	a.ok("PUT", "sys/policies/acl/all", a.other, `{"policy":"path \"secret/*\" { capabilities = [\"deny\"] }"}`, in("other")...)
	// All of it is still there, and as it was.
	a.ok("GET", "secret/data/a", a.team, "", in("team")...)
	a.ok("GET", "secret/data/a", a.batch, "", in("team")...)
	a.ok("PUT", "sys/leases/lookup", a.root, `{"lease_id":"`+a.lease+`"}`, in("team")...)
	a.ok("GET", "identity/entity/id/"+a.entity, a.root, "", in("team")...)
	a.ok("PUT", "sys/wrapping/unwrap", "", `{"token":"`+a.wrapped+`"}`, in("team")...)
	if a.held() != 1 {
		t.Errorf("the target holds %d credentials, want 1", a.held())
	}
}

// TestPathsDoNotLeadOut tries to write paths and headers that mean two namespaces.
func TestPathsDoNotLeadOut(t *testing.T) {
	a := newApart(t)
	for _, c := range []struct{ path, ns string }{
		{"secret/data/a", "team/../other"},
		{"secret/data/a", "other/../team"},
		{"secret/data/a", "team//blue"},
		{"../other/secret/data/a", "team"},
		{"%2e%2e/other/secret/data/a", "team"},
		{"secret/../../other/secret/data/a", "team"},
		{"other/secret/data/a", "team"},
		{"team/secret/data/a", "team"},
		{"/secret/data/a", "team"},
		{"blue//secret/data/a", "team"},
		{"other/secret/data/a", ""},
		{"blue/secret/data/a", "team"},
		{"secret/data/a", "team/secret"},
		{"secret/data/a", "team/sys"},
		{"secret/data/a", "root/other"},
		{"secret/data/a", "../other"},
		{"secret/data/a", "TEAM"},
		{"secret/data/a", "tea"},
		{"secret/data/a", "team\\blue"},
		{"sys/namespaces/other", "team"},
		{"auth/token/../../../other/secret/data/a", "team"},
	} {
		status, answer := a.do("GET", c.path, a.team, "", in(c.ns)...)
		if status < 400 || status >= 500 || strings.Contains(string(answer), "where") {
			t.Errorf("%s in %q: %d %s", c.path, c.ns, status, answer)
		}
	}
	status, _ := a.do("GET", "secret/data/a", a.root, "", in(strings.Repeat("x/", 600))...)
	if status != 400 {
		t.Errorf("a long namespace: %d", status)
	}
	resp, err := a.twice()
	if err != nil || resp != 400 {
		t.Errorf("two headers: %d %v", resp, err)
	}
}

// twice sends a request with two namespaces.
func (a *apart) twice() (int, error) {
	req, err := newRequest(a.srv.URL + "/v1/secret/data/a")
	if err != nil {
		return 0, err
	}
	req.Header.Set("X-Vault-Token", a.root)
	req.Header["X-Vault-Namespace"] = []string{"team", "other"}
	resp, err := a.srv.Client().Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// TestTokensFromAbove work below by the policies they have above, and are nothing more
// than that there.
func TestTokensFromAbove(t *testing.T) {
	a := newApart(t)
	admin := a.token(`path "team/secret/data/a" { capabilities = ["read"] }
path "team/auth/token/create" { capabilities = ["update", "sudo"] }
path "team/sys/capabilities-self" { capabilities = ["update"] }`, "")
	// A policy of the same name below is none of theirs, nor is one above about the path below.
	a.ok("PUT", "sys/policies/acl/testing", a.root, `{"policy":"path \"*\" { capabilities = [\"read\"] }"}`, in("team")...)
	plain := a.tokenIn("", a.root, `{"policies":["wide"]}`)
	a.ok("PUT", "sys/policies/acl/wide", a.root, `{"policy":"path \"secret/*\" { capabilities = [\"read\"] }"}`)
	for _, c := range []struct {
		does, token string
		status      int
		says        string
	}{
		{"GET secret/data/a", admin, 200, `"where":"team"`},
		{"GET secret/metadata/a", admin, 403, ""},
		{"GET sys/mounts", admin, 403, ""},
		{"GET secret/data/a", plain, 403, ""},
		{`PUT sys/capabilities-self {"paths":["secret/data/a","sys/mounts"]}`, admin, 200, `"secret/data/a":["read"],"sys/mounts":["deny"]`},
		{"GET auth/token/lookup-self", admin, 200, `"testing"`},
		{`PUT auth/token/create {"policies":["root"]}`, a.root, 400, "root tokens may not be created"},
		{`PUT auth/token/create-orphan {"policies":["root"]}`, a.team, 400, ""},
		{`PUT auth/token/create {"policies":["node"]}`, a.root, 200, ""},
		{`PUT sys/policies/acl/root {"policy":"path \"*\" { capabilities = [\"sudo\"] }"}`, a.root, 400, ""},
		{"GET identity/oidc/config", a.root, 400, "only available in root namespace"},
	} {
		method, rest, _ := strings.Cut(c.does, " ")
		path, body, _ := strings.Cut(rest, " ")
		status, answer := a.do(method, path, c.token, body, in("team")...)
		if status != c.status || !strings.Contains(string(answer), c.says) {
			t.Errorf("%s: %d %s, want %d with %q", c.does, status, answer, c.status, c.says)
		}
	}
	// What it makes below ends with it, and so do its children.
	made := a.tokenIn("team", admin, `{"policies":["all"]}`)
	child := a.tokenIn("team", made, `{"policies":["all"]}`)
	a.ok("GET", "secret/data/a", child, "", in("team")...)
	a.ok("PUT", "auth/token/revoke-self", admin, "{}")
	for _, token := range []string{made, child} {
		if status, _ := a.do("GET", "secret/data/a", token, "", in("team")...); status != 403 {
			t.Errorf("made by a token that has ended: %d", status)
		}
	}
	// Its drawer is its own, wherever it asks.
	a.ok("PUT", "cubbyhole/d", a.root, `{"v":"mine"}`, in("team")...)
	if got := a.text(a.ok("GET", "cubbyhole/d", a.root, ""), "data", "v"); got != "mine" {
		t.Error("the drawer of a token from above is another one below")
	}
}

// TestRootIsNoPolicyBelow: no way of naming it makes somebody root in a namespace.
func TestRootIsNoPolicyBelow(t *testing.T) {
	a := newApart(t)
	a.ok("POST", "auth/userpass/users/eve", a.root, `{"password":"x","policies":["default"]}`, in("team")...)
	eve := a.ok("POST", "auth/userpass/login/eve", "", `{"password":"x"}`, in("team")...)
	who := a.text(eve, "auth", "entity_id")
	a.do("POST", "identity/entity/id/"+who, a.root, `{"policies":["root"]}`, in("team")...)
	a.do("POST", "identity/group", a.root, `{"name":"roots","policies":["root"],"member_entity_ids":["`+who+`"]}`, in("team")...)
	token := a.text(eve, "auth", "client_token")
	if status, answer := a.do("GET", "sys/mounts", token, "", in("team")...); status != 403 {
		t.Errorf("root by an entity or a group: %d %s", status, answer)
	}
	a.ok("POST", "auth/userpass/users/mal", a.root, `{"password":"x","policies":["root"]}`, in("team")...)
	if status, answer := a.do("POST", "auth/userpass/login/mal", "", `{"password":"x"}`, in("team")...); status < 400 {
		t.Errorf("root by a login: %s", answer)
	}
}

// TestQuotaOfNamespace limits one namespace and not the others.
func TestQuotaOfNamespace(t *testing.T) {
	a := newApart(t)
	a.ok("POST", "sys/quotas/rate-limit/slow", a.root, `{"rate":2,"interval":"1h","path":"team/"}`)
	limited := map[string]bool{}
	for range 4 {
		for _, ns := range []string{"", "other", "team", "team/blue"} {
			if status, _ := a.do("LIST", "sys/namespaces", a.root, "", in(ns)...); status == 429 {
				limited[ns] = true
			}
		}
	}
	if fmt.Sprint(limited) != "map[team:true]" {
		t.Errorf("limited: %v", limited)
	}
	a.ok("POST", "sys/quotas/rate-limit/slow", a.root, `{"rate":2,"interval":"1h","path":"team","inheritable":true}`)
	for range 4 {
		if status, _ := a.do("LIST", "sys/namespaces", a.root, "", in("team/blue")...); status == 429 {
			return
		}
	}
	t.Error("an inherited quota does not limit below")
}

// TestPatronBinds: what binds a token binds those it makes in a namespace below.
func TestPatronBinds(t *testing.T) {
	a := newApart(t)
	a.ok("PUT", "sys/policies/acl/above", a.root, `{"policy":"path \"team/*\" { capabilities = [\"create\",\"read\",\"update\",\"sudo\"] }"}`)
	a.ok("POST", "auth/token/roles/near", a.root, `{"allowed_policies":"above","token_bound_cidrs":"127.0.0.0/8"}`)
	by := a.text(a.ok("POST", "auth/token/create/near", a.root, `{}`), "auth", "client_token")
	made := a.tokenIn("team", by, `{"policies":["all"]}`)
	if answer := a.ok("GET", "auth/token/lookup-self", made, "", in("team")...); !strings.Contains(string(answer), `"bound_cidrs":["127.0.0.0/8"]`) {
		t.Errorf("made by a token of some addresses, good from all: %s", answer)
	}
	few := a.text(a.ok("POST", "auth/token/create", a.root, `{"policies":["above"],"num_uses":3}`), "auth", "client_token")
	if status, answer := a.do("POST", "auth/token/create", few, `{"policies":["all"]}`, in("team")...); status != 400 {
		t.Errorf("a token of three uses makes one that can be used for ever: %d %s", status, answer)
	}
}

// TestQuotaOfNowhere counts requests too that are refused before an engine is found:
// each leaves a record in the audit log, whoever sends it.
func TestQuotaOfNowhere(t *testing.T) {
	for does, asks := range map[string]struct{ path, in string }{
		"a namespace there is not": {"secret/data/a", "nowhere"}, "two namespaces": {"secret/data/a", "team/../other"},
		"a path of the root alone": {"sys/audit", "team"}, "a path that leads out": {"secret/data/..", ""},
	} {
		a := newApart(t)
		a.ok("POST", "sys/quotas/rate-limit/all", a.root, `{"rate":2,"interval":"1h"}`)
		status := 0
		for range 4 {
			status, _ = a.do("GET", asks.path, "", "", in(asks.in)...)
		}
		if status != 429 {
			t.Errorf("%s is asked for four times where two are allowed: %d", does, status)
		}
	}
}

// TestDeletedNamespace: when deleting has answered, nobody reaches it; what was handed
// out is taken back, and all is gone, also what is written meanwhile.
func TestDeletedNamespace(t *testing.T) {
	a := newApart(t)
	a.ok("DELETE", "sys/namespaces/blue", a.root, "", in("team")...)
	a.must(a.house.Tend(t.Context()))
	team, err := a.house.Root.Enter(t.Context(), "team")
	a.must(err)
	var busy sync.WaitGroup
	for n := range 4 {
		busy.Go(func() {
			for i := range 30 {
				status, answer := a.do("POST", fmt.Sprintf("secret/data/w%d-%d", n, i), a.root, `{"data":{"planted":"late"}}`, in("team")...)
				if status >= 500 {
					t.Errorf("while it is deleted: %d %s", status, answer)
				}
			}
		})
	}
	a.ok("DELETE", "sys/namespaces/team", a.root, "")
	for _, token := range []string{a.root, a.team, a.batch} {
		for _, path := range []string{"secret/data/a", "auth/token/lookup-self", "sys/mounts"} {
			if status, answer := a.do("GET", path, token, "", in("team")...); status != 404 {
				t.Errorf("%s of a deleted namespace: %d %s", path, status, answer)
			}
		}
	}
	busy.Wait()
	if status, answer := a.do("PUT", "sys/namespaces/team", a.root, "{}"); status != 400 || !strings.Contains(string(answer), "tainted") {
		t.Errorf("made again while it goes: %d %s", status, answer)
	}
	a.must(a.house.Tend(t.Context()))
	a.must(a.leases.Settle(t.Context()))
	if a.held() != 0 {
		t.Errorf("the target still holds %d credentials", a.held())
	}
	for part, space := range team.Spaces {
		a.empty(part, space)
	}
	if status, _ := a.do("GET", "sys/namespaces/team", a.root, ""); status != 404 {
		t.Errorf("it is still listed: %d", status)
	}
	a.namespaces("team")
	for _, token := range []string{a.team, a.batch, a.wrapped} {
		if status, answer := a.do("GET", "auth/token/lookup-self", token, "", in("team")...); status != 403 {
			t.Errorf("a token of the one before works in the new one: %d %s", status, answer)
		}
	}
}

// TestDeletionGoesOn cuts the clearing away short again and again, each time as a crash
// would, with a server that was started anew.
func TestDeletionGoesOn(t *testing.T) {
	a := newApart(t)
	a.ok("DELETE", "sys/namespaces/blue", a.root, "", in("team")...)
	a.must(a.house.Tend(t.Context()))
	for i := range 20 {
		a.ok("POST", fmt.Sprintf("secret/data/many/%d", i), a.root, `{"data":{"a":"b"}}`, in("team")...)
	}
	team, err := a.house.Root.Enter(t.Context(), "team")
	a.must(err)
	a.ok("DELETE", "sys/namespaces/team", a.root, "")
	for cut := time.Duration(1); ; cut *= 2 {
		ctx, cancel := contextFor(t, cut*50*time.Microsecond)
		err := a.house.Tend(ctx)
		cancel()
		a.restart()
		if status, _ := a.do("GET", "secret/data/a", a.root, "", in("team")...); status != 404 {
			t.Fatalf("reached while it goes: %d", status)
		}
		if status, _ := a.do("GET", "sys/namespaces/team", a.root, ""); status == 404 {
			break
		}
		if err == nil {
			t.Fatal("it says it is done, and it is not")
		}
	}
	for part := range team.Spaces {
		a.empty(part, a.b.Space().Sub("ns-"+part).Sub(team.UUID))
	}
}

// TestNamespacesNotReadableOnDisk plants names in a namespace.
func TestNamespacesNotReadableOnDisk(t *testing.T) {
	w := newWorld(t)
	w.ok("PUT", "sys/namespaces/ns1", w.root, `{"custom_metadata":{"planted-meta":"planted-text"}}`)
	w.ok("POST", "sys/mounts/secret", w.root, `{"type":"kv-v2"}`, in("ns1")...)
	w.ok("POST", "secret/data/planted-name", w.root, `{"data":{"planted-field":"planted-value"}}`, in("ns1")...)
	w.ok("PUT", "sys/policies/acl/planted-policy", w.root, `{"policy":"path \"planted-path\" { capabilities = [\"read\"] }"}`, in("ns1")...)
	tok := w.tokenIn("ns1", w.root, `{"policies":["planted-policy"],"meta":{"planted-key":"x"}}`)
	batch := w.tokenIn("ns1", w.root, `{"type":"batch","policies":["planted-policy"]}`)
	w.do("GET", "secret/data/planted-denied", tok, "", in("ns1")...)
	w.do("GET", "secret/data/planted-elsewhere", tok, "", in("planted-space")...)
	w.search([]string{
		"planted-meta", "planted-text", "planted-name", "planted-field", "planted-value", "planted-policy", "planted-path", "planted-key", "planted-denied",
		"planted-elsewhere", "planted-space", tok, batch,
	})
}

// empty reports what is left in a space.
func (a *apart) empty(part string, space barrier.Space) {
	a.t.Helper()
	a.must(space.View(a.t.Context(), func(r barrier.Reader) error {
		names, err := r.List(a.t.Context(), "")
		if err == nil && len(names) > 0 {
			a.t.Errorf("left in %s: %v", part, names)
		}
		return err
	}))
}

// restart is a server started anew on the same store.
func (a *apart) restart() {
	a.t.Helper()
	a.srv.Close()
	a.must(a.audit.Log.(io.Closer).Close())
	a.must(a.st.Close())
	a.start()
	a.unseal()
}

func newRequest(url string) (*http.Request, error) {
	return http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
}

func contextFor(t *testing.T, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}
