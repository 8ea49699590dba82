// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// docsCommand writes the reference in docs/cli; hidden, for it is of use to those
// who build Goldkeep only.
func (a *app) docsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "docs FOLDER", Short: "Write the reference of all commands as Markdown", Args: wanted("FOLDER"), Hidden: true,
		Example: "  goldkeep docs docs/cli",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fault.New(fault.Invalid, "write reference: %w", err)
			}
			var index strings.Builder
			index.WriteString("# Commands\n\nMade by `go generate ./cmd/goldkeep`; do not edit.\n\n| command | what it does |\n|---|---|\n")
			if err := writePages(cmd.Root(), args[0], &index); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(args[0], "README.md"), []byte(index.String()), 0o644)
		},
	}
}

// writePages writes the page of a command and of all below it.
func writePages(cmd *cobra.Command, dir string, index *strings.Builder) error {
	name := strings.ReplaceAll(cmd.CommandPath(), " ", "_") + ".md"
	fmt.Fprintf(index, "| [%s](%s) | %s |\n", cmd.CommandPath(), name, cmd.Short)
	if err := os.WriteFile(filepath.Join(dir, name), []byte(docPage(cmd)), 0o644); err != nil {
		return fault.New(fault.Invalid, "write reference: %w", err)
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
