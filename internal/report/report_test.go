// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package report_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdxlib"

	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/report"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

var update = flag.Bool("update", false, "write the golden files")

var now = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)

const planted = "hunter2-planted-credential"

// sample is a Result with something in every section.
func sample() report.Result {
	notLinked, running := false, true
	ev := verdict.Evidence{
		Image: verdict.Image{
			Name: "registry.example/payments:1.2", ID: "sha256:" + strings.Repeat("ab", 32), Platform: "linux/amd64", Kind: "image",
			Created: now.Add(-240 * time.Hour), User: "1000", Base: "debian:12", Owner: "payments-team", Contact: "#payments",
			Labels: map[string]string{"team": "payments", "build.token": planted}, Ports: []string{"8080/tcp"},
		},
		OS: component.OS{ID: "debian", VersionID: "12", Name: "Debian GNU/Linux 12 (bookworm)", Ecosystem: "Debian:12"},
		Components: []component.Component{
			{PURL: "pkg:deb/debian/libssl3@3.0.15-1?arch=amd64", Ecosystem: "Debian:12", Name: "libssl3", Version: "3.0.15-1", Source: "openssl", SourceVersion: "3.0.15-1", Path: "var/lib/dpkg/status", Layer: "sha256:l0", Licenses: []string{"Apache-2.0", "Apache-2.0", "odd licence"}},
			{PURL: "pkg:golang/golang.org/x/net@0.20.0", Ecosystem: "Go", Name: "golang.org/x/net", Version: "0.20.0", Path: "app/payments", Layer: "sha256:l2", LayerIndex: 2},
			{PURL: "pkg:golang/example.com/payments", Ecosystem: "Go", Name: "example.com/payments", Path: "app/payments", Layer: "sha256:l2", LayerIndex: 2, Main: true},
			{PURL: "pkg:pypi/idna@3.3", Name: "idna", Version: "3.3", Path: "usr/lib/python3/idna", Layer: "sha256:l1", LayerIndex: 1, Owner: "python3-idna"},
		},
		Facts: []component.Fact{
			{Kind: component.Shell, Path: "bin/bash"},
			{Kind: component.Shell, Path: "bin/sh", LayerIndex: 1, Deleted: true},
			{Kind: component.EmbeddedSecret, Path: "root/.ssh/id_rsa", Detail: "RSA private key", LayerIndex: 1, Deleted: true},
			{Kind: component.EmbeddedSecret, Path: "label build.token", Detail: "token"},
		},
		Findings: []finding.Finding{
			{ID: "DSA-5931-1", Aliases: []string{"CVE-2026-1", "CVE-2026-0"}, Ecosystem: "Debian:12", Package: "openssl", Version: "3.0.15-1", PURL: "pkg:deb/debian/libssl3@3.0.15-1?arch=amd64", Path: "var/lib/dpkg/status", Fixed: "3.0.17-1", Score: 9.8, Severity: "critical", Exploited: true, Due: now.AddDate(0, 0, 7), EPSS: 0.91, Vectors: []string{"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}, Reach: finding.Listening, Executed: &running, Since: now.Add(-48 * time.Hour), Summary: "memory corruption", URL: "https://security.example/DSA-5931-1", Why: "3.0.15-1 < 3.0.17-1"},
			{ID: "GO-2026-7", Ecosystem: "Go", Package: "golang.org/x/net", Version: "0.20.0", PURL: "pkg:golang/golang.org/x/net@0.20.0", Path: "app/payments", LayerIndex: 2, Fixed: "0.55.0", Severity: "unknown", Linked: &notLinked, Since: now, URL: "javascript:alert(1)"},
			{ID: "CVE-2020-9", Ecosystem: "Debian:12", Package: "openssl", Version: "3.0.15-1", Path: "var/lib/dpkg/status", Severity: "low", Score: 2.1, Hidden: "unimportant"},
			{ID: "GHSA-1", Aliases: []string{"CVE-2026-7"}, Ecosystem: "Go", Package: "golang.org/x/net", Version: "0.20.0", PURL: "pkg:golang/golang.org/x/net@0.20.0", Path: "app/payments", LayerIndex: 2, Fixed: "0.60.0", Severity: "critical", Score: 9.1},
			{ID: "CVE-2026-8", Ecosystem: "Debian:12", Package: "openssl", Version: "3.0.15-1", PURL: "pkg:deb/debian/libssl3@3.0.15-1?arch=amd64", Path: "var/lib/dpkg/status", Severity: "high", Score: 7.5},
			{ID: "CVE-2025-3", Vendor: "under investigation says debian (https://example.com/vex)", Ecosystem: "Debian:12", Package: "zlib", Version: "1.2", PURL: "pkg:deb/debian/zlib1g@1.2", Path: "var/lib/dpkg/status", Severity: "medium", Score: 5.5},
		},
		Gaps: []finding.Gap{{Component: "pkg:pypi/idna@3.3", Reason: "owned by a package of another vendor"}},
		Problems: []component.Problem{
			{Path: "opt/a.jar", Reason: "not read yet", Fatal: true},
			{Path: "opt/b.jar", Reason: "not read yet", Fatal: true},
			{Path: "opt/odd.json", Reason: "not understood"},
		},
		PartialFeeds: []string{"Debian: records that could not be read: 1 (DSA-1: no JSON)"},
		Triage: []verdict.Triage{
			{ID: "t1", Finding: "CVE-2026-7", Status: verdict.NotAffected, Justification: "vulnerable_code_not_in_execute_path", Reason: "HTTP/2 is off", Author: "ada", Expires: now.AddDate(0, 0, 9)},
			{ID: "t2", Finding: "CVE-2026-8", Status: verdict.Accepted, Reason: "behind the proxy", Author: "bob", Expires: now.AddDate(0, 1, 0)},
			{ID: "t3", Finding: "CVE-2025-3", Status: verdict.NotAffected, Author: "mallory", Expires: now},
			{ID: "t5", Finding: "CVE-2020-9", Status: verdict.Accepted, Author: "ada", Expires: now.AddDate(0, 1, 0)},
			{ID: "t4", Finding: "GO-2026-7", Status: verdict.Fixing, Author: "mallory", Expires: now.AddDate(0, 1, 0)},
		},
		Snapshot: "sha256:snapshot", SnapshotAt: now.Add(-time.Hour),
	}
	v := verdict.Evaluate(verdict.Default(), ev, now)
	return report.Result{Evidence: ev, Verdict: &v, Time: now, Version: "1.2.3"}
}

func write(t *testing.T, format string, r report.Result, o report.Options) string {
	t.Helper()
	var out bytes.Buffer
	if err := report.Write(&out, format, r, o); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestGolden(t *testing.T) {
	for _, format := range report.Formats {
		t.Run(format, func(t *testing.T) {
			got := write(t, format, sample(), report.Options{})
			file := filepath.Join("testdata", "sample."+format)
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("differs from %s (go test -update writes it anew):\n%s", file, diff)
			}
		})
	}
}

func TestSameResultSameBytes(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	for _, format := range report.Formats {
		want := write(t, format, sample(), report.Options{All: true})
		for range 20 {
			other := sample()
			mix(r, other.Evidence.Components)
			mix(r, other.Evidence.Findings)
			mix(r, other.Evidence.Facts)
			if got := write(t, format, other, report.Options{All: true}); got != want {
				t.Fatalf("%s: order changes the report:\n%s", format, cmp.Diff(want, got))
			}
		}
	}
}

func mix[T any](r *rand.Rand, list []T) {
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
}

// schemas compiles an official schema with those it refers to.
func schemas(t *testing.T, main string) *jsonschema.Schema {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	files := map[string]string{
		"http://cyclonedx.org/schema/bom-1.6.schema.json":                                                "bom-1.6.schema.json",
		"http://cyclonedx.org/schema/jsf-0.82.schema.json":                                               "jsf-0.82.schemax.json",
		"http://cyclonedx.org/schema/spdx.schema.json":                                                   "spdx.schema.json",
		"https://raw.githubusercontent.com/oasis-tcs/sarif-spec/master/Schemata/sarif-schema-2.1.0.json": "sarif-schema-2.1.0.json",
		"http://spdx.org/rdf/terms/2.3":                                                                  "spdx-schema-2.3.json",
	}
	id := ""
	for address, file := range files {
		text, err := os.Open(filepath.Join("testdata", "schema", file))
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := compiler.AddResource(address, doc); err != nil {
			t.Fatal(err)
		}
		if file == main {
			id = address
		}
	}
	schema, err := compiler.Compile(id)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// results are what every machine format must be valid for.
func results() map[string]report.Result {
	hostile := sample()
	for i := range hostile.Evidence.Findings {
		f := &hostile.Evidence.Findings[i]
		f.Path, f.Package, f.URL, f.Summary = "a b/\x1b[2J%zz:\xff/../c", "\u202eevil\n", "ht tp://%", ""
	}
	for i := range hostile.Evidence.Components {
		hostile.Evidence.Components[i].Name = "\x00\xff"
		hostile.Evidence.Components[i].Licenses = []string{"", "MIT AND", "x"}
	}
	hostile.Evidence.Components = append(hostile.Evidence.Components, hostile.Evidence.Components...)
	hostile.Evidence.Findings = append(hostile.Evidence.Findings, hostile.Evidence.Findings...)
	hostile.Evidence.Facts = append(hostile.Evidence.Facts, component.Fact{Kind: component.RootUser}, component.Fact{Kind: component.Shell, Path: "c:/x"})
	scratch := report.Result{Time: now, Version: "1", Evidence: verdict.Evidence{Image: verdict.Image{ID: "sha256:" + strings.Repeat("0", 64), Platform: "linux/arm64/v8"}}}
	partial := sample()
	partial.Evidence.Problems = append(partial.Evidence.Problems, component.Problem{Path: "lib.jar", Reason: "\x1b[31m", Uncovered: true})
	partial.Evidence.OS = component.OS{ID: "odd os", VersionID: "\u202e1", Name: "\"quoted\""}
	odd := sample()
	odd.Evidence.Components = nil
	for i, license := range []string{"MIT", "GPL-2.0+ AND (MIT OR Apache-2.0)", "LicenseRef-x", "see /usr/share/doc", "NOASSERTION", strings.Repeat("long ", 2000), "\u00e9\u4e2d"} {
		for _, purl := range []string{"", "pkg:npm/%40scope/name@1.0.0", "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14%2Bdeb12u1?arch=amd64&distro=debian-12", "pkg:generic/a b", "no purl at all"} {
			odd.Evidence.Components = append(odd.Evidence.Components, component.Component{Name: fmt.Sprint("odd", i), Version: "1:2+b~c", PURL: purl, Licenses: []string{license, license}})
		}
	}
	return map[string]report.Result{
		"sample": sample(), "empty": {Time: now, Version: "1"}, "hostile": hostile, "scratch": scratch, "partial": partial, "odd": odd,
	}
}

// TestSARIFSuitsGitHub holds what GitHub's code scanning asks of a file beyond
// the format (docs.github.com, "SARIF support for code scanning").
func TestSARIFSuitsGitHub(t *testing.T) {
	for name, r := range results() {
		var doc struct {
			Runs []struct {
				Automation struct{ ID string } `json:"automationDetails"`
				Tool       struct {
					Driver struct {
						Rules []struct {
							ID                string
							Short, Full, Help struct{ Text string }
							Properties        struct {
								Tags     []string
								Severity string `json:"security-severity"`
							}
						}
					}
				}
				Results []struct {
					RuleID, Level       string
					RuleIndex           int
					PartialFingerprints map[string]string
					Locations           []struct {
						PhysicalLocation struct {
							ArtifactLocation struct{ URI string }
							Region           struct{ StartLine int }
						}
					}
				}
			}
		}
		text := write(t, "sarif", r, report.Options{})
		text = strings.NewReplacer(`"shortDescription"`, `"short"`, `"fullDescription"`, `"full"`).Replace(text)
		if err := json.Unmarshal([]byte(text), &doc); err != nil {
			t.Fatal(err)
		}
		run := doc.Runs[0]
		if !strings.HasSuffix(run.Automation.ID, "/") {
			t.Errorf("%s: category %q", name, run.Automation.ID)
		}
		for _, rule := range run.Tool.Driver.Rules {
			if rule.ID == "" || rule.Short.Text == "" || rule.Full.Text == "" || rule.Help.Text == "" || len(rule.Properties.Tags) == 0 || len(rule.Properties.Tags) > 20 {
				t.Errorf("%s: rule %+v", name, rule)
			}
			if score := rule.Properties.Severity; score != "" && !regexp.MustCompile(`^(10|[0-9])\.[0-9]$`).MatchString(score) {
				t.Errorf("%s: rule %s: score %q", name, rule.ID, score)
			}
		}
		for _, result := range run.Results {
			place := result.Locations[0].PhysicalLocation
			if result.PartialFingerprints["primaryLocationLineHash"] == "" || place.ArtifactLocation.URI == "" || place.Region.StartLine < 1 ||
				run.Tool.Driver.Rules[result.RuleIndex].ID != result.RuleID || strings.Contains(place.ArtifactLocation.URI, "..") && name != "hostile" {
				t.Errorf("%s: result %+v", name, result)
			}
		}
	}
}

func TestOfficialSchemas(t *testing.T) {
	for format, file := range map[string]string{"cyclonedx": "bom-1.6.schema.json", "spdx": "spdx-schema-2.3.json", "sarif": "sarif-schema-2.1.0.json"} {
		schema := schemas(t, file)
		for name, r := range results() {
			text := write(t, format, r, report.Options{})
			doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			if err := schema.Validate(doc); err != nil {
				t.Errorf("%s of %s: %v", format, name, err)
			}
		}
		if err := schema.Validate(map[string]any{"version": 7}); err == nil {
			t.Errorf("the %s schema accepts anything: this test cannot fail", format)
		}
	}
}

// TestSPDXIsReadByOthers has the SPDX project's own library read and check it.
func TestSPDXIsReadByOthers(t *testing.T) {
	for name, r := range results() {
		doc, err := spdxjson.Read(strings.NewReader(write(t, "spdx", r, report.Options{})))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := spdxlib.ValidateDocument(doc); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		want := len(r.Evidence.Components) + 1
		if r.Evidence.OS.ID != "" {
			want++
		}
		if len(doc.Packages) != want {
			t.Errorf("%s: %d packages, want %d", name, len(doc.Packages), want)
		}
		ids := map[string]bool{}
		for _, p := range doc.Packages {
			id := string(p.PackageSPDXIdentifier)
			if ids[id] || !regexp.MustCompile(`^[A-Za-z0-9.-]+$`).MatchString(id) {
				t.Errorf("%s: identifier %q is not good or there twice", name, id)
			}
			ids[id] = true
		}
	}
}

func TestNothingSecretIsShown(t *testing.T) {
	for _, format := range report.Formats {
		if strings.Contains(write(t, format, sample(), report.Options{All: true}), planted) {
			t.Errorf("%s shows a credential", format)
		}
	}
	r := sample()
	write(t, "json", r, report.Options{})
	if r.Evidence.Image.Labels["build.token"] != planted {
		t.Error("reporting changed the evidence")
	}
}

// TestTableIsSafe puts terminal commands into every text of the evidence.
func TestTableIsSafe(t *testing.T) {
	const evil = "\x1b[2J\x1b]0;owned\a\u009b31m\r\n\u202e\x00\u200b"
	text, err := json.Marshal(sample().Evidence)
	if err != nil {
		t.Fatal(err)
	}
	var any any
	if err := json.Unmarshal(text, &any); err != nil {
		t.Fatal(err)
	}
	text, err = json.Marshal(poison(any, evil))
	if err != nil {
		t.Fatal(err)
	}
	var r report.Result
	if err := json.Unmarshal(text, &r.Evidence); err != nil {
		t.Fatal(err)
	}
	v := verdict.Evaluate(verdict.Default(), r.Evidence, now)
	v.Environment, v.Admit.Reasons[0].Text, v.Admit.Reasons[0].Owner = evil, evil, evil
	r.Verdict = &v
	ours := regexp.MustCompile("\x1b\\[(0|1|31|32|33)m")
	for _, color := range []bool{false, true} {
		out := write(t, "table", r, report.Options{All: true, Color: color, Width: 100})
		if color {
			if !ours.MatchString(out) {
				t.Error("no colours")
			}
			out = ours.ReplaceAllString(out, "")
		}
		if i := strings.IndexAny(out, "\x1b\a\r\x00\u009b\u202e\u200b"); i >= 0 {
			t.Errorf("not safe: %q", out[max(0, i-40):i+10])
		}
	}
}

// poison appends evil to every text that is not a time or a fixed word.
func poison(v any, evil string) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = poison(v[k], evil)
		}
	case []any:
		for i := range v {
			v[i] = poison(v[i], evil)
		}
	case string:
		if _, err := time.Parse(time.RFC3339, v); err == nil {
			return v
		}
		return v + evil
	}
	return v
}

