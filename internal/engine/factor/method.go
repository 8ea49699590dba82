// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package factor

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/entity"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// method is one kind of second factor with its settings: those of its type.
type method struct {
	ID   string            `json:"id"`
	Name string            `json:"name,omitempty"` // "", or like no other's
	Type string            `json:"type"`
	TOTP *totp             `json:"totp,omitempty"`
	Text map[string]string `json:"text,omitempty"` // settings of a service outside; some are secret
	Yes  map[string]bool   `json:"yes,omitempty"`
}

// outside are the types of methods that ask a service elsewhere, with the settings
// each shows. They are kept, and not served: a login that needs one is refused.
var outside = map[string]struct{ needs, shows, yes []string }{
	"duo":    {needs: []string{"secret_key", "integration_key", "api_hostname"}, shows: []string{"api_hostname", "username_format", "mount_accessor", "pushinfo"}, yes: []string{"use_passcode"}},
	"okta":   {needs: []string{"org_name", "api_token"}, shows: []string{"org_name", "base_url", "username_format", "mount_accessor"}},
	"pingid": {needs: []string{"settings_file_base64"}, shows: []string{"admin_url", "authenticator_url", "idp_url", "org_alias"}, yes: []string{"use_signature"}},
}

const (
	totpType  = "totp"
	methodDir = "method"
	maxText   = 4096 // bytes of a setting
)

// methodPath is where a method is; its id comes from outside.
func methodPath(id string) string { return methodDir + "/" + hex.EncodeToString([]byte(id)) }

func (e *Engine) methodRoutes() []engine.Route {
	routes := []engine.Route{
		{Path: "mfa/method", Help: "The kinds of second factor.", Ops: engine.Ops{List: e.listMethods("")}},
		{Path: "mfa/method/{id}", Help: "A kind of second factor, whatever its type.", Ops: engine.Ops{Read: e.readMethod("")}},
	}
	for kind, takes := range map[string]string{
		totpType: "method_name issuer period:int key_size:int qr_size:int algorithm digits:int skew:int max_validation_attempts:int",
		"duo":    "method_name username_format secret_key integration_key api_hostname push_info use_passcode:bool",
		"okta":   "method_name username_format org_name api_token base_url production:bool primary_email:bool",
		"pingid": "method_name username_format settings_file_base64",
	} {
		routes = append(routes,
			engine.Route{Path: "mfa/method/" + kind, Help: "Second factors of the type " + kind + ".", Takes: takes, Ops: engine.Ops{List: e.listMethods(kind), Write: e.putMethod(kind)}},
			engine.Route{Path: "mfa/method/" + kind + "/{id}", Help: "A second factor of the type " + kind + ".", Takes: takes, Ops: engine.Ops{Read: e.readMethod(kind), Write: e.putMethod(kind), Delete: e.deleteMethod(kind)}})
	}
	slices.SortFunc(routes, func(a, b engine.Route) int { return compare(a.Path, b.Path) })
	return routes
}

// show is a method without its secrets.
func (m *method) show() map[string]any {
	data := map[string]any{"id": m.ID, "name": m.Name, "type": m.Type, "namespace_id": "root", "namespace_path": ""}
	if m.TOTP != nil {
		m.TOTP.show(data)
	}
	for _, name := range outside[m.Type].shows {
		data[name] = m.Text[name]
	}
	for _, name := range outside[m.Type].yes {
		data[name] = m.Yes[name]
	}
	return data
}

func (e *Engine) listMethods(kind string) engine.Handler {
	return func(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
		var all []*method
		err := e.o.Space.View(ctx, func(r barrier.Reader) (err error) {
			all, err = every[method](ctx, r, methodDir)
			return err
		})
		keys := engine.Keys{Info: map[string]any{}}
		for _, m := range all {
			if kind == "" || m.Type == kind {
				keys.Keys = append(keys.Keys, m.ID)
				keys.Info[m.ID] = m.show()
			}
		}
		if err != nil || len(keys.Keys) == 0 {
			return nil, err
		}
		slices.Sort(keys.Keys)
		return &engine.Response{Data: keys}, nil
	}
}

func (e *Engine) readMethod(kind string) engine.Handler {
	return func(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
		m, err := engine.Look[method](ctx, e.o.Space, methodPath(v["id"]))
		switch {
		case err != nil || m == nil:
			return nil, err
		case kind != "" && m.Type != kind:
			return nil, errType(kind)
		}
		return &engine.Response{Data: m.show()}, nil
	}
}

func errType(kind string) error {
	return fault.New(fault.Invalid, "failed to find the method ID under MFA type %s.", kind)
}

