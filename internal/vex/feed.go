// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package vex

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store"
)

// Book keeps the statements of the vendors somebody chose to believe. It is safe
// for use by several goroutines; imports run one at a time.
type Book struct {
	st      store.Store
	imports sync.Mutex
}

var steps = []string{`
CREATE TABLE vex_vendor (name TEXT PRIMARY KEY, documents BIGINT NOT NULL, statements BIGINT NOT NULL, newest BIGINT NOT NULL, synced BIGINT NOT NULL);
CREATE TABLE vex_statement (
	vendor TEXT NOT NULL, file TEXT NOT NULL, hash TEXT NOT NULL,
	family TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL,
	PRIMARY KEY (vendor, file, hash)
);
CREATE INDEX vex_statement_name ON vex_statement (family, name);
CREATE TABLE vex_touched (vendor TEXT NOT NULL, family TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (vendor, family, name));
`, `
ALTER TABLE vex_vendor ADD COLUMN about TEXT NOT NULL DEFAULT 'pkg:';
`, `
CREATE TABLE vex_try (vendor TEXT PRIMARY KEY, tag TEXT NOT NULL, tried BIGINT NOT NULL, next BIGINT NOT NULL, failures BIGINT NOT NULL, error TEXT NOT NULL);
`}

// Open prepares the book's tables.
func Open(ctx context.Context, st store.Store) (*Book, error) {
	if err := st.Migrate(ctx, "vex", steps); err != nil {
		return nil, err
	}
	return &Book{st: st}, nil
}

// Vendor is one whose statements count here.
type Vendor struct {
	Name       string    `json:"name"`
	Documents  int       `json:"documents"`
	Statements int       `json:"statements"` // one for each package a statement names
	Newest     time.Time `json:"newest"`
	Synced     time.Time `json:"synced"`
	About      []string  `json:"about"`         // what it may speak of: beginnings of package URLs
	Try        *Try      `json:"try,omitempty"` // where it is fetched on a schedule
}

// Change is what an import did.
type Change struct {
	Vendor     string         `json:"vendor"`
	Documents  int            `json:"documents"`
	Statements int            `json:"statements"` // held now
	Added      int            `json:"added"`
	Removed    int            `json:"removed"`
	NotTaken   Omitted        `json:"notTaken,omitzero"` // statements that say nothing we can use
	Bad        Omitted        `json:"bad,omitzero"`      // documents that could not be read; what was held of them stays
	Keys       []advisory.Key `json:"-"`                 // packages concerned; the ecosystem without its release: see Spread
}

// Omitted counts what was left out.
type Omitted struct {
	Count int      `json:"count"`
	First []string `json:"first,omitempty"` // the first few, each with the reason
}

func (o *Omitted) add(what string) {
	const most = 5
	o.Count++
	if len(o.First) < most {
		o.First = append(o.First, what)
	}
}

// File is a document by its name.
type File struct {
	Name string
	Data []byte
}

const (
	maxFiles = 200_000   // documents of one vendor
	maxRows  = 1_000_000 // statements of one vendor, one for each package
	batch    = 1000      // rows of one transaction: nobody waits long for an import
)

