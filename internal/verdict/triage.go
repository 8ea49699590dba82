// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"slices"
	"time"

	"github.com/goldkeep/goldkeep/internal/finding"
)

// Triage is a person's decision on a finding, with an end.
type Triage struct {
	ID      string    `json:"id"`
	Finding string    `json:"finding"`          // advisory id or alias
	Image   string    `json:"image,omitempty"`  // ID; or
	Golden  string    `json:"golden,omitempty"` // every image in its channels
	Status  string    `json:"status"`
	Reason  string    `json:"reason"`
	Author  string    `json:"author"`
	Expires time.Time `json:"expires"`
	At      time.Time `json:"at"`
}

// The statuses of a triage (OpenVEX: not_affected; accepted and fixing are
// "affected" with an action statement).
const (
	NotAffected = "not_affected"
	Accepted    = "accepted"
	Fixing      = "fixing" // a promise, not an excuse: the finding still counts
)

// Excuse returns the decision that takes a finding out of the count at a time; of
// several the one that lasts longest.
func (ev Evidence) Excuse(f finding.Finding, now time.Time) (Triage, bool) {
	var best Triage
	found := false
	for _, t := range ev.Triage {
		if t.excuses(f, now) && (!found || t.Expires.After(best.Expires)) {
			best, found = t, true
		}
	}
	return best, found
}

// excuses reports whether the decision takes a finding out of the count at a time.
func (t Triage) excuses(f finding.Finding, now time.Time) bool {
	excusing := t.Status == NotAffected || t.Status == Accepted
	return excusing && now.Before(t.Expires) && (t.Finding == f.ID || slices.Contains(f.Aliases, t.Finding))
}

// expiries returns when an excuse that counts now will count no more.
func expiries(ev Evidence, now time.Time) (soonest time.Time) {
	for _, t := range ev.Triage {
		for _, f := range ev.Findings {
			if t.excuses(f, now) {
				soonest = earlier(soonest, exact(t.Expires))
			}
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
