// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package component_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/image"
)

func TestFacts(t *testing.T) {
	netRaw := "\x01\x00\x00\x02\x00\x20\x00\x00" + strings.Repeat("\x00", 12)
	inv := inventoryOf(t, layerOf(t,
		file{name: "usr/bin/dash", text: "#!", mode: 0o755}, file{name: "usr/bin/sh", link: "dash"}, file{name: "usr/bin/bash", text: "x"},
		file{name: "usr/bin/x86_64-linux-gnu-gcc-12", text: "x", mode: 0o755}, file{name: "opt/curl", text: "x", mode: 0o755},
		file{name: "usr/bin/curl", text: "x", mode: 0o755}, file{name: "usr/bin/apt-get", text: "x", mode: 0o755},
		file{name: "usr/bin/su", text: "x", mode: 0o4755}, file{name: "usr/bin/su2", hard: "usr/bin/su"}, file{name: "usr/bin/wall", text: "x", mode: 0o2755},
		file{name: "bin/ping", text: "x", mode: 0o755, caps: netRaw},
		file{name: "usr/sbin/sshd", text: "x", mode: 0o755},
		file{name: "tmp/", mode: 0o1777}, file{name: "open/", mode: 0o777},
		file{name: "twice", text: "a"}, file{name: "twice", text: "b"},
	), layerOf(t, file{name: "usr/bin/.wh.curl"}, file{name: "open/", mode: 0o755}))
	for kind, want := range map[component.FactKind][]string{
		component.Shell:          {"/usr/bin/dash", "/usr/bin/sh"},
		component.Compiler:       {"/usr/bin/x86_64-linux-gnu-gcc-12"},
		component.NetworkTool:    {},
		component.PackageManager: {"/usr/bin/apt-get"},
		component.RemoteLogin:    {"/usr/sbin/sshd"},
		component.SetUID:         {"/usr/bin/su", "/usr/bin/su2", "/usr/bin/wall"},
		component.Capability:     {"/bin/ping"},
		component.WorldWritable:  {},
		component.Duplicate:      {"/twice"},
		component.RootUser:       {},
	} {
		if diff := cmp.Diff(want, factsOf(inv, kind)); diff != "" {
			t.Errorf("%s: %s", kind, diff)
		}
	}
	for _, f := range inv.Facts {
		if what, remedy := component.Explain(f.Kind); what == string(f.Kind) || remedy == "" {
			t.Errorf("%s is not explained", f.Kind)
		}
		if f.Kind == component.Capability && f.Detail != "cap_net_raw" {
			t.Errorf("capability %q", f.Detail)
		}
	}
}

func keyPEM(t testing.TB) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// The tokens are put together here so that no scanner of this repository sees one.
var (
	github = "gh" + "p_" + "q7Rk2ZbV9xTn4LmW8sHd1JcYf6GpA3uE0oKi"
	keyID  = "AK" + "IA" + "Q4ZXN7PLM2RTK6WB"
	secret = "u8Fk3" + "PzQ1wLr7Vn5Xc9Bm2Yt6Hd4Sj0Ga8Ke3Ri7"
)

func TestSecretsAreFound(t *testing.T) {
	key := keyPEM(t)
	escaped, err := json.Marshal(map[string]string{"private_key": key})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, text, want string }{
		{"key.pem", key, "EC private key"},
		{"account.json", string(escaped), "EC private key"},
		{"app.env", "TOKEN=" + github + "\n", "GitHub token"},
		{"root/.aws/credentials", "[default]\naws_access_key_id = " + keyID + "\naws_secret_access_key = " + secret + "\n", "AWS key pair"},
		{"notes", "id " + keyID, "AWS access key id"},
		{"a.conf", "DSN=postgres://app:k3Zq9vLw@db.internal/app", "database URL with a password"},
		{"b.conf", "see https://bot:k3Zq9vLw@git.internal/x", "URL with a password"},
		{"srv/.netrc", "machine git.internal login bot password k3Zq9vLw\n", "password in .netrc"},
		{"root/.docker/config.json", `{"auths":{"r.internal":{"auth":"Ym90Omszelo5dkx3"}}}`, "registry credentials"},
		{"root/.npmrc", "//r.internal/:_authToken=k3Zq9vLwk3Zq9vLw\n", "npm credentials"},
		{"root/.pypirc", "[pypi]\nusername = bot\npassword = k3Zq9vLw\n", "password in .pypirc"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inv := inventoryOf(t, layerOf(t, file{name: tt.name, text: tt.text}))
			if len(inv.Facts) != 1 || inv.Facts[0].Kind != component.EmbeddedSecret || inv.Facts[0].Detail != tt.want || inv.Facts[0].Path != "/"+tt.name {
				t.Errorf("got %+v; want %s", inv.Facts, tt.want)
			}
			text, err := json.Marshal(inv)
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range []string{github, keyID, secret, "k3Zq9vLw", "Ym90Omszelo5dkx3"} {
				if strings.Contains(string(text), part) {
					t.Error("the secret itself is in the inventory")
				}
			}
		})
	}
}

