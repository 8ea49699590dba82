// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/term"
)

func (a *commands) kvCommand() *cobra.Command {
	return term.Group("kv", "Read and write secrets (KV version 2)",
		a.kvGetCommand(), a.kvPutCommand(), a.kvListCommand(), a.kvDeleteCommand(), a.kvEnableCommand())
}

// onSecret makes what a command does of a function that works on one place of the
// server, given as MOUNT/PATH; wholeMount allows MOUNT alone.
func (a *commands) onSecret(wholeMount bool, do func(ctx context.Context, c *client.Client, mount, path string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		mount, path, err := kvPath(cmd, args[0], wholeMount)
		if err != nil {
			return err
		}
		c, err := a.Client()
		if err != nil {
			return err
		}
		return do(cmd.Context(), c, mount, path)
	}
}

// kvPath splits MOUNT/PATH.
func kvPath(cmd *cobra.Command, text string, wholeMount bool) (mount, path string, err error) {
	mount, path, _ = strings.Cut(strings.Trim(text, "/"), "/")
	if mount == "" || path == "" && !wholeMount {
		return "", "", term.Usage(cmd, "%q is no place of a secret: write MOUNT/PATH, as in secret/app", text)
	}
	return mount, path, nil
}

// kvSecret is a secret as kv prints it.
type kvSecret struct {
	Path    string                     `json:"path"`
	Version int                        `json:"version"`
	Data    map[string]json.RawMessage `json:"data,omitempty"`
}

func (a *commands) kvGetCommand() *cobra.Command {
	var field string
	cmd := &cobra.Command{
		Use: "get MOUNT/PATH", Short: "Show a secret, or one field of it", Args: term.Wanted("MOUNT/PATH"),
		Long:    "Show a secret, or one field of it. With --field the value is written as it is, byte\nfor byte; on a terminal a line break follows.",
		Example: "  goldkeep kv get secret/app\n  goldkeep kv get secret/app --field tls.key > tls.key",
		RunE: a.onSecret(false, func(ctx context.Context, c *client.Client, mount, path string) error {
			fields, version, err := c.Secret(ctx, mount, path)
			if noSecret(err) {
				return fault.New(fault.NotFound, "there is no secret at %s/%s, or its newest version is deleted", mount, path).WithHint("see what there is: goldkeep kv list %s", mount)
			}
			if err != nil {
				return err
			}
			if field != "" {
				return a.printField(mount+"/"+path, field, fields)
			}
			s := kvSecret{Path: mount + "/" + path, Version: version, Data: fields}
			return a.Print(s, func(t *term.Table) {
				t.Row("FIELD", "VALUE")
				for _, name := range slices.Sorted(maps.Keys(fields)) {
					t.Row(name, term.PlainText(fields[name]))
				}
			})
		}),
	}
	cmd.Flags().StringVar(&field, "field", "", "only the value of this field")
	return cmd
}

// noSecret tells "nothing is there" from a place that does not exist: that answer
// has a text.
func noSecret(err error) bool {
	var answer *client.Error
	return errors.As(err, &answer) && answer.Kind == fault.NotFound.String() && answer.Message == ""
}

func (a *commands) printField(path, field string, fields map[string]json.RawMessage) error {
	raw, ok := fields[field]
	if !ok {
		return fault.New(fault.NotFound, "%s has no field %q", path, field).WithHint("its fields are: %s", strings.Join(slices.Sorted(maps.Keys(fields)), ", "))
	}
	if a.Output == "json" {
		return term.WriteJSON(a.Out, raw)
	}
	end := ""
	if _, ok := term.IsTerminal(a.Out); ok {
		end = "\n"
	}
	_, err := io.WriteString(a.Out, term.PlainText(raw)+end)
	return err
}

func (a *commands) kvPutCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "put MOUNT/PATH FIELD=@FILE|FIELD=-|FIELD=VALUE...", Short: "Write a secret: a new version with these fields and no others", Args: term.Wanted("MOUNT/PATH", "FIELD=..."),
		Long: "Write a secret: a new version with these fields and no others. A value comes from a\n" +
			"file (FIELD=@FILE) or from standard input (FIELD=-, one field only); one line break at\n" +
			"the end of standard input is left out, files are taken byte for byte. FIELD=VALUE\n" +
			"works, but other users of the machine can see it, and your shell keeps it.",
		Example: "  goldkeep kv put secret/app password=-\n  goldkeep kv put secret/app cert=@tls.crt key=@tls.key",
		RunE: func(cmd *cobra.Command, args []string) error {
			mount, path, err := kvPath(cmd, args[0], false)
			if err != nil {
				return err
			}
			fields, err := a.kvFields(cmd, args[1:])
			if err != nil {
				return err
			}
			c, err := a.Client()
			if err != nil {
				return err
			}
			version, err := c.PutSecret(cmd.Context(), mount, path, fields)
			if err != nil {
				return err
			}
			s := kvSecret{Path: mount + "/" + path, Version: version}
			return a.Print(s, func(t *term.Table) {
				t.Row("path", s.Path)
				t.Row("version", s.Version)
			})
		},
	}
	return cmd
}

