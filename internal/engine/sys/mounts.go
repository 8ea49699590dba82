// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package sys

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/policy"
)

func (e *Engine) mountRoutes() []engine.Route {
	tuneAuth := engine.Ops{Read: e.readTune(true), Write: e.tune(true)}
	tune := engine.Ops{Read: e.readTune(false), Write: e.tune(false)}
	return []engine.Route{
		{Path: "mounts", Ops: engine.Ops{Read: e.listMounts(false)}},
		{Path: "auth", Ops: engine.Ops{Read: e.listMounts(true)}},
		{Path: "remount", Ops: engine.Ops{Write: e.remount}},
		{Path: "internal/ui/mounts", Ops: engine.Ops{Read: e.visibleMounts}},
		{Path: "internal/ui/mounts/{path...}", Ops: engine.Ops{Read: e.mountBelow}},
		{Path: "mounts/{path...}", Ops: engine.Ops{
			Read:   suffixed(tune.Read, e.readMount(false)),
			Write:  suffixed(tune.Write, e.mount(false)),
			Delete: e.unmount(false),
		}},
		{Path: "auth/{path...}", Ops: engine.Ops{
			Read:   suffixed(tuneAuth.Read, e.readMount(true)),
			Write:  suffixed(tuneAuth.Write, e.mount(true)),
			Delete: e.unmount(true),
		}},
	}
}

// suffixed picks the handler for ".../tune": mount paths may hold slashes.
func suffixed(tune, other engine.Handler) engine.Handler {
	return func(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
		if path, ok := strings.CutSuffix(v["path"], "/tune"); ok {
			return tune(ctx, req, engine.Vars{"path": path})
		}
		return other(ctx, req, v)
	}
}

// mountPath is a mount's full path, from the name below sys/mounts or sys/auth.
func mountPath(name string, isAuth bool) string {
	name = strings.Trim(name, "/") + "/"
	if isAuth {
		return "auth/" + name
	}
	return name
}

// shownMount is what is told about a mount.
type shownMount struct {
	Accessor       string            `json:"accessor"`
	Config         shownConfig       `json:"config"`
	DeprecationSt  string            `json:"deprecation_status,omitempty"`
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
	DefaultTTL   int64  `json:"default_lease_ttl"`
	MaxTTL       int64  `json:"max_lease_ttl"`
	ForceNoCache bool   `json:"force_no_cache"`
	Listing      string `json:"listing_visibility,omitempty"`
	TokenType    string `json:"token_type,omitempty"`
}

