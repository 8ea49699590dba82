// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/snapshot"
	"github.com/goldkeep/goldkeep/internal/store/postgres"
	"github.com/goldkeep/goldkeep/internal/store/sqlite"
)

// anchorCommand is "goldkeep server anchor".
func anchorCommand(f *settings) *cobra.Command {
	cmd := &cobra.Command{
		Use: "anchor", Short: "Show how far the database knows the audit log to have come", Args: cobra.NoArgs,
		Long: "Show the last record of the audit log that the database knows of, as JSON, for\n" +
			"goldkeep audit verify --anchor. The server need not run; while it does, the database\n" +
			"follows the log by a second.",
		Example: "  goldkeep server anchor --data /var/lib/goldkeep | goldkeep audit verify /var/lib/goldkeep/audit.log --anchor -",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.configuration()
			if err != nil {
				return err
			}
			a, err := keptAnchor(cmd.Context(), c.withDefaults())
			if err != nil {
				return err
			}
			return json.NewEncoder(cmd.OutOrStdout()).Encode(a)
		},
	}
	cmd.Flags().StringVar(&f.config, "config", "", "configuration file")
	cmd.Flags().StringVar(&f.data, "data", "", "folder of the database")
	return cmd
}

func keptAnchor(ctx context.Context, c Config) (a kept, err error) {
	s := &Server{config: c}
	var opened snapshot.Source
	if c.Database != "" {
		opened, err = postgres.Open(ctx, c.Database)
	} else {
		file := filepath.Join(c.Data, "goldkeep.db")
		if _, err := os.Stat(file); err != nil {
			return a, fault.New(fault.NotFound, "read the database: %w", err).WithHint("name the server's folder: --data DIR")
		}
		opened, err = sqlite.Open(ctx, file, sqlite.Options{Shared: true, Readers: 1})
	}
	if err != nil {
		return a, err
	}
	s.store = &recorder{Source: opened}
	defer func() { err = errors.Join(err, s.store.Close()) }()
	a, err = s.anchor(ctx)
	if err == nil && a.Seq == 0 {
		err = fault.New(fault.NotFound, "the database knows of no audit log of node %s", c.Node).WithHint("is the node named otherwise? see node in the configuration")
	}
	return a, err
}
