// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package vex_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/vex"
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

var now = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)

// sample has every kind of statement that is written.
func sample() vex.Document {
	end := now.Add(30*24*time.Hour + 7*time.Millisecond)
	image := "sha256:" + strings.Repeat("ab", 32)
	return vex.Document{
		ID: "urn:uuid:3e671687-395b-81f5-a30f-a58921a69b79", Author: "root", Version: 1, Time: now,
		Statements: []vex.Statement{
			{
				ID: "urn:goldkeep:triage:1", Names: []string{"CVE-1", "GHSA-1", "GO-1"}, Time: now.Add(-time.Hour), Status: vex.NotAffected,
				Justification: "vulnerable_code_not_in_execute_path", Text: "two\n\nparagraphs, \"quoted\" <b>\n\ngoldkeep-author: a liar\ngoldkeep-expires: 2099-01-01T00:00:00Z",
				Own:      vex.Own{Author: "ann", Imported: "bob", Expires: end},
				Products: []vex.Product{{ID: "pkg:oci/image@" + strings.Replace(image, ":", "%3A", 1), Digests: []string{image}, Packages: []string{"pkg:deb/debian/openssl", "pkg:generic/zlib?goldkeep_scope=package"}}},
			},
			{
				ID: "urn:goldkeep:triage:2", Names: []string{"CVE-2"}, Time: now, Status: vex.Affected, Text: "internal only", Action: "will not fix",
				Own: vex.Own{Decision: "accepted", Author: "ann", Expires: end}, Products: []vex.Product{{ID: "pkg:oci/base?goldkeep_scope=golden"}},
			},
			{
				ID: "urn:goldkeep:triage:3", Names: []string{"CVE-3"}, Time: now, Status: vex.Affected, Text: "next week", Action: "update",
				Own: vex.Own{Decision: "fixing", Author: "ann", Expires: end}, Products: []vex.Product{{ID: "pkg:generic/shop?goldkeep_scope=workload"}},
			},
		},
	}
}

