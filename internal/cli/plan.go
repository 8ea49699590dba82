// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/manifest"

	"github.com/goldkeep/goldkeep/internal/term"
)

// changes are the flags of plan and apply.
type changes struct {
	files []string
	prune bool
	yes   bool
}

func (a *app) planCommand() *cobra.Command {
	var o changes
	cmd := &cobra.Command{
		Use: "plan -f FILE|FOLDER|-", Short: "Show what apply would change on the server", Args: term.Wanted(),
		Long: "Show what apply would change on the server. Nothing is changed. Documents are of\n" +
			"the kinds Environment, GoldenImage, Workload, Signer, Notification and Policy.",
		Example: "  goldkeep plan -f goldkeep/\n  goldkeep plan -f prod.yaml --prune   # what is not in the files would go",
		RunE: a.Online(func(ctx context.Context, c *client.Client, _ []string) error {
			request, err := a.readDocuments(o)
			if err != nil {
				return err
			}
			plan, err := c.Plan(ctx, request)
			if err != nil {
				return err
			}
			return a.showPlan(plan, true)
		}),
	}
	return o.addFlags(cmd)
}

func (a *app) applyCommand() *cobra.Command {
	var o changes
	cmd := &cobra.Command{
		Use: "apply -f FILE|FOLDER|-", Short: "Make the server be what the files say", Args: term.Wanted(),
		Long: "Make the server be what the files say. They are checked as a whole first: on any\n" +
			"error in them nothing changes. On a terminal the changes are shown first, and you are asked.",
		Example: "  goldkeep apply -f goldkeep/\n  goldkeep apply -f goldkeep/ --prune --yes   # in a pipeline\n  cat prod.yaml | goldkeep apply -f - --yes",
		RunE: a.Online(func(ctx context.Context, c *client.Client, _ []string) error {
			request, err := a.readDocuments(o)
			if err != nil {
				return err
			}
			if !o.yes {
				if agreed, err := a.agree(ctx, c, request, o); err != nil || !agreed {
					return err
				}
			}
			plan, err := c.Apply(ctx, request)
			if err != nil {
				return err
			}
			return a.showPlan(plan, false)
		}),
	}
	cmd.Flags().BoolVar(&o.yes, "yes", false, "do not ask")
	return o.addFlags(cmd)
}

func (o *changes) addFlags(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringArrayVarP(&o.files, "file", "f", nil, "a file, a folder of *.yaml files, or - for standard input; may be given again")
	cmd.Flags().BoolVar(&o.prune, "prune", false, "remove what is on the server and not in the files")
	return term.Required(cmd, "file")
}

// agree shows what would change and asks. Where nobody can be asked, --yes is
// needed.
func (a *app) agree(ctx context.Context, c *client.Client, request client.PlanRequest, o changes) (bool, error) {
	if _, ok := term.IsTerminal(a.In); !ok || !a.Terminal || slices.Contains(o.files, "-") {
		return false, term.UsageHint("nobody can be asked: this is not a terminal", "look at it with goldkeep plan, then say: goldkeep apply --yes")
	}
	plan, err := c.Plan(ctx, request)
	if err != nil {
		return false, err
	}
	writePlan(a.Err, plan, true)
	if !changing(plan) {
		return false, nil
	}
	if !a.Confirm(ctx, "apply this?") {
		a.Note("nothing was changed")
		return false, ctx.Err()
	}
	return true, nil
}

// readDocuments reads and checks the files here, so that a slip shows before a
// server is asked, and returns their text.
func (a *app) readDocuments(o changes) (client.PlanRequest, error) {
	stdin := ""
	if slices.Contains(o.files, "-") {
		text, err := io.ReadAll(io.LimitReader(a.In, manifest.MaxBytes+1))
		if err != nil {
			return client.PlanRequest{}, fault.New(fault.Invalid, "read standard input: %w", err)
		}
		stdin = string(text)
	}
	docs, err := manifest.ReadPaths(strings.NewReader(stdin), o.files...)
	if err != nil {
		return client.PlanRequest{}, err
	}
	request := client.PlanRequest{Prune: o.prune}
	seen := map[string]bool{}
	for _, d := range docs {
		if seen[d.File] {
			continue
		}
		seen[d.File] = true
		text := stdin
		if d.File != "stdin" || !slices.Contains(o.files, "-") {
			read, err := os.ReadFile(d.File)
			if err != nil {
				return client.PlanRequest{}, fault.New(fault.Invalid, "read manifest: %w", err)
			}
			text = string(read)
		}
		request.Documents = append(request.Documents, client.Document{File: d.File, Text: text})
	}
	return request, nil
}

func (a *app) showPlan(plan *client.Plan, would bool) error {
	return a.Print(plan, func(t *term.Table) { writePlan(t, plan, would) })
}

var signs = map[string]string{"create": "+", "update": "~", "delete": "-"}

// writePlan writes a line for each change: + created, ~ updated, - deleted.
func writePlan(w io.Writer, plan *client.Plan, would bool) {
	n := map[string]int{}
	for _, c := range plan.Changes {
		sign := signs[c.Action]
		n[sign]++
		if sign != "" {
			line := fmt.Sprintf("%s %s %s", sign, c.Kind, c.Name)
			if len(c.Fields) > 0 {
				line += ": " + strings.Join(c.Fields, ", ")
			}
			fmt.Fprintln(w, term.Printable(line))
		}
		if c.Warning != "" {
			place := ""
			if c.File != "" {
				place = fmt.Sprintf(" (%s:%d)", c.File, c.Line)
			}
			fmt.Fprintln(w, term.Printable("  ! "+c.Warning+place))
		}
	}
	switch {
	case !changing(plan):
		fmt.Fprintf(w, "nothing to change: %d unchanged\n", n[""])
	case would:
		fmt.Fprintf(w, "%d would be created, %d updated, %d deleted, %d unchanged\n", n["+"], n["~"], n["-"], n[""])
	default:
		fmt.Fprintf(w, "%d created, %d updated, %d deleted, %d unchanged\n", n["+"], n["~"], n["-"], n[""])
	}
}

// changing reports whether a plan changes anything.
func changing(plan *client.Plan) bool {
	return slices.ContainsFunc(plan.Changes, func(c client.Change) bool { return signs[c.Action] != "" })
}
