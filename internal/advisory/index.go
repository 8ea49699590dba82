// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store"
)

// Index is the advisory database. It is safe for use by several goroutines;
// imports run one at a time.
type Index struct {
	st      store.Store
	imports sync.Mutex
	hurried chan struct{} // wakes the Keeper of this process
}

// New returns the index kept in st. Call Migrate before anything else.
func New(st store.Store) *Index { return &Index{st: st, hurried: make(chan struct{}, 1)} }

var migrations = []string{
	// hash is of the feed's bytes; reader is the version of Parse that read them.
	`CREATE TABLE advisory_feeds (
		name TEXT PRIMARY KEY, hash TEXT NOT NULL, reader BIGINT NOT NULL, records BIGINT NOT NULL,
		newest BIGINT NOT NULL, synced BIGINT NOT NULL, etag TEXT NOT NULL, file TEXT NOT NULL, bad TEXT NOT NULL)`,
	`CREATE TABLE advisory_records (
		feed TEXT NOT NULL, id TEXT NOT NULL, hash TEXT NOT NULL, modified BIGINT NOT NULL, learned BIGINT NOT NULL,
		body TEXT NOT NULL, PRIMARY KEY (feed, id))`,
	`CREATE INDEX advisory_records_id ON advisory_records (id)`,
	`CREATE TABLE advisory_keys (
		ecosystem TEXT NOT NULL, name TEXT NOT NULL, feed TEXT NOT NULL, id TEXT NOT NULL,
		PRIMARY KEY (ecosystem, name, feed, id))`,
	`CREATE INDEX advisory_keys_record ON advisory_keys (feed, id)`,
	`CREATE TABLE advisory_aliases (
		alias TEXT NOT NULL, feed TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (alias, feed, id))`,
	`CREATE INDEX advisory_aliases_record ON advisory_aliases (feed, id)`,
	`CREATE TABLE advisory_scores (
		feed TEXT NOT NULL, cve TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (feed, cve))`,
	// What an ecosystem's own feed speaks of: the rest is "not covered".
	`CREATE TABLE advisory_coverage (
		feed TEXT NOT NULL, ecosystem TEXT NOT NULL, PRIMARY KEY (feed, ecosystem))`,
	// Keys an import touched that nobody has settled yet; see Settle.
	`CREATE TABLE advisory_touched (
		feed TEXT NOT NULL, ecosystem TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (feed, ecosystem, name))`,
	// When feeds are due, and how the last attempt went: see Keeper. The row "*" is
	// the place they come from; mark tells one place from another.
	`CREATE TABLE advisory_schedule (
		feed TEXT PRIMARY KEY, mark TEXT NOT NULL, tried BIGINT NOT NULL, next BIGINT NOT NULL, failures BIGINT NOT NULL,
		error TEXT NOT NULL, claim BIGINT NOT NULL, node TEXT NOT NULL)`,
}

// Migrate makes or updates the index's tables.
func (x *Index) Migrate(ctx context.Context) error {
	return x.st.Migrate(ctx, "advisory", migrations)
}