// TestExcusedFindingsDoNotCount holds that what somebody decided for a limited
// time is told from what counts, in every format.
func TestExcusedFindingsDoNotCount(t *testing.T) {
	for _, all := range []bool{false, true} {
		table := write(t, "table", sample(), report.Options{All: all})
		for _, want := range []string{"3 findings: 1 critical, ", "2 not counted by decision; 1 not counted (--all", "(not counted: not affected until 2026-12-01 08:00 UTC by ada: vulnerable code not in execute path: HTTP/2 is off)", "(not counted: accepted until 2026-12-22 08:00 UTC by bob: behind the proxy)"} {
			if !strings.Contains(table, want) {
				t.Errorf("the table lacks %q:\n%s", want, table)
			}
		}
		if strings.Contains(table, "mallory") {
			t.Error("an expired decision, or a promise, excuses")
		}
	}
	var sarif struct {
		Runs []struct {
			Results []struct {
				RuleID       string
				Suppressions []struct{ Kind, Justification string }
			}
		}
	}
	decode(t, write(t, "sarif", sample(), report.Options{}), &sarif)
	suppressed := map[string]string{}
	for _, r := range sarif.Runs[0].Results {
		for _, s := range r.Suppressions {
			suppressed[r.RuleID] = s.Kind + " " + s.Justification
		}
	}
	want := map[string]string{
		"GHSA-1":     "external not affected until 2026-12-01 08:00 UTC by ada: vulnerable code not in execute path: HTTP/2 is off",
		"CVE-2026-8": "external accepted until 2026-12-22 08:00 UTC by bob: behind the proxy",
	}
	if diff := cmp.Diff(want, suppressed); diff != "" {
		t.Errorf("sarif: %s", diff)
	}
	var bom struct {
		Vulnerabilities []struct {
			ID       string
			Analysis struct{ State string }
		}
	}
	decode(t, write(t, "cyclonedx", sample(), report.Options{}), &bom)
	states := map[string]string{}
	for _, v := range bom.Vulnerabilities {
		states[v.ID] = v.Analysis.State
	}
	if diff := cmp.Diff(map[string]string{"DSA-5931-1": "", "GO-2026-7": "exploitable", "CVE-2025-3": "", "GHSA-1": "not_affected", "CVE-2026-8": "exploitable"}, states); diff != "" {
		t.Errorf("cyclonedx: %s", diff)
	}
}

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatal(err)
	}
}

