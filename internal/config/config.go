// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package config reads the server configuration files of Vault and OpenBao, in
// HCL and JSON, so that habits and test suites carry over. It says what a file
// wants; package server does it. What is not understood is refused with its
// line: a setting that is passed over in silence may be the one that mattered.
package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl"
	"github.com/hashicorp/hcl/hcl/ast"
	"github.com/hashicorp/hcl/hcl/parser"
	"github.com/hashicorp/hcl/hcl/token"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// File is what a configuration file says.
type File struct {
	Listeners []Listener
	Storage   *Stanza
	Seals     []Stanza
	Audit     []Audit

	DefaultLeaseTTL, MaxLeaseTTL time.Duration // 0: not said
	APIAddr, PidFile             string
	LogLevel, LogFormat          string
	AllowAPIAudit                bool
	ClusterName                  string
	// Ignored are settings that are known and mean nothing here.
	Ignored []string
}

// Listener is a listener "tcp".
type Listener struct {
	Address                       string
	CertFile, KeyFile, ClientCA   string
	MinVersion                    string // "tls12", "tls13"
	TLSDisable, RequireClientCert bool
	// UnauthedRekey and UnauthedRoot open the unauthenticated rekey and
	// generate-root paths.
	UnauthedRekey, UnauthedRoot bool
	// ForwardedFor is whose X-Forwarded-For is believed.
	ForwardedFor ForwardedFor
}

// ForwardedFor are the listener's settings of X-Forwarded-For.
type ForwardedFor struct {
	Authorized          []string // networks
	HopSkips            int
	RejectNotPresent    bool
	RejectNotAuthorized bool
}

// Stanza is a block with a name: storage "file" { ... }.
type Stanza struct {
	Type    string
	Options map[string]string
	Line    int
}

// Audit is a declared audit device.
type Audit struct {
	Type, Path, Description string
	Options                 map[string]string
}

// The limits of a file.
const (
	maxBytes = 1 << 20
	maxDepth = 20
)

