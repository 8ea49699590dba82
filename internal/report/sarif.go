// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

type sarifLog struct {
	Schema  string     `json:"$schema"`
	Version string     `json:"version"`
	Runs    []sarifRun `json:"runs"`
}

type sarifRun struct {
	Tool        sarifTool         `json:"tool"`
	Invocations []sarifInvocation `json:"invocations"`
	Results     []sarifResult     `json:"results"`
}

type sarifTool struct {
	Driver sarifDriver `json:"driver"`
}

type sarifDriver struct {
	Name    string      `json:"name"`
	Version string      `json:"version,omitempty"`
	Rules   []sarifRule `json:"rules"`
}

type sarifRule struct {
	ID         string         `json:"id"`
	Short      sarifText      `json:"shortDescription"`
	Help       *sarifText     `json:"help,omitempty"`
	HelpURI    string         `json:"helpUri,omitempty"`
	Properties map[string]any `json:"properties,omitempty"`
}

type sarifText struct {
	Text string `json:"text"`
}

type sarifInvocation struct {
	OK            bool                `json:"executionSuccessful"`
	End           string              `json:"endTimeUtc"`
	Notifications []sarifNotification `json:"toolExecutionNotifications,omitempty"`
}

type sarifNotification struct {
	Level   string    `json:"level"`
	Message sarifText `json:"message"`
}

type sarifResult struct {
	Rule         string             `json:"ruleId"`
	Index        int                `json:"ruleIndex"`
	Level        string             `json:"level"`
	Message      sarifText          `json:"message"`
	Locations    []sarifLocation    `json:"locations"`
	Fingerprints map[string]string  `json:"partialFingerprints"`
	Suppressions []sarifSuppression `json:"suppressions,omitempty"`
}

// sarifSuppression says that a result needs no action, and who decided so.
type sarifSuppression struct {
	Kind          string `json:"kind"`
	Justification string `json:"justification"`
}

type sarifLocation struct {
	Physical sarifPhysical  `json:"physicalLocation"`
	Logical  []sarifLogical `json:"logicalLocations,omitempty"`
}

type sarifPhysical struct {
	Artifact sarifArtifact `json:"artifactLocation"`
}

type sarifArtifact struct {
	URI string `json:"uri"`
}

type sarifLogical struct {
	Name string `json:"fullyQualifiedName"`
}

