// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package sys

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// shownMount is what is told about a mount.
type shownMount struct {
	Accessor       string            `json:"accessor"`
	Config         shownConfig       `json:"config"`
	Deprecation    string            `json:"deprecation_status,omitempty"`
	Description    string            `json:"description"`
	External       bool              `json:"external_entropy_access"`
	Local          bool              `json:"local"`
	Options        map[string]string `json:"options"`
	PluginVersion  string            `json:"plugin_version"`
	RunningVersion string            `json:"running_plugin_version"`
	RunningSHA     string            `json:"running_sha256"`
	SealWrap       bool              `json:"seal_wrap"`
	Type           string            `json:"type"`
	UUID           string            `json:"uuid"`
}

// shownConfig is a mount's configuration; 0 means: as the system does.
type shownConfig struct {
	DefaultTTL   int64 `json:"default_lease_ttl"`
	MaxTTL       int64 `json:"max_lease_ttl"`
	ForceNoCache bool  `json:"force_no_cache"`
	tuned
	UserLockout *shownLockout `json:"user_lockout_config,omitempty"`
}

// shownLockout are the limits of failed logins of a mount; 0 means: as usual.
type shownLockout struct {
	Reset     int64 `json:"user_lockout_counter_reset_duration"`
	Off       bool  `json:"user_lockout_disable"`
	Duration  int64 `json:"user_lockout_duration"`
	Threshold int   `json:"user_lockout_threshold"`
}

func lockoutOf(c *engine.LockoutConfig) *shownLockout {
	if c == nil {
		return nil
	}
	return &shownLockout{seconds(c.Reset), c.Off, seconds(c.Duration), c.Threshold}
}

// tuned are the settings that are told only where somebody has made them.
type tuned struct {
	Listing         string   `json:"listing_visibility,omitempty"`
	TokenType       string   `json:"token_type,omitempty"`
	AuditRequest    []string `json:"audit_non_hmac_request_keys,omitempty"`
	AuditResponse   []string `json:"audit_non_hmac_response_keys,omitempty"`
	RequestHeaders  []string `json:"passthrough_request_headers,omitempty"`
	ResponseHeaders []string `json:"allowed_response_headers,omitempty"`
}

func tunedOf(m engine.Mount) tuned {
	c := m.Config
	t := tuned{
		Listing: c.Listing, TokenType: c.TokenType, AuditRequest: c.AuditRequest, AuditResponse: c.AuditResponse,
		RequestHeaders: c.RequestHeaders, ResponseHeaders: c.ResponseHeaders,
	}
	if m.Auth() && t.TokenType == "" {
		t.TokenType = "default-service"
	}
	return t
}

func (e *Engine) shown(m engine.Mount) shownMount {
	shown := shownMount{
		Accessor: m.Accessor, Description: m.Description, Options: m.Options, Type: m.Kind, UUID: m.UUID, Local: m.Local, SealWrap: m.SealWrap,
		PluginVersion: m.Config.PluginVersion, RunningVersion: e.builtinVersion(),
		Config: shownConfig{
			DefaultTTL: seconds(m.Config.DefaultTTL), MaxTTL: seconds(m.Config.MaxTTL),
			ForceNoCache: m.Config.ForceNoCache, tuned: tunedOf(m), UserLockout: lockoutOf(m.Config.UserLockout),
		},
	}
	if !e.o.Mounts.Fixed(m.Path) {
		shown.Deprecation = "supported"
	}
	return shown
}

// shownTune is the answer to a read of a mount's settings, as they are in effect.
type shownTune struct {
	DefaultTTL    int64             `json:"default_lease_ttl"`
	MaxTTL        int64             `json:"max_lease_ttl"`
	ForceNoCache  bool              `json:"force_no_cache"`
	Description   string            `json:"description"`
	Options       map[string]string `json:"options,omitempty"`
	PluginVersion string            `json:"plugin_version,omitempty"`
	tuned
	*shownLockout
}

func (e *Engine) readTune(isAuth bool) engine.Handler {
	return func(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
		if isAuthName(v["path"]) {
			return e.readTune(true)(ctx, nil, engine.Vars{"path": strings.TrimPrefix(v["path"], "auth/")})
		}
		path := mountPath(v["path"], isAuth)
		m, err := e.o.Mounts.Get(ctx, path)
		if err != nil {
			return nil, err
		}
		if m == nil {
			return nil, fault.New(fault.Invalid, "cannot fetch sysview for path %q", path).WithHint("nothing is mounted there")
		}
		return &engine.Response{Flat: true, Data: shownTune{
			DefaultTTL: seconds(m.DefaultTTL()), MaxTTL: seconds(m.MaxTTL()), ForceNoCache: m.Config.ForceNoCache,
			Description: m.Description, Options: m.Options, PluginVersion: m.Config.PluginVersion, tuned: tunedOf(*m),
			shownLockout: lockoutOf(m.Config.UserLockout),
		}}, nil
	}
}

