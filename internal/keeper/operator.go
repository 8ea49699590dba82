// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package keeper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/term"
)

func (a *commands) operatorCommand(off Offline) *cobra.Command {
	status := &cobra.Command{
		Use: "status", Short: "Show whether the server is initialized and unsealed (exit code 5 while it is not)", Args: term.Wanted(),
		Example: "  goldkeep operator status",
		RunE: a.Online(func(ctx context.Context, c *client.Client, _ []string) error {
			s, err := c.SealStatus(ctx)
			if err != nil {
				return err
			}
			return a.showSeal(s)
		}),
	}
	seal := &cobra.Command{
		Use: "seal", Short: "Have the server forget its keys: no secret is given out until it is unsealed", Args: term.Wanted(),
		Example: "  goldkeep operator seal",
		RunE: a.Online(func(ctx context.Context, c *client.Client, _ []string) error {
			if err := c.Seal(ctx); err != nil {
				return err
			}
			a.Note("the server at %s is sealed", c.Addr())
			return nil
		}),
	}
	return term.Group("operator", "Initialize, unseal, seal and rekey the server; save, restore and try snapshots", a.operatorInitCommand(), a.operatorUnsealCommand(), seal, status, a.operatorRotateCommand(), a.operatorRekeyCommand(), a.snapshotCommand(off))
}

// showSeal shows a seal status; sealed is exit code 5.
func (a *commands) showSeal(s *client.SealStatus) error {
	err := a.Print(s, func(t *term.Table) { sealRows(t, s) })
	if err != nil {
		return err
	}
	return a.sealedCode(s)
}

// sealedCode is exit code 5, with what to do about it, for a sealed server.
func (a *commands) sealedCode(s *client.SealStatus) error {
	switch {
	case !s.Initialized:
		a.Hint("initialize it: goldkeep operator init")
	case s.Migration:
		a.Hint("its seal is to be turned into another kind: goldkeep operator unseal --migrate")
	case s.Sealed:
		a.Hint("unseal it: goldkeep operator unseal")
	default:
		return nil
	}
	return term.Answered(term.ExitUnavailable)
}

func sealRows(t *term.Table, s *client.SealStatus) {
	t.Row("initialized", yesNo(s.Initialized))
	t.Row("sealed", yesNo(s.Sealed))
	if s.Type != "" {
		t.Row("seal type", s.Type)
	}
	switch {
	case s.Shares <= 1:
	case s.RecoverySeal:
		t.Row("recovery keys", fmt.Sprintf("%d, of which %d agree", s.Shares, s.Threshold))
	default:
		t.Row("key shares", fmt.Sprintf("%d, of which %d unseal", s.Shares, s.Threshold))
	}
	if s.Sealed && s.Threshold > 0 {
		t.Row("progress", fmt.Sprintf("%d of %d", s.Progress, s.Threshold))
	}
	t.Row("version", s.Goldkeep)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func (a *commands) operatorInitCommand() *cobra.Command {
	var shares, threshold int
	cmd := &cobra.Command{
		Use: "init", Short: "Initialize a new server; prints the key shares and the root token, once", Args: term.Wanted(),
		Long: "Initialize a new server. The key is split into shares; some of them together unseal\n" +
			"the server after each start. Where a key management service unseals the server, they are\n" +
			"recovery keys, which unseal nothing. Shares and root token are printed once and kept nowhere:\n" +
			"give each share to another person, and revoke the root token when others exist.",
		Example: "  goldkeep operator init\n  goldkeep operator init --shares 3 --threshold 2 -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if threshold < 1 || threshold > shares {
				return term.Usage(cmd, "--threshold must be from 1 to the number of shares (%d)", shares)
			}
			c, err := a.Client()
			if err != nil {
				return err
			}
			made, err := initialize(cmd.Context(), c, shares, threshold)
			if err != nil {
				return err
			}
			if err := a.Print(made, func(t *term.Table) {
				for i, k := range made.KeysB64 {
					t.Row(fmt.Sprintf("key share %d", i+1), k)
				}
				for i, k := range made.RecoveryB64 {
					t.Row(fmt.Sprintf("recovery key %d", i+1), k)
				}
				t.Row("root token", made.RootToken)
			}); err != nil {
				return err
			}
			a.Note("this is shown once; keep the shares apart")
			if len(made.RecoveryB64) > 0 {
				a.Note("the server unseals itself; recovery keys unseal nothing, %d of them make a new root token", threshold)
				return nil
			}
			a.Hint("unseal with %d of them: goldkeep operator unseal", threshold)
			return nil
		},
	}
	cmd.Flags().IntVar(&shares, "shares", 5, "into how many shares the key is split")
	cmd.Flags().IntVar(&threshold, "threshold", 3, "how many shares unseal")
	return cmd
}