// deleteMethod refuses one an enforcement still needs. People's secrets go with it.
func (e *Engine) deleteMethod(kind string) engine.Handler {
	return func(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
		return nil, e.o.Space.Update(ctx, func(w barrier.Writer) error {
			m, err := engine.Found[method](ctx, w, methodPath(v["id"]))
			switch {
			case err != nil || m == nil:
				return err
			case m.Type != kind:
				return errType(kind)
			}
			all, err := every[enforcement](ctx, w, enforcementDir)
			if err != nil {
				return err
			}
			for _, x := range all {
				if slices.Contains(x.Methods, m.ID) {
					return fault.New(fault.Invalid, "methodID is still used by an enforcement configuration with ID: %s", x.ID)
				}
			}
			if err := w.DeleteTree(ctx, secretDir(m.ID)); err != nil {
				return err
			}
			return w.Delete(ctx, methodPath(m.ID))
		})
	}
}

// putMethod makes a method, or sets the one with the id of the path, or with the
// name that is sent, anew.
func (e *Engine) putMethod(kind string) engine.Handler {
	return func(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
		f := engine.Read(req)
		name := f.Text("method_name")
		made, err := configured(kind, f)
		if err != nil {
			return nil, err
		}
		if len(name) > maxText {
			return nil, fault.New(fault.Invalid, "a method_name has at most %d bytes", maxText)
		}
		made.ID, made.Name = entity.Random(), name
		fresh := v["id"] == ""
		err = e.o.Space.Update(ctx, func(w barrier.Writer) error {
			m := *made
			all, err := every[method](ctx, w, methodDir)
			if err != nil {
				return err
			}
			if err := m.settle(all, v["id"]); err != nil {
				return err
			}
			made = &m
			return w.Put(ctx, barrier.Entry{Path: methodPath(m.ID), Value: engine.Stored(&m)})
		})
		if err != nil || !fresh {
			return nil, err
		}
		return &engine.Response{Data: map[string]any{"method_id": made.ID}}, nil
	}
}

// settle finds the method that is set anew, if there is one: that with the id, or
// with the name.
func (m *method) settle(all []*method, id string) error {
	named := slices.IndexFunc(all, func(o *method) bool { return m.Name != "" && o.Name == m.Name })
	if id != "" {
		at := slices.IndexFunc(all, func(o *method) bool { return o.ID == id })
		if at < 0 || all[at].Type != m.Type {
			return errType(m.Type)
		}
		if named >= 0 && named != at {
			return fault.New(fault.Invalid, "a method with this name exists already")
		}
		if m.ID = id; m.Name == "" {
			m.Name = all[at].Name
		}
		return nil
	}
	if named >= 0 {
		if all[named].Type != m.Type {
			return fault.New(fault.Invalid, "a method of another type has this name")
		}
		m.ID = all[named].ID
	}
	return nil
}

// configured reads the settings of a type; what is not sent is as at the start.
func configured(kind string, f *engine.Fields) (*method, error) {
	m := &method{Type: kind, Text: map[string]string{}, Yes: map[string]bool{}}
	if kind == totpType {
		t, err := readTOTP(f)
		m.TOTP = t
		return m, err
	}
	for _, name := range outside[kind].needs {
		if m.Text[name] = f.Text(name); m.Text[name] == "" {
			word := " is empty"
			if kind == "okta" {
				word = " must be set"
			}
			return nil, fault.New(fault.Invalid, "%s%s", name, word)
		}
	}
	m.Text["username_format"], m.Text["pushinfo"] = f.Text("username_format"), f.Text("push_info")
	m.Yes["use_passcode"] = f.Bool("use_passcode", false)
	if kind == "okta" {
		m.Text["base_url"] = f.Text("base_url")
		m.Yes["production"], m.Yes["primary_email"] = f.Bool("production", true), f.Bool("primary_email", false)
		if m.Text["base_url"] == "" && m.Yes["production"] {
			m.Text["base_url"] = "okta.com"
		} else if m.Text["base_url"] == "" {
			m.Text["base_url"] = "oktapreview.com"
		}
	}
	for _, text := range m.Text {
		if len(text) > 4*maxText {
			return nil, fault.New(fault.TooLarge, "a setting is over %d bytes", 4*maxText)
		}
	}
	if kind == "pingid" && f.Err() == nil {
		return m, m.takeSettings()
	}
	return m, f.Err()
}

// takeSettings reads a PingID settings file: lines of key=value.
func (m *method) takeSettings() error {
	raw, err := base64.StdEncoding.DecodeString(m.Text["settings_file_base64"])
	if err != nil {
		return fault.New(fault.Invalid, "%w", err)
	}
	lines := bufio.NewScanner(bytes.NewReader(raw))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			return fault.New(fault.Invalid, "the settings file has a line that is not key=value")
		}
		switch name, value = strings.TrimSpace(name), strings.TrimSpace(value); name {
		case "use_signature":
			m.Yes[name] = strings.EqualFold(value, "true")
		case "use_base64_key", "token", "idp_url", "org_alias", "admin_url", "authenticator_url":
			m.Text[name] = value
		default:
			return fault.New(fault.Invalid, "the settings file has a key that is not known")
		}
	}
	return nil
}
