// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/term"
)

// fetchFeeds has the server fetch its feeds, and shows how they stood when it was told.
func (a *app) fetchFeeds(ctx context.Context) error {
	c, err := a.Client()
	if err != nil {
		return err
	}
	held, err := c.FetchFeeds(ctx)
	if err != nil {
		return err
	}
	a.Note("the server fetches its feeds now; see how that goes: goldkeep advisory status --server")
	return a.Print(held, func(t *term.Table) { showFeeds(t, *held) })
}

// source is where an advisory command looks: the local database or the server.
type source struct {
	path   string
	server bool
}

func (s *source) flags(cmd *cobra.Command) {
	addDatabaseFlag(cmd, &s.path)
	cmd.Flags().BoolVar(&s.server, "server", false, "ask the server, not the local database")
}

func (a *app) advisoryStatusCommand() *cobra.Command {
	var from source
	cmd := &cobra.Command{
		Use: "status", Short: "Show which feeds the database has, how old they are, and what went wrong", Args: term.Wanted(),
		Long:    "Show which feeds the local database has and how old they are. With --server those of the\nserver: when each was last taken, how the last attempt went, and when the next one is due.",
		Example: "  goldkeep advisory status\n  goldkeep advisory status --server\n  goldkeep advisory status -o json | jq -r .id",
		RunE: func(cmd *cobra.Command, _ []string) error {
			held, err := a.heldFeeds(cmd.Context(), from)
			if err != nil {
				return err
			}
			if held.Try != nil && held.Try.Failures > 0 {
				a.Warn("the server cannot reach its feeds: %s", held.Try.Error)
			}
			return a.Print(held, func(t *term.Table) { showFeeds(t, *held) })
		},
	}
	from.flags(cmd)
	return cmd
}

func (a *app) heldFeeds(ctx context.Context, from source) (*client.Snapshot, error) {
	if from.server {
		c, err := a.Client()
		if err != nil {
			return nil, err
		}
		return c.Advisories(ctx)
	}
	db, err := openExisting(ctx, a.databasePath(from.path))
	if err != nil {
		return nil, err
	}
	defer func() { _ = db.close() }()
	s, err := db.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	held := client.Snapshot{ID: s.ID, Feeds: []client.Feed{}}
	for _, f := range s.Feeds {
		held.Feeds = append(held.Feeds, client.Feed{Name: f.Name, Hash: f.Hash, Records: f.Records, Newest: f.Newest, Synced: f.Synced, Bad: client.FeedBad(f.Bad)})
	}
	return &held, nil
}

func showFeeds(t *term.Table, held client.Snapshot) {
	t.Row("FEED", "RECORDS", "NEWEST", "SYNCED", "TRIED", "NEXT TRY", "NOTE")
	for _, f := range held.Feeds {
		synced, tried, next, note := "never", "", "", ""
		if !f.Synced.IsZero() {
			synced = term.Ago(time.Since(f.Synced))
		}
		if f.Try != nil {
			next, note = term.Moment(f.Try.Next), f.Try.Error
			if !f.Try.Tried.IsZero() {
				tried = term.Ago(time.Since(f.Try.Tried))
			}
			if f.Try.Failures > 1 {
				note = fmt.Sprintf("failed %d times: %s", f.Try.Failures, note)
			}
			if f.Try.Node != "" {
				note = "being fetched by " + f.Try.Node
			}
		}
		if note == "" && f.Bad.Count > 0 {
			note = fmt.Sprintf("%d could not be read: %s", f.Bad.Count, strings.Join(f.Bad.First, "; "))
		}
		t.Row(f.Name, f.Records, f.Newest, synced, tried, next, note)
	}
}

