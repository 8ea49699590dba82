// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/term"
)

// uploadFeeds sends the feeds of a folder, or of an artifact, to the server, but for those it has.
func (a *app) uploadFeeds(cmd *cobra.Command, o syncFlags) error {
	if strings.Contains(o.from, "://") {
		return term.Usage(cmd, "--server needs a folder or an artifact: the server fetches addresses itself, see feeds.from in its configuration")
	}
	folder, end, err := a.feedFolder(cmd.Context(), o)
	if err != nil {
		return err
	}
	defer end()
	files, err := advisory.Folder(folder, o.ecosystems)
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

// feedFolder is the folder of the feeds to send: that which was named, or one with
// what an artifact holds, which end removes.
func (a *app) feedFolder(ctx context.Context, o syncFlags) (dir string, end func(), err error) {
	if info, err := os.Stat(o.from); err == nil && info.IsDir() {
		return o.from, func() {}, nil
	} else if err != nil && !advisory.IsReference(o.from) {
		return "", nil, notFound("no advisories at %.200q: there is no such folder or file", o.from)
	}
	packed, err := image.OpenFiles(ctx, o.from, advisory.ArtifactType, image.Options{Insecure: o.insecure})
	if err != nil {
		return "", nil, fault.New(fault.KindOf(err), "open advisories: %w", err).
			WithHint("give a folder, or what goldkeep advisory pack has written: a file, or a reference HOST/NAME:TAG in a registry")
	}
	defer func() { _ = packed.Close() }()
	if dir, err = os.MkdirTemp("", "goldkeep-feeds-*"); err != nil {
		return "", nil, fault.New(fault.Unavailable, "make temporary folder: %w", err)
	}
	end = func() { _ = os.RemoveAll(dir) }
	for _, f := range packed.List {
		if err := unpackFeed(ctx, packed, f, dir); err != nil {
			end()
			return "", nil, fmt.Errorf("read %s: %w", f.Name, err)
		}
	}
	return dir, end, nil
}

// unpackFeed writes one file of an artifact, whose name stays inside the folder.
func unpackFeed(ctx context.Context, packed *image.Files, f image.File, dir string) (err error) {
	if f.Size > advisory.MaxFeed {
		return fault.New(fault.TooLarge, "over %d bytes", int64(advisory.MaxFeed))
	}
	body, err := packed.Open(ctx, f)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	if err := root.MkdirAll(path.Dir(f.Name), 0o700); err != nil {
		return err
	}
	file, err := root.Create(f.Name)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, body)
	return errors.Join(err, file.Close())
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
