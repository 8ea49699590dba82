// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store"
)

// Change is what an import did.
type Change struct {
	Feed      string    `json:"feed"`
	Unchanged bool      `json:"unchanged"` // the feed is the one already held
	Added     int       `json:"added"`
	Changed   int       `json:"changed"`
	Removed   int       `json:"removed"`
	Records   int       `json:"records"` // held now
	Newest    time.Time `json:"newest"`
	Bad       Bad       `json:"bad,omitzero"`
	Keys      []Key     `json:"-"` // what the new, changed, withdrawn and gone records name, sorted
}

// Limits of one feed. Far above what the public feeds hold.
const (
	maxRecord  = 4 << 20  // bytes of one record, unpacked
	maxRecords = 2 << 20  // records of one feed
	maxTotal   = 32 << 30 // bytes of one feed, unpacked
	// MaxFeed is how large a feed's file may be, in bytes.
	MaxFeed = 4 << 30
	// batch is how many records one transaction writes: readers and other
	// writers never wait long for an import.
	batch = 1000
	// maxNamed is how many bad records are named.
	maxNamed = 5
	// readerVersion counts changes of Parse: a feed read by an older one is read again.
	readerVersion = 1
)

// Import reads one feed: a zip with one ID.json a record, as the public OSV bucket
// has it per ecosystem. The feed's name is that ecosystem.
//
// Records that did not change are not written. The import goes in batches, each a
// transaction, and the feed's hash is written last: one that was interrupted is
// simply run again, and its Change names the keys of both runs. A record that
// cannot be read is left as it was, counted and named in Change.Bad. A feed that
// is no zip, is empty, or breaks a limit is refused as a whole.
//
// progress may be nil; it is called with records done and in all.
func (x *Index) Import(ctx context.Context, feed string, file io.ReaderAt, size int64, progress func(done, total int)) (Change, error) {
	if feed == FeedKEV || feed == FeedEPSS || feed == FeedCVSS {
		return Change{}, fault.New(fault.Invalid, "import feed %s: this feed is no zip of advisories", feed)
	}
	x.imports.Lock()
	defer x.imports.Unlock()
	return x.importZip(ctx, source{feed: feed, progress: progress, shrink: true}, file, size)
}

// source says what is imported and from where.
type source struct {
	feed     string
	etag     string // of the server it came from
	file     string // size and time of the file it came from
	shrink   bool   // take it though it has lost most of its records
	progress func(done, total int)
}

func (x *Index) importZip(ctx context.Context, src source, file io.ReaderAt, size int64) (Change, error) {
	if err := checkName("feed", src.feed); err != nil {
		return Change{}, err
	}
	if size > MaxFeed {
		return Change{}, fault.New(fault.TooLarge, "import feed %s: %d bytes, the limit is %d", src.feed, size, int64(MaxFeed))
	}
	hash, err := hashOf(io.NewSectionReader(file, 0, size))
	if err != nil {
		return Change{}, fault.New(fault.Invalid, "import feed %s: %w", src.feed, err)
	}
	im, same, err := x.begin(ctx, src, hash)
	if err != nil || same {
		return im.change, err
	}
	archive, err := zip.NewReader(file, size)
	if err != nil {
		return Change{}, fault.New(fault.Invalid, "import feed %s: %w", src.feed, err).WithHint("expected a zip file as the OSV bucket has it: <Ecosystem>/all.zip")
	}
	if err := im.readAll(ctx, archive.File); err != nil {
		return Change{}, fault.New(fault.KindOf(err), "import feed %s: %w", src.feed, err)
	}
	if err := im.finish(ctx); err != nil {
		return Change{}, fault.New(fault.KindOf(err), "import feed %s: %w", src.feed, err)
	}
	return im.change, nil
}

// run is one import under way.
type run struct {
	x        *Index
	src      source
	hash     string
	first    bool              // the feed has never been imported to its end
	older    bool              // what is held was read by an older reader, which may have named it otherwise
	held     map[string]string // id -> hash of the records held before
	seen     map[string]bool   // ids met in the feed
	now      time.Time
	released time.Time // when the scores say they were made
	total    int64     // bytes unpacked so far
	queue    []pending
	change   Change
}

// pending is a record waiting to be written; nil rec: to be removed.
type pending struct {
	id, hash string
	rec      *Record
}

