// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store"
)

// flush writes the queue in one transaction, with the keys it touches.
func (im *run) flush(ctx context.Context) error {
	err := im.x.st.Update(ctx, func(tx store.Tx) error {
		for _, p := range im.queue {
			if err := im.write(ctx, tx, p); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, p := range im.queue {
		switch {
		case p.rec == nil:
			im.change.Removed++
			continue
		case im.held[p.id] != "":
			im.change.Changed++
		default:
			im.change.Added++
		}
		im.change.Records++
	}
	im.queue = im.queue[:0]
	return nil
}

// write replaces or removes one record. The keys of the old and of the new record
// are both touched: a package may have left the record, or come to it.
func (im *run) write(ctx context.Context, tx store.Tx, p pending) error {
	feed := im.src.feed
	named := false // by the packages and aliases it already has
	if im.held[p.id] != "" {
		if _, err := tx.Exec(ctx, `INSERT INTO advisory_touched (feed, ecosystem, name)
			SELECT DISTINCT feed, ecosystem, name FROM advisory_keys WHERE feed = ? AND id = ?
			ON CONFLICT DO NOTHING`, feed, p.id); err != nil {
			return err
		}
		var err error
		if named, err = im.sameNames(ctx, tx, p); err != nil {
			return err
		}
	}
	if im.held[p.id] != "" && !named {
		for _, table := range []string{"advisory_keys", "advisory_aliases"} {
			if _, err := tx.Exec(ctx, `DELETE FROM `+table+` WHERE feed = ? AND id = ?`, feed, p.id); err != nil {
				return err
			}
		}
	}
	if p.rec == nil {
		_, err := tx.Exec(ctx, `DELETE FROM advisory_records WHERE feed = ? AND id = ?`, feed, p.id)
		return err
	}
	body, err := json.Marshal(p.rec)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `INSERT INTO advisory_records (feed, id, hash, modified, learned, body) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (feed, id) DO UPDATE SET hash = excluded.hash, modified = excluded.modified, body = excluded.body`,
		feed, p.id, p.hash, store.Millis(p.rec.Modified), store.Millis(im.learned(*p.rec)), string(body)); err != nil {
		return err
	}
	if named {
		return nil
	}
	return im.writeNames(ctx, tx, *p.rec)
}

// sameNames reports whether a record is found by the same packages and aliases as
// the one held, which most changes leave alone: writing them anew is most of the work.
func (im *run) sameNames(ctx context.Context, tx store.Tx, p pending) (bool, error) {
	if p.rec == nil || im.older {
		return false, nil
	}
	var body string
	err := tx.QueryRow(ctx, `SELECT body FROM advisory_records WHERE feed = ? AND id = ?`, im.src.feed, p.id).Scan(&body)
	if errors.Is(err, store.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var old Record
	if err := json.Unmarshal([]byte(body), &old); err != nil {
		return false, err
	}
	return slices.Equal(old.Keys(), p.rec.Keys()) && slices.Equal(old.otherNames(), p.rec.otherNames()), nil
}

// otherNames are the names a record is found by beside its own, sorted, each once.
func (r Record) otherNames() []string {
	return slices.Compact(slices.Sorted(slices.Values(slices.Concat(r.Aliases, r.Upstream))))
}

// writeNames makes the record findable by package and by alias.
func (im *run) writeNames(ctx context.Context, tx store.Tx, rec Record) error {
	for _, k := range rec.Keys() {
		for _, q := range []struct {
			query string
			args  []any
		}{
			{`INSERT INTO advisory_keys (ecosystem, name, feed, id) VALUES (?, ?, ?, ?)`, []any{k.Ecosystem, k.Name, im.src.feed, rec.ID}},
			{`INSERT INTO advisory_touched (ecosystem, name, feed) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`, []any{k.Ecosystem, k.Name, im.src.feed}},
		} {
			if _, err := tx.Exec(ctx, q.query, q.args...); err != nil {
				return err
			}
		}
	}
	for _, a := range rec.otherNames() {
		if _, err := tx.Exec(ctx, `INSERT INTO advisory_aliases (alias, feed, id) VALUES (?, ?, ?)`, a, im.src.feed, rec.ID); err != nil {
			return err
		}
	}
	return nil
}

// learned says since when the record counts as known. A database that is new
// cannot pretend that all flaws are news; one that was fed knew nothing before.
func (im *run) learned(rec Record) time.Time {
	if im.first && !rec.Published.IsZero() && rec.Published.Before(im.now) {
		return rec.Published
	}
	return im.now
}

// Keys returns the packages the record names, normalised, sorted, each once.
func (r Record) Keys() []Key {
	var keys []Key
	for _, a := range r.Affected {
		keys = append(keys, NewKey(a.Ecosystem, a.Name))
	}
	return sortKeys(keys)
}

func sortKeys(keys []Key) []Key {
	slices.SortFunc(keys, func(a, b Key) int {
		if c := strings.Compare(a.Ecosystem, b.Ecosystem); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return slices.Compact(keys)
}

// finish writes what is left, removes what the feed no longer has, and last of
// all the feed's own row: only then is the import done.
func (im *run) finish(ctx context.Context) error {
	for _, id := range im.gone() {
		im.queue = append(im.queue, pending{id: id})
		if len(im.queue) >= batch {
			if err := im.flush(ctx); err != nil {
				return err
			}
		}
	}
	if err := im.flush(ctx); err != nil {
		return err
	}
	feed := im.src.feed
	err := im.x.st.Update(ctx, func(tx store.Tx) error {
		if _, err := tx.Exec(ctx, `DELETE FROM advisory_coverage WHERE feed = ?`, feed); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO advisory_coverage (feed, ecosystem)
			SELECT DISTINCT feed, ecosystem FROM advisory_keys WHERE feed = ?`, feed); err != nil {
			return err
		}
		var newest int64
		if err := tx.QueryRow(ctx, `SELECT COALESCE(MAX(modified), 0) FROM advisory_records WHERE feed = ?`, feed).Scan(&newest); err != nil {
			return err
		}
		im.change.Newest = store.Time(newest)
		return im.saveFeed(ctx, tx)
	})
	if err != nil {
		return err
	}
	return im.loadKeys(ctx)
}

func (im *run) saveFeed(ctx context.Context, tx store.Tx) error {
	bad, err := json.Marshal(im.change.Bad)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO advisory_feeds (`+feedColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET hash = excluded.hash, reader = excluded.reader, records = excluded.records,
		newest = excluded.newest, synced = excluded.synced, etag = excluded.etag, file = excluded.file, bad = excluded.bad`,
		im.src.feed, im.hash, readerVersion, im.change.Records, store.Millis(im.change.Newest),
		store.Millis(im.now), im.src.etag, im.src.file, string(bad))
	return err
}

// touch notes that the feed was seen again, unchanged.
func (im *run) touch(ctx context.Context) error {
	err := im.x.st.Update(ctx, func(tx store.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE advisory_feeds SET synced = ?, etag = ?, file = ? WHERE name = ?`,
			store.Millis(im.now), im.src.etag, im.src.file, im.src.feed)
		return err
	})
	if err != nil {
		return fault.New(fault.KindOf(err), "import feed %s: %w", im.src.feed, err)
	}
	return im.loadKeys(ctx)
}

// loadKeys fills Change.Keys with all that is touched and not settled.
func (im *run) loadKeys(ctx context.Context) error {
	return im.x.st.View(ctx, func(tx store.Tx) error {
		im.change.Keys = nil
		return store.Each(ctx, tx, func(row store.Row) error {
			var k Key
			err := row.Scan(&k.Ecosystem, &k.Name)
			im.change.Keys = append(im.change.Keys, k)
			return err
		}, `SELECT ecosystem, name FROM advisory_touched WHERE feed = ? ORDER BY ecosystem, name`, im.src.feed)
	})
}

// Settle forgets the keys of a change: whoever had to look at them has done so.
// Until then every import of the feed names them again, so that a crash between
// the import and the looking loses nothing. Keys that were touched again in the
// meantime by another import are named by that one's Change.
func (x *Index) Settle(ctx context.Context, c Change) error {
	err := x.st.Update(ctx, func(tx store.Tx) error {
		for _, k := range c.Keys {
			if _, err := tx.Exec(ctx, `DELETE FROM advisory_touched WHERE feed = ? AND ecosystem = ? AND name = ?`,
				c.Feed, k.Ecosystem, k.Name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fault.New(fault.KindOf(err), "settle feed %s: %w", c.Feed, err)
	}
	return nil
}

// Unsettled returns, feed by feed, the keys of imports whose consequences were
// never drawn (see Settle): what a crash between the two has left.
func (x *Index) Unsettled(ctx context.Context) ([]Change, error) {
	var all []Change
	err := x.st.View(ctx, func(tx store.Tx) error {
		all = nil
		return store.Each(ctx, tx, func(row store.Row) error {
			var feed string
			var k Key
			if err := row.Scan(&feed, &k.Ecosystem, &k.Name); err != nil {
				return err
			}
			if len(all) == 0 || all[len(all)-1].Feed != feed {
				all = append(all, Change{Feed: feed})
			}
			last := &all[len(all)-1]
			last.Keys = append(last.Keys, k)
			return nil
		}, `SELECT feed, ecosystem, name FROM advisory_touched ORDER BY feed, ecosystem, name`)
	})
	if err != nil {
		return nil, fault.New(fault.KindOf(err), "read unsettled feeds: %w", err)
	}
	return all, nil
}
