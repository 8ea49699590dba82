// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package clients_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/api/auth/approle"
	"github.com/hashicorp/vault/api/auth/userpass"
)

func vaultClient(t *testing.T, url string) *api.Client {
	t.Helper()
	config := api.DefaultConfig()
	config.Address = url
	config.MaxRetries = 0
	c := must(api.NewClient(config))(t)
	c.SetToken("root")
	return c
}

func vault(t *testing.T) *api.Client {
	t.Helper()
	return vaultClient(t, startDev(t))
}

// status is the HTTP status an error of the library carries.
func status(err error) int {
	var e *api.ResponseError
	if errors.As(err, &e) {
		return e.StatusCode
	}
	return 0
}

func TestVaultState(t *testing.T) {
	c := vault(t)
	health := must(c.Sys().Health())(t)
	equal(t, "initialized", health.Initialized, true)
	equal(t, "sealed", health.Sealed, false)
	equal(t, "init status", must(c.Sys().InitStatus())(t), true)
	seal := must(c.Sys().SealStatus())(t)
	equal(t, "sealed", seal.Sealed, false)
	if seal.Version == "" || seal.T < 1 || seal.N < 1 {
		t.Errorf("seal status: %+v", seal)
	}
	must(c.Sys().Leader())(t)
	must(c.Sys().HAStatus())(t)
	before := must(c.Sys().KeyStatus())(t)
	ok(t, c.Sys().Rotate())
	equal(t, "term", must(c.Sys().KeyStatus())(t).Term, before.Term+1)
}

func TestVaultLogical(t *testing.T) {
	c := vault(t)
	l := c.Logical()
	ok(t, c.Sys().Mount("kv", &api.MountInput{Type: "kv"}))
	if s, err := l.Read("kv/none"); s != nil || err != nil {
		t.Errorf("read of nothing: %v, %v", s, err)
	}
	if s, err := l.List("kv"); s != nil || err != nil {
		t.Errorf("list of nothing: %v, %v", s, err)
	}
	must(l.Write("kv/a", map[string]any{"n": json.Number("9007199254740993"), "s": "x"}))(t)
	must(l.Write("kv/dir/b", map[string]any{"s": "x"}))(t)
	got := must(l.Read("kv/a"))(t)
	equal(t, "n", got.Data["n"].(json.Number).String(), "9007199254740993")
	equal(t, "lease", got.LeaseDuration, 2764800)
	keys := must(l.List("kv/"))(t).Data["keys"].([]any)
	if !slices.Equal(keys, []any{"a", "dir/"}) {
		t.Errorf("keys: %v", keys)
	}
	if s, err := l.Delete("kv/a"); s != nil || err != nil {
		t.Errorf("delete: %v, %v", s, err)
	}
	_, err := l.Write("nowhere/x", map[string]any{"a": 1})
	equal(t, "write to no mount", status(err), 404)
	weak := c.Auth().Token()
	token := must(weak.Create(&api.TokenCreateRequest{Policies: []string{"default"}}))(t).Auth.ClientToken
	w := must(c.Clone())(t)
	w.SetToken(token)
	_, err = w.Logical().Read("kv/a")
	equal(t, "read without a right", status(err), 403)
	if err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("read without a right: %v", err)
	}
}

func TestVaultKVv1(t *testing.T) {
	c := vault(t)
	ok(t, c.Sys().Mount("kv", &api.MountInput{Type: "kv"}))
	kv := c.KVv1("kv")
	ok(t, kv.Put(t.Context(), "a/b", map[string]any{"x": "1"}))
	equal(t, "x", must(kv.Get(t.Context(), "a/b"))(t).Data["x"].(string), "1")
	ok(t, kv.Delete(t.Context(), "a/b"))
	if _, err := kv.Get(t.Context(), "a/b"); !errors.Is(err, api.ErrSecretNotFound) {
		t.Errorf("read of nothing: %v", err)
	}
}

