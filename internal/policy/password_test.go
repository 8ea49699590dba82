// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"strings"
	"testing"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/policy"
)

const passwordText = `length = 20
rule "charset" {
  charset = "abc"
  min-chars = 2
}
rule "charset" {
  charset = "0123"
  min-chars = 17
}
rule "charset" { charset = "é" }`

func TestPassword(t *testing.T) {
	for _, text := range []string{
		passwordText,
		`{"length": 20, "rule": [{"charset": {"charset": "abc", "min-chars": 2}}, {"charset": {"charset": "0123", "min-chars": 17}}, {"charset": {"charset": "é"}}]}`,
	} {
		p, err := policy.ParsePassword(text)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for range 200 {
			s, err := p.Generate(nil)
			if err != nil {
				t.Fatal(err)
			}
			count := func(chars string) (n int) {
				for _, c := range chars {
					n += strings.Count(s, string(c))
				}
				return n
			}
			if len([]rune(s)) != 20 || count("abc") < 2 || count("0123") < 17 || count("abc0123é") != 20 {
				t.Fatalf("made %q", s)
			}
			seen[s] = true
		}
		if len(seen) != 200 {
			t.Errorf("of 200 passwords %d differ", len(seen))
		}
	}
}

func TestPasswordRefuses(t *testing.T) {
	for _, text := range []string{
		"", "length = 20", "length = 3\nrule \"charset\" {charset = \"a\"}", "length = 101\nrule \"charset\" {charset = \"a\"}",
		"length = 20\nrule \"charset\" {charset = \"\"}", "length = 20\nrule \"charset\" {charset = \"a\" min-chars = 21}",
		"length = 20\nrule \"charset\" {charset = \"a\" min-chars = -1}", "length = 20\nrule \"words\" {charset = \"a\"}",
		"length = 20\nrule \"charset\" {charset = \"a\\t\"}", "lenght = 20", "length = \"x\"\nrule \"charset\" {charset = \"a\"}",
		"length = 20\nrule \"charset\" {charset = \"a\" min-chars = 9223372036854775807}\nrule \"charset\" {charset = \"a\" min-chars = 2}",
	} {
		if _, err := policy.ParsePassword(text); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzPassword(f *testing.F) {
	f.Add(passwordText)
	f.Add(`{"length": 20, "rule": [{"charset": {"charset": "abc"}}]}`)
	f.Add("rule = 5")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := policy.ParsePassword(text)
		if err != nil {
			return
		}
		s, err := p.Generate(nil)
		if err != nil || len([]rune(s)) != p.Length {
			t.Errorf("%q made %q, %v", text, s, err)
		}
	})
}