// isAuthName reports whether an auth mount was named below sys/mounts, as the
// command line does to tune one.
func isAuthName(name string) bool { return strings.HasPrefix(name, "auth/") }

func (e *Engine) tune(isAuth bool) engine.Handler {
	return func(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
		f := engine.Read(req)
		options := f.Map("options")
		if f.Err() != nil {
			return nil, f.Err()
		}
		path := mountPath(v["path"], isAuth)
		return nil, e.o.Mounts.Tune(ctx, path, func(m *engine.Mount) error {
			if f.Has("description") {
				m.Description = f.Text("description")
			}
			switch version := options["version"]; {
			case m.Kind == "kv" && !slices.Contains([]string{"", "1", "2"}, version):
				return fault.New(fault.Invalid, "invalid version provided: %s", version)
			case version == "1" && m.Options["version"] == "2":
				return fault.New(fault.Invalid, "cannot downgrade mount from version 2")
			case f.Text("token_type") != "" && !m.Auth():
				return fault.New(fault.Invalid, "'token_type' can only be modified on auth mounts")
			}
			m.Options = mergeOptions(m.Options, options)
			if err := settleKind(m); err != nil {
				return err
			}
			if err := tuneLifetimes(f, &m.Config); err != nil {
				return err
			}
			return readMountConfig(f, m)
		})
	}
}

func mergeOptions(have, more map[string]string) map[string]string {
	merged := map[string]string{}
	maps.Copy(merged, have)
	maps.Copy(merged, more)
	if len(merged) == 0 {
		return have
	}
	return merged
}

// readMountConfig takes the settings that were sent and leaves the others.
func readMountConfig(f *engine.Fields, m *engine.Mount) error {
	c := &m.Config
	for name, to := range map[string]*string{"listing_visibility": &c.Listing, "token_type": &c.TokenType, "plugin_version": &c.PluginVersion} {
		if f.Has(name) {
			*to = f.Text(name)
		}
	}
	for name, to := range map[string]*[]string{
		"audit_non_hmac_request_keys": &c.AuditRequest, "audit_non_hmac_response_keys": &c.AuditResponse,
		"passthrough_request_headers": &c.RequestHeaders, "allowed_response_headers": &c.ResponseHeaders,
	} {
		if f.Has(name) {
			*to = f.List(name)
		}
	}
	c.ForceNoCache = f.Bool("force_no_cache", c.ForceNoCache)
	if err := readUserLockout(f, m); err != nil {
		return err
	}
	switch {
	case f.Err() != nil:
		return f.Err()
	case !slices.Contains([]string{"", "hidden", "unauth"}, c.Listing):
		return fault.New(fault.Invalid, "invalid listing_visibility %s", c.Listing).WithHint("want \"hidden\" or \"unauth\"")
	case !slices.Contains([]string{"", "default-service", "default-batch", "service", "batch"}, c.TokenType):
		return fault.New(fault.Invalid, "invalid value for 'token_type'")
	}
	return nil
}

// firstLifetimes reads those of a mount that is being made.
func firstLifetimes(f *engine.Fields, c *engine.MountConfig) (err error) {
	if c.DefaultTTL, err = systemTTL(f, "default_lease_ttl"); err != nil {
		return fault.New(fault.Invalid, "unable to parse default TTL of %s: %w", f.Text("default_lease_ttl"), err)
	}
	if c.MaxTTL, err = systemTTL(f, "max_lease_ttl"); err != nil {
		return fault.New(fault.Invalid, "unable to parse max TTL of %s: %w", f.Text("max_lease_ttl"), err)
	}
	switch {
	case c.MaxTTL > 0 && c.DefaultTTL > c.MaxTTL:
		return fault.New(fault.Invalid, "given default lease TTL greater than given max lease TTL")
	case c.MaxTTL == 0 && c.DefaultTTL > engine.DefaultTTL:
		return fault.New(fault.Invalid, "given default lease TTL greater than system max lease TTL of %d", seconds(engine.DefaultTTL))
	}
	return nil
}