func TestVaultKVv2(t *testing.T) {
	ctx := t.Context()
	kv := vault(t).KVv2("secret")
	if _, err := kv.Get(ctx, "none"); !errors.Is(err, api.ErrSecretNotFound) {
		t.Errorf("read of nothing: %v", err)
	}
	put := must(kv.Put(ctx, "a", map[string]any{"x": "1", "y": "2"}))(t)
	equal(t, "version", put.VersionMetadata.Version, 1)
	if time.Since(put.VersionMetadata.CreatedTime).Abs() > time.Minute {
		t.Errorf("created: %v", put.VersionMetadata.CreatedTime)
	}
	_, err := kv.Put(ctx, "a", map[string]any{"x": "2"}, api.WithCheckAndSet(0))
	equal(t, "wrong cas", status(err), 400)
	must(kv.Put(ctx, "a", map[string]any{"x": "2", "y": "2"}, api.WithCheckAndSet(1)))(t)
	must(kv.Patch(ctx, "a", map[string]any{"x": "3"}))(t)
	must(kv.Patch(ctx, "a", map[string]any{"y": nil}, api.WithMergeMethod("rw")))(t)
	must(kv.Patch(ctx, "a", map[string]any{"z": "4"}, api.WithMergeMethod("patch"), api.WithCheckAndSet(4)))(t)
	_, err = kv.Patch(ctx, "none", map[string]any{"z": "4"})
	if !errors.Is(err, api.ErrSecretNotFound) && status(err) != 404 {
		t.Errorf("patch of nothing: %v", err)
	}
	got := must(kv.Get(ctx, "a"))(t)
	equal(t, "version", got.VersionMetadata.Version, 5)
	equal(t, "x", got.Data["x"].(string), "3")
	equal(t, "z", got.Data["z"].(string), "4")
	equal(t, "x of the first", must(kv.GetVersion(ctx, "a", 1))(t).Data["x"].(string), "1")
	equal(t, "versions", len(must(kv.GetVersionsAsList(ctx, "a"))(t)), 5)
	equal(t, "version after a rollback", must(kv.Rollback(ctx, "a", 1))(t).VersionMetadata.Version, 6)

	ok(t, kv.Delete(ctx, "a"))
	gone := must(kv.Get(ctx, "a"))(t)
	if gone.Data != nil || gone.VersionMetadata.DeletionTime.IsZero() {
		t.Errorf("a deleted version: %+v %+v", gone.Data, gone.VersionMetadata)
	}
	ok(t, kv.Undelete(ctx, "a", []int{6}))
	ok(t, kv.DeleteVersions(ctx, "a", []int{1, 2}))
	ok(t, kv.Destroy(ctx, "a", []int{2}))
	equal(t, "destroyed", must(kv.GetVersion(ctx, "a", 2))(t).VersionMetadata.Destroyed, true)

	ok(t, kv.PutMetadata(ctx, "a", api.KVMetadataPutInput{MaxVersions: 7, CustomMetadata: map[string]any{"owner": "me"}, DeleteVersionAfter: time.Hour}))
	ok(t, kv.PatchMetadata(ctx, "a", api.KVMetadataPatchInput{CustomMetadata: map[string]any{"team": "x"}}))
	meta := must(kv.GetMetadata(ctx, "a"))(t)
	equal(t, "max versions", meta.MaxVersions, 7)
	equal(t, "delete after", meta.DeleteVersionAfter, time.Hour)
	equal(t, "owner", meta.CustomMetadata["owner"].(string), "me")
	equal(t, "team", meta.CustomMetadata["team"].(string), "x")
	equal(t, "current", meta.CurrentVersion, 6)
	ok(t, kv.DeleteMetadata(ctx, "a"))
	if _, err := kv.GetMetadata(ctx, "a"); !errors.Is(err, api.ErrSecretNotFound) {
		t.Errorf("metadata of nothing: %v", err)
	}
}

