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
