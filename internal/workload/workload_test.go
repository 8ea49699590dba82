// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package workload_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/manifest"
	"github.com/goldkeep/goldkeep/internal/policy"
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

const head = "apiVersion: goldkeep.dev/v1\nkind: Workload\nmetadata: {name: pay, owner: team}\nspec:\n"

// parse reads a workload from its spec, which starts in line 5.
func parse(t testing.TB, spec string) (*workload.Workload, error) {
	t.Helper()
	docs, err := manifest.Parse("w.yaml", []byte(head+spec))
	if err != nil {
		return nil, err
	}
	return workload.Parse(docs[0])
}

const good = "  environment: prod\n  image: {golden: pay, channel: gold}\n"

func TestParseFillsInDefaults(t *testing.T) {
	w := must(parse(t, good+"  secrets:\n    - {kv: pay/stripe, file: tls/stripe.json}\n    - {kv: pay/db, mount: team, field: url, env: DB_URL}\n"))(t)
	want := &workload.Workload{
		Name: "pay", Owner: "team", Environment: "prod", Image: workload.Image{Golden: "pay", Channel: "gold"},
		Secrets: []workload.Secret{
			{KV: "pay/stripe", Mount: "secret", File: "tls/stripe.json", Format: "json"},
			{KV: "pay/db", Mount: "team", Field: "url", Env: "DB_URL", Format: "json"},
		},
		OnChange: workload.OnChange{Signal: "SIGHUP"},
	}
	if diff := cmp.Diff(want, w); diff != "" {
		t.Error(diff)
	}
}

