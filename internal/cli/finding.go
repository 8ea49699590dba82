// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/manifest"
	"github.com/goldkeep/goldkeep/internal/term"
	"github.com/goldkeep/goldkeep/internal/verdict"
	"github.com/goldkeep/goldkeep/internal/vex"
)

func (a *app) verdictCommand() *cobra.Command {
	var environment string
	cmd := &cobra.Command{
		Use: "verdict DIGEST|NAME@DIGEST --env NAME", Short: "Ask the server whether an image may run in an environment, and why not", Args: term.Wanted("DIGEST"),
		Long: "Ask the server whether an image may run in an environment, and why not. The exit\n" +
			"code is 3 where it may not. One it has never seen is refused; with NAME@DIGEST it\n" +
			"fetches that from the registry meanwhile.",
		Example: "  goldkeep verdict sha256:4f7c... --env prod\n  goldkeep verdict sha256:4f7c... --env prod -o json | jq -r '.admit.reasons[].remedy'",
		RunE: a.Online(func(ctx context.Context, c *client.Client, args []string) error {
			v, err := askVerdict(ctx, c, environment, args[0])
			if err != nil {
				return err
			}
			if err := a.Print(v, func(t *term.Table) { showVerdict(t, v) }); err != nil {
				return err
			}
			if v.Admit.Answer != string(verdict.Yes) {
				return term.Answered(term.ExitRefused)
			}
			return nil
		}),
	}
	cmd.Flags().StringVar(&environment, "env", "", "the environment to ask for")
	return term.Required(cmd, "env")
}

func askVerdict(ctx context.Context, c *client.Client, environment, image string) (*client.Verdict, error) {
	if _, digest, named := strings.Cut(image, "@"); named {
		return c.AskVerdict(ctx, environment, digest, image)
	}
	return c.Verdict(ctx, environment, image)
}

// answers is a verdict in one line.
func answers(v client.Verdict) string {
	line := fmt.Sprintf("admit %s, retain %s", v.Admit.Answer, v.Retain.Answer)
	if v.Retain.Action != "" {
		line += " (" + v.Retain.Action + ")"
	}
	return line
}

func showVerdict(t *term.Table, v *client.Verdict) {
	t.Row("image", v.Image)
	t.Row("environment", v.Environment)
	t.Row("admit", v.Admit.Answer)
	showReasons(t, v.Admit.Reasons)
	t.Row("retain", strings.TrimSpace(v.Retain.Answer+" "+v.Retain.Action))
	showReasons(t, v.Retain.Reasons)
	t.Row("at", v.At)
	if !v.Until.IsZero() {
		t.Row("changes by itself at", v.Until)
	}
}

// showReasons shows why, what shows it, who to call and what to do.
func showReasons(t *term.Table, reasons []client.Reason) {
	const most = 5
	for _, r := range reasons {
		word := r.Answer
		if r.Answer == string(verdict.Yes) {
			word = "warning"
		}
		t.Row("  "+word, r.Rule+": "+r.Text)
		for i, e := range r.Evidence {
			if i == most {
				t.Row(nil, fmt.Sprintf("  and %d more (-o json shows all)", len(r.Evidence)-most))
				break
			}
			t.Row(nil, "  "+e)
		}
		if r.Remedy != "" {
			t.Row(nil, "way out: "+r.Remedy)
		}
		if r.Owner != "" {
			t.Row(nil, "owner: "+r.Owner)
		}
		if !r.Deadline.IsZero() {
			t.Row(nil, "until: "+term.Moment(r.Deadline))
		}
	}
}

func (a *app) findingCommand() *cobra.Command {
	return term.Group("finding", "See the flaws of an image, and decide about them", a.findingListCommand(), a.findingTriageCommand())
}

