// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/entity"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// tokenRole says what is in the identity tokens made through it.
type tokenRole struct {
	Key      string        `json:"key"`
	Template string        `json:"template,omitempty"` // JSON with "{{...}}" for values
	TTL      time.Duration `json:"ttl"`
	Client   string        `json:"client"` // the audience
}

// maxTemplate bounds the text of a template, in bytes.
const maxTemplate = 64 << 10

// reserved are the claims a template cannot set.
var reserved = []string{"iat", "aud", "exp", "iss", "sub", "namespace", "nonce", "auth_time", "at_hash", "c_hash"}

func oidcRolePath(name string) string { return "role/" + hex.EncodeToString([]byte(name)) }

func (e *Engine) tokenRoleRoutes() []engine.Route {
	return []engine.Route{
		{Path: "oidc/role", Help: "The roles for identity tokens.", Ops: engine.Ops{List: e.names("role")}},
		{Path: "oidc/role/{name}", Help: "What an identity token says, and which key signs it.", Takes: "key template ttl:duration client_id", Ops: engine.Ops{Read: e.readTokenRole, Write: e.putTokenRole, Delete: e.deleteTokenRole}},
	}
}

func (e *Engine) readTokenRole(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	r, err := engine.Look[tokenRole](ctx, e.o.Space, oidcRolePath(v["name"]))
	if err != nil || r == nil {
		return nil, err
	}
	return &engine.Response{Data: map[string]any{"key": r.Key, "template": r.Template, "ttl": int64(r.TTL / time.Second), "client_id": r.Client}}, nil
}

func (e *Engine) deleteTokenRole(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	return nil, e.o.Space.Update(ctx, func(w barrier.Writer) error { return w.Delete(ctx, oidcRolePath(v["name"])) })
}

func (e *Engine) putTokenRole(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	if len(v["name"]) > 256 {
		return nil, fault.New(fault.Invalid, "the name of a role has at most 256 bytes")
	}
	f := engine.Read(req)
	return nil, e.o.Space.Update(ctx, func(w barrier.Writer) error {
		r, err := engine.Found[tokenRole](ctx, w, oidcRolePath(v["name"]))
		if err != nil {
			return err
		}
		if r == nil {
			r = &tokenRole{TTL: 24 * time.Hour, Client: entity.Random()}
		}
		if err := r.take(f); err != nil {
			return err
		}
		k, err := engine.Found[signingKey](ctx, w, keyPath(r.Key))
		if err != nil {
			return err
		}
		if k != nil && r.TTL > k.Verify {
			return fault.New(fault.Invalid, "a role's token ttl cannot be longer than the verification_ttl of the key it references")
		}
		return w.Put(ctx, barrier.Entry{Path: oidcRolePath(v["name"]), Value: engine.Stored(r)})
	})
}

// take changes a role where the request says something.
func (r *tokenRole) take(f *engine.Fields) error {
	if f.Has("key") {
		r.Key = f.Text("key")
	}
	if f.Has("ttl") {
		r.TTL = f.Duration("ttl")
	}
	if id := f.Text("client_id"); id != "" {
		r.Client = id
	}
	if f.Has("template") {
		r.Template = f.Text("template")
		if raw, err := base64.StdEncoding.DecodeString(r.Template); err == nil {
			r.Template = string(raw)
		}
	}
	switch {
	case f.Err() != nil:
		return f.Err()
	case r.Key == "":
		return fault.New(fault.Invalid, "the key parameter is required")
	case r.TTL <= 0:
		return fault.New(fault.Invalid, "ttl must be above zero")
	case len(r.Template) > maxTemplate || len(r.Client) > 256:
		return fault.New(fault.TooLarge, "the template or the client id is too large")
	}
	_, err := claims(r.Template, &entity.Identity{Entity: &entity.Entity{}}, time.Time{})
	return err
}

// claimSet is what is said of somebody, as JSON by name.
type claimSet map[string]json.RawMessage

// claims are what a template says of somebody.
func claims(template string, who *entity.Identity, now time.Time) (claimSet, error) {
	out := claimSet{}
	if strings.TrimSpace(template) == "" {
		return out, nil
	}
	var b strings.Builder
	for rest := template; ; {
		text, after, more := strings.Cut(rest, "{{")
		b.WriteString(text)
		if !more {
			break
		}
		name, tail, closed := strings.Cut(after, "}}")
		if !closed {
			return nil, fault.New(fault.Invalid, "error parsing template: unbalanced templating characters").WithHint("a value begins with \"{{\" and ends with \"}}\"")
		}
		value, err := claim(strings.TrimSpace(name), who, now)
		if err != nil {
			return nil, err
		}
		b.Write(value)
		rest = tail
	}
	if err := json.Unmarshal([]byte(b.String()), &out); err != nil {
		return nil, fault.New(fault.Invalid, "error parsing template JSON: it must be an object, with values such as {{identity.entity.name}} without quotes")
	}
	for _, name := range slices.Sorted(maps.Keys(out)) {
		if slices.Contains(reserved, name) {
			return nil, fault.New(fault.Invalid, "top level key %q not allowed. Restricted keys: %s", name, strings.Join(reserved, ", "))
		}
	}
	return out, nil
}

// claim is one value of a template, as JSON. What there is not is empty.
func claim(name string, who *entity.Identity, now time.Time) ([]byte, error) {
	if moment, ok := strings.CutPrefix(name, "time.now"); ok {
		at, err := shifted(now, moment)
		if err != nil {
			return nil, err
		}
		return json.Marshal(at.Unix())
	}
	path, ours := strings.CutPrefix(name, "identity.")
	if !ours {
		return nil, fault.New(fault.Invalid, "error parsing template: there is no %q; values start with \"identity.\" or \"time.now\"", name)
	}
	mount, isAlias := strings.CutPrefix(path, "entity.aliases.")
	mount, isMeta := strings.CutSuffix(mount, ".metadata")
	switch {
	case path == "entity.metadata":
		return object(who.Entity.Meta)
	case isAlias && isMeta:
		for _, a := range who.Entity.Aliases {
			if a.Mount == mount {
				return object(a.Meta)
			}
		}
		return object(nil)
	case path == "entity.groups.ids" || path == "entity.groups.names":
		list := []string{}
		for _, g := range who.Groups {
			if path == "entity.groups.ids" {
				list = append(list, g.ID)
			} else {
				list = append(list, g.Name)
			}
		}
		return json.Marshal(list)
	}
	value, _ := who.Value(path)
	return json.Marshal(value)
}

func object(m map[string]string) ([]byte, error) {
	if m == nil {
		m = map[string]string{}
	}
	return json.Marshal(m)
}

// shifted reads ".plus.1h" and ".minus.1h" behind "time.now".
func shifted(now time.Time, by string) (time.Time, error) {
	sign := time.Duration(1)
	text, ok := strings.CutPrefix(by, ".plus.")
	if !ok {
		if text, ok = strings.CutPrefix(by, ".minus."); ok {
			sign = -1
		}
	}
	if by == "" {
		return now, nil
	}
	d, err := engine.ParseDuration(text)
	if !ok || err != nil {
		return now, fault.New(fault.Invalid, "error parsing template: want time.now, time.now.plus.1h or time.now.minus.1h")
	}
	return now.Add(sign * d), nil
}
