// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store/sqlite"

	"github.com/goldkeep/goldkeep/internal/term"
	"github.com/goldkeep/goldkeep/internal/vex"
)

func (a *app) advisoryCommand() *cobra.Command {
	return term.Group("advisory", "Known vulnerabilities: the local database, and the server's",
		a.advisorySyncCommand(), a.advisoryStatusCommand(), a.advisoryShowCommand(), a.affectedCommand(), a.advisoryPackCommand())
}

// database is an open advisory database.
type database struct {
	*advisory.Index
	vendors *vex.Book
	store   *sqlite.Store
}

func (d *database) close() error { return d.store.Close() }

// databasePath is where the local database is unless --db says otherwise.
func (a *app) databasePath(flag string) string {
	return term.First(flag, filepath.Join(a.DataFolder(), "advisories.db"))
}

func addDatabaseFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVar(path, "db", "", "the local advisory database (default $XDG_DATA_HOME/goldkeep/advisories.db)")
}

// openDatabase opens or makes the database.
func openDatabase(ctx context.Context, path string) (*database, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fault.New(fault.Invalid, "make folder of the advisory database: %w", err)
	}
	st, err := sqlite.Open(ctx, path, sqlite.Options{Shared: true, Readers: 2})
	if err != nil {
		return nil, err
	}
	index := advisory.New(st)
	if err := index.Migrate(ctx); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	vendors, err := vex.Open(ctx, st)
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return &database{index, vendors, st}, nil
}

// openExisting is openDatabase for those who only read: one that is not there is
// fault.NotFound, and is not made.
func openExisting(ctx context.Context, path string) (*database, error) {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil, notFound("there is no advisory database at %s", path).WithHint("make one: goldkeep advisory sync --from FOLDER|URL")
	}
	return openDatabase(ctx, path)
}

// syncFlags are the flags of "advisory sync".
type syncFlags struct {
	from, db   string
	ecosystems []string
	server     bool
	insecure   bool
	shrink     bool
}

func (a *app) advisorySyncCommand() *cobra.Command {
	var o syncFlags
	cmd := &cobra.Command{
		Use: "sync [--from FOLDER|URL|ARTIFACT]", Short: "Bring the advisory database up to date", Args: term.Wanted(),
		Long: "Bring the advisory database up to date from a folder or an address laid out as OSV's\n" +
			"public bucket: <Ecosystem>/all.zip, and beside them, where present, kev.json (known to be\n" +
			"exploited), epss.csv (how likely that is) and cve-severity.json (CVSS). What did not change is not read again.\n" +
			"An artifact is what \"goldkeep advisory pack\" writes: a file, or a reference in a registry.\n" +
			"With --server the files of a folder or an artifact are sent to the server (it fetches from\n" + "addresses by itself, see feeds.from in docs/server.md); without --from the server\n" +
			"fetches its own feeds now, instead of when they are due.",
		Example: "  goldkeep advisory sync --from ./osv\n  goldkeep advisory sync --from https://osv-vulnerabilities.storage.googleapis.com --ecosystems Debian,Go,PyPI\n  goldkeep advisory sync --from ./osv --server\n  goldkeep advisory sync --server",
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case o.server && o.from == "":
				return a.fetchFeeds(cmd.Context())
			case o.server:
				return a.uploadFeeds(cmd, o)
			case o.from == "":
				return term.Usage(cmd, "--from is needed: a folder, an http(s) address or an artifact of feeds")
			}
			return a.syncLocal(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.from, "from", "", "folder, http(s) address or artifact of the feeds")
	f.StringSliceVar(&o.ecosystems, "ecosystems", nil, "only these, as OSV names them (default: all of a folder; of an address: "+
		fmt.Sprint(len(advisory.DefaultEcosystems))+" usual ones)")
	f.BoolVar(&o.server, "server", false, "bring the server's database up to date, not the local one")
	f.BoolVar(&o.insecure, "insecure", false, "the registry of the artifact speaks plain HTTP")
	f.BoolVar(&o.shrink, "allow-shrink", false, "take feeds that have lost more than half of their records")
	addDatabaseFlag(cmd, &o.db)
	return cmd
}

func (a *app) syncLocal(ctx context.Context, o syncFlags) error {
	db, err := openDatabase(ctx, a.databasePath(o.db))
	if err != nil {
		return err
	}
	defer func() { _ = db.close() }()
	report, err := db.Sync(ctx, o.from, advisory.SyncOptions{
		Ecosystems: o.ecosystems, Progress: a.Line.Feed, Insecure: o.insecure, AllowShrink: o.shrink,
	})
	a.Line.End()
	if len(report.Changes)+len(report.Failed) > 0 {
		if shown := a.Print(report, func(t *term.Table) { showSync(t, report) }); shown != nil {
			return shown
		}
	}
	return err
}

func showSync(t *term.Table, report advisory.SyncReport) {
	t.Row("FEED", "RECORDS", "NEW", "CHANGED", "GONE", "NEWEST", "NOTE")
	for _, c := range report.Changes {
		note := ""
		switch {
		case c.Bad.Count > 0:
			note = fmt.Sprintf("%d could not be read: %s", c.Bad.Count, strings.Join(c.Bad.First, "; "))
		case c.Unchanged:
			note = "unchanged"
		}
		t.Row(c.Feed, c.Records, c.Added, c.Changed, c.Removed, c.Newest, note)
	}
	for _, f := range report.Failed {
		t.Row(f.Feed, "", "", "", "", "", "failed: "+f.Reason)
	}
}
