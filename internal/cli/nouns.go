// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/fault"
)

func (a *app) environmentCommand() *cobra.Command {
	list := &cobra.Command{
		Use: "list", Short: "List the environments of the server", Args: wanted(),
		Example: "  goldkeep environment list",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			items, err := c.Environments(cmd.Context())
			if err != nil {
				return err
			}
			return printList(a, items, "environments", func(t *table) {
				t.row("NAME", "OWNER", "CONTACT", "AFTER", "ON FAIL")
				for _, e := range items {
					t.row(e.Name, e.Owner, e.Contact, e.After, e.OnFail)
				}
			})
		},
	}
	show := &cobra.Command{
		Use: "show NAME", Short: "Show an environment with its rules", Args: wanted("NAME"),
		Example: "  goldkeep environment show prod",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			e, err := c.Environment(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(e, func(t *table) {
				t.row("name", e.Name)
				t.row("owner", e.Owner)
				t.row("contact", e.Contact)
				t.row("after", e.After)
				t.row("on fail", e.OnFail)
				t.rules("admit", e.Admit)
				t.rules("retain", e.Retain)
			})
		},
	}
	return group("environment", "See the environments and their rules", list, show)
}

func (a *app) goldenCommand() *cobra.Command {
	list := &cobra.Command{
		Use: "list", Short: "List the golden images and what stands in their channels", Args: wanted(),
		Example: "  goldkeep golden list",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			items, err := c.Goldens(cmd.Context())
			if err != nil {
				return err
			}
			return printList(a, items, "golden images", func(t *table) {
				t.row("NAME", "OWNER", "CHANNEL", "DIGEST")
				for _, g := range items {
					if len(g.Channels) == 0 {
						t.row(g.Name, g.Owner, "", "")
					}
					for _, channel := range sortedKeys(g.Channels) {
						t.row(g.Name, g.Owner, channel, g.Channels[channel])
					}
				}
			})
		},
	}
	return group("golden", "See the golden images", list)
}

func (a *app) workloadCommand() *cobra.Command {
	list := &cobra.Command{
		Use: "list", Short: "List the workloads", Args: wanted(),
		Example: "  goldkeep workload list",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			items, err := c.Workloads(cmd.Context())
			if err != nil {
				return err
			}
			return printList(a, items, "workloads", func(t *table) {
				t.row("NAME", "ENVIRONMENT", "OWNER", "GOLDEN", "CHANNEL", "SECRETS")
				for _, w := range items {
					t.row(w.Name, w.Environment, w.Owner, w.Image.Golden, w.Image.Channel, len(w.Secrets))
				}
			})
		},
	}
	show := &cobra.Command{
		Use: "show NAME", Short: "Show a workload and the secrets it needs", Args: wanted("NAME"),
		Example: "  goldkeep workload show shop",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			w, err := c.Workload(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(w, func(t *table) { showWorkload(t, w) })
		},
	}
	return group("workload", "See the workloads", list, show)
}

func showWorkload(t *table, w *client.Workload) {
	t.row("name", w.Name)
	t.row("environment", w.Environment)
	t.row("owner", strings.TrimSpace(w.Owner+" "+w.Contact))
	t.row("golden image", w.Image.Golden)
	t.row("channel", w.Image.Channel)
	t.row("nodes", first(strings.Join(w.Nodes, ", "), "any"))
	if w.User != nil {
		t.row("user", strconv.Itoa(*w.User))
	}
	for _, s := range w.Secrets {
		from := s.Mount + "/" + s.KV
		if s.Field != "" {
			from += " field " + s.Field
		}
		to := "file " + s.File
		if s.File == "" {
			to = "environment " + s.Env
		}
		t.row("secret", from+" -> "+to)
	}
	if w.OnChange.Signal != "" {
		t.row("on change", w.OnChange.Signal)
	}
}

func (a *app) instanceCommand() *cobra.Command {
	var ended bool
	list := &cobra.Command{
		Use: "list", Short: "List what runs, and what may keep its secrets until when", Args: wanted(),
		Example: "  goldkeep instance list\n  goldkeep instance list --all -o json   # those that ended too",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			items, err := c.Instances(cmd.Context(), ended)
			if err != nil {
				return err
			}
			return printList(a, items, "instances", func(t *table) {
				t.row("ID", "WORKLOAD", "ENVIRONMENT", "NODE", "STATE", "UNTIL", "REASON")
				for _, i := range items {
					t.row(i.ID, i.Workload, i.Environment, i.Node, i.State, i.Until, i.Reason)
				}
			})
		},
	}
	list.Flags().BoolVar(&ended, "all", false, "instances that are gone, too")
	show := &cobra.Command{
		Use: "show ID", Short: "Show one instance", Args: wanted("ID"),
		Example: "  goldkeep instance show i-4f7c",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			i, err := c.Instance(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(i, func(t *table) { showInstance(t, i) })
		},
	}
	return group("instance", "See what runs and has an identity", list, show)
}

func showInstance(t *table, i *client.Instance) {
	t.row("id", i.ID)
	t.row("workload", i.Workload)
	t.row("environment", i.Environment)
	t.row("owner", i.Owner)
	t.row("node", i.Node)
	t.row("image", i.Image)
	t.row("kind", i.Kind)
	if i.Container != "" {
		t.row("container", i.Container)
	}
	t.row("uid", i.UID)
	t.row("state", i.State)
	t.row("reason", i.Reason)
	t.row("until", i.Until)
	t.row("since", i.Created)
	t.row("expires", i.Expires)
	t.row("spiffe id", i.SPIFFEID)
}

func (a *app) nodeCommand() *cobra.Command {
	var out string
	enrol := &cobra.Command{
		Use: "enrol NAME", Short: "Make a token for the agent of a node", Args: wanted("NAME"),
		Long: "Make a token for the agent of a node. The token is shown once and kept nowhere.\n" +
			"Whoever has it may ask for the identities of the workloads on that node.",
		Example: "  goldkeep node enrol web-1 --out node.token   # a file only you can read\n  goldkeep node enrol web-1 | ssh web-1 'umask 077; cat > node.token'",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			n, err := c.EnrolNode(cmd.Context(), args[0])
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
		},
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
