// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// The map of the house, as a test: it cannot go stale. See ARCHITECTURE.md.
package internal_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"
)

const module = "github.com/goldkeep/goldkeep/"

// rooms is the law: a room imports only rooms named before it.
var rooms = strings.Fields(`
	fault manifest store snapshot barrier kms audit lease config
	courier image leak dockerfile extract component sbom advisory finding fleet vex provenance signer verdict scan report catalog
	ca attest workload identity notify
	policy otp fetch entity auth quota engine realm gate
	plan listener wire api agent term keeper sign cli server
`)

// only lists rooms that may know less than the order allows.
var only = map[string][]string{
	"verdict": {"component", "finding", "vex", "image", "manifest", "fault"},
	"policy":  {"fault"},
	// The command line speaks to a server through the public client, like anybody
	// else; the image rooms are there for "check", which needs no server.
	"term":   {"fault", "manifest"},
	"keeper": {"term", "fault", "audit", "snapshot"},
	"cli":    {"term", "keeper", "sign", "fault", "manifest", "store", "store/sqlite", "image", "component", "advisory", "finding", "vex", "provenance", "verdict", "scan", "report", "audit", "dockerfile", "sbom"},
	"agent":  {"fault", "attest"},
	"sign":   {"term", "fault", "manifest", "image", "provenance"},
}

// never lists arrows that are wrong though the order allows them.
var never = map[string][]string{
	"engine": {"store"}, // engines see sealed space only
}

// auditors may import audit: the gate writes it, the rest reads or wires it.
var auditors = []string{"gate", "keeper", "server", "api"}

// pickers may import variants (a folder inside a folder) of other rooms.
// realm is wiring too: of what each namespace has.
var pickers = []string{"server", "agent", "cli", "realm"}

// heavy modules enter through one room.
var heavy = map[string][]string{
	"github.com/google/go-containerregistry": {"image"},
	"github.com/spf13/cobra":                 {"term", "keeper", "sign", "cli", "server", "agent"},
	"modernc.org/sqlite":                     {"store/sqlite"},
	"github.com/jackc/pgx":                   {"store/postgres"},
	"github.com/google/osv-scalibr":          {"extract", "finding", "advisory"},
	"github.com/sigstore":                    {"provenance"},
	"cel.dev/cel-go":                         {"verdict"},
	"github.com/prometheus":                  {"server", "gate", "store", "lease"},
	"github.com/CycloneDX":                   {"report"},
	"github.com/spdx":                        {"report"},
	"github.com/moby/buildkit":               {"dockerfile"},
	"github.com/hashicorp/hcl":               {"policy", "config"},
	"gocloud.dev":                            {"kms"},
	"github.com/cloudflare/circl":            {"barrier"},
}

// mayExceed names the few wiring functions allowed over the size bar, with a reason.
var mayExceed = map[string]string{}

type file struct {
	room, dir, path string // room "store", dir "store/sqlite"
	test            bool
	lines           int
	ast             *ast.File
	fset            *token.FileSet
	text            string
}

func TestImportsGoOneWay(t *testing.T) {
	for _, f := range files(t) {
		at := slices.Index(rooms, f.room)
		if at < 0 {
			t.Errorf("%s: room %q is not on the list", f.path, f.room)
			continue
		}
		if f.test {
			continue
		}
		for _, spec := range f.ast.Imports {
			checkImport(t, f, at, strings.Trim(spec.Path.Value, `"`))
		}
	}
}

func checkImport(t *testing.T, f file, at int, path string) {
	t.Helper()
	for mod, where := range heavy {
		if (path == mod || strings.HasPrefix(path, mod+"/")) && !slices.Contains(where, f.room) && !slices.Contains(where, f.dir) {
			t.Errorf("%s imports %s, which enters only through %v", f.path, path, where)
		}
	}
	target, ours := strings.CutPrefix(path, module+"internal/")
	if !ours {
		return
	}
	room, _, variant := strings.Cut(target, "/")
	if room != f.room && slices.Index(rooms, room) >= at {
		t.Errorf("%s imports %s, which comes later in the list", f.path, target)
	}
	if variant && room != f.room && !slices.Contains(pickers, f.room) {
		t.Errorf("%s imports the variant %s; only %v pick one", f.path, target, pickers)
	}
	if variant && room == f.room && f.dir != f.room {
		t.Errorf("%s imports its sibling variant %s", f.path, target)
	}
	if allowed, limited := only[f.room]; limited && room != f.room && !slices.Contains(allowed, target) && !slices.Contains(allowed, room) {
		t.Errorf("%s imports %s; %s may know only %v", f.path, target, f.room, allowed)
	}
	if slices.Contains(never[f.room], room) {
		t.Errorf("%s imports %s, which %s must never know", f.path, target, f.room)
	}
	if room == "audit" && f.room != "audit" && !slices.Contains(auditors, f.room) {
		t.Errorf("%s imports audit; only %v may", f.path, auditors)
	}
}

func TestSizes(t *testing.T) {
	roomLines := map[string]int{}
	var fileSizes, funcSizes []int
	for _, f := range files(t) {
		if f.test {
			continue
		}
		fileSizes = append(fileSizes, f.lines)
		roomLines[f.dir] += f.lines // a variant is counted on its own
		if f.lines > 800 {
			t.Errorf("%s has %d lines; none may be over 800", f.path, f.lines)
		}
		funcSizes = append(funcSizes, checkShapes(t, f)...)
	}
	for room, n := range roomLines {
		if n > 3000 {
			t.Errorf("room %s has %d lines; none may be over 3,000", room, n)
		}
	}
	checkMost(t, "files", fileSizes, 450)
	checkMost(t, "functions", funcSizes, 60)
}