func TestSamplesAreNoSecrets(t *testing.T) {
	public := "-----BEGIN CERTIFICATE-----\n" + strings.Repeat("TUlJQ2xqQ0NBWDQ9\n", 20) + "-----END CERTIFICATE-----\n"
	for name, text := range map[string]string{
		"sample key id":   "AKIA" + "IOSFODNN7EXAMPLE and wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
		"certificate":     public,
		"manual":          "-----BEGIN RSA PRIVATE KEY-----\nMIIE...\n-----END RSA PRIVATE KEY-----\n",
		"placeholder":     "postgres://user:password@localhost/db https://user:${PASS}@host mysql://u:<password>@h http://a:%s@h",
		"all the same":    "ghp_" + strings.Repeat("x", 36),
		"port and at":     "http://host:8080/user@example",
		"npmrc variable":  "//r/:_authToken=${NPM_TOKEN}",
		"a long word":     "the ghp_prefix is short",
		"empty docker":    `{"auths":{}}`,
		"public key text": "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZI\n-----END PUBLIC KEY-----\n",
	} {
		for _, path := range []string{"opt/readme", ".npmrc", ".docker/config.json", ".netrc"} {
			if got := factsOf(inventoryOf(t, layerOf(t, file{name: path, text: text})), component.EmbeddedSecret); len(got) > 0 {
				t.Errorf("%s in %s: a false alarm", name, path)
			}
		}
	}
}

func TestDeletedSecretsStayKnown(t *testing.T) {
	text := "TOKEN=" + github
	inv := inventoryOf(t,
		layerOf(t, file{name: "srv/.env", text: text}, file{name: "srv/b", text: text}, file{name: "usr/bin/sh", text: "x", mode: 0o755}),
		layerOf(t, file{name: "srv/.wh..env"}, file{name: "srv/b", text: "clean"}, file{name: "usr/bin/.wh.sh"}),
	)
	if diff := cmp.Diff([]string{"/srv/.env(deleted)", "/srv/b(deleted)"}, factsOf(inv, component.EmbeddedSecret)); diff != "" {
		t.Error(diff)
	}
	if got := factsOf(inv, component.Shell); len(got) > 0 {
		t.Errorf("a shell that is gone: %v", got)
	}
}

func TestConfigFacts(t *testing.T) {
	img := &image.Image{
		Config: image.Config{
			User: "0:0", Ports: []string{"22/tcp", "8080/tcp", "22/udp", "23"},
			Env: []string{
				"PATH=/bin", "AWS_ACCESS_KEY_ID=" + keyID, "AWS_SECRET_ACCESS_KEY=" + secret, "DB_PASSWORD=k3Zq9vLw", "GPG_KEY=E3FF2839C048B25C084DEBE9B26995E310250568",
				"DB_PASSWORD_FILE=/run/secrets/db", "TOKEN=/run/token/file", "API_TOKEN=changeme-please", "ACCESS_TOKEN=3600000000",
			},
			History: []image.History{{CreatedBy: "RUN true"}, {CreatedBy: "RUN /bin/sh -c curl -H 'Authorization: " + github + "' x"}, {CreatedBy: "ARG NPM_TOKEN=k3Zq9vLw"}},
		},
		Labels:      map[string]string{"note": "postgres://app:k3Zq9vLw@db/app"},
		Annotations: map[string]string{"org.opencontainers.image.base.name": "example.test/base:1"},
	}
	inv := component.Join(img, nil)
	want := []string{"env AWS_ACCESS_KEY_ID", "env AWS_SECRET_ACCESS_KEY", "env DB_PASSWORD", "history[1]", "history[2]", "label note"}
	if diff := cmp.Diff(want, factsOf(inv, component.EmbeddedSecret)); diff != "" {
		t.Error(diff)
	}
	if len(factsOf(inv, component.RootUser)) != 1 || len(factsOf(inv, component.UnpinnedBase)) != 1 || inv.Base != "example.test/base:1" {
		t.Errorf("got %+v, base %q", inv.Facts, inv.Base)
	}
	if diff := cmp.Diff([]string{"port 22/tcp", "port 23"}, factsOf(inv, component.RemoteLogin)); diff != "" {
		t.Error(diff)
	}
	img.Annotations["org.opencontainers.image.base.digest"] = "sha256:1"
	for user, root := range map[string]bool{"": true, "root": true, "root:x": true, "00": true, "1000": false, "app": false, "10001:0": false} {
		img.Config.User = user
		inv := component.Join(img, nil)
		if got := len(factsOf(inv, component.RootUser)) == 1; got != root || len(factsOf(inv, component.UnpinnedBase)) != 0 {
			t.Errorf("user %q: root %v; want %v", user, got, root)
		}
	}
}
