// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/internal/config"
)

const inHCL = `
# a usual file
storage "postgresql" {
  connection_url = "postgres://bao@db/bao"
}
listener "tcp" {
  address         = "0.0.0.0:8200"
  tls_cert_file   = "/etc/tls.crt"
  tls_key_file    = "/etc/tls.key"
  tls_min_version = "tls13"
  x_forwarded_for_authorized_addrs = ["10.0.0.0/8", "127.0.0.1"]
  x_forwarded_for_hop_skips = "1"
  disable_unauthed_rekey_endpoints = false
  telemetry { unauthenticated_metrics_access = true }
}
seal "transit" {
  address    = "https://other:8200"
  key_name   = "autounseal"
  mount_path = "transit/"
}
audit "file" "to-file" {
  description = "all"
  options {
    file_path = "/var/log/audit.log"
  }
}
default_lease_ttl = "168h"
max_lease_ttl     = 2764800
api_addr = "https://bao.example:8200"
ui = true
disable_mlock = true
log_level = "info"
telemetry { disable_hostname = true }
unsafe_allow_api_audit_creation = true
`

const inJSON = `{
  "storage": {"postgresql": {"connection_url": "postgres://bao@db/bao"}},
  "listener": {"tcp": {"address": "0.0.0.0:8200", "tls_cert_file": "/etc/tls.crt", "tls_key_file": "/etc/tls.key", "tls_min_version": "tls13",
    "x_forwarded_for_authorized_addrs": "10.0.0.0/8,127.0.0.1", "x_forwarded_for_hop_skips": 1, "disable_unauthed_rekey_endpoints": "false",
    "telemetry": {"unauthenticated_metrics_access": true}}},
  "seal": {"transit": {"address": "https://other:8200", "key_name": "autounseal", "mount_path": "transit/"}},
  "audit": {"file": {"to-file": {"description": "all", "options": {"file_path": "/var/log/audit.log"}}}},
  "default_lease_ttl": "168h", "max_lease_ttl": 2764800, "api_addr": "https://bao.example:8200",
  "ui": true, "disable_mlock": true, "log_level": "info", "telemetry": {"disable_hostname": true}, "unsafe_allow_api_audit_creation": true
}`

func want() *config.File {
	return &config.File{
		Listeners: []config.Listener{{
			Address: "0.0.0.0:8200", CertFile: "/etc/tls.crt", KeyFile: "/etc/tls.key", MinVersion: "tls13", UnauthedRekey: true,
			ForwardedFor: config.ForwardedFor{Authorized: []string{"10.0.0.0/8", "127.0.0.1/32"}, HopSkips: 1},
		}},
		Storage:         &config.Stanza{Type: "postgresql", Options: map[string]string{"connection_url": "postgres://bao@db/bao"}},
		Seals:           []config.Stanza{{Type: "transit", Options: map[string]string{"address": "https://other:8200", "key_name": "autounseal", "mount_path": "transit/"}}},
		Audit:           []config.Audit{{Type: "file", Path: "to-file", Description: "all", Options: map[string]string{"file_path": "/var/log/audit.log"}}},
		DefaultLeaseTTL: 168 * time.Hour, MaxLeaseTTL: 768 * time.Hour, APIAddr: "https://bao.example:8200", LogLevel: "info", AllowAPIAudit: true,
		Ignored: []string{"listener.telemetry", "ui", "disable_mlock", "telemetry"},
	}
}

func TestParse(t *testing.T) {
	for name, text := range map[string]string{"HCL": inHCL, "JSON": inJSON} {
		got, err := config.Parse([]byte(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got.Storage.Line, got.Seals[0].Line = 0, 0
		if diff := cmp.Diff(want(), got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestRefused(t *testing.T) {
	for text, why := range map[string]string{
		"ui = true\nuserinterface = 1":                                    "line 2: \"userinterface\" is not known",
		`listener "unix" { address = "/run/x" }`:                          "only a listener \"tcp\"",
		"listener \"tcp\" {\n  adress = \"x\"\n}":                         "line 2: a listener has no setting \"adress\"",
		`listener "tcp" { tls_min_version = "tls10" }`:                    "tls12 or tls13",
		`listener "tcp" { x_forwarded_for_authorized_addrs = "nowhere" }`: "neither an address nor a network",
		`raw_storage_endpoint = true`:                                     "raw_storage_endpoint is not offered",
		`ha_storage "raft" {}`:                                            "there is no ha_storage",
		"storage \"inmem\" {}\nstorage \"file\" { path = \"x\" }":         "second storage",
		`storage { path = "x" }`:                                          "needs a name",
		`storage "file" { path = ["x"] }`:                                 "plain value",
		`default_lease_ttl = "soon"`:                                      "must be a time",
		"default_lease_ttl = \"2h\"\nmax_lease_ttl = \"1h\"":              "longer than",
		`audit "file" "x" { colour = "red" }`:                             "no setting \"colour\"",
		`listener "tcp" {`:                                                "line 1",
		strings.Repeat("a {", 50) + strings.Repeat("}", 50):               "nested",
		`unsafe_allow_api_audit_creation = "maybe"`:                       "true or false",
	} {
		if _, err := config.Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v, want %q", text, err, why)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(inHCL))
	f.Add([]byte(inJSON))
	f.Add([]byte(`a "b" { c = [1, {d = 2}] }`))
	f.Add([]byte("x = <<EOF\ny\nEOF\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := config.Parse(text)
		if (file == nil) == (err == nil) && err == nil {
			t.Error("neither a file nor an error")
		}
	})
}
