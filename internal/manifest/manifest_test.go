// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package manifest_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/manifest"
)

const twoDocs = `# the payments team
apiVersion: goldkeep.dev/v1
kind: GoldenImage
metadata: {name: payments, owner: payments-team, contact: "#payments"}
spec:
  from: debian-base
---
---
apiVersion: goldkeep.dev/v1
kind: Workload
metadata:
  name: payments
  owner: payments-team
  protect: true
  labels: {tier: gold}
spec:
  environment: prod
  image: {golden: payments, channel: gold}
  secrets:
    - kv: payments/stripe
      file: stripe.json
`

func TestParse(t *testing.T) {
	docs, err := manifest.Parse("a.yaml", []byte(twoDocs))
	if err != nil {
		t.Fatal(err)
	}
	if len(docs) != 2 || docs[0].Kind != "GoldenImage" || docs[1].Line != 9 || !docs[1].Meta.Protect || docs[1].Meta.Labels["tier"] != "gold" {
		t.Fatalf("parsed %+v", docs)
	}
	lines := map[string]int{
		"": 12, "environment": 17, "image/golden": 18, "secrets/0/file": 21, "secrets/7": 19, "nothing": 17,
	}
	for path, want := range lines {
		var steps []string
		if path != "" {
			steps = strings.Split(path, "/")
		}
		if got := docs[1].LineOf(steps...); got != want {
			t.Errorf("LineOf(%q) = %d, want %d", path, got, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	head := "apiVersion: goldkeep.dev/v1\nkind: Workload\n"
	deep := head + "metadata: {name: a, owner: b}\nspec: " + strings.Repeat("[", 80) + strings.Repeat("]", 80)
	cases := map[string]struct {
		text string
		want []string
	}{
		"no YAML":          {"a: [", []string{"not valid YAML"}},
		"a list":           {"- a", []string{"f.yaml:1: a document is a mapping with apiVersion, kind, metadata and spec, not a list"}},
		"all at once":      {"kind: workload\nmeta: {}\n", []string{`f.yaml:1: kind must be a name`, `f.yaml:2: unknown field "meta" in a document`, `field "apiVersion" is missing`, `field "metadata" is missing`}},
		"version":          {"apiVersion: v2\nkind: A\nmetadata: {name: a, owner: b}", []string{`f.yaml:1: apiVersion "v2" is not known: write apiVersion: goldkeep.dev/v1`}},
		"no owner":         {head + "metadata:\n  name: a\n", []string{"f.yaml:4: metadata.owner is missing"}},
		"blank owner":      {head + "metadata:\n  name: a\n  owner: ' '", []string{"f.yaml:5: metadata.owner is missing"}},
		"bad name":         {head + "metadata:\n  owner: b\n  name: ../etc\n", []string{`f.yaml:5: metadata.name "../etc" is not a name`}},
		"upper-case name":  {head + "metadata: {owner: b, name: Prod}\n", []string{`metadata.name "Prod" is not a name`}},
		"no name":          {head + "metadata: {owner: b}\n", []string{"metadata.name is missing"}},
		"metadata typo":    {head + "metadata: {name: a, ownr: b}\n", []string{`f.yaml:3: unknown field "ownr" in metadata: did you mean "owner"?`}},
		"metadata type":    {head + "metadata: {name: [a], owner: b}\n", []string{"f.yaml:3: metadata: a list cannot be text"}},
		"escape in owner":  {head + "metadata: {name: a, owner: \"x\\e[31m\"}\n", []string{"metadata.owner holds characters that cannot be printed"}},
		"field twice":      {head + "kind: B\nmetadata: {name: a, owner: b}\n", []string{`f.yaml:3: field "kind" stands here twice: first in line 2`}},
		"resource twice":   {head + "metadata: {name: a, owner: b}\n---\n" + head + "metadata: {name: a, owner: c}\n", []string{"f.yaml:7: Workload a is defined twice: first at f.yaml:3"}},
		"deep":             {deep, []string{"nested more than 64 deep"}},
		"a second problem": {head + "metadata: {name: a}\n---\n" + head + "metadata: {owner: a}\n", []string{"f.yaml:3: metadata.owner", "f.yaml:7: metadata.name"}},
		"merge key":        {head + "metadata: {<<: {name: a}, owner: b}\n", []string{`unknown field "<<" in metadata`}},
		"too long":         {"# " + strings.Repeat("x", manifest.MaxBytes), []string{"at most 1048576 are read"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := manifest.Parse("f.yaml", []byte(c.text))
			if !fault.Is(err, fault.Invalid) {
				t.Fatalf("got %v, want an error of the kind invalid", err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
			var all manifest.Errors
			if !errors.As(err, &all) || len(all) != len(c.want) {
				t.Errorf("got %d errors, want %d: %v", len(all), len(c.want), err)
			}
		})
	}
}

// TestAliasBomb holds that nine lines of aliases to aliases do not cost memory.
func TestAliasBomb(t *testing.T) {
	var text strings.Builder
	text.WriteString("apiVersion: goldkeep.dev/v1\nkind: A\nmetadata: {name: a, owner: b}\nspec:\n  a0: &a0 [x]\n")
	for i := 1; i < 10; i++ {
		before := "*a" + string(rune('0'+i-1))
		name := "a" + string(rune('0'+i))
		text.WriteString("  " + name + ": &" + name + " [" + strings.TrimSuffix(strings.Repeat(before+" ,", 10), ",") + "]\n")
	}
	_, err := manifest.Parse("f", []byte(text.String()))
	if err == nil || !strings.Contains(err.Error(), "too large") {
		t.Fatalf("got %v", err)
	}
}

type spec struct {
	Environment string            `yaml:"environment"`
	Replicas    int               `yaml:"replicas"`
	Image       image             `yaml:"image"`
	Secrets     []secret          `yaml:"secrets"`
	Grace       manifest.Duration `yaml:"grace"`
}

type image struct {
	Golden  string `yaml:"golden"`
	Channel string `yaml:"channel"`
}

type secret struct {
	KV string `yaml:"kv"`
}

func TestDecode(t *testing.T) {
	cases := map[string]struct{ spec, want string }{
		"fine":         {"{environment: prod, replicas: 2, image: {golden: a}, secrets: [{kv: x}], grace: 3d}", ""},
		"alias":        {"{environment: &e prod, image: {golden: *e}}", ""},
		"none":         {"", "f.yaml:3: Workload a has no spec"},
		"unknown":      {"\n  env: prod", `f.yaml:5: unknown field "env" in spec; known fields: environment, replicas, image, secrets, grace`},
		"near":         {"\n  environmnt: prod", `did you mean "environment"?`},
		"inside":       {"\n  secrets:\n    - kv: a\n    - kw: b", `f.yaml:7: unknown field "kw" in spec.secrets[1]: did you mean "kv"?; known fields: kv`},
		"twice":        {"\n  replicas: 1\n  replicas: 2", `f.yaml:6: field "replicas" stands here twice: first in line 5`},
		"type":         {"\n  replicas: many", "f.yaml:5: spec: the text `many` cannot be a whole number"},
		"list":         {"[]", "f.yaml:4: spec: a list cannot be"},
		"bad duration": {"\n  grace: 3 days", `f.yaml:5: spec: "3 days" is not a length of time`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			docs, err := manifest.Parse("f.yaml", []byte("apiVersion: goldkeep.dev/v1\nkind: Workload\nmetadata: {name: a, owner: b}\nspec: "+c.spec))
			if err != nil {
				t.Fatal(err)
			}
			var s spec
			err = docs[0].Decode(&s)
			switch {
			case c.want == "" && err != nil:
				t.Fatal(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Fatalf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]struct {
		d     time.Duration
		print string
	}{
		"90s": {90 * time.Second, "1m30s"}, "36h": {36 * time.Hour, "36h"}, "30d": {720 * time.Hour, "30d"}, "2w": {336 * time.Hour, "14d"},
		"72h": {72 * time.Hour, "3d"}, "1d12h": {36 * time.Hour, "36h"}, "0": {0, "0s"}, "250ms": {250 * time.Millisecond, "250ms"},
	} {
		d, err := manifest.ParseDuration(text)
		if err != nil || time.Duration(d) != want.d || d.String() != want.print {
			t.Errorf("%s: got %v %q %v", text, time.Duration(d), d, err)
		}
		back := new(manifest.Duration)
		if data, err := json.Marshal(d); err != nil || json.Unmarshal(data, back) != nil || *back != d {
			t.Errorf("%s: JSON gives %v", text, *back)
		}
		if data, err := yaml.Marshal(d); err != nil || yaml.Unmarshal(data, back) != nil || *back != d {
			t.Errorf("%s: YAML gives %v", text, *back)
		}
	}
	for _, text := range []string{"", "-1h", "1", "h", "1y", "1.5h", "1 h", "99999999999999999999s", "9000000000s", "50000w50000w"} {
		if d, err := manifest.ParseDuration(text); err == nil {
			t.Errorf("%q is read as %v", text, d)
		}
	}
}

func TestReadPaths(t *testing.T) {
	dir := t.TempDir()
	doc := func(name string) string {
		return "apiVersion: goldkeep.dev/v1\nkind: A\nmetadata: {name: " + name + ", owner: x}\n"
	}
	for file, text := range map[string]string{
		"a.yaml": doc("one"), "sub/b.yml": doc("two"), "notes.txt": "[", ".git/c.yaml": "[", ".hidden.yaml": "[",
	} {
		path := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	docs, err := manifest.ReadPaths(strings.NewReader(doc("three")), dir, "-")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range docs {
		names = append(names, d.Meta.Name)
	}
	if diff := cmp.Diff([]string{"one", "two", "three"}, names); diff != "" {
		t.Error(diff)
	}
	if docs[2].File != "stdin" {
		t.Errorf("stdin is called %q", docs[2].File)
	}
	_, err = manifest.ReadPaths(strings.NewReader(doc("one")+"---\nx: 1\n"), dir, "-")
	if err == nil || !strings.Contains(err.Error(), "stdin:3: A one is defined twice: first at "+filepath.Join(dir, "a.yaml")+":3") || !strings.Contains(err.Error(), `unknown field "x"`) {
		t.Errorf("got %v", err)
	}
	if _, err := manifest.ReadPaths(nil, filepath.Join(dir, "none")); !fault.Is(err, fault.NotFound) {
		t.Errorf("got %v", err)
	}
	if _, err := manifest.ReadPaths(nil, t.TempDir()); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "no manifests found") {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(twoDocs))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("apiVersion: goldkeep.dev/v1\nkind: A\nmetadata: {name: a, owner: b}\nspec: &s {image: *s, secrets: [*s]}"))
	f.Add([]byte("? [a]\n: b\n--- !!binary x\n--- |\n x"))
	f.Fuzz(func(t *testing.T, text []byte) {
		docs, err := manifest.Parse("f", text)
		if err != nil && !fault.Is(err, fault.Invalid) {
			t.Fatalf("error of the wrong kind: %v", err)
		}
		for _, d := range docs {
			var s spec
			if err := d.Decode(&s); err != nil && !fault.Is(err, fault.Invalid) {
				t.Fatalf("error of the wrong kind: %v", err)
			}
			d.LineOf("image", "golden")
		}
	})
}
