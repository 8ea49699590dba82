// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package report_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/goldkeep/goldkeep/internal/dockerfile"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/report"
)

func TestLint(t *testing.T) {
	text := "FROM debian\n# goldkeep ignore add-url: ours\nADD https://x.internal/a /a\nRUN sudo true\nRUN sudo true\nRUN curl x | sh # \u202e\x1b[2J\n"
	checked, err := dockerfile.Check(strings.NewReader(text), dockerfile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	lint := report.Lint{File: "a b/Dockerfile", Result: *checked, Time: now, Version: "1"}
	write := func(format string, o report.Options) string {
		var out bytes.Buffer
		if err := report.WriteLint(&out, format, lint, o); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	table := write("table", report.Options{})
	for _, want := range []string{"built on  debian", "line 1  high  from-latest", "instead: FROM name:tag", "1 ignored in the file", "FAILED"} {
		if !strings.Contains(table, want) {
			t.Errorf("the table misses %q:\n%s", want, table)
		}
	}
	if strings.Contains(table, "add-url") || !strings.Contains(write("table", report.Options{All: true}), "ignored: ours") || strings.ContainsAny(table, "\x1b\u202e") {
		t.Errorf("got:\n%s", table)
	}
	sarif := write("sarif", report.Options{})
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(sarif))
	if err != nil {
		t.Fatal(err)
	}
	if err := schemas(t, "sarif-schema-2.1.0.json").Validate(doc); err != nil {
		t.Error(err)
	}
	for _, want := range []string{`"startLine": 3`, `"kind": "inSource"`, `"a%20b/Dockerfile"`, `"justification": "ours"`} {
		if !strings.Contains(sarif, want) {
			t.Errorf("SARIF misses %s", want)
		}
	}
	if text := write("json", report.Options{}); !strings.Contains(text, `"schema": "goldkeep.dev/dockerfile/v1"`) || !strings.Contains(text, `"failed": true`) {
		t.Errorf("got %s", text)
	}
	if err := report.WriteLint(&bytes.Buffer{}, "spdx", lint, report.Options{}); !fault.Is(err, fault.Invalid) {
		t.Errorf("got %v", err)
	}
}