func (a *app) findingListCommand() *cobra.Command {
	var digest string
	var hidden bool
	cmd := &cobra.Command{
		Use: "list --image DIGEST", Short: "List the findings of an image, most urgent first", Args: term.Wanted(),
		Example: "  goldkeep finding list --image sha256:4f7c...\n  goldkeep finding list --image sha256:4f7c... --all -o json",
		RunE: a.Online(func(ctx context.Context, c *client.Client, _ []string) error {
			i, err := c.Image(ctx, digest)
			if err != nil {
				return err
			}
			var evidence verdict.Evidence
			if len(i.Evidence) == 0 {
				return notFound("the server has no evidence about this image: its state is %s", i.State).WithHint("send it with: goldkeep image add")
			}
			if err := json.Unmarshal(i.Evidence, &evidence); err != nil {
				return fmt.Errorf("decode evidence: %w", err)
			}
			decided, err := c.TriageOn(ctx, digest)
			if err != nil {
				return err
			}
			found := slices.DeleteFunc(evidence.Findings, func(f finding.Finding) bool { return f.Hidden != "" && !hidden })
			return term.PrintList(a.Term, found, "findings", func(t *term.Table) { showFindings(t, found, decided, time.Now()) })
		}),
	}
	cmd.Flags().StringVar(&digest, "image", "", "any digest of the image")
	cmd.Flags().BoolVar(&hidden, "all", false, "findings that do not count, too, with the reason")
	return term.Required(cmd, "image")
}

// decisionsOn tells what was decided about a finding and still counts.
func decisionsOn(f finding.Finding, decided []client.Triage, now time.Time) (notes []string) {
	for _, d := range decided {
		t := verdict.Triage{Finding: d.Finding, Aliases: d.Aliases, Packages: d.Packages}
		if d.Expires.After(now) && t.Speaks(f) {
			note := strings.ReplaceAll(d.Status, "_", " ") + " until " + term.Moment(d.Expires) + " by " + d.Author + ": " + d.Reason
			if d.Workload != "" {
				note = "for workload " + d.Workload + " " + note
			}
			notes = append(notes, note)
		}
	}
	return notes
}

func showFindings(t *term.Table, found []finding.Finding, decided []client.Triage, now time.Time) {
	t.Row("FINDING", "URGENCY", "SEVERITY", "SCORE", "PACKAGE", "VERSION", "FIXED IN", "NOTE")
	for _, f := range found {
		score := ""
		if f.Score > 0 {
			score = fmt.Sprintf("%.1f", f.Score)
		}
		var notes []string
		if f.Exploited {
			notes = append(notes, "known to be exploited")
		}
		if f.Hidden != "" {
			notes = append(notes, "does not count: "+f.Hidden)
		}
		if f.Vendor != "" {
			notes = append(notes, f.Vendor)
		}
		notes = append(notes, decisionsOn(f, decided, now)...)
		t.Row(f.ID, f.Urgency, f.Severity, score, f.Package, f.Version, f.Fixed, strings.Join(notes, "; "))
	}
}

// triageFlags are what a decision says.
type triageFlags struct {
	image, golden, workload, status, justification, reason, expires string
	packages                                                        []string
}

