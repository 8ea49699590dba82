// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package auth_test

import (
	"context"
	"strings"
	"testing"

	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/entity"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/policy"
	"github.com/google/go-cmp/cmp"
)

func may(t *testing.T, p *auth.Policies, path string, names ...string) bool {
	t.Helper()
	s, err := p.Set(t.Context(), names, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s.Decide(policy.Query{Path: path, Need: policy.Read}).Allowed
}

const readA = `path "a" { capabilities = ["read"] }`

func TestPoliciesAreNeverStale(t *testing.T) {
	for name, exclusive := range map[string]bool{"exclusive": true, "several nodes": false} {
		t.Run(name, func(t *testing.T) {
			space := newWorld(t).b.Space().Sub("policy")
			one, two := auth.NewPolicies(space), auth.NewPolicies(space)
			one.Exclusive, two.Exclusive = exclusive, exclusive
			if exclusive {
				two = one
			}
			for range 3 {
				if may(t, one, "a", "p") {
					t.Fatal("allowed before it was written")
				}
				if err := two.Put(t.Context(), "P", readA); err != nil {
					t.Fatal(err)
				}
				if !may(t, one, "a", "p") {
					t.Fatal("not seen after it was written")
				}
				if err := two.Delete(t.Context(), "p"); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestComputedPolicies(t *testing.T) {
	p := auth.NewPolicies(newWorld(t).b.Space().Sub("policy"))
	text := readA
	p.Resolver = func(_ context.Context, name string) (string, bool, error) {
		return text, name == "workload/payments", nil
	}
	if !may(t, p, "a", "workload/payments") || may(t, p, "a", "workload/other") {
		t.Error("computed policy is not what the resolver says")
	}
	text = strings.ReplaceAll(readA, `"a"`, `"b"`)
	if may(t, p, "a", "workload/payments") || !may(t, p, "b", "workload/payments") {
		t.Error("computed policy is stale")
	}
	if err := p.Put(t.Context(), "workload/payments", readA); !fault.Is(err, fault.Invalid) {
		t.Errorf("written: %v", err)
	}
}

func TestBuiltinPolicies(t *testing.T) {
	p := auth.NewPolicies(newWorld(t).b.Space().Sub("policy"))
	for _, name := range []string{"root", "Root", "response-wrapping", "node"} {
		if err := p.Put(t.Context(), name, readA); !fault.Is(err, fault.Invalid) {
			t.Errorf("put %s: %v", name, err)
		}
	}
	for _, name := range []string{"root", "default", "node"} {
		if err := p.Delete(t.Context(), name); !fault.Is(err, fault.Invalid) {
			t.Errorf("delete %s: %v", name, err)
		}
	}
	if !may(t, p, "anything", "root") || !may(t, p, "auth/token/lookup-self", "default") {
		t.Error("root or default allow too little")
	}
	if err := p.Put(t.Context(), "default", readA); err != nil || may(t, p, "auth/token/lookup-self", "default") {
		t.Errorf("default cannot be edited: %v", err)
	}
	if err := p.Put(t.Context(), "my policy", `path "x" {`); !fault.Is(err, fault.Invalid) {
		t.Errorf("bad text: %v", err)
	}
	if err := p.Put(t.Context(), "team/a", readA); err != nil {
		t.Fatal(err)
	}
	got, err := p.List(t.Context())
	if diff := cmp.Diff([]string{"default", "node", "root", "team/a"}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if text, err := p.Get(t.Context(), "TEAM/A"); err != nil || text != readA {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := p.Get(t.Context(), "none"); !fault.Is(err, fault.NotFound) {
		t.Errorf("unknown: %v", err)
	}
}

// TestTemplates: a template stands for who asks, each time anew; where there is no
// such value, or it would be a wildcard, nothing matches.
func TestTemplates(t *testing.T) {
	w := newWorld(t)
	p := auth.NewPolicies(w.b.Space().Sub("policy"))
	w.must(p.Put(t.Context(), "own", `path "kv/{{identity.entity.name}}/*" { capabilities = ["read"] }
path "team/{{identity.entity.metadata.team}}/+/x" { capabilities = ["read"] }
path "kv/shared" { capabilities = ["read"] }`))
	who := func(name, team string) *entity.Identity {
		return &entity.Identity{Entity: &entity.Entity{Name: name, Meta: map[string]string{"team": team}}}
	}
	may := func(who *entity.Identity, path string) bool {
		t.Helper()
		s, err := p.Set(t.Context(), []string{"own"}, who)
		w.must(err)
		return s.Decide(policy.Query{Path: path, Need: policy.Read}).Allowed
	}
	for range 2 { // the second time from memory
		for _, c := range []struct {
			who  *entity.Identity
			path string
			want bool
		}{
			{who("bob", "a"), "kv/bob/x", true},
			{who("eve", "a"), "kv/bob/x", false},
			{who("eve", "a"), "kv/eve/x", true},
			{who("bob", "a"), "team/a/b/x", true},
			{who("bob", "b"), "team/a/b/x", false},
			{who("bob", ""), "team//b/x", false},
			{nil, "kv/bob/x", false},
			{nil, "kv//x", false},
			{nil, "kv/{{identity.entity.name}}/x", false},
			{nil, "kv/shared", true},
			{who("+", "a"), "kv/bob/x", false},
			{who("*", "a"), "kv/bob/x", false},
			{who("b*", "a"), "kv/bob/x", false},
			{who("x/+", "a"), "kv/x/bob/x", false},
			{who("a+b", "a"), "kv/a+b/x", true},
		} {
			if got := may(c.who, c.path); got != c.want {
				t.Errorf("%+v on %s: %t", c.who, c.path, got)
			}
		}
	}
	w.must(p.Put(t.Context(), "own", `path "kv/{{identity.entity.name}}/y" { capabilities = ["read"] }`))
	if may(who("bob", "a"), "kv/bob/x") || !may(who("bob", "a"), "kv/bob/y") {
		t.Error("the old text is still used")
	}
}

// TestParsedIsWhatIsCompiled: what is explained of somebody's policies is what
// decides.
func TestParsedIsWhatIsCompiled(t *testing.T) {
	w := newWorld(t)
	p := auth.NewPolicies(w.b.Space().Sub("policy"))
	w.must(p.Put(t.Context(), "own", `path "kv/{{identity.entity.name}}/*" { capabilities = ["read"] }`))
	for _, who := range []*entity.Identity{nil, {Entity: &entity.Entity{Name: "bob"}}} {
		parsed, err := p.Parsed(t.Context(), []string{"own"}, who)
		w.must(err)
		set, err := p.Set(t.Context(), []string{"own"}, who)
		w.must(err)
		q := policy.Query{Path: "kv/bob/x", Need: policy.Read}
		if policy.NewSet(parsed...).Decide(q).Allowed != set.Decide(q).Allowed || set.Decide(q).Allowed != (who != nil) {
			t.Errorf("%+v: explained otherwise than decided", who)
		}
	}
}
