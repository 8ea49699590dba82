// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/catalog"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/manifest"
	"github.com/goldkeep/goldkeep/internal/notify"
	"github.com/goldkeep/goldkeep/internal/plan"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/store/storetest"
	"github.com/goldkeep/goldkeep/internal/workload"
)

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// world is a planner on the real rooms; only the loop is a fake that notes what it
// was told.
type world struct {
	t testing.TB
	plan.Planner
	told []string
}

func (w *world) Reconcile(_ context.Context, ids []image.Digest) error {
	for _, id := range ids {
		w.told = append(w.told, "image "+string(id))
	}
	return nil
}

func (w *world) ReconcileAll(_ context.Context, environment string) error {
	w.told = append(w.told, "environment "+environment)
	return nil
}

func (w *world) ReconcileWorkload(_ context.Context, name string) error {
	w.told = append(w.told, "workload "+name)
	return nil
}

func newWorld(t testing.TB, st store.Store) *world {
	t.Helper()
	ctx := context.Background()
	b := must(barrier.Open(ctx, st))(t)
	key := make([]byte, 32)
	must(b.Init(ctx, barrier.InitOptions{KeyFile: key}))(t)
	ok(t, b.UnsealWithFile(ctx, key))
	w := &world{t: t}
	w.Planner = plan.Planner{
		Catalog: must(catalog.New(ctx, st))(t), Workloads: must(workload.New(ctx, st, b))(t),
		Policies: auth.NewPolicies(b.Space().Sub("policy")), Loop: w,
	}
	w.Notifications = must(notify.New(ctx, notify.Options{Store: st, Keys: b}))(t)
	return w
}

func documents(t testing.TB, text string) []manifest.Document {
	t.Helper()
	return must(manifest.Parse("app.yaml", []byte(text)))(t)
}

// apply returns what was done, as "action Kind/name fields".
func (w *world) apply(text string, prune bool) []string {
	w.t.Helper()
	w.told = nil
	planned := must(w.Plan(context.Background(), documents(w.t, text), prune))(w.t)
	if len(w.told) > 0 {
		w.t.Errorf("planning changed something: %v", w.told)
	}
	done := must(w.Apply(context.Background(), documents(w.t, text), prune))(w.t)
	if diff := cmp.Diff(planned, done); diff != "" {
		w.t.Errorf("apply does not do what plan says: %s", diff)
	}
	var lines []string
	for _, c := range done {
		line := strings.TrimSpace(fmt.Sprintf("%s %s/%s %s", c.Action, c.Kind, c.Name, strings.Join(c.Fields, ",")))
		if c.Warning != "" {
			line += ": " + c.Warning
		}
		lines = append(lines, line)
	}
	return lines
}

func (w *world) want(got, want []string) {
	w.t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Error(diff)
	}
}

const digestA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

const (
	prod = `
apiVersion: goldkeep.dev/v1
kind: Environment
metadata: {name: prod, owner: sec}
spec:
  admit: [{vulnerabilities: {maxCVSS: 6.9, grace: {high: 72h}}}, {expression: {rule: "size(image.labels) >= 0", message: m}}]
  onFail: revoke
---`
	golden = `
apiVersion: goldkeep.dev/v1
kind: GoldenImage
metadata: {name: pay, owner: team}
spec: {channels: {gold: "` + digestA + `"}}
---`
	pay = `
apiVersion: goldkeep.dev/v1
kind: Workload
metadata: {name: pay, owner: team}
spec:
  environment: prod
  image: {golden: pay, channel: gold}
  secrets: [{kv: pay/db, file: db.json}]
---`
	reader = `
apiVersion: goldkeep.dev/v1
kind: Policy
metadata: {name: reader, owner: sec}
spec:
  rules: |
    path "secret/data/*" { capabilities = ["read"] }
---`
)

