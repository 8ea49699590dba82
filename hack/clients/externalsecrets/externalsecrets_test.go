// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package externalsecrets_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	esv1 "github.com/external-secrets/external-secrets/apis/externalsecrets/v1"
	esmeta "github.com/external-secrets/external-secrets/apis/meta/v1"
	provider "github.com/external-secrets/external-secrets/pkg/provider/vault"
	"github.com/hashicorp/vault/api"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

// secrets is what the cluster's one Secret holds, by key.
type secrets map[string]string

func ref(key string) esmeta.SecretKeySelector {
	return esmeta.SecretKeySelector{Name: "kept", Key: key}
}

func pointer[T any](v T) *T { return &v }

// open makes the operator's client for a store.
func (s *server) open(t *testing.T, auth *esv1.VaultAuth, kept secrets, change func(*esv1.VaultProvider)) (esv1.SecretsClient, error) {
	t.Helper()
	spec := &esv1.VaultProvider{Server: s.url, Path: pointer("secret"), Version: esv1.VaultKVStoreV2, CABundle: s.ca, Auth: auth}
	if change != nil {
		change(spec)
	}
	store := &esv1.SecretStore{
		TypeMeta:   metav1.TypeMeta{Kind: esv1.SecretStoreKind},
		ObjectMeta: metav1.ObjectMeta{Name: "goldkeep", Namespace: "apps"},
		Spec:       esv1.SecretStoreSpec{Provider: &esv1.SecretStoreProvider{Vault: spec}},
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "kept", Namespace: "apps"}, Data: map[string][]byte{}}
	for key, value := range kept {
		secret.Data[key] = []byte(value)
	}
	p := &provider.Provider{NewVaultClient: provider.NewVaultClient}
	if _, err := p.ValidateStore(store); err != nil {
		return nil, err
	}
	return p.NewClient(t.Context(), store, fake.NewClientBuilder().WithObjects(secret).Build(), "apps")
}

// TestLogins reads a secret by each of the ways the operator can log in, and lets
// it hand its token back.
func TestLogins(t *testing.T) {
	s, k := start(t), startCluster(t)
	k.config(t)
	must(s.root.KVv2("secret").Put(t.Context(), "app/db", map[string]any{"password": "p1"}))(t)
	ok(t, s.root.Sys().PutPolicy("reader", `path "secret/data/*" { capabilities = ["read"] }`))
	for _, kind := range []string{"approle", "userpass", "jwt", "kubernetes", "cert"} {
		ok(t, s.root.Sys().EnableAuthWithOptions(kind, &api.EnableAuthOptions{Type: kind}))
	}
	s.write(t, "auth/approle/role/shop", map[string]any{"token_policies": "reader"})
	roleID := must(s.root.Logical().Read("auth/approle/role/shop/role-id"))(t).Data["role_id"].(string)
	secretID := s.write(t, "auth/approle/role/shop/secret-id", nil).Data["secret_id"].(string)
	s.write(t, "auth/userpass/users/shop", map[string]any{"password": "pw", "token_policies": "reader"})
	s.write(t, "auth/jwt/config", map[string]any{"jwt_validation_pubkeys": k.public(t)})
	s.write(t, "auth/jwt/role/shop", map[string]any{"role_type": "jwt", "user_claim": "sub", "bound_audiences": "vault", "token_policies": "reader"})
	s.write(t, "auth/kubernetes/config", map[string]any{"kubernetes_host": k.URL, "token_reviewer_jwt": k.token(t, "kube-system", "goldkeep", nil), "disable_local_ca_jwt": true, "kubernetes_ca_cert": string(s.ca)})
	s.write(t, "auth/kubernetes/role/shop", map[string]any{"bound_service_account_names": "shop", "bound_service_account_namespaces": "apps", "token_policies": "reader"})
	crt, key := certificate(t)
	s.write(t, "auth/cert/certs/shop", map[string]any{"certificate": crt, "token_policies": "reader"})
	token := must(s.root.Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{"reader"}}))(t).Auth.ClientToken
	batch := must(s.root.Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{"reader"}, Type: "batch"}))(t).Auth.ClientToken

	account := esmeta.ServiceAccountSelector{Name: "shop"}
	kept := secrets{
		"token": token, "batch": batch, "id": roleID, "secret": secretID, "password": "pw", "jwt": k.token(t, "apps", "shop", []string{"vault"}),
		"account": k.token(t, "apps", "shop", nil), "crt": crt, "key": key,
	}
	for name, auth := range map[string]*esv1.VaultAuth{
		"token":              {TokenSecretRef: pointer(ref("token"))},
		"batch token":        {TokenSecretRef: pointer(ref("batch"))},
		"approle":            {AppRole: &esv1.VaultAppRole{Path: "approle", RoleID: roleID, SecretRef: ref("secret")}},
		"approle by refs":    {AppRole: &esv1.VaultAppRole{Path: "approle", RoleRef: pointer(ref("id")), SecretRef: ref("secret")}},
		"userpass":           {UserPass: &esv1.VaultUserPassAuth{Path: "userpass", Username: "shop", SecretRef: ref("password")}},
		"jwt":                {Jwt: &esv1.VaultJwtAuth{Path: "jwt", Role: "shop", SecretRef: pointer(ref("jwt"))}},
		"jwt of an account":  {Jwt: &esv1.VaultJwtAuth{Path: "jwt", Role: "shop", KubernetesServiceAccountToken: &esv1.VaultKubernetesServiceAccountTokenAuth{ServiceAccountRef: account}}},
		"kubernetes":         {Kubernetes: &esv1.VaultKubernetesAuth{Path: "kubernetes", Role: "shop", ServiceAccountRef: &account}},
		"kubernetes by refs": {Kubernetes: &esv1.VaultKubernetesAuth{Path: "kubernetes", Role: "shop", SecretRef: pointer(ref("account"))}},
		"cert":               {Cert: &esv1.VaultCertAuth{Path: "cert", ClientCert: ref("crt"), SecretRef: ref("key")}},
	} {
		t.Run(name, func(t *testing.T) {
			c := must(s.open(t, auth, kept, nil))(t)
			got := must(c.GetSecret(t.Context(), esv1.ExternalSecretDataRemoteRef{Key: "app/db", Property: "password"}))(t)
			if string(got) != "p1" {
				t.Errorf("password: %q", got)
			}
			if _, err := c.GetSecret(t.Context(), esv1.ExternalSecretDataRemoteRef{Key: "none"}); !errors.As(err, &esv1.NoSecretError{}) {
				t.Errorf("a secret that is not there: %v", err)
			}
			if state, err := c.Validate(); state != esv1.ValidationResultReady || err != nil {
				t.Errorf("validate: %v, %v", state, err)
			}
			ok(t, c.Close(t.Context()))
		})
	}
	for name, auth := range map[string]*esv1.VaultAuth{
		"approle":  {AppRole: &esv1.VaultAppRole{Path: "approle", RoleID: roleID, SecretRef: ref("token")}},
		"userpass": {UserPass: &esv1.VaultUserPassAuth{Path: "userpass", Username: "shop", SecretRef: ref("token")}},
		"jwt":      {Jwt: &esv1.VaultJwtAuth{Path: "jwt", Role: "shop", SecretRef: pointer(ref("account"))}},
	} {
		if _, err := s.open(t, auth, kept, nil); err == nil {
			t.Errorf("%s: believed what it should not", name)
		}
	}
}

