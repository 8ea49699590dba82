// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package verdict_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/manifest"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

var now = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// environment parses rules; spec is indented by two.
func environment(t testing.TB, spec string) verdict.Environment {
	t.Helper()
	docs, err := manifest.Parse("env.yaml", []byte("apiVersion: goldkeep.dev/v1\nkind: Environment\nmetadata: {name: prod, owner: security}\nspec:\n"+spec))
	if err != nil {
		t.Fatal(err)
	}
	env, err := verdict.ParseEnvironment(docs[0])
	if err != nil {
		t.Fatal(err)
	}
	return *env
}

// good is evidence no rule of these tests complains about.
func good() verdict.Evidence {
	return verdict.Evidence{
		Image: verdict.Image{
			ID: "sha256:aa", Created: now.Add(-10 * day), User: "1000", Owner: "payments-team", Contact: "#payments",
			Labels: map[string]string{"team": "payments"}, Ports: []string{"8080/tcp", "9090/tcp"},
		},
		OS: component.OS{ID: "debian", VersionID: "12", Ecosystem: "Debian:12"},
		Components: []component.Component{
			{PURL: "pkg:deb/debian/openssl@3.0.1", Ecosystem: "Debian:12", Name: "openssl", Version: "3.0.1", Licenses: []string{"b", "a"}},
			{PURL: "pkg:golang/golang.org/x/net@0.50.0", Ecosystem: "Go", Name: "golang.org/x/net", Version: "0.50.0", Packages: []string{"q", "p"}},
		},
		Facts:      []component.Fact{},
		Findings:   []finding.Finding{},
		Gaps:       []finding.Gap{},
		Problems:   []component.Problem{{Path: "a", Reason: "odd but harmless"}},
		Channels:   []verdict.Channel{{Golden: "payments", Name: "gold", Owner: "platform"}},
		Signatures: []verdict.Signature{{Signer: "release", Type: verdict.Approval}},
		Snapshot:   "sha256:snap", SnapshotAt: now.Add(-time.Hour),
	}
}

// base puts an image under another that is 40 days old.
func base(change func(*verdict.Base)) func(*verdict.Evidence) {
	return func(ev *verdict.Evidence) {
		ev.Image.BaseImage = verdict.Base{
			Name: "debian:12", ID: "sha256:bb", By: "layers", Created: now.Add(-40 * day), Golden: "debian-base", Channel: "gold", Owner: "platform", Contact: "#base",
		}
		if change != nil {
			change(&ev.Image.BaseImage)
		}
	}
}

// TestWhoToCall: a stale base is its owner's business until there is a newer one, a
// missing signature that of whoever signs.
func TestWhoToCall(t *testing.T) {
	signers := func(ev *verdict.Evidence) {
		ev.Signatures = []verdict.Signature{}
		ev.Signers = []verdict.Signer{{Name: "release", Owner: "sec", Contact: "#sec"}, {Name: "qa", Owner: "testers"}, {Name: "other", Owner: "nobody"}}
	}
	for _, c := range []struct {
		rule          string
		change        func(*verdict.Evidence)
		owner, remedy string
	}{
		{"baseAge: {max: 30d}", base(nil), "platform (#base)", "have its owner publish a newer one, then rebuild on it"},
		{"baseAge: {max: 30d}", base(func(b *verdict.Base) { b.Newest = "sha256:cc" }), "payments-team (#payments)", "rebuild it: a newer debian-base gold is there, sha256:cc"},
		{"signedBy: [release, qa]", signers, "sec (#sec), testers", "have it signed by release and qa: goldkeep image sign"},
		{"signedBy: [unheard]", signers, "payments-team (#payments)", "have it signed by unheard: goldkeep image sign"},
	} {
		ev := good()
		c.change(&ev)
		v := verdict.Evaluate(environment(t, "  admit:\n    - "+c.rule+"\n"), ev, now)
		if r := v.Admit.Reasons; len(r) != 1 || r[0].Owner != c.owner || r[0].Remedy != c.remedy {
			t.Errorf("%s: %+v", c.rule, r)
		}
	}
}