func shown(m engine.Mount) shownMount {
	s := shownMount{Accessor: m.Accessor, Description: m.Description, Options: m.Options, Type: m.Kind, UUID: m.UUID}
	s.Config = shownConfig{
		DefaultTTL: seconds(m.Config.DefaultTTL), MaxTTL: seconds(m.Config.MaxTTL),
		ForceNoCache: m.Config.ForceNoCache, Listing: m.Config.Listing,
	}
	if m.Auth() {
		s.Config.TokenType = "default-service"
	}
	return s
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

func (e *Engine) listMounts(isAuth bool) engine.Handler {
	return func(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
		all, err := e.o.Mounts.List(ctx)
		if err != nil {
			return nil, err
		}
		list := map[string]shownMount{}
		for _, m := range all {
			if m.Auth() == isAuth {
				list[strings.TrimPrefix(m.Path, "auth/")] = shown(m)
			}
		}
		return &engine.Response{Data: list, Flat: true}, nil
	}
}

func (e *Engine) find(ctx context.Context, name string, isAuth bool) (*engine.Mount, error) {
	path := mountPath(name, isAuth)
	m, err := e.o.Mounts.Get(ctx, path)
	if err != nil {
		return nil, err
	}
	if m == nil && isAuth {
		return nil, fault.New(fault.Invalid, "No auth engine at %s", strings.TrimPrefix(path, "auth/"))
	}
	if m == nil {
		return nil, fault.New(fault.Invalid, "No secret engine mount at %s", path)
	}
	return m, nil
}

func (e *Engine) readMount(isAuth bool) engine.Handler {
	return func(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
		m, err := e.find(ctx, v["path"], isAuth)
		if err != nil {
			return nil, err
		}
		return &engine.Response{Data: shown(*m), Flat: true}, nil
	}
}

func (e *Engine) mount(isAuth bool) engine.Handler {
	return func(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
		return nil, e.add(ctx, engine.Read(req), mountPath(v["path"], isAuth), isAuth)
	}
}

func (e *Engine) add(ctx context.Context, f *engine.Fields, path string, isAuth bool) error {
	m := engine.Mount{Path: path, Kind: f.Text("type"), Description: f.Text("description"), Options: f.Map("options")}
	if f.Err() != nil {
		return f.Err()
	}
	if m.Kind == "" {
		return missing("type")
	}
	if !isAuth && strings.HasPrefix(m.Path, "auth/") || strings.HasPrefix(m.Path, "sys/") {
		return fault.New(fault.Invalid, "cannot mount at %q", m.Path)
	}
	if err := readMountConfig(f.Object("config"), &m.Config); err != nil {
		return err
	}
	if err := settleKind(&m); err != nil {
		return err
	}
	return e.o.Mounts.Add(ctx, m)
}

// settleKind turns the names clients use for kv into its kind and version.
func settleKind(m *engine.Mount) error {
	if m.Kind == "kv-v2" || m.Kind == "generic" || m.Kind == "kv-v1" {
		version := map[string]string{"kv-v2": "2"}[m.Kind]
		m.Kind = "kv"
		if version != "" {
			if m.Options == nil {
				m.Options = map[string]string{}
			}
			m.Options["version"] = version
		}
	}
	if v, ok := m.Options["version"]; m.Kind == "kv" && ok && v != "" && v != "1" && v != "2" {
		return fault.New(fault.Invalid, "options.version of kv must be \"1\" or \"2\"")
	}
	return nil
}

// readMountConfig takes the settings that were sent and leaves the others.
func readMountConfig(f *engine.Fields, c *engine.MountConfig) error {
	if f.Has("default_lease_ttl") {
		c.DefaultTTL = systemTTL(f, "default_lease_ttl")
	}
	if f.Has("max_lease_ttl") {
		c.MaxTTL = systemTTL(f, "max_lease_ttl")
	}
	if f.Has("listing_visibility") {
		c.Listing = f.Text("listing_visibility")
	}
	if f.Has("token_type") {
		c.TokenType = f.Text("token_type")
	}
	c.ForceNoCache = f.Bool("force_no_cache", c.ForceNoCache)
	switch {
	case f.Err() != nil:
		return f.Err()
	case c.MaxTTL > 0 && c.DefaultTTL > c.MaxTTL:
		return fault.New(fault.Invalid, "default_lease_ttl is above max_lease_ttl")
	case !slices.Contains([]string{"", "hidden", "unauth"}, c.Listing):
		return fault.New(fault.Invalid, "listing_visibility must be \"hidden\" or \"unauth\"")
	}
	return nil
}

// systemTTL reads a lifetime; "system" and nothing mean the system's own.
func systemTTL(f *engine.Fields, name string) time.Duration {
	if f.Text(name) == "system" {
		return 0
	}
	return f.Duration(name)
}

func (e *Engine) unmount(isAuth bool) engine.Handler {
	return func(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
		path := mountPath(v["path"], isAuth)
		slot, err := e.o.Mounts.Slot(ctx, path)
		if err != nil || slot == nil {
			return nil, err
		}
		if !slot.Fixed {
			if err := e.o.Leases.RevokePrefix(ctx, path, true); err != nil {
				return nil, err
			}
		}
		if !isAuth || slot.Fixed {
			return nil, e.o.Mounts.Remove(ctx, path)
		}
		return nil, e.removeAuth(ctx, slot.Mount)
	}
}

// removeAuth unmounts an auth method with all tokens that came from it, those too
// that were made while it was going.
func (e *Engine) removeAuth(ctx context.Context, m engine.Mount) error {
	if _, err := e.o.Tokens.RevokeOrigin(ctx, m.UUID); err != nil {
		return err
	}
	if err := e.o.Mounts.Remove(ctx, m.Path); err != nil {
		return err
	}
	_, err := e.o.Tokens.RevokeOrigin(ctx, m.UUID)
	return err
}

func (e *Engine) readTune(isAuth bool) engine.Handler {
	return func(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
		if isAuthName(v["path"]) {
			return e.readTune(true)(ctx, nil, engine.Vars{"path": strings.TrimPrefix(v["path"], "auth/")})
		}
		m, err := e.find(ctx, v["path"], isAuth)
		if err != nil {
			return nil, err
		}
		data := map[string]any{
			"default_lease_ttl": seconds(m.DefaultTTL()), "max_lease_ttl": seconds(m.MaxTTL()),
			"force_no_cache": m.Config.ForceNoCache, "description": m.Description,
		}
		if m.Config.Listing != "" {
			data["listing_visibility"] = m.Config.Listing
		}
		if len(m.Options) > 0 {
			data["options"] = m.Options
		}
		if m.Auth() {
			data["token_type"] = "default-service"
		}
		return &engine.Response{Data: data, Flat: true}, nil
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
		path := mountPath(v["path"], isAuth && !isAuthName(v["path"]))
		if _, err := e.find(ctx, strings.TrimPrefix(path, "auth/"), isAuth || isAuthName(v["path"])); err != nil {
			return nil, err
		}
		return nil, e.o.Mounts.Tune(ctx, path, func(m *engine.Mount) error {
			if f.Has("description") {
				m.Description = f.Text("description")
			}
			if version := options["version"]; version == "1" && m.Options["version"] == "2" {
				return fault.New(fault.Invalid, "cannot downgrade mount from version 2")
			}
			m.Options = mergeOptions(m.Options, options)
			if err := settleKind(m); err != nil {
				return err
			}
			return readMountConfig(f, &m.Config)
		})
	}
}

func mergeOptions(have, more map[string]string) map[string]string {
	merged := map[string]string{}
	for _, options := range []map[string]string{have, more} {
		for k, v := range options {
			merged[k] = v
		}
	}
	if len(merged) == 0 {
		return nil
	}
	return merged
}

func (e *Engine) remount(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	from, to := f.Text("from"), f.Text("to")
	if f.Err() != nil || from == "" || to == "" {
		return nil, fault.New(fault.Invalid, "both 'from' and 'to' path must be specified as a string")
	}
	if err := e.o.Leases.RevokePrefix(ctx, mountPath(from, false), true); err != nil {
		return nil, err
	}
	if err := e.o.Mounts.Move(ctx, from, to); err != nil {
		return nil, err
	}
	return &engine.Response{Data: map[string]string{"migration_id": req.ID}, Flat: true}, nil
}

// uiMount is what the internal paths tell about a mount.
type uiMount struct {
	shownMount
	Path string `json:"path,omitempty"`
}

// holder is the policies of whoever asks, on paths that are open to all. Nobody
// is nil.
func (e *Engine) holder(ctx context.Context, token string) (*policy.Set, error) {
	if token == "" {
		return nil, nil
	}
	info, err := e.o.Tokens.Info(ctx, token)
	if fault.Is(err, fault.Denied) || fault.Is(err, fault.NotFound) || fault.Is(err, fault.Invalid) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return e.set(ctx, info)
}

func (e *Engine) set(ctx context.Context, info *auth.Info) (*policy.Set, error) {
	set, err := e.o.Policies.Set(ctx, info.All(), info.Identity)
	return &set, err
}

// visibleMounts shows everybody the mounts meant for that, and the holder of a
// token those it may use.
func (e *Engine) visibleMounts(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	set, err := e.holder(ctx, req.Token)
	if err != nil {
		return nil, err
	}
	all, err := e.o.Mounts.List(ctx)
	if err != nil {
		return nil, err
	}
	secret, authed := map[string]any{}, map[string]any{}
	for _, m := range all {
		if m.Config.Listing != "unauth" && (set == nil || !set.Any(m.Path)) {
			continue
		}
		group, name := secret, m.Path
		if m.Auth() {
			group, name = authed, strings.TrimPrefix(m.Path, "auth/")
		}
		if set != nil {
			group[name] = shown(m)
		} else {
			group[name] = map[string]any{"type": m.Kind, "description": m.Description, "options": m.Options}
		}
	}
	return &engine.Response{Data: map[string]any{"secret": secret, "auth": authed}}, nil
}

// mountBelow names the mount that serves a path. Who may do nothing there is
// refused, also where there is no mount: the kv commands would else guess.
func (e *Engine) mountBelow(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	denied := fault.New(fault.Denied, "preflight capability check returned 403, please ensure client's policies grant access to path %q", v["path"]+"/")
	set, err := e.holder(ctx, req.Token)
	if err != nil {
		return nil, err
	}
	slot, _, err := e.o.Mounts.Resolve(ctx, strings.Trim(v["path"], "/")+"/")
	if err != nil {
		return nil, err
	}
	if set == nil || slot == nil || !set.Any(slot.Mount.Path) {
		return nil, denied
	}
	raw, err := json.Marshal(uiMount{shown(slot.Mount), slot.Mount.Path})
	return &engine.Response{Data: json.RawMessage(raw)}, err
}