// certificate is one of a client's own, and its key, as PEM.
func certificate(t *testing.T) (crt, key string) {
	t.Helper()
	k := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	made := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "shop"}, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der := must(x509.CreateCertificate(rand.Reader, made, made, &k.PublicKey, k))(t)
	raw := must(x509.MarshalPKCS8PrivateKey(k))(t)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}))
}

// pushed is one entry of a PushSecret.
type pushed struct{ from, to, property string }

func (p pushed) GetMetadata() *apiextensionsv1.JSON { return nil }
func (p pushed) GetSecretKey() string               { return p.from }
func (p pushed) GetRemoteKey() string               { return p.to }
func (p pushed) GetProperty() string                { return p.property }

// TestReads plays what an ExternalSecret can ask for, on both versions of kv.
func TestReads(t *testing.T) {
	s := start(t)
	startCluster(t).config(t)
	ctx := t.Context()
	ok(t, s.root.Sys().Mount("team/one", &api.MountInput{Type: "kv"}))
	kv := s.root.KVv2("secret")
	must(kv.Put(ctx, "app/db", map[string]any{"password": "p1"}))(t)
	must(kv.Put(ctx, "app/db", map[string]any{"password": "p2", "port": json.Number("9007199254740993"), "hosts": []string{"a", "b"}, "tls": map[string]any{"on": true}}))(t)
	must(kv.Put(ctx, "app/deep/er", map[string]any{"x": "1"}))(t)
	must(kv.Put(ctx, "gone", map[string]any{"x": "1"}))(t)
	ok(t, kv.Delete(ctx, "gone"))
	ok(t, kv.PutMetadata(ctx, "app/deep/er", api.KVMetadataPutInput{CustomMetadata: map[string]any{"team": "shop"}}))
	s.write(t, "team/one/a/b", map[string]any{"x": "1"})

	kept := secrets{"token": s.root.Token()}
	auth := &esv1.VaultAuth{TokenSecretRef: pointer(ref("token"))}
	two := must(s.open(t, auth, kept, nil))(t)
	one := must(s.open(t, auth, kept, func(p *esv1.VaultProvider) { p.Path, p.Version = pointer("team/one"), esv1.VaultKVStoreV1 }))(t)

	for _, row := range []struct {
		from esv1.SecretsClient
		ref  esv1.ExternalSecretDataRemoteRef
		want string
	}{
		{two, esv1.ExternalSecretDataRemoteRef{Key: "app/db", Property: "password"}, "p2"},
		{two, esv1.ExternalSecretDataRemoteRef{Key: "secret/data/app/db", Property: "password"}, "p2"},
		{two, esv1.ExternalSecretDataRemoteRef{Key: "app/db", Property: "password", Version: "1"}, "p1"},
		{two, esv1.ExternalSecretDataRemoteRef{Key: "app/db", Property: "port"}, "9007199254740993"},
		{two, esv1.ExternalSecretDataRemoteRef{Key: "app/db", Property: "tls.on"}, "true"},
		{two, esv1.ExternalSecretDataRemoteRef{Key: "app/db", Property: "hosts.1"}, "b"},
		{two, esv1.ExternalSecretDataRemoteRef{Key: "app/deep/er", MetadataPolicy: esv1.ExternalSecretMetadataPolicyFetch, Property: "team"}, "shop"},
		{two, esv1.ExternalSecretDataRemoteRef{Key: "app/deep/er"}, `{"x":"1"}`},
		{one, esv1.ExternalSecretDataRemoteRef{Key: "a/b", Property: "x"}, "1"},
	} {
		if got := must(row.from.GetSecret(ctx, row.ref))(t); string(got) != row.want {
			t.Errorf("%+v: %q, want %q", row.ref, got, row.want)
		}
	}
	for _, key := range []string{"gone", "app/none"} {
		if _, err := two.GetSecret(ctx, esv1.ExternalSecretDataRemoteRef{Key: key}); err == nil || !errors.As(err, &esv1.NoSecretError{}) {
			t.Errorf("%s: %v", key, err)
		}
	}
	names := slices.Sorted(maps.Keys(must(two.GetSecretMap(ctx, esv1.ExternalSecretDataRemoteRef{Key: "app/db"}))(t)))
	if strings.Join(names, " ") != "hosts password port tls" {
		t.Errorf("map: %v", names)
	}
	for _, row := range []struct {
		from esv1.SecretsClient
		find esv1.ExternalSecretFind
		want string
	}{
		{two, esv1.ExternalSecretFind{Name: &esv1.FindName{RegExp: ".*"}}, "app/db app/deep/er"},
		{two, esv1.ExternalSecretFind{Path: pointer("app"), Name: &esv1.FindName{RegExp: "er$"}}, "app/deep/er"},
		{two, esv1.ExternalSecretFind{Tags: map[string]string{"team": "shop"}}, "app/deep/er"},
		{one, esv1.ExternalSecretFind{Name: &esv1.FindName{RegExp: ".*"}}, "a/b"},
	} {
		found := slices.Sorted(maps.Keys(must(row.from.GetAllSecrets(ctx, row.find))(t)))
		if strings.Join(found, " ") != row.want {
			t.Errorf("%+v: found %v", row.find, found)
		}
	}
}