func openssl(id string, score float64, fixed string) finding.Finding {
	return finding.Finding{
		ID: id, Ecosystem: "Debian:12", Package: "openssl", Version: "3.0.1", Fixed: fixed, Score: score,
		Severity: severity(score), Since: now.Add(-5 * day), Path: "var/lib/dpkg/status", Aliases: []string{"z", "y"},
	}
}

func severity(score float64) string {
	switch {
	case score == 0:
		return "unknown"
	case score >= 9:
		return "critical"
	case score >= 7:
		return "high"
	case score >= 4:
		return "medium"
	}
	return "low"
}

func exploited(f finding.Finding) finding.Finding { f.Exploited = true; return f }
func listening(f finding.Finding) finding.Finding {
	f.Reach = finding.Listening
	return f
}
func hidden(f finding.Finding) finding.Finding { f.Hidden = "unimportant"; return f }
func linked(f finding.Finding, yes bool) finding.Finding {
	f.Linked = &yes
	return f
}

func fact(kind component.FactKind, path string, deleted bool) component.Fact {
	return component.Fact{Kind: kind, Path: path, Detail: "detail", Deleted: deleted}
}

// TestRules puts each rule to evidence that passes, fails and is missing.
func TestRules(t *testing.T) {
	find := func(list ...finding.Finding) func(*verdict.Evidence) {
		return func(ev *verdict.Evidence) { ev.Findings = list }
	}
	facts := func(list ...component.Fact) func(*verdict.Evidence) {
		return func(ev *verdict.Evidence) { ev.Facts = list }
	}
	bill := func(ev *verdict.Evidence) { ev.Image.Kind = verdict.Bill }
	cases := []struct {
		name, rule string
		change     func(*verdict.Evidence)
		want       verdict.Answer
		reasons    string // "rule=answer" each
	}{
		{"bill: vulnerabilities", "vulnerabilities: {maxCVSS: 6.9}", bill, verdict.Yes, ""},
		{"bill: hygiene", "hygiene: {root: deny}", bill, verdict.Unknown, "hygiene.root=unknown"},
		{"bill: hygiene warned", "hygiene: {root: warn}", bill, verdict.Yes, "hygiene.root=yes"},
		{"bill: labels", "labels: {require: [team]}", bill, verdict.Unknown, "labels=unknown"},
		{"bill: user", "expression: {rule: \"image.user != 'root'\", message: m}", bill, verdict.Unknown, "expression=unknown"},
		{"bill: components", "expression: {rule: \"size(components) < 99\", message: m}", bill, verdict.Yes, ""},
		{"clean", "vulnerabilities: {maxCVSS: 6.9}", nil, verdict.Yes, ""},
		{"above", "vulnerabilities: {maxCVSS: 6.9}", find(openssl("A", 7.5, "3.0.2")), verdict.No, "vulnerabilities.maxCVSS=no"},
		{"equal", "vulnerabilities: {maxCVSS: 7.5}", find(openssl("A", 7.5, "3.0.2")), verdict.Yes, ""},
		{"hidden", "vulnerabilities: {maxCVSS: 6.9}", find(hidden(openssl("A", 9, "1"))), verdict.Yes, ""},
		{"no fix counts", "vulnerabilities: {maxCVSS: 6.9}", find(openssl("A", 9, "")), verdict.No, "vulnerabilities.maxCVSS=no"},
		{"no fix allowed", "vulnerabilities: {maxCVSS: 6.9, unfixed: allow}", find(openssl("A", 9, "")), verdict.Yes, ""},
		{"exploited without fix", "vulnerabilities: {maxCVSS: 6.9, unfixed: allow}", find(exploited(openssl("A", 9, ""))), verdict.No, "vulnerabilities.knownExploited=no"},
		{"exploited allowed", "vulnerabilities: {maxCVSS: 9, knownExploited: allow}", find(exploited(openssl("A", 5, ""))), verdict.Yes, ""},
		{"not linked counts", "vulnerabilities: {maxCVSS: 6.9}", find(linked(openssl("A", 9, "1"), false)), verdict.No, "vulnerabilities.maxCVSS=no"},
		{"not linked allowed", "vulnerabilities: {maxCVSS: 6.9, unlinked: allow}", find(linked(openssl("A", 9, "1"), false)), verdict.Yes, ""},
		{"linked", "vulnerabilities: {maxCVSS: 6.9, unlinked: allow}", find(linked(openssl("A", 9, "1"), true)), verdict.No, "vulnerabilities.maxCVSS=no"},
		{"severity", "vulnerabilities: {maxSeverity: medium}", find(openssl("A", 7.5, "1"), openssl("B", 6, "1")), verdict.No, "vulnerabilities.maxSeverity=no"},
		{"urgency", "vulnerabilities: {maxUrgency: scheduled}", find(openssl("A", 9.5, "1"), openssl("B", 8, "1")), verdict.No, "vulnerabilities.maxUrgency=no"},
		{"urgency is not severity", "vulnerabilities: {maxUrgency: scheduled}", find(openssl("B", 8, "1")), verdict.Yes, ""},
		{"urgency of what listens", "vulnerabilities: {maxUrgency: scheduled}", find(listening(openssl("B", 8, "1"))), verdict.No, "vulnerabilities.maxUrgency=no"},
		{"urgency not linked", "vulnerabilities: {maxUrgency: scheduled}", find(linked(openssl("A", 9.5, "1"), false)), verdict.Yes, ""},
		{"urgency unscored", "vulnerabilities: {maxUrgency: scheduled}", find(openssl("A", 0, "1")), verdict.Unknown, "vulnerabilities.unscored=unknown"},
		{"unscored", "vulnerabilities: {maxSeverity: medium}", find(openssl("A", 0, "1")), verdict.Unknown, "vulnerabilities.unscored=unknown"},
		{"unscored denied", "vulnerabilities: {maxSeverity: medium, unscored: deny}", find(openssl("A", 0, "1")), verdict.No, "vulnerabilities.unscored=no"},
		{"unscored allowed", "vulnerabilities: {maxSeverity: medium, unscored: allow}", find(openssl("A", 0, "1")), verdict.Yes, "vulnerabilities.unscored=yes"},
		{"no number", "vulnerabilities: {maxCVSS: 9.9}", find(openssl("A", math.NaN(), "1")), verdict.No, "vulnerabilities.maxCVSS=no"},
		{"grace", "vulnerabilities: {maxCVSS: 6.9, grace: {high: 10d}}", find(openssl("A", 7.5, "1")), verdict.Yes, "vulnerabilities.maxCVSS=yes"},
		{"grace over", "vulnerabilities: {maxCVSS: 6.9, grace: {high: 5d}}", find(openssl("A", 7.5, "1")), verdict.No, "vulnerabilities.maxCVSS=no"},
		{"grace of another severity", "vulnerabilities: {maxCVSS: 6.9, grace: {low: 50d}}", find(openssl("A", 7.5, "1")), verdict.No, "vulnerabilities.maxCVSS=no"},
		{"exploited has the shorter grace", "vulnerabilities: {maxCVSS: 6.9, grace: {high: 10d, knownExploited: 2d}}", find(exploited(openssl("A", 7.5, "1"))), verdict.No, "vulnerabilities.knownExploited=no vulnerabilities.maxCVSS=no"},
		{"grace and no date", "vulnerabilities: {maxCVSS: 6.9, grace: {high: 10d}}", func(ev *verdict.Evidence) {
			ev.Findings = []finding.Finding{{ID: "A", Score: 8, Severity: "high"}}
		}, verdict.No, "vulnerabilities.maxCVSS=no"},
		{"no database", "vulnerabilities: {}", func(ev *verdict.Evidence) { ev.Snapshot = "" }, verdict.Unknown, "vulnerabilities=unknown"},
		{"gap", "vulnerabilities: {}", func(ev *verdict.Evidence) { ev.Gaps = []finding.Gap{{Component: "Photon", Reason: "no feed"}} }, verdict.Unknown, "vulnerabilities.gaps=unknown"},
		{"gap allowed", "vulnerabilities: {gaps: allow}", func(ev *verdict.Evidence) { ev.Gaps = []finding.Gap{{Component: "Photon", Reason: "no feed"}} }, verdict.Yes, "vulnerabilities.gaps=yes"},
		{"unreadable part", "age: {max: 30d}", func(ev *verdict.Evidence) { ev.Problems = []component.Problem{{Path: "x", Fatal: true}} }, verdict.Unknown, "scan=unknown"},
		{"no digest", "age: {max: 30d}", func(ev *verdict.Evidence) { ev.Image.ID = "" }, verdict.Unknown, "evidence=unknown"},
		{"root", "hygiene: {root: deny, shell: deny}", facts(fact(component.RootUser, "", false)), verdict.No, "hygiene.root=no"},
		{"root warned of", "hygiene: {root: warn}", facts(fact(component.RootUser, "", false)), verdict.Yes, "hygiene.root=yes"},
		{"shell not asked for", "hygiene: {root: deny}", facts(fact(component.Shell, "bin/sh", false)), verdict.Yes, ""},
		{"deleted shell", "hygiene: {shell: deny}", facts(fact(component.Shell, "bin/sh", true)), verdict.Yes, ""},
		{"deleted secret", "hygiene: {embeddedSecrets: deny}", facts(fact(component.EmbeddedSecret, "id_rsa", true)), verdict.No, "hygiene.embeddedSecrets=no"},
		{"channel", "channel: gold", nil, verdict.Yes, ""},
		{"one of two channels", "channel: [silver, gold]", nil, verdict.Yes, ""},
		{"other channel", "channel: silver", nil, verdict.No, "channel=no"},
		{"channels not looked up", "channel: gold", func(ev *verdict.Evidence) { ev.Channels = nil }, verdict.Unknown, "channel=unknown"},
		{"signed", "signedBy: [release]", nil, verdict.Yes, ""},
		{"signed by one of two", "signedBy: [release, qa]", nil, verdict.No, "signedBy=no"},
		{"no approval", "signedBy: release", func(ev *verdict.Evidence) {
			ev.Signatures = []verdict.Signature{{Signer: "release", Type: "https://slsa.dev/verification_summary/v1", Result: "FAILED"}}
		}, verdict.No, "signedBy=no"},
		{"approval by another", "signedBy: release", func(ev *verdict.Evidence) { ev.Signatures[0].Signer = "other" }, verdict.No, "signedBy=no"},
		{"not signed", "signedBy: release", func(ev *verdict.Evidence) { ev.Signatures = []verdict.Signature{} }, verdict.No, "signedBy=no"},
		{"signatures not looked for", "signedBy: release", func(ev *verdict.Evidence) { ev.Signatures = nil }, verdict.Unknown, "signedBy=unknown"},
		{"young", "age: {max: 30d}", nil, verdict.Yes, ""},
		{"old", "age: {max: 10d}", nil, verdict.No, "age=no"},
		{"old in grace", "age: {max: 9d, grace: 2d}", nil, verdict.Yes, "age=yes"},
		{"old after grace", "age: {max: 8d, grace: 2d}", nil, verdict.No, "age=no"},
		{"no build time", "age: {max: 30d}", func(ev *verdict.Evidence) { ev.Image.Created = time.Time{} }, verdict.Unknown, "age=unknown"},
		{"build time 1970", "age: {max: 30d}", func(ev *verdict.Evidence) { ev.Image.Created = time.Unix(0, 0) }, verdict.Unknown, "age=unknown"},
		{"built tomorrow", "age: {max: 30d}", func(ev *verdict.Evidence) { ev.Image.Created = now.Add(day) }, verdict.Unknown, "age=unknown"},
		{"young base", "baseAge: {max: 60d}", base(nil), verdict.Yes, ""},
		{"old base", "baseAge: {max: 30d}", base(nil), verdict.No, "baseAge=no"},
		{"old base in grace", "baseAge: {max: 30d, grace: 20d}", base(nil), verdict.Yes, "baseAge=yes"},
		{"base by annotation", "baseAge: {max: 60d}", base(func(b *verdict.Base) { b.By = "annotation" }), verdict.Unknown, "baseAge=unknown"},
		{"no base known", "baseAge: {max: 60d}", nil, verdict.Unknown, "baseAge=unknown"},
		{"base without build time", "baseAge: {max: 60d}", base(func(b *verdict.Base) { b.Created = time.Time{} }), verdict.Unknown, "baseAge=unknown"},
		{"a program has no base", "baseAge: {max: 60d}", func(ev *verdict.Evidence) { ev.Image.Kind = verdict.Program }, verdict.Yes, ""},
		{"a bill tells of no base", "baseAge: {max: 60d}", func(ev *verdict.Evidence) { ev.Image.Kind = verdict.Bill }, verdict.Unknown, "baseAge=unknown"},
		{"fresh advisories", "advisories: {maxAge: 2h}", nil, verdict.Yes, ""},
		{"stale advisories", "advisories: {maxAge: 1h}", nil, verdict.Unknown, "advisories=unknown"},
		{"no advisories", "advisories: {maxAge: 1h}", func(ev *verdict.Evidence) { ev.SnapshotAt = time.Time{} }, verdict.Unknown, "advisories=unknown"},
		{"label", "labels: {require: team}", nil, verdict.Yes, ""},
		{"no label", "labels: {require: [team, cost]}", nil, verdict.No, "labels=no"},
		{"rule on trial", "{channel: silver, onFail: warn}", nil, verdict.Yes, "channel=yes"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			ev := good()
			if c.change != nil {
				c.change(&ev)
			}
			v := verdict.Evaluate(environment(t, "  admit:\n    - "+c.rule+"\n"), ev, now)
			if v.Admit.Answer != c.want || said(v.Admit) != c.reasons {
				t.Errorf("got %s %q, want %s %q", v.Admit.Answer, said(v.Admit), c.want, c.reasons)
			}
			for _, r := range v.Admit.Reasons {
				if r.Text == "" || r.Remedy == "" || r.Owner == "" || strings.ContainsAny(r.Text+r.Remedy, "\n\t\x1b") {
					t.Errorf("a reason is not explained: %+v", r)
				}
			}
		})
	}
}

