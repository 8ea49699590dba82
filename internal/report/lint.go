// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/dockerfile"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// Lint is what there is to report of a Dockerfile.
type Lint struct {
	File    string // as it was named
	Result  dockerfile.Result
	Time    time.Time
	Version string // of Goldkeep
}

// LintSchema names the form of JSON reports on Dockerfiles.
const LintSchema = "goldkeep.dev/dockerfile/v1"

// WriteLint writes a Lint as table, json or sarif. Another format is an error of
// the kind Invalid.
func WriteLint(w io.Writer, format string, l Lint, o Options) error {
	switch format {
	case "table", "":
		return lintTable(w, l, o)
	case "json":
		return encode(w, struct {
			Schema  string `json:"schema"`
			Version string `json:"version"`
			File    string `json:"file"`
			Failed  bool   `json:"failed"`
			dockerfile.Result
		}{LintSchema, l.Version, l.File, l.Result.Failed(), l.Result})
	case "sarif":
		return lintSARIF(w, l)
	}
	return fault.New(fault.Invalid, "a Dockerfile cannot be reported as %q", format).WithHint("use one of table, json, sarif")
}

func lintTable(w io.Writer, l Lint, o Options) error {
	p := &page{options: o}
	p.heading("DOCKERFILE", l.File)
	for _, b := range l.Result.Bases {
		if b.Last && b.Image != "" {
			p.pairs("built on", b.Image)
		}
	}
	counts, ignored := map[dockerfile.Severity]int{}, 0
	for _, f := range l.Result.Findings {
		if f.Ignored != "" {
			ignored++
			continue
		}
		counts[f.Severity]++
	}
	p.heading("FINDINGS", fmt.Sprintf("%d high, %d medium, %d low; %d ignored in the file", counts[dockerfile.High], counts[dockerfile.Medium], counts[dockerfile.Low], ignored))
	for _, f := range l.Result.Findings {
		if f.Ignored != "" && !o.All {
			continue
		}
		colour := map[dockerfile.Severity]colour{dockerfile.High: red, dockerfile.Medium: yellow}[f.Severity]
		p.line(fmt.Sprintf("  line %d  ", f.Line) + p.paint(cell{string(f.Severity), colour}) + "  " + clean(f.Rule+": "+f.What))
		if f.Ignored != "" {
			p.line("          ignored: " + clean(f.Ignored))
			continue
		}
		p.line("          why: " + clean(f.Why))
		p.line("          instead: " + clean(f.Instead))
	}
	answer := cell{"PASSED", green}
	if l.Result.Failed() {
		answer = cell{"FAILED", red}
	}
	p.text.WriteByte('\n')
	p.line(p.paint(answer))
	_, err := io.WriteString(w, p.text.String())
	return err
}

func lintSARIF(w io.Writer, l Lint) error {
	s := &sarifWriter{rules: map[string]int{}, list: []sarifRule{}, results: []sarifResult{}}
	seen := map[string]int{}
	for _, f := range l.Result.Findings {
		rule := sarifRule{
			ID: "dockerfile/" + f.Rule, Short: sarifText{titleOf(f.Rule)}, Help: sarifText{f.Why + ". Write instead: " + f.Instead},
			Properties: map[string]any{"tags": []string{"security", "dockerfile"}, "security-severity": lintScores[f.Severity]},
		}
		var suppressions []sarifSuppression
		if f.Ignored != "" {
			suppressions = []sarifSuppression{{Kind: "inSource", Justification: f.Ignored}}
		}
		key := f.Stage + "\x00" + f.What
		seen[f.Rule+key]++ // the same twice: two results
		result := sarifResult{Level: lintLevels[f.Severity], Message: sarifText{f.What + ": " + f.Why}, Suppressions: suppressions}
		s.addAt(rule, result, place{path: l.File, line: f.Line, key: fmt.Sprint(key, seen[f.Rule+key])})
	}
	return encode(w, sarifLogOf(sarifRun{
		Tool:        s.tool(l.Version),
		Automation:  &sarifAutomation{"goldkeep/dockerfile/" + uriOf(strings.TrimPrefix(l.File, "./")) + "/"},
		Invocations: []sarifInvocation{{OK: true, End: l.Time.UTC().Format(time.RFC3339)}},
		Results:     s.results,
	}))
}

var (
	lintLevels = map[dockerfile.Severity]string{dockerfile.High: "error", dockerfile.Medium: "warning", dockerfile.Low: "note"}
	lintScores = map[dockerfile.Severity]string{dockerfile.High: "8.0", dockerfile.Medium: "5.0", dockerfile.Low: "2.0"}
)

func titleOf(id string) string {
	for _, r := range dockerfile.Rules {
		if r.ID == id {
			return r.Title
		}
	}
	return id
}
