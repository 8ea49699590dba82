// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

// Options say how a table looks. The zero value suits a pipe.
type Options struct {
	Color bool // use the colours of a terminal
	Width int  // cut lines after so many characters; 0: never
	All   bool // every finding, hidden ones too, and all evidence of each rule
}

// How much is shown without Options.All.
const (
	someFindings = 30
	someEvidence = 5
	someFacts    = 5
)

// Table writes the report for people: what is in the box, what is wrong with
// it, what could not be seen, and the verdict with the shortest way out.
func Table(w io.Writer, r Result, o Options) error {
	ev := presentable(r)
	p := &page{options: o}
	p.image(ev, r.Verdict)
	p.contents(ev)
	p.findings(ev)
	p.hygiene(ev)
	p.notSeen(ev)
	if r.Verdict != nil {
		p.verdict(*r.Verdict)
	}
	_, err := io.WriteString(w, p.text.String())
	return err
}

func (p *page) image(ev contents, judged *verdict.Verdict) {
	image := ev.Image
	p.heading("IMAGE", imageName(image))
	built := "time not stated"
	if !image.Created.IsZero() {
		built = date(image.Created)
	}
	user, system := image.User, cmp.Or(ev.OS.Name, strings.TrimSpace(ev.OS.ID+" "+ev.OS.VersionID))
	switch image.Kind {
	case "artifact": // a program has neither
	case verdict.Bill:
		user, system = "not known", cmp.Or(system, "not known")
	default:
		user, system = cmp.Or(user, "root (none set)"), cmp.Or(system, "none (built from scratch)")
	}
	p.pairs(
		"verdict", inShort(judged),
		"image id", image.ID,
		"read from", image.Origin,
		"platform", image.Platform,
		"built", built,
		"system", system,
		"user", user,
		"base", Base(image, ev.at),
		"owner", strings.TrimSpace(image.Owner+" "+image.Contact),
	)
}

// inShort is the answer in one line, for those who read only the beginning.
func inShort(v *verdict.Verdict) string {
	if v == nil {
		return ""
	}
	word, _ := answer(v.Admit.Answer)
	var failed []string
	for _, r := range v.Admit.Reasons {
		if r.Answer != verdict.Yes && !slices.Contains(failed, r.Rule) {
			failed = append(failed, r.Rule)
		}
	}
	if len(failed) > 0 {
		word += " (" + strings.Join(failed, ", ") + ")"
	}
	return word + " in environment " + v.Environment
}

// answer is the answer of the admit rules in words.
func answer(a verdict.Answer) (string, colour) {
	switch a {
	case verdict.Yes:
		return "admitted", green
	case verdict.Unknown:
		return "refused: not enough is known", yellow
	}
	return "refused", red
}

// Base says what an image is built on, how that is known, how old it is, whether
// there is a newer one, and who to call; "" where nothing is known of it.
func Base(image verdict.Image, now time.Time) string {
	b := image.BaseImage
	if b.Name == "" || b.By != "layers" {
		return image.Base
	}
	text := b.Name
	if b.Golden != "" {
		text = "golden image " + strings.TrimSpace(b.Golden+" "+b.Channel)
	}
	text += ", by its layers"
	if !b.Created.IsZero() {
		text += ", built " + date(b.Created)
		if days := int(now.Sub(b.Created).Hours() / 24); days > 0 {
			text += " (" + plural(days, "day") + " before)"
		}
	}
	if b.Newest != "" {
		text += "; a newer one stands there now"
	}
	if b.Owner != "" {
		text += "; owner " + strings.TrimSpace(b.Owner+" "+b.Contact)
	}
	return text
}

// contents counts the components of each ecosystem and the layers they came with.
func (p *page) contents(ev contents) {
	groups := map[string][]component.Component{}
	for _, c := range ev.Components {
		name := cmp.Or(c.Ecosystem, "(no feed covers it)")
		groups[name] = append(groups[name], c)
	}
	p.heading("WHAT IS IN IT", plural(len(ev.Components), "component"))
	rows := [][]cell{{{text: "ecosystem"}, {text: "components"}, {text: "from layers"}}}
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		rows = append(rows, []cell{{text: name}, {text: fmt.Sprint(len(groups[name]))}, {text: layers(groups[name])}})
	}
	if len(rows) > 1 {
		p.table(rows)
	}
}

// layers says how many components each layer brought: "0 (88), 2 (3)".
func layers(components []component.Component) string {
	counts := map[int]int{}
	for _, c := range components {
		counts[c.LayerIndex]++
	}
	var parts []string
	for _, layer := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d (%d)", layer, counts[layer]))
	}
	return strings.Join(parts, ", ")
}

// vouched are the findings that do not count because somebody's VEX document says so.
func vouched(findings []finding.Finding) []finding.Finding {
	return slices.DeleteFunc(slices.Clone(findings), func(f finding.Finding) bool { return f.Hidden == "" || f.Hidden != f.Vendor })
}

