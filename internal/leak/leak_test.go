// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package leak_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/internal/leak"
)

const (
	letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	mixed   = letters + "0123456789"
	hexes   = "0123456789abcdef"
	upper   = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	bech    = "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L"
)

// made is a credential made up here, so that no scanner of this repository sees one.
func made(n int, of string) string {
	dice := mathrand.New(mathrand.NewPCG(uint64(n), uint64(len(of))))
	out := make([]byte, n)
	for i := range out {
		out[i] = of[dice.IntN(len(of))]
	}
	return string(out)
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

func webToken(claims string) string {
	enc := base64.RawURLEncoding.EncodeToString
	return enc([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + enc([]byte(claims)) + "." + made(43, mixed)
}

// github is a token in the form of GitHub's.
var github = "gh" + "p_" + made(36, mixed)

// forms are credentials of every kind, by kind.
func forms() map[string][]string {
	m := func(n int) string { return made(n, mixed) }
	h := func(n int) string { return made(n, hexes) }
	return map[string][]string{
		"GitHub token":                  {github, "gho_" + m(36), "ghu_" + m(36), "ghs_" + m(36), "ghr_" + m(76), "github_pat_" + m(22) + "_" + m(59)},
		"GitLab token":                  {"glpat-" + m(20), "gldt-" + m(20), "glrt-" + m(20), "glptt-" + m(40), "glcbt-" + m(20), "glsoat-" + m(20), "GR1348941" + m(20)},
		"Slack token":                   {"xoxb-" + made(12, "123456789") + "-" + m(24), "xapp-1-" + made(11, upper) + "-" + h(64)},
		"Slack webhook":                 {"https://hooks.slack.com/services/T" + made(9, upper) + "/B" + made(9, upper) + "/" + m(24)},
		"Stripe live key":               {"sk_live_" + m(24), "rk_live_" + m(99)},
		"Stripe webhook secret":         {"whsec_" + m(32)},
		"Google API key":                {"AI" + "za" + m(35)},
		"Google client secret":          {"GOCSPX-" + m(28)},
		"npm token":                     {"npm_" + m(36)},
		"PyPI token":                    {"pypi-AgEI" + m(120)},
		"RubyGems token":                {"rubygems_" + h(48)},
		"Docker Hub token":              {"dckr_pat_" + m(27), "dckr_oat_" + m(32)},
		"OpenAI key":                    {"sk-proj-" + m(120), "sk-svcacct-" + m(60), "sk-" + m(20) + "T3Blbk" + "FJ" + m(20)},
		"Anthropic key":                 {"sk-ant-api03-" + m(93) + "AA", "sk-ant-admin01-" + m(90)},
		"SendGrid key":                  {"SG." + m(22) + "." + m(43)},
		"Vault or OpenBao token":        {"hvs." + m(24), "hvb." + m(120), "hvr." + m(90), "export VAULT_TOKEN=s." + m(24), "BAO_TOKEN: b." + m(100)},
		"Goldkeep token":                {"gks." + m(32), "gkb." + m(32), "gkw." + m(32)},
		"Terraform token":               {m(14) + ".atlasv1." + m(67)},
		"DigitalOcean token":            {"dop_v1_" + h(64)},
		"Shopify token":                 {"shpat_" + h(32)},
		"Hugging Face token":            {"hf_" + made(34, letters)},
		"Grafana token":                 {"glsa_" + m(32) + "_" + h(8)},
		"Databricks token":              {"dapi" + h(32)},
		"age secret key":                {"AGE-SECRET-KEY-1" + made(58, bech)},
		"Pulumi token":                  {"pul-" + h(40)},
		"Postman key":                   {"PMAK-" + h(24) + "-" + h(34)},
		"New Relic key":                 {"NRAK-" + made(27, upper)},
		"Atlassian token":               {"ATATT3xFfGF0" + m(180)},
		"Tailscale key":                 {"tskey-auth-" + m(17) + "-" + m(33)},
		"SonarQube token":               {"sqp_" + h(40)},
		"Sentry token":                  {"sntrys_" + m(100)},
		"Linear key":                    {"lin_api_" + m(40)},
		"Dynatrace token":               {"dt0c01." + made(24, upper) + "." + made(64, upper)},
		"database URL with a password":  {"postgres://app:k3Zq9vLw@db.internal/app", "redis://:k3Zq9vLw@cache:6379", "mongodb+srv://u:k3Zq9vLw@c.internal"},
		"URL with a password":           {"https://bot:k3Zq9vLw@git.internal/x", "ldap://cn:k3Zq9vLw@directory"},
		"Azure storage key":             {"DefaultEndpointsProtocol=https;AccountName=a;AccountKey=" + m(86) + "==;EndpointSuffix=core.windows.net"},
		"Azure access key":              {"Endpoint=sb://a.servicebus.windows.net/;SharedAccessKeyName=n;SharedAccessKey=" + m(43) + "="},
		"Azure shared access signature": {"https://a.blob.core.windows.net/c?sv=2024-01-01&se=2030&sig=" + m(43) + "%3D"},
		"Twilio credentials":            {"TWILIO_AUTH_TOKEN=" + h(32), "twilio: {api_key: SK" + h(32) + "}"},
		"JSON web token":                {webToken(`{"sub":"svc-payments","iss":"https://id.internal","exp":2000000000}`)},
		"AWS access key id":             {"AK" + "IA" + "Q4ZXN7PLM2RTK6WB"},
		"AWS key pair":                  {"aws_access_key_id = AS" + "IA" + "Q4ZXN7PLM2RTK6WB\naws_secret_access_key = " + m(40) + "\n"},
		"PuTTY private key":             {"PuTTY-User-Key-File-3: ssh-rsa\nEncryption: none\nComment: x\nPublic-Lines: 1\n" + m(60) + "\nPrivate-Lines: 1\n" + m(64) + "\nPrivate-MAC: 0\n"},
		"PGP private key":               {"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n" + m(64) + "\n-----END PGP PRIVATE KEY BLOCK-----\n"},
		"OpenSSH private key":           {string(pem.EncodeToMemory(&pem.Block{Type: "OPENSSH PRIVATE KEY", Bytes: []byte("openssh-key-v1\x00" + m(200))}))},
		"Google service account key":    {`{"type": "service_account", "project_id": "p", "private_key_id": "` + h(40) + `", "private_key": "x"}`},
	}
}

func TestEveryKindIsFound(t *testing.T) {
	for want, texts := range forms() {
		for _, text := range texts {
			for _, around := range []string{"%s", "x %s y", "\n%s\n", `{"k":"%s"}`, "KEY='%s'", strings.Repeat("some words ", 101) + "%s" + strings.Repeat(" and more", 100)} {
				if strings.ContainsAny(text, "\n\"=&") && around != "%s" && around != "\n%s\n" {
					continue
				}
				if got := leak.In([]byte(strings.Replace(around, "%s", text, 1))); !slices.Contains(got, want) {
					t.Errorf("%s in %.30q: got %v for %s", want, around, got, text)
				}
			}
		}
	}
}

// TestAtEveryPlace moves a credential through a text: none may fall between two looks.
func TestAtEveryPlace(t *testing.T) {
	for want, texts := range forms() {
		for n := range 4 {
			if got := leak.In([]byte(strings.Repeat(" ", n) + texts[0])); !slices.Contains(got, want) {
				t.Errorf("%s after %d spaces: %v", want, n, got)
			}
		}
	}
}

func TestPlaceholdersAreNone(t *testing.T) {
	for kind, texts := range forms() {
		if strings.Contains(kind, "PGP") || strings.Contains(kind, "password") || strings.Contains(kind, "OpenSSH") || strings.Contains(kind, "JSON") {
			continue
		}
		for _, text := range texts {
			for _, random := range []string{mixed} {
				blank := strings.Map(func(r rune) rune {
					if strings.ContainsRune(random, r) {
						return 'x'
					}
					return r
				}, text[min(len(text), 12):])
				if got := leak.In([]byte(text[:min(len(text), 12)] + blank)); len(got) > 0 {
					t.Errorf("%s: a placeholder is taken for %v", kind, got)
				}
			}
		}
	}
}

func TestSamplesAreNone(t *testing.T) {
	for name, text := range map[string]string{
		"sample key id":   "AKIA" + "IOSFODNN7EXAMPLE and wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
		"certificate":     "-----BEGIN CERTIFICATE-----\n" + strings.Repeat("TUlJQ2xqQ0NBWDQ9\n", 20) + "-----END CERTIFICATE-----\n",
		"manual":          "-----BEGIN RSA PRIVATE KEY-----\nMIIE...\n-----END RSA PRIVATE KEY-----\n",
		"placeholder":     "postgres://user:password@localhost/db https://user:${PASS}@host mysql://u:<password>@h http://a:%s@h",
		"port and at":     "http://host:8080/user@example",
		"npmrc variable":  "//r/:_authToken=${NPM_TOKEN}",
		"a long word":     "the ghp_prefix is short",
		"empty docker":    `{"auths":{}}`,
		"public key text": "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZI\n-----END PUBLIC KEY-----\n",
		"jwt.io":          webToken(`{"sub":"1234567890","name":"John Doe","iat":1516239022}`),
		"unsigned":        base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"a-b-c"}`)) + "." + made(30, mixed),
		"no JSON":         "eyJhbGci" + made(20, mixed) + ".eyJ" + made(30, mixed) + "." + made(43, mixed),
		"emulator":        "AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
		"test key":        "sk_test_" + made(24, mixed),
		"minified":        "s.getElementsByTagNameNSxyz(a);b.createDocumentFragmentXY",
		"part of a word":  "x" + github,
	} {
		for _, path := range []string{"opt/readme", ".npmrc", ".docker/config.json", ".netrc", ".env"} {
			if got := leak.InFile(path, []byte(text)); len(got) > 0 {
				t.Errorf("%s in %s: a false alarm: %v", name, path, got)
			}
		}
	}
}

func TestFilesKnownByName(t *testing.T) {
	escaped, err := json.Marshal(map[string]string{"private_key": keyPEM(t)})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, text, want string }{
		{"key.pem", keyPEM(t), "EC private key"},
		{"account.json", string(escaped), "EC private key"},
		{"srv/.netrc", "machine git.internal login bot password k3Zq9vLw\n", "password in .netrc"},
		{"root/.docker/config.json", `{"auths":{"r.internal":{"auth":"Ym90Omszelo5dkx3"}}}`, "registry credentials"},
		{"root/.npmrc", "//r.internal/:_authToken=k3Zq9vLwk3Zq9vLw\n", "npm credentials"},
		{"root/.pypirc", "[pypi]\nusername = bot\npassword = k3Zq9vLw\n", "password in .pypirc"},
		{"root/.pgpass", "db:5432:app:bot:k3Zq9vLw\n", "password in .pgpass"},
		{"root/.my.cnf", "[client]\nuser=bot\npassword=\"k3Zq9vLw\"\n", "password in .my.cnf"},
		{"root/.kube/config", "users:\n- user:\n    client-key-data: " + made(80, mixed) + "\n", "Kubernetes credentials"},
		{"root/.vault-token", "s." + made(24, mixed), "Vault or OpenBao token"},
		{"srv/.env", "# x\nexport DB_PASSWORD='k3Zq9vLw'\nPORT=80\n", "value of a variable named as a secret"},
		{"srv/.env.production", "dbPassword=k3Zq9vLw\n", "value of a variable named as a secret"},
		{"var/www/wp-config.php", "<?php define( 'DB_PASSWORD', 'k3Zq9vLw' );", "database password of WordPress"},
		{"root/.s3cfg", "secret_key = " + made(40, mixed), "storage credentials"},
		{"app/x.pyc", "\x00\x00\x00\x00" + github, "GitHub token"},
		{"srv/.env.example", "DB_PASSWORD=k3Zq9vLw", ""},
		{"srv/env", "DB_PASSWORD=k3Zq9vLw", ""},
		{"app/data.bin", "\x00\x00\x00\x00 https://bot:k3Zq9vLw@git.internal/x", ""},
	} {
		want := []string{tt.want}
		if tt.want == "" {
			want = nil
		}
		if diff := cmp.Diff(want, leak.InFile(tt.name, []byte(tt.text))); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

func TestPackedFiles(t *testing.T) {
	text := "TOKEN=" + github + "\n"
	var tarred, zipped bytes.Buffer
	tw := tar.NewWriter(&tarred)
	for _, name := range []string{"a/clean", "a/.env"} {
		body := map[string]string{"a/.env": text}[name]
		if err := tw.WriteHeader(&tar.Header{Name: name, Size: int64(len(body)), Mode: 0o600}); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write([]byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	zw := zip.NewWriter(&zipped)
	w, err := zw.Create("a/.env")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"x.tar": tarred.Bytes(), "x.tar.gz": zip1(t, tarred.Bytes()), "x.tgz": zip1(t, tarred.Bytes()), "x.zip": zipped.Bytes(), "srv/.env.gz": zip1(t, []byte(text)),
	} {
		got := leak.InPacked(name, data, &leak.Budget{Bytes: 1 << 20})
		if len(got) != 1 || !strings.HasPrefix(got[0], "GitHub token, in ") || !leak.IsPacked(name) {
			t.Errorf("%s: %v", name, got)
		}
		if got := leak.InPacked(name, data, &leak.Budget{}); len(got) > 0 {
			t.Errorf("%s is unpacked without a budget: %v", name, got)
		}
		if got := leak.InPacked(name, data[:len(data)/2], &leak.Budget{Bytes: 1 << 20}); len(got) > 1 {
			t.Errorf("%s cut: %v", name, got)
		}
	}
	if leak.IsPacked("usr/share/doc/git/x.gz") || leak.IsPacked("x") {
		t.Error("manuals are unpacked")
	}
}

// TestBombsAreBounded: what unpacks to a thousand times its size costs its bound.
func TestBombsAreBounded(t *testing.T) {
	bomb := zip1(t, make([]byte, 200<<20))
	budget := leak.Budget{Bytes: 256 << 20}
	for range 3 {
		leak.InPacked("x.gz", bomb, &budget)
		leak.InPacked("x.tgz", bomb, &budget)
	}
	if spent := 256<<20 - budget.Bytes; spent > 30<<20 {
		t.Errorf("%d bytes were unpacked", spent)
	}
}

func zip1(t testing.TB, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestSettingsAndCommands(t *testing.T) {
	for setting, want := range map[string]bool{
		"DB_PASSWORD=k3Zq9vLw": true, "dbPassword=k3Zq9vLw": true, "SECRET_KEY=k3Zq9vLwx": true, "AWS_SECRET_ACCESS_KEY=" + made(40, mixed): true,
		"GPG_KEY=E3FF2839C048B25C084DEBE9B26995E310250568": false, "DB_PASSWORD_FILE=/run/secrets/db": false, "TOKEN=/run/token/file": false,
		"API_TOKEN=changeme-please": false, "ACCESS_TOKEN=3600000000": false, "DB_PASSWORD=$DB": false, "COMPASS=k3Zq9vLw": false,
	} {
		name, value, _ := strings.Cut(setting, "=")
		if got := leak.InSetting(name, value); (len(got) > 0) != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	for command, want := range map[string]bool{
		"RUN |1 NPM_TOKEN=k3Zq9vLw /bin/sh -c npm ci": true, "ARG NPM_TOKEN=k3Zq9vLw": true, "app\n--db-password=k3Zq9vLw\n-x": true,
		"curl -H 'Authorization: Bearer " + github + "'": true, "RUN --mount=type=secret,id=t NPM_TOKEN=$(cat /run/secrets/t) npm ci": false, "ENV TOKEN=": false,
	} {
		if got := leak.InCommand(command); (len(got) > 0) != want {
			t.Errorf("%s: %v", command, got)
		}
	}
}

func FuzzLeak(f *testing.F) {
	for _, texts := range forms() {
		f.Add([]byte(texts[0]))
	}
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nMAo=\n-----END PRIVATE KEY-----"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, name := range []string{"x", ".netrc", ".docker/config.json", ".env", ".pgpass", "x.zip", "x.tgz", "x.gz"} {
			for _, detail := range append(leak.InFile(name, data), leak.InPacked(name, data, &leak.Budget{Bytes: 1 << 20})...) {
				if detail == "" || len(data) > 40 && strings.Contains(detail, string(data)) {
					t.Errorf("got %q", detail)
				}
			}
		}
		leak.InSetting("A_TOKEN", string(data))
		leak.InCommand(string(data))
	})
}

func BenchmarkIn(b *testing.B) {
	for name, line := range map[string]string{"prose": "line %d of some file with words and punctuation, as in manuals: %d.\n", "addresses": "line %d: https://docs.internal/page?id=%d, key = value\n"} {
		b.Run(name, func(b *testing.B) {
			var text strings.Builder
			for i := range 20000 {
				fmt.Fprintf(&text, line, i, i)
			}
			data := []byte(text.String())
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				leak.In(data)
			}
		})
	}
}
