// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Command docs writes docs/cli, a page for each command:
//
//	go run ./hack/docs docs/cli
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/goldkeep/goldkeep/internal/cli"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go run ./hack/docs FOLDER")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "docs:", err)
		os.Exit(1)
	}
}

// root is the whole command line, as cmd/goldkeep wires it.
func root() *cobra.Command {
	return cli.Root(cli.IO{Getenv: func(string) string { return "" }}, cli.Doors{
		// Server: server.Command, Agent: agent.Command, Run: agent.RunCommand
	})
}

// write writes the pages and their index.
func write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var index strings.Builder
	index.WriteString("# Commands\n\nMade by `go run ./hack/docs docs/cli`; do not edit.\n\n| command | what it does |\n|---|---|\n")
	if err := writePages(root(), dir, &index); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "README.md"), []byte(index.String()), 0o644)
}

// writePages writes the page of a command and of all below it.
func writePages(cmd *cobra.Command, dir string, index *strings.Builder) error {
	name := strings.ReplaceAll(cmd.CommandPath(), " ", "_") + ".md"
	fmt.Fprintf(index, "| [%s](%s) | %s |\n", cmd.CommandPath(), name, cmd.Short)
	if err := os.WriteFile(filepath.Join(dir, name), []byte(docPage(cmd)), 0o644); err != nil {
		return err
	}
	for _, c := range cmd.Commands() {
		if c.Hidden || c.Name() == "help" || c.Name() == "completion" {
			continue
		}
		if err := writePages(c, dir, index); err != nil {
			return err
		}
	}
	return nil
}

// docPage is the Markdown page of a command.
func docPage(cmd *cobra.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n%s.\n", cmd.CommandPath(), strings.TrimSuffix(cmd.Short, "."))
	if cmd.Long != "" {
		fmt.Fprintf(&b, "\n```text\n%s\n```\n", strings.TrimSpace(cmd.Long))
	}
	if cmd.Runnable() && !cmd.HasSubCommands() {
		fmt.Fprintf(&b, "\n```text\n%s\n```\n", cmd.UseLine())
	}
	if cmd.HasAvailableSubCommands() {
		b.WriteString("\n## Commands\n\n")
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() && c.Name() != "help" && c.Name() != "completion" {
				fmt.Fprintf(&b, "* [%s](%s.md): %s\n", c.CommandPath(), strings.ReplaceAll(c.CommandPath(), " ", "_"), c.Short)
			}
		}
	}
	if cmd.Example != "" {
		fmt.Fprintf(&b, "\n## Examples\n\n```sh\n%s\n```\n", unindent(cmd.Example))
	}
	flagTable(&b, "Flags", cmd.LocalNonPersistentFlags())
	if cmd.HasParent() {
		flagTable(&b, "Flags of every command", cmd.InheritedFlags())
	} else {
		flagTable(&b, "Flags of every command", cmd.PersistentFlags())
	}
	return b.String()
}

func flagTable(b *strings.Builder, title string, flags *pflag.FlagSet) {
	var rows strings.Builder
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		name := "`--" + f.Name + "`"
		if f.Shorthand != "" {
			name = "`-" + f.Shorthand + "`, " + name
		}
		value := ""
		if f.DefValue != "" && f.DefValue != "[]" && f.DefValue != "false" {
			value = "`" + f.DefValue + "`"
		}
		fmt.Fprintf(&rows, "| %s | %s | %s |\n", name, value, strings.ReplaceAll(f.Usage, "|", "\\|"))
	})
	if rows.Len() > 0 {
		fmt.Fprintf(b, "\n## %s\n\n| flag | default | what it does |\n|---|---|---|\n%s", title, rows.String())
	}
}

func unindent(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimPrefix(lines[i], "  ")
	}
	return strings.Join(lines, "\n")
}
