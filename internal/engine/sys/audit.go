// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package sys

import (
	"context"
	"strings"

	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

func (e *Engine) auditRoutes() []engine.Route {
	return []engine.Route{
		{Path: "audit", Ops: engine.Ops{Read: e.auditDevices}},
		{Path: "audit/{path...}", Ops: engine.Ops{Write: e.addDevice, Delete: e.removeDevice}},
		{Path: "audit-hash/{path...}", Ops: engine.Ops{Write: e.auditHash}},
	}
}

func (e *Engine) auditDevices(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	devices, err := e.o.Audit.Devices(ctx)
	if err != nil {
		return nil, err
	}
	shown := map[string]any{}
	for _, d := range devices {
		shown[d.Name+"/"] = map[string]any{
			"path": d.Name + "/", "type": d.Type, "description": d.Description, "options": d.Options, "local": false,
		}
	}
	return &engine.Response{Data: shown, Flat: true}, nil
}

func (e *Engine) addDevice(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	d := engine.AuditDevice{
		Name: strings.Trim(v["path"], "/"), Type: f.Text("type"), Description: f.Text("description"), Options: f.Map("options"),
	}
	if f.Err() != nil {
		return nil, f.Err()
	}
	return nil, e.o.Audit.AddDevice(ctx, d)
}

func (e *Engine) removeDevice(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	return nil, e.o.Audit.RemoveDevice(ctx, strings.Trim(v["path"], "/"))
}

// auditHash answers how a text stands in the log. All devices get the same log,
// so the hash is the same for each.
func (e *Engine) auditHash(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	input := f.Text("input")
	if f.Err() != nil {
		return nil, f.Err()
	}
	if input == "" {
		return nil, fault.New(fault.Invalid, "the \"input\" parameter is empty")
	}
	devices, err := e.o.Audit.Devices(ctx)
	if err != nil {
		return nil, err
	}
	for _, d := range devices {
		if d.Name == strings.Trim(v["path"], "/") {
			hash, err := e.o.Audit.Blind([]byte(input))
			if err != nil {
				return nil, err
			}
			return &engine.Response{Data: map[string]string{"hash": hash}, Flat: true}, nil
		}
	}
	return nil, fault.New(fault.Invalid, "unknown audit backend %q", strings.Trim(v["path"], "/")+"/")
}
