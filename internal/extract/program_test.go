// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package extract_test

import (
	"bytes"
	"fmt"
	"runtime/debug"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/internal/extract"
)

func TestGoModules(t *testing.T) {
	info := &debug.BuildInfo{
		GoVersion: "go1.26.8 X:jsonv2", Main: debug.Module{Path: "example.test/app", Version: "(devel)"},
		Deps: []*debug.Module{
			{Path: "golang.org/x/net", Version: "v0.1.0"},
			{Path: "example.test/fork", Version: "v1.0.0", Replace: &debug.Module{Path: "example.test/other", Version: "v1.2.0"}},
			{Path: "example.test/local", Version: "v1.0.0", Replace: &debug.Module{Path: "../local"}},
			{Path: "example.test/app/v2", Version: "v2.0.0"},
		},
	}
	linked := []string{"example.test/app/internal/x", "example.test/app/v2/y", "golang.org/x/net/html", "golang.org/x/network", "main", "net/http"}
	var got []string
	for _, c := range extract.GoPackagesForTest(info, linked) {
		got = append(got, fmt.Sprint(c.PURL, " ", c.Version, " ", c.Main, " ", c.Packages))
	}
	want := []string{
		"pkg:golang/stdlib@1.26.8 1.26.8 false [net/http]",
		"pkg:golang/example.test/app (devel) true [example.test/app/internal/x]",
		"pkg:golang/golang.org/x/net@v0.1.0 v0.1.0 false [golang.org/x/net/html]",
		"pkg:golang/example.test/other@v1.2.0 v1.2.0 false []",
		"pkg:golang/example.test/local@v1.0.0 v1.0.0 false []",
		"pkg:golang/example.test/app/v2@v2.0.0 v2.0.0 false [example.test/app/v2/y]",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestPackageOf(t *testing.T) {
	for in, want := range map[string]string{
		"golang.org/x/net/http2.(*Server).ServeConn": "golang.org/x/net/http2",
		"gopkg.in/yaml%2ev2.Unmarshal":               "gopkg.in/yaml.v2",
		"slices.SortFunc[go.shape.struct { a/b.C }]": "slices",
		"main.main":                           "main",
		"type:.eq.golang.org/x/net/html.Node": "",
		"go:buildid":                          "",
		"memeqbody":                           "",
		"":                                    "",
		"a/b.init.0":                          "a/b",
		"github.com/golang-jwt/jwt/v4.(*Parser).Parse":    "github.com/golang-jwt/jwt/v4",
		"github.com/a/b.glob..func1[github.com/c/d/e.F]":  "github.com/a/b",
		"golang.org/x/text/internal/language.Tag.String ": "golang.org/x/text/internal/language",
	} {
		if got := extract.PackageOfForTest([]byte(in)); got != want {
			t.Errorf("%q: got %q; want %q", in, got, want)
		}
	}
}

func FuzzFunctionNames(f *testing.F) {
	f.Add(append([]byte{0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8}, make([]byte, 64)...))
	f.Fuzz(func(_ *testing.T, table []byte) {
		for name := range bytes.SplitSeq(extract.FunctionNamesForTest(table), []byte{0}) {
			extract.PackageOfForTest(name)
		}
	})
}