// findings lists what counts, most urgent first, then what somebody excused, here
// or in a VEX document; with Options.All also what is hidden.
func (p *page) findings(ev contents) {
	counts := counted(ev.Findings)
	p.heading("FINDINGS", summary(counts, ev))
	list, more := counts[:min(len(counts), someFindings)], max(0, len(counts)-someFindings)
	for _, e := range ev.excused {
		list = append(list[:len(list):len(list)], e.Finding)
	}
	vouched := vouched(ev.Findings)
	list = append(list[:len(list):len(list)], vouched[:min(len(vouched), someFindings)]...)
	if p.options.All {
		list, more = ev.Findings, 0
	}
	if len(list) == 0 {
		return
	}
	p.first(counts)
	rows := [][]cell{{{text: "urgency"}, {text: "severity"}, {text: "finding"}, {text: "package"}, {text: "version"}, {text: "fixed in"}, {text: "layer"}, {text: "where"}}}
	for _, f := range list {
		rows = append(rows, findingRow(f))
	}
	p.table(rows)
	if more > 0 {
		p.line("  and " + plural(more, "less urgent finding") + " (--all shows them)")
	}
}

// first says why the most urgent finding stands at the top.
func (p *page) first(counts []finding.Finding) {
	if len(counts) > 0 {
		f := counts[0]
		p.line("  first: " + clean(f.ID+" in "+f.Package+", "+string(f.Urgency)+": "+f.UrgencyWhy))
	}
}

func findingRow(f finding.Finding) []cell {
	severity := cmp.Or(f.Severity, "unknown")
	if f.Score > 0 {
		severity += fmt.Sprintf(" %.1f", f.Score)
	}
	colour := plain
	switch {
	case f.Exploited:
		severity, colour = severity+" EXPLOITED", red
	case f.Severity == "critical" || f.Severity == "high":
		colour = red
	case f.Severity == "medium":
		colour = yellow
	}
	where := f.Path
	if f.Linked != nil && !*f.Linked {
		where += " (flawed part not linked in)"
	}
	if f.Executed != nil && !*f.Executed {
		where += " (not seen running)"
	}
	if f.Vendor != "" && f.Vendor != f.Hidden {
		where += " (" + f.Vendor + ")"
	}
	if f.Hidden != "" {
		where, colour = where+" (not counted: "+f.Hidden+")", plain
	}
	return []cell{{text: string(f.Urgency)}, {severity, colour}, {text: f.ID}, {text: f.Package}, {text: f.Version}, {text: cmp.Or(f.Fixed, "no fix")}, {text: fmt.Sprint(f.LayerIndex)}, {text: where}}
}

// summary counts the findings: "3 findings: 1 high, 2 low; 2 with a fix".
func summary(counts []finding.Finding, ev contents) string {
	if ev.Snapshot == "" {
		return "not known: there is no advisory database (goldkeep advisory sync)"
	}
	bySeverity, exploited, fixable := map[string]int{}, 0, 0
	for _, f := range counts {
		bySeverity[cmp.Or(f.Severity, "unknown")]++
		if f.Exploited {
			exploited++
		}
		if f.Fixed != "" {
			fixable++
		}
	}
	var severities []string
	for _, s := range []string{"critical", "high", "unknown", "medium", "low", "none"} {
		if n := bySeverity[s]; n > 0 {
			severities = append(severities, fmt.Sprintf("%d %s", n, cmp.Or(map[string]string{"unknown": "of unknown severity", "none": "without severity"}[s], s)))
		}
	}
	parts := []string{"none known"}
	if len(counts) > 0 {
		parts = []string{plural(len(counts), "finding") + ": " + strings.Join(severities, ", ")}
	}
	if exploited > 0 {
		parts = append(parts, fmt.Sprintf("%d known to be exploited", exploited))
	}
	if fixable > 0 {
		parts = append(parts, fmt.Sprintf("%d with a fix", fixable))
	}
	if n := len(ev.excused); n > 0 {
		parts = append(parts, fmt.Sprintf("%d not counted by decision", n))
	}
	said := len(vouched(ev.Findings))
	if said > 0 {
		parts = append(parts, fmt.Sprintf("%d not counted by VEX", said))
	}
	if n := len(ev.Findings) - len(counts) - len(ev.excused) - said; n > 0 {
		parts = append(parts, fmt.Sprintf("%d not counted (--all shows them)", n))
	}
	return strings.Join(parts, "; ")
}

func (p *page) hygiene(ev contents) {
	if ev.Image.Kind == verdict.Bill {
		p.heading("HYGIENE", "not known: a bill of materials does not say")
		return
	}
	groups := map[component.FactKind][]string{}
	for _, f := range ev.Facts {
		if f.Deleted && f.Kind != component.EmbeddedSecret {
			continue
		}
		where := f.Path
		if f.Detail != "" && f.Detail != path.Base(f.Path) {
			where = strings.TrimSpace(where + " (" + f.Detail + ")")
		}
		if f.Deleted {
			where += " [deleted later, yet there to read]"
		}
		groups[f.Kind] = append(groups[f.Kind], where)
	}
	if len(groups) == 0 {
		p.heading("HYGIENE", "nothing to say")
		return
	}
	p.heading("HYGIENE", "")
	var rows [][]cell
	for _, kind := range slices.Sorted(maps.Keys(groups)) {
		colour := plain
		if kind == component.EmbeddedSecret {
			colour = red
		}
		rows = append(rows, []cell{{string(kind), colour}, {text: p.someOf(groups[kind], someFacts)}})
	}
	p.table(rows)
}

