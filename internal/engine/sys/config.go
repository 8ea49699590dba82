// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package sys

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

func (e *Engine) configRoutes() []engine.Route {
	return []engine.Route{
		{
			Path: "config/cors", Help: "Which web pages may use this API.", Takes: "enable:boolean allowed_origins:list allowed_headers:list",
			Ops: engine.Ops{Read: e.readCORS, Write: e.writeCORS, Delete: e.deleteCORS},
		},
		{Path: "config/ui/headers", Help: "Response headers of the web console.", Ops: engine.Ops{List: e.listUIHeaders}},
		{
			Path: "config/ui/headers/{header}", Help: "One response header of the web console.", Takes: "values:list multivalue:boolean",
			Ops: engine.Ops{Read: e.readUIHeader, Write: e.writeUIHeader, Delete: e.deleteUIHeader},
		},
		{Path: "config/auditing/request-headers", Help: "Request headers meant for the audit log.", Ops: engine.Ops{Read: e.listAuditHeaders}},
		{
			Path: "config/auditing/request-headers/{header}", Help: "One request header meant for the audit log.", Takes: "hmac:boolean",
			Ops: engine.Ops{Read: e.readAuditHeader, Write: e.writeAuditHeader, Delete: e.deleteAuditHeader},
		},
		{Path: "config/state/sanitized", Help: "The server's settings without what is secret.", Ops: engine.Ops{Read: e.state}},
	}
}

// look reads a thing that is kept as JSON; its zero value where there is none.
func look[T any](ctx context.Context, space barrier.Space, path string) (v T, err error) {
	err = space.View(ctx, func(r barrier.Reader) error {
		v, err = load[T](ctx, r, path)
		return err
	})
	return v, err
}

func load[T any](ctx context.Context, r barrier.Reader, path string) (v T, err error) {
	e, err := r.Get(ctx, path)
	if err != nil || e == nil {
		return v, err
	}
	if err := json.Unmarshal(e.Value, &v); err != nil {
		return v, fmt.Errorf("decode %s: %w", path, err)
	}
	return v, nil
}

// change changes such a thing in one transaction.
func change[T any](ctx context.Context, space barrier.Space, path string, fn func(*T)) error {
	return space.Update(ctx, func(w barrier.Writer) error {
		v, err := load[T](ctx, w, path)
		if err != nil {
			return err
		}
		fn(&v)
		return w.Put(ctx, barrier.Entry{Path: path, Value: engine.Stored(v)})
	})
}

const (
	corsAt         = "cors"
	uiHeadersAt    = "ui-headers"
	auditHeadersAt = "audit-headers"
	maxHeaders     = 100
)

// cors says which web pages may use the API.
type cors struct {
	Enabled bool     `json:"enabled"`
	Origins []string `json:"allowed_origins,omitempty"`
	Headers []string `json:"allowed_headers,omitempty"`
}

// corsHeaders are always allowed.
var corsHeaders = []string{
	"Content-Type", "X-Requested-With", "X-Vault-AWS-IAM-Server-ID", "X-Vault-MFA", "X-Vault-No-Request-Forwarding",
	"X-Vault-Wrap-Format", "X-Vault-Wrap-TTL", "X-Vault-Policy-Override", "Authorization", "X-Vault-Token",
}

// CORS returns the origins and headers that config/cors allows; none while it is off.
func (e *Engine) CORS(ctx context.Context) (origins, headers []string, err error) {
	c, err := look[cors](ctx, e.o.Space, corsAt)
	return c.Origins, c.Headers, err
}

func (e *Engine) readCORS(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	c, err := look[cors](ctx, e.o.Space, corsAt)
	if err != nil {
		return nil, err
	}
	return &engine.Response{Data: c, Flat: true}, nil
}

func (e *Engine) writeCORS(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	c := cors{Enabled: true, Origins: f.List("allowed_origins"), Headers: append(slices.Clone(corsHeaders), f.List("allowed_headers")...)}
	switch {
	case f.Err() != nil:
		return nil, f.Err()
	case len(c.Origins) == 0:
		return nil, fault.New(fault.Invalid, "at least one origin or the wildcard must be provided")
	case len(c.Origins) > 1 && slices.Contains(c.Origins, "*"):
		return nil, fault.New(fault.Invalid, "to allow all origins the '*' must be the only value for allowed_origins")
	}
	return nil, change(ctx, e.o.Space, corsAt, func(have *cors) { *have = c })
}