func said(o verdict.Outcome) string {
	var parts []string
	for _, r := range o.Reasons {
		parts = append(parts, fmt.Sprintf("%s=%s", r.Rule, r.Answer))
	}
	return strings.Join(parts, " ")
}

func TestRetainActs(t *testing.T) {
	ev := good()
	env := environment(t, `  admit: [{age: {max: 90d}}]
  retain:
    - {age: {max: 5d}, onFail: replace}
    - {labels: {require: cost}, onFail: warn}
  onFail: revoke
`)
	v := verdict.Evaluate(env, ev, now)
	if !v.Admitted() || v.Retained() || v.Retain.Action != verdict.Replace || said(v.Retain) != "age=no labels=no" {
		t.Errorf("got %+v", v.Retain)
	}
	env.Retain[0].OnFail = ""
	if v := verdict.Evaluate(env, ev, now); v.Retain.Action != verdict.Revoke {
		t.Errorf("the environment's action counts where a rule has none: got %q", v.Retain.Action)
	}
	ev.Image.Created = time.Time{}
	ev.Image.Labels["cost"] = "1"
	if v := verdict.Evaluate(env, ev, now); !v.Retained() || v.Admitted() || v.Retain.Answer != verdict.Unknown || v.Retain.Action != "" {
		t.Errorf("unknown keeps what runs and admits nothing: got %+v", v)
	}
}

