// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store"
)

// DefaultEcosystems are the feeds fetched from a URL where none are named.
var DefaultEcosystems = []string{
	"AlmaLinux", "Alpaquita", "Alpine", "Azure Linux", "Chainguard", "Debian", "Go", "Mageia", "Maven", "MinimOS", "NuGet", "Packagist", "PyPI",
	"Red Hat", "Rocky Linux", "RubyGems", "SUSE", "Ubuntu", "Wolfi", "crates.io", "npm", "openEuler", "openSUSE",
}

// SyncOptions are the wishes of a caller of Sync. The zero value is useful.
type SyncOptions struct {
	Ecosystems []string                            // which feeds; none: all of a folder, DefaultEcosystems of a URL
	Client     *http.Client                        // for a URL; nil: one with timeouts
	Progress   func(feed string, done, total int)  // records; while fetching, bytes with total -1
	OnChange   func(context.Context, Change) error // after each feed; its keys are settled when it returns nil; nil: at once
	Insecure   bool                                // the registry of an artifact speaks plain HTTP
	Stall      time.Duration                       // for a URL: how long it may send next to nothing; 0: a minute
	// AllowShrink takes a feed that has lost more than half of its records. Such a
	// feed is a fault of whoever publishes it far more often than it is news.
	AllowShrink bool
}

// SyncReport says what a sync did, feed by feed in the order taken.
type SyncReport struct {
	Changes []Change     `json:"changes"`
	Failed  []FailedFeed `json:"failed,omitempty"` // the others were taken all the same
}

// FailedFeed is a feed that could not be taken; what was held of it stays.
type FailedFeed struct {
	Feed   string `json:"feed"`
	Reason string `json:"reason"`
}

// Sync brings the index up to a folder, an http(s) URL or an OCI artifact (see
// Pack), laid out as the public OSV bucket: <Ecosystem>/all.zip, and kev.json,
// cve-severity.json and epss.csv (or epss.csv.gz) beside them where present; a
// folder may also hold all of the bucket in a folder "osv". What did not change
// since the last sync is not read (folder: size, time, then hash) and not fetched
// (URL: ETag or Last-Modified; artifact: digest) again.
//
// A feed that fails does not stop the others; it is named in the report, and the
// error returned tells of it. A folder with no feed at all is an error. A feed with
// less than half of the records held is refused: see SyncOptions.AllowShrink.
func (x *Index) Sync(ctx context.Context, from string, o SyncOptions) (SyncReport, error) {
	src, err := x.open(ctx, from, o)
	if err != nil {
		return SyncReport{}, err
	}
	defer src.close()
	return x.syncAll(ctx, src, o)
}

// origin is where feeds come from: its files, and how one of them is taken.
type origin struct {
	files []feedFile
	take  taker
	close func()
}

// feedFile is a feed of the layout, under the first of some names that is there.
type feedFile struct {
	feed     string
	paths    []string
	optional bool
}

// taker imports one file of the layout. It returns fs.ErrNotExist where there is
// no such file.
type taker func(ctx context.Context, src source, path string) (Change, error)

// open finds out what there is at a place, without reading a feed.
func (x *Index) open(ctx context.Context, from string, o SyncOptions) (origin, error) {
	switch {
	case isURL(from):
		if err := checkURL(from); err != nil {
			return origin{}, err
		}
		feeds := o.Ecosystems
		if len(feeds) == 0 {
			feeds = DefaultEcosystems
		}
		return origin{layout("", feeds), x.remote(from, o), func() {}}, nil
	case isFolder(from):
		under, feeds, err := feedsIn(from)
		if err != nil {
			return origin{}, err
		}
		if len(o.Ecosystems) > 0 {
			feeds = o.Ecosystems
		}
		return origin{layout(under, feeds), x.folder(from), func() {}}, nil
	}
	return x.openArtifact(ctx, from, o)
}

// layout lists the files of the bucket: ecosystems first, for scores say something
// about records that are there.
func layout(under string, feeds []string) []feedFile {
	files := make([]feedFile, 0, len(feeds)+3)
	for _, f := range feeds {
		files = append(files, feedFile{feed: f, paths: []string{under + f + "/all.zip"}})
	}
	return append(files,
		feedFile{feed: FeedKEV, paths: []string{"kev.json"}, optional: true},
		feedFile{feed: FeedCVSS, paths: []string{"cve-severity.json"}, optional: true},
		feedFile{feed: FeedEPSS, paths: []string{"epss.csv", "epss.csv.gz"}, optional: true})
}

// takeFeed takes one feed; false where it is optional and not there.
func (o origin) takeFeed(ctx context.Context, f feedFile, src source) (Change, bool, error) {
	src.feed = f.feed
	for _, path := range f.paths {
		change, err := o.take(ctx, src, path)
		if !errors.Is(err, fs.ErrNotExist) || len(f.paths) == 1 && !f.optional {
			return change, true, err
		}
	}
	return Change{}, false, nil
}

func (x *Index) syncAll(ctx context.Context, from origin, o SyncOptions) (SyncReport, error) {
	var report SyncReport
	var failures []error
	for _, f := range from.files {
		src := source{shrink: o.AllowShrink}
		if o.Progress != nil {
			src.progress = func(done, total int) { o.Progress(f.feed, done, total) }
		}
		change, there, err := from.takeFeed(ctx, f, src)
		if !there {
			continue
		}
		if err == nil {
			err = x.tell(ctx, change, o.OnChange)
		}
		if ctx.Err() != nil {
			return report, fault.New(fault.Unavailable, "sync advisories: %w", ctx.Err())
		}
		if err != nil {
			report.Failed = append(report.Failed, FailedFeed{f.feed, fault.Public(err)})
			failures = append(failures, err)
			continue
		}
		report.Changes = append(report.Changes, change)
	}
	if len(failures) > 0 {
		return report, fault.New(fault.KindOf(failures[0]), "sync advisories: %d of %d feeds failed: %w",
			len(failures), len(failures)+len(report.Changes), failures[0])
	}
	return report, nil
}

