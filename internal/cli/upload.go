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
	"strings"

	"github.com/spf13/cobra"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/fault"

	"github.com/goldkeep/goldkeep/internal/term"
)

// uploadFeeds sends the feeds of a folder to the server, but for those it has.
func (a *app) uploadFeeds(cmd *cobra.Command, o syncFlags) error {
	if strings.Contains(o.from, "://") {
		return term.Usage(cmd, "--server needs a folder: fetch the feeds first")
	}
	files, err := advisory.Folder(o.from, o.ecosystems)
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
		change, err := a.uploadFeed(cmd.Context(), c, f, hashes[f.Feed])
		if err != nil {
			return fmt.Errorf("send feed %s: %w", f.Feed, err)
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

// uploadFeed sends one feed, unless the server has that very file.
func (a *app) uploadFeed(ctx context.Context, c *client.Client, f advisory.FolderFile, held client.Feed) (*client.FeedChange, error) {
	file, err := os.Open(f.Path)
	if err != nil {
		return nil, fault.New(fault.Invalid, "open feed: %w", err)
	}
	defer func() { _ = file.Close() }()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return nil, fault.New(fault.Invalid, "read feed: %w", err)
	}
	if held.Hash == "sha256:"+hex.EncodeToString(hash.Sum(nil)) {
		return &client.FeedChange{Feed: f.Feed, Unchanged: true, Records: held.Records}, nil
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, fault.New(fault.Invalid, "read feed: %w", err)
	}
	if a.Terminal {
		a.Note("sending %s", f.Feed)
	}
	return c.UploadFeed(ctx, f.Feed, file)
}