// Lookup returns every record that names one of the keys, each once, ordered by
// ID; withdrawn ones too. Keys need not be normalised.
func (x *Index) Lookup(ctx context.Context, keys []Key) ([]Record, error) {
	byEcosystem := map[string][]string{}
	for _, k := range keys {
		k = NewKey(k.Ecosystem, k.Name)
		byEcosystem[k.Ecosystem] = append(byEcosystem[k.Ecosystem], k.Name)
	}
	var found collector
	err := x.st.View(ctx, func(tx store.Tx) error {
		found = newCollector()
		for eco, names := range byEcosystem {
			if err := eachChunk(names, func(marks string, args []any) error {
				return store.Each(ctx, tx, found.scan, `SELECT r.feed, r.id, r.learned, r.body
					FROM advisory_keys k JOIN advisory_records r ON r.feed = k.feed AND r.id = k.id
					WHERE k.ecosystem = ? AND k.name IN (`+marks+`)`, append([]any{eco}, args...)...)
			}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fault.New(fault.KindOf(err), "look up advisories: %w", err)
	}
	return found.records(), nil
}

// Get returns the record with this ID, or else the records that have it as an
// alias; NotFound where there is none.
func (x *Index) Get(ctx context.Context, id string) ([]Record, error) {
	var found collector
	err := x.st.View(ctx, func(tx store.Tx) error {
		found = newCollector()
		if err := store.Each(ctx, tx, found.scan,
			`SELECT feed, id, learned, body FROM advisory_records WHERE id = ?`, id); err != nil || len(found.byID) > 0 {
			return err
		}
		return store.Each(ctx, tx, found.scan, `SELECT r.feed, r.id, r.learned, r.body
			FROM advisory_aliases a JOIN advisory_records r ON r.feed = a.feed AND r.id = a.id WHERE a.alias = ?`, id)
	})
	if err != nil {
		return nil, fault.New(fault.KindOf(err), "get advisory: %w", err)
	}
	if len(found.byID) == 0 {
		return nil, fault.New(fault.NotFound, "no advisory %q in the database", id).
			WithHint("the database may be old: goldkeep advisory sync")
	}
	return found.records(), nil
}

// Scores returns what is known of the given CVEs (others are ignored): a CVE
// nothing is known of is not in the result.
func (x *Index) Scores(ctx context.Context, cves []string) (map[string]Score, error) {
	out := map[string]Score{}
	err := x.st.View(ctx, func(tx store.Tx) error {
		clear(out)
		return eachChunk(cves, func(marks string, args []any) error {
			return store.Each(ctx, tx, func(row store.Row) error {
				var cve, body string
				if err := row.Scan(&cve, &body); err != nil {
					return err
				}
				// Each source fills its own fields.
				s := out[cve]
				if err := json.Unmarshal([]byte(body), &s); err != nil {
					return err
				}
				out[cve] = s
				return nil
			}, `SELECT cve, body FROM advisory_scores WHERE cve IN (`+marks+`)`, args...)
		})
	})
	if err != nil {
		return nil, fault.New(fault.KindOf(err), "look up scores: %w", err)
	}
	return out, nil
}

// Covered returns the ecosystems the database has advisories for from their own
// feed. A record of another feed that mentions an ecosystem does not cover it.
func (x *Index) Covered(ctx context.Context) (map[string]bool, error) {
	out := map[string]bool{}
	err := x.st.View(ctx, func(tx store.Tx) error {
		clear(out)
		return store.Each(ctx, tx, func(row store.Row) error {
			var feed, eco string
			if err := row.Scan(&feed, &eco); err != nil {
				return err
			}
			if Family(feed) == Family(eco) {
				out[eco] = true
			}
			return nil
		}, `SELECT feed, ecosystem FROM advisory_coverage`)
	})
	if err != nil {
		return nil, fault.New(fault.KindOf(err), "read coverage: %w", err)
	}
	return out, nil
}

// Snapshot names the present state: the same feeds give the same ID. An empty
// database has an empty ID.
func (x *Index) Snapshot(ctx context.Context) (Snapshot, error) {
	var out Snapshot
	err := x.st.View(ctx, func(tx store.Tx) error {
		out = Snapshot{}
		return store.Each(ctx, tx, func(row store.Row) error {
			f, err := scanFeed(row)
			out.Feeds = append(out.Feeds, f.FeedState)
			return err
		}, `SELECT `+feedColumns+` FROM advisory_feeds ORDER BY name`)
	})
	if err != nil {
		return Snapshot{}, fault.New(fault.KindOf(err), "read snapshot: %w", err)
	}
	if len(out.Feeds) == 0 {
		return out, nil
	}
	h := sha256.New()
	for _, f := range out.Feeds {
		h.Write([]byte(f.Name + "\x00" + f.Hash + "\n"))
	}
	out.ID = "sha256:" + hex.EncodeToString(h.Sum(nil))
	return out, nil
}

// feedRow is a feed as stored: its state and what lets a sync skip it.
type feedRow struct {
	FeedState
	reader int64
	etag   string
	file   string // size and time of the file it came from
}

const feedColumns = `name, hash, reader, records, newest, synced, etag, file, bad`

func scanFeed(row store.Row) (feedRow, error) {
	var f feedRow
	var newest, synced int64
	var bad string
	err := row.Scan(&f.Name, &f.Hash, &f.reader, &f.Records, &newest, &synced, &f.etag, &f.file, &bad)
	if err != nil {
		return f, err
	}
	f.Newest, f.Synced = store.Time(newest), store.Time(synced)
	return f, json.Unmarshal([]byte(bad), &f.Bad)
}

func (x *Index) feed(ctx context.Context, tx store.Tx, name string) (feedRow, bool, error) {
	f, err := scanFeed(tx.QueryRow(ctx, `SELECT `+feedColumns+` FROM advisory_feeds WHERE name = ?`, name))
	if errors.Is(err, store.ErrNoRows) {
		return feedRow{}, false, nil
	}
	return f, err == nil, err
}

// collector gathers records that may come several times: by several keys, or
// from two feeds that both carry them.
type collector struct {
	rows map[[2]string]bool // feed and id
	byID map[string]Record
}

func newCollector() collector {
	return collector{rows: map[[2]string]bool{}, byID: map[string]Record{}}
}

func (c collector) scan(row store.Row) error {
	var feed, id, body string
	var learned int64
	if err := row.Scan(&feed, &id, &learned, &body); err != nil {
		return err
	}
	if c.rows[[2]string{feed, id}] {
		return nil
	}
	c.rows[[2]string{feed, id}] = true
	var rec Record
	if err := json.Unmarshal([]byte(body), &rec); err != nil {
		return err
	}
	rec.Learned = store.Time(learned)
	if old, twice := c.byID[id]; twice {
		rec = newer(old, rec)
	}
	c.byID[id] = rec
	return nil
}

// newer picks the later of two copies of one record; known since the earlier.
func newer(a, b Record) Record {
	learned := a.Learned
	if b.Learned.Before(learned) {
		learned = b.Learned
	}
	if b.Modified.After(a.Modified) {
		a = b
	}
	a.Learned = learned
	return a
}

func (c collector) records() []Record {
	out := make([]Record, 0, len(c.byID))
	for _, r := range c.byID {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Record) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// chunk is how many values one statement looks up. Shorter lists are filled up
// with their last value, so that one prepared statement serves them all.
const chunk = 64

func eachChunk(values []string, fn func(marks string, args []any) error) error {
	values = slices.Compact(slices.Sorted(slices.Values(values)))
	marks := strings.TrimSuffix(strings.Repeat("?,", chunk), ",")
	for part := range slices.Chunk(values, chunk) {
		args := make([]any, chunk)
		for i := range args {
			args[i] = part[min(i, len(part)-1)]
		}
		if err := fn(marks, args); err != nil {
			return err
		}
	}
	return nil
}

// Known is a record with what is known of its CVEs beside it.
type Known struct {
	Record
	Scores map[string]Score `json:"scores,omitempty"` // by CVE
}

// Show is Get, with the scores of the CVEs the records name.
func (x *Index) Show(ctx context.Context, id string) ([]Known, error) {
	records, err := x.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, r := range records {
		names = append(names, r.names()...)
	}
	scores, err := x.Scores(ctx, names)
	if err != nil {
		return nil, err
	}
	var out []Known
	for _, r := range records {
		k := Known{Record: r}
		for _, name := range r.names() {
			if s, ok := scores[name]; ok {
				if k.Scores == nil {
					k.Scores = map[string]Score{}
				}
				k.Scores[name] = s
			}
		}
		out = append(out, k)
	}
	return out, nil
}

// names are what the flaw is called; not what is only related to it.
func (r Record) names() []string { return slices.Concat([]string{r.ID}, r.Aliases, r.Upstream) }

// Names returns the packages of one ecosystem that there are advisories for,
// sorted. It is for ecosystems of some thousands.
func (x *Index) Names(ctx context.Context, ecosystem string) ([]string, error) {
	var names []string
	err := x.st.View(ctx, func(tx store.Tx) (err error) {
		names, err = store.Column[string](ctx, tx, `SELECT DISTINCT name FROM advisory_keys WHERE ecosystem = ? ORDER BY name`, Ecosystem(ecosystem))
		return err
	})
	if err != nil {
		return nil, fault.New(fault.KindOf(err), "list packages of %s: %w", ecosystem, err)
	}
	return names, nil
}
