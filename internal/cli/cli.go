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
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// IO is what the outside of the program looks like.
type IO struct {
	In       io.Reader
	Out, Err io.Writer
	Terminal bool // Err is a terminal: progress and questions may be shown
	Width    int  // of the terminal, in characters; 0: not known
	Getenv   func(string) string
	Version  string // of this build; "": what the Go tool stamped into it
}

// Doors make the commands that other rooms offer. A nil one is left out.
type Doors struct {
	Server, Agent, Run func() *cobra.Command
}

// app is what every command has at hand.
type app struct {
	IO
	addr, tokenFile, caCert string
	output                  string
	line                    progress // what is under way
}

// Main runs one command line and returns the exit code ("goldkeep help
// exit-codes").
func Main(ctx context.Context, args []string, std IO, doors Doors) int {
	a := &app{IO: std}
	a.line.a = a
	root := a.root(doors)
	root.SetArgs(args)
	root.SetIn(std.In)
	root.SetOut(std.Out)
	root.SetErr(std.Err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	return a.fail(ctx, err)
}

// The groups of the help text.
const (
	groupImages = "images"
	groupServer = "server"
	groupPeople = "people"
	groupOther  = "other"
)

// Root is the command line as cobra has it, to write its reference.
func Root(std IO, doors Doors) *cobra.Command { return (&app{IO: std}).root(doors) }

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
		PersistentPreRunE: a.checkFlags,
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.addr, "addr", "", "address of the server (environment: GOLDKEEP_ADDR)")
	flags.StringVar(&a.tokenFile, "token-file", "", "file that holds the token (environment: GOLDKEEP_TOKEN holds the token itself)")
	flags.StringVar(&a.caCert, "ca-cert", "", "PEM file of the CA to trust for the server (environment: GOLDKEEP_CACERT)")
	flags.StringVarP(&a.output, "output", "o", "table", "how to print the answer: table or json (check: also cyclonedx, spdx, sarif)")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage(cmd, "%s", err.Error())
	})
	root.AddGroup(
		&cobra.Group{ID: groupImages, Title: "Images and rules:"},
		&cobra.Group{ID: groupServer, Title: "Running Goldkeep:"},
		&cobra.Group{ID: groupPeople, Title: "Secrets and workloads:"},
		&cobra.Group{ID: groupOther, Title: "Other:"},
	)
	root.SetHelpCommand(helpCommand())
	root.SetCompletionCommandGroupID(groupOther)
	a.addCommands(root)
	addDoors(root, doors)
	root.AddCommand(topics()...)
	asGroup(root)
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknown(cmd, args[0])
		}
		return cmd.Help()
	}
	return root
}

func (a *app) addCommands(root *cobra.Command) {
	add := func(id string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = id
			root.AddCommand(c)
		}
	}
	add(groupImages, a.checkCommand(), a.advisoryCommand(), a.imageCommand(), a.verdictCommand(), a.findingCommand(),
		a.triageCommand(), a.environmentCommand(), a.goldenCommand(), a.planCommand(), a.applyCommand())
	add(groupPeople, a.kvCommand(), a.workloadCommand(), a.instanceCommand(), a.loginCommand())
	add(groupServer, a.operatorCommand(), a.nodeCommand(), a.auditCommand(), a.statusCommand())
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
			strictArgs(c)
			root.AddCommand(c)
		}
	}
}

// strictArgs makes wrong arguments of a door's commands usage errors.
func strictArgs(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usage(cmd, "%s", err.Error())
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		strictArgs(sub)
	}
}

// group makes a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short}
	cmd.AddCommand(commands...)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknown(cmd, args[0])
		}
		return usage(cmd, "%s needs one of: %s", cmd.CommandPath(), strings.Join(verbs(cmd), ", "))
	}
	var examples []string
	for _, c := range commands {
		first, _, _ := strings.Cut(c.Example, "\n")
		examples = append(examples, first)
	}
	cmd.Example = strings.Join(examples, "\n")
	asGroup(cmd)
	return cmd
}

// asGroup has the command itself look at words that are no command, so that they
// are an error with a suggestion.
func asGroup(cmd *cobra.Command) {
	cmd.Args = cobra.ArbitraryArgs
	cmd.DisableFlagsInUseLine = true
	cmd.SuggestionsMinimumDistance = 2
}

func verbs(cmd *cobra.Command) []string {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return names
}
