// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/fault"

	"github.com/goldkeep/goldkeep/internal/term"
)

func (a *app) environmentCommand() *cobra.Command {
	list := term.Listing[client.Environment]{
		Short: "List the environments of the server", Example: "  goldkeep environment list", What: "environments",
		Ask:  (*client.Client).Environments,
		Head: []any{"NAME", "OWNER", "CONTACT", "AFTER", "ON FAIL"},
		Rows: func(t *term.Table, e client.Environment) { t.Row(e.Name, e.Owner, e.Contact, e.After, e.OnFail) },
	}
	show := term.Showing[*client.Environment]{
		Use: "show", Short: "Show an environment with its rules", Example: "  goldkeep environment show prod",
		Ask: (*client.Client).Environment,
	}
	return term.Group("environment", "See the environments and their rules", list.Command(a.Term), show.Command(a.Term, "NAME"))
}

func (a *app) goldenCommand() *cobra.Command {
	list := term.Listing[client.Golden]{
		Short: "List the golden images and what stands in their channels", Example: "  goldkeep golden list", What: "golden images",
		Ask:  (*client.Client).Goldens,
		Head: []any{"NAME", "OWNER", "CHANNEL", "DIGEST"},
		Rows: func(t *term.Table, g client.Golden) {
			if len(g.Channels) == 0 {
				t.Row(g.Name, g.Owner, "", "")
			}
			for _, channel := range sortedKeys(g.Channels) {
				t.Row(g.Name, g.Owner, channel, g.Channels[channel])
			}
		},
	}
	return term.Group("golden", "See the golden images", list.Command(a.Term))
}

func (a *app) workloadCommand() *cobra.Command {
	list := term.Listing[client.Workload]{
		Short: "List the workloads", Example: "  goldkeep workload list", What: "workloads",
		Ask:  (*client.Client).Workloads,
		Head: []any{"NAME", "ENVIRONMENT", "OWNER", "GOLDEN", "CHANNEL", "SECRETS"},
		Rows: func(t *term.Table, w client.Workload) {
			t.Row(w.Name, w.Environment, w.Owner, w.Image.Golden, w.Image.Channel, len(w.Secrets))
		},
	}
	show := term.Showing[*client.Workload]{
		Use: "show", Short: "Show a workload and the secrets it needs", Example: "  goldkeep workload show shop",
		Ask: (*client.Client).Workload,
	}
	return term.Group("workload", "See the workloads", list.Command(a.Term), show.Command(a.Term, "NAME"))
}

func (a *app) instanceCommand() *cobra.Command {
	var ended bool
	list := term.Listing[client.Instance]{
		Short:   "List what runs, and what may keep its secrets until when",
		Example: "  goldkeep instance list\n  goldkeep instance list --all -o json   # those that ended too", What: "instances",
		Ask:  func(c *client.Client, ctx context.Context) ([]client.Instance, error) { return c.Instances(ctx, ended) },
		Head: []any{"ID", "WORKLOAD", "ENVIRONMENT", "NODE", "STATE", "UNTIL", "REASON"},
		Rows: func(t *term.Table, i client.Instance) {
			t.Row(i.ID, i.Workload, i.Environment, i.Node, i.State, i.Until, i.Reason)
		},
	}.Command(a.Term)
	list.Flags().BoolVar(&ended, "all", false, "instances that are gone, too")
	show := term.Showing[*client.Instance]{
		Use: "show", Short: "Show one instance", Example: "  goldkeep instance show i-4f7c",
		Ask: (*client.Client).Instance,
	}
	return term.Group("instance", "See what runs and has an identity", list, show.Command(a.Term, "ID"))
}

func (a *app) nodeCommand() *cobra.Command {
	var out string
	enrol := &cobra.Command{
		Use: "enrol NAME", Short: "Make a token for the agent of a node", Args: term.Wanted("NAME"),
		Long: "Make a token for the agent of a node. The token is shown once and kept nowhere.\n" +
			"Whoever has it may ask for the identities of the workloads on that node.",
		Example: "  goldkeep node enrol web-1 --out node.token   # a file only you can read\n  goldkeep node enrol web-1 | ssh web-1 'umask 077; cat > node.token'",
		RunE: a.Online(func(ctx context.Context, c *client.Client, args []string) error {
			n, err := c.EnrolNode(ctx, args[0])
			if err != nil {
				return err
			}
			if out != "" {
				if err := term.WritePrivate(out, n.Token+"\n"); err != nil {
					return err
				}
				a.Note("the token of node %s is in %s", n.Node, out)
				return nil
			}
			if a.Output == "json" {
				return term.WriteJSON(a.Out, n)
			}
			_, err = fmt.Fprintln(a.Out, n.Token)
			return err
		}),
	}
	enrol.Flags().StringVar(&out, "out", "", "write the token to this file (mode 0600) instead of standard output")
	return term.Group("node", "Enrol the machines workloads run on", enrol)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// notFound is an error of ours for a thing that is not there.
func notFound(format string, args ...any) *fault.Error {
	return fault.New(fault.NotFound, format, args...)
}
