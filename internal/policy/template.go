// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"
	"strings"
)

// maxTemplates bounds the templates of one path.
const maxTemplates = 16

// Values says what a template stands for, by its name without "identity.":
// "entity.name", "groups.names.NAME.id". ok is false where there is no such thing.
type Values func(name string) (value string, ok bool)

// template is a path with "{{...}}" in it: texts[0] names[0] texts[1] ...
type template struct {
	texts []string // one more than names
	names []string // without "identity."
}

// readTemplate reads a path, which may hold no template at all.
func readTemplate(path string, line int) (t template, err error) {
	for rest := path; ; {
		text, after, more := strings.Cut(rest, "{{")
		if strings.Contains(text, "}}") {
			return t, lineError(line, `path %q: "}}" without "{{" before it`, path)
		}
		t.texts = append(t.texts, text)
		if !more {
			return t, nil
		}
		name, tail, closed := strings.Cut(after, "}}")
		if !closed || strings.Contains(name, "{{") {
			return t, lineError(line, `path %q: a template must end in "}}"`, path)
		}
		name, ours := strings.CutPrefix(strings.TrimSpace(name), "identity.")
		if !ours || !strings.HasPrefix(name, "entity.") && !strings.HasPrefix(name, "groups.") {
			return t, lineError(line, `path %q: templates start with "identity.entity." or "identity.groups."`, path)
		}
		if t.names = append(t.names, name); len(t.names) > maxTemplates {
			return t, lineError(line, "path %q has more than %d templates", path, maxTemplates)
		}
		rest = tail
	}
}

// fill puts values in. A path for which one is missing, or would be a wildcard,
// matches nothing: ok is false.
func (t template) fill(values Values) (path string, ok bool) {
	var b, plain strings.Builder
	for i, name := range t.names {
		value, ok := values(name)
		if !ok || value == "" || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f || r == '*' }) {
			return "", false
		}
		b.WriteString(t.texts[i])
		b.WriteString(value)
		plain.WriteString(t.texts[i])
		plain.WriteByte('x')
	}
	last := t.texts[len(t.names)]
	b.WriteString(last)
	plain.WriteString(last)
	path = strings.TrimPrefix(b.String(), "/")
	return path, len(path) <= maxPath && pluses(path) == pluses(strings.TrimPrefix(plain.String(), "/"))
}

// pluses counts the segments that are just "+".
func pluses(path string) (n int) {
	for _, segment := range strings.Split(strings.TrimSuffix(path, "*"), "/") {
		if segment == "+" {
			n++
		}
	}
	return n
}

// Templates are the names of all values a policy asks for, each once, sorted.
func (p *Policy) Templates() []string {
	var names []string
	for i := range p.Rules {
		names = append(names, p.Rules[i].Templates...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Fill returns the policy as it is for whom the values are about. Paths that ask
// for what there is not are left out: they match nothing.
func (p *Policy) Fill(values Values) *Policy {
	filled := &Policy{Name: p.Name, Text: p.Text}
	for _, r := range p.Rules {
		if len(r.Templates) > 0 {
			t, err := readTemplate(r.Path, r.Line)
			path, ok := t.fill(values)
			if err != nil || !ok {
				continue
			}
			r.Path, r.Templates = path, nil
		}
		filled.Rules = append(filled.Rules, r)
	}
	return filled
}
