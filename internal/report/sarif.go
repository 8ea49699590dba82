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
	Automation  *sarifAutomation  `json:"automationDetails,omitempty"`
	Invocations []sarifInvocation `json:"invocations"`
	Results     []sarifResult     `json:"results"`
}

// sarifAutomation keeps the results of different images apart where they are kept.
type sarifAutomation struct {
	ID string `json:"id"`
}

type sarifTool struct {
	Driver sarifDriver `json:"driver"`
}

type sarifDriver struct {
	Name    string      `json:"name"`
	Version string      `json:"version,omitempty"`
	Address string      `json:"informationUri"`
	Rules   []sarifRule `json:"rules"`
}

type sarifRule struct {
	ID         string         `json:"id"`
	Short      sarifText      `json:"shortDescription"`
	Full       sarifText      `json:"fullDescription"`
	Help       sarifText      `json:"help"`
	HelpURI    string         `json:"helpUri,omitempty"`
	Default    sarifDefault   `json:"defaultConfiguration"`
	Properties map[string]any `json:"properties,omitempty"`
}

type sarifText struct {
	Text string `json:"text"`
}

type sarifDefault struct {
	Level string `json:"level"`
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
	Properties   map[string]any     `json:"properties,omitempty"`
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
	Region   sarifRegion   `json:"region"`
}

// sarifRegion is where in the file: line 1 where there is no better one, for
// some who show results want a line.
type sarifRegion struct {
	Line int `json:"startLine"`
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
		Tool:        s.tool(r.Version),
		Automation:  &sarifAutomation{"goldkeep/" + uriOf(withoutVersion(imageName(ev.Image))) + "/"},
		Invocations: []sarifInvocation{invocation(ev, r.Time)},
		Results:     s.results,
	}
	return encode(w, sarifLogOf(run))
}

func sarifLogOf(run sarifRun) sarifLog {
	return sarifLog{Schema: "https://json.schemastore.org/sarif-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{run}}
}

func (s *sarifWriter) tool(version string) sarifTool {
	return sarifTool{sarifDriver{Name: "goldkeep", Version: version, Address: "https://github.com/goldkeep/goldkeep", Rules: s.list}}
}

// withoutVersion cuts tag and digest off a name: what is fixed in the next build
// of an image is to be seen as fixed.
func withoutVersion(name string) string {
	name, _, _ = strings.Cut(name, "@")
	if tag := strings.LastIndexByte(name, ':'); tag > strings.LastIndexByte(name, '/') {
		name = name[:tag]
	}
	return name
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
	s.addAt(rule, result, place{path: path, logical: logical})
}

// place is where a result was found. One that says its key is known again by it,
// wherever its line moves.
type place struct {
	path, logical, key string
	line               int
}

func (s *sarifWriter) addAt(rule sarifRule, result sarifResult, at place) {
	index, known := s.rules[rule.ID]
	if !known {
		index = len(s.list)
		s.rules[rule.ID] = index
		rule.Default = sarifDefault{result.Level}
		if rule.Full.Text == "" {
			rule.Full = rule.Short
		}
		if rule.Help.Text == "" {
			rule.Help = rule.Full
		}
		s.list = append(s.list, rule)
	}
	location := sarifLocation{Physical: sarifPhysical{sarifArtifact{uriOf(at.path)}, sarifRegion{max(1, at.line)}}}
	if at.logical != "" {
		location.Logical = []sarifLogical{{at.logical}}
	}
	result.Rule, result.Index, result.Locations = rule.ID, index, []sarifLocation{location}
	print := digest(rule.ID + "\x00" + at.path + "\x00" + at.logical + at.key)
	// The second name is the one GitHub knows a result again by.
	result.Fingerprints = map[string]string{"goldkeep/v1": print, "primaryLocationLineHash": print}
	s.results = append(s.results, result)
}

func (s *sarifWriter) finding(f finding.Finding, suppressions []sarifSuppression) {
	rule := sarifRule{ID: f.ID, Short: sarifText{cmp.Or(f.Summary, f.ID+" in "+f.Package)}, Properties: map[string]any{"tags": []string{"security", "vulnerability"}}}
	if score := cmp.Or(f.Score, assumedScores[f.Severity]); score > 0 {
		rule.Properties["security-severity"] = fmt.Sprintf("%.1f", score)
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
	rule.Help = sarifText{text + ". " + rule.Short.Text}
	s.add(rule, sarifResult{
		Level: sarifLevel(f), Message: sarifText{text}, Suppressions: suppressions,
		Properties: map[string]any{"urgency": f.Urgency, "urgencyWhy": f.UrgencyWhy},
	}, f.Path, f.PURL)
}

// assumedScores stand in where a record states a severity and no score.
var assumedScores = map[string]float64{"critical": 9, "high": 7, "medium": 4, "low": 1}

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
	what, remedy := component.Explain(f.Kind)
	rule := sarifRule{
		ID: "hygiene/" + string(f.Kind), Short: sarifText{what}, Help: sarifText{what + ". What to do: " + remedy},
		Properties: map[string]any{"tags": []string{"security", "hygiene"}, "security-severity": factScores[level]},
	}
	s.addAt(rule, sarifResult{Level: level, Message: sarifText{text}}, place{path: f.Path, key: f.Detail})
}

// factScores order hygiene among the findings of those who sort by a score.
var factScores = map[string]string{"error": "8.0", "note": "2.0"}

func (s *sarifWriter) reason(environment string, r verdict.Reason) {
	level := "error"
	if r.Answer == verdict.Yes {
		level = "warning"
	}
	rule := sarifRule{ID: "verdict/" + r.Rule, Short: sarifText{"rule " + r.Rule}, Properties: map[string]any{"tags": []string{"policy"}}}
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