func TestRemedyIsTheShortestWayOut(t *testing.T) {
	ev := good()
	net := func(id, fixed string) finding.Finding {
		return finding.Finding{ID: id, Ecosystem: "Go", Package: "golang.org/x/net", Version: "0.9.0", Fixed: fixed, Score: 8, Severity: "high", LayerIndex: 3}
	}
	ev.Findings = []finding.Finding{net("A", "0.9.1"), net("B", "0.55.0"), net("C", "0.10.0"), openssl("D", 9, "3.0.17-1~deb12u2"), openssl("E", 9, "")}
	v := verdict.Evaluate(environment(t, "  admit: [{vulnerabilities: {maxCVSS: 7}}]\n"), ev, now)
	want := "upgrade golang.org/x/net to 0.55.0 (clears 3 of 5), openssl to 3.0.17-1~deb12u2 (clears 1 of 5); rebuild on the newest version of the base image; 1 without a fix: remove the package, or triage with a reason"
	if got := v.Admit.Reasons[0].Remedy; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := v.Admit.Reasons[0].Evidence[0]; got != "D openssl 3.0.1 (CVSS 9.0, fixed in 3.0.17-1~deb12u2) var/lib/dpkg/status" {
		t.Errorf("evidence is %q", got)
	}
	if got := v.Admit.Reasons[0].Owner; got != "payments-team (#payments)" {
		t.Errorf("owner is %q", got)
	}
}

