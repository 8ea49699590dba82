// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"encoding/json"
	"strings"
	"time"
	"unicode"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// osvRecord is the part of an OSV record that is read (schema 1.7).
type osvRecord struct {
	ID         string        `json:"id"`
	Aliases    []string      `json:"aliases"`
	Upstream   []string      `json:"upstream"`
	Related    []string      `json:"related"`
	Summary    string        `json:"summary"`
	Details    string        `json:"details"`
	Published  time.Time     `json:"published"`
	Modified   time.Time     `json:"modified"`
	Withdrawn  time.Time     `json:"withdrawn"`
	Severity   []osvSeverity `json:"severity"`
	Affected   []osvAffected `json:"affected"`
	References []struct {
		Type string `json:"type"`
		URL  string `json:"url"`
	} `json:"references"`
	Database json.RawMessage `json:"database_specific"`
}

type osvSeverity struct {
	Type  string `json:"type"`
	Score string `json:"score"`
}

type osvAffected struct {
	Package struct {
		Ecosystem string `json:"ecosystem"`
		Name      string `json:"name"`
	} `json:"package"`
	Severity  []osvSeverity   `json:"severity"`
	Ranges    []osvRange      `json:"ranges"`
	Versions  []string        `json:"versions"`
	Ecosystem json.RawMessage `json:"ecosystem_specific"`
	Database  json.RawMessage `json:"database_specific"`
}

type osvRange struct {
	Type   string `json:"type"`
	Events []struct {
		Introduced   string `json:"introduced"`
		Fixed        string `json:"fixed"`
		LastAffected string `json:"last_affected"`
		Limit        string `json:"limit"`
	} `json:"events"`
}

// extra is what is read of the free-form parts of a record. Feeds put anything
// there, so a part with other types is as good as none.
type extra struct {
	Severity      string `json:"severity"`
	Urgency       string `json:"urgency"`
	Priority      string `json:"ubuntu_priority"`
	Informational string `json:"informational"`
	Imports       []struct {
		Path string `json:"path"`
	} `json:"imports"`
}

const (
	maxName    = 512 // bytes of an id, an ecosystem or a package name
	maxSummary = 300 // bytes of a summary that are kept
)

// Parse reads one OSV record (https://ossf.github.io/osv-schema, 1.7). It keeps
// what matching and showing need. An entry without a package is left out: it
// speaks of a source repository. An error is of kind Invalid.
func Parse(raw []byte) (Record, error) {
	var in osvRecord
	if err := json.Unmarshal(raw, &in); err != nil {
		return Record{}, fault.New(fault.Invalid, "read advisory: %w", err)
	}
	if err := checkName("id", in.ID); err != nil {
		return Record{}, err
	}
	out := Record{
		ID: in.ID, Aliases: names(in.Aliases), Upstream: names(in.Upstream), Related: names(in.Related),
		Summary: summary(in), Published: in.Published.UTC(), Modified: in.Modified.UTC(), URL: reference(in),
	}
	if !in.Withdrawn.IsZero() {
		out.Withdrawn = in.Withdrawn.UTC()
	}
	out.Severity = severityOf(in.Severity, readExtra(in.Database))
	for _, a := range in.Affected {
		if a.Package.Ecosystem == "" && a.Package.Name == "" {
			continue
		}
		for what, s := range map[string]string{"ecosystem": a.Package.Ecosystem, "package name": a.Package.Name} {
			if err := checkName(what, s); err != nil {
				return Record{}, fault.New(fault.Invalid, "read advisory %s: %w", in.ID, err)
			}
		}
		out.Affected = append(out.Affected, affected(a, &out.Severity))
	}
	return out, nil
}

// affected converts one entry. Severity given for the entry alone counts for the
// record where the record itself has none.
func affected(a osvAffected, record *Severity) Affected {
	eco, db := readExtra(a.Ecosystem), readExtra(a.Database)
	out := Affected{Ecosystem: a.Package.Ecosystem, Name: a.Package.Name, Versions: a.Versions}
	own := severityOf(a.Severity, db)
	out.Level, out.Urgency = own.Level, firstOf(eco.Urgency, eco.Priority, own.Urgency, db.Informational)
	if out.Level == "" {
		out.Level = firstOf(levelNamed(eco.Severity), levelNamed(out.Urgency))
	}
	if len(record.Vectors) == 0 && len(own.Vectors) > 0 {
		record.Vectors, record.Score, record.Level = own.Vectors, own.Score, own.Level
	}
	for _, p := range eco.Imports {
		if p.Path != "" {
			out.Imports = append(out.Imports, p.Path)
		}
	}
	for _, r := range a.Ranges {
		kept := Range{Type: r.Type}
		for _, e := range r.Events {
			if r.Type != "GIT" { // commits: nothing to compare a version with
				kept.Events = append(kept.Events, Event{Introduced: e.Introduced, Fixed: e.Fixed, LastAffected: e.LastAffected, Limit: e.Limit})
			}
		}
		out.Ranges = append(out.Ranges, kept)
	}
	return out
}

// severityOf picks the highest score of the vectors, and the words beside them.
func severityOf(in []osvSeverity, words extra) Severity {
	var out Severity
	for _, s := range in {
		if !strings.HasPrefix(s.Type, "CVSS_") {
			// Distributions put their own word here ("Ubuntu": "negligible").
			out.Urgency = firstOf(out.Urgency, s.Score)
			continue
		}
		out.Vectors = append(out.Vectors, s.Score)
		if score, ok := BaseScore(s.Score); ok && (out.Level == "" || score > out.Score) {
			out.Score, out.Level = score, Level(score)
		}
	}
	out.Level = firstOf(out.Level, levelNamed(words.Severity), levelNamed(out.Urgency))
	return out
}

func readExtra(raw json.RawMessage) extra {
	var out extra
	if len(raw) > 0 && json.Unmarshal(raw, &out) != nil {
		// One field of another type must not hide the rest.
		var fields map[string]json.RawMessage
		if json.Unmarshal(raw, &fields) != nil {
			return extra{}
		}
		out = extra{}
		for name, to := range map[string]any{
			"severity": &out.Severity, "urgency": &out.Urgency, "ubuntu_priority": &out.Priority,
			"informational": &out.Informational, "imports": &out.Imports,
		} {
			_ = json.Unmarshal(fields[name], to)
		}
	}
	return out
}

func checkName(what, s string) error {
	if s == "" {
		return fault.New(fault.Invalid, "no %s", what)
	}
	if len(s) > maxName || strings.ContainsFunc(s, unicode.IsControl) {
		return fault.New(fault.Invalid, "%s is too long or holds control characters", what)
	}
	return nil
}

// names drops what cannot be the name of a flaw.
func names(in []string) []string {
	var out []string
	for _, s := range in {
		if checkName("name", s) == nil {
			out = append(out, s)
		}
	}
	return out
}

func summary(in osvRecord) string {
	text := in.Summary
	if text == "" {
		text, _, _ = strings.Cut(strings.TrimSpace(in.Details), "\n")
	}
	if len(text) > maxSummary {
		text = strings.ToValidUTF8(text[:maxSummary], "") + "..."
	}
	return text
}

func reference(in osvRecord) string {
	best := ""
	for _, r := range in.References {
		if !strings.HasPrefix(r.URL, "https://") && !strings.HasPrefix(r.URL, "http://") {
			continue
		}
		if r.Type == "ADVISORY" {
			return r.URL
		}
		best = firstOf(best, r.URL)
	}
	return best
}

func firstOf(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}
