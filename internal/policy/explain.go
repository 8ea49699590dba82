// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"
	"strings"
)

// Match is one rule that matches a path, as one policy wrote it.
type Match struct {
	Policy       string       `json:"policy"`
	Path         string       `json:"path"` // of the rule
	Line         int          `json:"line"` // in the policy's text; 0: not known
	Capabilities []Capability `json:"capabilities"`
	Decides      bool         `json:"decides"` // the rule's path is the most specific: it alone counts
}

// Explain answers a query as NewSet and Decide do, and names every rule that
// matches, those that decided first: seeing which rule won over the one that was
// meant is what explains most denials.
func Explain(q Query, policies ...*Policy) (Decision, []Match) {
	decision := NewSet(policies...).Decide(q)
	var all []Match
	for _, p := range policies {
		if p == nil {
			continue
		}
		for _, r := range p.Rules {
			if !r.matches(q) {
				continue
			}
			all = append(all, Match{
				Policy: p.Name, Path: r.Path, Line: r.Line, Capabilities: r.Capabilities,
				Decides: r.Path == decision.Rule && !decision.Root,
			})
		}
	}
	slices.SortStableFunc(all, func(a, b Match) int {
		switch {
		case a.Decides != b.Decides && a.Decides:
			return -1
		case a.Decides != b.Decides:
			return 1
		}
		return len(b.Path) - len(a.Path)
	})
	return decision, all
}

// matches reports whether a rule alone would be the one to decide.
func (r Rule) matches(q Query) bool {
	c := NewSet(&Policy{Rules: []Rule{r}}).c
	if q.Need == List || q.Need == Scan {
		return c.findList(q.Path) != nil
	}
	return c.find(q.Path) != nil
}

// Missing says in a sentence what a denied query lacks, with what to write; ""
// where it is allowed.
func (d Decision) Missing(q Query) string {
	need := string(q.Need)
	switch d.Reason {
	case ReasonNoRule:
		return "no policy of the holder has a rule for this path; one that allows it: " + ruleText(q.Path, q)
	case ReasonDeny:
		return "the rule for " + quoted(d.Rule) + " says deny, which nothing else can overrule; take the deny away, or ask for another path"
	case ReasonMissing:
		return "the rule for " + quoted(d.Rule) + " is the most specific one and alone decides; it lacks " + quoted(need) + ": add it there"
	case ReasonSudo:
		return "this path needs sudo besides " + quoted(need) + ": add \"sudo\" to the rule for " + quoted(d.Rule)
	case ReasonParameter:
		return "the rule for " + quoted(d.Rule) + " bounds the parameters (allowed_parameters, denied_parameters), and one that was sent is not allowed"
	case ReasonRequired:
		return "the rule for " + quoted(d.Rule) + " has required_parameters, and one is missing"
	case ReasonWrapping:
		return "the rule for " + quoted(d.Rule) + " wants the answer wrapped, within min_wrapping_ttl and max_wrapping_ttl"
	}
	return ""
}

func ruleText(path string, q Query) string {
	caps := []string{quoted(string(q.Need))}
	if q.Sudo {
		caps = append(caps, quoted(string(Sudo)))
	}
	return "path " + quoted(path) + " { capabilities = [" + strings.Join(caps, ", ") + "] }"
}

func quoted(s string) string { return `"` + s + `"` }
