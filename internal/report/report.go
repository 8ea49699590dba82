// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package report writes what is known of an image for people and for other
// tools: a table, Goldkeep's own JSON, CycloneDX 1.6, SPDX 2.3 and SARIF 2.1.0.
//
// The same Result gives the same bytes: the time comes from the Result, lists
// are sorted. No report shows a credential, and in the table no text from an
// image can move the cursor of a terminal.
package report

import (
	"cmp"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

// Result is what there is to report.
type Result struct {
	Evidence verdict.Evidence
	Verdict  *verdict.Verdict // nil: no rules were asked
	Time     time.Time        // when the check was made
	Version  string           // of Goldkeep, "1.2.3"
}

// Formats are the names Write knows, the default first.
var Formats = []string{"table", "json", "cyclonedx", "spdx", "sarif"}

// Write writes the result in one of Formats. Another name is an error of the
// kind Invalid; the rest are errors of w.
func Write(w io.Writer, format string, r Result, options Options) error {
	switch format {
	case "table", "":
		return Table(w, r, options)
	case "json":
		return JSON(w, r)
	case "cyclonedx":
		return CycloneDX(w, r)
	case "spdx":
		return SPDX(w, r)
	case "sarif":
		return SARIF(w, r)
	}
	return fault.New(fault.Invalid, "unknown output format %q", format).WithHint("use one of %s", strings.Join(Formats, ", "))
}

// contents is evidence as it is shown.
type contents struct {
	verdict.Evidence
	excused []excused
	at      time.Time
}

// presentable returns the evidence sorted for showing, without credentials, and
// with the findings somebody excused told from those that count; the original is
// not changed.
func presentable(r Result) contents {
	ev := r.Evidence
	ev.Image.Labels = component.ShownLabels(ev.Image.Labels, ev.Facts)
	ev.Components = sortedBy(ev.Components, func(a, b component.Component) int {
		return cmp.Or(cmp.Compare(a.Ecosystem, b.Ecosystem), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version),
			cmp.Compare(a.Path, b.Path), cmp.Compare(a.PURL, b.PURL), cmp.Compare(a.LayerIndex, b.LayerIndex))
	})
	ev.Findings = sortedBy(ev.Findings, finding.MoreUrgent)
	pardoned := excuse(&ev, r.Time)
	finding.Weigh(ev.Findings)
	finding.Sort(ev.Findings)
	ev.Facts = sortedBy(ev.Facts, func(a, b component.Fact) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Path, b.Path), cmp.Compare(a.LayerIndex, b.LayerIndex), cmp.Compare(a.Detail, b.Detail))
	})
	ev.Gaps = sortedBy(ev.Gaps, func(a, b finding.Gap) int {
		return cmp.Or(cmp.Compare(a.Component, b.Component), cmp.Compare(a.Reason, b.Reason))
	})
	ev.Problems = sortedBy(ev.Problems, func(a, b component.Problem) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Reason, b.Reason))
	})
	return contents{ev, pardoned, r.Time}
}

// sortedBy returns a sorted copy that is never nil.
func sortedBy[T any](list []T, order func(a, b T) int) []T {
	list = append(make([]T, 0, len(list)), list...)
	slices.SortStableFunc(list, order)
	return list
}

// counted are the findings that count.
func counted(findings []finding.Finding) []finding.Finding {
	return slices.DeleteFunc(slices.Clone(findings), func(f finding.Finding) bool { return f.Hidden != "" })
}