// SARIF writes findings, hygiene and failed rules as SARIF 2.1.0
// (https://docs.oasis-open.org/sarif/sarif/v2.1.0/). What could not be read or is
// covered by no feed is a notification of the run.
func SARIF(w io.Writer, r Result) error {
	ev := presentable(r)
	s := &sarifWriter{rules: map[string]int{}, list: []sarifRule{}, results: []sarifResult{}}
	for _, f := range counted(ev.Findings) {
		s.finding(f, nil)
	}
	for _, e := range ev.excused {
		s.finding(e.Finding, []sarifSuppression{{Kind: "external", Justification: decision(e.by)}})
	}
	for _, f := range ev.Facts {
		s.fact(f)
	}
	if r.Verdict != nil {
		for _, reason := range r.Verdict.Admit.Reasons {
			s.reason(r.Verdict.Environment, reason)
		}
	}
	run := sarifRun{
		Tool:        sarifTool{sarifDriver{Name: "goldkeep", Version: r.Version, Rules: s.list}},
		Invocations: []sarifInvocation{invocation(ev, r.Time)},
		Results:     s.results,
	}
	return encode(w, sarifLog{Schema: "https://json.schemastore.org/sarif-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{run}})
}

func invocation(ev contents, end time.Time) sarifInvocation {
	inv := sarifInvocation{OK: true, End: end.UTC().Format(time.RFC3339)}
	for _, p := range unread(ev.Problems) {
		level := "warning"
		if p.Fatal {
			level, inv.OK = "error", false
		}
		inv.Notifications = append(inv.Notifications, sarifNotification{level, sarifText{"not read: " + p.Path + ": " + p.Reason}})
	}
	for _, g := range ev.Gaps {
		inv.Notifications = append(inv.Notifications, sarifNotification{"warning", sarifText{"not covered by any feed: " + g.Component + ": " + g.Reason}})
	}
	for _, feed := range ev.PartialFeeds {
		inv.Notifications = append(inv.Notifications, sarifNotification{"warning", sarifText{"advisories read in part: " + feed}})
	}
	return inv
}

type sarifWriter struct {
	rules   map[string]int // index in list
	list    []sarifRule
	results []sarifResult
}

// add adds a result; the first result of a rule brings the rule.
func (s *sarifWriter) add(rule sarifRule, result sarifResult, path, logical string) {
	index, known := s.rules[rule.ID]
	if !known {
		index = len(s.list)
		s.rules[rule.ID] = index
		s.list = append(s.list, rule)
	}
	location := sarifLocation{Physical: sarifPhysical{sarifArtifact{uriOf(path)}}}
	if logical != "" {
		location.Logical = []sarifLogical{{logical}}
	}
	result.Rule, result.Index, result.Locations = rule.ID, index, []sarifLocation{location}
	result.Fingerprints = map[string]string{"goldkeep/v1": digest(rule.ID + "\x00" + path + "\x00" + logical)}
	s.results = append(s.results, result)
}

func (s *sarifWriter) finding(f finding.Finding, suppressions []sarifSuppression) {
	rule := sarifRule{ID: f.ID, Short: sarifText{cmp.Or(f.Summary, f.ID+" in "+f.Package)}, Properties: map[string]any{"tags": []string{"security", "vulnerability"}}}
	if f.Score > 0 {
		rule.Properties["security-severity"] = fmt.Sprintf("%.1f", f.Score)
	}
	rule.HelpURI = sourceOf(f.ID, f.URL).URL
	text := f.Package + " " + f.Version + " is hit by " + f.ID
	if f.Exploited {
		text += ", known to be exploited"
	}
	if f.Fixed != "" {
		text += "; upgrade to " + f.Fixed
	} else {
		text += "; no fix is published"
	}
	s.add(rule, sarifResult{Level: sarifLevel(f), Message: sarifText{text}, Suppressions: suppressions}, f.Path, f.PURL)
}

func sarifLevel(f finding.Finding) string {
	switch {
	case f.Exploited || f.Severity == "critical" || f.Severity == "high":
		return "error"
	case f.Severity == "low" || f.Severity == "none":
		return "note"
	}
	return "warning"
}

func (s *sarifWriter) fact(f component.Fact) {
	if f.Deleted && f.Kind != component.EmbeddedSecret {
		return
	}
	level := "note"
	if f.Kind == component.EmbeddedSecret {
		level = "error"
	}
	text := string(f.Kind) + ": " + f.Path
	if f.Detail != "" {
		text += " (" + f.Detail + ")"
	}
	s.add(sarifRule{ID: "hygiene/" + string(f.Kind), Short: sarifText{string(f.Kind)}}, sarifResult{Level: level, Message: sarifText{text}}, f.Path, "")
}

func (s *sarifWriter) reason(environment string, r verdict.Reason) {
	level := "error"
	if r.Answer == verdict.Yes {
		level = "warning"
	}
	rule := sarifRule{ID: "verdict/" + r.Rule, Short: sarifText{"rule " + r.Rule}}
	s.add(rule, sarifResult{Level: level, Message: sarifText{environment + ": " + r.Text + "; way out: " + r.Remedy}}, "", environment)
}

// uriOf makes a relative URI of a path in the image; "image" where there is none.
func uriOf(path string) string {
	var parts []string
	for part := range strings.SplitSeq(path, "/") {
		if part != "" {
			parts = append(parts, url.PathEscape(part))
		}
	}
	if len(parts) == 0 {
		return "image"
	}
	// "./" keeps a colon in the first part from reading as a scheme.
	if strings.Contains(parts[0], ":") {
		parts[0] = "./" + parts[0]
	}
	return strings.Join(parts, "/")
}