var vendorName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$`)

// said is one statement of a vendor on one package.
type said struct {
	Vendor        string    `json:"-"`
	Names         []string  `json:"names"`
	Package       string    `json:"package"` // package URL; "": every package of the image at hand
	Status        Status    `json:"status"`
	Justification string    `json:"justification,omitempty"`
	Text          string    `json:"text,omitempty"`
	Document      string    `json:"document"`
	Version       int       `json:"version,omitempty"` // of the document
	Time          time.Time `json:"time"`
}

// row is a said as it is kept.
type row struct {
	file, hash, body string
	key              advisory.Key
}

// Import makes the documents all that a vendor says: what it said before and says
// no more is gone. A document that cannot be read is named in the change, and what
// was held of it stays. Images whose packages are among the change's Keys must be
// matched again; then call Settle. An import that was interrupted is simply run
// again, and names the keys of both runs.
//
// Only statements on packages the feed may speak of count, and none that is dated in the
// future. Only statements on packages count, by package URL. What speaks of a product (an
// image, or a package within one) is not taken: it says nothing of that package in
// our images.
func (b *Book) Import(ctx context.Context, feed Feed, files iter.Seq2[File, error]) (Change, error) {
	vendor := feed.Vendor
	if err := feed.Check(); err != nil {
		return Change{}, err
	}
	b.imports.Lock()
	defer b.imports.Unlock()
	about, err := b.bound(ctx, feed)
	if err != nil {
		return Change{}, err
	}
	in := gathering{change: Change{Vendor: vendor}, rows: map[[2]string]row{}, bad: map[string]bool{}, about: about, latest: b.st.Now().Add(skew)}
	for file, err := range files {
		if err == nil {
			err = in.take(file)
		}
		if err != nil {
			return Change{}, fault.New(fault.KindOf(err), "import statements of %s: %w", vendor, err)
		}
	}
	if in.change.Documents == 0 {
		return Change{}, fault.New(fault.Invalid, "import statements of %s: there is no VEX document that can be read%s", vendor, first(in.change.Bad)).
			WithHint("to believe this vendor no more: goldkeep vex forget %s", vendor)
	}
	return b.replace(ctx, in)
}

func first(o Omitted) string {
	if len(o.First) == 0 {
		return ""
	}
	return ": " + o.First[0]
}

// gathering is what an import has read so far.
type gathering struct {
	change Change
	rows   map[[2]string]row // by file and hash
	bad    map[string]bool   // files
	newest time.Time
	about  []string  // what may be spoken of
	latest time.Time // a date after it is in the future
}

func (in *gathering) take(file File) error {
	if in.change.Documents+len(in.bad) >= maxFiles {
		return fault.New(fault.TooLarge, "there are more than %d documents", maxFiles)
	}
	doc, err := Parse(file.Data)
	if err == nil && doc.Time.IsZero() {
		err = fault.New(fault.Invalid, "the document does not say when it was made, so nobody knows which statement is the newest")
	}
	if err == nil && doc.Time.After(in.latest) {
		err = fault.New(fault.Invalid, "the document is dated in the future: %s", doc.Time.Format(time.RFC3339))
	}
	if err != nil {
		in.bad[file.Name] = true
		in.change.Bad.add(file.Name + ": " + fault.Public(err))
		return nil
	}
	in.change.Documents++
	if doc.Time.After(in.newest) {
		in.newest = doc.Time
	}
	for _, s := range doc.Statements {
		for _, p := range s.Products {
			key, why := in.usable(s, p)
			if why != "" {
				in.change.NotTaken.add(file.Name + ": " + s.At + ": " + why)
				continue
			}
			r, err := newRow(file.Name, key, said{
				Names: s.Names, Package: p.ID, Status: s.Status, Justification: s.Justification, Text: shown(s.Text),
				Document: cmp.Or(doc.ID, file.Name), Version: doc.Version, Time: s.Time,
			})
			if err != nil {
				return err
			}
			in.rows[[2]string{r.file, r.hash}] = r
		}
		if len(s.Products) == 0 {
			in.change.NotTaken.add(file.Name + ": " + s.At + ": names no product")
		}
		if len(in.rows) > maxRows {
			return fault.New(fault.TooLarge, "there are more than %d statements", maxRows)
		}
	}
	return nil
}

// usable says which package a statement speaks of, or why it cannot be used.
func (in *gathering) usable(s Statement, p Product) (key advisory.Key, why string) {
	purl, err := ParsePURL(p.ID)
	switch {
	case err != nil:
		return key, err.Error()
	case purl.Type == "oci" || purl.Type == "docker":
		return key, "speaks of an image, not of a package: " + p.ID
	case !mayAbout(in.about, purl):
		return key, "speaks of a package that is not this vendor's (see --about): " + p.ID
	case s.Time.After(in.latest):
		return key, "is dated in the future: " + s.Time.Format(time.RFC3339)
	case len(p.Packages) > 0:
		return key, "speaks of a package within a product only: " + p.ID
	case s.Status == Fixed && purl.Version == "":
		return key, "says fixed, but not in which version: " + p.ID
	}
	key, ok := purl.Key()
	if !ok {
		return key, "no advisory speaks of such a package: " + p.ID
	}
	return key, ""
}

// shown is text as it is kept: one line, not endless.
func shown(text string) string {
	const most = 300
	if runes := []rune(oneLine(text)); len(runes) > most {
		return string(runes[:most]) + "..."
	}
	return oneLine(text)
}

func newRow(file string, key advisory.Key, s said) (row, error) {
	body, err := json.Marshal(s)
	if err != nil {
		return row{}, fmt.Errorf("encode statement: %w", err)
	}
	sum := sha256.Sum256(body)
	return row{file: file, hash: hex.EncodeToString(sum[:]), body: string(body), key: key}, nil
}

// Remove forgets a vendor.
func (b *Book) Remove(ctx context.Context, vendor string) (Change, error) {
	b.imports.Lock()
	defer b.imports.Unlock()
	known, err := b.Vendors(ctx)
	if err != nil {
		return Change{}, err
	}
	if !slices.ContainsFunc(known, func(v Vendor) bool { return v.Name == vendor && v.Documents > 0 }) {
		return Change{}, fault.New(fault.NotFound, "there are no statements of a vendor %.80q", vendor).WithHint("see them with: goldkeep vex vendors")
	}
	return b.replace(ctx, gathering{change: Change{Vendor: vendor}})
}

// replace writes what is new, then removes what is gone, then the vendor's own row.
func (b *Book) replace(ctx context.Context, in gathering) (Change, error) {
	c := in.change
	held, err := b.held(ctx, c.Vendor)
	if err != nil {
		return Change{}, err
	}
	var add, drop []row
	for id, r := range in.rows {
		if _, known := held[id]; !known {
			add = append(add, r)
		}
	}
	c.Statements = len(in.rows)
	for id, r := range held {
		switch _, wanted := in.rows[id]; {
		case in.bad[r.file]:
			c.Statements++
		case !wanted:
			drop = append(drop, r)
		}
	}
	c.Added, c.Removed = len(add), len(drop)
	if err := b.write(ctx, c.Vendor, add, b.insert); err != nil {
		return Change{}, err
	}
	if err := b.write(ctx, c.Vendor, drop, b.delete); err != nil {
		return Change{}, err
	}
	if err := b.finish(ctx, c, in); err != nil {
		return Change{}, err
	}
	return c, b.loadKeys(ctx, &c)
}

func (b *Book) held(ctx context.Context, vendor string) (map[[2]string]row, error) {
	var held map[[2]string]row
	err := b.st.View(ctx, func(tx store.Tx) error {
		held = map[[2]string]row{}
		return store.Each(ctx, tx, func(r store.Row) error {
			var h row
			err := r.Scan(&h.file, &h.hash, &h.key.Ecosystem, &h.key.Name)
			held[[2]string{h.file, h.hash}] = h
			return err
		}, "SELECT file, hash, family, name FROM vex_statement WHERE vendor = ?", vendor)
	})
	if err != nil {
		return nil, fault.New(fault.KindOf(err), "read statements of %s: %w", vendor, err)
	}
	return held, nil
}

// write changes rows in batches, each with the keys it touches.
func (b *Book) write(ctx context.Context, vendor string, rows []row, do func(context.Context, store.Tx, string, row) error) error {
	slices.SortFunc(rows, func(a, b row) int { return cmp.Or(strings.Compare(a.file, b.file), strings.Compare(a.hash, b.hash)) })
	for part := range slices.Chunk(rows, batch) {
		err := b.st.Update(ctx, func(tx store.Tx) error {
			for _, r := range part {
				if err := do(ctx, tx, vendor, r); err != nil {
					return err
				}
				if _, err := tx.Exec(ctx, "INSERT INTO vex_touched (vendor, family, name) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", vendor, r.key.Ecosystem, r.key.Name); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fault.New(fault.KindOf(err), "keep statements of %s: %w", vendor, err)
		}
	}
	return nil
}

func (b *Book) insert(ctx context.Context, tx store.Tx, vendor string, r row) error {
	_, err := tx.Exec(ctx, "INSERT INTO vex_statement (vendor, file, hash, family, name, body) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
		vendor, r.file, r.hash, r.key.Ecosystem, r.key.Name, r.body)
	return err
}

func (b *Book) delete(ctx context.Context, tx store.Tx, vendor string, r row) error {
	_, err := tx.Exec(ctx, "DELETE FROM vex_statement WHERE vendor = ? AND file = ? AND hash = ?", vendor, r.file, r.hash)
	return err
}

func (b *Book) finish(ctx context.Context, c Change, in gathering) error {
	err := b.st.Update(ctx, func(tx store.Tx) error {
		if c.Documents == 0 {
			_, err := tx.Exec(ctx, "DELETE FROM vex_vendor WHERE name = ?", c.Vendor)
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO vex_vendor (name, documents, statements, newest, synced, about) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (name) DO UPDATE SET about = excluded.about, documents = excluded.documents, statements = excluded.statements, newest = excluded.newest, synced = excluded.synced`,
			c.Vendor, c.Documents, c.Statements, store.Millis(in.newest), store.Millis(b.st.Now()), strings.Join(in.about, " "))
		return err
	})
	if err != nil {
		return fault.New(fault.KindOf(err), "keep statements of %s: %w", c.Vendor, err)
	}
	return nil
}

