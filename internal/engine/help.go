// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"strings"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/policy"
)

// Help is what a request wants that asks to be told about a path, not to use it.
const Help policy.Capability = "help"

// Field is one field a path takes.
type Field struct {
	Name string
	Type string // "string", "integer", "boolean", "duration", "list", "map" or "any"
}

// Fields are the fields a route declares, those in its path first.
func (r Route) Fields() []Field {
	var fields []Field
	for _, segment := range strings.Split(r.Path, "/") {
		if name, ok := strings.CutPrefix(segment, "{"); ok {
			fields = append(fields, Field{strings.TrimRight(name, ".}"), "string"})
		}
	}
	for _, text := range strings.Fields(r.Takes) {
		name, kind, _ := strings.Cut(text, ":")
		if kind == "" {
			kind = "string"
		}
		if name != "*" {
			fields = append(fields, Field{name, kind})
		}
	}
	return fields
}

// Explain tells about a path below a mount: the answer to "?help=1". A mount that
// tells nothing of its paths, and a path it does not have, are fault.NotFound.
func Explain(slot *Slot, path string) (*Response, error) {
	if path == "" {
		return explained(slot, "Paths below "+slot.Mount.Path+":\n\n"+index(slot.Special.Routes), slot.Special.Routes), nil
	}
	for _, route := range slot.Special.Routes {
		_, ok := match(strings.Split(route.Path, "/"), path)
		if !ok {
			_, ok = match(strings.Split(route.Path, "/"), strings.TrimSuffix(path, "/"))
		}
		if ok {
			return explained(slot, describe(slot, route), []Route{route}), nil
		}
	}
	if len(slot.Special.Routes) == 0 {
		return nil, fault.New(fault.NotFound, "no help for this path")
	}
	return Explain(slot, "") // what there is instead
}

func explained(slot *Slot, text string, routes []Route) *Response {
	doc := NewDocument("Goldkeep", "")
	doc.Add(slot, routes)
	return &Response{Bare: true, Data: map[string]any{"help": text, "see_also": nil, "openapi": doc}}
}

func index(routes []Route) string {
	var b strings.Builder
	for _, r := range routes {
		b.WriteString("    " + r.Path + "\n")
		if r.Help != "" {
			b.WriteString("        " + r.Help + "\n")
		}
	}
	return b.String()
}

func describe(slot *Slot, r Route) string {
	var b strings.Builder
	b.WriteString("Path: " + slot.Mount.Path + r.Path + "\n\n" + r.Help + "\n")
	if fields := r.Fields(); len(fields) > 0 {
		b.WriteString("\nFields:\n\n")
		for _, f := range fields {
			b.WriteString("    " + f.Name + " (" + f.Type + ")\n")
		}
	}
	return b.String()
}
