// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package cli is the command line of Goldkeep: goldkeep <noun> <verb>.
//
// The answer goes to standard output, everything else to standard error. What
// needs a server speaks to it through the public client, like anybody else;
// "check" and "advisory" work without one.
package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/goldkeep/goldkeep/internal/keeper"
	"github.com/goldkeep/goldkeep/internal/sign"
	"github.com/goldkeep/goldkeep/internal/term"
)

// Doors make the commands that other rooms offer. A nil one is left out.
type Doors struct {
	Server, Agent, Run func() *cobra.Command
	Offline            keeper.Offline // what can be done to a server that does not run
}

// app makes the commands.
type app struct{ *term.Term }

// Main runs one command line and returns the exit code ("goldkeep help
// exit-codes").
func Main(ctx context.Context, args []string, std term.IO, doors Doors) int {
	a := &app{term.New(std)}
	root := a.root(doors)
	root.SetArgs(args)
	root.SetIn(std.In)
	root.SetOut(std.Out)
	root.SetErr(std.Err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return term.ExitOK
	}
	return a.Fail(ctx, err)
}

// The groups of the help text.
const (
	groupImages = "images"
	groupServer = "server"
	groupPeople = "people"
	groupOther  = "other"
)

// Root is the command line as cobra has it, to write its reference.
func Root(std term.IO, doors Doors) *cobra.Command { return (&app{term.New(std)}).root(doors) }

func (a *app) root(doors Doors) *cobra.Command {
	root := &cobra.Command{
		Use:   "goldkeep",
		Short: "Golden images, and the secrets that only they get",
		Long: "Goldkeep checks container images against rules, and gives secrets only to\n" +
			"workloads that run an image which passes.",
		Example: "  goldkeep advisory sync --from ./osv   # known vulnerabilities, once a day\n" +
			"  goldkeep check ./app.oci.tar          # is this image fit to run?\n" +
			"  goldkeep server --dev                 # a server to try things with",
		SilenceUsage:      true,
		SilenceErrors:     true,
		PersistentPreRunE: a.CheckFlags,
	}
	a.AddFlags(root)
	root.AddGroup(
		&cobra.Group{ID: groupImages, Title: "Images and rules:"},
		&cobra.Group{ID: groupServer, Title: "Running Goldkeep:"},
		&cobra.Group{ID: groupPeople, Title: "Secrets and workloads:"},
		&cobra.Group{ID: groupOther, Title: "Other:"},
	)
	root.SetHelpCommand(helpCommand())
	root.SetCompletionCommandGroupID(groupOther)
	a.addCommands(root, doors)
	addDoors(root, doors)
	root.AddCommand(topics()...)
	term.AsGroup(root)
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return term.Unknown(cmd, args[0])
		}
		return cmd.Help()
	}
	return root
}

func (a *app) addCommands(root *cobra.Command, doors Doors) {
	add := func(id string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = id
			root.AddCommand(c)
		}
	}
	add(groupImages, a.checkCommand(), a.advisoryCommand(), a.imageCommand(), sign.KeyCommand(a.Term), a.verdictCommand(), a.findingCommand(),
		a.triageCommand(), a.vexCommand(), a.environmentCommand(), a.goldenCommand(), a.planCommand(), a.applyCommand())
	add(groupPeople, a.workloadCommand(), a.instanceCommand(), a.notificationCommand())
	add(groupPeople, keeper.ForPeople(a.Term)...)
	add(groupServer, a.nodeCommand())
	add(groupServer, keeper.ForOperators(a.Term, doors.Offline)...)
	add(groupOther, a.versionCommand())
}

func addDoors(root *cobra.Command, doors Doors) {
	for _, d := range []struct {
		group string
		make  func() *cobra.Command
	}{{groupServer, doors.Server}, {groupServer, doors.Agent}, {groupPeople, doors.Run}} {
		if d.make != nil {
			c := d.make()
			c.GroupID = d.group
			term.StrictArgs(c)
			root.AddCommand(c)
		}
	}
}