// someOf names the first n of a list and counts the rest.
func (p *page) someOf(list []string, n int) string {
	first, more := p.some(list, n)
	text := strings.Join(first, ", ")
	if more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// some returns the first n of a list, and how many are left out.
func (p *page) some(list []string, n int) ([]string, int) {
	if p.options.All || len(list) <= n {
		return list, 0
	}
	return list[:n], len(list) - n
}

// notSeen says what the report cannot speak of.
func (p *page) notSeen(ev contents) {
	if len(ev.Gaps)+len(ev.Problems)+len(ev.PartialFeeds) == 0 {
		return
	}
	p.heading("NOT SEEN", "what follows is not clean, it is not known")
	rows := p.notRead(unread(ev.Problems))
	for _, gap := range ev.Gaps {
		rows = append(rows, []cell{{"not covered", yellow}, {text: gap.Component}, {text: gap.Reason}})
	}
	for _, feed := range ev.PartialFeeds {
		name, reason, _ := strings.Cut(feed, ": ")
		rows = append(rows, []cell{{"in part", yellow}, {text: "advisories of " + name}, {text: reason}})
	}
	p.table(rows)
}

// unread leaves out what stands among the gaps.
func unread(problems []component.Problem) []component.Problem {
	return slices.DeleteFunc(slices.Clone(problems), func(p component.Problem) bool { return p.Uncovered })
}

// notRead makes one row of all problems with the same reason.
func (p *page) notRead(problems []component.Problem) [][]cell {
	type kind struct {
		reason string
		fatal  bool
	}
	paths := map[kind][]string{}
	var kinds []kind
	for _, problem := range problems {
		k := kind{problem.Reason, problem.Fatal}
		if paths[k] == nil {
			kinds = append(kinds, k)
		}
		paths[k] = append(paths[k], problem.Path)
	}
	var rows [][]cell
	for _, k := range kinds {
		colour := yellow
		if k.fatal {
			colour = red
		}
		rows = append(rows, []cell{{"not read", colour}, {text: p.someOf(paths[k], someFacts)}, {text: k.reason}})
	}
	return rows
}

func (p *page) verdict(v verdict.Verdict) {
	word, colour := answer(v.Admit.Answer)
	p.heading("VERDICT", "")
	p.line("  " + p.paint(cell{"environment " + v.Environment + ": " + word, colour}))
	for _, r := range v.Admit.Reasons {
		p.reason(r)
	}
	switch v.Retain.Answer {
	case verdict.No:
		p.line("  " + p.paint(cell{"what runs already: may not stay: " + consequences[v.Retain.Action], red}))
		for _, r := range v.Retain.Reasons {
			if r.Answer == verdict.No {
				p.again(r, v.Admit.Reasons)
			}
		}
	case verdict.Unknown:
		p.line("  what runs already: may stay, though not enough is known")
	default:
		p.line("  what runs already: may stay")
	}
	if !v.Until.IsZero() {
		p.line("  this changes by itself at " + date(v.Until))
	}
}

// consequences tell what an action does to what runs.
var consequences = map[verdict.Action]string{
	verdict.Warn:    "its owner is warned, nothing is taken away",
	verdict.Replace: "a fresh instance takes over",
	verdict.Revoke:  "its secrets and identity are taken back",
}

func (p *page) reason(r verdict.Reason) {
	mark := map[verdict.Answer]cell{verdict.No: {"FAIL", red}, verdict.Unknown: {"UNKNOWN", yellow}, verdict.Yes: {"warn", yellow}}[r.Answer]
	p.line("  " + p.paint(mark) + " " + r.Rule + ": " + clean(r.Text))
	list, more := p.some(r.Evidence, someEvidence)
	for _, e := range list {
		p.line("       - " + clean(e))
	}
	if more > 0 {
		p.line(fmt.Sprintf("       - and %d more (--all shows them)", more))
	}
	if r.Owner != "" {
		p.line("       owner: " + clean(r.Owner))
	}
	if r.Remedy != "" {
		p.line("       way out: " + clean(r.Remedy))
	}
}

// again shows a reason of the second answer; in one line where the first answer
// has explained it already.
func (p *page) again(r verdict.Reason, explained []verdict.Reason) {
	for _, e := range explained {
		if e.Rule == r.Rule && e.Text == r.Text {
			p.line("  " + p.paint(cell{"FAIL", red}) + " " + r.Rule + ": as above")
			return
		}
	}
	p.reason(r)
}

func date(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
