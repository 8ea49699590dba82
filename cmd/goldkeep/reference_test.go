// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/goldkeep/goldkeep/internal/cli"
	"github.com/goldkeep/goldkeep/internal/term"
)

var update = flag.Bool("update", false, "write docs/cli anew")

func root() *cobra.Command {
	return cli.Root(term.IO{Getenv: func(string) string { return "" }}, doors())
}

// TestReference fails where docs/cli is not what the commands say. With -update it
// writes docs/cli.
func TestReference(t *testing.T) {
	kept := filepath.Join("..", "..", "docs", "cli")
	if *update {
		if err := os.RemoveAll(kept); err != nil {
			t.Fatal(err)
		}
		if err := write(kept); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	if err := write(dir); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(pages(t, dir), pages(t, kept)); diff != "" {
		t.Errorf("docs/cli is stale; run: go generate ./cmd/goldkeep (- wanted, + there)\n%s", diff)
	}
}

func pages(t *testing.T, dir string) map[string]string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		texts[filepath.Base(name)] = string(text)
	}
	return texts
}

// TestEveryCommandHasAnExample keeps the promise of the help texts.
func TestEveryCommandHasAnExample(t *testing.T) {
	var look func(c *cobra.Command)
	look = func(c *cobra.Command) {
		topic := !c.Runnable() && !c.HasSubCommands()
		if !topic && !strings.Contains(c.Example, c.CommandPath()) {
			t.Errorf("%s has no example of its own", c.CommandPath())
		}
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: the short text is missing or ends in a full stop", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			look(sub)
		}
	}
	look(root())
}

// write writes the pages and their index.
func write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var index strings.Builder
	index.WriteString("# Commands\n\nMade by `go generate ./cmd/goldkeep`; do not edit.\n\n| command | what it does |\n|---|---|\n")
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

// place finds defaults in texts that depend on user and machine.
var place = regexp.MustCompile(`\(default /[^)]*goldkeep-server\)|\(default /var/lib/goldkeep\)`)

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
		switch {
		case f.Name == "node":
			value = "name of this machine"
		case strings.HasPrefix(f.DefValue, "/"):
			value = "depends on user and machine: see --help"
		case f.DefValue != "" && f.DefValue != "[]" && f.DefValue != "false":
			value = "`" + f.DefValue + "`"
		}
		fmt.Fprintf(&rows, "| %s | %s | %s |\n", name, value, strings.ReplaceAll(place.ReplaceAllString(f.Usage, "(default: see --help)"), "|", "\\|"))
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
