// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/term"
)

func (a *app) notificationCommand() *cobra.Command {
	var state string
	list := term.Listing[client.Delivery]{
		Short:   "List the digests owners were sent, or will be, the newest first",
		Example: "  goldkeep notification list\n  goldkeep notification list --state failed -o json   # who could not be told?", What: "deliveries",
		Ask: func(c *client.Client, ctx context.Context) ([]client.Delivery, error) {
			return c.Deliveries(ctx, state, 0)
		},
		Head: []any{"ID", "CREATED", "NOTIFICATION", "STATE", "ATTEMPTS", "TARGET", "ANSWER"},
		Rows: func(t *term.Table, d client.Delivery) {
			t.Row(d.ID, d.Created, d.Notification, d.State, d.Attempts, d.Target, d.Answer)
		},
	}.Command(a.Term)
	list.Flags().StringVar(&state, "state", "", "pending, sent or failed only")
	targets := term.Listing[client.Notification]{
		Short: "List who is told of what, and where", Example: "  goldkeep notification targets", What: "notifications",
		Ask:  (*client.Client).Notifications,
		Head: []any{"NAME", "OWNER", "OWNERS", "ON", "TARGET"},
		Rows: func(t *term.Table, n client.Notification) {
			t.Row(n.Name, n.Owner, strings.Join(n.Owners, " "), strings.Join(n.On, " "), n.Target)
		},
	}.Command(a.Term)
	targets.Use = "targets"
	show := term.Showing[*client.Delivery]{
		Use: "show", Short: "Show a digest and how it was delivered", Example: "  goldkeep notification show 4kzifyz7pohoujcoqdtgd7eccx",
		Ask: (*client.Client).Delivery,
	}
	test := term.Showing[*client.Delivery]{
		Use: "test", Short: "Send a test message to where a notification goes", Example: "  goldkeep notification test payments-chat",
		Ask: (*client.Client).TestNotification,
	}
	return term.Group("notification", "See what owners were told, and where it goes", list, show.Command(a.Term, "ID"), targets, test.Command(a.Term, "NAME"))
}