func TestVaultTokens(t *testing.T) {
	c := vault(t)
	tokens := c.Auth().Token()
	made := must(tokens.Create(&api.TokenCreateRequest{
		Policies: []string{"default"}, TTL: "1h", ExplicitMaxTTL: "2h", DisplayName: "me", NumUses: 9,
		Metadata: map[string]string{"a": "b"}, Renewable: new(bool),
	}))(t)
	equal(t, "renewable", made.Auth.Renewable, false)
	token, accessor := made.Auth.ClientToken, made.Auth.Accessor
	for name, look := range map[string]func() (*api.Secret, error){
		"lookup":   func() (*api.Secret, error) { return tokens.Lookup(token) },
		"accessor": func() (*api.Secret, error) { return tokens.LookupAccessor(accessor) },
	} {
		got := must(look())(t)
		equal(t, name+" policies", strings.Join(must(got.TokenPolicies())(t), ","), "default")
		equal(t, name+" accessor", must(got.TokenAccessor())(t), accessor)
		equal(t, name+" uses", must(got.TokenRemainingUses())(t), 9)
		equal(t, name+" metadata", must(got.TokenMetadata())(t)["a"], "b")
		ttl := must(got.TokenTTL())(t)
		if ttl < 59*time.Minute || ttl > time.Hour {
			t.Errorf("%s ttl: %v", name, ttl)
		}
	}
	ok(t, tokens.RevokeAccessor(accessor))
	_, err := tokens.Lookup(token)
	equal(t, "lookup of a revoked token", status(err), 403)

	orphan := must(tokens.CreateOrphan(&api.TokenCreateRequest{Policies: []string{"default"}}))(t)
	ok(t, tokens.RevokeOrphan(orphan.Auth.ClientToken))
	parent := must(tokens.Create(&api.TokenCreateRequest{Period: "1h"}))(t)
	must(tokens.Renew(parent.Auth.ClientToken, 60))(t)
	must(tokens.RenewTokenAsSelf(parent.Auth.ClientToken, 60))(t)
	ok(t, tokens.RevokeTree(parent.Auth.ClientToken))

	must(c.Logical().Write("auth/token/roles/r", map[string]any{"allowed_policies": "dev", "orphan": true, "period": "1h"}))(t)
	byRole := must(tokens.CreateWithRole(&api.TokenCreateRequest{Policies: []string{"dev"}}, "r"))(t)
	equal(t, "policies of a role's token", strings.Join(byRole.Auth.Policies, ","), "default,dev")
	self := must(c.Clone())(t)
	self.SetToken(byRole.Auth.ClientToken)
	must(self.Auth().Token().LookupSelf())(t)
	must(self.Auth().Token().RenewSelf(60))(t)
	ok(t, self.Auth().Token().RevokeSelf(""))
	_, err = self.Auth().Token().LookupSelf()
	equal(t, "lookup-self of a revoked token", status(err), 403)
}

// TestVaultLifetimeWatcher renews a token until its maximum, as agents do.
func TestVaultLifetimeWatcher(t *testing.T) {
	c := vault(t)
	secret := must(c.Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{"default"}, TTL: "2s", ExplicitMaxTTL: "5s"}))(t)
	w := must(c.Clone())(t)
	w.SetToken(secret.Auth.ClientToken)
	watcher := must(w.NewLifetimeWatcher(&api.LifetimeWatcherInput{Secret: secret}))(t)
	go watcher.Start()
	defer watcher.Stop()
	renewed := 0
	bound := time.After(time.Minute)
	for {
		select {
		case r := <-watcher.RenewCh():
			renewed++
			if r.Secret.Auth == nil || r.Secret.Auth.ClientToken != secret.Auth.ClientToken {
				t.Fatalf("a renewal answered %+v", r.Secret)
			}
		case err := <-watcher.DoneCh():
			if err != nil || renewed == 0 {
				t.Errorf("the watcher ended after %d renewals: %v", renewed, err)
			}
			return
		case <-bound:
			t.Fatal("the watcher never ended")
		}
	}
}

