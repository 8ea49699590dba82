// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/fault"
)

func (a *app) operatorCommand() *cobra.Command {
	status := &cobra.Command{
		Use: "status", Short: "Show whether the server is initialized and unsealed (exit code 5 while it is not)", Args: wanted(),
		Example: "  goldkeep operator status",
		RunE: a.online(func(ctx context.Context, c *client.Client, _ []string) error {
			s, err := c.SealStatus(ctx)
			if err != nil {
				return err
			}
			return a.showSeal(s)
		}),
	}
	seal := &cobra.Command{
		Use: "seal", Short: "Have the server forget its keys: no secret is given out until it is unsealed", Args: wanted(),
		Example: "  goldkeep operator seal",
		RunE: a.online(func(ctx context.Context, c *client.Client, _ []string) error {
			if err := c.Seal(ctx); err != nil {
				return err
			}
			a.note("the server at %s is sealed", c.Addr())
			return nil
		}),
	}
	return group("operator", "Initialize, unseal and seal the server", a.operatorInitCommand(), a.operatorUnsealCommand(), seal, status)
}

// showSeal shows a seal status; sealed is exit code 5.
func (a *app) showSeal(s *client.SealStatus) error {
	err := a.print(s, func(t *table) { sealRows(t, s) })
	if err != nil {
		return err
	}
	return a.sealedCode(s)
}

// sealedCode is exit code 5, with what to do about it, for a sealed server.
func (a *app) sealedCode(s *client.SealStatus) error {
	switch {
	case !s.Initialized:
		a.hint("initialize it: goldkeep operator init")
	case s.Sealed:
		a.hint("unseal it: goldkeep operator unseal")
	default:
		return nil
	}
	return answered(exitUnavailable)
}

func sealRows(t *table, s *client.SealStatus) {
	t.row("initialized", yesNo(s.Initialized))
	t.row("sealed", yesNo(s.Sealed))
	if s.Type != "" {
		t.row("seal type", s.Type)
	}
	if s.Shares > 1 {
		t.row("key shares", fmt.Sprintf("%d, of which %d unseal", s.Shares, s.Threshold))
	}
	if s.Sealed && s.Threshold > 0 {
		t.row("progress", fmt.Sprintf("%d of %d", s.Progress, s.Threshold))
	}
	t.row("version", s.Version)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func (a *app) operatorInitCommand() *cobra.Command {
	var shares, threshold int
	cmd := &cobra.Command{
		Use: "init", Short: "Initialize a new server; prints the key shares and the root token, once", Args: wanted(),
		Long: "Initialize a new server. The key is split into shares; some of them together unseal\n" +
			"the server after each start. Shares and root token are printed once and kept nowhere:\n" +
			"give each share to another person, and revoke the root token when others exist.",
		Example: "  goldkeep operator init\n  goldkeep operator init --shares 3 --threshold 2 -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if threshold < 1 || threshold > shares {
				return usage(cmd, "--threshold must be from 1 to the number of shares (%d)", shares)
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			made, err := c.Init(cmd.Context(), shares, threshold)
			if err != nil {
				return err
			}
			if err := a.print(made, func(t *table) {
				for i, k := range made.KeysB64 {
					t.row(fmt.Sprintf("key share %d", i+1), k)
				}
				t.row("root token", made.RootToken)
			}); err != nil {
				return err
			}
			a.note("this is shown once; keep the shares apart")
			a.hint("unseal with %d of them: goldkeep operator unseal", threshold)
			return nil
		},
	}
	cmd.Flags().IntVar(&shares, "shares", 5, "into how many shares the key is split")
	cmd.Flags().IntVar(&threshold, "threshold", 3, "how many shares unseal")
	return cmd
}

func (a *app) operatorUnsealCommand() *cobra.Command {
	return &cobra.Command{
		Use: "unseal", Short: "Give key shares until the server is unsealed", Args: wanted(),
		Long: "Give key shares until the server is unsealed. On a terminal you are asked for one share;\n" +
			"otherwise shares are read from standard input, one a line. Never write a share on the\n" +
			"command line.",
		Example: "  goldkeep operator unseal\n  goldkeep operator unseal < shares.txt",
		RunE: a.online(func(ctx context.Context, c *client.Client, _ []string) error {
			next := a.secretInput(ctx)
			var status *client.SealStatus
			for status == nil || status.Sealed {
				share, err := next("key share")
				if errors.Is(err, io.EOF) && status != nil {
					break
				}
				if err != nil || share == "" {
					return noInput("key share", err)
				}
				if status, err = c.Unseal(ctx, share); err != nil {
					return err
				}
				if _, asked := isTerminal(a.In); asked {
					break
				}
			}
			return a.showSeal(status)
		}),
	}
}

func noInput(what string, err error) error {
	if err != nil && !errors.Is(err, io.EOF) {
		return fault.New(fault.Invalid, "read %s: %w", what, err)
	}
	return fault.New(fault.Invalid, "there is no %s on standard input", what)
}

func (a *app) loginCommand() *cobra.Command {
	return &cobra.Command{
		Use: "login", Short: "Keep a token for the commands to come", Args: wanted(),
		Long: "Keep a token for the commands to come. It is asked for, or read from standard input,\n" +
			"tried on the server, and written to ~/.goldkeep-token, which only you can read.\n" +
			"GOLDKEEP_TOKEN and --token-file go before it.",
		Example: "  goldkeep login\n  pass goldkeep/token | goldkeep login",
		RunE: a.online(func(ctx context.Context, c *client.Client, _ []string) error {
			token, err := a.secretInput(ctx)("token")
			if err != nil || token == "" {
				return noInput("token", err)
			}
			self, err := c.WithToken(token).LookupSelf(ctx)
			if err != nil {
				return err
			}
			if err := writePrivate(a.keptToken(), token+"\n"); err != nil {
				return err
			}
			a.note("logged in to %s as %s (policies: %s); the token is in %s", c.Addr(), first(self.DisplayName, "token"),
				strings.Join(self.Policies, ", "), a.keptToken())
			if a.env("TOKEN") != "" {
				a.warn("GOLDKEEP_TOKEN or VAULT_TOKEN is set and goes before it")
			}
			return nil
		}),
	}
}
