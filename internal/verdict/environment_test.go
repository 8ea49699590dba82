// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package verdict_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/manifest"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

func TestParseEnvironmentRefuses(t *testing.T) {
	cases := map[string]struct{ spec, want string }{
		"no spec":           {"", "has no spec"},
		"no admit":          {"\n  onFail: warn", "5: an environment needs at least one admit rule"},
		"empty admit":       {"\n  onFail: warn\n  admit: []", "6: an environment needs at least one admit rule"},
		"empty rule":        {"\n  admit:\n    - {}", "6: a rule has exactly one of vulnerabilities"},
		"two in one":        {"\n  admit:\n    - channel: gold\n      age: {max: 3d}", "this one has channel and age"},
		"unknown rule":      {"\n  admit:\n    - hygene: {root: deny}", `6: unknown field "hygene" in spec.admit[0]: did you mean "hygiene"?`},
		"unknown condition": {"\n  admit:\n    - vulnerabilities:\n        maxCvss: 3", `7: unknown field "maxCvss" in spec.admit[0].vulnerabilities: did you mean "maxCVSS"?`},
		"score":             {"\n  admit:\n    - vulnerabilities:\n        maxCVSS: 11", "7: maxCVSS is 11; CVSS scores run from 0 to 10"},
		"no number":         {"\n  admit:\n    - vulnerabilities:\n        maxCVSS: .nan", "7: maxCVSS is NaN"},
		"urgency":           {"\n  admit:\n    - vulnerabilities: {maxUrgency: immediate}", `6: maxUrgency is "immediate"; it must be one of out-of-cycle, scheduled or defer`},
		"severity":          {"\n  admit:\n    - vulnerabilities: {maxSeverity: hihg}", `6: maxSeverity is "hihg"; it must be one of none, low, medium, high or critical`},
		"level":             {"\n  admit:\n    - vulnerabilities: {unfixed: maybe}", `unfixed is "maybe"; it must be one of deny or allow`},
		"grace":             {"\n  admit:\n    - vulnerabilities:\n        grace:\n          hgih: 3d", `8: unknown field "hgih" in grace: did you mean "high"?`},
		"grace length":      {"\n  admit:\n    - vulnerabilities:\n        grace:\n          high: 3 days", `8: spec: "3 days" is not a length of time`},
		"judges nothing":    {"\n  admit:\n    - vulnerabilities: {knownExploited: allow}", "6: this rule judges nothing"},
		"empty hygiene":     {"\n  admit:\n    - hygiene: {}", "this rule judges nothing"},
		"hygiene level":     {"\n  admit:\n    - hygiene: {shell: no}", `shell is "no"; it must be one of deny, warn or allow`},
		"no channel":        {"\n  admit:\n    - channel: []", "channel needs at least one name"},
		"age":               {"\n  admit:\n    - age: {}", "age needs a max"},
		"labels":            {"\n  admit:\n    - labels: {}", "require needs at least one name"},
		"advisories":        {"\n  admit:\n    - advisories: {}", "advisories needs a maxAge"},
		"action":            {"\n  admit:\n    - age: {max: 3d}\n  onFail: explode", `7: onFail is "explode"`},
		"action of admit":   {"\n  admit:\n    - age: {max: 3d}\n      onFail: revoke", "7: an admit rule refuses when it fails"},
		"after itself":      {"\n  after: prod\n  admit:\n    - age: {max: 3d}", "5: an environment cannot come after itself"},
		"typo in CEL":       {"\n  admit:\n    - expression:\n        rule: findngs.size() == 0\n        message: m", "7: the expression is wrong: line 1, column 1: undeclared reference to 'findngs'"},
		"field typo in CEL": {"\n  admit:\n    - expression:\n        message: m\n        rule: findings.all(f, f.scor < 3.0)", "8: the expression is wrong: line 1, column 18: undefined field 'scor'"},
		"no truth value":    {"\n  admit:\n    - expression: {rule: findings.size(), message: m}", "the expression gives int; a rule must give true or false"},
		"no message":        {"\n  admit:\n    - expression: {rule: 'true'}", "an expression needs a message"},
		"no rule":           {"\n  admit:\n    - expression: {message: m}", "an expression needs a rule"},
		"long":              {"\n  admit:\n    - expression: {message: m, rule: 'true || " + strings.Repeat("true || ", 1000) + "true'}", "at most 4096 are allowed"},
		"nested":            {"\n  admit:\n    - expression: {message: m, rule: '" + strings.Repeat("(", 500) + "true" + strings.Repeat(")", 500) + "'}", "the expression is wrong"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			docs, err := manifest.Parse("env.yaml", []byte("apiVersion: goldkeep.dev/v1\nkind: Environment\nmetadata: {name: prod, owner: security}\nspec:"+c.spec))
			if err != nil {
				t.Fatal(err)
			}
			_, err = verdict.ParseEnvironment(docs[0])
			if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestAllErrorsAtOnce(t *testing.T) {
	docs, err := manifest.Parse("e", []byte("apiVersion: goldkeep.dev/v1\nkind: Environment\nmetadata: {name: prod, owner: s}\nspec:\n  onFail: x\n  admit:\n    - age: {}\n    - hygiene: {root: y}\n"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = verdict.ParseEnvironment(docs[0])
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("got %v", err)
	}
}

func TestEnvironmentJSON(t *testing.T) {
	env := environment(t, busy)
	first := text(t, env)
	var back verdict.Environment
	if err := json.Unmarshal([]byte(first), &back); err != nil {
		t.Fatal(err)
	}
	if text(t, back) != first || !back.Equal(env) {
		t.Errorf("not the same after a round trip:\n%s\n%s", first, text(t, back))
	}
	if a, b := verdict.Evaluate(env, good(), now), verdict.Evaluate(back, good(), now); text(t, a) != text(t, b) {
		t.Error("judges differently after a round trip")
	}
	for _, bad := range []string{`{"name":"x","admit":[]}`, `{"name":"x","admit":[{"age":{"max":"30d"}}],"colour":1}`, `{"name":"x","admit":[{"expression":{"rule":"x","message":"m"}}]}`} {
		if err := json.Unmarshal([]byte(bad), &back); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: got %v", bad, err)
		}
	}
}

func TestExpressions(t *testing.T) {
	ev := good()
	ev.Findings = []finding.Finding{exploited(linked(openssl("A", 9.8, "3.0.2"), false)), hidden(openssl("B", 9, "")), openssl("C", 3, "")}
	ev.Facts = []component.Fact{fact(component.Shell, "bin/sh", false)}
	cases := map[string]verdict.Answer{
		"image.labels['team'] == 'payments'":                                                   verdict.Yes,
		"image.labels['nobody'] == 'x'":                                                        verdict.Unknown,
		"'nobody' in image.labels":                                                             verdict.No,
		"findings.size() == 2":                                                                 verdict.Yes,
		"findings.exists(f, f.exploited)":                                                      verdict.Yes,
		"findings.exists(f, f.exploited && f.score > 9.7 && f.fixed != '')":                    verdict.Yes,
		"findings.all(f, f.severity != 'critical')":                                            verdict.No,
		"findings.all(f, now - f.since < duration('240h'))":                                    verdict.Yes,
		"findings.exists(f, f.layerIndex == 0 && 'y' in f.aliases)":                            verdict.Yes,
		"facts.exists(f, f.kind == 'shell' && !f.deleted)":                                     verdict.Yes,
		"components.exists(c, c.purl.startsWith('pkg:golang/') && c.packages.exists(p, true))": verdict.Yes,
		"components.all(c, c.layer == '')":                                                     verdict.Yes,
		"channels.exists(c, c.name == 'gold' && c.golden == 'payments')":                       verdict.Yes,
		"signatures.exists(s, s.signer == 'release' && s.type.endsWith('/sign/v1'))":           verdict.Yes,
		"image.created > timestamp('2026-01-01T00:00:00Z') && image.ports.size() == 2":         verdict.Yes,
		"now - snapshotAt < duration('2h') && os.id == 'debian'":                               verdict.Yes,
		"problems.all(p, !p.fatal) && gaps.size() == 0":                                        verdict.Yes,
		"1 / (findings.size() - 2) == 1":                                                       verdict.Unknown,
		"findings[7].id == 'x'":                                                                verdict.Unknown,
	}
	for rule, want := range cases {
		env := environment(t, "  admit:\n    - expression:\n        message: m\n        rule: >-\n          "+rule+"\n")
		v := verdict.Evaluate(env, ev, now)
		if v.Admit.Answer != want {
			t.Errorf("%s: got %s %+v, want %s", rule, v.Admit.Answer, v.Admit.Reasons, want)
		}
		if timed := strings.Contains(rule, "now"); v.Until.IsZero() == timed {
			t.Errorf("%s: until is %s", rule, v.Until)
		}
	}
}

// TestExpressionsNeverGuess holds that evidence nobody gathered is not "none".
func TestExpressionsNeverGuess(t *testing.T) {
	for rule, change := range map[string]func(*verdict.Evidence){
		"findings.size() == 0":   func(ev *verdict.Evidence) { ev.Snapshot = "" },
		"signatures.size() == 0": func(ev *verdict.Evidence) { ev.Signatures = nil },
		"channels.size() == 0":   func(ev *verdict.Evidence) { ev.Channels = nil },
		"snapshotAt < now":       func(ev *verdict.Evidence) { ev.SnapshotAt = time.Time{} },
	} {
		ev := good()
		change(&ev)
		v := verdict.Evaluate(environment(t, "  admit:\n    - expression: {message: m, rule: "+rule+"}\n"), ev, now)
		if v.Admit.Answer != verdict.Unknown {
			t.Errorf("%s: got %s", rule, v.Admit.Answer)
		}
	}
}

// TestHostileExpressionIsStopped runs a cubic rule over 2,000 findings: 8 billion
// steps, which is hours, if its cost limit did not stop it.
func TestHostileExpressionIsStopped(t *testing.T) {
	ev := good()
	for i := range 2000 {
		ev.Findings = append(ev.Findings, openssl(fmt.Sprint("CVE-", i), 5, ""))
	}
	for _, rule := range []string{
		"findings.all(a, findings.all(b, findings.all(c, a.id + b.id + c.id != 'x')))",
		"findings.map(a, findings.map(b, findings.map(c, a.id + b.id))).size() > 0",
	} {
		env := environment(t, "  admit:\n    - expression: {message: m, rule: \""+rule+"\"}\n")
		v := verdict.Evaluate(env, ev, now)
		if v.Admit.Answer != verdict.Unknown || !strings.Contains(v.Admit.Reasons[0].Text, "policy error") {
			t.Errorf("got %+v", v.Admit)
		}
	}
}

// TestDocumentedRules parses every example of docs/rules.md.
func TestDocumentedRules(t *testing.T) {
	page, err := os.ReadFile("../../docs/rules.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(page), "```yaml\n")[1:]
	if len(blocks) < 9 {
		t.Fatalf("only %d examples", len(blocks))
	}
	for i, block := range blocks {
		example, _, _ := strings.Cut(block, "```")
		if !strings.HasPrefix(example, "apiVersion:") {
			example = "apiVersion: goldkeep.dev/v1\nkind: Environment\nmetadata: {name: prod, owner: security}\nspec:\n  admit:\n    " +
				strings.ReplaceAll(strings.TrimSpace(example), "\n", "\n    ")
		}
		docs, err := manifest.Parse("rules.md", []byte(example))
		if err != nil {
			t.Errorf("example %d: %v", i+1, err)
			continue
		}
		if _, err := verdict.ParseEnvironment(docs[0]); err != nil {
			t.Errorf("example %d: %v\n%s", i+1, err, example)
		}
	}
	for _, name := range []string{"vulnerabilities", "hygiene", "channel", "signedBy", "age", "baseAge", "advisories", "labels", "expression", "onFail", "unlinked", "unscored", "gaps", "embeddedSecrets", "unpinnedBase"} {
		if !strings.Contains(string(page), name) {
			t.Errorf("docs/rules.md does not speak of %s", name)
		}
	}
}

func FuzzParseEnvironment(f *testing.F) {
	f.Add("  admit: [{vulnerabilities: {maxCVSS: 6.9}}]")
	f.Add(busy)
	f.Add("  admit: [{expression: {rule: 'image.labels[\"a\"] == \"b\" || [1,2].exists(x, x > 1)', message: m}}]\n  retain: [{channel: [a, b]}]")
	f.Add("  admit: [&a {age: {max: 1d}}, *a]\n  after: dev")
	f.Fuzz(func(t *testing.T, spec string) {
		docs, err := manifest.Parse("f", []byte("apiVersion: goldkeep.dev/v1\nkind: Environment\nmetadata: {name: prod, owner: s}\nspec:\n"+spec))
		if err != nil {
			return
		}
		env, err := verdict.ParseEnvironment(docs[0])
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Fatalf("error of the wrong kind: %v", err)
			}
			return
		}
		var back verdict.Environment
		if err := json.Unmarshal([]byte(text(t, env)), &back); err != nil || !back.Equal(*env) {
			t.Fatalf("not the same after a round trip: %v", err)
		}
		if a, b := verdict.Evaluate(*env, good(), now), verdict.Evaluate(back, good(), now); text(t, a) != text(t, b) {
			t.Fatal("judges differently after a round trip")
		}
	})
}