// kvFields reads the values from where the arguments say. No value is ever part
// of an error.
func (a *commands) kvFields(cmd *cobra.Command, args []string) (map[string]any, error) {
	fields := map[string]any{}
	visible, stdin := false, false
	for i, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		if !ok || name == "" {
			return nil, term.Usage(cmd, "field number %d is not of the form FIELD=@FILE, FIELD=- or FIELD=VALUE", i+1)
		}
		if _, twice := fields[name]; twice {
			return nil, term.Usage(cmd, "the field %q is given twice", name)
		}
		switch {
		case value == "-" && stdin:
			return nil, term.Usage(cmd, "only one field can come from standard input")
		case value == "-":
			stdin = true
			text, err := a.kvStdin(cmd, name)
			if err != nil {
				return nil, err
			}
			fields[name] = text
		case strings.HasPrefix(value, "@"):
			text, err := os.ReadFile(value[1:])
			if err != nil {
				return nil, fault.New(fault.Invalid, "read field %s: %w", name, err)
			}
			fields[name] = string(text)
		default:
			visible = true
			fields[name] = value
		}
	}
	if visible {
		a.Warn("values on the command line can be seen by other users and stay in your shell's history; write FIELD=@FILE or FIELD=-")
	}
	return fields, nil
}

func (a *commands) kvStdin(cmd *cobra.Command, name string) (string, error) {
	const most = 1 << 20
	if _, ok := term.IsTerminal(a.In); ok {
		return a.SecretInput(cmd.Context())("value of " + name)
	}
	text, err := io.ReadAll(io.LimitReader(a.In, most+1))
	if err != nil {
		return "", fault.New(fault.Invalid, "read field %s: %w", name, err)
	}
	if len(text) > most {
		return "", fault.New(fault.TooLarge, "read field %s: more than %d bytes", name, most)
	}
	return strings.TrimSuffix(string(text), "\n"), nil
}

func (a *commands) kvListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list MOUNT[/PATH]", Short: "List the secrets in a folder; names that end in / are folders", Args: term.Wanted("MOUNT[/PATH]"),
		Example: "  goldkeep kv list secret\n  goldkeep kv list secret/team",
		RunE: a.onSecret(true, func(ctx context.Context, c *client.Client, mount, path string) error {
			names, err := c.ListSecrets(ctx, mount, path)
			if err != nil && !noSecret(err) {
				return err
			}
			return term.PrintList(a.Term, names, "secrets in "+mount+"/"+path, func(t *term.Table) {
				for _, n := range names {
					t.Row(n)
				}
			})
		}),
	}
}

func (a *commands) kvDeleteCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "delete MOUNT/PATH", Short: "Delete the newest version of a secret, or all of it", Args: term.Wanted("MOUNT/PATH"),
		Long: "Delete the newest version of a secret, or all of it. A deleted version can be brought\n" +
			"back with the API (undelete); with --all nothing is left.",
		Example: "  goldkeep kv delete secret/app\n  goldkeep kv delete secret/app --all",
		RunE: a.onSecret(false, func(ctx context.Context, c *client.Client, mount, path string) error {
			if err := c.DeleteSecret(ctx, mount, path, all); err != nil {
				return err
			}
			what := "the newest version"
			if all {
				what = "every version"
			}
			a.Note("%s of %s is deleted", what, mount+"/"+path)
			return nil
		}),
	}
	cmd.Flags().BoolVar(&all, "all", false, "every version and the metadata, for good")
	return cmd
}

func (a *commands) kvEnableCommand() *cobra.Command {
	return &cobra.Command{
		Use: "enable MOUNT", Short: "Make a new place for secrets; dev mode has one at secret", Args: term.Wanted("MOUNT"),
		Example: "  goldkeep kv enable secret",
		RunE: a.Online(func(ctx context.Context, c *client.Client, args []string) error {
			if err := c.EnableKV(ctx, args[0]); err != nil {
				return err
			}
			a.Note("secrets can be kept at %s now", args[0])
			return nil
		}),
	}
}
