// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/fault"

	"github.com/goldkeep/goldkeep/internal/term"
)

// scoreFiles are the files beside the ecosystems' folders, by feed.
var scoreFiles = []struct{ feed, file string }{
	{advisory.FeedKEV, "kev.json"},
	{advisory.FeedEPSS, "epss.csv"},
	{advisory.FeedEPSS, "epss.csv.gz"},
	{advisory.FeedCVSS, "cve-severity.json"},
}

// uploadFeeds sends the feeds of a folder to the server, but for those it has.
func (a *app) uploadFeeds(cmd *cobra.Command, o syncFlags) error {
	if strings.Contains(o.from, "://") {
		return term.Usage(cmd, "--server needs a folder: fetch the feeds first")
	}
	files, err := feedFiles(o.from, o.ecosystems)
	if err != nil {
		return err
	}
	c, err := a.Client()
	if err != nil {
		return err
	}
	held, err := c.Advisories(cmd.Context())
	if err != nil {
		return err
	}
	hashes := map[string]client.Feed{}
	for _, f := range held.Feeds {
		hashes[f.Name] = f
	}
	changes := []client.FeedChange{}
	for _, f := range files {
		change, err := a.uploadFeed(cmd.Context(), c, f, hashes[f.feed])
		if err != nil {
			return fmt.Errorf("send feed %s: %w", f.feed, err)
		}
		changes = append(changes, *change)
	}
	return term.PrintList(a.Term, changes, "feeds", func(t *term.Table) {
		t.Row("FEED", "RECORDS", "NEW", "CHANGED", "GONE", "IMAGES JUDGED AGAIN", "NOTE")
		for _, c := range changes {
			note := ""
			if c.Unchanged {
				note = "unchanged"
			}
			if len(c.Bad) > 0 {
				note = "could not be read: " + strings.Join(c.Bad, "; ")
			}
			t.Row(c.Feed, c.Records, c.Added, c.Changed, c.Removed, c.Images, note)
		}
	})
}

// feedFile is a feed in a folder.
type feedFile struct{ feed, path string }

// feedFiles lists the feeds of a folder: ecosystems first, for scores say
// something about records that are there.
func feedFiles(dir string, only []string) ([]feedFile, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fault.New(fault.NotFound, "read advisories: %w", err)
	}
	var files []feedFile
	for _, e := range entries {
		path := filepath.Join(dir, e.Name(), "all.zip")
		if _, err := os.Stat(path); err == nil && (len(only) == 0 || slices.Contains(only, e.Name())) {
			files = append(files, feedFile{e.Name(), path})
		}
	}
	for _, wanted := range only {
		if !slices.ContainsFunc(files, func(f feedFile) bool { return f.feed == wanted }) {
			return nil, notFound("there is no feed %s in %s", wanted, dir)
		}
	}
	for _, s := range scoreFiles {
		path := filepath.Join(dir, s.file)
		twice := slices.ContainsFunc(files, func(f feedFile) bool { return f.feed == s.feed })
		if _, err := os.Stat(path); err == nil && !twice {
			files = append(files, feedFile{s.feed, path})
		}
	}
	if len(files) == 0 {
		return nil, notFound("there are no feeds in %s", dir).WithHint("it must hold <Ecosystem>/all.zip, as OSV's public bucket does")
	}
	return files, nil
}

// uploadFeed sends one feed, unless the server has that very file.
func (a *app) uploadFeed(ctx context.Context, c *client.Client, f feedFile, held client.Feed) (*client.FeedChange, error) {
	file, err := os.Open(f.path)
	if err != nil {
		return nil, fault.New(fault.Invalid, "open feed: %w", err)
	}
	defer func() { _ = file.Close() }()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return nil, fault.New(fault.Invalid, "read feed: %w", err)
	}
	if held.Hash == "sha256:"+hex.EncodeToString(hash.Sum(nil)) {
		return &client.FeedChange{Feed: f.feed, Unchanged: true, Records: held.Records}, nil
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, fault.New(fault.Invalid, "read feed: %w", err)
	}
	if a.Terminal {
		a.Note("sending %s", f.feed)
	}
	return c.UploadFeed(ctx, f.feed, file)
}
