// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package term is what every command of the command line shares: the terminal, the
// flags that all have, tables, progress, exit codes, and the way to the server.
//
// The answer goes to standard output, everything else to standard error.
package term

import (
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

// Term is what every command has at hand.
type Term struct {
	IO
	Addr, TokenFile, CACert string // as the flags say; "": see Client
	Output                  string // table, json or another format of the command
	Line                    Progress
}

// New returns the terminal of one command line.
func New(std IO) *Term {
	a := &Term{IO: std}
	a.Line.a = a
	return a
}

// AddFlags gives a root command the flags that all commands have.
func (a *Term) AddFlags(root *cobra.Command) {
	flags := root.PersistentFlags()
	flags.StringVar(&a.Addr, "addr", "", "address of the server (environment: GOLDKEEP_ADDR)")
	flags.StringVar(&a.TokenFile, "token-file", "", "file that holds the token (environment: GOLDKEEP_TOKEN holds the token itself)")
	flags.StringVar(&a.CACert, "ca-cert", "", "PEM file of the CA to trust for the server (environment: GOLDKEEP_CACERT)")
	flags.StringVarP(&a.Output, "output", "o", "table", "how to print the answer: table or json (check: also cyclonedx, spdx, sarif)")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return Usage(cmd, "%s", err.Error())
	})
}

// StrictArgs makes wrong arguments of a door's commands usage errors.
func StrictArgs(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return Usage(cmd, "%s", err.Error())
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		StrictArgs(sub)
	}
}

// Group makes a command that only holds others.
func Group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short}
	cmd.AddCommand(commands...)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return Unknown(cmd, args[0])
		}
		return Usage(cmd, "%s needs one of: %s", cmd.CommandPath(), strings.Join(Verbs(cmd), ", "))
	}
	var examples []string
	for _, c := range commands {
		first, _, _ := strings.Cut(c.Example, "\n")
		examples = append(examples, first)
	}
	cmd.Example = strings.Join(examples, "\n")
	AsGroup(cmd)
	return cmd
}

// AsGroup has the command itself look at words that are no command, so that they
// are an error with a suggestion.
func AsGroup(cmd *cobra.Command) {
	cmd.Args = cobra.ArbitraryArgs
	cmd.DisableFlagsInUseLine = true
	cmd.SuggestionsMinimumDistance = 2
}

// Verbs are the names of the commands in a group.
func Verbs(cmd *cobra.Command) []string {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return names
}
