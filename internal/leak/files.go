// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package leak

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"path"
	"regexp"
	"slices"
	"strings"
)

// InFile names the kinds of credential in a file: those in its content, and those
// that its name says must be there.
func InFile(name string, data []byte) []string {
	found := In(data)
	if detail := byName(name, data); detail != "" && !slices.Contains(found, detail) {
		found = append(found, detail)
	}
	return found
}

var (
	netrcPassword = lazy(`(?:^|\s)password\s+(\S+)`)
	npmrcToken    = lazy(`(?m)_(?:authToken|auth|password)\s*=\s*"?([^\s"]+)`)
	iniPassword   = lazy(`(?mi)^\s*(?:password|passwd)\s*[=:]\s*["']?([^\s"']+)`)
	s3Secret      = lazy(`(?m)^\s*secret_(?:key|access_key)\s*=\s*(\S{20,})`)
	pgpassLine    = lazy(`(?m)^[^#:\n]+:[^:\n]*:[^:\n]*:[^:\n]*:(\S+)$`)
	kubeSecret    = lazy(`(?m)^\s*(?:client-key-data|token|password):\s*["']?([^\s"']{8,})`)
	vaultToken    = lazy(`^\s*((?:hv)?[sbr]\.[A-Za-z0-9_.-]{20,}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\s*$`)
	wordpress     = lazy(`define\(\s*['"]DB_PASSWORD['"]\s*,\s*['"]([^'"]+)['"]`)
	ansibleVault  = lazy(`^\s*(\S{8,})\s*$`)
)

// holders are files that exist to hold credentials, known by how their path ends.
var holders = []struct {
	ends    []string
	pattern func() *regexp.Regexp
	detail  string
}{
	{[]string{"/.netrc", "/_netrc"}, netrcPassword, "password in .netrc"},
	{[]string{"/.npmrc", "/.yarnrc"}, npmrcToken, "npm credentials"},
	{[]string{"/.pypirc"}, iniPassword, "password in .pypirc"},
	{[]string{"/.pgpass"}, pgpassLine, "password in .pgpass"},
	{[]string{"/.my.cnf", "/.mylogin.cnf"}, iniPassword, "password in .my.cnf"},
	{[]string{"/.s3cfg", "/.boto"}, s3Secret, "storage credentials"},
	{[]string{".kube/config", "/kubeconfig", ".kubeconfig", "etc/kubernetes/admin.conf"}, kubeSecret, "Kubernetes credentials"},
	{[]string{"/.vault-token", "/.bao-token"}, vaultToken, "Vault or OpenBao token"},
	{[]string{"/wp-config.php"}, wordpress, "database password of WordPress"},
	{[]string{"/.vault_pass", "/.vault_pass.txt", "/.vault-pass"}, ansibleVault, "password of an Ansible vault"},
}

// byName looks into files whose name says that they hold credentials.
func byName(name string, data []byte) string {
	name = "/" + name
	for _, h := range holders {
		if slices.ContainsFunc(h.ends, func(end string) bool { return strings.HasSuffix(name, end) }) {
			return whenMatched(h.pattern(), data, h.detail)
		}
	}
	base := path.Base(name)
	switch {
	case strings.HasSuffix(name, ".docker/config.json"), base == ".dockercfg", strings.HasSuffix(name, "containers/auth.json"):
		return registryLogin(data)
	case isEnvFile(base):
		return envFile(data)
	}
	return ""
}

func whenMatched(pattern *regexp.Regexp, data []byte, detail string) string {
	for _, m := range pattern.FindAllSubmatch(data, maxTries) {
		if passwordIsReal(m[1]) {
			return detail
		}
	}
	return ""
}

// isEnvFile knows ".env" and ".env.production", not the samples beside them.
func isEnvFile(base string) bool {
	rest, ok := strings.CutPrefix(base, ".env")
	if !ok || rest != "" && rest[0] != '.' {
		return false
	}
	return !slices.ContainsFunc([]string{"example", "sample", "template", "dist", "test", "default", "schema"}, func(w string) bool { return strings.Contains(rest, w) })
}

// envFile judges each NAME=value line like a variable of the image.
func envFile(data []byte) string {
	lines := 0
	for line := range bytes.SplitSeq(data, []byte{'\n'}) {
		if lines++; lines > maxTries {
			break
		}
		name, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(string(line[:min(len(line), 4096)])), "export "), "=")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		if slices.Contains(InSetting(strings.TrimSpace(name), strings.Trim(strings.TrimSpace(value), `"'`)), namedAsSecret) {
			return namedAsSecret
		}
	}
	return ""
}

// registryLogin looks for "auths" with a name and a password in them.
func registryLogin(data []byte) string {
	var file struct {
		Auths map[string]struct {
			Auth          string `json:"auth"`
			IdentityToken string `json:"identitytoken"`
		} `json:"auths"`
	}
	if json.Unmarshal(data, &file) != nil {
		return ""
	}
	for _, a := range file.Auths {
		login, err := base64.StdEncoding.DecodeString(a.Auth)
		_, password, ok := strings.Cut(string(login), ":")
		if a.IdentityToken != "" || err == nil && ok && password != "" {
			return "registry credentials"
		}
	}
	return ""
}