func (a *app) advisoryShowCommand() *cobra.Command {
	var from source
	cmd := &cobra.Command{
		Use: "show ID", Short: "Show an advisory, by its id or another name of the flaw", Args: term.Wanted("ID"),
		Long:    "Show an advisory, by its id or another name of the flaw: the packages and versions it hits,\nits severity, and what is known of its CVEs: exploited (KEV), likely to be (EPSS), CVSS.",
		Example: "  goldkeep advisory show CVE-2024-45338\n  goldkeep advisory show GO-2024-3333 -o json\n  goldkeep advisory show DSA-6335-1 --server",
		RunE: func(cmd *cobra.Command, args []string) error {
			found, err := a.advisories(cmd.Context(), from, args[0])
			if err != nil {
				return err
			}
			return a.Print(found, func(t *term.Table) {
				for i, r := range found {
					if i > 0 {
						t.Row()
					}
					showRecord(t, r)
				}
			})
		},
	}
	from.flags(cmd)
	return cmd
}

func (a *app) advisories(ctx context.Context, from source, id string) ([]client.Advisory, error) {
	if from.server {
		c, err := a.Client()
		if err != nil {
			return nil, err
		}
		return c.Advisory(ctx, id)
	}
	db, err := openExisting(ctx, a.databasePath(from.path))
	if err != nil {
		return nil, err
	}
	defer func() { _ = db.close() }()
	known, err := db.Show(ctx, id)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(known) // the same words as the server's
	if err != nil {
		return nil, err
	}
	var found []client.Advisory
	return found, json.Unmarshal(text, &found)
}

func showRecord(t *term.Table, r client.Advisory) {
	t.Row("id", r.ID)
	lists := []struct {
		name   string
		values []string
	}{{"alias", r.Aliases}, {"upstream", r.Upstream}, {"related", r.Related}, {"summary", []string{r.Summary}}, {"severity", []string{severity(r.Severity)}}, {"url", []string{r.URL}}}
	for _, l := range lists {
		for _, v := range l.values {
			if v != "" {
				t.Row(l.name, v)
			}
		}
	}
	t.Row("published", r.Published)
	t.Row("modified", r.Modified)
	t.Row("learned", r.Learned)
	if !r.Withdrawn.IsZero() {
		t.Row("withdrawn", r.Withdrawn)
	}
	for _, cve := range slices.Sorted(maps.Keys(r.Scores)) {
		t.Row(cve, known(r.Scores[cve]))
	}
	for _, p := range r.Affected {
		t.Row("affects", strings.TrimSpace(p.Ecosystem+" "+p.Name+" "+versions(p)))
	}
}

// severity says in words what an advisory says of itself.
func severity(s client.AdvisorySeverity) string {
	text := term.First(s.Level, s.Urgency, "not stated")
	if s.Score > 0 {
		text += fmt.Sprintf(" %.1f", s.Score)
	}
	return strings.Join(append([]string{text}, s.Vectors...), "; ")
}

// known says in words what is known of a CVE.
func known(s client.CVEScore) string {
	var parts []string
	if s.Exploited {
		text := "known to be exploited since " + s.Added.Format(time.DateOnly)
		if s.Ransomware {
			text += ", by ransomware"
		}
		parts = append(parts, text+", CISA: fix by "+s.Due.Format(time.DateOnly))
	}
	if s.EPSS > 0 {
		parts = append(parts, fmt.Sprintf("EPSS %.1f%%, above %.0f%% of all", s.EPSS*100, s.Percentile*100))
	}
	return strings.Join(append(parts, s.Vectors...), "; ")
}

// versions says in words which versions a record hits.
func versions(p client.AdvisoryPackage) string {
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

func (a *app) advisoryPackCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "pack FOLDER --out FILE", Short: "Pack feeds as an OCI artifact, for a registry or a machine without network", Args: term.Wanted("FOLDER"),
		Long: "Pack a folder of feeds as one OCI artifact, in an OCI layout archive. Tools that copy images\n" +
			"copy it to a registry; \"goldkeep advisory sync\" and the server take it from there or from the file.",
		Example: "  goldkeep advisory pack ./feeds --out feeds.oci.tar\n  goldkeep advisory sync --from feeds.oci.tar",
		RunE: func(_ *cobra.Command, args []string) error {
			names, err := advisory.PackFile(args[0], out, time.Now())
			if err != nil {
				return err
			}
			return a.Print(map[string]any{"file": out, "feeds": names}, func(t *term.Table) {
				t.Row("FILE", "IN IT")
				t.Row(out, strings.Join(names, ", "))
			})
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "the file to write")
	return term.Required(cmd, "out")
}