func TestTableWidth(t *testing.T) {
	colours := regexp.MustCompile("\x1b\\[[0-9]+m")
	for _, width := range []int{20, 60, 100} {
		for _, color := range []bool{false, true} {
			out := write(t, "table", sample(), report.Options{Width: width, Color: color, All: true})
			for line := range strings.SplitSeq(out, "\n") {
				if n := len([]rune(colours.ReplaceAllString(line, ""))); n > width {
					t.Errorf("width %d: a line has %d characters: %q", width, n, line)
				}
			}
		}
	}
}

func TestTableTellsWhatIsMissing(t *testing.T) {
	r := sample()
	r.Evidence.Snapshot, r.Verdict = "", nil
	out := write(t, "table", r, report.Options{})
	if !strings.Contains(out, "not known: there is no advisory database") || strings.Contains(out, "none known") || strings.Contains(out, "VERDICT") {
		t.Errorf("got:\n%s", out)
	}
	for range 100 {
		r.Evidence.Findings = append(r.Evidence.Findings, r.Evidence.Findings[5])
	}
	if out := write(t, "table", r, report.Options{}); !strings.Contains(out, "and 73 less urgent findings (--all shows them)") {
		t.Errorf("got:\n%s", out)
	}
}

func TestWriteRefusesOtherFormats(t *testing.T) {
	if err := report.Write(&bytes.Buffer{}, "xml", sample(), report.Options{}); !fault.Is(err, fault.Invalid) || fault.HintOf(err) == "" {
		t.Errorf("got %v", err)
	}
}

