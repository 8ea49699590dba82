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
)

func (a *app) environmentCommand() *cobra.Command {
	list := listing[client.Environment]{
		short: "List the environments of the server", example: "  goldkeep environment list", what: "environments",
		ask:  (*client.Client).Environments,
		head: []any{"NAME", "OWNER", "CONTACT", "AFTER", "ON FAIL"},
		rows: func(t *table, e client.Environment) { t.row(e.Name, e.Owner, e.Contact, e.After, e.OnFail) },
	}
	show := showing[*client.Environment]{
		use: "show", short: "Show an environment with its rules", example: "  goldkeep environment show prod",
		ask: (*client.Client).Environment,
	}
	return group("environment", "See the environments and their rules", list.command(a), show.command(a, "NAME"))
}

func (a *app) goldenCommand() *cobra.Command {
	list := listing[client.Golden]{
		short: "List the golden images and what stands in their channels", example: "  goldkeep golden list", what: "golden images",
		ask:  (*client.Client).Goldens,
		head: []any{"NAME", "OWNER", "CHANNEL", "DIGEST"},
		rows: func(t *table, g client.Golden) {
			if len(g.Channels) == 0 {
				t.row(g.Name, g.Owner, "", "")
			}
			for _, channel := range sortedKeys(g.Channels) {
				t.row(g.Name, g.Owner, channel, g.Channels[channel])
			}
		},
	}
	return group("golden", "See the golden images", list.command(a))
}

func (a *app) workloadCommand() *cobra.Command {
	list := listing[client.Workload]{
		short: "List the workloads", example: "  goldkeep workload list", what: "workloads",
		ask:  (*client.Client).Workloads,
		head: []any{"NAME", "ENVIRONMENT", "OWNER", "GOLDEN", "CHANNEL", "SECRETS"},
		rows: func(t *table, w client.Workload) {
			t.row(w.Name, w.Environment, w.Owner, w.Image.Golden, w.Image.Channel, len(w.Secrets))
		},
	}
	show := showing[*client.Workload]{
		use: "show", short: "Show a workload and the secrets it needs", example: "  goldkeep workload show shop",
		ask: (*client.Client).Workload,
	}
	return group("workload", "See the workloads", list.command(a), show.command(a, "NAME"))
}

func (a *app) instanceCommand() *cobra.Command {
	var ended bool
	list := listing[client.Instance]{
		short:   "List what runs, and what may keep its secrets until when",
		example: "  goldkeep instance list\n  goldkeep instance list --all -o json   # those that ended too", what: "instances",
		ask:  func(c *client.Client, ctx context.Context) ([]client.Instance, error) { return c.Instances(ctx, ended) },
		head: []any{"ID", "WORKLOAD", "ENVIRONMENT", "NODE", "STATE", "UNTIL", "REASON"},
		rows: func(t *table, i client.Instance) {
			t.row(i.ID, i.Workload, i.Environment, i.Node, i.State, i.Until, i.Reason)
		},
	}.command(a)
	list.Flags().BoolVar(&ended, "all", false, "instances that are gone, too")
	show := showing[*client.Instance]{
		use: "show", short: "Show one instance", example: "  goldkeep instance show i-4f7c",
		ask: (*client.Client).Instance,
	}
	return group("instance", "See what runs and has an identity", list, show.command(a, "ID"))
}

func (a *app) nodeCommand() *cobra.Command {
	var out string
	enrol := &cobra.Command{
		Use: "enrol NAME", Short: "Make a token for the agent of a node", Args: wanted("NAME"),
		Long: "Make a token for the agent of a node. The token is shown once and kept nowhere.\n" +
			"Whoever has it may ask for the identities of the workloads on that node.",
		Example: "  goldkeep node enrol web-1 --out node.token   # a file only you can read\n  goldkeep node enrol web-1 | ssh web-1 'umask 077; cat > node.token'",
		RunE: a.online(func(ctx context.Context, c *client.Client, args []string) error {
			n, err := c.EnrolNode(ctx, args[0])
			if err != nil {
				return err
			}
			if out != "" {
				if err := writePrivate(out, n.Token+"\n"); err != nil {
					return err
				}
				a.note("the token of node %s is in %s", n.Node, out)
				return nil
			}
			if a.output == "json" {
				return writeJSON(a.Out, n)
			}
			_, err = fmt.Fprintln(a.Out, n.Token)
			return err
		}),
	}
	enrol.Flags().StringVar(&out, "out", "", "write the token to this file (mode 0600) instead of standard output")
	return group("node", "Enrol the machines workloads run on", enrol)
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
