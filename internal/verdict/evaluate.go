// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/goldkeep/goldkeep/internal/finding"
)

// Evaluate judges the evidence by the environment's rules at a time. It is pure:
// the order of lists and the time zone of times make no difference, times count
// to the millisecond, and neither argument is changed.
func Evaluate(env Environment, ev Evidence, now time.Time) Verdict {
	return NewCase(ev, now).Evaluate(env)
}

// Case is evidence made ready to be judged by several environments at one time:
// what takes longest, to bring it in order and to hash it, is done once.
type Case struct {
	ev      Evidence // canonical
	hash    string
	counted []finding.Finding // sorted, most urgent first
	now     time.Time
	expires time.Time // when the first excuse does
}

// NewCase makes evidence ready.
func NewCase(ev Evidence, now time.Time) *Case {
	now, ev = exact(now), canonical(ev)
	return &Case{ev: ev, hash: hashOf(ev), counted: countedFindings(ev, now), now: now, expires: expiries(ev, now)}
}

// Evaluate judges the case by one environment's rules, as the function of that name.
func (c *Case) Evaluate(env Environment) Verdict {
	v := Verdict{
		Environment: env.Name, Image: c.ev.Image.ID, At: c.now,
		Hashes: Hashes{Evidence: c.hash, Rules: hashOf(env), Time: hashOf(c.now)},
	}
	v.Admit = evaluate(judge{env: &env, ev: &c.ev, counted: c.counted, now: c.now}, env.Admit)
	v.Retain = evaluate(judge{env: &env, ev: &c.ev, counted: c.counted, now: c.now, retain: true}, env.Retain)
	v.Until = earlier(earlier(v.Admit.Until, v.Retain.Until), c.expires)
	return v
}

// countedFindings leaves out the hidden ones and those a triage excuses, most
// urgent first.
func countedFindings(ev Evidence, now time.Time) []finding.Finding {
	counted := make([]finding.Finding, 0, len(ev.Findings))
	for _, f := range ev.Findings {
		if _, excused := ev.Excuse(f, now); f.Hidden == "" && !excused {
			counted = append(counted, f)
		}
	}
	finding.Sort(counted)
	return counted
}

// judge gathers the reasons of one outcome.
type judge struct {
	env     *Environment
	ev      *Evidence
	counted []finding.Finding // sorted, most urgent first
	now     time.Time
	retain  bool
	vars    map[string]any // for expressions

	rule    *Rule // being judged
	reasons []Reason
	until   time.Time
}

func evaluate(j judge, rules []Rule) Outcome {
	j.checkEvidence()
	for i := range rules {
		j.rule = &rules[i]
		j.judgeRule()
	}
	out := Outcome{Answer: Yes, Reasons: j.reasons, Until: j.until}
	if out.Reasons == nil {
		out.Reasons = []Reason{}
	}
	slices.SortStableFunc(out.Reasons, func(a, b Reason) int { return rank(a.Answer) - rank(b.Answer) })
	for _, r := range out.Reasons {
		if rank(r.Answer) < rank(out.Answer) {
			out.Answer = r.Answer
		}
		if r.Answer == No && j.retain && strength(r.Action) > strength(out.Action) {
			out.Action = r.Action
		}
	}
	return out
}

// checkEvidence looks at what no rule can do without.
func (j *judge) checkEvidence() {
	if j.ev.Image.ID == "" {
		j.unknown("evidence", "the image has no digest: nothing is known about it", "", "scan the image: goldkeep check IMAGE")
	}
	var lost []string
	for _, p := range j.ev.Problems {
		if p.Fatal {
			lost = append(lost, OneLine(p.Path+": "+p.Reason))
		}
	}
	if len(lost) > 0 {
		text := count(len(lost), "part") + " of the image could not be read, so something may have been missed: " + lost[0]
		j.unknown("scan", text, "", "rebuild the image without what is named, or with it repaired, and scan it again")
		j.reasons[len(j.reasons)-1].Evidence = lost
	}
}