func (x *Index) tell(ctx context.Context, c Change, onChange func(context.Context, Change) error) error {
	if onChange != nil {
		if err := onChange(ctx, c); err != nil {
			return err
		}
	}
	return x.Settle(ctx, c)
}

// feedsIn lists the folders of dir, or else of dir/osv, that hold an all.zip.
func feedsIn(dir string) (under string, feeds []string, err error) {
	for _, under := range []string{"", "osv/"} {
		entries, err := os.ReadDir(filepath.Join(dir, under))
		if errors.Is(err, fs.ErrNotExist) && under != "" {
			continue
		}
		if err != nil {
			return "", nil, fault.New(fault.Invalid, "read advisories: %w", err)
		}
		for _, e := range entries {
			if _, err := os.Stat(filepath.Join(dir, under, e.Name(), "all.zip")); err == nil {
				feeds = append(feeds, e.Name())
			}
		}
		if len(feeds) > 0 {
			slices.Sort(feeds)
			return under, feeds, nil
		}
	}
	return "", nil, fault.New(fault.Invalid, "no advisories in %s", dir).
		WithHint("expected the layout of the OSV bucket: <Ecosystem>/all.zip, and kev.json and epss.csv if you have them")
}

// FolderFile is a feed in a folder.
type FolderFile struct{ Feed, Path string }

// Folder lists the feeds of a folder, in the order they are to be taken in: all, or
// those of some ecosystems, and the lists beside them. One that is asked for and not
// there is fault.NotFound.
func Folder(dir string, only []string) ([]FolderFile, error) {
	if !isFolder(dir) {
		return nil, fault.New(fault.Invalid, "%.200q is no folder of feeds", dir).
			WithHint("name a folder with <Ecosystem>/all.zip; a server takes addresses and artifacts by itself, see feeds.from in its configuration")
	}
	under, feeds, err := feedsIn(dir)
	if err != nil {
		return nil, err
	}
	if len(only) > 0 {
		feeds = only
	}
	var files []FolderFile
	for _, f := range layout(under, feeds) {
		found := false
		for _, path := range f.paths {
			name := filepath.Join(dir, filepath.FromSlash(path))
			if _, err := os.Stat(name); err == nil && !found {
				found = true
				files = append(files, FolderFile{f.feed, name})
			}
		}
		if !found && !f.optional {
			return nil, fault.New(fault.NotFound, "there is no feed %s in %s", f.feed, dir)
		}
	}
	return files, nil
}

func (x *Index) folder(dir string) taker {
	return func(ctx context.Context, src source, path string) (Change, error) {
		name := filepath.Join(dir, filepath.FromSlash(path))
		info, err := os.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			return Change{}, fault.New(fault.NotFound, "no feed %s: %w", src.feed, err)
		}
		if err != nil {
			return Change{}, fault.New(fault.Invalid, "read feed %s: %w", src.feed, err)
		}
		src.file = fileMark(name, info)
		if c, same, err := x.unchanged(ctx, src, func(old feedRow) bool { return old.file == src.file }); err != nil || same {
			return c, err
		}
		file, err := os.Open(name)
		if err != nil {
			return Change{}, fault.New(fault.Invalid, "read feed %s: %w", src.feed, err)
		}
		defer func() { _ = file.Close() }()
		return x.importFile(ctx, src, file, info.Size())
	}
}

// fileMark changes when a file is written to, and differs between folders.
func fileMark(name string, info fs.FileInfo) string {
	full, err := filepath.Abs(name)
	if err != nil {
		full = name
	}
	return fmt.Sprintf("%s %d %d", tagFor(full, "file"), info.Size(), info.ModTime().UnixNano())
}

func (x *Index) importFile(ctx context.Context, src source, file *os.File, size int64) (Change, error) {
	x.imports.Lock() // not while a feed is being fetched, which may take long
	defer x.imports.Unlock()
	switch src.feed {
	case FeedKEV, FeedEPSS, FeedCVSS:
		return x.importScores(ctx, src, file)
	}
	return x.importZip(ctx, src, file, size)
}

// unchanged settles without reading it that a feed is the one held.
func (x *Index) unchanged(ctx context.Context, src source, same func(feedRow) bool) (Change, bool, error) {
	var old feedRow
	var known bool
	err := x.st.View(ctx, func(tx store.Tx) error {
		var err error
		old, known, err = x.feed(ctx, tx, src.feed)
		return err
	})
	if err != nil {
		return Change{}, false, fault.New(fault.KindOf(err), "read feed %s: %w", src.feed, err)
	}
	if !known || old.reader != readerVersion || !same(old) {
		return Change{}, false, nil
	}
	if src.etag == "" {
		src.etag = old.etag
	}
	im := &run{x: x, src: src, now: x.st.Now(), change: Change{
		Feed: src.feed, Unchanged: true, Records: old.Records, Newest: old.Newest, Bad: old.Bad,
	}}
	if err := im.touch(ctx); err != nil {
		return Change{}, false, err
	}
	return im.change, true, nil
}

func isFolder(from string) bool {
	info, err := os.Stat(from)
	if err != nil || !info.IsDir() {
		return false
	}
	_, err = os.Stat(filepath.Join(from, "oci-layout"))
	return err != nil
}

func isURL(from string) bool {
	return strings.HasPrefix(from, "https://") || strings.HasPrefix(from, "http://")
}