// tuneLifetimes changes those of a mount; clients send "" for what they leave as
// it is.
func tuneLifetimes(f *engine.Fields, c *engine.MountConfig) (err error) {
	for name, to := range map[string]*time.Duration{"default_lease_ttl": &c.DefaultTTL, "max_lease_ttl": &c.MaxTTL} {
		if f.Text(name) == "" {
			continue
		}
		if *to, err = systemTTL(f, name); err != nil {
			return err
		}
	}
	if c.MaxTTL > 0 && c.DefaultTTL > c.MaxTTL {
		return fault.New(fault.Invalid, "backend max lease TTL of %d would be less than backend default lease TTL of %d", seconds(c.MaxTTL), seconds(c.DefaultTTL))
	}
	return nil
}

// systemTTL reads a lifetime; "system" and nothing mean the system's own.
func systemTTL(f *engine.Fields, name string) (time.Duration, error) {
	if f.Text(name) == "system" {
		return 0, nil
	}
	return engine.ParseDuration(f.Text(name))
}

// locking are the auth methods that lock people out.
var locking = []string{"userpass", "approle", "ldap"}

// readUserLockout takes the limits of failed logins.
func readUserLockout(f *engine.Fields, m *engine.Mount) error {
	if !f.Has("user_lockout_config") {
		return nil
	}
	if !m.Auth() || !slices.Contains(locking, m.Kind) {
		return fault.New(fault.Invalid, "tuning of user lockout configuration for auth type %q not allowed", m.Kind)
	}
	in, c := f.Object("user_lockout_config"), engine.LockoutConfig{}
	if m.Config.UserLockout != nil {
		c = *m.Config.UserLockout
	}
	c.Off, c.Threshold = in.Bool("lockout_disable", c.Off), in.Int("lockout_threshold", c.Threshold)
	if in.Has("lockout_duration") {
		c.Duration = in.Duration("lockout_duration")
	}
	if in.Has("lockout_counter_reset_duration") {
		c.Reset = in.Duration("lockout_counter_reset_duration")
	}
	if in.Err() == nil && c.Threshold < 0 {
		return fault.New(fault.Invalid, "lockout_threshold must not be negative")
	}
	m.Config.UserLockout = &c
	return in.Err()
}

// moved is what is remembered of a remount.
type moved struct {
	ID   string `json:"id"`
	From string `json:"from"`
	To   string `json:"to"`
}

const (
	movesAt  = "moves"
	maxMoves = 100 // remembered
)

// unreachable reports whether a path is one that is refused in requests: what was
// moved there would be lost.
func unreachable(path string) bool {
	odd := func(r rune) bool { return !unicode.IsPrint(r) }
	return len(path) > maxMountPath || strings.Contains(path, "..") || strings.Contains(path, "//") || !utf8.ValidString(path) || strings.ContainsFunc(path, odd)
}

// maxMountPath leaves room in a path for what is below the mount, in bytes.
const maxMountPath = 512

func (e *Engine) remount(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	from, to := f.Text("from"), f.Text("to")
	if f.Err() != nil || from == "" || to == "" {
		return nil, fault.New(fault.Invalid, "both 'from' and 'to' path must be specified as a string")
	}
	m := moved{ID: req.ID, From: mountPath(from, false), To: mountPath(to, false)}
	switch {
	case e.o.Mounts.Fixed(m.From):
		return nil, fault.New(fault.Invalid, "cannot remount %q", m.From)
	case isAuthName(m.From) && !isAuthName(m.To):
		return nil, fault.New(fault.Invalid, "cannot remount auth mount to non-auth mount %q", m.To)
	case !isAuthName(m.From) && protected(m.To) || m.To == "auth/":
		return nil, fault.New(fault.Invalid, "cannot remount to destination %s", m.To)
	case unreachable(m.To):
		return nil, fault.New(fault.Invalid, "cannot remount to destination %q: no request could name it", m.To)
	}
	if err := e.o.Leases.RevokePrefix(ctx, m.From, true); err != nil {
		return nil, err
	}
	if err := e.o.Mounts.Move(ctx, m.From, m.To); err != nil {
		return nil, err
	}
	err := change(ctx, e.o.Space, movesAt, func(all *[]moved) {
		*all = append(*all, m)
		*all = (*all)[max(0, len(*all)-maxMoves):]
	})
	return &engine.Response{Data: map[string]string{"migration_id": m.ID}, Flat: true}, err
}

// remountStatus tells of a remount, which was over when it was answered.
func (e *Engine) remountStatus(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	all, err := look[[]moved](ctx, e.o.Space, movesAt)
	if err != nil {
		return nil, err
	}
	for _, m := range all {
		if m.ID == v["migration_id"] {
			return &engine.Response{Data: map[string]any{
				"migration_id":   m.ID,
				"migration_info": map[string]string{"source_mount": m.From, "target_mount": m.To, "status": "success"},
			}}, nil
		}
	}
	return nil, nil
}
