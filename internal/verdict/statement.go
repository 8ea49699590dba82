// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"strings"

	"github.com/goldkeep/goldkeep/internal/vex"
)

// scopeKey marks package URLs that stand for nouns of Goldkeep's: a golden image
// "pkg:oci/debian-base?goldkeep_scope=golden", a workload, a package by its plain
// name.
const scopeKey = "goldkeep_scope"

// StatementID is what the ids of our statements begin with.
const StatementID = "urn:goldkeep:triage:"

// Statement is the decision as a VEX statement; TriageOf is the way back, and
// nothing is lost between the two.
func (t Triage) Statement() vex.Statement {
	s := vex.Statement{
		ID: StatementID + t.ID, Names: append([]string{t.Finding}, t.Aliases...), Time: t.At, Text: t.Reason,
		Own: vex.Own{Author: t.Author, Imported: t.Imported, Expires: t.Expires},
	}
	switch t.Status {
	case NotAffected:
		s.Status, s.Justification = vex.NotAffected, t.Justification
	case Accepted:
		s.Status, s.Own.Decision, s.Action = vex.Affected, Accepted, "the risk is accepted for a time; nothing is done"
	default:
		s.Status, s.Own.Decision, s.Action = vex.Affected, t.Status, "a fix is under way"
	}
	p := vex.Product{}
	switch {
	case t.Golden != "":
		p.ID = scoped("oci", t.Golden, "golden")
	case t.Workload != "":
		p.ID = scoped("generic", t.Workload, "workload")
	default:
		p.ID = vex.PURL{Type: "oci", Name: "image", Version: t.Image}.String()
		p.Digests = []string{t.Image}
	}
	for _, name := range t.Packages {
		if !strings.HasPrefix(name, "pkg:") {
			name = scoped("generic", name, "package")
		}
		p.Packages = append(p.Packages, name)
	}
	s.Products = []vex.Product{p}
	return s
}

func scoped(kind, name, scope string) string {
	return vex.PURL{Type: kind, Name: name, Qualifiers: map[string]string{scopeKey: scope}}.String()
}

// unscoped is the reverse of scoped; scope "" where the text is something else.
func unscoped(text string) (name, scope string) {
	p, err := vex.ParsePURL(text)
	if err != nil || p.Qualifiers[scopeKey] == "" {
		return "", ""
	}
	return p.Name, p.Qualifiers[scopeKey]
}

// PackagesOf are the packages of a product as a decision names them.
func PackagesOf(components []string) []string {
	var out []string
	for _, text := range components {
		if name, scope := unscoped(text); scope == "package" {
			text = name
		}
		out = append(out, text)
	}
	return out
}

// TriageOf makes decisions of a statement, one for each product: of golden images
// and workloads where it names any (the images beside them are for other tools),
// else of images by any digest. why says what of the statement is no decision.
func TriageOf(s vex.Statement) (decisions []Triage, why string) {
	t, why := DecisionOf(s)
	if why != "" {
		return nil, why
	}
	return t.places(s.Products), ""
}

// DecisionOf is what a statement decides, without where that counts. why says what
// of the statement is no decision.
func DecisionOf(s vex.Statement) (t Triage, why string) {
	t = Triage{
		ID: strings.TrimPrefix(s.ID, StatementID), Finding: s.Names[0], Justification: s.Justification, Reason: s.Text,
		Author: s.Own.Author, Imported: s.Own.Imported, Expires: s.Own.Expires, At: s.Time,
	}
	if len(s.Names) > 1 {
		t.Aliases = s.Names[1:]
	}
	switch {
	case s.Status == vex.NotAffected && s.Justification == "" && s.ID != StatementID+t.ID:
		return t, "says not_affected without one of the justifications"
	case s.Status == vex.NotAffected:
		t.Status = NotAffected
	case s.Status == vex.Affected && (s.Own.Decision == Accepted || s.Own.Decision == Fixing):
		t.Status = s.Own.Decision
	default:
		return t, "says " + string(s.Status) + ", which decides nothing"
	}
	return t, ""
}

// places makes one decision for each place products name.
func (t Triage) places(products []vex.Product) []Triage {
	var named, images []Triage
	for _, p := range products {
		d := t
		d.Packages = PackagesOf(p.Packages)
		switch name, scope := unscoped(p.ID); scope {
		case "golden":
			d.Golden = name
			named = append(named, d)
		case "workload":
			d.Workload = name
			named = append(named, d)
		default:
			for _, digest := range p.Images() {
				d.Image = digest
				images = append(images, d)
			}
		}
	}
	if len(named) > 0 {
		return named
	}
	return images
}
