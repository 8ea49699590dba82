// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package keeper

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/term"
)

func (a *commands) operatorRotateCommand() *cobra.Command {
	return &cobra.Command{
		Use: "rotate", Short: "Seal what is written from now on with a new key", Args: term.Wanted(),
		Long:    "Seal what is written from now on with a new key. What was written before stays readable;\nkey shares and key files stay the same.",
		Example: "  goldkeep operator rotate",
		RunE: a.Online(func(ctx context.Context, c *client.Client, _ []string) error {
			if err := c.Do(ctx, "POST", "/v1/sys/rotate/keyring", nil, nil); err != nil {
				return err
			}
			var status struct {
				Data struct {
					Term      int         `json:"term"`
					Installed string      `json:"install_time"`
					Sealed    json.Number `json:"encryptions"`
				} `json:"data"`
			}
			if err := c.Do(ctx, "GET", "/v1/sys/key-status", nil, &status); err != nil {
				return err
			}
			return a.Print(status.Data, func(t *term.Table) {
				t.Row("key term", status.Data.Term)
				t.Row("since", status.Data.Installed)
			})
		}),
	}
}

// rekeyed is what the last share of a rekeying answers.
type rekeyed struct {
	Nonce    string   `json:"nonce"`
	Complete bool     `json:"complete"`
	KeysB64  []string `json:"keys_base64"`
}

func (a *commands) operatorRekeyCommand() *cobra.Command {
	var shares, threshold int
	cmd := &cobra.Command{
		Use: "rekey", Short: "Replace the key shares: the old ones unseal nothing afterwards", Args: term.Wanted(),
		Long: "Replace the key shares. Enough of the old ones are asked for, or read from standard input,\n" +
			"one a line; then the new ones are printed, once, and the old ones are of no use any more.\n" +
			"Interrupted before the last old share is given, nothing has changed. If the answer to the\n" +
			"last one is lost, the new shares are lost with it, and no share unseals the server any more:\n" +
			"keep a snapshot of before (goldkeep operator snapshot save), which the old shares unseal.",
		Example: "  goldkeep operator rekey --shares 5 --threshold 3\n  goldkeep operator rekey --shares 3 --threshold 2 -o json < shares.txt",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if threshold < 1 || threshold > shares {
				return term.Usage(cmd, "--threshold must be from 1 to the number of shares (%d)", shares)
			}
			c, err := a.Client()
			if err != nil {
				return err
			}
			made, err := a.rekey(cmd.Context(), c, shares, threshold)
			if err != nil {
				return err
			}
			a.Note("this is shown once; the old shares unseal nothing any more")
			return a.Print(made.KeysB64, func(t *term.Table) {
				for i, k := range made.KeysB64 {
					t.Row(fmt.Sprintf("key share %d", i+1), k)
				}
			})
		},
	}
	cmd.Flags().IntVar(&shares, "shares", 5, "into how many shares the new key is split")
	cmd.Flags().IntVar(&threshold, "threshold", 3, "how many shares unseal")
	return cmd
}

// rekey gives old shares until there are enough. An attempt that ends early is
// called off.
func (a *commands) rekey(ctx context.Context, c *client.Client, shares, threshold int) (_ *rekeyed, err error) {
	const path = "/v1/sys/rotate/root/"
	raw, err := c.Raw(ctx, "POST", path+"init", map[string]int{"secret_shares": shares, "secret_threshold": threshold})
	if err != nil {
		return nil, err
	}
	begun, err := inside[rekeyed](raw)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = c.Do(context.WithoutCancel(ctx), "DELETE", path+"init", map[string]string{"nonce": begun.Nonce}, nil) // it also ends by itself
		}
	}()
	next := a.SecretInput(ctx)
	for {
		share, err := next("old key share")
		if err != nil || share == "" {
			return nil, noInput("old key share", err)
		}
		raw, err := c.Raw(ctx, "POST", path+"update", map[string]string{"key": share, "nonce": begun.Nonce})
		if err != nil {
			return nil, err
		}
		if got, err := inside[rekeyed](raw); err != nil || got.Complete {
			return got, err
		}
	}
}

// inside decodes an answer with or without an envelope.
func inside[T any](raw []byte) (*T, error) {
	envelope := struct {
		Data json.RawMessage `json:"data"`
	}{}
	if err := json.Unmarshal(raw, &envelope); err != nil {
		return nil, fmt.Errorf("decode the server's answer: %w", err)
	}
	if len(envelope.Data) > 0 {
		raw = envelope.Data
	}
	v := new(T)
	if err := json.Unmarshal(raw, v); err != nil {
		return nil, fmt.Errorf("decode the server's answer: %w", err)
	}
	return v, nil
}