// TestHostileNames holds that text from an image cannot move the cursor.
func TestHostileNames(t *testing.T) {
	ev := good()
	f := openssl("A\x1b[2J", 9, "1\n2")
	f.Package, f.Path = "\u202eevil\x00", "a\rb"
	ev.Findings = []finding.Finding{f}
	ev.Facts = []component.Fact{fact(component.Shell, "bin/\x1b]0;x\a", false)}
	v := verdict.Evaluate(environment(t, "  admit: [{vulnerabilities: {maxCVSS: 7}}, {hygiene: {shell: deny}}]\n"), ev, now)
	for _, r := range v.Admit.Reasons {
		if text := r.Text + r.Remedy + strings.Join(r.Evidence, ""); strings.ContainsAny(text, "\x1b\a\x00\r\n\u202e") {
			t.Errorf("not safe to show: %q", text)
		}
	}
}

const busy = `  admit:
    - vulnerabilities: {maxCVSS: 6.9, maxSeverity: medium, unfixed: allow, gaps: allow, unscored: allow, grace: {critical: 1d, high: 3d, medium: 10d, knownExploited: 1h}}
    - hygiene: {root: deny, shell: warn, embeddedSecrets: deny}
    - age: {max: 30d, grace: 5d}
    - advisories: {maxAge: 2d}
    - expression: {rule: "findings.size() < 3 && image.labels['team'] != ''", message: "too many findings"}
  retain:
    - vulnerabilities: {gaps: allow, grace: {knownExploited: 24h}}
    - age: {max: 45d}
  onFail: revoke
`

