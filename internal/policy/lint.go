// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Mount is what Lint knows of a place that paths lead to.
type Mount struct {
	Path    string                 // with its slash: "secret/"
	Kind    string                 // "kv", "transit"
	Version string                 // of kv: "1" or "2"
	Sudo    func(path string) bool // whether a path below the mount needs sudo; nil: none does
}

// Complaint is what Lint says of one rule.
type Complaint struct {
	Policy  string `json:"policy"`
	Line    int    `json:"line"`
	Path    string `json:"path"`
	Text    string `json:"text"`              // what is wrong
	Fix     string `json:"fix"`               // what to write instead
	Warning bool   `json:"warning,omitempty"` // it may be meant
}

// Lint tells what of a policy will not do what it looks like: paths no mount
// serves, those of the key/value store without "data/" or "metadata/", capabilities
// a more specific rule takes away, and sudo that is missing. It knows the mounts
// of now; a rule for one still to come is a warning. Rules with templates are
// looked at only before their first "{{".
func Lint(p *Policy, mounts []Mount) []Complaint {
	l := linter{policy: p, mounts: slices.Clone(mounts)}
	// The longest mount first: it is the one a path leads to.
	slices.SortFunc(l.mounts, func(a, b Mount) int { return len(b.Path) - len(a.Path) })
	for i := range p.Rules {
		l.rule(&p.Rules[i])
	}
	slices.SortStableFunc(l.found, func(a, b Complaint) int { return cmp.Compare(a.Line, b.Line) })
	return l.found
}

type linter struct {
	policy *Policy
	mounts []Mount
	found  []Complaint
}

func (l *linter) say(r *Rule, warning bool, fix, format string, args ...any) {
	l.found = append(l.found, Complaint{
		Policy: l.policy.Name, Line: r.Line, Path: r.Path, Text: fmt.Sprintf(format, args...), Fix: fix, Warning: warning,
	})
}

func (l *linter) rule(r *Rule) {
	if strings.Trim(r.Path, "*") == "" {
		if !slices.Contains(r.Capabilities, Deny) {
			l.say(r, true, "name the paths that are needed", "it allows everything, on every mount there is and will be")
		}
		return
	}
	l.wildcards(r)
	l.shadow(r)
	m := l.mountOf(r.Path)
	if m == nil {
		if !l.reachesMount(r.Path) {
			l.say(r, true, "see what is mounted with: goldkeep mount list", "nothing is mounted there")
		}
		return
	}
	if m.Kind == "kv" || m.Kind == "generic" {
		l.store(r, m)
	}
	l.sudo(r, m)
}

// mountOf finds the mount all that a rule matches is below.
func (l *linter) mountOf(path string) *Mount {
	fixed, _, _ := strings.Cut(path, "{{")
	for i := range l.mounts {
		if strings.HasPrefix(fixed, l.mounts[i].Path) {
			return &l.mounts[i]
		}
	}
	return nil
}

// reachesMount reports whether a rule with wildcards may match something mounted.
func (l *linter) reachesMount(path string) bool {
	if strings.Contains(path, "{{") {
		return true
	}
	rule := NewSet(&Policy{Rules: []Rule{{Path: path, Capabilities: []Capability{Read}}}})
	return slices.ContainsFunc(l.mounts, func(m Mount) bool { return rule.Any(m.Path) })
}

// wildcards finds those that are plain text where they stand.
func (l *linter) wildcards(r *Rule) {
	for _, part := range strings.Split(r.Path, "/") {
		if strings.Contains(part, "+") && part != "+" && part != "+*" {
			l.say(r, true, "let \"+\" stand alone between two slashes", "\"+\" in %q is a plus sign: it stands for a part of a path only where it is the whole part", part)
			return
		}
	}
}

// folders are the parts of the interface of the key/value store, version 2.
var folders = []string{"data", "metadata", "delete", "undelete", "destroy", "subkeys", "detailed-metadata", "config"}

// store knows the traps of the key/value stores.
func (l *linter) store(r *Rule, m *Mount) {
	below := strings.TrimPrefix(r.Path, m.Path)
	folder, rest, deeper := strings.Cut(below, "/")
	if m.Version != "2" {
		if deeper && (folder == "data" || folder == "metadata") {
			l.say(r, true, quoted(m.Path+rest), "%s is version 1 of the key/value store, which has no %s/: this is about a secret below a folder of that name", m.Path, folder)
		}
		return
	}
	if below == "" || below == "*" || folder == "+" || folder == "+*" || strings.HasPrefix(below, "{{") {
		return
	}
	if !slices.Contains(folders, strings.TrimSuffix(folder, "*")) {
		l.say(r, false, quoted(m.Path+"data/"+below)+" for values, "+quoted(m.Path+"metadata/"+below)+" for lists and versions",
			"%s is version 2 of the key/value store: this path matches no request", m.Path)
		return
	}
	l.folder(r, m, folder, rest)
}

// folder knows what can be asked of each part of version 2.
func (l *linter) folder(r *Rule, m *Mount, folder, rest string) {
	has := func(c Capability) bool { return slices.Contains(r.Capabilities, c) }
	switch folder {
	case "data":
		if has(List) || has(Scan) {
			l.say(r, false, "path "+quoted(m.Path+"metadata/"+rest)+` { capabilities = ["list"] }`, "secrets are listed at metadata/, not at data/")
		}
		if has(Update) && !has(Create) {
			l.say(r, true, `add "create"`, "the first version of a secret cannot be written with \"update\" alone")
		}
	case "delete", "undelete", "destroy":
		if !has(Update) && !has(Create) && !has(Deny) {
			l.say(r, false, `capabilities = ["update"]`, "%s/ is written to: it needs \"update\"", folder)
		}
	}
}

// shadow finds what a wider rule grants and a more specific one takes away again
// without saying so: rules do not add up.
func (l *linter) shadow(r *Rule) {
	if slices.Contains(r.Capabilities, Deny) {
		return
	}
	for i := range l.policy.Rules {
		wide := &l.policy.Rules[i]
		head, glob := strings.CutSuffix(wide.Path, "*")
		if !glob || wide.Path == r.Path || plusAt(head) >= 0 || !strings.HasPrefix(r.Path, head) {
			continue
		}
		var lost []string
		for _, c := range wide.Capabilities {
			if c != Deny && !slices.Contains(r.Capabilities, c) {
				lost = append(lost, string(c))
			}
		}
		if slices.Contains(wide.Capabilities, Deny) {
			l.say(r, true, "make sure that it is meant", "it is allowed although line %d denies %q: the more specific rule decides alone", wide.Line, wide.Path)
		}
		if len(lost) > 0 {
			l.say(r, true, "add what is needed of: "+strings.Join(lost, ", "),
				"line %d grants %s to %q, but not here: the more specific rule decides alone", wide.Line, strings.Join(lost, ", "), wide.Path)
		}
	}
}

// sudo finds paths that need it.
func (l *linter) sudo(r *Rule, m *Mount) {
	if m.Sudo == nil || slices.Contains(r.Capabilities, Sudo) || slices.Contains(r.Capabilities, Deny) || len(r.Capabilities) == 0 {
		return
	}
	below := strings.TrimPrefix(r.Path, m.Path)
	if !strings.ContainsAny(below, "*+") && m.Sudo(below) {
		l.say(r, false, `add "sudo"`, "every request to this path needs sudo besides: as it is, the rule allows nothing")
	}
}
