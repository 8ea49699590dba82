// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"github.com/goldkeep/goldkeep/internal/verdict"
	"github.com/goldkeep/goldkeep/internal/vex"
)

// Believe takes into evidence what documents say that somebody handed in for this
// image: statements with an end of their own become decisions, that count until
// then; others hide findings, with the reason, or are noted on them. It returns how
// many statements were for this image.
func Believe(ev *verdict.Evidence, docs []*vex.Document, t vex.Target) int {
	used := 0
	for _, doc := range docs {
		used += doc.ApplyTo(t, ev.Findings)
		for _, s := range doc.Statements {
			decision, why := verdict.DecisionOf(s)
			if why != "" || s.Own.Expires.IsZero() {
				continue
			}
			if decision.Author == "" {
				decision.Author = doc.Author
			}
			for _, claim := range s.Claims(t) {
				decision.Image, decision.Packages = ev.Image.ID, verdict.PackagesOf(claim.Packages)
				ev.Triage = append(ev.Triage, decision)
			}
		}
	}
	return used
}