// random makes evidence with everything in it.
func random(r *rand.Rand) verdict.Evidence {
	ev := good()
	ev.Image.Created = now.Add(-time.Duration(r.Int63n(int64(60*day))) - time.Duration(r.Intn(1000)))
	ev.SnapshotAt = now.Add(-time.Duration(r.Int63n(int64(4 * day))))
	for i := range r.Intn(6) {
		f := openssl(fmt.Sprint("CVE-", i), float64(r.Intn(101))/10, []string{"", "3.0.2", "3.0.10"}[r.Intn(3)])
		f.Exploited, f.Since = r.Intn(4) == 0, now.Add(-time.Duration(r.Int63n(int64(12*day))))
		ev.Findings = append(ev.Findings, f)
		if f.Score++; r.Intn(4) == 0 { // a finding twice that is not quite the same
			ev.Findings = append(ev.Findings, f)
		}
	}
	for i := range r.Intn(3) {
		ev.Components = append(ev.Components, component.Component{PURL: "pkg:npm/a@1", Path: "a", Licenses: []string{fmt.Sprint(i)}})
	}
	for _, kind := range []component.FactKind{component.RootUser, component.Shell, component.EmbeddedSecret} {
		if r.Intn(4) == 0 {
			ev.Facts = append(ev.Facts, fact(kind, "p", r.Intn(2) == 0), fact(kind, "q", false))
		}
	}
	if r.Intn(3) == 0 {
		ev.Gaps = []finding.Gap{{Component: "b", Reason: "r"}, {Component: "a", Reason: "r"}}
	}
	return ev
}

