// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"

	"github.com/goldkeep/goldkeep/internal/term"
)

// helpCommand is cobra's, but for a word that is nothing: that is an error.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "Help about any command or topic", GroupID: groupOther,
		Example: "  goldkeep help check\n  goldkeep help exit-codes",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil {
				return err
			}
			if len(rest) > 0 {
				return term.Unknown(about, rest[0])
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// topics are help texts that belong to no command.
func topics() []*cobra.Command {
	return []*cobra.Command{
		{Use: "exit-codes", Short: "What the exit codes mean", Long: `Exit codes of goldkeep:

  0    ok
  1    failed: the input is wrong, a thing is not there, something broke
  2    usage: the command line cannot be understood
  3    the verdict is not pass: the image may not run (check, verdict)
  4    not allowed: no token, or one whose policies do not allow this
  5    sealed or unreachable: the server, a registry, podman
  130  interrupted

"goldkeep run" ends with the exit code of the program it runs.`},
		{Use: "environment-variables", Aliases: []string{"environment-vars", "variables"}, Short: "The variables goldkeep reads", Long: `Environment variables goldkeep reads:

  GOLDKEEP_ADDR     address of the server; default https://127.0.0.1:8200
  GOLDKEEP_TOKEN    the token; without it, --token-file or ~/.goldkeep-token
                    (written by "goldkeep login")
  GOLDKEEP_CACERT   PEM file of a CA to trust besides the system's
  VAULT_ADDR, VAULT_TOKEN, VAULT_CACERT
                    the same, where those above are not set
  XDG_DATA_HOME     the local advisory database is in goldkeep/advisories.db
                    there; default ~/.local/share
  XDG_CACHE_HOME    what was read of layers is in goldkeep/layers there;
                    default ~/.cache
  HTTPS_PROXY, HTTP_PROXY, NO_PROXY
                    proxies for registries, advisories and the server

Flags go before variables.`},
	}
}
