// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package kubernetes

import (
	"context"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// How the person or program behind a token is told from others: by the service
// account's UID, or by its name.
const (
	aliasByUID  = "serviceaccount_uid"
	aliasByName = "serviceaccount_name"
)

const roleFields = "bound_service_account_names:list bound_service_account_namespaces:list bound_service_account_namespace_selector" +
	" audience alias_name_source" + engine.TokenFields

// role says which service accounts log in, and to what.
type role struct {
	Name       string           `json:"name"`
	Accounts   []string         `json:"accounts"`             // patterns of names
	Namespaces []string         `json:"namespaces,omitempty"` // patterns of names
	Selector   string           `json:"selector,omitempty"`   // of namespaces, by their labels: JSON or YAML
	Audience   string           `json:"audience,omitempty"`
	Alias      string           `json:"alias"`
	Token      engine.TokenRole `json:"token"`
}

func rolePath(name string) string { return "role/" + strings.ToLower(name) }

func (e *Engine) listRoles(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	return e.Names(ctx, "role")
}

func (e *Engine) removeRole(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	return nil, e.Remove(ctx, rolePath(v["name"]))
}

func (e *Engine) showRole(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	r, err := engine.Look[role](ctx, e.Space, rolePath(v["name"]))
	if err != nil || r == nil {
		return nil, err
	}
	data := map[string]any{
		"bound_service_account_names": r.Accounts, "bound_service_account_namespaces": r.Namespaces,
		"bound_service_account_namespace_selector": r.Selector, "alias_name_source": r.Alias,
	}
	if r.Audience != "" {
		data["audience"] = r.Audience
	}
	r.Token.Show(data)
	return &engine.Response{Data: data}, nil
}

func (e *Engine) putRole(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	return nil, e.Space.Update(ctx, func(w barrier.Writer) error {
		r, err := engine.Found[role](ctx, w, rolePath(v["name"]))
		if err != nil {
			return err
		}
		if r == nil {
			r = &role{Name: strings.ToLower(v["name"])}
		}
		if err := r.update(f); err != nil {
			return err
		}
		return w.Put(ctx, barrier.Entry{Path: rolePath(r.Name), Value: engine.Stored(r)})
	})
}

// update takes over the fields a request brings. The selector goes where it
// brings none, as clients know it.
func (r *role) update(f *engine.Fields) error {
	r.Selector = f.Text("bound_service_account_namespace_selector")
	if f.Has("bound_service_account_names") {
		r.Accounts = f.List("bound_service_account_names")
	}
	if f.Has("bound_service_account_namespaces") {
		r.Namespaces = f.List("bound_service_account_namespaces")
	}
	if f.Has("audience") {
		r.Audience = f.Text("audience")
	}
	if source := f.Text("alias_name_source"); source != "" {
		r.Alias = source
	} else if r.Alias == "" {
		r.Alias = aliasByUID
	}
	if err := r.Token.Update(f); err != nil {
		return err
	}
	return r.check()
}

func (r *role) check() error {
	switch {
	case len(r.Accounts) == 0:
		return fault.New(fault.Invalid, "%q can not be empty", "bound_service_account_names")
	case len(r.Namespaces) == 0 && r.Selector == "":
		return fault.New(fault.Invalid, "%q can not be empty if %q is not set", "bound_service_account_namespaces", "bound_service_account_namespace_selector")
	case r.Alias != aliasByUID && r.Alias != aliasByName:
		return fault.New(fault.Invalid, "invalid alias_name_source, must be one of: %s, %s", aliasByUID, aliasByName)
	}
	for _, list := range [][]string{r.Accounts, r.Namespaces} {
		if len(list) > 1 && slices.Contains(list, "*") {
			return fault.New(fault.Invalid, "can not mix %q with values", "*")
		}
	}
	if r.Selector == "" {
		return nil
	}
	_, err := readSelector(r.Selector)
	return err
}

// maxSelector bounds a selector in bytes.
const maxSelector = 16 << 10

// readSelector is the labels a selector wants a namespace to have.
func readSelector(text string) (map[string]string, error) {
	var s struct {
		Labels map[string]string `yaml:"matchLabels"`
	}
	dec := yaml.NewDecoder(strings.NewReader(text)) // JSON is YAML
	dec.KnownFields(true)
	if len(text) > maxSelector || dec.Decode(&s) != nil || len(s.Labels) == 0 {
		return nil, fault.New(fault.Invalid, "invalid %q configured", "bound_service_account_namespace_selector").
			WithHint("give labels, as JSON or YAML: {\"matchLabels\":{\"team\":\"a\"}}; matchExpressions are not offered")
	}
	return s.Labels, nil
}

// allows reports whether a name is one of some patterns.
func allows(patterns []string, name string) bool {
	return name != "" && slices.ContainsFunc(patterns, func(p string) bool { return engine.Glob(p, name) })
}
