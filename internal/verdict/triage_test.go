// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package verdict_test

import (
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

func TestTriageExcusesUntilItExpires(t *testing.T) {
	now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	ev := verdict.Evidence{
		Image: verdict.Image{ID: "sha256:x"}, Snapshot: "s", SnapshotAt: now,
		Findings: []finding.Finding{{ID: "GO-1", Aliases: []string{"CVE-1"}, Package: "p", Version: "1", Score: 9.8, Severity: "critical", Since: now.AddDate(0, -1, 0)}},
	}
	env := verdict.Default()
	if verdict.Evaluate(env, withTriage(ev), now).Admitted() {
		// Without a fix the default environment lets it pass: give it one.
		ev.Findings[0].Fixed = "2"
	}
	decision := verdict.Triage{Finding: "CVE-1", Status: verdict.NotAffected, Reason: "the code is not reached", Author: "ada", Expires: now.Add(time.Hour)}
	for _, c := range []struct {
		name     string
		triage   []verdict.Triage
		at       time.Time
		admitted bool
	}{
		{"no decision", nil, now, false},
		{"not affected, named by an alias", []verdict.Triage{decision}, now, true},
		{"the moment before it expires", []verdict.Triage{decision}, decision.Expires.Add(-time.Millisecond), true},
		{"expired", []verdict.Triage{decision}, decision.Expires, false},
		{"a promise to fix is no excuse", []verdict.Triage{{Finding: "GO-1", Status: verdict.Fixing, Expires: now.Add(time.Hour)}}, now, false},
		{"a status nobody knows is none", []verdict.Triage{{Finding: "GO-1", Status: "wontfix", Expires: now.Add(time.Hour)}}, now, false},
		{"of several the longest counts", []verdict.Triage{decision, {Finding: "GO-1", Status: verdict.Accepted, Expires: now.Add(time.Minute)}}, decision.Expires.Add(-time.Millisecond), true},
		{"another finding", []verdict.Triage{{Finding: "CVE-2", Status: verdict.Accepted, Expires: now.Add(time.Hour)}}, now, false},
	} {
		v := verdict.Evaluate(env, withTriage(ev, c.triage...), c.at)
		if v.Admitted() != c.admitted {
			t.Errorf("%s: admitted = %v, want %v: %+v", c.name, v.Admitted(), c.admitted, v.Admit.Reasons)
		}
		if c.admitted && !v.Until.Equal(decision.Expires) {
			t.Errorf("%s: until = %v, want the expiry %v", c.name, v.Until, decision.Expires)
		}
	}
}

func TestTheLongestDecisionIsShown(t *testing.T) {
	now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	short := verdict.Triage{ID: "short", Finding: "A", Status: verdict.Accepted, Expires: now.Add(time.Hour)}
	long := verdict.Triage{ID: "long", Finding: "A", Status: verdict.Accepted, Expires: now.Add(2 * time.Hour)}
	for _, order := range [][]verdict.Triage{{short, long}, {long, short}} {
		if got, ok := (verdict.Evidence{Triage: order}).Excuse(finding.Finding{ID: "A"}, now); !ok || got.ID != "long" {
			t.Errorf("got %+v, %v", got, ok)
		}
	}
}

func withTriage(ev verdict.Evidence, t ...verdict.Triage) verdict.Evidence {
	ev.Triage = t
	return ev
}

func TestUnseenIsUnknown(t *testing.T) {
	v := verdict.Unseen(verdict.Default(), verdict.Evidence{Image: verdict.Image{ID: "sha256:x"}}, time.Now())
	if v.Admitted() || v.Admit.Answer != verdict.Unknown {
		t.Errorf("admit = %s, want unknown", v.Admit.Answer)
	}
	if !v.Retained() {
		t.Error("an unknown image must be kept where it runs")
	}
}