func TestApply(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		w := newWorld(t, st)
		all := pay + golden + prod + reader // whatever the order in the files
		w.want(w.apply(all, false), []string{"create Policy/reader", "create Environment/prod", "create GoldenImage/pay", "create Workload/pay"})
		w.want(w.told, []string{"image " + digestA, "environment prod"})
		w.want(w.apply(all, true), []string{"unchanged Policy/reader", "unchanged Environment/prod", "unchanged GoldenImage/pay", "unchanged Workload/pay"})
		w.want(w.told, nil)

		w.want(w.apply(strings.Replace(prod, "6.9", "3.9", 1), false), []string{"update Environment/prod admit"})
		w.want(w.told, []string{"environment prod"})
		w.want(w.apply(strings.Replace(prod, "6.9", "3.9", 1)+strings.Replace(pay, "db.json", "x.json", 1), false),
			[]string{"unchanged Environment/prod", "update Workload/pay secrets"})
		w.want(w.told, []string{"workload pay"})
		other := strings.Repeat("b", 64)
		w.want(w.apply(strings.Replace(golden, strings.Repeat("a", 64), other, 1), false), []string{"update GoldenImage/pay channels"})
		w.want(w.told, []string{"image " + digestA, "image sha256:" + other})
		w.want(w.apply(strings.Replace(reader, "read\"", "list\"", 1), false), []string{"update Policy/reader rules"})
		if text := must(w.Policies.Get(t.Context(), "reader"))(t); !strings.Contains(text, "list") {
			t.Errorf("policy %s", text)
		}
		standard := strings.NewReplacer("name: reader", "name: default").Replace(reader)
		w.want(w.apply(standard, false), []string{"update Policy/default owner,rules"})
		w.want(w.apply(standard, false), []string{"unchanged Policy/default"})
	})
}

func TestPruneAndProtect(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		w := newWorld(t, st)
		protected := strings.Replace(pay, "owner: team}", "owner: team, protect: true}", 1)
		lonely := strings.Replace(prod, "name: prod", "name: dev", 1)
		w.apply(protected+golden+prod+lonely+reader, false)
		w.want(w.apply(reader, false), []string{"unchanged Policy/reader"})
		w.want(w.apply(reader, true), []string{
			"unchanged Policy/reader",
			"unchanged Workload/pay: protected: set protect: false first to delete it",
			"unchanged GoldenImage/pay: kept: Workload pay stays and needs it",
			"delete Environment/dev",
			"unchanged Environment/prod: kept: Workload pay stays and needs it",
		})
		w.want(w.told, []string{"environment dev"})
		w.want(w.apply(pay+golden+prod, true), []string{"unchanged Environment/prod", "unchanged GoldenImage/pay", "update Workload/pay protect"})
		// What a document needs must not be pruned away under it.
		_, err := w.Plan(t.Context(), documents(t, pay+golden), true)
		if err == nil || !strings.Contains(err.Error(), "app.yaml:6: this needs Environment prod, which is in none of the files and would be pruned") {
			t.Errorf("error %v", err)
		}
		w.want(w.apply(reader, true), []string{"unchanged Policy/reader", "delete Workload/pay", "delete GoldenImage/pay", "delete Environment/prod"})
		w.want(w.told, []string{"image " + digestA, "workload pay", "environment prod"})
		if _, err := w.Workloads.Get(t.Context(), "pay"); !fault.Is(err, fault.NotFound) {
			t.Errorf("still there: %v", err)
		}
		if names := must(w.Policies.List(t.Context()))(t); !slices.Contains(names, "reader") {
			t.Errorf("a policy was pruned: %v", names)
		}
	})
}

func TestAProtectedEnvironmentIsAChange(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	w.apply(prod, false)
	protected := strings.Replace(prod, "owner: sec}", "owner: sec, protect: true}", 1)
	w.want(w.apply(protected, false), []string{"update Environment/prod"})
	w.want(w.apply(protected, false), []string{"unchanged Environment/prod"})
	w.want(w.apply(reader, true), []string{"create Policy/reader", "unchanged Environment/prod: protected: set protect: false first to delete it"})
}

