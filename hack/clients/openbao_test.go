// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package clients_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openbao/openbao/api/v2"
)

func bao(t *testing.T) *api.Client {
	t.Helper()
	config := api.DefaultConfig()
	config.Address = startDev(t)
	config.MaxRetries = 0
	c := must(api.NewClient(config))(t)
	c.SetToken("root")
	return c
}

// baoStatus is the HTTP status an error of the library carries.
func baoStatus(err error) int {
	var e *api.ResponseError
	if errors.As(err, &e) {
		return e.StatusCode
	}
	return 0
}

func TestBaoKV(t *testing.T) {
	ctx := t.Context()
	c := bao(t)
	kv := c.KVv2("secret")
	must(kv.Put(ctx, "dir/a", map[string]any{"x": "1"}))(t)
	must(kv.Patch(ctx, "dir/a", map[string]any{"y": "2"}))(t)
	got := must(kv.Get(ctx, "dir/a"))(t)
	equal(t, "x", got.Data["x"].(string), "1")
	equal(t, "y", got.Data["y"].(string), "2")
	must(kv.Rollback(ctx, "dir/a", 1))(t)
	ok(t, kv.Delete(ctx, "dir/a"))
	ok(t, kv.Undelete(ctx, "dir/a", []int{3}))
	must(kv.GetMetadata(ctx, "dir/a"))(t)
	scanned := must(c.Logical().Scan("secret/metadata"))(t)
	if keys := scanned.Data["keys"].([]any); !slices.Equal(keys, []any{"dir/a"}) {
		t.Errorf("scan: %v", keys)
	}
	must(kv.Put(ctx, "dir/b", map[string]any{"x": "1"}))(t)
	page := must(c.Logical().ListPage("secret/metadata/dir", "a", 5))(t)
	if keys := page.Data["keys"].([]any); !slices.Equal(keys, []any{"b"}) {
		t.Errorf("page: %v", keys)
	}
	ok(t, c.Sys().Mount("one", &api.MountInput{Type: "kv"}))
	ok(t, c.KVv1("one").Put(ctx, "a", map[string]any{"x": "1"}))
	equal(t, "x", must(c.KVv1("one").Get(ctx, "a"))(t).Data["x"].(string), "1")
}

func TestBaoSys(t *testing.T) {
	c := bao(t)
	sys := c.Sys()
	must(sys.Health())(t)
	must(sys.SealStatus())(t)
	must(sys.Leader())(t)
	must(sys.HAStatus())(t)
	ok(t, sys.EnableAuthWithOptions("up", &api.EnableAuthOptions{Type: "userpass"}))
	if auths := must(sys.ListAuth())(t); auths["up/"] == nil {
		t.Errorf("auth methods: %v", auths)
	}
	ok(t, sys.PutPolicy("p", `path "secret/*" { capabilities = ["read", "scan"] }`))
	if names := must(sys.ListPolicies())(t); !slices.Contains(names, "p") {
		t.Errorf("policies: %v", names)
	}
	ok(t, sys.Rotate())
	must(sys.KeyStatus())(t)
}

func TestBaoTokens(t *testing.T) {
	c := bao(t)
	made := must(c.Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{"default"}, TTL: "2s", ExplicitMaxTTL: "5s"}))(t)
	self := must(c.Clone())(t)
	self.SetToken(made.Auth.ClientToken)
	look := must(self.Auth().Token().LookupSelf())(t)
	equal(t, "policies", strings.Join(must(look.TokenPolicies())(t), ","), "default")
	watcher := must(self.NewLifetimeWatcher(&api.LifetimeWatcherInput{Secret: made}))(t)
	go watcher.Start()
	defer watcher.Stop()
	select {
	case <-watcher.RenewCh():
	case err := <-watcher.DoneCh():
		t.Errorf("the watcher ended: %v", err)
	case <-time.After(time.Minute):
		t.Error("the watcher never renewed")
	}
	ok(t, self.Auth().Token().RevokeSelf(""))
	_, err := self.Auth().Token().LookupSelf()
	equal(t, "lookup-self of a revoked token", baoStatus(err), 403)
}

func TestBaoWrapping(t *testing.T) {
	c := bao(t)
	w := must(c.Clone())(t)
	w.SetToken("root")
	w.SetWrappingLookupFunc(func(string, string) string { return "5m" })
	wrapped := must(w.Logical().Write("sys/wrapping/wrap", map[string]any{"k": "v"}))(t)
	equal(t, "k", must(c.Logical().Unwrap(wrapped.WrapInfo.Token))(t).Data["k"].(string), "v")
	_, err := c.Logical().Unwrap(wrapped.WrapInfo.Token)
	equal(t, "a second unwrap", baoStatus(err), 400)
}
