// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package term

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/goldkeep/goldkeep/client"
)

// Online makes what a command does of a function that speaks to the server.
func (a *Term) Online(do func(ctx context.Context, c *client.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := a.Client()
		if err != nil {
			return err
		}
		return do(cmd.Context(), c, args)
	}
}

// Listing is a command that asks the server for a list and shows a row for each.
type Listing[T any] struct {
	Short, Example string
	What           string                                             // "images", for where there are none
	Ask            func(*client.Client, context.Context) ([]T, error) // a method of the client
	Head           []any
	Rows           func(t *Table, item T)
}

// Command makes the command "list".
func (l Listing[T]) Command(a *Term) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: l.Short, Example: l.Example, Args: Wanted(),
		RunE: a.Online(func(ctx context.Context, c *client.Client, _ []string) error {
			items, err := l.Ask(c, ctx)
			if err != nil {
				return err
			}
			return PrintList(a, items, l.What, func(t *Table) {
				t.Row(l.Head...)
				for _, item := range items {
					l.Rows(t, item)
				}
			})
		}),
	}
}

// Showing is a command that asks the server for one thing and shows it.
type Showing[T any] struct {
	Use, Short, Example string
	Ask                 func(c *client.Client, ctx context.Context, name string) (T, error) // a method of the client
	Fill                func(t *Table, thing T)                                             // nil: all its fields
}

// Command makes the command; name is what its argument is called: "ID".
func (s Showing[T]) Command(a *Term, name string) *cobra.Command {
	return &cobra.Command{
		Use: s.Use + " " + name, Short: s.Short, Example: s.Example, Args: Wanted(name),
		RunE: a.Online(func(ctx context.Context, c *client.Client, args []string) error {
			thing, err := s.Ask(c, ctx, args[0])
			if err != nil {
				return err
			}
			return a.Print(thing, func(t *Table) {
				if s.Fill == nil {
					t.Fields(thing)
					return
				}
				s.Fill(t, thing)
			})
		}),
	}
}
