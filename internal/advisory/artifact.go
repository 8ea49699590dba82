// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
)

// ArtifactType is the type of an OCI artifact that holds feeds: one layer a file,
// named as in the bucket ("Debian/all.zip", "kev.json").
const ArtifactType = "application/vnd.goldkeep.advisories.v1"

// Pack writes the feeds of a folder as an OCI artifact, in an OCI layout archive
// that a registry or a machine without network can take, and returns the names of
// the files in it. The same feeds and time give the same bytes.
func Pack(dir string, w io.Writer, at time.Time) ([]string, error) {
	under, _, err := feedsIn(dir)
	if err != nil {
		return nil, err
	}
	found, err := Folder(dir, nil)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fault.New(fault.Invalid, "pack advisories: %w", err)
	}
	defer func() { _ = root.Close() }()
	var names []string
	var files []image.Titled
	for _, f := range found {
		name, err := filepath.Rel(dir, f.Path)
		if err != nil {
			return nil, fault.New(fault.Invalid, "pack advisories: %w", err)
		}
		name = filepath.ToSlash(name)
		title := strings.TrimPrefix(name, under)
		names, files = append(names, title), append(files, image.Titled{Title: title, Path: name})
	}
	if err := image.WriteFiles(w, root, files, ArtifactType, at); err != nil {
		return nil, fmt.Errorf("pack advisories: %w", err)
	}
	return names, nil
}

const wantedOrigin = "give a folder, an http(s) address, or what goldkeep advisory pack has written: a file, or a reference HOST/NAME:TAG in a registry"

// IsReference tells a reference with a host from a name that was mistyped.
func IsReference(from string) bool {
	host, _, below := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(from, "registry:"), "docker://"), "/")
	return below && host != "" && host[0] != '.' && (strings.ContainsAny(host, ".:") || host == "localhost")
}

// PackFile is Pack into a file, which appears whole or not at all.
func PackFile(dir, file string, at time.Time) ([]string, error) {
	tmp, err := os.Create(file + ".part")
	if err != nil {
		return nil, fault.New(fault.Invalid, "pack advisories: %w", err)
	}
	names, err := Pack(dir, tmp, at)
	if end := tmp.Close(); err == nil {
		err = end
	}
	if err == nil {
		err = os.Rename(tmp.Name(), file)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
		return nil, fault.New(fault.Invalid, "%w", err)
	}
	return names, nil
}

// openArtifact opens feeds that Pack has packed.
func (x *Index) openArtifact(ctx context.Context, from string, o SyncOptions) (origin, error) {
	if _, err := os.Stat(from); err != nil && !IsReference(from) {
		return origin{}, fault.New(fault.NotFound, "no advisories at %.200q: there is no such folder or file", from).WithHint(wantedOrigin)
	}
	packed, err := image.OpenFiles(ctx, from, ArtifactType, image.Options{Insecure: o.Insecure})
	if err != nil {
		return origin{}, fault.New(fault.KindOf(err), "open advisories: %w", err).
			WithHint(wantedOrigin)
	}
	feeds := o.Ecosystems
	if len(feeds) == 0 {
		for _, f := range packed.List {
			if feed, ok := strings.CutSuffix(f.Name, "/all.zip"); ok && path.Base(feed) == feed {
				feeds = append(feeds, feed)
			}
		}
		slices.Sort(feeds)
	}
	take := func(ctx context.Context, src source, name string) (Change, error) {
		i := slices.IndexFunc(packed.List, func(f image.File) bool { return f.Name == name })
		if i < 0 {
			return Change{}, fault.New(fault.NotFound, "no feed %s: %w", src.feed, fs.ErrNotExist)
		}
		file := packed.List[i]
		if c, same, err := x.unchanged(ctx, src, func(old feedRow) bool { return old.Hash == string(file.Digest) }); err != nil || same {
			return c, err
		}
		if file.Size > MaxFeed {
			return Change{}, fault.New(fault.TooLarge, "fetch feed %s: over %d bytes", src.feed, int64(MaxFeed))
		}
		body, err := packed.Open(ctx, file)
		if err != nil {
			return Change{}, fault.New(fault.KindOf(err), "fetch feed %s: %w", src.feed, err)
		}
		defer func() { _ = body.Close() }()
		return x.download(ctx, src, body)
	}
	return origin{layout("", feeds), take, func() { _ = packed.Close() }}, nil
}