// Parse reads the text of a file. Its errors name the line.
func Parse(text []byte) (f *File, err error) {
	if len(text) > maxBytes {
		return nil, fault.New(fault.TooLarge, "it is over %d bytes: it is no configuration file", maxBytes)
	}
	if depth(text) > maxDepth {
		return nil, fault.New(fault.Invalid, "it is nested more than %d deep", maxDepth)
	}
	defer func() { // the parser is known to panic on odd input
		if r := recover(); r != nil {
			f, err = nil, fault.New(fault.Invalid, "it is not understood")
		}
	}()
	tree, err := hcl.ParseBytes(text)
	if err != nil {
		var at *parser.PosError
		if errors.As(err, &at) {
			return nil, fault.New(fault.Invalid, "line %d: %s", at.Pos.Line, at.Err)
		}
		return nil, fault.New(fault.Invalid, "%s", firstLine(err))
	}
	root, ok := tree.Node.(*ast.ObjectList)
	if !ok {
		return nil, fault.New(fault.Invalid, "it is not an object")
	}
	f = &File{}
	for _, item := range root.Items {
		if err := f.take(item); err != nil {
			return nil, err
		}
	}
	return f, f.check()
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// depth is how deep brackets are nested, outside of texts: the parser is
// recursive.
func depth(text []byte) (most int) {
	now, quoted := 0, false
	for i, c := range text {
		switch {
		case c == '"' && (i == 0 || text[i-1] != '\\'):
			quoted = !quoted
		case c == '\n':
			quoted = false
		case quoted:
		case c == '{' || c == '[':
			now++
			most = max(most, now)
		case c == '}' || c == ']':
			now--
		}
	}
	return most
}

// known are the top-level names, for the error that lists them.
var known = []string{
	"listener", "storage", "seal", "audit", "default_lease_ttl", "max_lease_ttl", "api_addr", "pid_file",
	"log_level", "log_format", "unsafe_allow_api_audit_creation", "cluster_name",
}

// ignored are settings of Vault and OpenBao that are known and change nothing
// here: there is no cluster port, no plugins, no memory locking, and the metrics
// are always there.
var ignored = []string{
	"ui", "disable_mlock", "cluster_addr", "telemetry", "disable_cache", "cache_size", "disable_clustering", "disable_printable_check",
	"log_file", "log_rotate_duration", "log_rotate_bytes", "log_rotate_max_files", "log_requests_level", "plugin_directory",
	"plugin_file_uid", "plugin_file_permissions", "plugin_auto_download", "plugin_auto_register", "plugin_download_behavior", "disable_performance_standby", "disable_sealwrap", "disable_indexing",
	"enable_response_header_hostname", "enable_response_header_raft_node_id", "detect_deadlocks", "imprecise_lease_role_tracking", "allow_audit_log_prefixing", "introspection_endpoint", "disable_standby_reads", "license_path",
	"default_max_request_duration", "initialize",
}

func (f *File) take(item *ast.ObjectItem) error {
	name := key(item, 0)
	switch name {
	case "listener":
		return f.listener(item)
	case "storage", "backend":
		s, err := stanza(item, 1)
		if err == nil && f.Storage != nil {
			return at(item, "there is a second storage")
		}
		f.Storage = &s
		return err
	case "ha_storage", "ha_backend":
		return at(item, "there is no %s: every server of one PostgreSQL database is active", name)
	case "service_registration":
		return at(item, "there is no service_registration: leave it out")
	case "seal":
		s, err := stanza(item, 1)
		f.Seals = append(f.Seals, s)
		return err
	case "audit":
		return f.audit(item)
	case "raw_storage_endpoint":
		on, err := boolean(item)
		if err == nil && on {
			return at(item, "raw_storage_endpoint is not offered: nobody reads the store past the barrier")
		}
		return err
	}
	if slices.Contains(ignored, name) {
		f.Ignored = append(f.Ignored, name)
		return nil
	}
	return f.setting(name, item)
}

// setting takes one of the plain settings.
func (f *File) setting(name string, item *ast.ObjectItem) (err error) {
	switch name {
	case "default_lease_ttl":
		f.DefaultLeaseTTL, err = duration(item)
	case "max_lease_ttl":
		f.MaxLeaseTTL, err = duration(item)
	case "api_addr":
		f.APIAddr, err = text(item)
	case "pid_file":
		f.PidFile, err = text(item)
	case "cluster_name":
		f.ClusterName, err = text(item)
	case "log_level":
		f.LogLevel, err = text(item)
	case "log_format":
		f.LogFormat, err = text(item)
	case "unsafe_allow_api_audit_creation":
		f.AllowAPIAudit, err = boolean(item)
	default:
		return at(item, "%q is not known", name).WithHint("known are %s; without effect: %s", strings.Join(known, ", "), strings.Join(ignored[:8], ", "))
	}
	return err
}

func (f *File) check() error {
	switch {
	case f.MaxLeaseTTL > 0 && f.DefaultLeaseTTL > f.MaxLeaseTTL:
		return fault.New(fault.Invalid, "default_lease_ttl is longer than max_lease_ttl")
	case len(f.Listeners) > 1:
		return fault.New(fault.Invalid, "there are %d listeners; one is offered", len(f.Listeners))
	}
	return nil
}

func at(item *ast.ObjectItem, format string, args ...any) *fault.Error {
	return fault.New(fault.Invalid, "line %d: %s", item.Pos().Line, fmt.Sprintf(format, args...))
}

// key is one of an item's names: listener "tcp" has two.
func key(item *ast.ObjectItem, i int) string {
	if i >= len(item.Keys) {
		return ""
	}
	name, ok := item.Keys[i].Token.Value().(string)
	if !ok {
		return item.Keys[i].Token.Text
	}
	return name
}

// literal is the text of a plain value.
func literal(item *ast.ObjectItem, node ast.Node) (string, error) {
	lit, ok := node.(*ast.LiteralType)
	if !ok {
		return "", at(item, "%s must be a plain value", key(item, len(item.Keys)-1))
	}
	if lit.Token.Type == token.STRING || lit.Token.Type == token.HEREDOC {
		s, _ := lit.Token.Value().(string)
		return s, nil
	}
	return lit.Token.Text, nil
}

func text(item *ast.ObjectItem) (string, error) { return literal(item, item.Val) }

func boolean(item *ast.ObjectItem) (bool, error) {
	s, err := text(item)
	if err != nil {
		return false, err
	}
	b, err := strconv.ParseBool(s)
	if err != nil {
		return false, at(item, "%s must be true or false", key(item, len(item.Keys)-1))
	}
	return b, nil
}

// duration reads seconds, Go's notation, or days.
func duration(item *ast.ObjectItem) (time.Duration, error) {
	s, err := text(item)
	if err != nil {
		return 0, err
	}
	wrong := at(item, "%s must be a time such as 768h, 30m, 5d or a number of seconds", key(item, len(item.Keys)-1))
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, wrong
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(n) * time.Second, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > 100*365*24*time.Hour {
		return 0, wrong
	}
	return d, nil
}