func (j *judge) judgeRule() {
	switch r := j.rule; {
	case r.Vulnerabilities != nil:
		r.Vulnerabilities.judge(j)
	case r.Hygiene != nil:
		r.Hygiene.judge(j)
	case r.Channel != nil:
		j.judgeChannel(r.Channel)
	case r.SignedBy != nil:
		j.judgeSignedBy(r.SignedBy)
	case r.Age != nil:
		r.Age.judge(j)
	case r.BaseAge != nil:
		r.BaseAge.judgeBase(j)
	case r.Advisories != nil:
		r.Advisories.judge(j)
	case r.Labels != nil:
		r.Labels.judge(j)
	case r.Expression != nil:
		r.Expression.judge(j)
	default:
		j.unknown("rule", "policy error: a rule without content", j.env.Owner, "remove the rule")
	}
}

// no records a failed rule.
func (j *judge) no(rule, text string, evidence []string, remedy string) {
	j.add(Reason{Rule: rule, Answer: No, Text: text, Evidence: evidence, Owner: j.owner(), Remedy: remedy})
}

// unknown records a rule that could not be judged. Without an owner it is the image's.
func (j *judge) unknown(rule, text, owner, remedy string) {
	if owner == "" {
		owner = j.owner()
	}
	j.add(Reason{Rule: rule, Answer: Unknown, Text: text, Owner: owner, Remedy: remedy})
}

// warn records something that does not fail, or not yet.
func (j *judge) warn(rule, text string, evidence []string, remedy string, deadline time.Time) {
	j.changes(deadline)
	j.add(Reason{Rule: rule, Answer: Yes, Text: text, Evidence: evidence, Owner: j.owner(), Remedy: remedy, Deadline: deadline})
}

func (j *judge) add(r Reason) {
	r.Text, r.Remedy, r.Owner = OneLine(r.Text), OneLine(r.Remedy), OneLine(r.Owner)
	evidence := make([]string, 0, len(r.Evidence))
	for _, e := range r.Evidence {
		evidence = append(evidence, OneLine(e))
	}
	r.Evidence = evidence
	action := j.env.OnFail
	if j.rule != nil && j.rule.OnFail != "" {
		action = j.rule.OnFail
	}
	switch {
	case r.Answer == Yes:
	case j.retain && r.Answer == No:
		r.Action = action
	case !j.retain && j.rule != nil && j.rule.OnFail == Warn: // a rule being tried out
		r.Answer, r.Action = Yes, Warn
	}
	j.reasons = append(j.reasons, r)
}

// changes notes a time at which the outcome changes by itself.
func (j *judge) changes(at time.Time) {
	if at.After(j.now) {
		j.until = earlier(j.until, at)
	}
}

// owner is who to call about the image: the golden image's owner, or of the
// channel it stands in.
func (j *judge) owner() string {
	if j.ev.Image.Owner != "" {
		if j.ev.Image.Contact != "" {
			return j.ev.Image.Owner + " (" + j.ev.Image.Contact + ")"
		}
		return j.ev.Image.Owner
	}
	for _, c := range j.ev.Channels {
		if c.Owner != "" {
			return c.Owner
		}
	}
	return ""
}

// callFor is who to call about findings: the owner of the golden image their layers
// come from, where it is one and not the image itself.
func (j *judge) callFor(breaches []breach) (owner string, origin Origin) {
	for i, b := range breaches {
		o, found := j.origin(b.finding.LayerIndex)
		if !found || i > 0 && o.Golden != origin.Golden {
			return j.owner(), Origin{}
		}
		origin = o
	}
	if origin.Owner == "" {
		return j.owner(), origin
	}
	if origin.Contact != "" {
		return origin.Owner + " (" + origin.Contact + ")", origin
	}
	return origin.Owner, origin
}

// origin is the golden image a layer comes from.
func (j *judge) origin(layer int) (Origin, bool) {
	for _, o := range j.ev.Origins {
		if layer < o.Layers {
			return o, true
		}
	}
	return Origin{}, false
}

func rank(a Answer) int { return slices.Index([]Answer{No, Unknown, Yes}, a) }

func strength(a Action) int { return slices.Index([]Action{Warn, Replace, Revoke}, a) }

// earlier returns the earlier of two times; zero means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// OneLine makes text from an image safe to show: no line breaks, no terminal
// escapes, nothing invisible and nothing that turns the direction of writing around.
func OneLine(text string) string {
	if plain(text) {
		return text
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case !unicode.IsPrint(r):
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// plain tells at a glance that nothing in a text needs a closer look.
func plain(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}