func TestParseSaysWhatIsWrongAndWhere(t *testing.T) {
	for name, c := range map[string]struct{ spec, want string }{
		"no environment":  {"  image: {golden: a, channel: b}\n", "w.yaml:5: a workload runs in an environment"},
		"no image":        {"  environment: prod\n", "w.yaml:5: a workload names its image"},
		"unknown field":   {good + "  secretz: []\n", "w.yaml:7: unknown field \"secretz\""},
		"signal":          {good + "  onChange:\n    signal: SIGKILL\n", "w.yaml:8: signal must be one of"},
		"user":            {good + "  user: -1\n", "w.yaml:7: user is a number"},
		"node":            {good + "  nodes:\n    - web-1\n    - '../x'\n", "w.yaml:9: a node's name"},
		"no kind":         {good + "  secrets:\n    - {file: a}\n", "w.yaml:8: a secret needs a kind"},
		"goes nowhere":    {good + "  secrets:\n    - {kv: a}\n", "w.yaml:8: a secret goes somewhere"},
		"env no field":    {good + "  secrets:\n    - {kv: a, env: X}\n", "w.yaml:8: env needs field"},
		"env odd":         {good + "  secrets:\n    - {kv: a, field: f, env: 'A=B'}\n", "w.yaml:8: env needs field"},
		"raw no field":    {good + "  secrets:\n    - {kv: a, file: a, format: raw}\n", "w.yaml:8: format raw needs field"},
		"format":          {good + "  secrets:\n    - {kv: a, file: a, format: xml}\n", "w.yaml:8: format must be"},
		"same file":       {good + "  secrets:\n    - {kv: a, file: x}\n    - {kv: b, file: x}\n", "w.yaml:9: two secrets go to the same place"},
		"file in a file":  {good + "  secrets:\n    - {kv: a, file: x/y}\n    - {kv: b, file: x}\n", "w.yaml:9: two secrets go to the same place"},
		"same variable":   {good + "  secrets:\n    - {kv: a, field: f, env: X}\n    - {kv: b, field: f, env: X}\n", "w.yaml:9: two secrets go to the variable X"},
		"too many":        {good + "  secrets: [" + strings.Repeat("{kv: a, file: a},", 201) + "]\n", "w.yaml:7: a workload has at most 200 secrets"},
		"max unavailable": {good + "  onChange: {maxUnavailable: -2}\n", "w.yaml:7: maxUnavailable"},
	} {
		if _, err := parse(t, c.spec); err == nil || !strings.Contains(err.Error(), c.want) || !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	for _, file := range []string{"/etc/passwd", "../x", "a/../b", "a//b", "./a", ".", "..", "a/", `a\b`, `a\nb`} {
		if _, err := parse(t, good+"  secrets:\n    - {kv: a, file: \""+strings.ReplaceAll(file, `\b`, `\\b`)+"\"}\n"); err == nil {
			t.Errorf("file %q was taken", file)
		}
	}
}

// tricks are paths that could mean more, or other, secrets than one.
var tricks = []string{
	"*", "a*", "+", "a/+/b", "../other", "a/../../sys", "a/./b", "/a", "a/", "a//b", "", "..", "a..b", `a\"b`, `a\\b`, `a\nb`, `a\u0000b`, `a\tb`,
	`x\" { capabilities = [\"sudo\"] } path \"*`, "${env}", "{{identity.name}}", "a\u00a0b", "a\u202eb", strings.Repeat("a", 1000),
}

func TestThePolicyAllowsExactlyTheSecrets(t *testing.T) {
	w := must(parse(t, good+`  secrets:
    - {kv: pay/stripe, file: a}
    - {kv: "größe/ü b", file: b}
    - {kv: "x", mount: team/kv, file: c}
    - {kv: "we%41ird$#?'`+"`"+`", file: d}
`))(t)
	parsed := must(policy.Parse(w.PolicyName(), w.Policy()))(t)
	set := policy.NewSet(parsed)
	for _, path := range []string{"secret/data/pay/stripe", "secret/data/größe/ü b", "team/kv/data/x", "secret/data/we%41ird$#?'`"} {
		if !set.Decide(policy.Query{Path: path, Need: policy.Read}).Allowed {
			t.Errorf("%s may not be read\n%s", path, w.Policy())
		}
		for _, need := range []policy.Capability{policy.Create, policy.Update, policy.Delete, policy.List, policy.Patch} {
			if set.Decide(policy.Query{Path: path, Need: need}).Allowed {
				t.Errorf("%s: %s is allowed", path, need)
			}
		}
	}
	for _, path := range []string{
		"secret/data/pay", "secret/data/pay/", "secret/data/pay/stripe/x", "secret/data/pay/other", "secret/metadata/pay/stripe", "sys/policies",
		"secret/data/weAird$#?'`", "team/data/x",
	} {
		if set.Decide(policy.Query{Path: path, Need: policy.Read}).Allowed {
			t.Errorf("%s may be read", path)
		}
	}
	for _, trick := range tricks {
		for _, field := range []string{"kv: \"%\"", "kv: a, mount: \"%\""} {
			if trick == "" && strings.Contains(field, "mount") {
				continue // the default
			}
			spec := good + "  secrets:\n    - {" + strings.Replace(field, "%", trick, 1) + ", file: a}\n"
			if w, err := parse(t, spec); err == nil {
				t.Errorf("the path %q was taken: %s", trick, w.Policy())
			}
		}
	}
	if parsed := must(policy.Parse("none", workload.Workload{}.Policy()))(t); policy.NewSet(parsed).Decide(policy.Query{Path: "secret/data/x", Need: policy.Read}).Allowed {
		t.Error("a workload without secrets may read some")
	}
}

// FuzzPolicy holds for every path that Parse lets through: the policy has one
// rule for it, and that rule is for it alone.
func FuzzPolicy(f *testing.F) {
	for _, trick := range tricks {
		f.Add(trick, "secret")
		f.Add("a", trick)
	}
	f.Add("pay/stripe", "team/kv")
	f.Fuzz(func(t *testing.T, kv, mount string) {
		quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
		w, err := parse(t, good+"  secrets:\n    - {kv: "+quote(kv)+", mount: "+quote(mount)+", file: a}\n")
		if err != nil {
			return
		}
		p, err := policy.Parse("p", w.Policy())
		if err != nil {
			t.Fatalf("policy %s: %v", w.Policy(), err)
		}
		s := w.Secrets[0]
		if len(p.Rules) != 1 || p.Rules[0].Path != s.Mount+"/data/"+s.KV || strings.ContainsAny(p.Rules[0].Path, "*+") {
			t.Errorf("secret %q in %q gives %+v", s.KV, s.Mount, p.Rules)
		}
	})
}

// open makes a book with an unsealed barrier.
func open(t *testing.T, st store.Store) (*workload.Book, *barrier.Barrier) {
	t.Helper()
	b := must(barrier.Open(t.Context(), st))(t)
	key := make([]byte, 32)
	must(b.Init(t.Context(), barrier.InitOptions{KeyFile: key}))(t)
	ok(t, b.UnsealWithFile(t.Context(), key))
	return must(workload.New(t.Context(), st, b))(t), b
}

func TestRunningFindsTheOneWorkload(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		book, _ := open(t, st)
		uid := 1000
		gold, silver := workload.Image{Golden: "pay", Channel: "gold"}, workload.Image{Golden: "pay", Channel: "silver"}
		for _, w := range []workload.Workload{
			{Name: "pay", Image: gold, Nodes: []string{"web-1"}},
			{Name: "pay-batch", Image: gold, Nodes: []string{"web-2"}, User: &uid},
			{Name: "try-1", Image: silver},
			{Name: "try-2", Image: silver},
			{Name: "other", Image: workload.Image{Golden: "other", Channel: "gold"}},
		} {
			ok(t, book.Put(t.Context(), w))
		}
		for name, c := range map[string]struct {
			lines []workload.Image
			place workload.Place
			want  string
			err   string
		}{
			"on its node":           {[]workload.Image{gold}, workload.Place{Node: "web-1", UID: 0}, "pay", ""},
			"as its user":           {[]workload.Image{gold}, workload.Place{Node: "web-2", UID: 1000}, "pay-batch", ""},
			"as another user":       {[]workload.Image{gold}, workload.Place{Node: "web-2", UID: 1}, "", "may not run on node web-2 as user 1"},
			"elsewhere":             {[]workload.Image{gold}, workload.Place{Node: "web-3", UID: 1000}, "", "may not run on node web-3"},
			"several":               {[]workload.Image{silver}, workload.Place{Node: "web-1"}, "", "several workloads run this image here: try-1, try-2"},
			"no channel":            {nil, workload.Place{Node: "web-1"}, "", "no workload runs this image"},
			"nobody's channel":      {[]workload.Image{{Golden: "pay", Channel: "bronze"}}, workload.Place{Node: "web-1"}, "", "no workload runs this image"},
			"a channel named twice": {[]workload.Image{gold, gold}, workload.Place{Node: "web-1"}, "pay", ""},
			"two lines, two apps":   {[]workload.Image{gold, {Golden: "other", Channel: "gold"}}, workload.Place{Node: "web-1"}, "", "several workloads"},
		} {
			w, err := book.Running(t.Context(), c.lines, c.place)
			if c.err != "" {
				if !fault.Is(err, fault.Refused) || !strings.Contains(err.Error(), c.err) || fault.HintOf(err) == "" {
					t.Errorf("%s: %v (hint %q), want %q", name, err, fault.HintOf(err), c.err)
				}
			} else if err != nil || w.Name != c.want {
				t.Errorf("%s: %v, %v", name, w, err)
			}
		}
	})
}