// TestPushes plays what a PushSecret does: write, merge, leave what is another's
// alone, take away.
func TestPushes(t *testing.T) {
	s := start(t)
	startCluster(t).config(t)
	ctx := t.Context()
	ok(t, s.root.Sys().Mount("one", &api.MountInput{Type: "kv"}))
	must(s.root.KVv2("secret").Put(ctx, "mine", map[string]any{"x": "1"}))(t)
	s.write(t, "secret/config", map[string]any{"cas_required": true})
	kept := secrets{"token": s.root.Token()}
	auth := &esv1.VaultAuth{TokenSecretRef: pointer(ref("token"))}
	secret := &corev1.Secret{Data: map[string][]byte{"a": []byte("1"), "b": []byte("2")}}
	for name, change := range map[string]func(*esv1.VaultProvider){
		"v2": func(p *esv1.VaultProvider) { p.CheckAndSet = &esv1.VaultCheckAndSet{Required: true} },
		"v1": func(p *esv1.VaultProvider) { p.Path, p.Version = pointer("one"), esv1.VaultKVStoreV1 },
	} {
		t.Run(name, func(t *testing.T) {
			c := must(s.open(t, auth, kept, change))(t)
			whole, part := pushed{to: "app/pushed"}, pushed{from: "b", to: "app/pushed", property: "c"}
			if must(c.SecretExists(ctx, whole))(t) {
				t.Error("it is there already")
			}
			ok(t, c.PushSecret(ctx, secret, whole))
			ok(t, c.PushSecret(ctx, secret, whole)) // the same again
			ok(t, c.PushSecret(ctx, secret, part))
			if !must(c.SecretExists(ctx, part))(t) {
				t.Error("what was pushed is not there")
			}
			for property, want := range map[string]string{"a": "1", "b": "2", "c": "2"} {
				if got := must(c.GetSecret(ctx, esv1.ExternalSecretDataRemoteRef{Key: "app/pushed", Property: property}))(t); string(got) != want {
					t.Errorf("%s: %q, want %q", property, got, want)
				}
			}
			if name == "v2" {
				if err := c.PushSecret(ctx, secret, pushed{to: "mine"}); err == nil || !strings.Contains(err.Error(), "not managed by external-secrets") {
					t.Errorf("pushed over another's: %v", err)
				}
			}
			ok(t, c.DeleteSecret(ctx, whole))
			if must(c.SecretExists(ctx, whole))(t) {
				t.Error("it is still there")
			}
			ok(t, c.DeleteSecret(ctx, whole))
		})
	}
}
