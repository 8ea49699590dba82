// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/finding"
)

// severities in rising order; a severity that is not among them is not stated.
var severities = []string{"none", "low", "medium", "high", "critical"}

// highest is the highest CVSS score of each severity: what is assumed where a
// record states a severity but no score.
var highest = map[string]float64{"none": 0, "low": 3.9, "medium": 6.9, "high": 8.9, "critical": 10}

// breach is a finding that breaks a condition.
type breach struct {
	finding  *finding.Finding
	deadline time.Time // end of its grace; zero: it has none
}

func (v *Vulnerabilities) judge(j *judge) {
	if j.ev.Snapshot == "" {
		j.unknownDatabase("vulnerabilities")
		return
	}
	broken := map[string][]breach{}
	for i := range j.counted {
		f := &j.counted[i]
		if v.Unlinked == Allow && f.Linked != nil && !*f.Linked {
			continue
		}
		for _, condition := range v.broken(f) {
			broken[condition] = append(broken[condition], breach{f, v.deadline(f, condition)})
		}
	}
	v.judgeCondition(j, "knownExploited", broken, "known to be exploited")
	if v.MaxCVSS != nil {
		v.judgeCondition(j, "maxCVSS", broken, fmt.Sprintf("above CVSS %.1f", *v.MaxCVSS))
	}
	if v.MaxSeverity != "" {
		v.judgeCondition(j, "maxSeverity", broken, "above severity "+v.MaxSeverity)
	}
	if v.MaxUrgency != "" {
		v.judgeCondition(j, "maxUrgency", broken, "more urgent than "+v.MaxUrgency)
	}
	if v.Unscored == Deny {
		v.judgeCondition(j, "unscored", broken, "without a stated severity")
	} else {
		v.judgeUnscored(j, broken["unscored"])
	}
	v.judgeGaps(j)
	judgePartialFeeds(j)
}

// measures tells whether the rule asks how bad or urgent a finding is.
func (v *Vulnerabilities) measures() bool {
	return v.MaxCVSS != nil || v.MaxSeverity != "" || v.MaxUrgency != ""
}

// broken names the conditions a finding breaks.
func (v *Vulnerabilities) broken(f *finding.Finding) []string {
	var broken []string
	if f.Exploited && v.KnownExploited != Allow {
		broken = append(broken, "knownExploited")
	}
	if !v.measures() || f.Fixed == "" && v.Unfixed == Allow {
		return broken
	}
	if v.MaxUrgency != "" && f.Over(finding.Urgency(v.MaxUrgency)) {
		broken = append(broken, "maxUrgency")
	}
	level := slices.Index(severities, f.Severity)
	if level < 0 && f.Score == 0 {
		return append(broken, "unscored")
	}
	score := f.Score
	if score == 0 {
		score = highest[f.Severity]
	}
	if level < 0 {
		level = slices.Index(severities, severityOf(score))
	}
	if v.MaxCVSS != nil && score > *v.MaxCVSS {
		broken = append(broken, "maxCVSS")
	}
	if v.MaxSeverity != "" && level > slices.Index(severities, v.MaxSeverity) {
		broken = append(broken, "maxSeverity")
	}
	return broken
}

// severityOf is the qualitative scale of CVSS v3 and v4.
func severityOf(score float64) string {
	for _, s := range severities {
		if score <= highest[s] {
			return s
		}
	}
	return "critical"
}

// deadline is when the grace of a finding ends; zero where it has none. Grace
// runs from Since, so a finding that does not say since when has none.
func (v *Vulnerabilities) deadline(f *finding.Finding, condition string) time.Time {
	if f.Since.IsZero() {
		return time.Time{}
	}
	exploited, hasExploited := v.Grace["knownExploited"]
	severity := f.Severity
	if !slices.Contains(severities, severity) {
		severity = severityOf(f.Score)
	}
	grace, has := v.Grace[severity]
	switch {
	case condition == "unscored":
		grace, has = v.Grace["unscored"]
	case condition == "knownExploited":
		grace, has = exploited, hasExploited
	case has && f.Exploited && hasExploited:
		grace = min(grace, exploited)
	}
	if !has {
		return time.Time{}
	}
	return exact(f.Since.Add(time.Duration(grace)))
}