// TestJSONContract holds that the fields docs/check-json.md promises are there.
func TestJSONContract(t *testing.T) {
	page, err := os.ReadFile("../../docs/check-json.md")
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal([]byte(write(t, "json", sample(), report.Options{})), &doc); err != nil {
		t.Fatal(err)
	}
	if doc["schema"] != report.Schema {
		t.Errorf("schema is %v", doc["schema"])
	}
	rows := regexp.MustCompile("(?m)^\\| `([a-zA-Z.]+)` \\|").FindAllStringSubmatch(string(page), -1)
	if len(rows) < 20 {
		t.Fatalf("only %d fields documented", len(rows))
	}
	documented := map[string]bool{}
	for _, row := range rows {
		top, _, _ := strings.Cut(row[1], ".")
		documented[top] = true
		if !reach(doc, strings.Split(row[1], ".")) {
			t.Errorf("documented field %s is not there", row[1])
		}
	}
	for field := range doc {
		if !documented[field] {
			t.Errorf("field %s is not documented", field)
		}
	}
}

// reach follows a path; of lists some item must have it.
func reach(v any, path []string) bool {
	if len(path) == 0 {
		return true
	}
	switch v := v.(type) {
	case map[string]any:
		next, ok := v[path[0]]
		return ok && reach(next, path[1:])
	case []any:
		for _, item := range v {
			if reach(item, path) {
				return true
			}
		}
	}
	return false
}