func TestVaultLogins(t *testing.T) {
	ctx := t.Context()
	c := vault(t)
	ok(t, c.Sys().EnableAuthWithOptions("approle", &api.EnableAuthOptions{Type: "approle"}))
	must(c.Logical().Write("auth/approle/role/app", map[string]any{"token_policies": "dev", "token_ttl": "1h"}))(t)
	id := must(c.Logical().Read("auth/approle/role/app/role-id"))(t).Data["role_id"].(string)

	login := func(secret string, opts ...approle.LoginOption) *api.Secret {
		t.Helper()
		method := must(approle.NewAppRoleAuth(id, &approle.SecretID{FromString: secret}, opts...))(t)
		fresh := must(c.Clone())(t)
		got := must(fresh.Auth().Login(ctx, method))(t)
		equal(t, "token", fresh.Token(), got.Auth.ClientToken)
		return got
	}
	plain := must(c.Logical().Write("auth/approle/role/app/secret-id", nil))(t)
	got := login(plain.Data["secret_id"].(string))
	equal(t, "policies", strings.Join(got.Auth.Policies, ","), "default,dev")
	equal(t, "role", got.Auth.Metadata["role_name"], "app")
	equal(t, "lease", got.Auth.LeaseDuration, 3600)

	wrapper := must(c.Clone())(t)
	wrapper.SetToken("root")
	wrapper.SetWrappingLookupFunc(func(string, string) string { return "60s" })
	wrapped := must(wrapper.Logical().Write("auth/approle/role/app/secret-id", nil))(t)
	if wrapped.WrapInfo == nil || wrapped.WrapInfo.CreationPath != "auth/approle/role/app/secret-id" || wrapped.WrapInfo.TTL != 60 {
		t.Fatalf("wrap info: %+v", wrapped.WrapInfo)
	}
	login(wrapped.WrapInfo.Token, approle.WithWrappingToken())

	ok(t, c.Sys().EnableAuthWithOptions("people", &api.EnableAuthOptions{Type: "userpass"}))
	must(c.Logical().Write("auth/people/users/ann", map[string]any{"password": "pw", "token_policies": "dev"}))(t)
	method := must(userpass.NewUserpassAuth("ann", &userpass.Password{FromString: "pw"}, userpass.WithMountPath("people")))(t)
	fresh := must(c.Clone())(t)
	must(fresh.Auth().Login(ctx, method))(t)
	wrong := must(userpass.NewUserpassAuth("ann", &userpass.Password{FromString: "no"}, userpass.WithMountPath("people")))(t)
	_, err := fresh.Auth().Login(ctx, wrong)
	equal(t, "a wrong password", status(err), 400)
}

func TestVaultWrapping(t *testing.T) {
	c := vault(t)
	must(c.KVv2("secret").Put(t.Context(), "a", map[string]any{"x": "1"}))(t)
	w := must(c.Clone())(t)
	w.SetToken("root")
	w.SetWrappingLookupFunc(func(string, string) string { return "5m" })
	wrapped := must(w.Logical().Read("secret/data/a"))(t)
	got := must(c.Logical().Unwrap(wrapped.WrapInfo.Token))(t)
	equal(t, "x", got.Data["data"].(map[string]any)["x"].(string), "1")
	_, err := c.Logical().Unwrap(wrapped.WrapInfo.Token)
	equal(t, "a second unwrap", status(err), 400)
	self := must(c.Clone())(t)
	wrapped = must(w.Logical().Write("sys/wrapping/wrap", map[string]any{"k": "v"}))(t)
	self.SetToken(wrapped.WrapInfo.Token)
	equal(t, "k", must(self.Logical().Unwrap(""))(t).Data["k"].(string), "v")
}

