// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/client"
)

// explained is an explanation in a line a case can name.
func explained(why *client.PolicyExplanation) string {
	text := fmt.Sprintf("%v %s %s: %s;", why.Allowed, why.Capability, why.Path, why.Reason)
	for _, r := range why.Rules {
		text += fmt.Sprintf(" %s:%d %s %v %s;", r.Policy, r.Line, r.Path, r.Decides, r.Owner)
	}
	for _, c := range why.Perhaps {
		text += " perhaps " + c.Policy + ": " + c.Text
	}
	return text
}

// TestExplainIsWhatHappens asks for an explanation and does the same: both agree.
func TestExplainIsWhatHappens(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	must(w.Apply(ctx, client.PlanRequest{Documents: []client.Document{{File: "p.yaml", Text: "apiVersion: goldkeep.dev/v1\nkind: Policy\n" +
		"metadata: {name: testing, owner: platform, contact: platform@example.com}\nspec:\n  rules: |\n" +
		"    path \"secret/app/*\" { capabilities = [\"read\"] }\n" +
		"    path \"secret/data/*\" { capabilities = [\"create\", \"read\", \"update\"] }\n" +
		"    path \"secret/data/fixed\" { capabilities = [\"create\", \"read\"] }\n" +
		"    path \"sys/seal\" { capabilities = [\"update\"] }\n"}}}))(t)
	var made struct {
		Auth struct {
			Token    string `json:"client_token"`
			Accessor string
		} `json:"auth"`
	}
	ok(t, w.Do(ctx, "POST", "/v1/auth/token/create", map[string]any{"policies": []string{"testing", "gone"}}, &made))
	ok(t, w.Do(ctx, "POST", "/v1/secret/data/fixed", map[string]any{"data": map[string]int{"a": 1}}, nil))
	for _, tt := range []struct{ verb, method, path, want string }{
		{"read", "GET", "secret/data/fixed", "true read secret/data/fixed: granted by rule; testing:3 secret/data/fixed true platform; testing:2 secret/data/* false platform;"},
		{"write", "POST", "secret/data/fixed", "false update secret/data/fixed: rule lacks the capability; testing:3"},
		{"write", "POST", "secret/data/new", "true create secret/data/new: granted by rule; testing:2 secret/data/* true platform;"},
		{"list", "LIST", "secret/metadata/a", "false list secret/metadata/a: no rule matches the path; perhaps testing: secret/ is version 2"},
		{"write", "POST", "sys/seal", "false update sys/seal: rule lacks sudo; testing:4 sys/seal true platform;"},
		{"read", "GET", "auth/token/lookup-self", "true read auth/token/lookup-self: granted by rule; default:"},
	} {
		for _, ask := range []client.PolicyQuestion{{Token: made.Auth.Token}, {Accessor: made.Auth.Accessor}} {
			ask.Path, ask.Capability = tt.path, tt.verb
			why := must(w.ExplainPolicy(ctx, ask))(t)
			if got := explained(why); !strings.HasPrefix(got, tt.want) {
				t.Errorf("%s %s: %s", tt.verb, tt.path, got)
			}
			if diff := cmp.Diff([]string{"gone"}, why.Absent); diff != "" || (why.Missing == "") != why.Allowed {
				t.Errorf("%s %s: missing %q, absent %s", tt.verb, tt.path, why.Missing, diff)
			}
		}
		did := w.send(tt.method, "/v1/"+tt.path, made.Auth.Token, strings.NewReader(`{"data":{}}`))
		if allowed := did.status != 403; fmt.Sprint(allowed) != strings.Fields(tt.want)[0] {
			t.Errorf("%s %s: done as %d, explained as %s", tt.verb, tt.path, did.status, tt.want)
		}
	}
	if p := w.refused(403, "POST", "/api/v1/policies/explain", made.Auth.Token, `{}`); p.Kind != "denied" {
		t.Errorf("without rights: %+v", p)
	}
	w.refused(404, "POST", "/api/v1/policies/explain", w.root, `{"accessor":"none","path":"a","capability":"read"}`)
	w.refused(400, "POST", "/api/v1/policies/explain", w.root, `{"policies":["a"],"path":"a","capability":"fly"}`)
	w.refused(400, "POST", "/api/v1/policies/explain", w.root, `{"path":"a","capability":"read"}`)
	w.refused(404, "POST", "/api/v1/policies/explain", w.root, `{"workload":"none","path":"a","capability":"read"}`)
}

// TestSimulate changes a policy after trying the change: what was foretold comes.
func TestSimulate(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	token := w.token(`path "secret/data/*" { capabilities = ["create", "read", "update"] }`, nil)
	other := w.token(`path "secret/data/*" { capabilities = ["create", "read", "update"] }`, nil)
	done := []struct{ method, path string }{
		{"POST", "secret/data/app"}, {"GET", "secret/data/app"}, {"GET", "secret/data/app"}, {"GET", "secret/data/rest"}, {"LIST", "secret/metadata/"},
	}
	play := func() (all []string) {
		for _, d := range done {
			status := w.send(d.method, "/v1/"+d.path, token, strings.NewReader(`{"data":{"a":"b"}}`)).status
			all = append(all, fmt.Sprint(d.method, " ", d.path, " ", status != 403))
		}
		return all
	}
	before := play()
	w.send("GET", "/v1/secret/data/other", other, nil)
	rules := `path "secret/data/app" { capabilities = ["read"] }
path "secret/metadata/*" { capabilities = ["list"] }`
	sim := must(w.SimulatePolicy(ctx, client.PolicyChange{Policy: "testing", Rules: rules}))(t)
	var got []string
	for _, c := range sim.Changes {
		got = append(got, fmt.Sprint(c.Allowed, " ", c.Capability, " ", c.Path, " ", c.Times))
	}
	want := []string{
		"false read secret/data/other 1", "false read secret/data/rest 1", "false update secret/data/app 1", "true list secret/metadata/ 1",
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" || sim.Requests < len(done) || sim.Unknown != 0 {
		t.Errorf("%d requests, %d unknown\n%s", sim.Requests, sim.Unknown, diff)
	}
	if diff := cmp.Diff(before, play()); diff != "" {
		t.Errorf("trying a policy has changed it: %s", diff)
	}
	ok(t, w.Do(ctx, "PUT", "/v1/sys/policies/acl/testing", map[string]string{"policy": rules}, nil))
	after := play()
	if diff := cmp.Diff([]string{"POST secret/data/app false", "GET secret/data/app true", "GET secret/data/app true", "GET secret/data/rest false", "LIST secret/metadata/ true"}, after); diff != "" {
		t.Error(diff)
	}
	w.refused(400, "POST", "/api/v1/policies/simulate", w.root, `{"policy":"testing","rules":"path {"}`)
	w.refused(400, "POST", "/api/v1/policies/simulate", w.root, `{"rules":""}`)
}

func TestLintOnServer(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.token(`path "secret/app" { capabilities = ["read"] }`, nil)
	for _, text := range []client.PolicyText{{}, {Policy: "testing"}, {Policy: "testing", Rules: "\npath \"secret/app\" { capabilities = [\"read\"] }"}} {
		var found []string
		for _, c := range must(w.LintPolicy(ctx, text))(t) {
			if !c.Warning {
				found = append(found, c.Policy+" "+c.Path)
			}
		}
		if diff := cmp.Diff([]string{"testing secret/app"}, found); diff != "" {
			t.Errorf("%+v: %s", text, diff)
		}
	}
	w.refused(404, "POST", "/api/v1/policies/lint", w.root, `{"policy":"none"}`)
}
