// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/goldkeep/goldkeep/internal/audit"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/listener"
	"github.com/goldkeep/goldkeep/internal/manifest"
	"github.com/goldkeep/goldkeep/internal/wire"
)

// Config is the server's configuration file (YAML). Every field's zero value
// works; an unknown field is an error.
type Config struct {
	// Listen is the address to serve on. Default 127.0.0.1:8200.
	Listen string `yaml:"listen"`
	// Data is the folder of the database, the audit log and the TLS files.
	Data string `yaml:"data"`
	// Database is a PostgreSQL connection string; empty: SQLite in Data. Better
	// given by GOLDKEEP_DATABASE_URL, since it may hold a password.
	Database string `yaml:"database"`
	// KeyFile unseals the server at start. Without it people unseal with key shares.
	KeyFile string `yaml:"keyFile"`
	// TrustDomain is the SPIFFE trust domain of the workloads' identities. It
	// cannot be changed later. Default "goldkeep.local".
	TrustDomain string `yaml:"trustDomain"`
	// Node is this server's name in the audit log. Default: the host name.
	Node string `yaml:"node"`
	// IdentityTTL is how long certificates and tokens of workloads live between
	// renewals. Default 10m, at least 10s.
	IdentityTTL manifest.Duration `yaml:"identityTTL"`
	// Seal unseals the server at start by a key that is kept elsewhere.
	Seal Seal `yaml:"seal"`
	// OldSeal is how the server was sealed before, while its seal is turned into the
	// one above: goldkeep operator unseal --migrate.
	OldSeal OldSeal  `yaml:"oldSeal"`
	TLS     TLS      `yaml:"tls"`
	Audit   Audit    `yaml:"audit"`
	Feeds   Feeds    `yaml:"feeds"`
	Vendors []Vendor `yaml:"vendors"`
	// Notifications says how owners are told what changed.
	Notifications Notifications `yaml:"notifications"`
	Log           Log           `yaml:"log"`
	// LeaseTTL is how long tokens and leases live where nothing says otherwise.
	LeaseTTL     LeaseTTL          `yaml:"leaseTTL"`
	ForwardedFor wire.ForwardedFor `yaml:"forwardedFor"`
	// Address is scheme and host others reach this server under (of all servers of a
	// database, where there are several): https://keep.example.com:8200. Default: Listen.
	Address string `yaml:"address"`
	// PidFile gets the number of the process.
	PidFile string `yaml:"pidFile"`
	// Profiles gives out profiles of the server at sys/pprof, to holders of sudo.
	Profiles bool `yaml:"profiles"`
	// InMemory keeps nothing after the end (storage "inmem").
	InMemory bool `yaml:"-"`
	// Ignored names settings of the reference's file that change nothing here.
	Ignored []string `yaml:"-"`
	// Level, where it is set, is the level of the log that is written to; File is the
	// configuration file it is read from again at SIGHUP.
	Level *slog.LevelVar `yaml:"-"`
	File  string         `yaml:"-"`
	// Legacy switches on paths of /v1 that need no token.
	Legacy Legacy `yaml:"legacy"`
}

// LeaseTTL are lifetimes; the default of both is 768h.
type LeaseTTL struct {
	Default manifest.Duration `yaml:"default"`
	Max     manifest.Duration `yaml:"max"`
}

// Legacy are paths that anybody who reaches the server may use. Their successors need
// a token and sudo: sys/rotate/root and sys/generate-root-token.
type Legacy struct {
	Rekey        bool `yaml:"rekey"`        // sys/rekey
	GenerateRoot bool `yaml:"generateRoot"` // sys/generate-root
}

// TLS are the settings of the listener.
type TLS = listener.TLS

// Seal is a key kept elsewhere, which the root key is sealed with.
type Seal struct {
	// Type is transit, awskms, gcpckms, azurekeyvault or url.
	Type string `yaml:"type"`
	// Options are those of the reference's seal stanza of that type. "name" tells two
	// of the same type apart, while one is turned into the other.
	Options map[string]string `yaml:"options"`
}

// OldSeal is a seal or a key file.
type OldSeal struct {
	Seal    `yaml:",inline"`
	KeyFile string `yaml:"keyFile"`
}

// Audit are the settings of the audit log.
type Audit struct {
	// File is where it is written. Default: audit.log in Data.
	File string `yaml:"file"`
	// MinFree is the space the disk must keep free, in bytes; below, nothing is
	// answered. Default 64 MiB.
	MinFree uint64 `yaml:"minFree"`
	// HeadRoom is the space below which changes are refused, in bytes, while reads
	// and deletions go on: also of the disk of Data. Default twice MinFree.
	HeadRoom uint64 `yaml:"headRoom"`
	// Devices get copies of every record.
	Devices []AuditDevice `yaml:"devices"`
	// AllowAPI lets holders of sudo on sys/audit make devices: they can then write
	// files with the server's rights.
	AllowAPI bool `yaml:"allowAPI"`
}

// Log are the settings of the log, which goes to standard error.
type Log struct {
	Level  string `yaml:"level"`  // debug, info (default), warn, error
	Format string `yaml:"format"` // text (default), json
}

// trustDomain follows the SPIFFE ID specification, section 2.1.
var trustDomain = regexp.MustCompile(`^[a-z0-9._-]+$`) // at most 255 bytes: counting in a pattern makes it large