func TestVaultSys(t *testing.T) {
	c := vault(t)
	sys := c.Sys()
	ok(t, sys.Mount("one", &api.MountInput{Type: "kv", Description: "d", Config: api.MountConfigInput{DefaultLeaseTTL: "1h"}, Options: map[string]string{"version": "2"}}))
	mounts := must(sys.ListMounts())(t)
	equal(t, "version", mounts["one/"].Options["version"], "2")
	equal(t, "default ttl", mounts["one/"].Config.DefaultLeaseTTL, 3600)
	if mounts["sys/"] == nil || mounts["cubbyhole/"] == nil || mounts["identity/"] == nil {
		t.Errorf("mounts: %v", mounts)
	}
	ok(t, sys.TuneMount("one", api.MountConfigInput{MaxLeaseTTL: "2h"}))
	equal(t, "max ttl", must(sys.MountConfig("one"))(t).MaxLeaseTTL, 7200)
	must(c.KVv2("one").Put(t.Context(), "a", map[string]any{"x": "1"}))(t)
	ok(t, sys.Remount("one", "two"))
	must(c.KVv2("two").Get(t.Context(), "a"))(t)
	ok(t, sys.Unmount("two"))

	ok(t, sys.EnableAuthWithOptions("up", &api.EnableAuthOptions{Type: "userpass", Config: api.MountConfigInput{ListingVisibility: "unauth"}}))
	if auths := must(sys.ListAuth())(t); auths["up/"] == nil || auths["token/"] == nil {
		t.Errorf("auth methods: %v", auths)
	}
	ok(t, sys.DisableAuth("up"))

	rules := `path "secret/*" { capabilities = ["read"] }`
	ok(t, sys.PutPolicy("p", rules))
	equal(t, "policy", must(sys.GetPolicy("p"))(t), rules)
	if names := must(sys.ListPolicies())(t); !slices.Contains(names, "p") || !slices.Contains(names, "default") {
		t.Errorf("policies: %v", names)
	}
	equal(t, "no policy", must(sys.GetPolicy("none"))(t), "")
	token := must(c.Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{"p"}}))(t)
	equal(t, "capabilities", strings.Join(must(sys.Capabilities(token.Auth.ClientToken, "secret/x"))(t), ","), "read")
	equal(t, "capabilities-self", strings.Join(must(sys.CapabilitiesSelf("secret/x"))(t), ","), "root")
	ok(t, sys.DeletePolicy("p"))

	if len(must(sys.ListAudit())(t)) != 0 {
		t.Log("the audit devices are listed")
	}
	must(sys.CORSStatus())(t)
	ok(t, sys.RevokePrefix("one/"))
	must(c.Help("sys/mounts"))(t)
	catalogue := must(sys.ListPlugins(&api.ListPluginsInput{Type: api.PluginTypeSecrets}))(t)
	if names := catalogue.PluginsByType[api.PluginTypeSecrets]; !slices.Contains(names, "kv") {
		t.Errorf("plugins: %v", names)
	}
}

func TestVaultTransit(t *testing.T) {
	c := vault(t)
	ok(t, c.Sys().Mount("transit", &api.MountInput{Type: "transit"}))
	l := c.Logical()
	must(l.Write("transit/keys/k", nil))(t)
	sealed := must(l.Write("transit/encrypt/k", map[string]any{"plaintext": base64.StdEncoding.EncodeToString([]byte("hello"))}))(t)
	open := must(l.Write("transit/decrypt/k", sealed.Data))(t)
	equal(t, "plaintext", open.Data["plaintext"].(string), "aGVsbG8=")
	must(l.Write("transit/keys/k/rotate", nil))(t)
	key := must(l.Read("transit/keys/k"))(t)
	equal(t, "latest", key.Data["latest_version"].(json.Number).String(), "2")
	if _, err := l.JSONMergePatch(t.Context(), "transit/keys/k", map[string]any{"a": 1}); status(err) != 405 {
		t.Errorf("patch of what has no patch: %v", err)
	}
}
