// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/policy"
	"github.com/google/go-cmp/cmp"
)

func parse(t testing.TB, name, text string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse(name, text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestMostSpecificPathWins(t *testing.T) {
	// Each case is a list of paths, each with its own capability name, and which
	// of them must decide.
	for _, c := range []struct {
		rules []string
		path  string
		want  string
	}{
		{[]string{"a/*", "a/b"}, "a/b", "a/b"},
		{[]string{"a/*", "a/b*"}, "a/bc", "a/b*"},
		{[]string{"*", "a/*"}, "b", "*"},
		{[]string{"a/+/c", "a/*"}, "a/b/c", "a/+/c"}, // equal first wildcard: "*" is weaker
		{[]string{"a/+/c", "a/b/*"}, "a/b/c", "a/b/*"},
		{[]string{"+/b/c", "a/+/c"}, "a/b/c", "a/+/c"},
		{[]string{"a/+/+", "a/+/c"}, "a/b/c", "a/+/c"},
		{[]string{"a/+/*", "a/+/c*"}, "a/b/cd", "a/+/c*"},
		{[]string{"a/+/*", "a/*"}, "a/b/c/d", "a/*"}, // fewer "+" wins, as documented
		{[]string{"a/+"}, "a/b/c", ""},
		{[]string{"a/+/c"}, "a/c", ""},
		{[]string{"a/+"}, "a", ""},
		{[]string{"a/b"}, "a/b/", ""},
		{[]string{"a/+b"}, "a/xb", ""}, // "+" is a wildcard only as a whole segment
		{[]string{"/a/b"}, "a/b", "a/b"},
	} {
		var b strings.Builder
		for _, r := range c.rules {
			fmt.Fprintf(&b, "path %q { capabilities = [\"read\"] }\n", r)
		}
		d := policy.NewSet(parse(t, "p", b.String())).Decide(policy.Query{Path: c.path, Need: policy.Read})
		if d.Rule != c.want || d.Allowed != (c.want != "") {
			t.Errorf("%v on %q: rule %q, allowed %v; want %q", c.rules, c.path, d.Rule, d.Allowed, c.want)
		}
	}
}

func TestSpecificIsNotUnion(t *testing.T) {
	s := policy.NewSet(parse(t, "p", `
path "secret/*"      { capabilities = ["read", "update"] }
path "secret/open"   { capabilities = ["read"] }
path "secret/shut"   { capabilities = ["read", "deny"] }
path "sys/auth/*"    { capabilities = ["update", "sudo"] }
path "sys/audit"     { capabilities = ["update"] }
`), parse(t, "q", `path "secret/open" { capabilities = ["delete"] }`))
	for _, c := range []struct {
		path   string
		need   policy.Capability
		sudo   bool
		reason string
	}{
		{"secret/x", policy.Update, false, policy.ReasonGranted},
		{"secret/open", policy.Update, false, policy.ReasonMissing},
		{"secret/open", policy.Delete, false, policy.ReasonGranted},
		{"secret/shut", policy.Read, false, policy.ReasonDeny},
		{"other", policy.Read, false, policy.ReasonNoRule},
		{"sys/auth/x", policy.Update, true, policy.ReasonGranted},
		{"sys/audit", policy.Update, true, policy.ReasonSudo},
		{"secret/x", policy.Deny, false, policy.ReasonMissing},
		{"secret/x", "", false, policy.ReasonMissing},
	} {
		if d := s.Decide(policy.Query{Path: c.path, Need: c.need, Sudo: c.sudo}); d.Reason != c.reason {
			t.Errorf("%s %s: %q, want %q", c.need, c.path, d.Reason, c.reason)
		}
	}
	d := s.Decide(policy.Query{Path: "secret/open", Need: policy.Read})
	if diff := cmp.Diff([]string{"p", "q"}, d.Policies); diff != "" {
		t.Error(diff)
	}
}

func TestDenyBeatsAcrossPolicies(t *testing.T) {
	allow := parse(t, "allow", `path "a" { capabilities = ["read"] }`)
	deny := parse(t, "deny", `path "a" { capabilities = ["deny"] }`)
	for _, s := range []policy.Set{policy.NewSet(allow, deny), policy.NewSet(deny, allow)} {
		if d := s.Decide(policy.Query{Path: "a", Need: policy.Read}); d.Allowed {
			t.Error("allowed in spite of deny")
		}
	}
}

func TestListTriesBothForms(t *testing.T) {
	for _, rule := range []string{"secret/a", "secret/a/", "secret/+", "secret/+/", "secret/*", "secret/a/*"} {
		s := policy.NewSet(parse(t, "p", fmt.Sprintf("path %q { capabilities = [\"list\"] }", rule)))
		for _, path := range []string{"secret/a", "secret/a/"} {
			if !s.Decide(policy.Query{Path: path, Need: policy.List}).Allowed {
				t.Errorf("rule %q does not allow to list %q", rule, path)
			}
		}
	}
}

func TestParameters(t *testing.T) {
	s := policy.NewSet(parse(t, "p", `
path "a" {
  capabilities = ["update"]
  allowed_parameters = { "Ttl" = ["1h", "2*"], "name" = [], "n" = [5] }
}
path "d" {
  capabilities = ["update"]
  denied_parameters = { "mode" = ["root*"], "id" = [] }
}
path "all"  { capabilities = ["update"]
  denied_parameters = { "*" = [] } }
path "some" { capabilities = ["update"]
  allowed_parameters = { "*" = [], "n" = ["1"] } }
path "req"  { capabilities = ["update"]
  required_parameters = ["Owner"] }`))
	for _, c := range []struct{ path, body, want string }{
		{"a", `{}`, policy.ReasonGranted},
		{"a", `{"ttl":"1h","name":{"x":1}}`, policy.ReasonGranted},
		{"a", `{"TTL":"20m"}`, policy.ReasonGranted},
		{"a", `{"ttl":"3h"}`, policy.ReasonParameter},
		{"a", `{"n":5}`, policy.ReasonGranted},
		{"a", `{"n":5.0}`, policy.ReasonParameter},
		{"a", `{"other":1}`, policy.ReasonParameter},
		{"d", `{"mode":"user"}`, policy.ReasonGranted},
		{"d", `{"MODE":"rooty"}`, policy.ReasonParameter},
		{"d", `{"mode":"\u0072oot"}`, policy.ReasonParameter},
		{"d", `{"mode":["root"]}`, policy.ReasonParameter}, // cannot be compared: denied
		{"d", `{"id":null}`, policy.ReasonParameter},
		{"all", `{"x":1}`, policy.ReasonParameter},
		{"all", `{}`, policy.ReasonGranted},
		{"some", `{"x":1,"n":1}`, policy.ReasonGranted},
		{"some", `{"n":2}`, policy.ReasonParameter},
		{"req", `{}`, policy.ReasonRequired},
		{"req", `{"owner":""}`, policy.ReasonGranted},
		{"req", `{"OWNER":""}`, policy.ReasonRequired}, // no engine reads it
	} {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal([]byte(c.body), &fields); err != nil {
			t.Fatal(err)
		}
		if d := s.Decide(policy.Query{Path: c.path, Need: policy.Update, Fields: fields}); d.Reason != c.want {
			t.Errorf("%s %s: %q, want %q", c.path, c.body, d.Reason, c.want)
		}
	}
}

func TestWrapping(t *testing.T) {
	s := policy.NewSet(parse(t, "p", `path "a" { capabilities = ["read"]
		min_wrapping_ttl = 60
		max_wrapping_ttl = "1h" }`))
	for ttl, want := range map[time.Duration]bool{0: false, time.Second: false, time.Minute: true, time.Hour: true, 2 * time.Hour: false} {
		if d := s.Decide(policy.Query{Path: "a", Need: policy.Read, WrapTTL: ttl}); d.Allowed != want {
			t.Errorf("wrap %v: allowed %v", ttl, d.Allowed)
		}
	}
}

func TestJSONIsTheSameLanguage(t *testing.T) {
	hcl := parse(t, "p", `path "a/*" { capabilities = ["read"] }
path "b" { policy = "write"
 allowed_parameters = { "x" = ["1"] } }`)
	for _, text := range []string{
		`{"path": {"a/*": {"capabilities": ["read"]}, "b": {"policy": "write", "allowed_parameters": {"x": ["1"]}}}}`,
		`{"path": [{"a/*": {"capabilities": ["read"]}}, {"b": {"policy": "write", "allowed_parameters": [{"x": ["1"]}]}}]}`,
	} {
		got := parse(t, "p", text)
		got.Text = hcl.Text
		for i := range got.Rules {
			got.Rules[i].Line = hcl.Rules[i].Line
		}
		if diff := cmp.Diff(hcl, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestBadTextIsOneClearError(t *testing.T) {
	for text, want := range map[string]string{
		"path \"a\" {\n capabilities = [\"raed\"]\n}":  `line 2: path "a": unknown capability "raed"`,
		"\npath \"a\" {\n\n capability = [\"read\"] }": `line 4: unknown key "capability"`,
		`paths "a" {}`: `line 1: unknown key "paths"`,
		`path "a/*/b" { capabilities = ["read"] }`:                                `"*" is only allowed at the end`,
		`path "a/+*" { capabilities = ["read"] }`:                                 `"+*" is not allowed`,
		`path "a/{{identity.entity.id" { capabilities = ["read"] }`:               `a template must end in "}}"`,
		`path "a/}}b" { capabilities = ["read"] }`:                                `"}}" without "{{"`,
		`path "a/{{time.now}}" { capabilities = ["read"] }`:                       "templates start with",
		`path "a/{{identity.token.id}}" { capabilities = ["read"] }`:              "templates start with",
		`path "a" { capabilities = "read" }`:                                      "capabilities must be a list",
		`path "a" { capabilities = [99999999999999999999] }`:                      "list of strings",
		`path "a" { policy = "all" }`:                                             `policy must be "deny"`,
		`path "a" { min_wrapping_ttl = "2h"` + "\n" + `max_wrapping_ttl = "1h" }`: "above max_wrapping_ttl",
		`path "a" { max_wrapping_ttl = "soon" }`:                                  "must be seconds or a duration",
		`path "a" { capabilities = ["read"`:                                       "not valid HCL",
		`path = "a"`:                                                              "path must name a block",
		"{\n\"path\": {\"a\": {\"x\": 1}}}":                                       `line 2: unknown key "x"`,
		`{"path": {"a": {"capabilities": ["read"]}}} x`:                           "more after the policy",
		`{"path": `: "not valid JSON",
		`path "a" ` + strings.Repeat("{ a ", 100_000):                             "nest deeper",
		`path = ` + strings.Repeat("[", 200_000):                                  "nest deeper",
		`{"path":` + strings.Repeat("[", 200_000):                                 "nest deeper",
		"path \"a\" {\n capabilities = [\"read\"]\n capabilities = [\"list\"]\n}": "line 3: capabilities is given twice",
		strings.Repeat("#", policy.MaxText+1):                                     "larger than 1 MiB",
	} {
		_, err := policy.Parse("p", text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v; want %q", text, err, want)
		}
		if !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.TooLarge) {
			t.Errorf("%.60q: kind %v", text, fault.KindOf(err))
		}
	}
}

func TestCapabilities(t *testing.T) {
	s := policy.NewSet(parse(t, "p", `path "a/*" { capabilities = ["update", "read", "create"] }
path "a/no" { capabilities = ["deny"] }`))
	for path, want := range map[string][]policy.Capability{
		"a/x": {policy.Create, policy.Read, policy.Update}, "a/no": {policy.Deny}, "b": {policy.Deny},
	} {
		if diff := cmp.Diff(want, s.Capabilities(path)); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	}
	root := policy.NewSet(&policy.Policy{Name: policy.RootName})
	if diff := cmp.Diff([]policy.Capability{"root"}, root.Capabilities("x")); diff != "" {
		t.Error(diff)
	}
	if d := root.Decide(policy.Query{Path: "x", Need: policy.Delete, Sudo: true}); !d.Allowed || !d.Root {
		t.Errorf("root: %+v", d)
	}
	if (policy.Set{}).Decide(policy.Query{Path: "x", Need: policy.Read}).Allowed {
		t.Error("the empty set allows")
	}
}

func TestAny(t *testing.T) {
	for rule, want := range map[string]bool{
		"secret/a": true, "secret/*": true, "sec*": true, "*": true, "+/a": true, "secret/+/x": true,
		"other/*": false, "secre": false, "+/": true, "secrets/+/*": false,
	} {
		s := policy.NewSet(parse(t, "p", fmt.Sprintf("path %q { capabilities = [\"read\"] }", rule)))
		if got := s.Any("secret/"); got != want {
			t.Errorf("%q: any below secret/ = %v", rule, got)
		}
	}
}

func TestBuiltinTextsParse(t *testing.T) {
	for name, text := range map[string]string{policy.DefaultName: policy.DefaultText, policy.NodeName: policy.NodeText, policy.WrappingName: policy.WrappingText} {
		if p := parse(t, name, text); len(p.Rules) == 0 {
			t.Errorf("%s has no rules", name)
		}
	}
	node := policy.NewSet(parse(t, "node", policy.NodeText))
	for path, want := range map[string]bool{"api/v1/images/sha256:1": true, "secret/data/x": false, "sys/mounts": false} {
		if node.Decide(policy.Query{Path: path, Need: policy.Read}).Allowed != want {
			t.Errorf("node reads %s: want %v", path, want)
		}
	}
}

// big is a set as a platform team has it: many exact, prefix and "+" rules.
func big(t testing.TB) policy.Set {
	var b strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&b, "path \"secret/data/team-%d/*\" { capabilities = [\"read\"] }\n", i)
		fmt.Fprintf(&b, "path \"secret/metadata/team-%d\" { capabilities = [\"list\"] }\n", i)
	}
	for i := range 20 {
		fmt.Fprintf(&b, "path \"+/creds/app-%d\" { capabilities = [\"read\"] }\n", i)
	}
	return policy.NewSet(parse(t, "big", b.String()), parse(t, "default", policy.DefaultText))
}

func TestDecideDoesNotAllocate(t *testing.T) {
	s := big(t)
	q := policy.Query{Path: "secret/data/team-500/app/db", Need: policy.Read}
	if n := testing.AllocsPerRun(100, func() { s.Decide(q) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if !s.Decide(q).Allowed {
		t.Error("not allowed")
	}
}

func BenchmarkDecide(b *testing.B) {
	s := big(b)
	q := policy.Query{Path: "secret/data/team-500/app/db", Need: policy.Read}
	for b.Loop() {
		s.Decide(q)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(policy.DefaultText)
	f.Add(`{"path": {"a/*": {"capabilities": ["read"], "allowed_parameters": {"x": [1, true]}}}}`)
	f.Add(`path "a" { policy = "write" min_wrapping_ttl = 5 }`)
	f.Add("path \"a\" {\n capabilities = <<EOF\nx\nEOF\n}")
	f.Add(`path "${a" {}`)
	f.Add(`path "a/{{identity.entity.id}}/{{ identity.groups.names.x.id }}*" { capabilities = ["read"] }`)
	f.Add(`path "{{identity.entity.aliases.userpass_1.metadata.k}}" { policy = "deny" }`)
	f.Add(`path "a/{{identity.entity.{{id}}}}" {}`)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := policy.Parse("p", text)
		if err != nil {
			if fault.Public(err) == "internal error" {
				t.Fatalf("unclassified: %v", err)
			}
			return
		}
		s := policy.NewSet(p.Fill(func(name string) (string, bool) { return name, true }))
		for _, r := range p.Rules {
			s.Decide(policy.Query{Path: r.Path, Need: policy.Read})
		}
	})
}

// FuzzDecide checks Decide against a slow and obvious matcher: whatever decides
// must match, and nothing that matches may be more literal from the left.
func FuzzDecide(f *testing.F) {
	f.Add("a/*\na/+/c\na/b/c", "a/b/c")
	f.Add("+/+\n*", "x/y")
	f.Add("a/+/", "a//")
	f.Fuzz(func(t *testing.T, rules, path string) {
		p := &policy.Policy{Name: "p"}
		for _, r := range strings.Split(rules, "\n") {
			if strings.Contains(strings.TrimSuffix(r, "*"), "*") || strings.HasSuffix(r, "+*") {
				return
			}
			p.Rules = append(p.Rules, policy.Rule{Path: r, Capabilities: []policy.Capability{policy.Read}})
		}
		d := policy.NewSet(p).Decide(policy.Query{Path: path, Need: policy.Read})
		any := false
		for _, r := range p.Rules {
			if slowMatch(r.Path, path) {
				any = true
				if wildAt(r.Path) > wildAt(d.Rule) {
					t.Fatalf("%q decided on %q, though %q is more specific", d.Rule, path, r.Path)
				}
			}
		}
		if any != d.Allowed || d.Allowed && !slowMatch(d.Rule, path) {
			t.Fatalf("rules %q path %q: %+v, slow matcher says %v", rules, path, d, any)
		}
	})
}

func slowMatch(rule, path string) bool {
	head, glob := strings.CutSuffix(rule, "*")
	rs, ps := strings.Split(head, "/"), strings.Split(path, "/")
	if glob && len(ps) > len(rs) {
		ps = append(ps[:len(rs)-1:len(rs)-1], strings.Join(ps[len(rs)-1:], "/"))
	}
	if len(rs) != len(ps) {
		return false
	}
	for i := range rs {
		if glob && i == len(rs)-1 {
			return strings.HasPrefix(ps[i], rs[i])
		}
		if rs[i] != "+" && rs[i] != ps[i] {
			return false
		}
	}
	return true
}

func wildAt(rule string) int {
	at := 0
	for _, seg := range strings.Split(rule, "/") {
		if seg == "+" {
			return at
		}
		if i := strings.IndexByte(seg, '*'); i >= 0 {
			return at + i
		}
		at += len(seg) + 1
	}
	return 1 << 20
}