// initialize asks for key shares or, where the server unseals itself, for
// recovery keys.
func initialize(ctx context.Context, c *client.Client, shares, threshold int) (*client.InitResult, error) {
	status, err := c.SealStatus(ctx)
	if err != nil {
		return nil, err
	}
	if status.RecoverySeal {
		return c.InitRecovery(ctx, shares, threshold)
	}
	return c.Init(ctx, shares, threshold)
}

func (a *commands) operatorUnsealCommand() *cobra.Command {
	var migrate bool
	cmd := &cobra.Command{
		Use: "unseal", Short: "Give key shares until the server is unsealed", Args: term.Wanted(),
		Long: "Give key shares until the server is unsealed. On a terminal you are asked for one share;\n" +
			"otherwise shares are read from standard input, one a line. Never write a share on the\n" +
			"command line.\n\n" +
			"With --migrate the seal is turned into the one the configuration now names: key shares\n" +
			"become recovery keys, and the reverse (docs/server.md).",
		Example: "  goldkeep operator unseal\n  goldkeep operator unseal < shares.txt\n  goldkeep operator unseal --migrate",
		RunE: a.Online(func(ctx context.Context, c *client.Client, _ []string) error {
			next := a.SecretInput(ctx)
			var status *client.SealStatus
			for status == nil || status.Sealed {
				share, err := next("key share")
				if errors.Is(err, io.EOF) && status != nil {
					break
				}
				if err != nil || share == "" {
					return noInput("key share", err)
				}
				give := c.Unseal
				if migrate {
					give = c.Migrate
				}
				if status, err = give(ctx, share); err != nil {
					return err
				}
				if _, asked := term.IsTerminal(a.In); asked {
					break
				}
			}
			return a.showSeal(status)
		}),
	}
	cmd.Flags().BoolVar(&migrate, "migrate", false, "agree that the seal is turned into the one of the configuration")
	return cmd
}

func noInput(what string, err error) error {
	if err != nil && !errors.Is(err, io.EOF) {
		return fault.New(fault.Invalid, "read %s: %w", what, err)
	}
	return fault.New(fault.Invalid, "there is no %s on standard input", what)
}

func (a *commands) loginCommand() *cobra.Command {
	return &cobra.Command{
		Use: "login", Short: "Keep a token for the commands to come", Args: term.Wanted(),
		Long: "Keep a token for the commands to come. It is asked for, or read from standard input,\n" +
			"tried on the server, and written to ~/.goldkeep-token, which only you can read.\n" +
			"GOLDKEEP_TOKEN and --token-file go before it.",
		Example: "  goldkeep login\n  pass goldkeep/token | goldkeep login",
		RunE: a.Online(func(ctx context.Context, c *client.Client, _ []string) error {
			token, err := a.SecretInput(ctx)("token")
			if err != nil || token == "" {
				return noInput("token", err)
			}
			self, err := c.WithToken(token).LookupSelf(ctx)
			if err != nil {
				return err
			}
			if err := term.WritePrivate(a.KeptToken(), token+"\n"); err != nil {
				return err
			}
			a.Note("logged in to %s as %s (policies: %s); the token is in %s", c.Addr(), term.First(self.DisplayName, "token"),
				strings.Join(self.Policies, ", "), a.KeptToken())
			if a.Env("TOKEN") != "" {
				a.Warn("GOLDKEEP_TOKEN or VAULT_TOKEN is set and goes before it")
			}
			return nil
		}),
	}
}