func (e *Engine) deleteCORS(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	return nil, change(ctx, e.o.Space, corsAt, func(have *cors) { *have = cors{} })
}

// headers are settings by header.
type headers[T any] map[string]T

func putHeader[T any](ctx context.Context, e *Engine, at, name string, value T) error {
	if !plainHeader(name) {
		return fault.New(fault.Invalid, "that is no name of a header")
	}
	full := false
	err := change(ctx, e.o.Space, at, func(all *headers[T]) {
		if *all == nil {
			*all = headers[T]{}
		}
		if full = len(*all) >= maxHeaders; !full {
			(*all)[name] = value
		}
	})
	if err == nil && full {
		err = fault.New(fault.Invalid, "there are %d headers already", maxHeaders)
	}
	return err
}

func plainHeader(name string) bool {
	return name != "" && len(name) <= 128 && !strings.ContainsFunc(name, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_')
	})
}

func dropHeader[T any](ctx context.Context, e *Engine, at, name string) error {
	return change(ctx, e.o.Space, at, func(all *headers[T]) { delete(*all, name) })
}

func (e *Engine) listUIHeaders(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	all, err := look[headers[[]string]](ctx, e.o.Space, uiHeadersAt)
	return engine.Listing(slices.Sorted(maps.Keys(all)), err)
}

func (e *Engine) readUIHeader(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	all, err := look[headers[[]string]](ctx, e.o.Space, uiHeadersAt)
	if err != nil {
		return nil, err
	}
	values := all[http.CanonicalHeaderKey(v["header"])]
	if len(values) == 0 {
		return nil, nil
	}
	f := engine.Read(req)
	if f.Bool("multivalue", false) {
		return &engine.Response{Data: map[string]any{"values": values}}, f.Err()
	}
	return &engine.Response{Data: map[string]string{"value": values[0]}}, f.Err()
}

func (e *Engine) writeUIHeader(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	values, name := f.List("values"), http.CanonicalHeaderKey(v["header"])
	switch {
	case f.Err() != nil:
		return nil, f.Err()
	case len(values) == 0:
		return nil, fault.New(fault.Invalid, "header values cannot be empty")
	case strings.HasPrefix(name, "X-Vault-"):
		return nil, fault.New(fault.Invalid, "X-Vault headers cannot be set")
	}
	return nil, putHeader(ctx, e, uiHeadersAt, name, values)
}

func (e *Engine) deleteUIHeader(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	return nil, dropHeader[[]string](ctx, e, uiHeadersAt, http.CanonicalHeaderKey(v["header"]))
}

// auditHeader says how a request header is meant to stand in the audit log.
type auditHeader struct {
	HMAC bool `json:"hmac"`
}

func (e *Engine) listAuditHeaders(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	all, err := look[headers[auditHeader]](ctx, e.o.Space, auditHeadersAt)
	if err != nil {
		return nil, err
	}
	if all == nil {
		all = headers[auditHeader]{}
	}
	return &engine.Response{Data: map[string]any{"headers": all}, Flat: true}, nil
}

func (e *Engine) readAuditHeader(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	all, err := look[headers[auditHeader]](ctx, e.o.Space, auditHeadersAt)
	if err != nil {
		return nil, err
	}
	name := strings.ToLower(v["header"])
	kept, ok := all[name]
	if !ok {
		return nil, fault.New(fault.Invalid, "Could not find header in config")
	}
	return &engine.Response{Data: map[string]auditHeader{v["header"]: kept}, Flat: true}, nil
}

func (e *Engine) writeAuditHeader(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	kept := auditHeader{f.Bool("hmac", false)}
	if f.Err() != nil {
		return nil, f.Err()
	}
	return nil, putHeader(ctx, e, auditHeadersAt, strings.ToLower(v["header"]), kept)
}

func (e *Engine) deleteAuditHeader(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	return nil, dropHeader[auditHeader](ctx, e, auditHeadersAt, strings.ToLower(v["header"]))
}

// state tells the settings the server runs with.
func (e *Engine) state(context.Context, *engine.Request, engine.Vars) (*engine.Response, error) {
	data := map[string]any{
		"default_lease_ttl": seconds(engine.DefaultTTL), "max_lease_ttl": seconds(engine.DefaultTTL),
		"storage": map[string]any{"type": e.o.Storage}, "listeners": []any{}, "seals": []any{},
	}
	if e.o.State != nil {
		maps.Copy(data, e.o.State())
	}
	return &engine.Response{Data: data}, nil
}