// plainAddress is scheme and host alone.
var plainAddress = regexp.MustCompile(`^https?://[A-Za-z0-9.-]+(:[0-9]+)?$|^https?://\[[0-9a-fA-F:]+\](:[0-9]+)?$`)

// maxConfig bounds the configuration file in bytes.
const maxConfig = 1 << 20

// ReadConfig reads a configuration file.
func ReadConfig(path string) (Config, error) {
	var c Config
	file, err := os.Open(path)
	if err != nil {
		return c, fault.New(fault.Invalid, "open configuration: %w", err)
	}
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(io.LimitReader(file, maxConfig+1))
	if err != nil {
		return c, fault.New(fault.Invalid, "read configuration: %w", err)
	}
	if len(text) > maxConfig {
		return c, fault.New(fault.TooLarge, "%s is over %d bytes: it is no configuration file", path, maxConfig)
	}
	return ParseConfig(path, text)
}

// ParseConfig reads the text of a configuration file.
func ParseConfig(path string, text []byte) (Config, error) {
	var c Config
	if isReference(path, text) {
		return parseReference(path, text)
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return c, fault.New(fault.Invalid, "%s: %s", path, yamlProblem(err)).WithHint("the fields are listed in docs/server.md")
	}
	if err := c.check(); err != nil {
		return c, fault.New(fault.KindOf(err), "%s: %w", path, err)
	}
	return c, nil
}

// goType is what the YAML library says of our types, which means nothing to users.
var goType = regexp.MustCompile(`field (\S+) not found in type \S+`)

// yamlProblem is the library's error in one line and in our words.
func yamlProblem(err error) string {
	var several *yaml.TypeError
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if errors.As(err, &several) {
		text = strings.Join(several.Errors, "; ")
	}
	return goType.ReplaceAllString(text, `there is no field "$1"`)
}

func (c Config) check() error {
	if _, err := c.Log.open(io.Discard, &slog.LevelVar{}); err != nil {
		return err
	}
	if _, err := c.Notifications.options(); err != nil {
		return err
	}
	if err := c.Feeds.check(); err != nil {
		return err
	}
	for _, v := range c.Vendors {
		if err := v.check(); err != nil {
			return err
		}
	}
	if err := c.Audit.check(); err != nil {
		return err
	}
	if _, err := c.ForwardedFor.Networks(); err != nil {
		return err
	}
	if err := c.Seal.check(c.KeyFile); err != nil {
		return err
	}
	if err := c.OldSeal.check(c.Seal); err != nil {
		return err
	}
	if err := c.TLS.Check(); err != nil {
		return err
	}
	switch {
	case c.LeaseTTL.Max > 0 && c.LeaseTTL.Default > c.LeaseTTL.Max:
		return fault.New(fault.Invalid, "leaseTTL.default is longer than leaseTTL.max")
	case c.Address != "" && !plainAddress.MatchString(c.Address):
		return fault.New(fault.Invalid, "address must be scheme and host alone, like https://keep.example.com:8200")
	case c.TrustDomain != "" && (len(c.TrustDomain) > 255 || !trustDomain.MatchString(c.TrustDomain)):
		return fault.New(fault.Invalid, "trustDomain must be lower-case letters, digits, dots, dashes and underscores, like example.org")
	case c.IdentityTTL != 0 && c.ttl() < minTTL:
		return fault.New(fault.Invalid, "identityTTL must be at least %s", minTTL)
	}
	return nil
}

func (a Audit) check() error {
	names := map[string]bool{}
	for _, d := range a.Devices {
		if _, err := audit.OpenDevice(audit.DeviceConfig(d)); err != nil {
			return err
		}
		if names[d.Name] {
			return fault.New(fault.Invalid, "two audit devices are named %s", d.Name)
		}
		names[d.Name] = true
	}
	return nil
}

// withDefaults fills in what was left out.
func (c Config) withDefaults() Config {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "goldkeep"
	}
	c.Listen = cmp.Or(c.Listen, "127.0.0.1:8200")
	c.Data = cmp.Or(c.Data, defaultData())
	c.Database = cmp.Or(c.Database, os.Getenv("GOLDKEEP_DATABASE_URL"))
	c.TrustDomain = cmp.Or(c.TrustDomain, "goldkeep.local")
	c.Node = cmp.Or(c.Node, host)
	c.Audit.File = cmp.Or(c.Audit.File, filepath.Join(c.Data, "audit.log"))
	c.Audit.MinFree = cmp.Or(c.Audit.MinFree, 64<<20)
	c.Audit.HeadRoom = cmp.Or(c.Audit.HeadRoom, 2*c.Audit.MinFree)
	if len(c.TLS.Hosts) == 0 {
		c.TLS.Hosts = []string{"localhost", "127.0.0.1", "::1", host}
	}
	return c
}

// defaultData is where a server of root, or of somebody else, keeps its data.
func defaultData() string {
	if os.Geteuid() == 0 {
		return "/var/lib/goldkeep"
	}
	if dir := os.Getenv("XDG_DATA_HOME"); dir != "" {
		return filepath.Join(dir, "goldkeep-server")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "goldkeep-server"
	}
	return filepath.Join(home, ".local", "share", "goldkeep-server")
}
