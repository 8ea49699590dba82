// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package sys

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

func (e *Engine) infoRoutes() []engine.Route {
	return []engine.Route{
		{Path: "internal/specs/openapi", Help: "This document: what the mounts offer.", Takes: "generic_mount_paths:boolean context", Ops: engine.Ops{Read: e.openAPI}},
		{Path: "host-info", Help: "The machine the server runs on.", Ops: engine.Ops{Read: e.hostInfo}},
		{Path: "metrics", Help: "Numbers about the server, for Prometheus.", Takes: "format", Ops: engine.Ops{Read: e.metrics}},
		{Path: "locked-users", Help: "Who may not log in for a while, after too many failures.", Takes: "mount_accessor", Ops: engine.Ops{Read: e.lockedUsers}},
		{Path: "locked-users/{mount_accessor}/unlock/{alias_identifier}", Help: "Lets somebody log in again.", Ops: engine.Ops{Write: e.unlockUser}},
		{Path: "leader", Help: "Who serves: every server does.", Ops: engine.Ops{Read: e.leader}},
		{Path: "ha-status", Help: "The servers: this one.", Ops: engine.Ops{Read: e.haStatus}},
		{Path: "step-down", Help: "Does nothing: there is no leader.", Ops: engine.Ops{Write: stepDown}},
		{Path: "version-history", Help: "The versions this server has run as.", Ops: engine.Ops{List: e.versions}},
		{Path: "plugins/catalog", Help: "The kinds of engine there are.", Ops: engine.Ops{Read: e.catalog, List: e.catalog}},
		{Path: "plugins/catalog/{type}", Help: "The kinds of engine of one type.", Ops: engine.Ops{List: e.catalogOf, Read: e.catalogOf}},
		{Path: "plugins/catalog/{type}/{name}", Help: "One kind of engine.", Ops: engine.Ops{Read: e.plugin, Write: fixedCatalog, Delete: fixedCatalog}},
		{Path: "plugins/reload/backend", Help: "Does nothing: every engine is part of the server.", Takes: "plugin mounts:list scope", Ops: engine.Ops{Write: reloadPlugins}},
	}
}

// openAPI is the document of everything the caller may use something of.
func (e *Engine) openAPI(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	set, err := e.holder(ctx, req.Token)
	if err != nil || set == nil {
		return nil, err
	}
	slots, err := e.o.Mounts.Slots(ctx)
	if err != nil {
		return nil, err
	}
	doc := engine.NewDocument("Goldkeep", e.o.Version)
	for _, slot := range slots {
		if set.Any(slot.Mount.Path) {
			doc.Add(slot, slot.Special.Routes)
		}
	}
	return &engine.Response{Data: doc, Bare: true}, nil
}

// hostInfo tells what the runtime and the kernel say of the machine. The lists of
// processors and disks that clients look for are there, and empty.
func (e *Engine) hostInfo(_ context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	name, _ := os.Hostname() // "" where the machine has none
	return &engine.Response{Data: map[string]any{
		"timestamp": req.Now.UTC(), "cpu": []any{}, "cpu_times": []any{}, "disk": []any{}, "memory": memory(),
		"host": map[string]any{
			"hostname": name, "os": runtime.GOOS, "platform": runtime.GOOS, "kernelArch": runtime.GOARCH, "procs": runtime.NumCPU(),
		},
	}}, nil
}

// memory reads the kernel's figures, in bytes; none where there is no such file.
func memory() map[string]uint64 {
	figures := map[string]uint64{}
	file, err := os.Open("/proc/meminfo")
	if err != nil {
		return figures
	}
	defer func() { _ = file.Close() }()
	names := map[string]string{"MemTotal:": "total", "MemAvailable:": "available", "MemFree:": "free"}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) < 2 || names[words[0]] == "" {
			continue
		}
		if kib, err := strconv.ParseUint(words[1], 10, 64); err == nil {
			figures[names[words[0]]] = kib << 10
		}
	}
	return figures
}