// checkMost fails when fewer than 95% of sizes are at most limit.
func checkMost(t *testing.T, what string, sizes []int, limit int) {
	t.Helper()
	sort.Ints(sizes)
	if len(sizes) > 0 && sizes[len(sizes)*95/100] > limit {
		t.Errorf("the 95th percentile of %s is %d lines; the bar is %d", what, sizes[len(sizes)*95/100], limit)
	}
}

func checkShapes(t *testing.T, f file) []int {
	t.Helper()
	var sizes []int
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			sizes = append(sizes, checkFunc(t, f, n))
		case *ast.InterfaceType:
			if n.Methods.NumFields() > 8 {
				t.Errorf("%s: an interface has %d methods; none may be over 8", f.path, n.Methods.NumFields())
			}
		case *ast.StructType:
			for _, field := range n.Fields.List {
				if sel, ok := field.Type.(*ast.SelectorExpr); ok && sel.Sel.Name == "Context" {
					t.Errorf("%s: a struct holds a context", f.path)
				}
			}
		case *ast.CallExpr:
			if sel, ok := n.Fun.(*ast.SelectorExpr); ok {
				if x, ok := sel.X.(*ast.Ident); ok && (x.Name == "os" && sel.Sel.Name == "Exit" || x.Name == "context" && (sel.Sel.Name == "Background" || sel.Sel.Name == "TODO")) {
					t.Errorf("%s: %s.%s outside cmd and tests", f.fset.Position(n.Pos()), x.Name, sel.Sel.Name)
				}
			}
		}
		return true
	})
	return sizes
}

func checkFunc(t *testing.T, f file, fn *ast.FuncDecl) int {
	t.Helper()
	lines := f.fset.Position(fn.End()).Line - f.fset.Position(fn.Pos()).Line + 1
	if lines > 120 && mayExceed[f.dir+"."+fn.Name.Name] == "" {
		t.Errorf("%s: %s has %d lines; none may be over 120", f.path, fn.Name.Name, lines)
	}
	if fn.Name.Name == "init" {
		t.Errorf("%s: init functions are not used here", f.path)
	}
	params := 0
	for _, p := range fn.Type.Params.List {
		params += max(1, len(p.Names))
	}
	if params > 5 {
		t.Errorf("%s: %s has %d parameters; use an options struct", f.path, fn.Name.Name, params)
	}
	return lines
}

func TestHouseRules(t *testing.T) {
	docs := map[string]bool{}
	for _, f := range files(t) {
		if !strings.HasPrefix(f.text, "// Copyright The Goldkeep Authors\n// SPDX-License-Identifier: Apache-2.0\n") {
			t.Errorf("%s: no licence header", f.path)
		}
		if !f.test {
			docs[f.dir] = docs[f.dir] || f.ast.Doc != nil
		}
		if f.test && strings.Contains(f.text, "time."+"Sleep(") {
			t.Errorf("%s: a test sleeps", f.path)
		}
		for _, word := range []string{"util", "common", "helper", "shared", "base", "types", "core"} {
			if slices.Contains(strings.Split(f.dir, "/"), word) {
				t.Errorf("%s: %q is no name for a room", f.path, word)
			}
		}
	}
	for dir, documented := range docs {
		if !documented {
			t.Errorf("package %s does not say what it is for", dir)
		}
	}
}

// TestChainIsShort keeps the longest chain of rooms from main at 10 or less.
func TestChainIsShort(t *testing.T) {
	imports := map[string]map[string]bool{}
	for _, f := range files(t) {
		if f.test {
			continue
		}
		if imports[f.dir] == nil {
			imports[f.dir] = map[string]bool{}
		}
		for _, spec := range f.ast.Imports {
			if target, ours := strings.CutPrefix(strings.Trim(spec.Path.Value, `"`), module+"internal/"); ours {
				imports[f.dir][target] = true
			}
		}
	}
	var longest func(dir string) []string
	known := map[string][]string{}
	longest = func(dir string) []string {
		if c, ok := known[dir]; ok {
			return c
		}
		var best []string
		for to := range imports[dir] {
			if c := longest(to); len(c) > len(best) {
				best = c
			}
		}
		known[dir] = append([]string{dir}, best...)
		return known[dir]
	}
	for dir := range imports {
		if chain := longest(dir); len(chain) > maxChain {
			t.Errorf("chain of %d: %s", len(chain), strings.Join(chain, " > "))
		}
	}
}

// maxChain is the longest chain of rooms allowed.
const maxChain = 10

func files(t *testing.T) []file {
	t.Helper()
	var all []file
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || filepath.Dir(path) == "." {
			return err
		}
		if strings.Contains(path, "testdata") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fset := token.NewFileSet()
		parsed, err := parser.ParseFile(fset, path, text, parser.ParseComments)
		if err != nil {
			return err
		}
		dir := filepath.ToSlash(filepath.Dir(path))
		room, _, _ := strings.Cut(dir, "/")
		all = append(all, file{
			room: room, dir: dir, path: path, test: strings.HasSuffix(path, "_test.go") || strings.HasSuffix(dir, "test"),
			lines: strings.Count(string(text), "\n"), ast: parsed, fset: fset, text: string(text),
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
