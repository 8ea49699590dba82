// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/goldkeep/goldkeep/client"
)

// online makes what a command does of a function that speaks to the server.
func (a *app) online(do func(ctx context.Context, c *client.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		return do(cmd.Context(), c, args)
	}
}

// listing is a command that asks the server for a list and shows a row for each.
type listing[T any] struct {
	short, example string
	what           string                                             // "images", for where there are none
	ask            func(*client.Client, context.Context) ([]T, error) // a method of the client
	head           []any
	rows           func(t *table, item T)
}

func (l listing[T]) command(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: l.short, Example: l.example, Args: wanted(),
		RunE: a.online(func(ctx context.Context, c *client.Client, _ []string) error {
			items, err := l.ask(c, ctx)
			if err != nil {
				return err
			}
			return printList(a, items, l.what, func(t *table) {
				t.row(l.head...)
				for _, item := range items {
					l.rows(t, item)
				}
			})
		}),
	}
}

// showing is a command that asks the server for one thing and shows it.
type showing[T any] struct {
	use, short, example string
	ask                 func(c *client.Client, ctx context.Context, name string) (T, error) // a method of the client
	fill                func(t *table, thing T)                                             // nil: all its fields
}

func (s showing[T]) command(a *app, name string) *cobra.Command {
	return &cobra.Command{
		Use: s.use + " " + name, Short: s.short, Example: s.example, Args: wanted(name),
		RunE: a.online(func(ctx context.Context, c *client.Client, args []string) error {
			thing, err := s.ask(c, ctx, args[0])
			if err != nil {
				return err
			}
			return a.print(thing, func(t *table) {
				if s.fill == nil {
					t.fields(thing)
					return
				}
				s.fill(t, thing)
			})
		}),
	}
}