// begin loads what is held of the feed; true where it is the same feed again.
func (x *Index) begin(ctx context.Context, src source, hash string) (*run, bool, error) {
	im := &run{x: x, src: src, hash: hash, seen: map[string]bool{}, now: x.st.Now(), change: Change{Feed: src.feed}}
	var old feedRow
	var known bool
	err := x.st.View(ctx, func(tx store.Tx) error {
		im.held = map[string]string{}
		var err error
		if old, known, err = x.feed(ctx, tx, src.feed); err != nil {
			return err
		}
		if known && old.Hash == hash && old.reader == readerVersion {
			return nil
		}
		return store.Each(ctx, tx, func(row store.Row) error {
			var id, h string
			err := row.Scan(&id, &h)
			im.held[id] = h
			return err
		}, `SELECT id, hash FROM advisory_records WHERE feed = ?`, src.feed)
	})
	if err != nil {
		return im, false, fault.New(fault.KindOf(err), "import feed %s: %w", src.feed, err)
	}
	im.first, im.older = !known, !known || old.reader != readerVersion
	if !known || old.Hash != hash || old.reader != readerVersion {
		return im, false, nil
	}
	im.change = Change{Feed: src.feed, Unchanged: true, Records: old.Records, Newest: old.Newest, Bad: old.Bad}
	return im, true, im.touch(ctx)
}

func (im *run) readAll(ctx context.Context, files []*zip.File) error {
	var members []*zip.File
	for _, f := range files {
		if !strings.HasSuffix(f.Name, "/") {
			members = append(members, f)
		}
	}
	if len(members) == 0 {
		return fault.New(fault.Invalid, "the feed is empty")
	}
	if len(members) > maxRecords {
		return fault.New(fault.TooLarge, "%d records, the limit is %d", len(members), maxRecords)
	}
	if err := im.checkShrunk(len(members)); err != nil {
		return err
	}
	for i, f := range members {
		if err := im.read(f); err != nil {
			return err
		}
		if len(im.queue) >= batch {
			if err := im.flush(ctx); err != nil {
				return err
			}
		}
		if im.src.progress != nil && (i+1 == len(members) || (i+1)%500 == 0) {
			im.src.progress(i+1, len(members))
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	if im.change.Bad.Count >= len(members) {
		return fault.New(fault.Invalid, "no record of it could be read: %s", strings.Join(im.change.Bad.First, "; "))
	}
	return nil
}

// manyRecords is how many a feed must hold for its shrinking to mean anything.
const manyRecords = 20

// checkShrunk refuses a feed that has lost more than half of what is held of it.
func (im *run) checkShrunk(records int) error {
	held := len(im.held)
	if im.src.shrink || held < manyRecords || records >= held/2 {
		return nil
	}
	return fault.New(fault.Invalid, "it has %d records, and %d are held: what is held was kept", records, held).
		WithHint("if that is no mistake of whoever publishes it: goldkeep advisory sync --allow-shrink")
}

// read takes one record from the zip. Only a broken limit is an error: whatever
// else is wrong with the record is noted as bad.
func (im *run) read(f *zip.File) error {
	id := strings.TrimSuffix(path.Base(f.Name), ".json")
	if im.seen[id] {
		im.bad(id, "is in the feed twice")
		return nil
	}
	im.seen[id] = true
	raw, err := unzip(f)
	im.total += int64(len(raw))
	if im.total > maxTotal {
		return fault.New(fault.TooLarge, "over %d GiB unpacked", int64(maxTotal)>>30)
	}
	if err != nil {
		im.bad(id, err.Error())
		return nil
	}
	hash := recordHash(raw)
	if im.held[id] == hash {
		im.change.Records++
		return nil
	}
	rec, err := Parse(raw)
	if err == nil && rec.ID != id {
		err = fault.New(fault.Invalid, "holds the record %q", rec.ID)
	}
	if err != nil {
		im.bad(id, err.Error())
		return nil
	}
	im.queue = append(im.queue, pending{id: id, hash: hash, rec: &rec})
	return nil
}

// bad notes a record that cannot be read. The copy held before stays.
func (im *run) bad(id, reason string) {
	if im.held[id] != "" {
		im.change.Records++
	}
	im.change.Bad.Count++
	if len(im.change.Bad.First) < maxNamed {
		im.change.Bad.First = append(im.change.Bad.First, summary(osvRecord{Summary: id + ": " + reason}))
	}
}

func unzip(f *zip.File) ([]byte, error) {
	if f.UncompressedSize64 > maxRecord {
		return nil, fault.New(fault.TooLarge, "over %d bytes", maxRecord)
	}
	in, err := f.Open()
	if err != nil {
		return nil, err
	}
	raw, err := readAll(in, maxRecord)
	if end := in.Close(); err == nil && end != nil {
		return nil, end
	}
	return raw, err
}

// recordHash is kept beside a record to see whether it changed.
func recordHash(raw []byte) string {
	sum := sha256.Sum256(append([]byte{readerVersion}, raw...))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func hashOf(r io.Reader) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", err
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

// gone queues the removal of records the feed no longer has.
func (im *run) gone() []string {
	var ids []string
	for id := range im.held {
		if !im.seen[id] {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}
