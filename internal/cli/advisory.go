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
	"time"

	"github.com/spf13/cobra"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store/sqlite"

	"github.com/goldkeep/goldkeep/internal/term"
	"github.com/goldkeep/goldkeep/internal/vex"
)

func (a *app) advisoryCommand() *cobra.Command {
	return term.Group("advisory", "Known vulnerabilities: the local database, and the server's",
		a.advisorySyncCommand(), a.advisoryStatusCommand(), a.advisoryShowCommand())
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
}

func (a *app) advisorySyncCommand() *cobra.Command {
	var o syncFlags
	cmd := &cobra.Command{
		Use: "sync --from FOLDER|URL", Short: "Bring the advisory database up to date", Args: term.Wanted(),
		Long: "Bring the advisory database up to date from a folder or an address laid out as OSV's\n" +
			"public bucket: <Ecosystem>/all.zip, and beside them, where present, kev.json (known to be\n" +
			"exploited) and epss.csv (how likely that is). What did not change is not read again.\n" +
			"With --server the files of a folder are sent to the server instead.",
		Example: "  goldkeep advisory sync --from ./osv\n  goldkeep advisory sync --from https://osv-vulnerabilities.storage.googleapis.com --ecosystems Debian,Go,PyPI\n  goldkeep advisory sync --from ./osv --server",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.server {
				return a.uploadFeeds(cmd, o)
			}
			return a.syncLocal(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.from, "from", "", "folder or http(s) address of the feeds")
	f.StringSliceVar(&o.ecosystems, "ecosystems", nil, "only these, as OSV names them (default: all of a folder; of an address: "+
		fmt.Sprint(len(advisory.DefaultEcosystems))+" usual ones)")
	f.BoolVar(&o.server, "server", false, "send the feeds that changed to the server")
	addDatabaseFlag(cmd, &o.db)
	return term.Required(cmd, "from")
}

func (a *app) syncLocal(ctx context.Context, o syncFlags) error {
	db, err := openDatabase(ctx, a.databasePath(o.db))
	if err != nil {
		return err
	}
	defer func() { _ = db.close() }()
	report, err := db.Sync(ctx, o.from, advisory.SyncOptions{Ecosystems: o.ecosystems, Progress: a.Line.Feed})
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

func (a *app) advisoryStatusCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use: "status", Short: "Show which feeds the local database has, and how old they are", Args: term.Wanted(),
		Example: "  goldkeep advisory status\n  goldkeep advisory status -o json | jq -r .id",
		RunE: func(cmd *cobra.Command, _ []string) error {
			db, err := openExisting(cmd.Context(), a.databasePath(path))
			if err != nil {
				return err
			}
			defer func() { _ = db.close() }()
			s, err := db.Snapshot(cmd.Context())
			if err != nil {
				return err
			}
			if s.Feeds == nil {
				s.Feeds = []advisory.FeedState{}
			}
			return a.Print(s, func(t *term.Table) {
				t.Row("FEED", "RECORDS", "NEWEST", "SYNCED")
				for _, f := range s.Feeds {
					t.Row(f.Name, f.Records, f.Newest, ago(time.Since(f.Synced)))
				}
			})
		},
	}
	addDatabaseFlag(cmd, &path)
	return cmd
}

func (a *app) advisoryShowCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use: "show ID", Short: "Show an advisory, by its id or another name of the flaw", Args: term.Wanted("ID"),
		Example: "  goldkeep advisory show CVE-2024-45338\n  goldkeep advisory show GO-2024-3333 -o json",
		RunE: func(cmd *cobra.Command, args []string) error {
			db, err := openExisting(cmd.Context(), a.databasePath(path))
			if err != nil {
				return err
			}
			defer func() { _ = db.close() }()
			records, err := db.Get(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.Print(records, func(t *term.Table) {
				for i, r := range records {
					if i > 0 {
						t.Row()
					}
					showRecord(t, r)
				}
			})
		},
	}
	addDatabaseFlag(cmd, &path)
	return cmd
}

func showRecord(t *term.Table, r advisory.Record) {
	affected := r.Affected
	r.Affected = nil
	t.Fields(r)
	for _, p := range affected {
		t.Row("affects", strings.TrimSpace(p.Ecosystem+" "+p.Name+" "+versions(p)))
	}
}

// versions says in words which versions a record hits.
func versions(p advisory.Affected) string {
	var parts []string
	for _, r := range p.Ranges {
		for _, e := range r.Events {
			switch {
			case e.Introduced != "" && e.Introduced != "0":
				parts = append(parts, "from "+e.Introduced)
			case e.Fixed != "":
				parts = append(parts, "fixed in "+e.Fixed)
			case e.LastAffected != "":
				parts = append(parts, "up to "+e.LastAffected)
			}
		}
	}
	if len(parts) == 0 && len(p.Versions) > 0 {
		parts = append(parts, fmt.Sprintf("%d listed versions", len(p.Versions)))
	}
	return strings.Join(parts, ", ")
}
