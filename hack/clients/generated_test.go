// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package clients_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	vaultclient "github.com/hashicorp/vault-client-go"
	"github.com/hashicorp/vault-client-go/schema"
)

// The library generated from the OpenAPI document decodes each answer into a
// struct of its own: a field of another type is an error.
func generated(t *testing.T) *vaultclient.Client {
	t.Helper()
	c := must(vaultclient.New(vaultclient.WithAddress(startDev(t)), vaultclient.WithRequestTimeout(30*time.Second)))(t)
	ok(t, c.SetToken("root"))
	return c
}

func TestGeneratedSecrets(t *testing.T) {
	ctx := t.Context()
	c := generated(t)
	s := c.Secrets
	in := vaultclient.WithMountPath("secret")
	must(s.KvV2Write(ctx, "a", schema.KvV2WriteRequest{Data: map[string]any{"x": "1"}}, in))(t)
	must(s.KvV2Write(ctx, "a", schema.KvV2WriteRequest{Data: map[string]any{"x": "2"}, Options: map[string]any{"cas": 1}}, in))(t)
	equal(t, "x", must(s.KvV2Read(ctx, "a", in))(t).Data.Data["x"].(string), "2")
	meta := must(s.KvV2ReadMetadata(ctx, "a", in))(t)
	equal(t, "current", meta.Data.CurrentVersion, 2)
	if keys := must(s.KvV2List(ctx, "", in))(t).Data.Keys; !slices.Equal(keys, []string{"a"}) {
		t.Errorf("keys: %v", keys)
	}
	must(s.KvV2Delete(ctx, "a", in))(t)
	_, err := s.KvV2Read(ctx, "a", in)
	if !vaultclient.IsErrorStatus(err, 404) {
		t.Errorf("read of a deleted version: %v", err)
	}
	must(s.KvV2UndeleteVersions(ctx, "a", schema.KvV2UndeleteVersionsRequest{Versions: []int32{2}}, in))(t)
	must(s.KvV2DestroyVersions(ctx, "a", schema.KvV2DestroyVersionsRequest{Versions: []int32{1}}, in))(t)
	must(s.KvV2Configure(ctx, schema.KvV2ConfigureRequest{MaxVersions: 5}, in))(t)
	equal(t, "max versions", must(s.KvV2ReadConfiguration(ctx, in))(t).Data.MaxVersions, 5)
	must(s.KvV2DeleteMetadataAndAllVersions(ctx, "a", in))(t)

	must(s.CubbyholeWrite(ctx, "x", map[string]any{"a": 1}))(t)
	must(s.CubbyholeRead(ctx, "x"))(t)
	must(c.System.MountsEnableSecretsEngine(ctx, "transit", schema.MountsEnableSecretsEngineRequest{Type: "transit"}))(t)
	must(s.TransitCreateKey(ctx, "k", schema.TransitCreateKeyRequest{Type: "aes256-gcm96"}))(t)
	sealed := must(s.TransitEncrypt(ctx, "k", schema.TransitEncryptRequest{Plaintext: "aGVsbG8="}))(t)
	open := must(s.TransitDecrypt(ctx, "k", schema.TransitDecryptRequest{Ciphertext: sealed.Data["ciphertext"].(string)}))(t)
	equal(t, "plaintext", open.Data["plaintext"].(string), "aGVsbG8=")
}

func TestGeneratedAuth(t *testing.T) {
	ctx := t.Context()
	c := generated(t)
	must(c.System.AuthEnableMethod(ctx, "approle", schema.AuthEnableMethodRequest{Type: "approle"}))(t)
	must(c.Auth.AppRoleWriteRole(ctx, "app", schema.AppRoleWriteRoleRequest{TokenPolicies: []string{"dev"}, TokenTtl: "1h"}))(t)
	role := must(c.Read(ctx, "auth/approle/role/app"))(t) // its own struct for this takes texts where the reference has numbers
	equal(t, "ttl", role.Data["token_ttl"].(json.Number).String(), "3600")
	id := must(c.Auth.AppRoleReadRoleId(ctx, "app"))(t).Data.RoleId
	made := must(c.Write(ctx, "auth/approle/role/app/secret-id", map[string]any{}))(t) // as above
	secret := made.Data["secret_id"].(string)
	got := must(c.Auth.AppRoleLogin(ctx, schema.AppRoleLoginRequest{RoleId: id, SecretId: secret}))(t)
	token := got.Auth.ClientToken
	must(c.Auth.TokenLookUpSelf(ctx, vaultclient.WithToken(token)))(t)
	must(c.Auth.TokenRenewSelf(ctx, schema.TokenRenewSelfRequest{Increment: "60"}, vaultclient.WithToken(token)))(t)
	must(c.Auth.TokenRevokeSelf(ctx, vaultclient.WithToken(token)))(t)

	must(c.System.AuthEnableMethod(ctx, "userpass", schema.AuthEnableMethodRequest{Type: "userpass"}))(t)
	must(c.Auth.UserpassWriteUser(ctx, "ann", schema.UserpassWriteUserRequest{Password: "pw"}))(t)
	must(c.Auth.UserpassLogin(ctx, "ann", schema.UserpassLoginRequest{Password: "pw"}))(t)
}

func TestGeneratedSystem(t *testing.T) {
	ctx := t.Context()
	c := generated(t)
	s := c.System
	status := must(s.SealStatus(ctx))(t)
	equal(t, "sealed", status.Data.Sealed, false)
	must(s.ReadHealthStatus(ctx))(t)
	must(s.LeaderStatus(ctx))(t)
	must(s.MountsListSecretsEngines(ctx))(t)
	must(s.AuthListEnabledMethods(ctx))(t)
	must(s.PoliciesWriteAclPolicy(ctx, "p", schema.PoliciesWriteAclPolicyRequest{Policy: `path "x" { capabilities = ["read"] }`}))(t)
	equal(t, "name", must(s.PoliciesReadAclPolicy(ctx, "p"))(t).Data.Name, "p")
	if keys := must(s.PoliciesListAclPolicies(ctx))(t).Data.Keys; !slices.Contains(keys, "p") {
		t.Errorf("policies: %v", keys)
	}
	must(s.EncryptionKeyStatus(ctx))(t)
	wrapped := must(s.Wrap(ctx, map[string]any{"k": "v"}, vaultclient.WithResponseWrapping(time.Minute)))(t)
	open := must(vaultclient.Unwrap[map[string]any](ctx, c, wrapped.WrapInfo.Token))(t)
	equal(t, "k", open.Data["k"].(string), "v")
}