func (e *Engine) metrics(_ context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	format := f.Text("format")
	if f.Err() != nil || format != "prometheus" {
		return nil, fault.New(fault.Invalid, "metrics are offered as format=prometheus")
	}
	if e.o.Metrics == nil {
		return nil, fault.New(fault.Unavailable, "there are no metrics")
	}
	text, err := e.o.Metrics()
	if err != nil {
		return nil, err
	}
	return &engine.Response{Raw: text, Header: map[string]string{"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}}, nil
}

// lockedMount is what is told of the locked-out users of one mount.
type lockedMount struct {
	Accessor string   `json:"mount_accessor"`
	Counts   int      `json:"counts"`
	Aliases  []string `json:"alias_identifiers"`
}

func (e *Engine) lockedUsers(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	only := f.Text("mount_accessor")
	if f.Err() != nil {
		return nil, f.Err()
	}
	slots, err := e.o.Mounts.Slots(ctx)
	if err != nil {
		return nil, err
	}
	mounts, total := []lockedMount{}, 0
	for _, slot := range slots {
		method, ok := slot.Engine.(engine.Locker)
		if !ok || only != "" && only != slot.Mount.Accessor {
			continue
		}
		names, err := method.Locked(ctx)
		if err != nil {
			return nil, err
		}
		if len(names) > 0 {
			mounts = append(mounts, lockedMount{slot.Mount.Accessor, len(names), names})
			total += len(names)
		}
	}
	return &engine.Response{Data: map[string]any{
		"total":        total,
		"by_namespace": []any{map[string]any{"namespace_id": cmp.Or(e.o.Realm.ID, "root"), "namespace_path": e.o.Realm.Path, "counts": total, "mount_accessors": mounts}},
	}}, nil
}

func (e *Engine) unlockUser(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	slots, err := e.o.Mounts.Slots(ctx)
	if err != nil {
		return nil, err
	}
	for _, slot := range slots {
		if method, ok := slot.Engine.(engine.Locker); ok && slot.Mount.Accessor == v["mount_accessor"] {
			return nil, method.Unlock(ctx, v["alias_identifier"])
		}
	}
	return nil, fault.New(fault.Invalid, "no auth method that locks users has this accessor")
}

// builtinVersion is how the engines of this server are numbered.
func (e *Engine) builtinVersion() string { return "v" + e.o.Version + "+builtin.goldkeep" }

// kinds are the kinds of engine by the type clients give them.
func (e *Engine) kinds() map[string][]string {
	kinds := map[string][]string{"auth": {}, "secret": {}, "database": {}}
	for _, kind := range e.o.Mounts.Kinds() {
		if name, ok := strings.CutPrefix(kind, "auth/"); ok {
			kinds["auth"] = append(kinds["auth"], name)
		} else {
			kinds["secret"] = append(kinds["secret"], kind)
		}
	}
	return kinds
}

// listed is what the catalogue tells of each kind.
type listed struct {
	Builtin     bool   `json:"builtin"`
	Deprecation string `json:"deprecation_status"`
	Name        string `json:"name"`
	Type        string `json:"type"`
	Version     string `json:"version"`
}

func (e *Engine) catalog(context.Context, *engine.Request, engine.Vars) (*engine.Response, error) {
	kinds := e.kinds()
	detailed := []listed{}
	for _, kind := range []string{"auth", "database", "secret"} {
		for _, name := range kinds[kind] {
			detailed = append(detailed, listed{true, "supported", name, kind, e.builtinVersion()})
		}
	}
	return &engine.Response{Data: map[string]any{
		"auth": kinds["auth"], "database": kinds["database"], "secret": kinds["secret"], "detailed": detailed,
	}}, nil
}

func (e *Engine) catalogOf(_ context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	names, ok := e.kinds()[strings.Trim(v["type"], "/")]
	if !ok {
		return nil, fault.New(fault.Invalid, "plugin types are \"auth\", \"database\" and \"secret\"")
	}
	return engine.Listing(names, nil)
}

func (e *Engine) plugin(_ context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	for _, name := range e.kinds()[v["type"]] {
		if name == v["name"] {
			return &engine.Response{Data: map[string]any{
				"args": nil, "builtin": true, "command": "", "deprecation_status": "supported", "name": name, "sha256": "", "version": e.builtinVersion(),
			}}, nil
		}
	}
	return nil, nil
}

func fixedCatalog(context.Context, *engine.Request, engine.Vars) (*engine.Response, error) {
	return nil, fault.New(fault.Invalid, "the plugin catalog is fixed: every engine is part of the server")
}

func reloadPlugins(_ context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	raw, err := json.Marshal(map[string]string{"reload_id": req.ID})
	return &engine.Response{Data: json.RawMessage(raw)}, err
}

// leader answers that this node serves every request: there is no other kind.
func (e *Engine) leader(context.Context, *engine.Request, engine.Vars) (*engine.Response, error) {
	return &engine.Response{Bare: true, Data: map[string]any{
		"ha_enabled": false, "is_self": false, "active_time": time.Time{}, "leader_address": "", "leader_cluster_address": "",
		"performance_standby": false, "performance_standby_last_remote_wal": 0,
	}}, nil
}

// haStatus names this server: it does not know of others that share its store.
func (e *Engine) haStatus(context.Context, *engine.Request, engine.Vars) (*engine.Response, error) {
	name, _ := os.Hostname() // "" where the machine has none
	return &engine.Response{Flat: true, Data: map[string]any{"nodes": []any{map[string]any{
		"hostname": name, "api_address": "", "cluster_address": "", "active_node": true, "last_echo": nil, "version": engine.APIVersion,
	}}}}, nil
}

func stepDown(context.Context, *engine.Request, engine.Vars) (*engine.Response, error) {
	return nil, nil
}

func (e *Engine) versions(context.Context, *engine.Request, engine.Vars) (*engine.Response, error) {
	return &engine.Response{Data: engine.Keys{
		Keys: []string{e.o.Version},
		Info: map[string]any{e.o.Version: map[string]any{"build_date": e.o.Built, "previous_version": nil, "timestamp_installed": e.o.Built}},
	}}, nil
}