func TestSecretsAreSealedAndBoundToTheirWorkload(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		book, b := open(t, st)
		ctx := t.Context()
		w := workload.Workload{
			Name: "pay", Owner: "team", Environment: "prod", Image: workload.Image{Golden: "pay", Channel: "gold"},
			Secrets: []workload.Secret{{KV: "pay/stripe", Mount: "secret", File: "a"}},
		}
		ok(t, book.Put(ctx, w))
		if diff := cmp.Diff(&w, must(book.Get(ctx, "pay"))(t)); diff != "" {
			t.Error(diff)
		}
		b.Seal()
		if got := must(book.Get(ctx, "pay"))(t); got.Secrets != nil || got.Owner != "team" {
			t.Errorf("sealed: %+v", got)
		}
		if err := book.Put(ctx, w); !fault.Is(err, fault.Sealed) {
			t.Errorf("put while sealed: %v", err)
		}
		ok(t, b.UnsealWithFile(ctx, make([]byte, 32)))
		// Whoever can write the database gives the secrets to another image.
		ok(t, st.Update(ctx, func(tx store.Tx) error {
			_, err := tx.Exec(ctx, "UPDATE workload SET golden = 'evil', body = REPLACE(body, '\"golden\":\"pay\"', '\"golden\":\"evil\"')")
			return err
		}))
		if got, err := book.Running(ctx, []workload.Image{{Golden: "evil", Channel: "gold"}}, workload.Place{}); err == nil {
			t.Errorf("a forged row was believed: %+v", got)
		}
		ok(t, book.Delete(ctx, "pay"))
		if _, err := book.Get(ctx, "pay"); !fault.Is(err, fault.NotFound) {
			t.Errorf("after delete: %v", err)
		}
	})
}

func TestNamesOfSecretsAreNotInTheDatabaseFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "goldkeep.db")
	st := storetest.SQLiteAt(t, path)
	book, _ := open(t, st)
	ok(t, book.Put(t.Context(), workload.Workload{Name: "pay", Secrets: []workload.Secret{
		{KV: "planted-path", Mount: "planted-mount", Field: "planted-field", File: "planted-file", Env: "PLANTED_ENV"},
	}}))
	ok(t, st.Close())
	for _, file := range must(filepath.Glob(path + "*"))(t) {
		if strings.Contains(strings.ToLower(string(must(os.ReadFile(file))(t))), "planted") {
			t.Errorf("%s shows the name of a secret", filepath.Base(file))
		}
	}
}
