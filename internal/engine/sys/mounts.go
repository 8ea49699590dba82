// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package sys

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/policy"
)

// What the paths of mounts take.
const (
	tuneFields = "default_lease_ttl:duration max_lease_ttl:duration description audit_non_hmac_request_keys:list audit_non_hmac_response_keys:list " +
		"listing_visibility passthrough_request_headers:list allowed_response_headers:list token_type user_lockout_config:map plugin_version options:map " +
		"force_no_cache:boolean"
	mountFields = "type description config:map options:map local:boolean seal_wrap:boolean external_entropy_access:boolean plugin_name plugin_version " + tuneFields
)

func (e *Engine) mountRoutes() []engine.Route {
	tuneAuth := engine.Ops{Read: e.readTune(true), Write: e.tune(true)}
	tune := engine.Ops{Read: e.readTune(false), Write: e.tune(false)}
	return []engine.Route{
		{Path: "mounts", Help: "The secret engines that are mounted.", Ops: engine.Ops{Read: e.listMounts(false)}},
		{Path: "auth", Help: "The auth methods that are enabled.", Ops: engine.Ops{Read: e.listMounts(true)}},
		{Path: "remount", Help: "Gives a mount another path; its leases are revoked.", Takes: "from to", Ops: engine.Ops{Write: e.remount}},
		{Path: "remount/status/{migration_id}", Help: "How a remount went.", Ops: engine.Ops{Read: e.remountStatus}},
		{Path: "internal/ui/mounts", Help: "The mounts the caller may see.", Ops: engine.Ops{Read: e.visibleMounts}},
		{Path: "internal/ui/mounts/{path...}", Help: "The mount that serves a path.", Ops: engine.Ops{Read: e.mountBelow}},
		{Path: "mounts/{path...}", Help: "A mount: enable, read, tune (below /tune), disable.", Takes: mountFields, Ops: engine.Ops{
			Read:   suffixed(tune.Read, e.readMount(false)),
			Write:  suffixed(tune.Write, e.mount(false)),
			Delete: e.unmount(false),
		}},
		{Path: "auth/{path...}", Help: "An auth method: enable, read, tune (below /tune), disable.", Takes: mountFields, Ops: engine.Ops{
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

// seconds is how durations are told.
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
				list[strings.TrimPrefix(m.Path, "auth/")] = e.shown(m)
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
		return &engine.Response{Data: e.shown(*m), Flat: true}, nil
	}
}

func (e *Engine) mount(isAuth bool) engine.Handler {
	return func(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
		return nil, e.add(ctx, engine.Read(req), mountPath(v["path"], isAuth), isAuth)
	}
}

func (e *Engine) add(ctx context.Context, f *engine.Fields, path string, isAuth bool) error {
	m := engine.Mount{Path: path, Kind: f.Text("type"), Description: f.Text("description"), Options: f.Map("options")}
	if f.Raw("options") == nil {
		m.Options = map[string]string{}
	}
	if f.Err() != nil {
		return f.Err()
	}
	if m.Kind == "" {
		return fault.New(fault.Invalid, "backend type must be specified as a string")
	}
	if !isAuth && protected(m.Path) {
		return fault.New(fault.Invalid, "cannot mount %q", m.Path)
	}
	m.Local, m.SealWrap = f.Bool("local", false), f.Bool("seal_wrap", false)
	if f.Err() != nil {
		return f.Err()
	}
	config := f.Object("config")
	if err := firstLifetimes(config, &m.Config); err != nil {
		return err
	}
	if err := readMountConfig(config, &m); err != nil {
		return err
	}
	if err := settleKind(&m); err != nil {
		return err
	}
	return e.o.Mounts.Add(ctx, m)
}

// protected are the paths where nobody mounts anything, and what is below them.
func protected(path string) bool {
	return slices.ContainsFunc([]string{"audit/", "auth/", "sys/", "cubbyhole/", "identity/", "api/"}, func(p string) bool { return strings.HasPrefix(path, p) })
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

func (e *Engine) unmount(isAuth bool) engine.Handler {
	return func(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
		path := mountPath(v["path"], isAuth)
		slot, err := e.o.Mounts.Slot(ctx, path)
		if err != nil || slot == nil {
			return nil, err
		}
		switch {
		case path == "auth/token/" && isAuth:
			return nil, fault.New(fault.Invalid, "token credential backend cannot be disabled")
		case slot.Mount.Auth() && !isAuth:
			return nil, fault.New(fault.Invalid, "cannot unmount %q", path).WithHint("an auth method is disabled at sys/%s", path)
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
// that were made while it was going, and the memberships its logins gave.
func (e *Engine) removeAuth(ctx context.Context, m engine.Mount) error {
	if _, err := e.o.Tokens.RevokeOrigin(ctx, m.UUID); err != nil {
		return err
	}
	if err := e.o.Mounts.Remove(ctx, m.Path); err != nil {
		return err
	}
	_, err := e.o.Tokens.RevokeOrigin(ctx, m.UUID)
	return errors.Join(err, e.o.Unmounted(ctx, m.Accessor))
}

// uiMount is what the internal paths tell about a mount.
type uiMount struct {
	shownMount
	Path string `json:"path"`
}

// holder is the policies of whoever asks, on paths that are open to all. Nobody
// is nil.
func (e *Engine) holder(ctx context.Context, token string) (*policy.Set, error) {
	if token == "" {
		return nil, nil
	}
	_, set, err := e.o.Realm.Holder(ctx, token)
	if fault.Is(err, fault.Denied) || fault.Is(err, fault.NotFound) || fault.Is(err, fault.Invalid) {
		return nil, nil
	}
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
			group[name] = e.shown(m)
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
	realm, path, err := e.o.Realm.Find(ctx, strings.Trim(v["path"], "/")+"/")
	if err != nil {
		return nil, err
	}
	slot, _, err := realm.Mounts.Resolve(ctx, path)
	if err != nil {
		return nil, err
	}
	if set == nil {
		return nil, fault.New(fault.Denied, "permission denied")
	}
	if slot == nil || !set.Any(realm.Below(e.o.Realm, slot.Mount.Path)) {
		return nil, denied
	}
	raw, err := json.Marshal(uiMount{e.shown(slot.Mount), realm.Below(e.o.Realm, slot.Mount.Path)})
	return &engine.Response{Data: json.RawMessage(raw)}, err
}