func (a *app) findingTriageCommand() *cobra.Command {
	var o triageFlags
	cmd := &cobra.Command{
		Use: "triage ID --image DIGEST|--golden NAME|--workload NAME --status STATUS --reason TEXT", Short: "Decide about a finding, for a time", Args: term.Wanted("ID"),
		Long: "Decide about a finding, for a time. The status is one of\n" +
			"  not_affected  the flaw cannot be used here; needs a justification\n" +
			"  accepted      the risk is known and taken\n" +
			"  fixing        a fix is under way; the finding still counts\n" +
			"and a justification is one of OpenVEX's:\n  " + strings.Join(vex.Justifications, "\n  ") + "\n" +
			"Every decision has an author (whose token it is), a reason and an end within a year, and\n" +
			"stands in the audit log. One for a golden image counts for the images built from it too,\n" +
			"one for a workload for what that runs, in its environment. An advisory that bundles\n" +
			"several CVEs counts until every one of them, or the advisory itself, is decided about.",
		Example: "  goldkeep finding triage CVE-2024-45338 --golden shop --status not_affected \\\n" +
			"      --justification vulnerable_code_not_in_execute_path --reason 'the parser is never called' --expires 30d\n" +
			"  goldkeep finding triage CVE-2024-45338 --workload shop --package golang.org/x/net --status accepted --reason 'internal only' --expires 2w",
		RunE: func(cmd *cobra.Command, args []string) error {
			triage, err := o.triage(cmd, args[0], time.Now())
			if err != nil {
				return err
			}
			c, err := a.Client()
			if err != nil {
				return err
			}
			kept, err := c.PutTriage(cmd.Context(), triage)
			if err != nil {
				return err
			}
			return a.Print(kept, func(t *term.Table) {
				t.Row(triageHead...)
				showTriage(t, *kept)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.image, "image", "", "digest of the one image it is about")
	f.StringVar(&o.golden, "golden", "", "golden image it is about, with those built from it")
	f.StringVar(&o.workload, "workload", "", "workload it is about: what that runs, in its environment")
	f.StringArrayVar(&o.packages, "package", nil, "only in this package, by name or package URL; may be given again")
	f.StringVar(&o.justification, "justification", "", "of not_affected: why")
	f.StringVar(&o.status, "status", "", "not_affected, accepted or fixing")
	f.StringVar(&o.reason, "reason", "", "why, for those who read it later")
	f.StringVar(&o.expires, "expires", "30d", "how long it holds: 72h, 30d, 2w; or a date")
	return term.Required(cmd, "status", "reason")
}

func (o triageFlags) triage(cmd *cobra.Command, id string, now time.Time) (client.Triage, error) {
	t := client.Triage{
		Finding: id, Image: o.image, Golden: o.golden, Workload: o.workload, Packages: o.packages,
		Status: o.status, Justification: o.justification, Reason: o.reason,
	}
	scopes := slices.DeleteFunc([]string{o.image, o.golden, o.workload}, func(s string) bool { return s == "" })
	switch {
	case len(scopes) != 1:
		return t, term.Usage(cmd, "say what it is about: one of --image DIGEST, --golden NAME and --workload NAME")
	case !slices.Contains([]string{verdict.NotAffected, verdict.Accepted, verdict.Fixing}, o.status):
		return t, term.Usage(cmd, "--status is one of not_affected, accepted, fixing")
	case o.status == verdict.NotAffected && !vex.Justified(o.justification):
		return t, term.Usage(cmd, "not_affected needs --justification, one of %s", strings.Join(vex.Justifications, ", "))
	case strings.TrimSpace(o.reason) == "":
		return t, term.Usage(cmd, "--reason is needed: somebody will ask")
	}
	var err error
	t.Expires, err = ending(cmd, o.expires, now)
	return t, err
}

// ending is when something ends: after a length of time, or at a date to come.
func ending(cmd *cobra.Command, text string, now time.Time) (time.Time, error) {
	if d, err := manifest.ParseDuration(text); err == nil {
		return now.Add(time.Duration(d)).UTC(), nil
	}
	at, err := parseMoment(text)
	if err != nil || !at.After(now) {
		return at, term.Usage(cmd, "--expires %q is neither a length of time (30d) nor a date to come (2027-01-31)", text)
	}
	return at, nil
}

// parseMoment reads a date or a time (RFC 3339); a date is its first moment in UTC.
func parseMoment(text string) (time.Time, error) {
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return t, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	return t.UTC(), err
}

func (a *app) triageCommand() *cobra.Command {
	list := term.Listing[client.Triage]{
		Short: "List the decisions on findings", Example: "  goldkeep triage list", What: "decisions",
		Ask:  (*client.Client).Triages,
		Head: triageHead, Rows: showTriage,
	}
	remove := &cobra.Command{
		Use: "remove ID", Short: "Take a decision back; the finding counts again", Args: term.Wanted("ID"),
		Example: "  goldkeep triage remove t-81f0",
		RunE: a.Online(func(ctx context.Context, c *client.Client, args []string) error {
			if err := c.DeleteTriage(ctx, args[0]); err != nil {
				return err
			}
			a.Note("the decision %s is taken back", args[0])
			return nil
		}),
	}
	return term.Group("triage", "See the decisions on findings, and take them back", list.Command(a.Term), remove)
}

var triageHead = []any{"ID", "FINDING", "FOR", "STATUS", "AUTHOR", "EXPIRES", "REASON"}

func showTriage(t *term.Table, d client.Triage) {
	place, author, status := d.Image, d.Author, d.Status
	if d.Golden != "" {
		place = "golden image " + d.Golden
	}
	if d.Workload != "" {
		place = "workload " + d.Workload
	}
	if d.Imported != "" {
		author += ", imported by " + d.Imported
	}
	if d.Justification != "" {
		status += ": " + d.Justification
	}
	t.Row(d.ID, strings.Join(append([]string{d.Finding}, d.Packages...), " in "), place, status, author, d.Expires, d.Reason)
}
