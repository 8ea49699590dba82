// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/internal/policy"
)

func parsed(t testing.TB, name, text string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse(name, text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestExplain(t *testing.T) {
	wide := parsed(t, "wide", "path \"secret/data/*\" { capabilities = [\"read\", \"update\"] }\n")
	narrow := parsed(t, "narrow", "\npath \"secret/data/app\" { capabilities = [\"read\"] }\npath \"secret/data/off\" { capabilities = [\"deny\"] }\npath \"sys/seal\" { capabilities = [\"update\"] }\n")
	match := func(m policy.Match) string {
		return fmt.Sprintf("%s:%d %s %v", m.Policy, m.Line, m.Path, m.Decides)
	}
	for name, tt := range map[string]struct {
		q       policy.Query
		allowed bool
		missing string
		want    []string
	}{
		"the wide rule lost": {
			policy.Query{Path: "secret/data/app", Need: policy.Update},
			false, `lacks "update": add it there`,
			[]string{"narrow:2 secret/data/app true", "wide:1 secret/data/* false"},
		},
		"the wide rule decides": {policy.Query{Path: "secret/data/b", Need: policy.Update}, true, "", []string{"wide:1 secret/data/* true"}},
		"no rule": {
			policy.Query{Path: "secret/metadata/b", Need: policy.List},
			false,
			`path "secret/metadata/b" { capabilities = ["list"] }`, nil,
		},
		"deny": {
			policy.Query{Path: "secret/data/off", Need: policy.Read},
			false, "says deny",
			[]string{"narrow:3 secret/data/off true", "wide:1 secret/data/* false"},
		},
		"sudo": {policy.Query{Path: "sys/seal", Need: policy.Update, Sudo: true}, false, `add "sudo"`, []string{"narrow:4 sys/seal true"}},
	} {
		t.Run(name, func(t *testing.T) {
			d, matches := policy.Explain(tt.q, wide, nil, narrow)
			var got []string
			for _, m := range matches {
				got = append(got, match(m))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || d.Allowed != tt.allowed {
				t.Errorf("allowed %v\n%s", d.Allowed, diff)
			}
			if said := d.Missing(tt.q); !strings.Contains(said, tt.missing) || (said == "") != tt.allowed {
				t.Errorf("missing: %s", said)
			}
		})
	}
}

func TestLint(t *testing.T) {
	mounts := []policy.Mount{
		{Path: "secret/", Kind: "kv", Version: "2"},
		{Path: "old/", Kind: "kv", Version: "1"},
		{Path: "transit/", Kind: "transit"},
		{Path: "sys/", Kind: "system", Sudo: func(p string) bool { return p == "seal" }},
	}
	for name, tt := range map[string]struct {
		text string
		want []string // parts of the complaints, in order
	}{
		"the data/ trap":          {`path "secret/app/*" { capabilities = ["read"] }`, []string{`1: secret/ is version 2 of the key/value store: this path matches no request; "secret/data/app/*" for values`}},
		"data is not listed":      {`path "secret/data/app/*" { capabilities = ["read", "list"] }`, []string{"secrets are listed at metadata/, not at data/; path \"secret/metadata/app/*\""}},
		"update alone":            {`path "secret/data/app" { capabilities = ["update"] }`, []string{`the first version of a secret cannot be written`}},
		"destroy wants update":    {`path "secret/destroy/app" { capabilities = ["delete"] }`, []string{`destroy/ is written to`}},
		"version 1 has no data":   {`path "old/data/app" { capabilities = ["read"] }`, []string{`has no data/: this is about a secret below a folder of that name; "old/app"`}},
		"nothing is mounted":      {`path "kv/data/app" { capabilities = ["read"] }`, []string{"nothing is mounted there"}},
		"everything":              {`path "*" { capabilities = ["read"] }`, []string{"it allows everything"}},
		"a plus sign":             {`path "secret/data/a+/b" { capabilities = ["read"] }`, []string{`"+" in "a+" is a plus sign`}},
		"sudo":                    {`path "sys/seal" { capabilities = ["update"] }`, []string{`needs sudo besides`}},
		"a rule takes away":       {"path \"transit/*\" { capabilities = [\"read\", \"update\"] }\npath \"transit/keys/a\" { capabilities = [\"read\"] }", []string{`2: line 1 grants update to "transit/*", but not here`}},
		"a rule gives back":       {"path \"transit/*\" { capabilities = [\"deny\"] }\npath \"transit/keys/a\" { capabilities = [\"read\"] }", []string{`2: it is allowed although line 1 denies`}},
		"nothing to say":          {"path \"secret/data/app/*\" { capabilities = [\"create\", \"update\", \"read\"] }\npath \"secret/metadata/app/*\" { capabilities = [\"list\"] }\npath \"secret/*\" { capabilities = [\"deny\"] }\npath \"+/data/a\" { capabilities = [\"read\"] }\npath \"old/app\" { capabilities = [\"read\"] }", []string{"1: it is allowed although line 3", "2: it is allowed although line 3"}},
		"any mount, by a segment": {`path "+/keys/a" { capabilities = ["read"] }`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			found := policy.Lint(parsed(t, "p", tt.text), mounts)
			if len(found) != len(tt.want) {
				t.Fatalf("%d complaints: %+v", len(found), found)
			}
			for i, c := range found {
				if got := fmt.Sprintf("%d: %s; %s", c.Line, c.Text, c.Fix); !strings.Contains(got, tt.want[i]) {
					t.Errorf("got %s, want %s", got, tt.want[i])
				}
			}
		})
	}
}