func shuffle(r *rand.Rand, ev verdict.Evidence) verdict.Evidence {
	text, err := json.Marshal(ev)
	if err != nil {
		panic(err)
	}
	var other verdict.Evidence
	if err := json.Unmarshal(text, &other); err != nil {
		panic(err)
	}
	mix(r, other.Findings)
	mix(r, other.Facts)
	mix(r, other.Gaps)
	mix(r, other.Components)
	mix(r, other.Image.Ports)
	for i := range other.Findings {
		mix(r, other.Findings[i].Aliases)
		other.Findings[i].Since = other.Findings[i].Since.In(time.FixedZone("x", 3600))
	}
	for i := range other.Components {
		mix(r, other.Components[i].Packages)
		mix(r, other.Components[i].Licenses)
	}
	return other
}

func mix[T any](r *rand.Rand, list []T) {
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
}

func text(t *testing.T, v any) string {
	t.Helper()
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestSameInputSameBytes(t *testing.T) {
	env := environment(t, busy)
	r := rand.New(rand.NewSource(1))
	for range 200 {
		ev := random(r)
		before := text(t, ev)
		want := text(t, verdict.Evaluate(env, ev, now))
		if text(t, ev) != before {
			t.Fatal("Evaluate changed its evidence")
		}
		if got := text(t, verdict.Evaluate(env, shuffle(r, ev), now.In(time.FixedZone("y", -7200)))); got != want {
			t.Fatalf("shuffled evidence gives another verdict:\n%s", cmp.Diff(want, got))
		}
	}
}

// TestUntilIsWhenItChanges follows each verdict through time: nothing changes
// up to a millisecond before Until, something does at Until.
func TestUntilIsWhenItChanges(t *testing.T) {
	env := environment(t, busy)
	r := rand.New(rand.NewSource(2))
	outcome := func(v verdict.Verdict) string {
		v.Admit.Until, v.Retain.Until = time.Time{}, time.Time{}
		return text(t, []any{v.Admit, v.Retain})
	}
	steps := 0
	for range 300 {
		ev := random(r)
		v := verdict.Evaluate(env, ev, now)
		for !v.Until.IsZero() {
			if !v.Until.After(v.At) {
				t.Fatalf("until %s is not after %s", v.Until, v.At)
			}
			for _, at := range []time.Time{v.Until.Add(-time.Millisecond), v.At.Add(v.Until.Sub(v.At) / 2)} {
				if same := verdict.Evaluate(env, ev, at); outcome(same) != outcome(v) {
					t.Fatalf("changed at %s, before until %s:\n%s", at, v.Until, cmp.Diff(outcome(v), outcome(same)))
				}
			}
			next := verdict.Evaluate(env, ev, v.Until)
			if outcome(next) == outcome(v) {
				t.Fatalf("nothing changed at until %s:\n%s", v.Until, outcome(v))
			}
			v, steps = next, steps+1
		}
		if later := verdict.Evaluate(env, ev, v.At.Add(1000*day)); outcome(later) != outcome(v) {
			t.Fatalf("until said never, yet it changed:\n%s", cmp.Diff(outcome(v), outcome(later)))
		}
	}
	if steps < 500 {
		t.Fatalf("only %d changes were followed; the test says nothing", steps)
	}
}

func TestHashesNameTheInput(t *testing.T) {
	env := environment(t, busy)
	base := verdict.Evaluate(env, good(), now).Hashes
	changes := map[string]func(*verdict.Evidence){
		"a finding":      func(ev *verdict.Evidence) { ev.Findings = append(ev.Findings, openssl("A", 1, "")) },
		"a fact":         func(ev *verdict.Evidence) { ev.Facts = append(ev.Facts, fact(component.Shell, "x", false)) },
		"a component":    func(ev *verdict.Evidence) { ev.Components[0].Version = "3.0.2" },
		"the snapshot":   func(ev *verdict.Evidence) { ev.Snapshot = "other" },
		"a label":        func(ev *verdict.Evidence) { ev.Image.Labels["x"] = "y" },
		"no signatures":  func(ev *verdict.Evidence) { ev.Signatures = nil },
		"none looked at": func(ev *verdict.Evidence) { ev.Signatures = []verdict.Signature{} },
	}
	seen := map[string]string{base.Evidence: "nothing"}
	for name, change := range changes {
		ev := good()
		change(&ev)
		h := verdict.Evaluate(env, ev, now).Hashes
		if other, ok := seen[h.Evidence]; ok {
			t.Errorf("%s and %s have one evidence hash", name, other)
		}
		seen[h.Evidence] = name
		if h.Rules != base.Rules || h.Time != base.Time {
			t.Errorf("%s changed the hash of rules or time", name)
		}
	}
	other := environment(t, strings.Replace(busy, "6.9", "6.8", 1))
	if verdict.Evaluate(other, good(), now).Hashes.Rules == base.Rules {
		t.Error("other rules have the same hash")
	}
	if verdict.Evaluate(env, good(), now.Add(time.Millisecond)).Hashes.Time == base.Time {
		t.Error("another time has the same hash")
	}
	if verdict.Evaluate(env, good(), now.Add(time.Microsecond)).Hashes.Time != base.Time {
		t.Error("times count to the millisecond")
	}
}

func TestTheMostUrgentFindingIsNamedFirst(t *testing.T) {
	ev := good()
	ev.Findings = []finding.Finding{openssl("E", 7.1, "1"), openssl("D", 9.8, "1"), exploited(openssl("A", 7, "1"))}
	env := environment(t, "  admit: [vulnerabilities: {maxCVSS: 6.9, knownExploited: allow}]")
	reason := verdict.Evaluate(env, ev, now).Admit.Reasons[0]
	if !strings.Contains(reason.Text, "worst A ") || !strings.HasPrefix(reason.Evidence[1], "D ") {
		t.Errorf("got %+v", reason)
	}
}

func TestDefault(t *testing.T) {
	env := verdict.Default()
	ev := good()
	ev.Findings = []finding.Finding{openssl("A", 8, ""), openssl("B", 0, "")}
	ev.Facts = []component.Fact{fact(component.RootUser, "", false)}
	if v := verdict.Evaluate(env, ev, now); !v.Admitted() || !v.Retained() || said(v.Admit) != "hygiene.root=yes" {
		t.Errorf("got %+v", v.Admit)
	}
	ev.Findings = append(ev.Findings, openssl("C", 8, "1"), exploited(openssl("D", 1, "")))
	if v := verdict.Evaluate(env, ev, now); v.Admitted() || v.Retained() {
		t.Errorf("got %+v", v)
	}
	var back verdict.Environment
	if err := json.Unmarshal([]byte(text(t, env)), &back); err != nil || !back.Equal(env) {
		t.Errorf("the default does not pass its own check: %v", err)
	}
}

// TestRulesSeeTheBase: an expression may ask for the age of what an image is built on.
func TestRulesSeeTheBase(t *testing.T) {
	const rule = "now - image.baseImage.created < duration('720h')"
	docs, err := manifest.Parse("env.yaml", []byte("apiVersion: goldkeep.dev/v1\nkind: Environment\nmetadata: {name: prod, owner: sec}\nspec:\n  admit: [{expression: {rule: \""+rule+"\", message: the base is old}}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	env, err := verdict.ParseEnvironment(docs[0])
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	for days, want := range map[int]verdict.Answer{10: verdict.Yes, 40: verdict.No} {
		ev := verdict.Evidence{Image: verdict.Image{ID: "sha256:x", BaseImage: verdict.Base{Created: now.AddDate(0, 0, -days)}}}
		if got := verdict.Evaluate(*env, ev, now).Admit; got.Answer != want {
			t.Errorf("a base of %d days: %+v, want %s", days, got, want)
		}
	}
}
