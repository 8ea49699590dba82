// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"slices"
	"time"

	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/vex"
)

// Triage is a person's decision on a finding, with an end. Exactly one of Image,
// Golden and Workload says where it counts.
type Triage struct {
	ID            string    `json:"id"`
	Finding       string    `json:"finding"`            // advisory id or alias
	Aliases       []string  `json:"aliases,omitempty"`  // other names of the same flaw
	Image         string    `json:"image,omitempty"`    // ID
	Golden        string    `json:"golden,omitempty"`   // every image in its channels, and in those of the golden images built from it
	Workload      string    `json:"workload,omitempty"` // what it runs, in its environment
	Packages      []string  `json:"packages,omitempty"` // names or package URLs; none: whatever package the flaw is in
	Status        string    `json:"status"`
	Justification string    `json:"justification,omitempty"` // of not_affected: one of vex.Justifications
	Reason        string    `json:"reason"`
	Author        string    `json:"author"`
	Imported      string    `json:"imported,omitempty"` // who brought a decision of Author's from elsewhere
	Expires       time.Time `json:"expires"`            // it counts before this moment
	At            time.Time `json:"at"`
}

// The statuses of a triage (OpenVEX: not_affected; accepted and fixing are
// "affected" with an action statement).
const (
	NotAffected = "not_affected"
	Accepted    = "accepted"
	Fixing      = "fixing" // a promise, not an excuse: the finding still counts
)

// Excuse returns the decision that takes a finding out of the count at a time. Of
// several it is the one that lasts longest; where only several together speak of
// all of the finding (see vex.Covered), the one of them that ends first. So the
// finding counts again when what is returned expires, and not before.
func (ev Evidence) Excuse(f finding.Finding, now time.Time) (Triage, bool) {
	var speaking []Triage
	for _, t := range ev.Triage {
		if t.excuses(now) && t.claim().Touches(f) {
			speaking = append(speaking, t)
		}
	}
	slices.SortStableFunc(speaking, func(a, b Triage) int { return b.Expires.Compare(a.Expires) })
	var claims []vex.Claim
	for _, t := range speaking {
		claims = append(claims, t.claim())
		if vex.Covered(f, claims) {
			return t, true
		}
	}
	return Triage{}, false
}

// excuses reports whether the decision takes findings out of the count at a time.
func (t Triage) excuses(now time.Time) bool {
	return (t.Status == NotAffected || t.Status == Accepted) && now.Before(t.Expires)
}

func (t Triage) claim() vex.Claim {
	return vex.Claim{Names: append([]string{t.Finding}, t.Aliases...), Packages: t.Packages}
}

// Speaks reports whether the decision is about any part of a finding, whether it
// excuses it or not.
func (t Triage) Speaks(f finding.Finding) bool { return t.claim().Touches(f) }

// expiries returns when the first finding that is excused now counts again.
func expiries(ev Evidence, now time.Time) (soonest time.Time) {
	if len(ev.Triage) == 0 {
		return soonest
	}
	for _, f := range ev.Findings {
		if t, ok := ev.Excuse(f, now); ok {
			soonest = earlier(soonest, exact(t.Expires))
		}
	}
	return soonest
}

// Unseen is the verdict on an image nobody has scanned: unknown, so it is not
// admitted, and what runs already is kept.
func Unseen(env Environment, ev Evidence, now time.Time) Verdict {
	v := Evaluate(env, ev, now)
	owner := judge{env: &env, ev: &ev}
	outcome := Outcome{Answer: Unknown, Reasons: []Reason{{
		Rule: "image", Answer: Unknown, Text: "this image has never been scanned here: denied until it is known",
		Evidence: []string{ev.Image.ID}, Owner: owner.owner(), Remedy: "bring it: goldkeep image add IMAGE",
	}}}
	v.Admit, v.Retain, v.Until = outcome, outcome, time.Time{}
	return v
}
