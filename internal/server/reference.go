// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goldkeep/goldkeep/internal/config"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/manifest"
	"github.com/goldkeep/goldkeep/internal/wire"
)

// Files of Vault and OpenBao end in .hcl or .json; ours in .yaml or .yml. Of one
// with another name the first word that counts tells.
func isReference(path string, text []byte) bool {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".hcl", ".json":
		return true
	case ".yaml", ".yml":
		return false
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, "//") {
			continue
		}
		return line[0] == '{' || strings.HasSuffix(line, "{") || strings.Contains(line, "=") && !strings.Contains(line, ": ")
	}
	return false
}

// parseReference makes our configuration of a file of Vault or OpenBao.
func parseReference(path string, text []byte) (Config, error) {
	f, err := config.Parse(text)
	if err != nil {
		return Config{}, named(path, err)
	}
	c := Config{
		PidFile: f.PidFile, Address: strings.TrimSuffix(f.APIAddr, "/"), Ignored: f.Ignored,
		LeaseTTL: LeaseTTL{Default: manifest.Duration(f.DefaultLeaseTTL), Max: manifest.Duration(f.MaxLeaseTTL)},
	}
	c.Audit.AllowAPI = f.AllowAPIAudit
	for _, step := range []func(*config.File) error{c.takeListener, c.takeStorage, c.takeSeals, c.takeAudit, c.takeLog} {
		if err := step(f); err != nil {
			return Config{}, named(path, err)
		}
	}
	if err := c.check(); err != nil {
		return Config{}, named(path, err)
	}
	return c, nil
}

func named(path string, err error) error {
	return fault.New(fault.KindOf(err), "%s: %w", path, err).WithHint("%s", fault.HintOf(err))
}

func (c *Config) takeListener(f *config.File) error {
	for _, l := range f.Listeners {
		c.Listen = l.Address
		c.TLS = TLS{Cert: l.CertFile, Key: l.KeyFile, Off: l.TLSDisable, MinVersion: l.MinVersion, ClientCA: l.ClientCA, RequireClientCert: l.RequireClientCert}
		c.Legacy = Legacy{Rekey: l.UnauthedRekey, GenerateRoot: l.UnauthedRoot}
		x := l.ForwardedFor
		c.ForwardedFor = wire.ForwardedFor{From: x.Authorized, Skip: x.HopSkips, RejectMissing: x.RejectNotPresent, RejectOthers: x.RejectNotAuthorized}
	}
	return nil
}

// takeStorage maps a storage on ours: a database, a folder, or memory.
func (c *Config) takeStorage(f *config.File) error {
	if f.Storage == nil {
		return fault.New(fault.Invalid, "there is no storage").WithHint(`write storage "file" { path = "/var/lib/goldkeep" }, storage "postgresql" { connection_url = "..." } or storage "inmem" {}`)
	}
	o := f.Storage.Options
	known := []string{}
	switch f.Storage.Type {
	case "inmem":
		c.InMemory = true
	case "file":
		known = []string{"path"}
		if c.Data = o["path"]; c.Data == "" {
			return fault.New(fault.Invalid, "line %d: storage \"file\" needs a path", f.Storage.Line)
		}
	case "postgresql":
		known = []string{"connection_url", "table", "max_parallel", "ha_enabled", "ha_table", "skip_create_table", "max_connect_retries", "max_idle_connections", "data"}
		if c.Database = cmp.Or(os.Getenv("BAO_PG_CONNECTION_URL"), os.Getenv("VAULT_PG_CONNECTION_URL"), o["connection_url"]); c.Database == "" {
			return fault.New(fault.Invalid, "line %d: storage \"postgresql\" needs a connection_url", f.Storage.Line)
		}
		c.Data = o["data"] // ours: where the audit log is
	default:
		return fault.New(fault.Invalid, "line %d: storage %q is not offered", f.Storage.Line, f.Storage.Type).WithHint("offered are inmem, file (SQLite in that folder) and postgresql")
	}
	for name := range o {
		if !slices.Contains(known, name) {
			return fault.New(fault.Invalid, "line %d: storage %q has no setting %q", f.Storage.Line, f.Storage.Type, name)
		}
	}
	return nil
}

// takeSeals maps the seal: none or "shamir" are key shares, "static" is a key file. A
// disabled one is the one of before.
func (c *Config) takeSeals(f *config.File) error {
	for _, s := range f.Seals {
		taken, file := &c.Seal, &c.KeyFile
		if s.Options["disabled"] == "true" {
			taken, file = &c.OldSeal.Seal, &c.OldSeal.KeyFile
		}
		switch {
		case taken.Type != "" || *file != "":
			return fault.New(fault.Invalid, "line %d: there is a second seal; one is offered, and one that is disabled", s.Line)
		case s.Type == "shamir":
		case s.Type == "static":
			path, ok := strings.CutPrefix(s.Options["current_key"], "file://")
			if !ok {
				return fault.New(fault.Invalid, "line %d: of a static seal the current_key must be file:///...: keys do not belong in this file", s.Line)
			}
			*file = path
		default:
			*taken = Seal{Type: s.Type, Options: s.Options}
		}
	}
	return nil
}

func (c *Config) takeAudit(f *config.File) error {
	for _, a := range f.Audit {
		c.Audit.Devices = append(c.Audit.Devices, AuditDevice{Name: a.Path, Type: a.Type, Description: a.Description, Options: a.Options})
	}
	return nil
}

func (c *Config) takeLog(f *config.File) error {
	switch level := strings.ToLower(f.LogLevel); level {
	case "":
	case "trace":
		c.Log.Level = "debug"
	case "err":
		c.Log.Level = "error"
	default:
		c.Log.Level = level
	}
	if f.LogFormat != "standard" {
		c.Log.Format = f.LogFormat
	}
	return nil
}