// judgeCondition splits the findings that break a condition into those whose
// grace is over and those still in it.
func (v *Vulnerabilities) judgeCondition(j *judge, condition string, broken map[string][]breach, what string) {
	var failed, graced []breach
	var first time.Time
	for _, b := range broken[condition] {
		if b.deadline.After(j.now) {
			graced = append(graced, b)
			first = earlier(first, b.deadline)
		} else {
			failed = append(failed, b)
		}
	}
	rule := "vulnerabilities." + condition
	if len(failed) > 0 {
		owner, origin := j.callFor(failed)
		j.add(Reason{
			Rule: rule, Answer: No, Text: count(len(failed), "finding") + " " + what + ": " + worst(failed), Evidence: list(failed),
			Owner: owner, Remedy: remedy(failed, j.ev.OS.Ecosystem) + rebase(origin),
		})
	}
	if len(graced) > 0 {
		text := count(len(graced), "finding") + " " + what + " in grace until " + first.Format(time.RFC3339) + ": " + worst(graced)
		owner, origin := j.callFor(graced)
		j.changes(first)
		j.add(Reason{
			Rule: rule, Answer: Yes, Text: text, Evidence: list(graced), Owner: owner,
			Remedy: remedy(graced, j.ev.OS.Ecosystem) + rebase(origin), Deadline: first,
		})
	}
}

func (v *Vulnerabilities) judgeUnscored(j *judge, unscored []breach) {
	if len(unscored) == 0 {
		return
	}
	text := count(len(unscored), "finding") + " without a stated severity: " + worst(unscored)
	way := remedy(unscored, j.ev.OS.Ecosystem)
	if v.Unscored == Allow {
		j.warn("vulnerabilities.unscored", text, list(unscored), way, time.Time{})
		return
	}
	j.add(Reason{Rule: "vulnerabilities.unscored", Answer: Unknown, Text: text, Evidence: list(unscored), Owner: j.owner(), Remedy: way + "; or decide with unscored: allow or deny"})
}

func (v *Vulnerabilities) judgeGaps(j *judge) {
	if len(j.ev.Gaps) == 0 {
		return
	}
	var evidence []string
	for _, g := range j.ev.Gaps {
		evidence = append(evidence, g.Component+": "+g.Reason)
	}
	text := count(len(j.ev.Gaps), "part") + " of the image not covered by any advisory feed: " + evidence[0]
	if v.Gaps == Allow {
		j.warn("vulnerabilities.gaps", text, evidence, "use a base image a feed covers", time.Time{})
		return
	}
	j.add(Reason{
		Rule: "vulnerabilities.gaps", Answer: Unknown, Text: text, Evidence: evidence, Owner: j.owner(),
		Remedy: "sync the feed that is missing (goldkeep advisory sync), build on what a feed covers, or accept what is not known with gaps: allow",
	})
}

// judgePartialFeeds warns that flaws may be missed because records of a feed could
// not be read. It changes no answer: one broken record must not stop everybody.
func judgePartialFeeds(j *judge) {
	if len(j.ev.PartialFeeds) == 0 {
		return
	}
	j.add(Reason{
		Rule: "vulnerabilities.feeds", Answer: Yes, Text: "advisories were read in part only: " + j.ev.PartialFeeds[0], Evidence: j.ev.PartialFeeds,
		Owner: j.env.Owner, Remedy: "sync again (goldkeep advisory sync); where that does not help, tell whoever makes the feed",
	})
}

// worst names the first of the findings, which are sorted by urgency.
func worst(breaches []breach) string {
	f := breaches[0].finding
	text := f.ID + " in " + f.Package + " " + f.Version
	if f.Score > 0 {
		text += fmt.Sprintf(" (CVSS %.1f)", f.Score)
	}
	if len(breaches) > 1 {
		return "worst " + text
	}
	return text
}

// list shows each finding on one line.
func list(breaches []breach) []string {
	lines := make([]string, len(breaches))
	for i, b := range breaches {
		f := b.finding
		notes := []string{"severity " + cmp.Or(f.Severity, "unknown")}
		if f.Score > 0 {
			notes[0] = fmt.Sprintf("CVSS %.1f", f.Score)
		}
		if f.Exploited {
			notes = append(notes, "known exploited")
		}
		if f.Fixed != "" {
			notes = append(notes, "fixed in "+f.Fixed)
		} else {
			notes = append(notes, "no fix")
		}
		if !b.deadline.IsZero() {
			notes = append(notes, "grace until "+b.deadline.Format(time.RFC3339))
		}
		lines[i] = strings.TrimSpace(f.ID + " " + f.Package + " " + f.Version + " (" + strings.Join(notes, ", ") + ") " + f.Path)
	}
	return lines
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
