// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
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
		Ask: (*client.Client).Delivery, Fill: showDelivery,
	}
	test := term.Showing[*client.Delivery]{
		Use: "test", Short: "Send a test message to where a notification goes", Example: "  goldkeep notification test payments-chat",
		Ask: (*client.Client).TestNotification, Fill: showDelivery,
	}
	return term.Group("notification", "See what owners were told, and where it goes", list, show.Command(a.Term, "ID"), targets, test.Command(a.Term, "NAME"))
}

// showDelivery tells how a digest went, then what was in it.
func showDelivery(t *term.Table, d *client.Delivery) {
	t.Row("id", d.ID)
	t.Row("notification", term.First(d.Notification, "none: the owner's contact"))
	t.Row("state", fmt.Sprintf("%s, attempts: %d", d.State, d.Attempts))
	for _, row := range []struct{ name, text string }{
		{"target", d.Target}, {"answer", d.Answer}, {"created", term.Moment(d.Created)}, {"next attempt", term.Moment(d.Next)}, {"settled", term.Moment(d.Settled)},
	} {
		if row.text != "" {
			t.Row(row.name, row.text)
		}
	}
	if d.Digest == nil {
		return
	}
	t.Row("told", strings.Join(d.Digest.Owners, ", "))
	t.Row("what happened between", term.Moment(d.Digest.From)+" and "+term.Moment(d.Digest.To))
	for _, cause := range d.Digest.Causes {
		t.Row("in the course of", cause)
	}
	for _, why := range d.Digest.Reasons {
		t.Row("why", fmt.Sprintf("%dx %s", why.Count, why.Text))
	}
	for _, remedy := range d.Digest.Remedies {
		t.Row("what to do", fmt.Sprintf("%dx %s", remedy.Count, remedy.Text))
	}
	for _, it := range d.Digest.Items {
		t.Row(it.Change, digestItem(it))
	}
	if d.Digest.More > 0 {
		t.Row("and more", d.Digest.More)
	}
}

// digestItem is one thing of a digest in a line.
func digestItem(it client.DigestItem) string {
	var parts []string
	add := func(what string, values ...string) {
		if text := strings.Join(values, ", "); text != "" {
			parts = append(parts, what+text)
		}
	}
	add("feed ", it.Feed)
	add("instance ", it.Instance)
	add("on ", it.Node)
	add("", term.First(it.ImageName, it.Image))
	add("in ", it.Environment)
	add("golden image ", it.Golden...)
	add("workload ", it.Workloads...)
	add("owner ", it.Owners...)
	if !it.Until.IsZero() {
		add("until ", term.Moment(it.Until))
	}
	return strings.Join(parts, "; ")
}