// Vendors lists whose statements count, by name.
func (b *Book) Vendors(ctx context.Context) ([]Vendor, error) {
	var all []Vendor
	err := b.st.View(ctx, func(tx store.Tx) error {
		all = nil
		return store.Each(ctx, tx, func(r store.Row) error {
			var v Vendor
			var t Try
			var newest, synced, tried, next int64
			var about string
			err := r.Scan(&v.Name, &v.Documents, &v.Statements, &newest, &synced, &about, &tried, &next, &t.Failures, &t.Error)
			v.About = strings.Fields(about)
			v.Newest, v.Synced = store.Time(newest), store.Time(synced)
			if t.Tried, t.Next = store.Time(tried), store.Time(next); next > 0 {
				v.Try = &t
			}
			all = append(all, v)
			return err
		}, `SELECT COALESCE(v.name, t.vendor), COALESCE(v.documents, 0), COALESCE(v.statements, 0), COALESCE(v.newest, 0), COALESCE(v.synced, 0), COALESCE(v.about, ''),
			COALESCE(t.tried, 0), COALESCE(t.next, 0), COALESCE(t.failures, 0), COALESCE(t.error, '')
			FROM (SELECT name AS vendor FROM vex_vendor UNION SELECT vendor FROM vex_try) AS u
			LEFT JOIN vex_vendor v ON v.name = u.vendor LEFT JOIN vex_try t ON t.vendor = u.vendor ORDER BY u.vendor`)
	})
	if err != nil {
		return nil, fault.New(fault.KindOf(err), "list vendors: %w", err)
	}
	return all, nil
}