// TestNothingIsLost: what is written is valid by the official schema, and reading
// it gives the same again.
func TestNothingIsLost(t *testing.T) {
	for name, c := range map[string]struct {
		write  func(vex.Document) ([]byte, error)
		schema *jsonschema.Schema
	}{
		"openvex":   {vex.WriteOpenVEX, schema(t, "testdata/schema/openvex-0.2.0.schema.json")},
		"cyclonedx": {vex.WriteCycloneDX, schema(t, "../report/testdata/schema/bom-1.6.schema.json")},
	} {
		doc := sample()
		for _, j := range vex.Justifications {
			s := doc.Statements[0]
			s.ID, s.Justification = s.ID+j, j
			doc.Statements = append(doc.Statements, s)
		}
		text := must(c.write(doc))(t)
		if err := c.schema.Validate(must(jsonschema.UnmarshalJSON(bytes.NewReader(text)))(t)); err != nil {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
		if err := c.schema.Validate(map[string]any{"version": 7}); err == nil {
			t.Errorf("the schema of %s accepts anything: this test cannot fail", name)
		}
		got := must(vex.Parse(text))(t)
		want := doc
		want.Format = name
		got.Statements, want.Statements = slices.Clone(got.Statements), slices.Clone(want.Statements)
		for i := range got.Statements {
			got.Statements[i].At = ""
		}
		if diff := cmp.Diff(&want, got); diff != "" {
			t.Errorf("%s: written and read:\n%s", name, diff)
		}
	}
}

// schema compiles an official schema, with those beside it that it refers to.
func schema(t *testing.T, path string) *jsonschema.Schema {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	beside := map[string]string{
		"jsf-0.82.schemax.json": "http://cyclonedx.org/schema/jsf-0.82.schema.json", "spdx.schema.json": "http://cyclonedx.org/schema/spdx.schema.json",
		"bom-1.6.schema.json": "http://cyclonedx.org/schema/bom-1.6.schema.json", "openvex-0.2.0.schema.json": "https://openvex.dev/schema.json",
	}
	for file, address := range beside {
		text, err := os.Open(filepath.Join(filepath.Dir(path), file))
		if err != nil {
			continue // of the other format
		}
		defer func() { _ = text.Close() }()
		if err := compiler.AddResource(address, must(jsonschema.UnmarshalJSON(text))(t)); err != nil {
			t.Fatal(err)
		}
	}
	return must(compiler.Compile(beside[filepath.Base(path)]))(t)
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	return must(os.ReadFile(filepath.Join("testdata", name)))(t)
}

// TestDocumentsOfOthers: the three formats as others write them mean what they mean.
func TestDocumentsOfOthers(t *testing.T) {
	for file, want := range map[string]vex.Document{
		"openvex-old.json": {
			Format: "openvex", ID: "https://openvex.dev/docs/example/vex-1", Author: "Wolfi J Inkinson", Version: 1, Time: now,
			Statements: []vex.Statement{{
				At: "statements[0]", Names: []string{"CVE-2023-1"}, Time: now, Status: vex.Fixed,
				Products: []vex.Product{{ID: "pkg:apk/wolfi/git@2.39.0-r1?arch=armv7", Packages: []string{"pkg:generic/x"}}},
			}},
		},
		"cyclonedx-1.4.json": {
			Format: "cyclonedx", ID: "urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79", Author: "Maker", Version: 2, Time: now,
			Statements: []vex.Statement{
				{
					At: "vulnerabilities[0]", ID: "v0", Names: []string{"CVE-1", "GHSA-1"}, Time: now.Add(time.Hour), Status: vex.NotAffected, Justification: "inline_mitigations_already_exist", Text: "built with FORTIFY",
					Products: []vex.Product{
						{ID: "pkg:oci/shop", Digests: []string{"sha256:" + strings.Repeat("0", 64)}, Packages: []string{"pkg:npm/%40scope/x@1.0.0"}},
						{ID: "pkg:oci/shop", Digests: []string{"sha256:" + strings.Repeat("0", 64)}, Packages: []string{"pkg:npm/y@1.0.0", "range:vers:npm/>2"}},
						{ID: "pkg:oci/shop", Digests: []string{"sha256:" + strings.Repeat("0", 64)}},
					},
				},
				{At: "vulnerabilities[1]", Names: []string{"CVE-2"}, Time: now, Status: vex.NotAffected, Justification: "vulnerable_code_not_present", Products: []vex.Product{{ID: "pkg:oci/shop", Digests: []string{"sha256:" + strings.Repeat("0", 64)}, Packages: []string{"pkg:npm/z"}}}},
				{At: "vulnerabilities[2]", Names: []string{"CVE-3"}, Time: now, Status: vex.Affected, Action: "can not fix, workaround available"},
				{At: "vulnerabilities[3]", Names: []string{"CVE-4"}, Time: now, Status: vex.Affected, Action: "will not fix", Own: vex.Own{Decision: "accepted"}},
				{At: "vulnerabilities[4]", Names: []string{"CVE-5"}, Time: now, Status: vex.Fixed},
				{At: "vulnerabilities[5]", Names: []string{"CVE-6"}, Time: now, Status: vex.UnderInvestigation, Text: "no analysis"},
			},
		},
		"csaf.json": {
			Format: "csaf", ID: "EX-2026:1", Author: "Example", Version: 3, Time: now,
			Statements: []vex.Statement{
				{
					At: "vulnerabilities[0].product_status.known_not_affected", Names: []string{"CVE-1"}, Time: now, Status: vex.NotAffected, Justification: "component_not_present", Text: "it is not built",
					Products: []vex.Product{{ID: "pkg:rpm/redhat/openssl@3.0.7-1.el9"}},
				},
				{
					At: "vulnerabilities[0].product_status.known_not_affected", Names: []string{"CVE-1"}, Time: now, Status: vex.NotAffected,
					Products: []vex.Product{{ID: "pkg:oci/shop", Packages: []string{"pkg:npm/y"}}, {ID: "unknown"}, {}},
				},
				{At: "vulnerabilities[0].product_status.fixed", Names: []string{"CVE-1"}, Time: now, Status: vex.Fixed, Products: []vex.Product{{ID: "pkg:rpm/redhat/openssl@3.0.7-2.el9"}}},
			},
		},
	} {
		got, err := vex.Parse(read(t, file))
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if diff := cmp.Diff(&want, got); diff != "" {
			t.Errorf("%s:\n%s", file, diff)
		}
	}
}

// TestBadDocumentsSayWhere: an error names the line or the path.
func TestBadDocumentsSayWhere(t *testing.T) {
	open := func(statement string) string {
		return `{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://x.example/1","author":"a","timestamp":"2026-11-22T08:00:00Z","version":1,"statements":[` + statement + `]}`
	}
	cdx := func(vulnerability string) string {
		return `{"bomFormat":"CycloneDX","specVersion":"1.6","version":1,"vulnerabilities":[` + vulnerability + `]}`
	}
	for text, want := range map[string]string{
		"":                              "line 1",
		"{\n\"@context\": \n nonsense}": "line 3",
		"\xff":                          "not UTF-8",
		`[1]`:                           "line 1",
		`{"hello": 1}`:                  "neither OpenVEX",
		`{"@context": {"a": "b"}}`:      "neither OpenVEX",
		open(""):                        "statements: there is none",
		open(`{"vulnerability":{"name":"CVE-1"},"status":"fine"}`):                                                 "statements[0].status",
		open(`{"vulnerability":{"name":"CVE-1"},"status":"fixed"},{"vulnerability":{"name":""},"status":"fixed"}`): "statements[1]: the flaw has no name",
		open(`{"vulnerability":{"name":"CVE-1"},"status":"not_affected"}`):                                         "statements[0]: not_affected needs",
		open(`{"vulnerability":{"name":"CVE-1"},"status":"not_affected","justification":"because"}`):               "the justification is",
		open(`{"vulnerability":{"name":"CVE-1"},"status":"affected","justification":"component_not_present"}`):     "statements[0].justification",
		open(`{"vulnerability":{"name":"CVE-1"},"status":"fixed","timestamp":"yesterday"}`):                        "is no time",
		open(`{"vulnerability":{"name":"CVE-1"},"status":"fixed","status_notes":"x\n\ngoldkeep-expires: soon"}`):   "statements[0].status_notes",
		open(`{"vulnerability":{"name":"CVE-1"},"status":"fixed","products":[{"@id":"pkg:a/b\u001b[2J"}]}`):        "signs nobody can see",
		open(`{"vulnerability":{"name":"` + strings.Repeat("x", 2000) + `"},"status":"fixed"}`):                    "the limit is 1000",
		open(`{"vulnerability":{"name":"CVE-1"},"status":"fixed","products":"x"}`):                                 "products",
		strings.Replace(open(`{}`), `"author":"a"`, `"author":""`, 1):                                              "author: it is missing",
		cdx(""): "there is none",
		cdx(`{"id":"CVE-1","analysis":{"state":"odd"}}`):                                "vulnerabilities[0].analysis.state",
		cdx(`{"id":"CVE-1","analysis":{"state":"not_affected","justification":"odd"}}`): "vulnerabilities[0].analysis.justification",
		strings.Replace(cdx("{}"), "1.6", "1.1", 1):                                     "specVersion",
		`{"document":{"tracking":{"id":"x"}}}`:                                          "vulnerabilities: there is none",
	} {
		doc, err := vex.Parse([]byte(text))
		if doc != nil || !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.100q: %v, want %q", text, err, want)
		}
	}
	many := open(strings.Repeat(`{"vulnerability":{"name":"CVE-1"},"status":"fixed"},`, 50_000) + `{"vulnerability":{"name":"CVE-1"},"status":"fixed"}`)
	if _, err := vex.Parse([]byte(many)); !fault.Is(err, fault.TooLarge) {
		t.Errorf("50,001 statements: %v", err)
	}
	products := strings.Repeat(`{"@id":"pkg:a/b"},`, 200_000) + `{"@id":"pkg:a/b"}`
	if _, err := vex.Parse([]byte(open(`{"vulnerability":{"name":"CVE-1"},"status":"fixed","products":[` + products + `]}`))); !fault.Is(err, fault.TooLarge) {
		t.Errorf("200,001 products: %v", err)
	}
	if _, err := vex.Parse(make([]byte, vex.MaxDocument+1)); !fault.Is(err, fault.TooLarge) {
		t.Errorf("too many bytes: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, file := range []string{"openvex-old.json", "cyclonedx-1.4.json", "csaf.json"} {
		f.Add(read(f, file))
	}
	for _, write := range []func(vex.Document) ([]byte, error){vex.WriteOpenVEX, vex.WriteCycloneDX} {
		f.Add(must(write(sample()))(f))
	}
	hit := finding.Finding{ID: "CVE-1", Ecosystem: "Debian:12", Package: "openssl", Version: "1", PURL: "pkg:deb/debian/libssl3@1", Binaries: []string{"libssl3"}}
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := vex.Parse(data)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid && fault.KindOf(err) != fault.TooLarge {
				t.Fatalf("kind of %v", err)
			}
			return
		}
		doc.ApplyTo(vex.Target{Digests: []string{"sha256:x"}, Name: "x"}, []finding.Finding{hit})
		for _, write := range []func(vex.Document) ([]byte, error){vex.WriteOpenVEX, vex.WriteCycloneDX} {
			text, err := write(*doc)
			if err == nil && !bytes.HasSuffix(text, []byte("}\n")) {
				t.Fatalf("written: %s", text)
			}
		}
	})
}

func FuzzPURL(f *testing.F) {
	for _, text := range []string{
		"pkg:deb/debian/libstdc%2B%2B6@12.2.0-14%2Bdeb12u1?arch=amd64&distro=debian-12", "pkg:npm/%40scope/name@1.0.0", "pkg:npm/@scope/name",
		"pkg:golang/golang.org/x/net@v0.1.0", "pkg:oci/shop@sha256%3Aabc?repository_url=x.example/y", "pkg:maven/a/b@1", "pkg:", "pkg:a", "pkg:a/", "pkg:a/b?%zz", "pkg:a/b@",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := vex.ParsePURL(text)
		if err != nil {
			return
		}
		again, err := vex.ParsePURL(p.String())
		if err != nil {
			t.Fatalf("%q written as %q: %v", text, p.String(), err)
		}
		if diff := cmp.Diff(p, again); diff != "" {
			t.Fatalf("%q written as %q:\n%s", text, p.String(), diff)
		}
	})
}