func TestErrorsNameFileAndLine(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"unknown kind":        {strings.Replace(golden, "GoldenImage", "Engine", 1), []string{`app.yaml:2: kind "Engine" is not known`}},
		"no environment":      {pay + golden, []string{"app.yaml:6: there is no environment prod"}},
		"no golden image":     {pay + prod, []string{"app.yaml:7: there is no golden image pay"}},
		"no channel":          {strings.Replace(pay, "channel: gold", "channel: silver", 1) + golden + prod, []string{"app.yaml:7: golden image pay has no channel silver; it has gold"}},
		"no parent":           {strings.Replace(golden, "spec: {", "spec: {from: base, ", 1), []string{"app.yaml:5: there is no golden image base"}},
		"no earlier one":      {strings.Replace(prod, "spec:", "spec:\n  after: staging", 1), []string{"app.yaml:6: there is no environment staging"}},
		"bad policy":          {strings.Replace(reader, "\"read\"", "\"fly\"", 1), []string{"app.yaml:6: read policy \"reader\": line 1"}},
		"empty policy":        {strings.Replace(reader, "path \"secret/data/*\" { capabilities = [\"read\"] }", "", 1), []string{"a policy needs rules"}},
		"a policy built in":   {strings.Replace(reader, "name: reader", "name: root", 1), []string{"app.yaml:4: the policy root is built in"}},
		"bad rule":            {strings.Replace(prod, "6.9", "69", 1), []string{"app.yaml:6: maxCVSS is 69"}},
		"everything at once":  {strings.Replace(pay, "pay/db", "../x", 1) + strings.Replace(prod, "onFail: revoke", "onFail: panic", 1), []string{"app.yaml:7: there is no golden image pay", "app.yaml:8: the path", "app.yaml:15: onFail"}},
		"a rule, a reference": {strings.Replace(pay, "db.json", "/etc/x", 1) + golden, []string{"app.yaml:6: there is no environment prod", "app.yaml:8: file must be"}},
	} {
		_, err := w.Apply(t.Context(), documents(t, c.text), false)
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var many manifest.Errors
		if !errors.As(err, &many) || len(many) != len(c.want) {
			t.Errorf("%s: %d errors: %v", name, len(many), err)
			continue
		}
		for i, want := range c.want {
			if !strings.Contains(many[i].Error(), want) {
				t.Errorf("%s: error %d is %q, want %q", name, i, many[i], want)
			}
		}
	}
	twice := append(documents(t, golden), must(manifest.Parse("other.yaml", []byte(golden)))(t)...)
	if _, err := w.Plan(t.Context(), twice, false); err == nil || !strings.Contains(err.Error(), "other.yaml:2: GoldenImage pay is declared twice; first at app.yaml:2") {
		t.Errorf("declared in two files: %v", err)
	}
	if held := must(w.Catalog.Goldens(t.Context()))(t); len(held) != 0 {
		t.Errorf("a refused apply left %v", held)
	}
}

// FuzzPlan plans whatever can be parsed: no panic, and what was applied once is
// unchanged when it is planned again.
func FuzzPlan(f *testing.F) {
	for _, text := range []string{pay + golden + prod + reader, golden, prod, strings.Replace(pay, "gold}", "?}", 1), "kind: [", "- a"} {
		f.Add(text, true)
		f.Add(text, false)
	}
	st := storetest.SQLite(f)
	w := newWorld(f, st)
	f.Fuzz(func(t *testing.T, text string, prune bool) {
		docs, err := manifest.Parse("f.yaml", []byte(text))
		if err != nil || len(docs) == 0 {
			return
		}
		ctx := context.Background()
		if _, err := w.Apply(ctx, docs, prune); err != nil {
			if k := fault.KindOf(err); k != fault.Invalid && k != fault.TooLarge {
				t.Fatalf("%v: %v", k, err)
			}
			return
		}
		again, err := w.Plan(ctx, docs, prune)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range again {
			if c.Action != plan.Unchanged {
				t.Errorf("applied, yet it would %s %s %s: %v", c.Action, c.Kind, c.Name, c.Fields)
			}
		}
	})
}

func TestNotifications(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	chat := func(spec string) string {
		return "\napiVersion: goldkeep.dev/v1\nkind: Notification\nmetadata: {name: chat, owner: team}\nspec:\n  environments: [prod]\n" + spec + "---"
	}
	const hook = "  webhook: {url: https://chat.example.com/hook}\n"
	if _, err := w.Plan(t.Context(), documents(t, chat(hook)), false); err == nil || !strings.Contains(err.Error(), "app.yaml:6: there is no environment prod") {
		t.Errorf("a dangling environment: %v", err)
	}
	w.want(w.apply(prod+chat(hook), false), []string{"create Environment/prod", "create Notification/chat"})
	w.want(w.apply(prod+chat(hook), false), []string{"unchanged Environment/prod", "unchanged Notification/chat"})
	w.want(w.apply(prod+chat("  webhook: {url: https://chat.example.com/other}\n"), false), []string{"unchanged Environment/prod", "update Notification/chat webhook"})
	w.want(w.apply(prod, true), []string{"unchanged Environment/prod", "delete Notification/chat"})
}
