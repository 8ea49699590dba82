// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

// excused is a finding that does not count, because somebody decided so for a
// limited time.
type excused struct {
	finding.Finding
	by verdict.Triage
}

// excuse finds the findings that decisions take out of the count at a time, and
// marks them in the list as not counted.
func excuse(ev *verdict.Evidence, at time.Time) []excused {
	var out []excused
	for i := range ev.Findings {
		f := &ev.Findings[i]
		by, ok := ev.Excuse(*f, at)
		if !ok || f.Hidden != "" {
			continue
		}
		f.Hidden = decision(by)
		finding.Weigh(ev.Findings[i : i+1])
		out = append(out, excused{*f, by})
	}
	return out
}

// decision tells of a triage in one line.
func decision(t verdict.Triage) string {
	text := strings.ReplaceAll(t.Status, "_", " ") + " until " + date(t.Expires) + " by " + t.Author
	if t.Imported != "" {
		text += " (imported by " + t.Imported + ")"
	}
	if why := strings.ReplaceAll(t.Justification, "_", " "); why != "" {
		text += ": " + why
	}
	if t.Reason != "" {
		text += ": " + t.Reason
	}
	return text
}

// promised returns the decision that a finding which counts is being fixed.
func promised(ev *verdict.Evidence, f finding.Finding, at time.Time) (verdict.Triage, bool) {
	for _, t := range ev.Triage {
		if t.Status == verdict.Fixing && at.Before(t.Expires) && t.Speaks(f) {
			return t, true
		}
	}
	return verdict.Triage{}, false
}
